"""Opens the envelopes of a batch: records in, raw texts and dead rows out. Knows nothing of Kafka.

What a compiled reader can't do, and what no reader is compiled for, is decoded record by record in plain Python; both
give the same texts, times, severities and, as JSON, the same attributes.
"""

import codecs
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from worker.codec.envelopes.compiled import CriReader, JsonReader, Mask, Opened, Reader, SyslogReader, nothing_opened
from worker.codec.envelopes.fields import AUTO, PRESETS, Fields
from worker.codec.envelopes.lines import CriEnvelope, SyslogEnvelope
from worker.codec.envelopes.otlp import OtlpEnvelope
from worker.codec.envelopes.structured import JsonEnvelope, MsgpackEnvelope, Structure
from worker.codec.envelopes.values import Entry
from worker.columns.layout import I64, NONE, U8, Records, Texts
from worker.errors import TooLarge, Undecodable, WrongSettings
from worker.parsing.timestamps import zone_of

#: What `Envelope` takes as its kind, beside the names of `PRESETS`, which are JSON with these fields.
KINDS = ("auto", "raw", "json", "msgpack", "cri", "syslog", "otlp")
#: Smallest share of the first records that makes a kind the source's own.
_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadRow:
    """A record whose envelope can't be opened."""

    #: Row of `Records`.
    record: int
    reason: str
    #: What is wrong with it, in the decoder's words.
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedEnvelopes:
    """The raw texts of a batch. Every record has at least one row; dead records and tombstones have length -1."""

    texts: Texts
    dead: Sequence[DeadRow]
    #: Records with a null value: no events, no dead letters.
    tombstones: int
    #: Rows whose line goes on in the next row of the same stream (key and attributes), (n,); None: no row does.
    partial: Mask | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """What `auto` found."""

    #: One of KINDS but `auto`.
    kind: str
    #: Records looked at, and the share of them that are of that kind.
    records: int
    share: float
    #: It does not change any more.
    pinned: bool


