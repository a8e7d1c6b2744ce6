"""Values inside envelopes: JSON that loses nothing, times, severities, attribute names. Plain Python, the reference."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgpack
import orjson

from worker.errors import Undecodable
from worker.parsing.headers.levels import severity_of, severity_of_priority
from worker.parsing.timestamps import (
    FIRST_YEAR,
    LAST_YEAR,
    MOST_NANOSECONDS,
    NO_OFFSET,
    NO_TIME,
    SECOND,
    Civil,
    Zone,
    resolve,
)

#: Attribute names that Logloom writes itself.
RESERVED_PREFIXES = ("log.record.", "logloom.")
#: What an envelope's field that would collide with such a name is prefixed with.
COLLISION_PREFIX = "envelope."

#: Smaller numbers (before March 1973) are no times.
_FIRST_EPOCH_SECOND = 10**8


class Number(str):
    """A JSON number as it was written: neither long integers nor decimals lose digits on their way through."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One raw text out of an envelope."""

    text: bytes
    #: JSON members without their braces.
    attributes: bytes = b""
    #: Nanoseconds since the epoch, NO_TIME for none.
    timestamp: int = NO_TIME
    #: OpenTelemetry severity number, 0 for none.
    severity: int = 0
    #: The line goes on in the next record of the same stream.
    partial: bool = False


_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|u[dD][c-fC-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# What was read is never given back: a string that does not end costs no more than others.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _mend(escape: re.Match[str]) -> str:
    text = escape.group()
    lone = len(text) == 6 and text[2] in "dD" and text[1] == "u"
    return "\\ufffd" if lone else text


def read_json(value: bytes, max_depth: int) -> Any:
    """Read JSON with its numbers as `Number`, lenient where shippers are sloppy.

    Invalid UTF-8 and lone surrogates become U+FFFD, raw control characters stay, NaN and infinities become strings,
    the last of duplicate keys wins. Raises Undecodable for anything else and for nesting beyond `max_depth`.
    """
    text = value.decode("utf-8-sig", "replace")
    _check_depth(text, max_depth)
    if _SURROGATE.search(text):
        text = _ESCAPE.sub(_mend, text)
    try:
        return json.loads(text, strict=False, parse_int=Number, parse_float=Number, parse_constant=str)
    except ValueError as error:
        raise Undecodable(f"not JSON: {error}") from error


def _check_depth(text: str, max_depth: int) -> None:
    if text.count("{") + text.count("[") <= max_depth:
        return
    depth = 0
    for character in _STRING.sub("", text):
        if character in "{[":
            depth += 1
            if depth > max_depth:
                raise Undecodable(f"JSON nested deeper than {max_depth} levels")
        elif character in "}]":
            depth -= 1


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, msgpack.Timestamp):
        return iso_time(value)
    if isinstance(value, Number):
        return orjson.Fragment(str.__str__(value))
    raise TypeError(f"{type(value).__name__} is no JSON value")


def write_json(value: Any) -> bytes:
    """Write what `read_json` or `read_msgpack` gave as compact UTF-8."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


def read_msgpack(value: bytes, max_depth: int) -> Any:
    """Read msgpack as JSON's types, `bytes` and `msgpack.Timestamp`; Fluentd's EventTime becomes one too.

    Invalid UTF-8 becomes U+FFFD. Raises Undecodable, also for nesting beyond `max_depth`.
    """
    decoded = read_msgpack_stream(value, max_depth)
    if len(decoded) != 1:
        raise Undecodable(f"not msgpack: {len(decoded)} objects in one record")
    return decoded[0]


def read_msgpack_stream(packed: bytes, max_depth: int) -> list[Any]:
    """Read all objects of `packed`, as `read_msgpack` does one."""
    unpacker = msgpack.Unpacker(
        strict_map_key=False,
        unicode_errors="replace",
        ext_hook=_extension,
        object_pairs_hook=_text_keys,
        max_buffer_size=max(len(packed), 1),
    )
    decoded = []
    try:
        unpacker.feed(packed)
        while unpacker.tell() < len(packed):
            decoded.append(unpacker.unpack())
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Undecodable(f"not msgpack: {str(error) or type(error).__name__}") from error
    if any(_deeper(each, max_depth) for each in decoded):
        raise Undecodable(f"not msgpack: nested deeper than {max_depth} levels")
    return [_json_types(each) for each in decoded]


def _extension(code: int, payload: bytes) -> Any:
    if code == 0 and len(payload) == 8:  # Fluentd's EventTime
        return msgpack.Timestamp(
            int.from_bytes(payload[:4], "big"), min(int.from_bytes(payload[4:], "big"), SECOND - 1)
        )
    return payload.hex()


def _text_keys(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {_text_key(key): member for key, member in pairs}


def _text_key(key: Any) -> str:
    if isinstance(key, dict | list):  # written as text, each level of a nested key doubles what escapes the last one's
        raise ValueError("a key is a map or an array")  # noqa: TRY004  what wrong msgpack raises
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


def _deeper(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (depth == 0 or any(_deeper(member, depth - 1) for member in value))


def _json_types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_types(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_json_types(member) for member in value]
    if isinstance(value, float) and not -_LARGEST <= value <= _LARGEST:
        return str(value)  # JSON has no such numbers
    return value


_LARGEST = 1.7976931348623157e308


def text_of(value: Any) -> bytes:
    """Return a message as bytes: strings as they are without their line end, all else as JSON."""
    if isinstance(value, str) and not isinstance(value, Number):
        return value.encode().removesuffix(b"\n").removesuffix(b"\r")
    return write_json(value)


def attribute_name(name: str, reserved: frozenset[str]) -> str:
    """Return the name that an envelope's field has among the attributes."""
    while name in reserved or name.startswith(RESERVED_PREFIXES):
        name = COLLISION_PREFIX + name
    return name


