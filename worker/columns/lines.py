"""Lines of a file as records, so that a file takes the same path as a topic."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from worker.columns.layout import NONE, U8, Records

_LINE_FEED = 10


def read_lines(stream: BinaryIO, *, chunk_bytes: int = 1 << 20) -> Iterator[Records]:
    """Yield the lines of `stream`, some `chunk_bytes` at a time; a record's offset is the line's number, from 0.

    What is there is yielded at once, so that lines from a pipe do not wait for the next ones. Line ends are not part of
    the value. A line longer than a chunk is kept whole. Only what a read returns is waited for.
    """
    parts: list[bytes] = []
    number = 0
    while chunk := _read(stream, chunk_bytes):
        end = chunk.rfind(b"\n") + 1
        if end:
            records = _records(b"".join([*parts, chunk[:end]]), number)
            number += records.offset.size
            yield records
            parts = []
        if end < len(chunk):
            parts.append(chunk[end:])
    if parts:
        yield _records(b"".join([*parts, b"\n"]), number)


def _read(stream: BinaryIO, size: int) -> bytes:
    read1 = getattr(stream, "read1", None)
    return bytes(stream.read(size) if read1 is None else read1(size))


def _records(lines: bytes, first_number: int) -> Records:
    """Make a record of each line of `lines`, which ends with a line feed."""
    buffer: U8 = np.frombuffer(lines, np.uint8).copy()
    ends = np.flatnonzero(buffer == _LINE_FEED)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    nothing = np.zeros(ends.size, np.int64)
    return Records(
        buffer=buffer,
        offset=np.arange(first_number, first_number + ends.size, dtype=np.int64),
        timestamp=np.full(ends.size, NONE, np.int64),
        key_start=nothing,
        key_length=np.full(ends.size, NONE, np.int64),
        value_start=starts,
        value_length=ends - starts,
        headers_start=nothing,
        headers_length=nothing,
    )
