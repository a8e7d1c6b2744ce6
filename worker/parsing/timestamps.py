"""Times out of log lines and RFC 3339 out of times: the reference. Knows nothing of numba.

A time is a whole number of nanoseconds since 1970-01-01T00:00:00Z in 64 bits: 1677-09-21 to 2262-04-11.

Rules for a time in a text:

- A zone in the text wins, else the source's zone holds. A local time that occurs twice is the first of the two; one
  that is skipped moves forward by the length of the gap.
- Without a year it is the year, and without a date the day, that puts the time nearest to the record's own time, the
  earlier of two. Without a record time there is no time then.
- A count since 1970 wins over a date. Of two pieces of one kind the later wins. A date without a clock is midnight.
- A second of 60 is the first of the next minute.
- A date that does not exist does not fit. Half a date (a day without a month) is no time.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from worker.errors import WrongFormat

#: No time is known (the smallest 64-bit integer, as in the columns).
NO_TIME = -(1 << 63)
MOST_NANOSECONDS = (1 << 63) - 1
#: A record time from 2262 on is none: arithmetic near the end of 64 bits of nanoseconds would overflow.
RECORD_TIME_LIMIT = (date(2262, 1, 1).toordinal() - date(1970, 1, 1).toordinal()) * 86400 * 1_000_000_000
#: `Civil.offset` when the text has no zone.
NO_OFFSET = 1 << 20
#: First and last year of `YEAR`.
FIRST_YEAR, LAST_YEAR = 1678, 2261

SECOND = 1_000_000_000
DAY_SECONDS = 86400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
#: February 29 may be eight years away from the record: 1900 was no leap year.
_LEAP_REACH = 8

#: Zone abbreviations that are understood, seconds east of UTC. Others count as the source's own zone: many mean
#: several zones (IST, BST, CST in China), and software prints the abbreviation of the zone it runs in.
ZONE_ABBREVIATIONS = {
    "UTC": 0, "GMT": 0, "UT": 0, "Z": 0, "WET": 0, "WEST": 3600, "CET": 3600, "CEST": 7200, "EET": 7200, "EEST": 10800,
    "MSK": 10800, "EST": -18000, "EDT": -14400, "CST": -21600, "CDT": -18000, "MST": -25200, "MDT": -21600,
    "PST": -28800, "PDT": -25200, "JST": 32400, "KST": 32400, "AEST": 36000, "AEDT": 39600,
}  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH_OF_NAME = {name.encode(): month for month, name in enumerate(_MONTHS, start=1)}
WEEKDAY_NAMES = frozenset((b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"))


def rfc3339(ns: int, digits: int) -> bytes:
    """Write nanoseconds since the epoch as UTC with `digits` (0 to 9) digits after the second, cut, not rounded."""
    seconds, fraction = divmod(ns, SECOND)
    days, second_of_day = divmod(seconds, DAY_SECONDS)
    minutes, second = divmod(second_of_day, 60)
    clock = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
    point = "." + f"{fraction:09}"[:digits] if digits else ""
    return f"{date.fromordinal(days + _EPOCH_DAY).isoformat()}T{clock}{point}Z".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """When a zone's offset from UTC changes, for local times from 1970 to 2100; the outermost offsets hold beyond."""

    name: str
    #: Local seconds since 1970-01-01T00:00:00 from which offset i + 1 holds, ascending.
    changes: tuple[int, ...]
    #: Seconds east of UTC, one more than there are changes.
    offsets: tuple[int, ...]

    def to_utc(self, local_seconds: int) -> int:
        """Return the UTC seconds of a local time: the first if it occurs twice, shifted forward if it is skipped."""
        return local_seconds - self.offsets[bisect_right(self.changes, local_seconds)]


_ZONE_START = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp())
_ZONE_END = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
#: No zone changes its offset twice within so short a time.
_ZONE_STEP = 5 * DAY_SECONDS


