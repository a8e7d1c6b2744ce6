"""RFC 3339 out of nanoseconds, and calendar arithmetic, for kernels. The reference is `worker.parsing.timestamps`.

Nanoseconds since the epoch in 64 bits reach from 1677-09-21 to 2262-04-11, so a year always has four digits.
"""

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
def year_and_month(days: int) -> tuple[int, int]:
    """Return the year and the month of a day counted from 1970-01-01; the year is positive."""
    shifted = days + 719468
    era = shifted // 146097
    day_of_era = shifted - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return year_of_era + era * 400 + (1 if month <= 2 else 0), month


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
    # Days to civil, after Howard Hinnant's `civil_from_days`; the sum is positive for every 64-bit `ns`.
    shifted = days + 719468
    era = shifted // 146097
    day_of_era = shifted - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
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
        for _ in range(9 - digits):
            fraction //= 10
        for i in range(digits, 0, -1):
            rest = fraction // 10
            target[position + i] = 48 + fraction - rest * 10
            fraction = rest
        position += digits + 1
    target[position] = 90
    return position + 1
