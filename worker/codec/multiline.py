"""Joins raw texts that are one log: lines that a container runtime cut, and the lines of a stack trace.

Rows are joined in their order within a partition and record key (and stream, where the envelope names it). What may
still go on waits for the partition's next batch, as columns, until it is too old. Knows nothing of Kafka: offsets are
numbers here.
"""

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.columns.joining import (
    ALONE,
    HELD,
    JOINED,
    find_continuations,
    gather,
    group_rows,
    plan_joins,
    write_joined,
)
from worker.columns.layout import I64, NONE, U8, Records, Texts

Mask = npt.NDArray[np.bool_]

#: Words of lines that a trace may follow, and the bytes that are looked at for them.
_TROUBLE = re.compile(rb"exception|error|fatal|panic|traceback|critical|severe|fail|throw|caused", re.IGNORECASE)
_LOOKED_AT = 1024
#: So many rows tell whether keys name streams.
_ENOUGH_ROWS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When a text is given out though it may go on."""

    #: Records that make one text.
    max_lines: int = 500
    #: Bytes of one text.
    max_bytes: int = 1 << 20
    #: How long a text waits, from its first record on.
    max_seconds: float = 1.0
    #: Bytes that one partition may hold back; beyond them nothing waits.
    max_held_bytes: int = 16 << 20
    #: Runs of offsets that one partition may hold back: they are told in a commit's metadata, 4 kB by Kafka's default.
    max_held_runs: int = 300
    #: Where nothing was joined for so long, only texts wait that speak of an error: the others need no trace.
    quiet_seconds: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """Texts of which each is one log. Rows that went into another, or are held back, have length -1."""

    texts: Texts
    #: What `texts.record` points into: records held back from earlier batches, then the batch's own.
    records: Records
    #: Rows of the input that each row covers: 0 where it has no text, (n,).
    covers: I64
    #: The first row of the text that each row is part of, itself where it is alone, (n,).
    head: I64
    #: Offsets of the partition that are still held back, ascending and distinct, (h,).
    held: I64

    @property
    def held_offset(self) -> int | None:
        """The lowest offset that is held back: no more may be acknowledged. None: nothing is held."""
        return int(self.held[0]) if self.held.size else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned:
    """What was held back, given back to be begun anew."""

    #: In the order of their offsets, each once.
    records: Records
    #: How many raw logs of these were held back.
    rows: int
    #: When the first of them came, by the caller's clock.
    arrived: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """Rows that wait, in their order; every row has a record and a text."""

    records: Records
    texts: Texts
    #: The row starts a text, as the caller says, (n,); not looked at with `by_rule`.
    starts: U8
    partial: U8
    #: Seconds of the caller's clock, (n,).
    arrived: npt.NDArray[np.float64]
    by_stream: bool
    by_rule: bool


class Standing(NamedTuple):
    """What a joiner knows of one partition."""

    waiting: _Waiting | None
    joined_at: float | None


class Joiner:
    """Joins the texts of one source and remembers what its partitions hold back."""

    def __init__(self, *, limits: Limits | None = None, multiline: bool = True, by_record: bool = False) -> None:
        """With `multiline` stack traces are joined too, else only lines that their envelope calls partial.

        `by_record`: a record waits as a whole or not at all, so of several texts of one record none waits.
        """
        self._limits = limits or Limits()
        self._multiline = multiline
        self._by_record = by_record
        self._waiting: dict[Hashable, _Waiting] = {}
        #: When a partition's texts were last joined.
        self._joined_at: dict[Hashable, float] = {}

    def join(
        self,
        texts: Texts,
        records: Records,
        *,
        partition: Hashable,
        now: float,
        partial: Mask | None = None,
        is_start: Mask | None = None,
    ) -> Joined:
        """Join a batch's rows with each other and with what its partition held back.

        `partial`, (n,), are the rows whose line goes on in their stream's next row; `is_start`, (n,), those that start
        a text, by whatever rule; None: by the rules of stack traces. `now` counts seconds and never goes back.
        """
        waiting = self._waiting.pop(partition, None)
        if waiting is None and partial is None and not self._multiline:
            return _as_it_is(texts, records)
        rows = len(texts.start)
        batch = _Waiting(
            records=records,
            texts=texts,
            starts=np.zeros(rows, np.uint8) if is_start is None else is_start.astype(np.uint8),
            partial=np.zeros(rows, np.uint8) if partial is None else partial.astype(np.uint8),
            arrived=np.full(rows, now),
            by_stream=partial is not None,
            by_rule=is_start is None,
        )
        return self._give_out(partition, batch if waiting is None else _followed(waiting, batch), now)

    def flush(self, partition: Hashable, *, now: float) -> Joined:
        """Give out what `partition` held back long enough, nothing where nothing waits; infinity gives out all."""
        waiting = self._waiting.pop(partition, None)
        return _as_it_is(_NO_TEXTS, _NO_RECORDS) if waiting is None else self._give_out(partition, waiting, now)

    def forget(self, partition: Hashable) -> None:
        """Drop what a partition holds back: it was not acknowledged, so its next owner reads it again."""
        self._waiting.pop(partition, None)
        self._joined_at.pop(partition, None)

    def release(self, partition: Hashable) -> Standing:
        """Forget a partition, and tell where it stands, for another joiner to go on there."""
        return Standing(self._waiting.pop(partition, None), self._joined_at.pop(partition, None))

    def resume(self, partition: Hashable, standing: Standing) -> None:
        """Go on with a partition where another joiner released it, with the lines that it held back."""
        if standing.waiting is not None:
            self._waiting[partition] = standing.waiting
        if standing.joined_at is not None:
            self._joined_at[partition] = standing.joined_at

    def give_back(self, partition: Hashable) -> Returned | None:
        """Hold nothing of a partition back any more, and return it as it was read; None: nothing waits."""
        waiting = self._waiting.pop(partition, None)
        if waiting is None:
            return None
        _, first = np.unique(waiting.records.offset, return_index=True)
        records = Records(waiting.records.buffer, *(column[first] for column in waiting.records[1:]))
        return Returned(records=records, rows=waiting.texts.start.size, arrived=float(waiting.arrived.min()))

    def _give_out(self, partition: Hashable, rows: _Waiting, now: float) -> Joined:
        """Join `rows`, keep those that wait for more, and give out the others."""
        texts, records, count = rows.texts, rows.records, len(rows.texts.start)
        group, groups = _groups(rows)
        continues = np.zeros(count, np.uint8)
        if self._multiline and rows.by_rule:
            find_continuations(texts.buffer, texts.start, texts.length, group, groups, continues)
        elif self._multiline:
            continues = 1 - rows.starts
        plan = np.empty((3, count), np.int64)
        role = np.empty(count, np.uint8)

        def planned(expired: U8) -> tuple[int, int]:
            return plan_joins(
                texts.buffer, texts.start, texts.length, group, groups, continues, rows.partial, expired,
                self._multiline, self._limits.max_lines, self._limits.max_bytes, plan, role,
            )  # fmt: skip

        expired = self._expired(rows, groups, now)
        joined_bytes, held_bytes = planned(expired)
        if continues.any():
            self._joined_at[partition] = now
        if held_bytes and now - self._joined_at.get(partition, -math.inf) > self._limits.quiet_seconds:
            held = np.flatnonzero(role == HELD)
            hopeless = [row for row in held.tolist() if not (rows.partial[row] or _TROUBLE.search(_text(texts, row)))]
            if hopeless:
                expired[hopeless] = 1
                joined_bytes, held_bytes = planned(expired)
        held = np.flatnonzero(role == HELD)
        offsets = np.unique(records.offset[texts.record[held]])
        if held_bytes > self._limits.max_held_bytes or _runs(offsets) > self._limits.max_held_runs:
            joined_bytes, _ = planned(np.ones_like(expired))  # nothing waits
            held, offsets = held[:0], offsets[:0]
        if len(held):
            self._waiting[partition] = _taken(rows, held)
        return _joined(rows, plan, role, joined_bytes, offsets)

    def _expired(self, rows: _Waiting, groups: int, now: float) -> U8:
        """Tell which rows wait for nothing more, (n,)."""
        expired = rows.arrived <= now - self._limits.max_seconds
        if len(expired) >= _ENOUGH_ROWS and 2 * groups > len(expired):
            # Keys that are mostly different name records, not streams: nothing will follow.
            expired |= rows.partial == 0
        if self._by_record and len(expired):
            expired |= np.bincount(rows.texts.record)[rows.texts.record] > 1
        return expired.astype(np.uint8)


def _text(texts: Texts, row: int) -> bytes:
    """Return the beginning of a row's text: a line that announces a trace says so early."""
    start = int(texts.start[row])
    return texts.buffer[start : start + min(int(texts.length[row]), _LOOKED_AT)].tobytes()