class Decoder(Protocol):
    """Opens one record's envelope."""

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return the raw texts of `value`. Raises Undecodable."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RawEnvelope:
    """No envelope: the value is the text."""

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return `value` without its line end."""
        del record_time_ms
        return [Entry(text=value.removesuffix(b"\n").removesuffix(b"\r"))]


class Envelope:
    """Opens the envelopes of one source. Only `auto` keeps anything between batches: what it found."""

    def __init__(
        self,
        kind: str = "auto",
        *,
        fields: Fields | None = None,
        encoding: str = "utf-8",
        zone: str = "UTC",
        reserved: frozenset[str] = frozenset(),
        max_record_bytes: int = 1 << 20,
        max_depth: int = 64,
        detection_records: int = 256,
    ) -> None:
        """Take a kind of KINDS or a preset's name; `fields` are those of JSON and msgpack.

        `reserved` are attribute names that envelope fields must not take, `zone` is that of times that name none.
        Raises WrongSettings and, for the zone, WrongFormat.
        """
        if kind not in KINDS and kind not in PRESETS:
            raise WrongSettings(f"envelope {kind!r} is none of {', '.join([*KINDS, *sorted(PRESETS)])}")
        try:
            self._encoding = codecs.lookup(encoding).name
            "".encode(encoding)
        except LookupError as error:
            raise WrongSettings(f"encoding {encoding!r} is not known") from error
        time_zone = zone_of(zone)
        structure = Structure(
            fields=fields or PRESETS.get(kind, AUTO), zone=time_zone, reserved=reserved, max_depth=max_depth
        )
        self._decoders: Mapping[str, Decoder] = {
            "raw": RawEnvelope(),
            "json": JsonEnvelope(structure=structure),
            "msgpack": MsgpackEnvelope(structure=structure),
            "cri": CriEnvelope(reserved=reserved),
            "syslog": SyslogEnvelope(zone=time_zone, reserved=reserved),
            "otlp": OtlpEnvelope(reserved=reserved, max_depth=max_depth),
        }
        self._readers: Mapping[str, Reader] = {
            "json": JsonReader(structure),
            "cri": CriReader(reserved),
            "syslog": SyslogReader(time_zone, reserved),
        }
        self._kind = kind if kind in KINDS else "json"
        self._max_record_bytes = max_record_bytes
        self._detection_records = detection_records
        self._votes: Counter[str] = Counter()
        self._detection: Detection | None = None

    @property
    def kind(self) -> str:
        """One of KINDS: the declared one, or what `auto` found so far."""
        return self._detection.kind if self._detection else self._kind

    @property
    def detection(self) -> Detection | None:
        """What `auto` found so far; None for a declared kind and before the first record."""
        return self._detection

    def open(self, records: Records) -> OpenedEnvelopes:
        """Return the texts of all records; bad input becomes dead rows and never raises."""
        tombstones = records.value_length == NONE
        too_large = records.value_length > self._max_record_bytes
        alive = ~(tombstones | too_large)
        dead = [self._too_large(records, row) for row in np.flatnonzero(too_large).tolist()]
        kind = self._kind
        if kind != "msgpack" and self._encoding not in {"utf-8", "ascii"}:
            records = _transcode(records, alive, self._encoding)
        if kind == "auto":
            kind = self._detect(records, alive)
        if kind == "raw":
            texts, partial = _raw(records, alive), None
        else:
            texts, partial = self._decode(kind, records, alive, dead)
        return OpenedEnvelopes(texts=texts, dead=dead, tombstones=int(tombstones.sum()), partial=partial)

    def _too_large(self, records: Records, row: int) -> DeadRow:
        error = f"{records.value_length[row]} bytes, the limit is {self._max_record_bytes}"
        return DeadRow(record=row, reason=TooLarge.reason, error=error)

    def _detect(self, records: Records, alive: Mask) -> str:
        """Return the kind of the source, from this batch too until enough records were seen."""
        missing = self._detection_records - self._votes.total()
        for row in np.flatnonzero(alive)[: max(missing, 0)].tolist():
            self._votes[self._sniff(_value(records, row))] += 1
        seen = self._votes.total()
        if missing > 0 and seen:
            structured = Counter({kind: votes for kind, votes in self._votes.items() if kind != "raw"})
            found = [kind for kind, votes in structured.most_common(1) if votes >= _SHARE * seen]
            kind = found[0] if found else "raw"
            self._detection = Detection(
                kind=kind, records=seen, share=self._votes[kind] / seen, pinned=seen >= self._detection_records
            )
        return self._detection.kind if self._detection else "raw"

    def _sniff(self, value: bytes) -> str:
        """Return the first kind that `value` looks like and that opens it, `raw` where none does."""
        for kind in _candidates(value):
            try:
                self._decoders[kind].decode(value, 0)
            except Undecodable:
                continue
            return kind
        return "raw"

    def _decode(self, kind: str, records: Records, alive: Mask, dead: list[DeadRow]) -> tuple[Texts, Mask | None]:
        reader = self._readers.get(kind)
        opened = reader.open(records, alive) if reader else nothing_opened(records, alive)
        decoded: dict[int, list[Entry]] = {}
        for row in opened.left.tolist():
            try:
                decoded[row] = self._entries(kind, _value(records, row), int(records.timestamp[row]))
            except Undecodable as error:
                dead.append(DeadRow(record=row, reason=error.reason, error=str(error)))
        dead.sort(key=lambda letter: letter.record)
        return _columns(opened, decoded)

    def _entries(self, kind: str, value: bytes, record_time_ms: int) -> list[Entry]:
        """Decode as `kind`; under `auto` what does not fit is tried as the others, and as text."""
        if self._kind != "auto":
            return self._decoders[kind].decode(value, record_time_ms)
        candidates = _candidates(value)
        # Kinds that need a sign at the front are not asked about lines without it: failing costs more than looking.
        asked = [kind, *candidates] if kind == "syslog" or kind in candidates else candidates
        words = f"not {kind}, and no text"
        for each in dict.fromkeys(asked):
            try:
                return self._decoders[each].decode(value, record_time_ms)
            except Undecodable as error:
                words = str(error) if each == kind else words
        if not _is_text(value):
            raise Undecodable(words)
        return self._decoders["raw"].decode(value, record_time_ms)


_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # the escape character starts colours


def _is_text(value: bytes) -> bool:
    """Tell text in any encoding that keeps ASCII from binary by its control characters."""
    return len(_CONTROL.findall(value, 0, 1024)) * 20 <= min(len(value), 1024)


def _candidates(value: bytes) -> Sequence[str]:
    """Return the kinds that `value` may be, by its first byte."""
    first = value.lstrip(b" \t\r\n\xef\xbb\xbf")[:1]
    if first in {b"{", b"["}:
        return ("otlp", "json") if b'"resourceLogs"' in value else ("json",)
    if first == b"<":
        return ("syslog",)
    if value[:1] >= b"\x80":
        return ("msgpack",)
    return ("cri",) if first.isdigit() else ()


def _value(records: Records, row: int) -> bytes:
    start = int(records.value_start[row])
    return records.buffer[start : start + int(records.value_length[row])].tobytes()


def _transcode(records: Records, alive: Mask, encoding: str) -> Records:
    """Return records whose buffer holds the living values alone, in UTF-8; what has no meaning becomes U+FFFD."""
    values = [
        _value(records, row).decode(encoding, "replace").encode("utf-8", "replace") if living else b""
        for row, living in enumerate(alive.tolist())
    ]
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    return records._replace(
        buffer=_buffer(values),
        value_start=np.cumsum(lengths) - lengths,
        value_length=np.where(alive, lengths, records.value_length),
    )


def _buffer(pieces: Sequence[bytes]) -> U8:
    """Return a writable array, as kernels want it."""
    return np.frombuffer(bytearray(b"".join(pieces)), np.uint8)


def _raw(records: Records, alive: Mask) -> Texts:
    """Point at the values where they are; a line end at the end of a value is not part of the text."""
    start, length, buffer = records.value_start, np.where(alive, records.value_length, NONE), records.buffer
    for end in b"\n\r":
        ended = length > 0
        if len(buffer):
            last = buffer[np.where(ended, start + length - 1, 0)]
            length -= ended & (last == end)
    return nothing_opened(records, alive).texts._replace(buffer=buffer, start=start, length=length)


def _columns(opened: Opened, decoded: Mapping[int, Sequence[Entry]]) -> tuple[Texts, Mask | None]:
    """Put decoded entries into the rows of their records; a record with several gets several rows."""
    base, partial = opened.texts, opened.partial.astype(np.bool_)
    if not decoded:
        return base, partial if partial.any() else None
    counts = np.ones(len(base.start), np.int64)
    for row, entries in decoded.items():
        counts[row] = max(len(entries), 1)
    first = np.cumsum(counts) - counts
    entries = [entry for row in decoded for entry in decoded[row]]
    rows = np.concatenate(
        [np.arange(first[row], first[row] + len(decoded[row]), dtype=np.int64) for row in decoded],
    )
    source = np.repeat(np.arange(len(base.start)), counts)
    start, length, buffer = _placed(
        base.buffer, base.start[source], base.length[source], rows, [e.text for e in entries]
    )
    attributes = _placed(
        base.attributes_buffer,
        base.attributes_start[source],
        base.attributes_length[source],
        rows,
        [e.attributes for e in entries],
    )
    timestamp, severity, partial = base.timestamp[source], base.severity[source], partial[source]
    timestamp[rows] = [entry.timestamp for entry in entries]
    severity[rows] = [entry.severity for entry in entries]
    partial[rows] = [entry.partial for entry in entries]
    texts = Texts(
        buffer=buffer,
        start=start,
        length=length,
        record=base.record[source],
        place=np.where(counts[source] > 1, np.arange(len(source)) - first[source], NONE),
        attributes_buffer=attributes[2],
        attributes_start=attributes[0],
        attributes_length=attributes[1],
        timestamp=timestamp,
        severity=severity,
    )
    return texts, partial if partial.any() else None


def _placed(buffer: U8, start: I64, length: I64, rows: I64, pieces: Sequence[bytes]) -> tuple[I64, I64, U8]:
    """Append `pieces` to `buffer` and point `rows` at them; returns start, length and the longer buffer."""
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    start[rows] = len(buffer) + np.cumsum(lengths) - lengths
    length[rows] = lengths
    added = _buffer(pieces)
    return start, length, np.concatenate([buffer, added]) if len(buffer) else added
