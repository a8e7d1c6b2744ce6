"""One trial of an evaluation: choose the lines, let the oracle label them, teach, and measure what was learned.

A method sees the unlabelled messages and the labelled shots, never another label.
"""

import math
import re
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from training.evaluation.ablation import ablated
from training.evaluation.datasets import LabelledLog
from training.evaluation.metrics import accuracy, normalised, parameter_f1, unseen_accuracy
from training.evaluation.mistakes import Mistake, mistakes
from training.evaluation.summary import FIGURES, Figures
from training.labels import Pair, complaint, text_of
from training.runs import joules
from training.sampling import chosen
from training.teaching.configuration import Configuration, Method
from training.teaching.core import Taught, teach
from worker.parsing.parser import EncoderParser
from worker.parsing.templates import encoded

#: Mistakes that a trial keeps.
_MOST_MISTAKES = 40
#: Messages that the parser is asked for at once.
_CHUNK = 4096
#: What a prompt's name can't hold.
_UNNAMABLE = re.compile(r"[^A-Za-z0-9_.\-]")
#: What the worker's path needs beside what training does.
_WORKER_NEEDS = ("numba", "msgpack", "orjson", "structlog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: a method, with so many labelled lines, on a system."""

    system: str
    method: Method
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """Names files."""
        return f"{self.system}-{self.method}-{self.shots}-{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all trials of an evaluation share."""

    #: The checkpoint that teaching starts from.
    start: Path
    configuration: Configuration
    #: Where checkpoints are written, a folder each.
    checkpoints: Path
    #: Where the parser runs: auto, cpu, cuda or cuda:N.
    device: str = "auto"
    #: Threads of the CPU for each trial.
    threads: int = 1
    keeps_checkpoints: bool = False
    #: Whether the worker's path is measured.
    measures_worker: bool = True
    #: Whether nothing else runs beside: only then does an energy meter tell of this trial.
    is_alone: bool = False
    #: Whether the model and the stream are measured without each other too, where nothing is taught.
    ablates: bool = False
    #: Share of each log, from its beginning, that teaching sees and shots are chosen from.
    seen: float = 1.0

    def seen_lines(self, log: LabelledLog) -> int:
        """Count the lines of a log that teaching sees."""
        return math.ceil(len(log.messages) * self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a trial, or a parser that was not taught, came to."""

    trial: Trial
    lines: int
    #: By name: GA FGA PA FTA over all lines; `rest.` before it: over the lines that were not labelled, where
    #: teaching saw a part of the log over those after it; `normalised.`
    #: both sides normalised; `emitted.` and `settled.` what the worker's path gave, which without labels knows nothing
    #: of the log before it comes; `alone.` and `stream.` the model and the stream without each other; and what it cost.
    figures: Figures
    mistakes: tuple[Mistake, ...]
    #: Lines by kind of mistake.
    kinds: dict[str, int]
    #: Lines that were shots.
    labelled: tuple[int, ...] = ()
    #: Chosen lines that could not be shots, because their label is missing or does not match them.
    refused: int = 0
    #: Why figures are missing.
    notes: tuple[str, ...] = ()
    #: What the method says of itself.
    teaching: dict[str, object] | None = None
    #: Digest of all that decides the figures.
    key: str = ""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `asdict` and JSON made of one. Raises KeyError or TypeError where it is of another make."""
        parts = {
            "trial": Trial(**fields["trial"]),
            "mistakes": tuple(Mistake(**mistake) for mistake in fields["mistakes"]),
            "labelled": tuple(fields["labelled"]),
            "notes": tuple(fields["notes"]),
        }
        return cls(**(fields | parts))


class Teach(Protocol):
    """Teaches a checkpoint the logs of one source."""

    def __call__(
        self,
        name: str,
        log: Sequence[str],
        shots: Sequence[Pair],
        out: Path,
        *,
        start: Path,
        configuration: Configuration,
    ) -> Taught:
        """Write a checkpoint to `out`, from `start`, the unlabelled `log` and the labelled `shots`."""
        ...


def measure(trial: Trial, log: LabelledLog, conditions: Conditions, key: str = "", teaching: Teach = teach) -> Measured:
    """Run a trial in this process. Its checkpoint is removed, unless the conditions keep it.

    Raises:
        ValueError: no line has an oracle template.
        LogloomError: what teaching or parsing raises.

    """
    if all(template is None for template in log.templates):
        raise ValueError("no line has an oracle template: there is nothing to compare with")
    torch.set_num_threads(conditions.threads)
    seen = log.messages[: conditions.seen_lines(log)]
    shots = labelled(log, chosen(seen, trial.shots, seed=trial.seed) if trial.shots else ())
    out = conditions.checkpoints / trial.name
    shutil.rmtree(out, ignore_errors=True)
    try:
        began, began_cpu = time.perf_counter(), time.process_time()
        with joules() as energy:
            taught = teaching(
                prompt_name(trial.system),
                seen,
                usable(shots),
                out,
                start=conditions.start,
                configuration=replace(conditions.configuration, method=trial.method, seed=trial.seed),
            )
        costs: Figures = {
            "training_seconds": taught.seconds,
            "teaching_seconds": time.perf_counter() - began,
            "teaching_cpu_seconds": time.process_time() - began_cpu,
            "training_joules": energy.joules if conditions.is_alone else None,
        }
        return _judged(trial, log, shots, taught, conditions, costs, key)
    finally:
        if not conditions.keeps_checkpoints:
            shutil.rmtree(out, ignore_errors=True)


def labelled(log: LabelledLog, lines: Sequence[int]) -> dict[int, Pair | None]:
    """Ask the oracle for the templates of `lines`; None for a label that is missing or does not match its line."""
    pairs: dict[int, Pair | None] = {}
    for line in lines:
        message, template = log.messages[line], log.templates[line]
        is_usable = template is not None and complaint(message, template) is None
        pairs[line] = Pair(message=message, template=template) if template is not None and is_usable else None
    return pairs


def usable(shots: Mapping[int, Pair | None]) -> list[Pair]:
    """Take the pairs of the chosen lines that have a usable label."""
    return [pair for pair in shots.values() if pair is not None]


def prompt_name(system: str) -> str:
    """Name the prompt of a system."""
    return _UNNAMABLE.sub("_", system)


def _judged(
    trial: Trial,
    log: LabelledLog,
    shots: dict[int, Pair | None],
    taught: Taught,
    conditions: Conditions,
    costs: Figures,
    key: str,
) -> Measured:
    parser = EncoderParser.load(taught.checkpoint, device=conditions.device)
    templates, per_second = parsed(parser, log.messages, taught.prompt)
    pairs = usable(shots)
    used = frozenset(line for line, pair in shots.items() if pair is not None)
    unseen = unseen_accuracy(log.templates, templates, [pair.template for pair in pairs])
    wrong = mistakes(log.messages, log.templates, templates)
    known = used if conditions.seen == 1 else used | frozenset(range(conditions.seen_lines(log)))
    figures = figures_of(log, templates, known) | {
        "unseen.PA": unseen.share,
        "unseen.lines": unseen.rows,
        "distinct_lines_per_second": per_second,
        "distinct_lines": len(set(log.messages)),
        "without_template": len({m for m, found in zip(log.messages, templates, strict=True) if found is None}),
        "peak_memory_mib": peak_memory_mib(),
        "peak_device_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None,
    }
    if conditions.ablates and trial.method == "zero-shot":
        start = EncoderParser.load(conditions.start, device=conditions.device)
        figures |= ablated(start, log, diversity=conditions.configuration.diversity)
    by_worker, notes = _by_worker(trial, log, taught, conditions)
    if costs["training_joules"] is None:
        reason = "no meter can be read" if conditions.is_alone else "trials side by side share the meter (--jobs 1)"
        notes = (*notes, f"training_joules: {reason}")
    return Measured(
        trial=trial,
        lines=len(log.messages),
        figures=figures | costs | by_worker,
        mistakes=tuple(wrong[:_MOST_MISTAKES]),
        kinds=lines_by_kind(wrong),
        labelled=tuple(sorted(used)),
        refused=len(shots) - len(used),
        notes=notes,
        teaching=dict(taught.report),
        key=key,
    )


def figures_of(log: LabelledLog, templates: Sequence[str | None], used: frozenset[int] = frozenset()) -> Figures:
    """Compute the accuracy over all lines and over those not `used`, raw and normalised, and the F1 of spans."""
    rest = [line for line in range(len(log.messages)) if line not in used]
    figures: Figures = {"spans.F1": parameter_f1(log.messages, log.templates, templates)}
    for prefix, lines in (("", range(len(log.messages))), ("rest.", rest)):
        oracle, found = [log.templates[line] for line in lines], [templates[line] for line in lines]
        figures |= _accuracy(prefix, oracle, found)
        figures |= _accuracy(f"{prefix}normalised.", _normalised(oracle), _normalised(found))
    return figures


def _accuracy(prefix: str, oracle: Sequence[str | None], found: Sequence[str | None]) -> Figures:
    """Name the four figures; all None where shots took every line that has a label."""
    if prefix.startswith("rest.") and all(template is None for template in oracle):
        return dict.fromkeys((f"{prefix}{name}" for name in FIGURES), None)
    return {f"{prefix}{name}": value for name, value in accuracy(oracle, found).as_dict().items()}


def _normalised(templates: Sequence[str | None]) -> list[str | None]:
    by_text = {template: None if template is None else normalised(template) for template in set(templates)}
    return [by_text[template] for template in templates]


def lines_by_kind(wrong: Sequence[Mistake]) -> dict[str, int]:
    """Count the lines of each kind of mistake."""
    kinds: dict[str, int] = {}
    for mistake in wrong:
        kinds[mistake.kind] = kinds.get(mistake.kind, 0) + mistake.lines
    return kinds


def parsed(parser: EncoderParser, messages: Sequence[str], prompt: str | None) -> tuple[list[str | None], float]:
    """Parse each distinct message once; returns the template of every line, and distinct lines per second."""
    distinct = list(dict.fromkeys(messages))
    raw = [encoded(message) for message in distinct]
    parser.parse(raw[:8], prompt=prompt)  # the first call allocates
    began = time.perf_counter()
    found = [
        template
        for first in range(0, len(raw), _CHUNK)
        for template in parser.parse(raw[first : first + _CHUNK], prompt=prompt)
    ]
    seconds = time.perf_counter() - began
    texts = {
        message: None if template is None else text_of(template)
        for message, template in zip(distinct, found, strict=True)
    }
    return [texts[message] for message in messages], len(distinct) / seconds


def _by_worker(
    trial: Trial, log: LabelledLog, taught: Taught, conditions: Conditions
) -> tuple[Figures, tuple[str, ...]]:
    """Measure the worker's path; says why where it can't be.

    Where nothing is taught the worker starts with the checkpoint as it was: that the log settled on templates before
    its first line came would flatter what is emitted.
    """
    names = [f"{when}.{name}" for when in ("emitted", "settled") for name in FIGURES]
    nothing: Figures = dict.fromkeys([*names, "lines_per_second", "lines_per_cpu_second"], None)
    if not conditions.measures_worker:
        return nothing, ("lines_per_second: the worker's path was not asked for",)
    missing = [package for package in _WORKER_NEEDS if find_spec(package) is None]
    if missing:
        return nothing, (f"lines_per_second: the worker's path needs {', '.join(missing)}",)
    from training.evaluation.speed import worker_path  # noqa: PLC0415 - imports numba, which a GPU machine may lack

    is_taught = trial.method != "zero-shot"
    path = worker_path(
        log.messages,
        taught.checkpoint if is_taught else conditions.start,
        prompt=taught.prompt if is_taught else None,
        device=conditions.device,
    )
    # Events hold U+FFFD for bytes that are no UTF-8.
    oracle = [None if text is None else encoded(text).decode(errors="replace") for text in log.templates]
    figures: Figures = {"lines_per_second": path.lines_per_second, "lines_per_cpu_second": path.lines_per_cpu_second}
    figures |= _accuracy("emitted.", oracle, path.emitted) | _accuracy("settled.", oracle, path.settled)
    return figures, ()


def peak_memory_mib() -> float:
    """Tell the most memory that this process had so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` begins with what the parent had when it started this process.
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