def _runs(offsets: I64) -> int:
    """Count the runs of ascending, distinct offsets."""
    return int((np.diff(offsets) != 1).sum()) + 1 if offsets.size else 0


_NO_BYTES, _NO_NUMBERS = np.empty(0, np.uint8), np.empty(0, np.int64)
_NO_RECORDS = Records(_NO_BYTES, *[_NO_NUMBERS] * 8)
_NO_TEXTS = Texts(
    buffer=_NO_BYTES,
    start=_NO_NUMBERS,
    length=_NO_NUMBERS,
    record=_NO_NUMBERS,
    place=_NO_NUMBERS,
    attributes_buffer=_NO_BYTES,
    attributes_start=_NO_NUMBERS,
    attributes_length=_NO_NUMBERS,
    timestamp=_NO_NUMBERS,
    severity=_NO_BYTES,
)


def _as_it_is(texts: Texts, records: Records) -> Joined:
    return Joined(
        texts=texts,
        records=records,
        covers=(texts.length != NONE).astype(np.int64),
        head=np.arange(len(texts.start)),
        held=_NO_NUMBERS,
    )


def _groups(rows: _Waiting) -> tuple[I64, int]:
    """Give rows the number of the group that they are joined within; without keys and streams there is one."""
    texts, records = rows.texts, rows.records
    group = np.zeros(len(texts.start), np.int64)
    if not rows.by_stream and not (records.key_length != NONE).any():
        return group, 1
    stream_length = texts.attributes_length if rows.by_stream else np.zeros_like(texts.start)
    groups = group_rows(
        records.buffer, records.key_start[texts.record], records.key_length[texts.record],
        texts.attributes_buffer, texts.attributes_start, stream_length, group,
    )  # fmt: skip
    return group, groups


