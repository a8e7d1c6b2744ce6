"""How a header is split from its message: the reference that the kernel is tested against, and what detection runs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from worker.parsing.headers.levels import SEVERITY_OF_LETTER, SEVERITY_OF_MARK, SEVERITY_OF_WORD, severity_of
from worker.parsing.headers.program import (
    LEVEL_SLOT,
    MAX_FIELDS,
    RUN_BYTES,
    RUN_FIRST_BYTES,
    ZONE_NAMED,
    ZONE_OPTIONAL,
    Code,
    HeaderFormat,
    Op,
)
from worker.parsing.timestamps import (
    FIRST_YEAR,
    LAST_YEAR,
    MONTH_OF_NAME,
    MOST_NANOSECONDS,
    NO_TIME,
    SECOND,
    WEEKDAY_NAMES,
    ZONE_ABBREVIATIONS,
    Civil,
    resolve,
    zone_of,
)

#: A span that is none.
_NONE = (0, 0)
#: Position of an op that does not fit.
_FAILED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before a message. Spans are half open byte offsets into the line; an empty span is none."""

    #: Index of the format that fitted, None: none did and the whole line is the message.
    format: int | None
    message: tuple[int, int]
    #: Nanoseconds since the epoch, NO_TIME for none.
    timestamp: int = NO_TIME
    #: Digits after the second that the text gave.
    precision: int = 0
    #: OpenTelemetry severity number, 0 for none.
    severity: int = 0
    #: The level as written.
    level: tuple[int, int] = _NONE
    #: The format's other fields in its order.
    fields: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What has been read of a header so far (hence not frozen)."""

    spans: list[tuple[int, int]] = field(default_factory=lambda: [_NONE] * MAX_FIELDS)
    level: tuple[int, int] = _NONE
    severity: int = 0
    civil: Civil = field(default_factory=Civil)

    def copy(self) -> "_Reading":
        return replace(self, spans=list(self.spans), civil=replace(self.civil))

    def keep(self, slot: int, line: bytes, start: int, end: int) -> None:
        if slot == LEVEL_SLOT:
            self.level = (start, end)
            self.severity = severity_of(line[start:end])
        elif slot >= 0:
            self.spans[slot] = _NONE if line[start:end] == b"-" else (start, end)


def split(formats: Sequence[HeaderFormat], line: bytes, *, record_time_ns: int = -1, zone: str = "UTC") -> Header:
    """Split `line` by the first of `formats` that fits it.

    Carriage returns and line feeds at the end of the line belong to nothing. `record_time_ns` is negative where the
    record has no time.

    Raises:
        WrongFormat: there is no such zone.
    """
    source_zone = zone_of(zone)
    end = len(line.rstrip(b"\r\n"))
    for index, header_format in enumerate(formats):
        reading = _Reading()
        message = _run(header_format.ops, line, end, reading)
        if message == _FAILED:
            continue
        timestamp = resolve(reading.civil, source_zone, record_time_ns)
        if timestamp is None:
            continue
        return Header(
            format=index,
            message=(message, end),
            timestamp=timestamp,
            precision=reading.civil.precision if timestamp != NO_TIME else 0,
            severity=reading.severity,
            level=reading.level,
            fields=tuple(reading.spans[: len(header_format.fields)]),
        )
    return Header(format=None, message=(0, end))


def fits(header_format: HeaderFormat, line: bytes) -> bool:
    """Say whether `header_format` fits `line`, whatever its record's time and zone."""
    reading = _Reading()
    if _run(header_format.ops, line, len(line.rstrip(b"\r\n")), reading) == _FAILED:
        return False
    return resolve(reading.civil, zone_of("UTC"), -1) is not None


def _run(ops: Sequence[Op], line: bytes, end: int, reading: _Reading) -> int:
    """Run a program, return where the message starts."""
    position = index = 0
    attempt: tuple[int, int, _Reading] | None = None  # where to go on, from which position, with what had been read
    while True:
        op = ops[index]
        index += 1
        if op.code is Code.MESSAGE:
            return position
        if op.code is Code.TRY:
            attempt = (op.number, position, reading.copy())
        elif op.code is Code.COMMIT:
            attempt = None
            index = op.number
        else:
            position = _READERS[op.code](op, ops, line, position, end, reading)
            if position == _FAILED:
                if attempt is None:
                    return _FAILED
                index, position, before = attempt
                attempt = None
                reading.spans, reading.level, reading.severity = before.spans, before.level, before.severity
                reading.civil = before.civil


def _literal(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, _reading: _Reading) -> int:
    after = position + len(op.literal)
    return after if after <= end and line.startswith(op.literal, position) else _FAILED


_WHITE = re.compile(rb"[ \t]*")


def _gap(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, _reading: _Reading) -> int:
    white = _WHITE.match(line, position, end)
    return white.end() if white else position


