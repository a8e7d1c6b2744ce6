"""Runs the compiled readers of envelopes over a batch. What they leave, the decoders of this package open."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.codec.envelopes.structured import Structure
from worker.codec.envelopes.values import level_severity
from worker.columns.json_envelope import ATTRIBUTES_ROOM, UNUSUAL, field_table, open_json
from worker.columns.layout import I64, NO_TIME, NONE, U8, Records, Texts
from worker.columns.written_times import CHANGING
from worker.parsing.headers.levels import SEVERITY_OF_WORD

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


class JsonReader:
    """Opens JSON objects of usual shape."""

    def __init__(self, structure: Structure) -> None:
        """Take the fields of the source."""
        numbers = {b"%0*d" % (width, n): level_severity(str(n)) for width in (2, 1) for n in range(100)}
        fields, zone = structure.fields, structure.zone
        self._structure = structure
        self._offset = CHANGING if zone.changes else zone.offsets[0]
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