def _joined(rows: _Waiting, plan: I64, role: U8, joined_bytes: int, held: I64) -> Joined:
    """Build the columns that are given out: a joined text stands at its last row and has its first row's fields."""
    texts, (head, size, rows_of) = rows.texts, plan
    length = np.where((role == ALONE) | (role == JOINED), texts.length, NONE)
    covers = (length != NONE).astype(np.int64)
    if joined_bytes:
        last = np.flatnonzero(role == JOINED)
        first = head[last]
        position = len(texts.buffer)
        buffer = np.empty(position + joined_bytes, np.uint8)
        buffer[:position] = texts.buffer
        start = texts.start.copy()
        write_joined(buffer, texts.start, texts.length, rows.partial, head, size, role, position, start)
        length[last] = size[first]
        covers[last] = rows_of[first]
        attributes_start, attributes_length = texts.attributes_start.copy(), texts.attributes_length.copy()
        timestamp, severity = texts.timestamp.copy(), texts.severity.copy()
        for column in (attributes_start, attributes_length, timestamp, severity):
            column[last] = column[first]
        texts = texts._replace(
            buffer=buffer,
            start=start,
            attributes_start=attributes_start,
            attributes_length=attributes_length,
            timestamp=timestamp,
            severity=severity,
        )
    return Joined(texts=texts._replace(length=length), records=rows.records, covers=covers, head=head, held=held)


