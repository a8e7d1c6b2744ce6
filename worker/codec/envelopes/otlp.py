"""OTLP's logs as JSON (ExportLogsServiceRequest): one record holds many log records. The reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from worker.codec.envelopes.values import COLLISION_PREFIX, Entry, Number, members, read_json, text_of, time_of
from worker.errors import Undecodable
from worker.parsing.timestamps import NO_TIME, Zone

#: Attribute names of a log record's own fields; the rest is named as OTLP names it.
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "traceId": "trace_id",
        "spanId": "span_id",
        "flags": "trace_flags",
        "eventName": "event_name",
        "severityText": "severity_text",
        "observedTimeUnixNano": "observed_time_unix_nano",
        "droppedAttributesCount": "dropped_attributes_count",
    }
)
_UTC = Zone(name="UTC", changes=(), offsets=(0,))
_HIDDEN = frozenset({"body", "attributes", "timeUnixNano", "severityNumber"})


@dataclass(frozen=True, kw_only=True, slots=True)
class OtlpEnvelope:
    """`resourceLogs[].scopeLogs[].logRecords[]`; resource and scope stay with each of their log records."""

    reserved: frozenset[str]
    max_depth: int

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return an entry for each log record, none where there are none; Raises Undecodable."""
        del record_time_ms
        request = read_json(value, self.max_depth)
        if not isinstance(request, dict) or not isinstance(request.get("resourceLogs"), list):
            raise Undecodable("not OTLP: no list `resourceLogs`")
        return [
            self._entry(log, around)
            for logs in _objects(request, "resourceLogs")
            for scoped in _objects(logs, "scopeLogs")
            for around in [_part("resource", logs) | _part("scope", scoped)]
            for log in _objects(scoped, "logRecords")
        ]

    def _entry(self, log: dict[str, Any], around: dict[str, Any]) -> Entry:
        timestamp = NO_TIME
        for name in ("timeUnixNano", "observedTimeUnixNano"):
            if timestamp in {NO_TIME, 0}:  # the data model writes 0 for an unknown time
                timestamp = _nanoseconds(log.get(name))
        own = {_NAMES.get(name, name): value for name, value in log.items() if name not in _HIDDEN and value != ""}
        number = log.get("severityNumber")
        severity = int(number) if isinstance(number, Number) and number.isdigit() and int(number) <= 24 else 0
        fields = own | around
        for key, value in _attributes(log).items():
            name = key
            while name in fields:
                name = COLLISION_PREFIX + name
            fields[name] = value
        body = _any_value(log.get("body"))
        return Entry(
            text=b"" if body is None else text_of(body),
            attributes=members(fields, self.reserved),
            timestamp=timestamp,
            severity=severity,
        )


def _nanoseconds(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return time_of(value, _UTC)
    ns = int(text)
    return ns if 0 < ns < 1 << 63 else NO_TIME


def _objects(parent: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects, empty where there is none. Raises Undecodable for anything else."""
    listed = parent.get(name) or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise Undecodable(f"not OTLP: `{name}` is no list of objects")
    return listed


def _part(name: str, holder: dict[str, Any]) -> dict[str, Any]:
    """Return a resource or scope under its name, its attributes flattened into it; nothing where it says nothing."""
    part = holder.get(name)
    part = part if isinstance(part, dict) else {}
    flat = {key: value for key, value in part.items() if key != "attributes"} | _attributes(part)
    if holder.get("schemaUrl"):
        flat["schema_url"] = holder["schemaUrl"]
    return {name: flat} if flat else {}


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return _pairs(holder, "attributes")


def _pairs(holder: dict[str, Any], name: str) -> dict[str, Any]:
    listed = _objects(holder, name)
    return {str(pair.get("key", "")): _any_value(pair.get("value")) for pair in listed}


def _any_value(value: Any) -> Any:
    """Return an AnyValue as the JSON value it stands for; what is none of its shapes stays as it is."""
    match value:
        case {"stringValue": inner} | {"boolValue": inner} | {"doubleValue": inner} | {"bytesValue": inner}:
            return inner
        case {"intValue": inner}:  # 64-bit integers are strings in protobuf's JSON
            return Number(inner) if isinstance(inner, str) and _is_integer(inner) else inner
        case {"arrayValue": {"values": [*values]}}:
            return [_any_value(each) for each in values]
        case {"kvlistValue": {"values": [*_]} as pairs}:
            return _pairs(pairs, "values")
        case {}:
            return value or None
    return value


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0")
