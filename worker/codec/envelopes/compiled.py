"""Runs the compiled readers of envelopes over a batch. What they leave, the decoders of this package open."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.codec.envelopes.structured import Structure
from worker.codec.envelopes.values import attribute_name, level_severity, members
from worker.columns.json_envelope import ATTRIBUTES_ROOM, DONE, UNUSUAL, field_table, open_json
from worker.columns.layout import I64, NO_TIME, NONE, U8, Records, Texts
from worker.columns.line_envelopes import ATTRIBUTES_ROOM as SYSLOG_ROOM
from worker.columns.line_envelopes import open_cri, open_syslog
from worker.columns.written_times import CHANGING
from worker.parsing.headers.levels import SEVERITY_OF_WORD
from worker.parsing.timestamps import Zone

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A batch as far as it is opened: a row per record."""

    texts: Texts
    #: 1 for rows whose line goes on in the next, (n,).
    partial: U8
    #: Rows that are left, ascending, (rows,).
    left: I64


def nothing_opened(records: Records, alive: Mask) -> Opened:
    """Return a row without a text for each record, and all that are alive as left."""
    rows = len(records.offset)
    texts = Texts(
        buffer=np.empty(0, np.uint8),
        start=np.zeros(rows, np.int64),
        length=np.full(rows, NONE, np.int64),
        record=np.arange(rows, dtype=np.int64),
        place=np.full(rows, NONE, np.int64),
        attributes_buffer=np.empty(0, np.uint8),
        attributes_start=np.zeros(rows, np.int64),
        attributes_length=np.zeros(rows, np.int64),
        timestamp=np.full(rows, NO_TIME, np.int64),
        severity=np.zeros(rows, np.uint8),
    )
    return Opened(texts=texts, partial=np.zeros(rows, np.uint8), left=np.flatnonzero(alive))


class Reader(Protocol):
    """A compiled reader of one kind of envelope."""

    def open(self, records: Records, alive: Mask) -> Opened:
        """Open what it can of the rows that are alive."""
        ...


def _fixed_offset(zone: Zone) -> int:
    return CHANGING if zone.changes else zone.offsets[0]


class JsonReader:
    """Opens JSON objects of usual shape."""

    def __init__(self, structure: Structure) -> None:
        """Take the fields of the source."""
        numbers = {b"%0*d" % (width, n): level_severity(str(n)) for width in (2, 1) for n in range(100)}
        fields = structure.fields
        self._structure = structure
        self._offset = _fixed_offset(structure.zone)
        self._table = field_table(
            message=fields.message,
            timestamp=fields.timestamp,
            level=fields.level,
            reserved=structure.reserved,
            severity_of_word={**SEVERITY_OF_WORD, **numbers},
        )

    def open(self, records: Records, alive: Mask) -> Opened:
        """Open what it can of the rows that are alive."""
        opened = nothing_opened(records, alive)
        texts, fields, table = opened.texts, self._structure.fields, self._table
        length = np.where(alive, records.value_length, NONE)
        size = int(records.value_length[alive].sum())
        unescaped, attributes = np.empty(size, np.uint8), np.empty(size + ATTRIBUTES_ROOM, np.uint8)
        status = np.empty(len(length), np.uint8)
        used, written = open_json(
            records.buffer, records.value_start, length, table.fields.text, table.fields.entries, table.roles,
            table.levels.text, table.levels.entries, table.ranks, fields.guessed, fields.cut_bytes, self._offset,
            self._structure.max_depth, status, opened.partial, texts.start, texts.length, texts.attributes_start,
            texts.attributes_length, texts.timestamp, texts.severity, unescaped, attributes,
        )  # fmt: skip
        buffer = np.concatenate([records.buffer, unescaped[:used]]) if used else records.buffer
        return Opened(
            texts=texts._replace(buffer=buffer, attributes_buffer=attributes[:written]),
            partial=opened.partial,
            left=np.flatnonzero(status == UNUSUAL),
        )


class CriReader:
    """Opens CRI's lines."""

    def __init__(self, reserved: frozenset[str]) -> None:
        """Take the attribute names that are taken."""
        streams = [members({"stream": stream}, reserved) for stream in ("stdout", "stderr")]
        self._attributes = np.frombuffer(bytearray(b"".join(streams)), np.uint8)
        self._edge = len(streams[0])

    def open(self, records: Records, alive: Mask) -> Opened:
        """Open what it can of the rows that are alive."""
        opened = nothing_opened(records, alive)
        texts = opened.texts
        length = np.where(alive, records.value_length, NONE)
        status, is_stderr = np.empty(len(length), np.uint8), np.zeros(len(length), np.uint8)
        open_cri(
            records.buffer, records.value_start, length, status, opened.partial, is_stderr, texts.start, texts.length,
            texts.timestamp,
        )  # fmt: skip
        stderr = is_stderr.astype(np.int64)
        size = np.where(is_stderr, len(self._attributes) - self._edge, self._edge)
        return Opened(
            texts=texts._replace(
                buffer=records.buffer,
                attributes_buffer=self._attributes,
                attributes_start=stderr * self._edge,
                attributes_length=np.where(status == DONE, size, 0),
            ),
            partial=opened.partial,
            left=np.flatnonzero(status == UNUSUAL),
        )


class SyslogReader:
    """Opens syslog lines without structured data."""

    def __init__(self, zone: Zone, reserved: frozenset[str]) -> None:
        """Take the zone of times that name none and the attribute names that are taken."""
        names = ("syslog.facility", "host.name", "process.name", "process.pid", "syslog.procid", "syslog.msgid")
        written = [b'"%b":' % attribute_name(name, reserved).encode() for name in names]
        self._offset = _fixed_offset(zone)
        self._names = np.frombuffer(bytearray(b"".join(written)), np.uint8)
        self._edges = np.array([0, *accumulate(map(len, written))], np.int64)

    def open(self, records: Records, alive: Mask) -> Opened:
        """Open what it can of the rows that are alive."""
        opened = nothing_opened(records, alive)
        texts = opened.texts
        length = np.where(alive, records.value_length, NONE)
        status = np.empty(len(length), np.uint8)
        attributes = np.empty(len(length) * (SYSLOG_ROOM + len(self._names)), np.uint8)
        written = open_syslog(
            records.buffer, records.value_start, length, records.timestamp, self._offset, self._names, self._edges,
            status, texts.start, texts.length, texts.attributes_start, texts.attributes_length, texts.timestamp,
            texts.severity, attributes,
        )  # fmt: skip
        return Opened(
            texts=texts._replace(buffer=records.buffer, attributes_buffer=attributes[:written].copy()),
            partial=opened.partial,
            left=np.flatnonzero(status == UNUSUAL),
        )
