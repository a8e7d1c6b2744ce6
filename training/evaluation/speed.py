"""How fast, and how well, the worker's own path parses a log: template cache, kernels and model together.

Needs what the worker needs, numba among it: whoever runs without must not import this module.
"""

import asyncio
import io
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from worker.columns.lines import read_lines
from worker.offline import FileParser
from worker.parsing.templates import encoded

#: What is read at once, as `logloom parse` does.
_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPath:
    """What the worker's path made of a log."""

    #: The template that each line's event carried when the line came first, None for none, (n,).
    emitted: tuple[str | None, ...]
    #: The template of each line once all lines were seen, (n,).
    settled: tuple[str | None, ...]
    #: One core, after warm-up; the log is repeated to so many lines.
    lines_per_second: float
    #: By the process's own processor time: what the core would do if nobody else used it.
    lines_per_cpu_second: float
    lines: int


def worker_path(
    messages: Sequence[str],
    checkpoint: Path,
    *,
    prompt: str | None = None,
    device: str = "auto",
    at_least: int = 200_000,
    passes: int = 3,
) -> WorkerPath:
    """Parse a log twice for its templates, then repeated to `at_least` lines, once to warm up and `passes` times timed.

    The median pass counts. The hot path is one thread; should more have worked, their processor time counts.

    Raises:
        WrongModel: the checkpoint can't be run.

    """
    return asyncio.run(_measured(messages, checkpoint, prompt, device, at_least, passes))


async def _measured(
    messages: Sequence[str], checkpoint: Path, prompt: str | None, device: str, at_least: int, passes: int
) -> WorkerPath:
    parser = FileParser.open(
        source="evaluation",
        headers=("none",),
        envelope="raw",
        model=str(checkpoint),
        prompt=prompt,
        device=device,
        forget=True,
    )
    # A message of several lines can't be one line of a file.
    log = b"".join(encoded(message.replace("\n", " ")) + b"\n" for message in messages)
    repeats = -(-at_least // len(messages))
    try:
        emitted, settled = [await _templates(parser, log, len(messages)) for _ in range(2)]
        await _pass(parser, log * repeats)
        wall, processor = zip(*[await _pass(parser, log * repeats) for _ in range(passes)], strict=True)
    finally:
        await parser.close()
    lines = repeats * len(messages)
    seconds, cpu_seconds = statistics.median(wall), statistics.median(processor)
    return WorkerPath(
        emitted=emitted,
        settled=settled,
        lines_per_second=lines / max(seconds, cpu_seconds),
        lines_per_cpu_second=lines / cpu_seconds,
        lines=lines,
    )


async def _templates(parser: FileParser, log: bytes, lines: int) -> tuple[str | None, ...]:
    events = [
        orjson.loads(event)
        for records in read_lines(io.BytesIO(log), chunk_bytes=_CHUNK_BYTES)
        for event in bytes(await parser.parse(records)).splitlines()
    ]
    if len(events) != lines:
        raise RuntimeError(f"{lines} lines became {len(events)} events")
    return tuple(event["attributes"].get("log.record.template") for event in events)


async def _pass(parser: FileParser, log: bytes) -> tuple[float, float]:
    """Parse a log and return the seconds that passed, and those of the processor."""
    began, began_cpu = time.perf_counter(), time.process_time()
    for records in read_lines(io.BytesIO(log), chunk_bytes=_CHUNK_BYTES):
        await parser.parse(records)
    return time.perf_counter() - began, time.process_time() - began_cpu
