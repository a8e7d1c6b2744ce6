"""Times in texts become nanoseconds, and nanoseconds become RFC 3339."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import WrongFormat
from worker.parsing.headers import parse_format, split
from worker.parsing.timestamps import NO_TIME, RECORD_TIME_LIMIT, SECOND, rfc3339, zone_of

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Africa/Casablanca", "Australia/Lord_Howe", "Asia/Kathmandu")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(shape: str, text: str, *, zone: str = "UTC", record: str | None = None) -> str | None:
    """Read `text` by a time's declaration, return it as RFC 3339 as precise as it is; None if it does not fit."""
    record_ns = -1 if record is None else round(datetime.fromisoformat(record).timestamp()) * SECOND
    declaration = f"<t:{shape}>;<message>" if "%" in shape else f"<{shape}>;<message>"
    header = split([parse_format(declaration)], f"{text};".encode(), record_time_ns=record_ns, zone=zone)
    if header.format is None:
        return None
    return "" if header.timestamp == NO_TIME else rfc3339(header.timestamp, header.precision).decode()


@pytest.mark.parametrize(
    ("shape", "text", "expected"),
    [
        ("%+", "2026-11-02T15:04:05Z", "2026-11-02T15:04:05Z"),
        ("%+", "2026-11-02 15:04:05,123", "2026-11-02T15:04:05.123Z"),
        ("%+", "2026-11-02t15:04:05.123456789+02:00", "2026-11-02T13:04:05.123456789Z"),
        ("%+", "2026-11-02T15:04:05.5-0330", "2026-11-02T18:34:05.5Z"),
        ("%+", "2026-11-02T15:04:05+01", "2026-11-02T14:04:05Z"),
        ("%d/%b/%Y:%H:%M:%S %z", "02/Nov/2026:15:04:05 -0800", "2026-11-02T23:04:05Z"),
        ("%y%m%d %H%M%S", "081109 203518", "2008-11-09T20:35:18Z"),
        ("%y%m%d", "690101", "1969-01-01T00:00:00Z"),
        ("%y%m%d", "681231", "2068-12-31T00:00:00Z"),
        ("%d %b %Y %H:%M:%S%.f", "02 nov 2026 15:04:05.123", "2026-11-02T15:04:05.123Z"),
        ("%Y-%m-%d %H:%M:%S%.f %Z", "2026-11-02 15:04:05.123 UTC", "2026-11-02T15:04:05.123Z"),
        ("%Y-%m-%d %H:%M:%S%.f %Z", "2026-11-02 15:04:05.123 PST", "2026-11-02T23:04:05.123Z"),
        ("%Y-%m-%d %H:%M:%S%.f %Z", "2026-11-02 15:04:05.123 +03", "2026-11-02T12:04:05.123Z"),
        ("%Y-%m-%d-%H.%M.%S.%f", "2005-06-03-15.42.50.363779", "2005-06-03T15:42:50.363779Z"),
        ("%a, %d %b %Y %H:%M:%S %Z", "Mon, 02 Nov 2026 15:04:05 GMT", "2026-11-02T15:04:05Z"),
        ("%a %b %e %H:%M:%S %Y", "Sun Dec 04 04:47:44 2005", "2005-12-04T04:47:44Z"),
        ("%A, %e %B %Y %k:%M", "Monday,  2 November 2026  5:04", "2026-11-02T05:04:00Z"),
        ("%b %e, %Y %I:%M:%S %p", "Nov 02, 2026 12:04:05 AM", "2026-11-02T00:04:05Z"),
        ("%b %e, %Y %I:%M:%S %p", "Nov 2, 2026 3:04:05 pm", "2026-11-02T15:04:05Z"),
        ("%s", "1604329445", "2020-11-02T15:04:05Z"),
        ("%s%.f", "1604329445.25", "2020-11-02T15:04:05.25Z"),
        ("%Q", "1604329445123", "2020-11-02T15:04:05.123Z"),
        ("%i", "1604329445123456", "2020-11-02T15:04:05.123456Z"),
        ("%i", "1604329445123456789", "2020-11-02T15:04:05.123456789Z"),
        ("%F %T%%", "2026-11-02 15:04:05%", "2026-11-02T15:04:05Z"),
        ("%F %T", "2016-12-31 23:59:60", "2017-01-01T00:00:00Z"),
        ("%F", "2024-02-29", "2024-02-29T00:00:00Z"),
        ("Timestamp", "Mon Nov  2 15:04:05 2026", "2026-11-02T15:04:05Z"),
        ("Timestamp", "1604329445.25", "2020-11-02T15:04:05.25Z"),
        ("Timestamp", "1604329445123", "2020-11-02T15:04:05.123Z"),
        ("Date", "2005.06.03", "2005-06-03T00:00:00Z"),
    ],
)
def test_shape_is_read(shape: str, text: str, expected: str) -> None:
    """Each directive reads what it says, as precisely as the text has it."""
    assert time_of(shape, text) == expected


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("%F", "2026-02-30"), ("%F", "2025-02-29"), ("%F", "2026-13-01"), ("%F", "2026-00-01"), ("%F", "2026-11-00"),
        ("%F", "1677-01-01"), ("%F", "2262-01-01"), ("%F", "2026/11/02"), ("%T", "25:00:00"), ("%T", "23:60:00"),
        ("%T", "23:59:61"), ("%T", "1:02:03"), ("%I %p", "13 PM"), ("%I %p", "0 AM"), ("%I %p", "1 XM"),
        ("%b %e", "Foo 1"), ("%b %e", "Feb 30"), ("%b %e", "Feb 0"), ("%a", "Foo"), ("%z", "UTC"), ("%z", "+24:00"),
        ("%z", "+1:00"), ("%Z", "utc"), ("%f", ""), ("%f", "1234567890"), ("%s", "12345678"), ("%s", "99999999999"),
        ("%Q", "9999999999999999999"), ("%i", "99999999999999999999"), ("%Y", "20a6"), ("%k", "24"), ("%M", "6"),
    ],
)  # fmt: skip
def test_what_is_no_time_does_not_fit(shape: str, text: str) -> None:
    """Dates that do not exist, numbers out of range and other words do not fit."""
    assert time_of(shape, text) is None


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-07-01 12:00:00", "Europe/Berlin", "2026-07-01T10:00:00Z"),
        ("2026-12-01 12:00:00", "Europe/Berlin", "2026-12-01T11:00:00Z"),
        ("2026-10-25 02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"),  # twice: the first
        ("2026-10-25 03:00:00", "Europe/Berlin", "2026-10-25T02:00:00Z"),
        ("2026-03-29 02:30:00", "Europe/Berlin", "2026-03-29T01:30:00Z"),  # skipped: forward by an hour
        ("2026-03-29 02:30:00Z", "Europe/Berlin", "2026-03-29T02:30:00Z"),  # the text's zone wins
        ("2026-07-01 12:00:00", "Asia/Kathmandu", "2026-07-01T06:15:00Z"),
    ],
)
def test_zone_of_the_source_holds_where_the_text_has_none(text: str, zone: str, expected: str) -> None:
    """Local times take the source's zone, daylight saving and its two odd hours included."""
    assert time_of("%+", text, zone=zone) == expected


