"""The kinds of values that settings take: how they are written in TOML and in a variable, and what is allowed.

Knows nothing of where a value comes from.
"""

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """What may be written, for the messages and for the table of settings."""

    #: Completes "allowed: ...".
    text: str


def _none(written: Any) -> Any:
    """Read `none` and the empty text as None: TOML has no null, a variable neither."""
    return None if isinstance(written, str) and written.strip().lower() in {"", "none"} else written


def _listed(written: Any) -> Any:
    """Read a text as a JSON array where it starts as one, else as a list with commas."""
    if not isinstance(written, str):
        return written
    if written.lstrip().startswith("["):
        return _from_json(written)
    return [part.strip() for part in written.split(",") if part.strip()]


def one_or_several(written: Any) -> Any:
    """Read a text as a JSON array where all of it is one, else as a single entry, commas and all."""
    if not isinstance(written, str):
        return written
    if written.lstrip().startswith('["'):
        return _from_json(written)
    return [written] if written.strip() else []


def pairs(written: Any) -> Any:
    """Read a text as a JSON object where it starts as one, else as `name=value` with commas."""
    if not isinstance(written, str):
        return written
    if written.lstrip().startswith("{"):
        return _from_json(written)
    pairs = [part.partition("=") for part in written.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("a part holds no `=`")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _message_types(written: Any) -> Any:
    """Read `default` as an empty table, `none` as None, and a list as a table without words."""
    if isinstance(written, str) and written.strip().lower() in {"default", "none", ""}:
        return {} if written.strip().lower() == "default" else None
    if not isinstance(written, Mapping):
        written = _from_json(written) if isinstance(written, str) and written.lstrip()[:1] == "{" else _listed(written)
    if isinstance(written, list | tuple):
        if not written:
            raise ValueError("empty: write none for no types")
        return dict.fromkeys(written, ())
    if not isinstance(written, Mapping):
        return written
    return {name: (words,) if isinstance(words, str) else words for name, words in written.items()}


def _type_names(types: Mapping[str, tuple[str, ...]] | None) -> Mapping[str, tuple[str, ...]] | None:
    """Accept as many types as a metric's label may have."""
    if types is None:
        return None
    if len(types) > _MOST_TYPES:
        raise ValueError(f"{len(types)} types: {_MOST_TYPES} at most, each is a series of the metrics")
    for name in types:
        if not (0 < len(name.strip()) <= _LONGEST_TYPE and name.isprintable()):
            raise ValueError(f"{name!r} is no type: up to {_LONGEST_TYPE} printable characters")
    return types


def _from_json(written: str) -> Any:
    try:
        return json.loads(written)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"no readable JSON: {exc}") from exc


def _lowered(written: Any) -> Any:
    return written.strip().lower() if isinstance(written, str) else written


def _raised(written: Any) -> Any:
    return written.strip().upper() if isinstance(written, str) else written


def _address(written: str) -> str:
    host, colon, port = written.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536) or "/" in host:
        raise ValueError("not host:port")
    return written


