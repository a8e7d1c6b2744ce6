"""The kernel that splits headers does what its reference does."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.columns.headers import HeaderSplitter
from worker.columns.layout import MAX_FIELDS, NO_TIME, NONE, Headers, Texts
from worker.errors import WrongFormat
from worker.parsing.headers import PRESETS, Header, HeaderFormat, parse_format, split
from worker.parsing.headers import program as header_program
from worker.parsing.headers.levels import SEVERITY_OF_LETTER, SEVERITY_OF_MARK, SEVERITY_OF_WORD
from worker.parsing.headers.program import DIGITS, NAME, Code, Op
from worker.parsing.timestamps import NO_TIME as REFERENCE_NO_TIME

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
#: Formats that the presets leave parts of the language to.
DECLARED = (
    "<Date> <Time> <Pid> <Level> <Component>: <Content>",
    r"<Month> <Date> <Time> <Level> <Component>(\[<PID>\])?: <Content>",
    r"[<Time>] [<Severity>] <Content>",
    "<Timestamp>|<a:name>|<b:number>|<message>",
    "<Year>.<Month>.<Day> <when:%k:%M>\\s*<message>",
    "<time:%A, %e %B %Y %I:%M %p %?Z> <message>",
    "<time:%Q>(x<a>y)? <_:word>(-<level:word>)?;<message>",
    "<time:%y%m%d>(T<time:%H%M%S,%f>)?(<time:%?z>)? <message>",
    "<message>",
)
FORMATS = (*PRESETS.values(), *map(parse_format, DECLARED))
RECORD_MS = st.sampled_from(
    (-1, 0, 1_100_000_000_000, 1_709_200_000_000, 1_790_000_000_000, 9_000_000_000_000, 1 << 62)
)


def texts_of(lines: Sequence[bytes | None], *, gap: int = 3) -> Texts:
    """Lay lines out as a column with `gap` digits before each, so that a read before or after a text shows."""
    rows = len(lines)
    buffer = b"".join(b"7" * gap + (line or b"") for line in lines)
    lengths = np.array([NONE if line is None else len(line) for line in lines], np.int64).reshape(rows)
    starts = np.cumsum(np.maximum(lengths, 0) + gap) - np.maximum(lengths, 0)
    return Texts(
        buffer=np.frombuffer(buffer, np.uint8).copy(),
        start=starts.astype(np.int64),
        length=lengths,
        record=np.arange(rows, dtype=np.int64),
        place=np.full(rows, NONE, np.int64),
        attributes_buffer=np.zeros(0, np.uint8),
        attributes_start=np.zeros(rows, np.int64),
        attributes_length=np.zeros(rows, np.int64),
        timestamp=np.full(rows, NO_TIME, np.int64),
        severity=np.zeros(rows, np.uint8),
    )


def header_of(headers: Headers, row: int, start: int, formats: Sequence[HeaderFormat]) -> Header:
    """Read one row of `headers` as the reference's header, spans relative to the text."""

    def span(at: int, length: int) -> tuple[int, int]:
        return (at - start, at - start + length) if length else (0, 0)

    found = int(headers.format[row])
    message_start = int(headers.message_start[row]) - start
    fields = [
        span(int(at), int(length))
        for at, length in zip(headers.field_start[row], headers.field_length[row], strict=True)
    ]
    named = len(formats[found].fields) if found >= 0 else 0
    assert [(0, 0)] * (MAX_FIELDS - named) == fields[named:]
    return Header(
        format=found if found >= 0 else None,
        message=(message_start, message_start + int(headers.message_length[row])),
        timestamp=int(headers.timestamp[row]),
        precision=int(headers.precision[row]),
        severity=int(headers.severity[row]),
        level=span(int(headers.level_start[row]), int(headers.level_length[row])),
        fields=tuple(fields[:named]),
    )


def reference(formats: Sequence[HeaderFormat], line: bytes, record_ms: int, zone: str) -> Header:
    """Split by the reference, empty spans written as (0, 0)."""
    header = split(formats, line, record_time_ns=record_ms * 1_000_000, zone=zone)
    fields = tuple((start, end) if end > start else (0, 0) for start, end in header.fields)
    return Header(
        format=header.format,
        message=header.message,
        timestamp=header.timestamp,
        precision=header.precision,
        severity=header.severity,
        level=header.level if header.level[1] > header.level[0] else (0, 0),
        fields=fields,
    )


