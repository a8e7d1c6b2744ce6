"""What every training command shares: run folder, options, progress, curves, seeds, energy, and several processes.

Knows nothing of logs or models. Several processes need nothing but torch: `torchrun` and `accelerate launch` both say
in the environment who takes part, and averaging gradients is one call then.
"""

import argparse
import ctypes
import json
import math
import os
import platform
import random
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TextIO, TypeVar

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from worker.errors import WrongSettings
from worker.parsing.checksums import write_sums

T = TypeVar("T")

#: Files of a run.
CONFIGURATION, REPORT, CURVE, CHECKPOINT = "configuration.json", "report.json", "curve.png", "checkpoint"
_PROGRESS_SECONDS = 5.0
_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The folder that a training command writes: `configuration.json`, `curve.png`, `checkpoint/`, `report.json`."""

    path: Path

    @classmethod
    def open(cls, path: Path, *, fresh: bool = False) -> Self:
        """Make the folder. `fresh` removes what an earlier run left there.

        Raises:
            WrongSettings: it holds the report of an earlier run, and `fresh` is not set.

        """
        run = cls(path=path)
        if run.report.exists() and not fresh:
            raise WrongSettings(f"{path} holds the report of an earlier run: name another folder, or replace that one.")
        path.mkdir(parents=True, exist_ok=True)
        for file in (run.report, run.curve):
            file.unlink(missing_ok=True)
        # Prompts of the earlier run would stay in the new checkpoint.
        if fresh and run.checkpoint.is_dir():
            shutil.rmtree(run.checkpoint)
        return run

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint."""
        return self.path / CHECKPOINT

    @property
    def curve(self) -> Path:
        """The picture of the curves."""
        return self.path / CURVE

    @property
    def report(self) -> Path:
        """The JSON report, written last: a folder that has one holds a finished run."""
        return self.path / REPORT

    def write_configuration(self, configuration: Any) -> None:
        """Write all that decides the run, a dataclass."""
        _write_json(self.path / CONFIGURATION, asdict(configuration))

    def write_report(self, report: Mapping[str, object]) -> None:
        """Write what came out, and the checksums of the checkpoint, which is whole now."""
        if self.checkpoint.is_dir():
            write_sums(self.checkpoint)
        _write_json(self.report, report)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")


class Progress:
    """Tells now and then, a line each, how far a run is: share done, figures, time left."""

    def __init__(
        self,
        total: float,
        unit: str,
        *,
        notes: TextIO | None = sys.stderr,
        every_seconds: float = _PROGRESS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Expect `total` of `unit`; tell `notes`, None for nobody, at most once in `every_seconds`."""
        self._total, self._unit = total, unit
        self._notes, self._every, self._clock = notes, every_seconds, clock
        self._began = self._told = clock()

    def tell(self, done: float, **figures: float) -> None:
        """Say that `done` of the total is behind us; the last line is always told."""
        now = self._clock()
        if self._notes is None or (now - self._told < self._every and done < self._total):
            return
        self._told = now
        took = now - self._began
        left = f"{(self._total - done) / done * took:.0f} s left" if done else "time left unknown"
        shown = "".join(f"{name.replace('_', ' ')} {value:.4g}, " for name, value in figures.items())
        print(f"{done:,.0f}/{self._total:,.0f} {self._unit}, {shown}{left}", file=self._notes, flush=True)


def draw_curves(
    points: Sequence[Mapping[str, float]],
    path: Path,
    *,
    x: str,
    left: Sequence[str],
    right: Sequence[str] = (),
    mark: float | None = None,
) -> None:
    """Draw figures over `x` as PNG: losses on the left axis, shares from 0 to 1 on the right one.

    A point may lack some of the figures. `mark` draws an upright line, where early stopping chose. Where matplotlib is
    missing (the extra `training` has it), says so and draws nothing: the report holds the points.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here
    except ImportError:
        print(f"{path} is not drawn: matplotlib is not installed.", file=sys.stderr)
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, losses = plt.subplots(figsize=(8, 4.5), layout="constrained")
    shares = losses.twinx() if right else losses
    for place, name in enumerate([*left, *right]):
        chosen = [point for point in points if name in point]
        (losses if name in left else shares).plot(
            [point[x] for point in chosen],
            [point[name] for point in chosen],
            "-" if name in left else "o-",
            color=f"C{place}",
            label=name.replace("_", " "),
        )
    losses.set(xlabel=x.replace("_", " "), ylabel="loss")
    values = [point[name] for point in points for name in left if name in point]
    if values and 0 < 10 * min(values) < max(values):
        losses.set_yscale("log")
    if right:
        shares.set(ylabel="share", ylim=(0, 1))
    if mark is not None:
        losses.axvline(mark, color="grey", linestyle="--", label="chosen")
    figure.legend(loc="outside upper center", ncols=len(left) + len(right) + 1)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def machine(device: torch.device | None = None) -> dict[str, object]:
    """Describe what the run runs on, for its report."""
    chosen = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": chosen.type,
        "gpu": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else None,
    }


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Make the parser of `python -m training.NAME`, described by the first line of a module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m training.{name}",
        description=(description or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def add_options(parser: argparse.ArgumentParser, plain: Any, shown: Mapping[str, str]) -> None:
    """Add an option for each field of the dataclass `plain` that `shown` has a help for; `plain` has the defaults."""
    for name, text in shown.items():
        default = getattr(plain, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=text)


def options_of(configuration: Any, plain: Any, *, without: Collection[str] = ()) -> str:
    """Write the options that make `configuration` of `plain`, both dataclasses of one make."""
    return " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in asdict(configuration).items()
        if name not in without and value != getattr(plain, name)
    )


