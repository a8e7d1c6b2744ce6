"""Header formats: the language that declares them, and lines split by the kernel and by its reference."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from tests.columns_of import texts_of
from tests.fuzz.envelopes import SEPARATOR
from tests.fuzz.target import Target
from worker.columns.headers import HeaderSplitter
from worker.columns.layout import MAX_FIELDS, Headers
from worker.errors import WrongFormat
from worker.parsing.headers import PRESETS, Header, HeaderFormat, detect, parse_format, split

_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
_MOST_LINES = 8
#: A record's time in milliseconds: none, usual ones, and the ends of what there is.
_TIMES = (-1, 0, 1_709_200_000_000, 1_790_000_000_000, 9_000_000_000_000, 1 << 62)


@cache
def _presets(zone: str) -> HeaderSplitter:
    return HeaderSplitter(tuple(PRESETS.values()), zone)


def _header_of(headers: Headers, row: int, start: int, formats: Sequence[HeaderFormat]) -> Header:
    """Read a row as the reference's header, spans from the text's start."""

    def span(at: int, length: int) -> tuple[int, int]:
        return (at - start, at - start + length) if length else (0, 0)

    found = int(headers.format[row])
    message_start = int(headers.message_start[row]) - start
    named = len(formats[found].fields) if found >= 0 else 0
    assert not headers.field_length[row, named:MAX_FIELDS].any()
    return Header(
        format=found if found >= 0 else None,
        message=(message_start, message_start + int(headers.message_length[row])),
        timestamp=int(headers.timestamp[row]),
        precision=int(headers.precision[row]),
        severity=int(headers.severity[row]),
        level=span(int(headers.level_start[row]), int(headers.level_length[row])),
        fields=tuple(
            span(int(headers.field_start[row, place]), int(headers.field_length[row, place])) for place in range(named)
        ),
    )


def _reference(formats: Sequence[HeaderFormat], line: bytes, time: int, zone: str) -> Header:
    found = split(formats, line, record_time_ns=time * 1_000_000, zone=zone)
    return Header(
        format=found.format,
        message=found.message,
        timestamp=found.timestamp,
        precision=found.precision,
        severity=found.severity,
        level=found.level if found.level[1] > found.level[0] else (0, 0),
        fields=tuple((start, end) if end > start else (0, 0) for start, end in found.fields),
    )


def _compare(
    splitter: HeaderSplitter, formats: Sequence[HeaderFormat], lines: Sequence[bytes], time: int, zone: str
) -> None:
    texts = texts_of(lines)
    headers = splitter.split(texts, np.full(len(lines), time, np.int64))
    for row in range(len(lines)):
        start, length = int(texts.start[row]), int(texts.length[row])
        line = texts.buffer[start : start + length].tobytes()
        assert _reference(formats, line, time, zone) == _header_of(headers, row, start, formats)


def _chosen(content: bytes) -> tuple[str, int, bytes]:
    """Take zone and time out of the first two bytes."""
    if len(content) < 2:
        return _ZONES[0], _TIMES[0], content
    return _ZONES[content[0] % len(_ZONES)], _TIMES[content[1] % len(_TIMES)], content[2:]


def _lines(content: bytes) -> None:
    zone, time, rest = _chosen(content)
    lines = rest.split(SEPARATOR)[:_MOST_LINES]
    detect(lines)
    _compare(_presets(zone), tuple(PRESETS.values()), lines, time, zone)


def _format(content: bytes) -> None:
    """Compile the first piece, as the environment would give it, and split the others by it."""
    zone, time, rest = _chosen(content)
    declaration, *lines = rest.split(SEPARATOR)[:_MOST_LINES]
    declared = parse_format(declaration.decode(errors="surrogateescape"))
    _compare(HeaderSplitter((declared,), zone), (declared,), [*lines, declaration], time, zone)


TARGETS = [
    Target(name="header-format", read=_format, refuses=(WrongFormat,)),
    Target(name="header-lines", read=_lines),
]