def check(formats: Sequence[HeaderFormat], lines: Sequence[bytes], record_ms: int, zone: str) -> Headers:
    """Assert that kernel and reference agree on every line."""
    texts = texts_of(lines)
    headers = HeaderSplitter(formats, zone).split(texts, np.full(len(lines), record_ms, np.int64))
    for row, line in enumerate(lines):
        assert reference(formats, line, record_ms, zone) == header_of(headers, row, int(texts.start[row]), formats)
    return headers


def two_digits(least: int, most: int) -> st.SearchStrategy[bytes]:
    """Draw a number of two digits."""
    return st.integers(least, most).map(lambda number: b"%02d" % number)


WORDS = st.sampled_from(
    (b"a", b"main", b"o.a.k.Foo", b"x-1", b"sshd(pam_unix)", b"-", b"a:b", b"[x", b"b]", b"\xc3\xa4")
)
NAMED = {
    Code.MONTH_NAME: (b"Jan", b"feb", b"MAR", b"Sep", b"Dec", b"November", b"may"),
    Code.WEEKDAY: (b"Mon", b"tue", b"SUN", b"Saturday"),
    Code.HALF: (b"AM", b"pm"),
    Code.DATE_END: (b"T", b" ", b"t"),
    Code.ZONE: (b"Z", b"+02:00", b"-0330", b"+01", b"UTC", b"CET", b"XYZ", b"+05:3", b""),
    Code.FRACTION: (b"1", b"123", b".123456", b",999", b".123456789", b""),
    Code.EPOCH: (b"1604329445", b"1604329445123", b"1604329445123456", b"1604329445123456789", b"9999999999999999999"),
}
TWO = {
    Code.SHORT_YEAR: two_digits(0, 99),
    Code.MONTH: two_digits(1, 12),
    Code.DAY: two_digits(1, 31),
    Code.HOUR: two_digits(0, 23),
    Code.MINUTE: two_digits(0, 59),
    Code.SECOND: two_digits(0, 60),
}


@st.composite
def piece(draw: st.DrawFn, op: Op) -> bytes:  # noqa: C901, PLR0911 - one case per kind of op
    """Draw what fits one op, or nearly."""
    if op.code is Code.LITERAL:
        return op.literal
    if op.code in {Code.SPACE, Code.GAP}:
        return draw(st.sampled_from((b" ", b" ", b"  ", b"\t ", b"" if op.code is Code.GAP else b" ")))
    if op.code is Code.SCAN:
        return draw(WORDS)
    if op.code is Code.RUN:
        return draw(
            WORDS if op.number == NAME else st.sampled_from((b"0", b"17", b"1234" if op.number == DIGITS else b"1.5"))
        )
    if op.code is Code.LEVEL:
        word = draw(st.sampled_from(sorted(SEVERITY_OF_WORD)))
        return draw(st.sampled_from((word, word.lower(), word.capitalize())))
    if op.code is Code.MARK:
        return bytes([draw(st.sampled_from(sorted(SEVERITY_OF_MARK if op.number else SEVERITY_OF_LETTER)))])
    if op.code in NAMED:
        return draw(st.sampled_from(NAMED[op.code]))
    if op.code in TWO:
        text = draw(TWO[op.code])
        return text.lstrip(b"0") if op.number and draw(st.booleans()) else text
    if op.code is Code.CLOCK:
        return bytes([op.number]).join([draw(TWO[code]) for code in (Code.HOUR, Code.MINUTE, Code.SECOND)])
    year = draw(st.sampled_from((b"1678", b"1999", b"2000", b"2024", b"2026", b"2100", b"2261", b"2262")))
    if op.code is Code.YEAR:
        return year
    assert Code.DATE is op.code
    return bytes([op.number]).join([year, draw(TWO[Code.MONTH]), draw(TWO[Code.DAY])])


@st.composite
def fitting(draw: st.DrawFn, header_format: HeaderFormat) -> bytes:
    """Draw a line that the format is likely to fit."""
    line = b""
    index = 0
    while (op := header_format.ops[index]).code is not Code.MESSAGE:
        index += 1
        if op.code is Code.TRY:
            index = index if draw(st.booleans()) else op.number
        elif op.code is Code.COMMIT:
            index = op.number
        else:
            line += draw(piece(op))
    return line + draw(st.sampled_from((b"", b"some text: 12", b" [x] \n", b"it\r\n", b"a\nb")))