@lru_cache(maxsize=64)
def zone_of(name: str) -> Zone:
    """Look up a zone by its IANA name.

    Raises:
        WrongFormat: there is no such zone.
    """
    try:
        info = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise WrongFormat(f"no time zone is named {name!r}; give an IANA name like UTC or Europe/Berlin") from exc

    def offset_at(utc_seconds: int) -> int:
        local = datetime.fromtimestamp(utc_seconds, info).utcoffset()
        return round((local or timedelta()).total_seconds())

    changes: list[int] = []
    offsets = [offset_at(_ZONE_START)]
    for start in range(_ZONE_START, _ZONE_END, _ZONE_STEP):
        after = offset_at(start + _ZONE_STEP)
        if after == offsets[-1]:
            continue
        low, high = start, start + _ZONE_STEP
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if offset_at(middle) == after else (middle, high)
        # The offset before the change holds for the local times that occur twice and for those that are skipped.
        changes.append(high + max(offsets[-1], after))
        offsets.append(after)
    return Zone(name=name, changes=tuple(changes), offsets=tuple(offsets))


@dataclass(slots=True, kw_only=True)
class Civil:
    """The pieces of a time as they are read, 0 for a piece that was not (hence not frozen)."""

    year: int = 0
    month: int = 0
    day: int = 0
    hour: int = 0
    minute: int = 0
    second: int = 0
    #: Nanoseconds after the second.
    fraction: int = 0
    #: Digits after the second.
    precision: int = 0
    #: 1 for AM, 2 for PM.
    half: int = 0
    #: Seconds east of UTC, NO_OFFSET for none.
    offset: int = NO_OFFSET
    #: Nanoseconds since the epoch of the whole second that a count gave, NO_TIME for none.
    epoch: int = NO_TIME
    has_clock: bool = False


def resolve(civil: Civil, zone: Zone, record_time_ns: int) -> int | None:
    """Return nanoseconds since the epoch, NO_TIME if the pieces make none, None if there is no such date.

    `record_time_ns`: the record's own time; negative, or RECORD_TIME_LIMIT and more, is none.
    """
    if civil.epoch != NO_TIME:
        return civil.epoch + civil.fraction
    if not civil.month and not civil.day and not civil.year:
        return _nearest_day(civil, zone, record_time_ns) if civil.has_clock else NO_TIME
    if not civil.month or not civil.day:
        return NO_TIME
    if civil.year:
        days = _days(civil.year, civil.month, civil.day)
        return None if days is None else _time_on(days, civil, zone)
    return _nearest_year(civil, zone, record_time_ns)


def _days(year: int, month: int, day: int) -> int | None:
    try:
        return date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:  # February 30
        return None


def _time_on(days: int, civil: Civil, zone: Zone) -> int:
    hour = civil.hour
    if civil.half:
        hour = hour % 12 + (12 if civil.half == 2 else 0)
    local = days * DAY_SECONDS + hour * 3600 + civil.minute * 60 + civil.second
    utc = zone.to_utc(local) if civil.offset == NO_OFFSET else local - civil.offset
    return utc * SECOND + civil.fraction


def _nearest(times: list[int], record_time_ns: int) -> int:
    return min(times, key=lambda time: (abs(time - record_time_ns), time), default=NO_TIME)


def _nearest_day(civil: Civil, zone: Zone, record_time_ns: int) -> int:
    if not 0 <= record_time_ns < RECORD_TIME_LIMIT:
        return NO_TIME
    today = record_time_ns // SECOND // DAY_SECONDS
    # Two days either way: a zone may be fourteen hours from UTC, and the nearest time twelve hours from the record's.
    return _nearest([_time_on(today + shift, civil, zone) for shift in range(-2, 3)], record_time_ns)


def _nearest_year(civil: Civil, zone: Zone, record_time_ns: int) -> int | None:
    if _days(2000, civil.month, civil.day) is None:
        return None
    if not 0 <= record_time_ns < RECORD_TIME_LIMIT:
        return NO_TIME
    this_year = date.fromordinal(record_time_ns // SECOND // DAY_SECONDS + _EPOCH_DAY).year
    reach = _LEAP_REACH if (civil.month, civil.day) == (2, 29) else 1
    years = range(max(FIRST_YEAR, this_year - reach), min(LAST_YEAR, this_year + reach) + 1)
    dates = [_days(year, civil.month, civil.day) for year in years]
    return _nearest([_time_on(days, civil, zone) for days in dates if days is not None], record_time_ns)