def _followed(waiting: _Waiting, batch: _Waiting) -> _Waiting:
    """Put a batch's rows after those that wait. Buffers are appended to the batch's, whose spans so stay."""
    records, texts, base = batch.records, batch.texts, len(batch.records.buffer)
    old_records, old_texts = waiting.records, waiting.texts
    shared = texts.buffer is records.buffer
    buffer = np.concatenate([records.buffer, old_records.buffer, *([old_texts.buffer] if shared else [])])
    text_base = base + len(old_records.buffer) if shared else len(texts.buffer)
    return _Waiting(
        records=Records(
            buffer=buffer,
            offset=np.concatenate([old_records.offset, records.offset]),
            timestamp=np.concatenate([old_records.timestamp, records.timestamp]),
            key_start=np.concatenate([old_records.key_start + base, records.key_start]),
            key_length=np.concatenate([old_records.key_length, records.key_length]),
            value_start=np.concatenate([old_records.value_start + base, records.value_start]),
            value_length=np.concatenate([old_records.value_length, records.value_length]),
            headers_start=np.concatenate([old_records.headers_start + base, records.headers_start]),
            headers_length=np.concatenate([old_records.headers_length, records.headers_length]),
        ),
        texts=Texts(
            buffer=buffer if shared else np.concatenate([texts.buffer, old_texts.buffer]),
            start=np.concatenate([old_texts.start + text_base, texts.start]),
            length=np.concatenate([old_texts.length, texts.length]),
            record=np.concatenate([old_texts.record, texts.record + len(old_records.offset)]),
            place=np.concatenate([old_texts.place, texts.place]),
            attributes_buffer=np.concatenate([texts.attributes_buffer, old_texts.attributes_buffer]),
            attributes_start=np.concatenate(
                [old_texts.attributes_start + len(texts.attributes_buffer), texts.attributes_start]
            ),
            attributes_length=np.concatenate([old_texts.attributes_length, texts.attributes_length]),
            timestamp=np.concatenate([old_texts.timestamp, texts.timestamp]),
            severity=np.concatenate([old_texts.severity, texts.severity]),
        ),
        starts=np.concatenate([waiting.starts, batch.starts]),
        partial=np.concatenate([waiting.partial, batch.partial]),
        arrived=np.concatenate([waiting.arrived, batch.arrived]),
        by_stream=waiting.by_stream or batch.by_stream,
        by_rule=batch.by_rule,
    )


def _taken(rows: _Waiting, held: I64) -> _Waiting:
    """Copy the `held` rows out of their batch, so that the batch's memory can go; each gets a record of its own."""
    texts, records = rows.texts, rows.records
    record = texts.record[held]
    spans = [
        (records.key_start, records.key_length),
        (records.value_start, records.value_length),
        (records.headers_start, records.headers_length),
    ]
    buffer = np.empty(int(sum(np.maximum(length[record], 0).sum() for _, length in spans)), np.uint8)
    starts = np.empty((3, len(held)), np.int64)
    position = 0
    for (start, length), copied_start in zip(spans, starts, strict=True):
        position = gather(buffer, position, records.buffer, start, length, record, copied_start)
    text_buffer, text_start = _copied(texts.buffer, texts.start, texts.length, held)
    attributes_buffer, attributes_start = _copied(
        texts.attributes_buffer, texts.attributes_start, texts.attributes_length, held
    )
    return _Waiting(
        records=Records(
            buffer=buffer,
            offset=records.offset[record],
            timestamp=records.timestamp[record],
            key_start=starts[0],
            key_length=records.key_length[record],
            value_start=starts[1],
            value_length=records.value_length[record],
            headers_start=starts[2],
            headers_length=records.headers_length[record],
        ),
        texts=Texts(
            buffer=text_buffer,
            start=text_start,
            length=texts.length[held],
            record=np.arange(len(held), dtype=np.int64),
            place=texts.place[held],
            attributes_buffer=attributes_buffer,
            attributes_start=attributes_start,
            attributes_length=texts.attributes_length[held],
            timestamp=texts.timestamp[held],
            severity=texts.severity[held],
        ),
        starts=rows.starts[held],
        partial=rows.partial[held],
        arrived=rows.arrived[held],
        by_stream=rows.by_stream,
        by_rule=rows.by_rule,
    )


def _copied(buffer: U8, start: I64, length: I64, rows: I64) -> tuple[U8, I64]:
    """Copy the spans of `rows` side by side into a buffer of their own; returns it and where they start."""
    copied = np.empty(int(length[rows].sum()), np.uint8)
    copied_start = np.empty(len(rows), np.int64)
    gather(copied, 0, buffer, start, length, rows, copied_start)
    return copied, copied_start