def rate_groups(parameters: Sequence[nn.Parameter], rate: float) -> list[dict[str, Any]]:
    """Put parameters into groups of an optimizer: norms and biases without decay."""
    return [
        {
            "params": [parameter for parameter in parameters if (parameter.dim() > 1) == decays],
            "lr": rate,
            "weight_decay": 0.01 if decays else 0.0,
        }
        for decays in (True, False)
    ]


def rate_scale(share: float, warm_up: float) -> float:
    """Scale a learning rate when `share` of a run is done: a linear warm-up, then a cosine to 2%."""
    rising = min(1.0, share / warm_up + 0.01) if warm_up else 1.0
    return rising * (0.51 + 0.49 * math.cos(math.pi * min(1.0, share)))


def by_length(lengths: Sequence[int], most_tokens: int, rng: random.Random) -> list[list[int]]:
    """Group rows of about one length to batches, in random order.

    `lengths` are the tokens of each row, special ones included; a batch has at most `most_tokens` when padded, or one
    row. Returns the rows of each batch.
    """
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], rng.random()))
    batches: list[list[int]] = []
    for row in order:
        if not batches or (len(batches[-1]) + 1) * lengths[row] > most_tokens:
            batches.append([])
        batches[-1].append(row)
    rng.shuffle(batches)
    return batches


def seeded(seed: int) -> None:
    """Seed Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from the global generator
    torch.manual_seed(seed)


@dataclass(slots=True, kw_only=True)
class Energy:
    """What a stretch of work took."""

    #: Of the GPUs, else of the processor packages, other work on them included; None where nothing tells, or not yet.
    joules: float | None = None


@contextmanager
def joules() -> Iterator[Energy]:
    """Measure the energy of what is done inside; the figure is there when the block is left.

    A processor's counter starts again after some 260 kJ; work that takes several times that reads too little.
    """
    energy = Energy()
    before = _meters()
    yield energy
    after = _meters()
    if before and before.keys() == after.keys():
        # The second value is where a counter starts again from zero.
        energy.joules = sum(
            (after[name][0] - before[name][0]) % after[name][1]
            if after[name][1]
            else after[name][0] - before[name][0]
            for name in before
        )  # fmt: skip


def _meters() -> dict[str, tuple[float, float]]:
    """Read every energy counter, and where it starts again, in joules; 0 for never."""
    return _gpu_meters() or _processor_meters(_POWERCAP)


def _gpu_meters() -> dict[str, tuple[float, float]]:
    """Ask NVIDIA's management library, which comes with the driver, for every GPU that torch sees."""
    if not torch.cuda.is_available():
        return {}
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}  # a driver without it tells nothing
    if nvml.nvmlInit_v2():
        return {}
    try:
        meters: dict[str, tuple[float, float]] = {}
        for number in range(torch.cuda.device_count()):
            name = f"GPU-{torch.cuda.get_device_properties(number).uuid}"
            found, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
            if nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(found)) == 0 and (
                nvml.nvmlDeviceGetTotalEnergyConsumption(found, ctypes.byref(millijoules)) == 0
            ):
                meters[name] = (millijoules.value / 1e3, 0.0)
        return meters
    finally:
        nvml.nvmlShutdown()


