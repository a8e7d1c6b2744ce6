"""JSON and msgpack envelopes: an object whose fields are message, time, level and attributes. The reference."""

from dataclasses import dataclass, replace
from typing import Any

from worker.codec.envelopes.fields import Fields
from worker.codec.envelopes.values import (
    Entry,
    level_severity,
    members,
    read_json,
    read_msgpack,
    read_msgpack_stream,
    text_of,
    time_of,
    write_json,
)
from worker.errors import Undecodable
from worker.parsing.timestamps import NO_TIME, Zone


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """How an object becomes an entry."""

    fields: Fields
    #: The zone of times that name none.
    zone: Zone
    #: Attribute names that are taken.
    reserved: frozenset[str]
    max_depth: int

    def entry(self, record: dict[str, Any], whole: bytes) -> Entry:
        """Take message, time and level out of `record`; `whole` gives the text of a record that has no message.

        Raises Undecodable where the message is declared and missing.
        """
        severity = next((found for path in self.fields.level if (found := level_severity(_find(record, path)))), 0)
        timestamp = NO_TIME
        for path in self.fields.timestamp:
            timestamp = time_of(_find(record, path), self.zone)
            if timestamp != NO_TIME:
                _remove(record, path)
                break
        for path in self.fields.message:
            message = _find(record, path)
            if message is None or (self.fields.guessed and type(message) is not str):
                continue
            _remove(record, path)
            text = text_of(message)
            cut = len(text) >= self.fields.cut_bytes and type(message) is str and not message.endswith("\n")
            return Entry(
                text=text,
                attributes=members(record, self.reserved),
                timestamp=timestamp,
                severity=severity,
                partial=cut,
            )
        if not self.fields.guessed:
            names = " or ".join(f"`{path}`" for path in self.fields.message)
            raise Undecodable(f"has no field {names}")
        return Entry(text=whole, timestamp=timestamp, severity=severity)


def _find(record: dict[str, Any], path: str) -> Any:
    """Return what stands under a flat key or a nested path, None for nothing."""
    if path in record:
        return record[path]
    head, _, rest = path.partition(".")
    inner = record.get(head)
    return _find(inner, rest) if rest and isinstance(inner, dict) else None


def _remove(record: dict[str, Any], path: str) -> None:
    if path in record:
        del record[path]
        return
    head, _, rest = path.partition(".")
    _remove(record[head], rest)


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonEnvelope:
    """One JSON object, or an array of them, per record."""

    structure: Structure

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return the record's entries; Raises Undecodable."""
        del record_time_ms
        decoded = read_json(value, self.structure.max_depth)
        if isinstance(decoded, dict):
            return [self.structure.entry(decoded, value.strip())]
        if isinstance(decoded, list) and decoded and all(isinstance(record, dict) for record in decoded):
            return [self.structure.entry(record, write_json(record)) for record in decoded]
        raise Undecodable("JSON, but no object")


@dataclass(frozen=True, kw_only=True, slots=True)
class MsgpackEnvelope:
    """One msgpack map per record, or Fluent Bit's and Fluentd's arrays around maps.

    Arrays: `[time, map]`, `[[time, metadata], map]`, and Fluentd's forward protocol: `[tag, time, map]`,
    `[tag, [[time, map], ...]]`, `[tag, packed entries]`, each with or without options at its end.
    """

    structure: Structure

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return the record's entries; Raises Undecodable."""
        del record_time_ms
        match read_msgpack(value, self.structure.max_depth):
            case dict() as record:
                return [self._entry(record, None, None)]
            case [str() as tag, [*pairs]] | [str() as tag, [*pairs], _]:
                return [self._pair(pair, tag) for pair in pairs]
            case [str() as tag, bytes() as packed] | [str() as tag, bytes() as packed, _]:
                return [self._pair(pair, tag) for pair in read_msgpack_stream(packed, self.structure.max_depth)]
            case [str() as tag, time, dict() as record] | [str() as tag, time, dict() as record, _]:
                return [self._entry(record, time, tag)]
            case pair:
                return [self._pair(pair, None)]

    def _pair(self, pair: Any, tag: str | None) -> Entry:
        match pair:
            case [[time, dict() as metadata], dict() as record]:
                return self._entry({**metadata, **record}, time, tag)
            case [time, dict() as record]:
                return self._entry(record, time, tag)
        raise Undecodable("msgpack, but neither a map nor a shape of Fluentd or Fluent Bit")

    def _entry(self, record: dict[str, Any], time: Any, tag: str | None) -> Entry:
        if tag is not None:
            record.setdefault("tag", tag)
        whole = members(record, frozenset())
        entry = self.structure.entry(record, b"{%b}" % whole)
        timestamp = time_of(time, self.structure.zone)
        return replace(entry, timestamp=timestamp) if entry.timestamp == NO_TIME else entry
