"""The time of an event, for kernels: which of three it is, and its text."""

from worker.columns.jit import copy_bytes, inlined
from worker.columns.layout import I64, NO_TIME, U8
from worker.columns.text import PADDING
from worker.columns.timestamps import write_timestamp

#: Bytes up to the second.
_SECONDS_END = 19
_SECOND = 1_000_000_000


@inlined
def event_time(header_ns: int, header_digits: int, envelope_ns: int, record_milliseconds: int) -> tuple[int, int]:
    """Choose a row's time: nanoseconds since the epoch, NO_TIME for none, and digits after the second."""
    if header_ns != NO_TIME:
        return header_ns, header_digits
    if envelope_ns != NO_TIME:
        if envelope_ns % 1_000_000 == 0:
            return envelope_ns, 3
        if envelope_ns % 1_000 == 0:
            return envelope_ns, 6
        return envelope_ns, 9
    # Beyond, nanoseconds leave 64 bits: the year 2262.
    if 0 <= record_milliseconds <= 9_223_372_036_854:
        return record_milliseconds * 1_000_000, 3
    return NO_TIME, 0


@inlined
def write_event_time(target: U8, position: int, ns: int, digits: int, clock: U8, clock_second: I64) -> int:
    """Write `ns` as RFC 3339, return the position after it.

    `clock`, PADDING bytes, keeps the text of the second `clock_second`, (1,), because the next row's is mostly the
    same: the calendar costs more than the rest.
    """
    seconds = ns // _SECOND
    if seconds != clock_second[0]:
        clock_second[0] = seconds
        write_timestamp(clock, 0, ns, 0)
    copy_bytes(target, position, clock, 0, PADDING)
    position += _SECONDS_END
    if digits > 0:
        digits = min(digits, 9)
        fraction = ns - seconds * _SECOND
        for _ in range(9 - digits):
            fraction //= 10
        target[position] = 0x2E
        for place in range(digits, 0, -1):
            rest = fraction // 10
            target[position + place] = 0x30 + fraction - rest * 10
            fraction = rest
        position += digits + 1
    target[position] = 0x5A
    return position + 1