def test_unknown_abbreviation_is_the_zone_of_the_source() -> None:
    """An abbreviation that several zones share says no more than that the time is local."""
    assert time_of("%F %T %Z", "2026-07-01 12:00:00 IST", zone="Asia/Kolkata") == "2026-07-01T06:30:00Z"


@pytest.mark.parametrize(
    ("text", "record", "expected"),
    [
        ("Nov  2 15:04:05", "2026-11-02T15:06:40+00:00", "2026-11-02T15:04:05Z"),
        ("Dec 31 23:59:59", "2026-01-01T00:00:01+00:00", "2025-12-31T23:59:59Z"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:59+00:00", "2026-01-01T00:00:01Z"),
        ("Jun 30 00:00:00", "2026-01-15T00:00:00+00:00", "2026-06-30T00:00:00Z"),
        ("Aug 30 00:00:00", "2026-01-15T00:00:00+00:00", "2025-08-30T00:00:00Z"),
        ("Feb 29 12:00:00", "2026-11-02T00:00:00+00:00", "2028-02-29T12:00:00Z"),
        ("Feb 29 12:00:00", "2098-11-02T00:00:00+00:00", "2096-02-29T12:00:00Z"),
        ("Nov  2 15:04:05", None, ""),
    ],
)
def test_year_is_the_one_nearest_to_the_record(text: str, record: str | None, expected: str) -> None:
    """A date without a year takes the year nearest to the record's time; without that there is no time."""
    assert time_of("%b %e %H:%M:%S", text, record=record) == expected


@pytest.mark.parametrize(
    ("text", "zone", "record", "expected"),
    [
        ("15:04:05.5", "UTC", "2026-11-02T15:06:40+00:00", "2026-11-02T15:04:05.5Z"),
        ("23:59:59", "UTC", "2026-11-02T00:00:01+00:00", "2026-11-01T23:59:59Z"),
        ("00:00:01", "UTC", "2026-11-02T23:59:59+00:00", "2026-11-03T00:00:01Z"),
        ("12:00:00", "UTC", "2026-11-02T00:00:00+00:00", "2026-11-01T12:00:00Z"),
        ("01:00:00", "Pacific/Kiritimati", "2026-11-02T23:59:00+00:00", "2026-11-03T11:00:00Z"),
        ("15:04:05", "UTC", None, ""),
    ],
)
def test_day_is_the_one_nearest_to_the_record(text: str, zone: str, record: str | None, expected: str) -> None:
    """A clock without a date takes the day nearest to the record's time, the earlier of two."""
    assert time_of("%T%.f", text, zone=zone, record=record) == expected


def test_half_a_date_is_no_time() -> None:
    """A day without a month, or a year alone, makes no time."""
    assert time_of("%e %T", "2 15:04:05", record="2026-11-02T15:06:40+00:00") == ""
    assert time_of("%Y", "2026") == ""


def test_record_time_out_of_reach_is_none() -> None:
    """A record time from 2262 on does not lend its year."""
    formats = [parse_format("<t:%b %e> <message>")]
    assert split(formats, b"Nov 2 x", record_time_ns=RECORD_TIME_LIMIT).timestamp == NO_TIME
    assert split(formats, b"Nov 2 x", record_time_ns=RECORD_TIME_LIMIT - 1).timestamp != NO_TIME


@pytest.mark.parametrize("zone", ZONES)
@given(seconds=st.integers(0, 4_102_444_800))
def test_zone_table_agrees_with_zoneinfo(zone: str, seconds: int) -> None:
    """From 1970 to 2100 every local time, also one that occurs twice or never, is what zoneinfo says."""
    local = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(seconds=seconds)
    assert zone_of(zone).to_utc(seconds) == (local - EPOCH) // timedelta(seconds=1)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_unknown_zone_is_refused(zone: str) -> None:
    """What is no IANA name is a wrong format."""
    with pytest.raises(WrongFormat, match="no time zone is named"):
        zone_of(zone)


@given(st.integers(-9_000_000_000, 9_000_000_000), st.integers(0, SECOND - 1), st.integers(0, 9))
def test_rfc3339_agrees_with_datetime(seconds: int, fraction: int, digits: int) -> None:
    """The text is that of Python's datetime, digits cut."""
    whole = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    point = "." + f"{fraction:09}"[:digits] if digits else ""
    assert rfc3339(seconds * SECOND + fraction, digits) == f"{whole}{point}Z".encode()