def _processor_meters(folder: Path) -> dict[str, tuple[float, float]]:
    """Read Linux's counters of processor packages; nothing where only the administrator may."""
    meters: dict[str, tuple[float, float]] = {}
    for package in sorted(folder.glob("*-rapl:[0-9]")):
        try:
            used, range_ = (
                int((package / name).read_text(encoding="ascii")) / 1e6 for name in ("energy_uj", "max_energy_range_uj")
            )
        except OSError:
            return {}
        meters[package.name] = (used, range_)
    return meters


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The processes that train one model together, and this one's place among them.

    All of them go through the same batches in the same order, and each takes its share of every batch: a run does the
    same on one process and on many, up to the random numbers of dropout.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and tells progress."""
        return self.rank == 0

    def share(self, batch: Sequence[T]) -> Sequence[T]:
        """Take this process's part of a batch; it may be empty."""
        return batch[self.rank :: self.size]

    def same_weights(self, module: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def mean_gradients(self, module: nn.Module, weight: float = 1.0) -> None:
        """Average the gradients of all processes in place; to be called by all of them.

        `weight` is what this process's loss was a mean over, tokens mostly: then the average is the gradient of the
        mean over the whole batch. 0 for a process whose share was empty.
        """
        if self.size == 1:
            return
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad * weight for parameter in trained
        ]
        # What no process has a gradient for must have none afterwards: zeros would let weight decay act on it.
        known = [float(parameter.grad is not None) for parameter in trained]
        tail = torch.tensor([*known, weight], dtype=torch.float32, device=self.device)
        flat = torch.cat([*(gradient.float().flatten() for gradient in gradients), tail])
        dist.all_reduce(flat)
        *sums, tail = torch.split(flat, [*(parameter.numel() for parameter in trained), len(tail)])
        counts = tail[:-1].tolist()
        for parameter, summed, count in zip(trained, sums, counts, strict=True):
            mean = (summed / tail[-1].clamp_min(1e-12)).view_as(parameter).to(parameter.dtype)
            parameter.grad = mean if count else None

    def mean(self, value: float, weight: float = 1.0) -> float:
        """Average a figure over all processes; to be called by all of them."""
        if self.size == 1:
            return value
        summed = torch.tensor([value * weight, weight], dtype=torch.float64).to(self.device)
        dist.all_reduce(summed)
        return float(summed[0] / summed[1].clamp_min(1e-12))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def distributed(device: str = "auto") -> Iterator[Group]:
    """Take part in the processes that a launcher started, or be alone where none did.

    `torchrun --nproc-per-node 2 -m training.pretrain ...` starts two, on one machine or several; so does `accelerate
    launch --multi_gpu`. torchrun refuses options that could be short for several of its own, such as `--start`.
    `device` is `auto`, `cpu` or `cuda`; each process takes the GPU of its place on its machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = device.startswith("cuda") or (
        device == "auto" and torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true"
    )
    if size == 1:
        # A named device stays as it is.
        yield Group(rank=0, size=1, device=torch.device(device if device != "auto" else "cuda" if on_gpu else "cpu"))
        return
    chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Group(rank=dist.get_rank(), size=size, device=chosen)
    finally:
        dist.destroy_process_group()