def _topic(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", written) or written in {".", ".."}:
        raise ValueError("no name that Kafka allows")
    return written


def _pattern(written: str) -> str:
    try:
        pattern = re.compile(rf"(?:{written})\Z")
    except re.error as exc:
        raise ValueError(f"not a regular expression: {exc}") from exc
    if pattern.groups:
        # The patterns of all sources become one subscription; groups would be counted across them.
        raise ValueError("holds a group: write (?:...)")
    return written


def _readable_file(written: Path) -> Path:
    if not written.is_file():
        raise ValueError("no such file")
    return written


def time_zone(name: str) -> tzinfo:
    """Give the zone that is called `name`: an IANA name or an offset such as +02:00. Raises ValueError."""
    offset = re.fullmatch(r"([+-])(\d\d):?([0-5]\d)", name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as exc:
        raise ValueError("no such zone") from exc


def _zone(written: str) -> str:
    time_zone(written)
    return written


def _encoding(written: str) -> str:
    try:
        return codecs.lookup(written).name
    except LookupError as exc:
        raise ValueError("no such encoding") from exc


def _redis_url(written: str) -> str:
    if not re.match(r"(redis|rediss)://\S+\Z|unix:///\S+\Z", written):
        raise ValueError("not an address of Redis")
    return written


def _otlp_endpoint(written: str) -> str:
    if not re.match(r"https?://[^\s/?#@]+(/[^\s?#]*)?\Z", written):
        raise ValueError("no address of a collector; what proves who asks goes into headers")
    return written.rstrip("/")


def _headers(written: SecretStr) -> SecretStr:
    """Accept headers; what is wrong is told without them, for they are secret."""
    headers_of(written.get_secret_value())
    return written


def headers_of(written: str) -> dict[str, str]:
    """Read `name=value` with commas, values percent-encoded or not, as OpenTelemetry's variable. Raises ValueError."""
    found = {}
    for number, part in enumerate((part for part in written.split(",") if part.strip()), 1):
        name, _, value = part.partition("=")
        value = unquote(value.strip())
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) or not re.fullmatch(r"[ -~]+", value):
            raise ValueError(f"header {number} is not name=value")
        found[name.strip().lower()] = value
    if not found:
        raise ValueError("empty: write none for no headers")
    return found


def _source_name(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", written):
        raise ValueError("no name for a source")
    return written


def _device(written: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", written):
        raise ValueError("no such device")
    return written


#: What bounds the metrics: types of one source, and characters of one.
_MOST_TYPES, _LONGEST_TYPE = 64, 64

Maybe = Annotated[T | None, BeforeValidator(_none)]
#: A literal whose case does not matter.
Lower = Annotated[T, BeforeValidator(_lowered)]
Upper = Annotated[T, BeforeValidator(_raised)]

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed), Allowed(text="an array, or text with commas")]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    Allowed(text="host:port, several with commas"),
]
Topic = Annotated[str, AfterValidator(_topic), Allowed(text="a topic: letters, digits, `.`, `_`, `-`; 249 at most")]
Topics = Annotated[
    tuple[Annotated[str, AfterValidator(_topic)], ...],
    BeforeValidator(_listed),
    Allowed(text="topics (letters, digits, `.`, `_`, `-`), several with commas"),
]
Pattern = Annotated[
    str, AfterValidator(_pattern), Allowed(text="a regular expression for the whole topic, without groups")
]
SourceName = Annotated[
    str, AfterValidator(_source_name), Allowed(text="letters, digits, `.`, `_`, `-`; 100 at most, a letter first")
]
ReadableFile = Annotated[Path, AfterValidator(_readable_file), Allowed(text="a file that can be read")]
Zone = Annotated[str, AfterValidator(_zone), Allowed(text="a zone such as Europe/Berlin, or an offset such as +02:00")]
Encoding = Annotated[str, AfterValidator(_encoding), Allowed(text="an encoding such as utf-8 or latin-1")]
RedisUrl = Annotated[
    str, AfterValidator(_redis_url), Allowed(text="redis://host:port/0, rediss://... with TLS, or unix:///path")
]
OtlpEndpoint = Annotated[
    str, AfterValidator(_otlp_endpoint), Allowed(text="http://host:port, or https://... with TLS, with a path or not")
]
SecretHeaders = Annotated[
    SecretStr,
    AfterValidator(_headers),
    Allowed(text="name=value with commas, values percent-encoded or not (a secret)"),
]
Device = Annotated[str, BeforeValidator(_lowered), AfterValidator(_device), Allowed(text="auto, cpu, cuda or cuda:N")]
Attributes = Annotated[
    Mapping[str, str], BeforeValidator(pairs), Allowed(text="a table, or name=value with commas, or a JSON object")
]
ParameterNames = Annotated[
    Mapping[str, tuple[str, ...]],
    BeforeValidator(pairs),
    Allowed(text="a table of arrays: template (its text or id) to the names of its parameters"),
]
AskedTypes = Annotated[
    Mapping[str, tuple[Text, ...]] | None,
    BeforeValidator(_message_types),
    AfterValidator(_type_names),
    Allowed(text="default, none, names (an array, or text with commas), or a table: name to words or examples of it"),
]
