"""Feeds one target under atheris, in a process of its own: new inputs are made of those that reached new code.

Atheris sees Python. Kernels are compiled, so that it is their plain-Python references, fed with the same inputs, that
lead it; the kernels run with bounds checks. What fails is written to a folder, once per place in the code, and
the run goes on.
"""

import hashlib
import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import structlog

from tests.fuzz.mutation import stretched
from tests.fuzz.target import MOST_BYTES, Target

_ROOT = Path(__file__).parents[2]
#: Inputs of full length that come before all others.
_STRETCHED = 100
#: Between two counts that are told.
_PULSE_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class Feeder:
    """Feeds a target and keeps what fails."""

    target: Target
    folder: Path
    inputs: int = 0
    #: Places in the code where something failed.
    places: set[str] = field(default_factory=set)

    def __call__(self, content: bytes) -> None:
        """Feed one input; the first that fails at a place is kept with its traceback."""
        self.inputs += 1
        try:
            self.target.feed(content)
        except Exception as error:  # noqa: BLE001  what fails is what is looked for
            place = _place(error)
            if place not in self.places:
                self.places.add(place)
                self._keep(place, content, error)

    def _keep(self, place: str, content: bytes, error: Exception) -> None:
        name = hashlib.blake2b(place.encode(), digest_size=6).hexdigest()
        (self.folder / name).write_bytes(content)
        (self.folder / f"{name}.txt").write_text("".join(traceback.format_exception(error)), "utf-8", "replace")


def _place(error: Exception) -> str:
    """Name the kind of error and the last line of our own that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(_ROOT) in frame.filename]
    last = frames[-1] if frames else None
    return f"{type(error).__name__} {last.filename if last else ''}:{last.lineno if last else 0}"


def _not_instrumented() -> list[str]:
    """List what is compiled, which tracing would break, and what feeds."""
    folders = {"worker.columns": _ROOT / "worker" / "columns", "tests.fuzz": _ROOT / "tests" / "fuzz"}
    modules = [f"{package}.{path.stem}" for package, folder in folders.items() for path in folder.glob("*.py")]
    return [*modules, *folders]


def _plain_functions(modules: Sequence[ModuleType]) -> Iterator[FunctionType]:
    """Yield the functions beside kernels that are not compiled."""
    for module in modules:
        for _, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and module.__name__ != "worker.columns.jit":
                yield function


def run(name: str, corpus: Path, failures: Path, limits: Sequence[str]) -> None:
    """Feed the target `name` until libFuzzer's `limits` are reached; writes what was counted to standard output."""
    atheris: Any = import_module("atheris")  # only here: the short form does without

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with atheris.instrument_imports(include=["worker", "tests"], exclude=_not_instrumented()):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  its imports are what is watched
        from worker.columns import compression, headers, matching, records  # noqa: PLC0415  the same
    for function in _plain_functions([compression, headers, matching, records]):
        atheris.instrument_func(function)
    feeder = Feeder(target=TARGETS[name], folder=failures)
    for folder in (corpus, failures):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = feeder.target.seeds()
    for content in [*seeds, *stretched(seeds, _STRETCHED)]:
        feeder(content)
    for content in seeds:
        (corpus / hashlib.blake2b(content, digest_size=8).hexdigest()).write_bytes(content)

    _tell(feeder)
    told = time.monotonic()

    def fed(content: bytes) -> None:
        feeder(content)
        nonlocal told
        if time.monotonic() - told > _PULSE_SECONDS:
            told = time.monotonic()
            _tell(feeder)

    atheris.Setup(
        ["fuzz", *limits, f"-max_len={MOST_BYTES}", f"-artifact_prefix={failures}/", "-timeout=60",
         "-print_final_stats=1", "-rss_limit_mb=8192", "-detect_leaks=0", str(corpus)],
        fed,
    )  # fmt: skip
    atheris.Fuzz()  # ends the process


def _tell(feeder: Feeder) -> None:
    sys.stdout.write(json.dumps({"inputs": feeder.inputs, "failures": sorted(feeder.places)}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
