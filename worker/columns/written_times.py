"""Times as envelopes write them, for kernels: RFC 3339 and epoch numbers.

The reference is `time_of` in `worker.codec.envelopes.values`.
"""

from worker.columns.jit import kernel
from worker.columns.layout import NO_TIME, U8
from worker.columns.timestamps import days_from_civil
from worker.parsing.timestamps import FIRST_YEAR, LAST_YEAR

#: No answer: ask the reference. No time in the reach of 64 bits is this near to the end.
UNSURE = NO_TIME + 1
#: The zone of times that name none changes its offset.
CHANGING = 1 << 20


@kernel
def two_digits(buffer: U8, at: int) -> int:
    """Read two digits, -1 if there are none; both bytes must be there."""
    tens, ones = int(buffer[at]) - 48, int(buffer[at + 1]) - 48
    return tens * 10 + ones if tens >= 0 and tens <= 9 and ones >= 0 and ones <= 9 else -1


@kernel
def days_in_month(year: int, month: int) -> int:
    """Return how many days a month from 1 to 12 has."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@kernel
def read_epoch(buffer: U8, start: int, end: int) -> int:
    """Read `digits` or `digits.digits` as seconds, ms, us or ns, by its size; NO_TIME, or UNSURE, where it is none."""
    if end - start > 40:
        return NO_TIME
    whole = 0
    at = start
    while at < end and buffer[at] >= 48 and buffer[at] <= 57:
        if at - start == 18:
            return UNSURE
        whole = whole * 10 + int(buffer[at]) - 48
        at += 1
    if at == start:
        return NO_TIME
    fraction = digits = 0
    if at < end:
        if buffer[at] != 46:
            return NO_TIME
        for place in range(at + 1, end):
            if buffer[place] < 48 or buffer[place] > 57:
                return NO_TIME
            if digits < 9:
                fraction = fraction * 10 + int(buffer[place]) - 48
                digits += 1
    while digits < 9:
        fraction *= 10
        digits += 1
    if whole < 100_000_000:
        return NO_TIME
    if whole < 100_000_000_000:
        # Seconds up to 2262 fit, larger ones count milliseconds from 1 << 63 on: the reference says what they are.
        return UNSURE if whole > 9_223_372_035 else whole * 1_000_000_000 + fraction
    if whole < 100_000_000_000_000:
        return UNSURE if whole > 9_223_372_036_853 else whole * 1_000_000 + fraction // 1000
    if whole < 100_000_000_000_000_000:
        return UNSURE if whole > 9_223_372_036_854_774 else whole * 1000 + fraction // 1_000_000
    return whole


@kernel
def read_time(buffer: U8, start: int, end: int, offset: int) -> int:
    """Read RFC 3339 or an epoch number; NO_TIME where it is neither, UNSURE where the reference must say.

    `offset` is that of times that name no zone, seconds east of UTC, or CHANGING.
    """
    if end - start < 19 or buffer[start + 4] != 45:
        return read_epoch(buffer, start, end)
    digits14 = 0
    for place in range(19):  # 2026-11-22T15:00:00
        byte = int(buffer[start + place])
        if place == 4 or place == 7:
            if byte != 45:
                return NO_TIME
        elif place == 13 or place == 16:
            if byte != 58:
                return NO_TIME
        elif place == 10:
            if byte != 84 and byte != 116 and byte != 32:
                return NO_TIME
        elif byte < 48 or byte > 57:
            return NO_TIME
        else:
            digits14 = digits14 * 10 + byte - 48
    clock = digits14 % 1_000_000
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    days = digits14 // 1_000_000
    year, month, day = days // 10_000, days // 100 % 100, days % 100
    if month < 1 or month > 12 or day < 1 or hour > 23 or minute > 59 or second > 60:
        return NO_TIME
    if year < FIRST_YEAR or year > LAST_YEAR or day > days_in_month(year, month):
        return NO_TIME
    at = start + 19
    fraction = digits = 0
    if at < end and (buffer[at] == 46 or buffer[at] == 44):
        at += 1
        first = at
        while at < end and buffer[at] >= 48 and buffer[at] <= 57:
            if digits < 9:
                fraction = fraction * 10 + int(buffer[at]) - 48
                digits += 1
            at += 1
        if at == first:
            return NO_TIME
    while digits < 9:
        fraction *= 10
        digits += 1
    away = offset
    if at < end:
        if buffer[at] == 32:
            at += 1
        left = end - at
        if left == 1 and (buffer[at] == 90 or buffer[at] == 122):
            away = 0
        elif left == 3 and buffer[at] == 85 and buffer[at + 1] == 84 and buffer[at + 2] == 67:
            away = 0
        elif (left == 3 or left == 5 or left == 6) and (buffer[at] == 43 or buffer[at] == 45):
            hours, minutes = two_digits(buffer, at + 1), 0
            if left == 5:
                minutes = two_digits(buffer, at + 3)
            elif left == 6:
                minutes = two_digits(buffer, at + 4) if buffer[at + 3] == 58 else -1
            if hours < 0 or minutes < 0:
                return NO_TIME
            away = hours * 3600 + minutes * 60
            if buffer[at] == 45:
                away = -away
        else:
            return NO_TIME
    if away == CHANGING:
        return UNSURE
    days = days_from_civil(year, month, day)
    return (days * 86400 + hour * 3600 + minute * 60 + second - away) * 1_000_000_000 + fraction