def members(fields: Mapping[str, Any], reserved: frozenset[str]) -> bytes:
    """Write JSON members without braces; names that belong to Logloom or are `reserved` get the collision prefix."""
    named: dict[str, Any] = {}
    for key, member in fields.items():
        name = attribute_name(key, reserved)
        while name in named:
            name = COLLISION_PREFIX + name
        named[name] = member
    return write_json(named)[1:-1]


def iso_time(stamp: msgpack.Timestamp) -> str:
    """Write a msgpack timestamp as RFC 3339, or as its nanoseconds where the calendar ends."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=stamp.seconds)
    except OverflowError:
        return str(stamp.to_unix_nano())
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{stamp.nanoseconds:09}Z"


_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?: ?([Zz]|UTC|[+-]\d\d(?::?\d\d)?))?", re.ASCII
)
_NUMBER = re.compile(r"\d+(?:\.\d*)?", re.ASCII)


def time_of(value: Any, zone: Zone) -> int:
    """Return nanoseconds since the epoch, NO_TIME where `value` is no time.

    Reads RFC 3339 with any fraction, `,` for `.` and a space for `T` (`zone` where it names none), and epoch numbers,
    as numbers or strings, whose magnitude says whether they count seconds, ms, us or ns.
    """
    if isinstance(value, msgpack.Timestamp):
        return _in_range(value.to_unix_nano())
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return NO_TIME
    text = format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
    if _NUMBER.fullmatch(text) and len(text) <= 40:
        return _epoch_time(text)
    iso = _ISO.fullmatch(text)
    if iso is None:
        return NO_TIME
    *fields, fraction, offset = iso.groups()
    time = written_time(fields, fraction, offset, zone) if int(fields[0]) else None
    return NO_TIME if time is None else time


def _epoch_time(text: str) -> int:
    whole, _, fraction = text.partition(".")
    number = int(whole)
    if number < _FIRST_EPOCH_SECOND:
        return NO_TIME  # a duration or a count
    for limit, digits in ((10**11, 9), (10**14, 6), (10**17, 3)):
        if number < limit:
            return _in_range(int(whole + fraction[:digits].ljust(digits, "0")))
    return _in_range(number)


def written_time(
    fields: Sequence[str], fraction: str | None, offset: str | None, zone: Zone, record_time_ns: int = -1
) -> int | None:
    """Return the time of a written year (0 for none), month, day, hour, minute and second, by `resolve`'s rules.

    NO_TIME where they make none, None where the calendar or the clock has no such time.
    """
    year, month, day, hour, minute, second = map(int, fields)
    if hour > 23 or minute > 59 or second > 60 or not (year == 0 or FIRST_YEAR <= year <= LAST_YEAR):
        return None
    away = NO_OFFSET if offset is None else 0
    if offset and offset[0] in "+-":
        digits = offset[1:].replace(":", "").ljust(4, "0")
        away = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (1 if offset[0] == "+" else -1)
    civil = Civil(
        year=year,
        month=month,
        day=day,
        hour=hour,
        minute=minute,
        second=second,
        fraction=int((fraction or "").ljust(9, "0")[:9]),
        offset=away,
        has_clock=True,
    )
    return resolve(civil, zone, record_time_ns) if month and day else None


def _in_range(ns: int) -> int:
    return ns if NO_TIME < ns <= MOST_NANOSECONDS else NO_TIME


def level_severity(value: Any) -> int:
    """Return the OpenTelemetry severity number of a level, 0 for none.

    Words in any case; numbers 0 to 7 are syslog's, 10 to 69 those of pino and bunyan.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0
    text = str(value)
    if len(text) <= 2 and text.isascii() and text.isdigit():
        number = int(text)
        return min(1 + 4 * (number // 10 - 1), 21) if 10 <= number <= 69 else severity_of_priority(number)
    return severity_of(text.encode())