def _space(op: Op, ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    after = _gap(op, ops, line, position, end, reading)
    return after if after > position or position == end else _FAILED


def _scan(op: Op, ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    at = position
    attention = _one_of(op.attention)
    while True:
        found = attention.search(line, at, end)
        at = found.start() if found else end
        if any(_stops_at(ops[first : first + count], line, at, end, reading) for first, count in op.stops):
            break
        if at == end or line[at] == 10 or (op.number and line[at] in b" \t"):
            return _FAILED
        # What does not end the field at the first byte of a run of white space does not end it within the run.
        at = _gap(op, ops, line, at, end, reading) if line[at] in b" \t" else at + 1
    if at - position < op.fewest:
        return _FAILED
    reading.keep(op.slot, line, position, at)
    return at


@cache
def _one_of(members: bytes) -> re.Pattern[bytes]:
    return re.compile(b"[" + re.escape(members) + b"]")


def _stops_at(stop: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> bool:
    for op in stop:
        position = _READERS[op.code](op, stop, line, position, end, reading)
        if position == _FAILED:
            return False
    return True


_RUNS = [
    re.compile(b"[" + re.escape(bytes(sorted(first))) + b"][" + re.escape(bytes(sorted(members))) + b"]*")
    for first, members in zip(RUN_FIRST_BYTES, RUN_BYTES, strict=True)
]


def _read_run(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    run = _RUNS[op.number].match(line, position, end)
    if run is None:
        return _FAILED
    reading.keep(op.slot, line, position, run.end())
    return run.end()


_LEVEL = re.compile(rb"[A-Za-z0-9]{2,}")


def _level(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    word = _LEVEL.match(line, position, end)
    if word is None or not (op.number or word[0].isupper() or word[0].islower()):
        return _FAILED
    reading.severity = SEVERITY_OF_WORD.get(word[0].upper(), 0)
    reading.level = word.span()
    return word.end() if reading.severity else _FAILED


def _mark(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    if position == end:
        return _FAILED
    reading.severity = (SEVERITY_OF_MARK if op.number else SEVERITY_OF_LETTER).get(line[position], 0)
    reading.level = (position, position + 1)
    return position + 1 if reading.severity else _FAILED


def _digits(line: bytes, position: int, end: int, count: int, most: int, least: int = 0) -> int:
    """Return the number that exactly `count` digits make, _FAILED if they don't or it is out of range."""
    text = line[position : min(position + count, end)]
    if len(text) != count or not text.isdigit():
        return _FAILED
    number = int(text)
    return number if least <= number <= most else _FAILED


def _year(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    reading.civil.year = _digits(line, position, end, 4, LAST_YEAR, FIRST_YEAR)
    return _FAILED if reading.civil.year == _FAILED else position + 4


def _short_year(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    year = _digits(line, position, end, 2, 99)
    reading.civil.year = year + (1900 if year >= 69 else 2000)
    return _FAILED if year == _FAILED else position + 2


def _month(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    reading.civil.month = _digits(line, position, end, 2, 12, 1)
    return _FAILED if reading.civil.month == _FAILED else position + 2


_LETTERS = re.compile(rb"[A-Za-z]*")


def _after_name(op: Op, line: bytes, position: int, end: int) -> int:
    rest = _LETTERS.match(line, position, end) if op.number else None
    return rest.end() if rest else position


def _month_name(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    month = MONTH_OF_NAME.get(line[position : min(position + 3, end)].lower())
    if month is None:
        return _FAILED
    reading.civil.month = month
    return _after_name(op, line, position + 3, end)


def _weekday(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, _reading: _Reading) -> int:
    known = line[position : min(position + 3, end)].lower() in WEEKDAY_NAMES
    return _after_name(op, line, position + 3, end) if known else _FAILED


def _one_or_two(line: bytes, position: int, end: int, most: int, least: int) -> tuple[int, int]:
    """Return the number that one or two digits after at most one space make, and the position after it."""
    start = position + 1 if line[position : min(position + 1, end)] == b" " else position
    number, after = _digits(line, start, end, 2, 99), start + 2
    if number == _FAILED:
        number, after = _digits(line, start, end, 1, 9), start + 1
    return (number, after) if least <= number <= most else (0, _FAILED)


def _day(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    if op.number:
        reading.civil.day, after = _one_or_two(line, position, end, 31, 1)
        return after
    reading.civil.day = _digits(line, position, end, 2, 31, 1)
    return _FAILED if reading.civil.day == _FAILED else position + 2


def _hour(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    reading.civil.has_clock = True
    if op.number:
        most, least = (12, 1) if op.number == 2 else (23, 0)
        reading.civil.hour, after = _one_or_two(line, position, end, most, least)
        return after
    reading.civil.hour = _digits(line, position, end, 2, 23)
    return _FAILED if reading.civil.hour == _FAILED else position + 2


def _minute(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    reading.civil.minute = _digits(line, position, end, 2, 59)
    return _FAILED if reading.civil.minute == _FAILED else position + 2


def _second(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    reading.civil.second = _digits(line, position, end, 2, 60)
    return _FAILED if reading.civil.second == _FAILED else position + 2


def _half(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    word = line[position : min(position + 2, end)].lower()
    if word not in {b"am", b"pm"}:
        return _FAILED
    reading.civil.half = 2 if word == b"pm" else 1
    return position + 2


_FRACTION = re.compile(rb"[0-9]{1,9}")


def _fraction(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    start = position
    if op.number:
        if line[position : min(position + 1, end)] not in {b".", b","}:
            return position
        start += 1
    digits = _FRACTION.match(line, start, end)
    if digits is None:
        return position if op.number else _FAILED
    reading.civil.precision = len(digits[0])
    reading.civil.fraction = int(digits[0].ljust(9, b"0"))
    return digits.end()


_OFFSET = re.compile(rb"([+-])([0-9]{2})(?::?([0-9]{2}))?")
_CAPITALS = re.compile(rb"[A-Z]{1,5}")


def _zone(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    offset = _OFFSET.match(line, position, end)
    if offset and int(offset[2]) <= 23 and int(offset[3] or 0) <= 59:
        seconds = int(offset[2]) * 3600 + int(offset[3] or 0) * 60
        reading.civil.offset = -seconds if offset[1] == b"-" else seconds
        return offset.end()
    if op.number & ZONE_NAMED:
        name = _CAPITALS.match(line, position, end)
        if name:
            reading.civil.offset = ZONE_ABBREVIATIONS.get(name[0].decode(), reading.civil.offset)
            return name.end()
    elif line[position : min(position + 1, end)] in {b"Z", b"z"}:
        reading.civil.offset = 0
        return position + 1
    return position if op.number & ZONE_OPTIONAL else _FAILED


_COUNT = re.compile(rb"[0-9]{9,19}")


def _epoch(op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    count = _COUNT.match(line, position, end)
    if count is None:
        return _FAILED
    length = len(count[0])
    digits = op.number if op.number >= 0 else (0 if length <= 11 else 3 if length <= 14 else 6 if length <= 17 else 9)
    # A second is left over for the fraction that may follow.
    if int(count[0]) > (MOST_NANOSECONDS - SECOND) // 10 ** (9 - digits):
        return _FAILED
    nanoseconds = int(count[0]) * 10 ** (9 - digits)
    reading.civil.fraction = nanoseconds % SECOND
    reading.civil.epoch = nanoseconds - reading.civil.fraction
    reading.civil.precision = digits
    return count.end()


def _date(op: Op, ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    if end - position < 10 or line[position + 4] != op.number or line[position + 7] != op.number:
        return _FAILED
    fitted = (
        _year(op, ops, line, position, end, reading) != _FAILED
        and _month(op, ops, line, position + 5, end, reading) != _FAILED
        and _day(_TWO_DIGITS, ops, line, position + 8, end, reading) != _FAILED
    )
    return position + 10 if fitted else _FAILED


def _clock(op: Op, ops: Sequence[Op], line: bytes, position: int, end: int, reading: _Reading) -> int:
    if end - position < 8 or line[position + 2] != op.number or line[position + 5] != op.number:
        return _FAILED
    fitted = (
        _hour(_TWO_DIGITS, ops, line, position, end, reading) != _FAILED
        and _minute(op, ops, line, position + 3, end, reading) != _FAILED
        and _second(op, ops, line, position + 6, end, reading) != _FAILED
    )
    return position + 8 if fitted else _FAILED


_TWO_DIGITS = Op(code=Code.DAY)


def _date_end(_op: Op, _ops: Sequence[Op], line: bytes, position: int, end: int, _reading: _Reading) -> int:
    return position + 1 if line[position : min(position + 1, end)] in {b"T", b"t", b" "} else _FAILED


_Reader = Callable[[Op, Sequence[Op], bytes, int, int, _Reading], int]
_READERS: Mapping[Code, _Reader] = {
    Code.LITERAL: _literal,
    Code.SPACE: _space,
    Code.GAP: _gap,
    Code.SCAN: _scan,
    Code.RUN: _read_run,
    Code.LEVEL: _level,
    Code.MARK: _mark,
    Code.YEAR: _year,
    Code.SHORT_YEAR: _short_year,
    Code.MONTH: _month,
    Code.MONTH_NAME: _month_name,
    Code.WEEKDAY: _weekday,
    Code.DAY: _day,
    Code.HOUR: _hour,
    Code.MINUTE: _minute,
    Code.SECOND: _second,
    Code.HALF: _half,
    Code.FRACTION: _fraction,
    Code.ZONE: _zone,
    Code.EPOCH: _epoch,
    Code.DATE: _date,
    Code.CLOCK: _clock,
    Code.DATE_END: _date_end,
}
