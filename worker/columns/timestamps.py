"""RFC 3339 out of nanoseconds, and calendar arithmetic, for kernels. The reference is `worker.parsing.timestamps`.

Nanoseconds since the epoch in 64 bits reach from 1677-09-21 to 2262-04-11, so a year always has four digits.
"""

import numpy as np

from worker.columns.jit import inlined, kernel
from worker.columns.layout import U8

#: Most bytes that `write_timestamp` writes.
MAX_TIMESTAMP_BYTES = 30


@inlined
def days_from_civil(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date of the Gregorian calendar; the year is positive."""
    shifted = year - 1 if month <= 2 else year  # a year that starts in March has its leap day last
    era = shifted // 400
    year_of_era = shifted - era * 400
    month_from_march = month - 3 if month > 2 else month + 9
    day_of_year = (153 * month_from_march + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


@inlined
def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return the year, month and day of a day counted from 1970-01-01; years from 0 on.

    After Neri and Schneider, "Euclidean affine functions and their application to calendar algorithms" (2023): unsigned
    multiplications and shifts, four times as quick as divisions by the lengths of centuries and years.
    """
    shifted = np.uint64(4) * np.uint64(days + 719468) + np.uint64(3)  # from March 1 of the year 0
    century = shifted // np.uint64(146097)
    day_of_century = (shifted % np.uint64(146097)) // np.uint64(4)
    product = np.uint64(2939745) * (np.uint64(4) * day_of_century + np.uint64(3))
    day_of_year = (product & np.uint64(0xFFFFFFFF)) // np.uint64(2939745 * 4)
    month_and_day = np.uint64(2141) * day_of_year + np.uint64(197913)
    month = np.int64(month_and_day >> np.uint64(16))
    day = np.int64((month_and_day & np.uint64(0xFFFF)) // np.uint64(2141)) + 1
    year = np.int64(np.uint64(100) * century + (product >> np.uint64(32)))
    if month > 12:  # January and February end a year that starts in March
        return int(year + 1), int(month - 12), int(day)
    return int(year), int(month), int(day)


@inlined
def _write_two(target: U8, position: int, number: int) -> None:
    tens = number // 10
    target[position] = 48 + tens
    target[position + 1] = 48 + number - tens * 10


@kernel
def write_timestamp(target: U8, position: int, ns: int, precision: int) -> int:
    """Write `ns` as `YYYY-MM-DDTHH:MM:SS[.f]Z` at `position`, return the position after it.

    `precision` is the number of digits after the second, 0 to 9 (clamped); digits beyond it are cut, not rounded.
    `target` needs room for MAX_TIMESTAMP_BYTES.
    """
    seconds = ns // 1_000_000_000
    fraction = ns - seconds * 1_000_000_000
    days = seconds // 86400
    second_of_day = seconds - days * 86400
    year, month, day = civil_from_days(days)
    century = year // 100
    _write_two(target, position, century)
    _write_two(target, position + 2, year - century * 100)
    target[position + 4] = 45
    _write_two(target, position + 5, month)
    target[position + 7] = 45
    _write_two(target, position + 8, day)
    target[position + 10] = 84
    hour = second_of_day // 3600
    minute = second_of_day // 60 - hour * 60
    _write_two(target, position + 11, hour)
    target[position + 13] = 58
    _write_two(target, position + 14, minute)
    target[position + 16] = 58
    _write_two(target, position + 17, second_of_day - hour * 3600 - minute * 60)
    position += 19
    digits = min(max(precision, 0), 9)
    if digits > 0:
        target[position] = 46
        if digits == 3:  # what texts mostly have, divided by a constant
            rest = fraction // 1_000_000
        elif digits == 6:
            rest = fraction // 1000
        else:
            rest = fraction
            for _ in range(9 - digits):
                rest //= 10
        at = position + digits
        while at > position + 1:
            hundreds = rest // 100
            _write_two(target, at - 1, rest - hundreds * 100)
            rest = hundreds
            at -= 2
        if at > position:
            target[at] = 48 + rest
        position += digits + 1
    target[position] = 90
    return position + 1