@st.composite
def mutated(draw: st.DrawFn, header_format: HeaderFormat) -> bytes:
    """Draw a fitting line with a few bytes changed, dropped, doubled, or cut off."""
    line = bytearray(draw(fitting(header_format)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        byte = draw(st.sampled_from(b"0159 :-[]T\t\n.,<>aZ\x00\xff+"))
        change = draw(st.sampled_from(("set", "insert", "drop", "cut")))
        if change == "insert":
            line.insert(at, byte)
        elif change == "cut":
            del line[at:]
        elif at < len(line) and change == "set":
            line[at] = byte
        elif at < len(line):
            del line[at]
    return bytes(line)


@pytest.mark.parametrize("header_format", FORMATS, ids=lambda header_format: header_format.name)
@settings(max_examples=15)
@given(data=st.data())
def test_kernel_splits_like_the_reference(header_format: HeaderFormat, data: st.DataObject) -> None:
    """Lines built from a format, and mutations of them, come out the same from kernel and reference."""
    lines = data.draw(st.lists(st.one_of(fitting(header_format), mutated(header_format)), min_size=1, max_size=6))
    check([header_format], lines, data.draw(RECORD_MS), data.draw(st.sampled_from(ZONES)))


@settings(max_examples=60)
@given(
    lines=st.lists(
        st.one_of(st.binary(max_size=60), st.text("0123456789 :-[]TINFO.,/\n", max_size=60).map(str.encode)), max_size=8
    ),
    record_ms=RECORD_MS,
)
def test_random_bytes_split_like_the_reference(lines: list[bytes], record_ms: int) -> None:
    """Whatever the bytes are, kernel and reference agree, under all formats at once."""
    check(FORMATS, lines, record_ms, "Europe/Berlin")


@pytest.mark.parametrize("header_format", FORMATS, ids=lambda header_format: header_format.name)
def test_every_cut_of_a_line_splits_like_the_reference(header_format: HeaderFormat) -> None:
    """A line that ends anywhere in its header is never read past its end."""
    line = b"2026-11-02 15:04:05,123 INFO [main] a.b.C: x"
    check([header_format], [line[:end] for end in range(len(line) + 1)], 1_790_000_000_000, "UTC")


def test_first_format_that_fits_wins() -> None:
    """Formats are tried in their order on each line."""
    formats = [parse_format("<level>: <message>"), parse_format("<Time> <message>")]
    headers = check(formats, [b"INFO: a", b"10:00:00 b", b"c"], 0, "UTC")
    assert headers.format.tolist() == [0, 1, -1]


def test_fields_of_a_format_that_fails_late_are_dropped() -> None:
    """What a format had read before it failed does not show in the header that another format gives."""
    formats = [parse_format("<a:word> <b:word> <c:word>! <message>"), parse_format("<a:word> <message>")]
    headers = check(formats, [b"x y z", b"x y z! m"], 0, "UTC")
    assert headers.format.tolist() == [1, 0]


def test_row_without_a_text_stays_empty() -> None:
    """A text of length NONE gets no header and no message."""
    headers = HeaderSplitter([PRESETS["level"]], "UTC").split(texts_of([None, b"INFO: a"]), np.zeros(2, np.int64))
    assert headers.format.tolist() == [-1, 0]
    assert headers.message_length.tolist() == [0, 1]


def test_no_formats_leave_whole_lines() -> None:
    """Without a format the whole text is the message, the end of line left out."""
    headers = check([], [b"INFO: a\r\n", b""], 0, "UTC")
    assert headers.message_length.tolist() == [7, 0]


def test_unknown_zone_is_refused() -> None:
    """A zone that there is not is a wrong format."""
    with pytest.raises(WrongFormat, match="Mars/Olympus"):
        HeaderSplitter([], "Mars/Olympus")


def test_limits_are_those_of_the_columns() -> None:
    """The reference and the columns agree on the number of fields and on what no time is."""
    assert header_program.MAX_FIELDS == MAX_FIELDS
    assert REFERENCE_NO_TIME == NO_TIME


@pytest.mark.parametrize("filler", [b" ", b":", b"[", b"a ", b": ", b"\t]"])
def test_long_hostile_lines_take_linear_time(filler: bytes) -> None:
    """A megabyte of what nearly ends a field is split at once by every preset."""
    line = b"Jun 14 15:16:01 host app" + filler * (1_000_000 // len(filler))
    headers = HeaderSplitter(FORMATS, "UTC").split(texts_of([line]), np.zeros(1, np.int64))
    assert headers.message_length[0] <= len(line)
