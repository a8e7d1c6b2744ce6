"""Times out of log lines and RFC 3339 out of times: the reference. Knows nothing of numba.

A time is a whole number of nanoseconds since 1970-01-01T00:00:00Z in 64 bits: 1677-09-21 to 2262-04-11.
"""

from datetime import date

#: No time is known (the smallest 64-bit integer, as in the columns).
NO_TIME = -(1 << 63)

SECOND = 1_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def rfc3339(ns: int, digits: int) -> bytes:
    """Write nanoseconds since the epoch as UTC with `digits` (0 to 9) digits after the second, cut, not rounded."""
    seconds, fraction = divmod(ns, SECOND)
    days, second_of_day = divmod(seconds, 86400)
    minutes, second = divmod(second_of_day, 60)
    clock = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
    point = "." + f"{fraction:09}"[:digits] if digits else ""
    return f"{date.fromordinal(days + _EPOCH_DAY).isoformat()}T{clock}{point}Z".encode()
