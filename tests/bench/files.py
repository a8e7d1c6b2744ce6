"""`logloom parse` of a big file, as a whole process on one core, and what start-up takes of it."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import Figure
from tests.bench.loglines import block_store
from tests.bench.processes import PATIENCE_SECONDS, ROOT, Ended
from worker.offline import templates_folder

#: The source's name: its templates are removed in the end.
_SOURCE = "logloom-bench"


@contextmanager
def known_lines(lines: Iterable[bytes], model: str) -> Iterator[Path]:
    """Write `lines` to a file and parse it once, so that all its templates are known for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="logloom-bench-") as folder:
        path = Path(folder, "big.log")
        with path.open("wb") as file:
            file.writelines(line + b"\n" for line in lines)
        try:
            took(parse(path, model))
            yield path
        finally:
            for kept in templates_folder().glob(f"*/{_SOURCE}.msgpack"):
                kept.unlink()


def parse(path: Path, model: str) -> list[str]:
    """Return the command that parses `path`."""
    return [sys.executable, "-m", "worker", "parse", "--source", _SOURCE, "--model", model, str(path)]


class Took(NamedTuple):
    """What a process took."""

    seconds: float
    cpu_seconds: float


def took(command: Sequence[str], *, core: int | None = None) -> Took:
    """Run `command` with its output thrown away. Raises Ended if it fails."""
    allowed = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})  # a child inherits it
        begun, before = time.perf_counter(), _cpu_of_children()
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=PATIENCE_SECONDS
        )
        taken = Took(time.perf_counter() - begun, _cpu_of_children() - before)
    finally:
        os.sched_setaffinity(0, allowed)
    if done.returncode != 0:
        raise Ended(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return taken


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def big_file(*, records: int, repeats: int, model: str) -> Iterator[Figure]:
    """Parse a file of `records` lines on one core."""
    core = min(os.sched_getaffinity(0))
    with known_lines(block_store(records), model) as path:
        size_mb = path.stat().st_size / 1e6
        few = path.with_name("few.log")
        with path.open("rb") as lines:
            few.write_bytes(b"".join(next(lines) for _ in range(10)))
        wholes, starts = [], []
        for _ in range(repeats):
            wholes.append(took(parse(path, model), core=core))
            starts.append(took(parse(few, model), core=core))
    yield Figure(
        name="`logloom parse BIG.log > /dev/null`, one core, warm",
        unit="lines/s",
        values=tuple(records / whole.seconds for whole in wholes),
        at_least=400_000,
        note=f"{records:,} lines, {size_mb:.0f} MB, the whole process",
    )
    yield Figure(
        name="`logloom parse BIG.log`: by its own CPU time",
        unit="lines/s",
        values=tuple(records / whole.cpu_seconds for whole in wholes),
        note="what the core would do if nobody else used it",
    )
    yield Figure(
        name="`logloom parse BIG.log`: by its own CPU time, without start-up",
        unit="lines/s",
        values=tuple(
            (records - 10) / (whole.cpu_seconds - start.cpu_seconds)
            for whole, start in zip(wholes, starts, strict=True)
        ),
    )
