"""The path of one batch of one source, a method per hop, in the order of the hops.

Rows of a partition leave in the order in which they came. Partitions do not wait for each other, but for the model's
micro-batches, which they share.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from worker.cache.misses import Misses, message_of
from worker.codec.dead_letters import DeadLetter
from worker.codec.envelopes import DeadRow, Envelope, OpenedEnvelopes
from worker.codec.fields import with_fields
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joined, Joiner
from worker.codec.redacting import Redactor
from worker.columns.events import EventWriter
from worker.columns.layout import I64, NONE, U8, Events, Matches, Records, Texts
from worker.columns.records import EncodedBatch, decode_headers, write_record_batches
from worker.errors import BadInput, TooLarge
from worker.hops import NO_TRACING, Tracing, ending, hop, note, sending
from worker.metrics import Metrics
from worker.parsing.fields import FieldReader
from worker.parsing.headers import HeaderFormat
from worker.parsing.redaction import NO_REDACTION, Redaction
from worker.tasks import Fail, reporting
from worker.transport.acknowledgements import Acknowledge
from worker.transport.batches import FetchedBatch, TopicPartition, read_records
from worker.transport.outlet import Outlet, Sender
from worker.transport.positions import Position
from worker.transport.producer import Delivery

#: Envelopes that hold a raw log each, of however many lines: nothing is joined to them.
_WHOLE_LOGS = frozenset({"syslog", "otlp"})
#: Header fields that OpenTelemetry's conventions give as integers.
_INTEGERS = frozenset({
    "process.pid", "thread.id", "code.line.number", "client.port", "server.port",
    "http.response.status_code", "http.response.body.size",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRows:
    """What became of rows."""

    #: The buffer is the writer's own: good until the source writes again.
    events: Events
    matches: Matches
    #: How many events have which message type; empty for none.
    types: Mapping[str, int]
    #: Rows that have a text and no template, and why.
    unparsable: dict[int, BadInput]


class SourcePath:
    """What is done to the rows of one source wherever they come from: headers, templates, events."""

    def __init__(
        self,
        *,
        name: str,
        finder: HeaderFinder,
        misses: Misses,
        parser_version: str,
        resource: Mapping[str, object],
        event_format: Literal["json", "msgpack"] = "json",
        template_attribute: str = "log.record.template",
        has_parameter_attributes: bool = True,
        fields: FieldReader | None = None,
        redaction: Redaction = NO_REDACTION,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.misses = misses
        self.finder = finder
        self._parser_version = parser_version
        self._resource = resource
        self._event_format = event_format
        self._template_attribute = template_attribute
        self._has_parameter_attributes = has_parameter_attributes
        self._fields = fields
        self._redaction = redaction
        self._clock_ns = clock_ns
        self._formats: tuple[HeaderFormat, ...] | None = None
        self._writer: EventWriter | None = None
        self._redactor: Redactor | None = None

    async def write(
        self,
        texts: Texts,
        record_time_ms: I64,
        records: Records | None = None,
        *,
        topic: str | None = None,
        partition: int = 0,
        terminator: bytes = b"",
    ) -> WrittenRows:
        """Split the headers, find the templates and write the events of `texts`.

        `record_time_ms`, (n,), settles timestamps that name no year.
        """
        with hop("split headers"):
            splitter = await self.finder.splitter_for(texts)
            headers = splitter.split(texts, record_time_ms)
        writer, redactor = self._writer_of(splitter.formats)
        with self.misses.cache.in_use():
            with hop("look up"):
                matches = self.misses.cache.look_up(texts, headers)
            matches = await self.misses.resolve(texts, headers, matches)
            with hop("write events"):
                events = writer.write(
                    *((texts, headers, matches) if redactor is None else redactor.redact(texts, headers, matches)),
                    records,
                    source=self.name,
                    topic=topic,
                    partition=partition,
                    parser_version=self._parser_version,
                    observed_ns=self._clock_ns(),
                    terminator=terminator,
                )
            types = self.misses.cache.count(matches.template[(matches.template >= 0) & (texts.length >= 0)])
        if self._fields is not None:
            events = with_fields(events, self._fields, format=self._event_format, terminator=terminator)
        rows = np.flatnonzero((matches.template < 0) & (texts.length >= 0)).tolist()
        unparsable = {row: self.misses.why(message_of(texts, headers, row)) for row in rows}
        return WrittenRows(events=events, matches=matches, types=types, unparsable=unparsable)

    def _writer_of(self, formats: tuple[HeaderFormat, ...]) -> tuple[EventWriter, Redactor | None]:
        """Return the writer for `formats`; `auto` changes them while it looks at the first lines."""
        if self._writer is None or formats != self._formats:
            self._formats = formats  # a batch that waits for the model keeps the former writer
            self._writer = EventWriter(
                resource=self._resource,
                fields=[
                    [(name, "integer" if name in _INTEGERS else "text") for name in header_format.fields]
                    for header_format in formats
                ],
                format=self._event_format,
                template_attribute=self._template_attribute,
                has_parameter_attributes=self._has_parameter_attributes,
            )
            if self._redaction:
                names = [header_format.fields for header_format in formats]
                self._redactor = Redactor(self._redaction, self._writer, names)
            self.misses.cache.attach(self._redactor or self._writer)
        return self._writer, self._redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where events and dead letters go, and how record batches are made."""

    topic: str
    dead_letter_topic: str
    compression: str = "none"
    #: Most bytes of one record batch, uncompressed.
    max_batch_bytes: int = 1_000_000
    #: Longer raw logs become dead letters.
    max_line_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the batches of a source are processed with: a reload exchanges them all at once."""

    path: SourcePath
    envelope: Envelope
    joiner: Joiner
    outputs: Outputs
    #: How long lines wait to be joined with the next.
    max_wait_seconds: float = 1.0


class _Open(NamedTuple):
    """A batch that is not wholly acknowledged."""

    fetch_offset: int
    next_offset: int
    acknowledge: Acknowledge
    #: When it came, by the monotonic clock.
    since: float


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What of one partition is in flight, and what is acknowledged when."""

    #: What its batches are processed with; others come between two batches, with `turn`.
    parts: Parts
    open: deque[_Open] = field(default_factory=deque)
    #: Raw logs that were read and are neither in an acknowledged event nor dead.
    raw_logs: int = 0
    #: Where the partition's former owner stopped.
    resumed: Position = field(default_factory=lambda: Position.at(0))
    #: Whether lines wait for more.
    is_holding: bool = False
    #: Ends when everything emitted so far is delivered and acknowledged.
    settled: asyncio.Task[None] | None = None
    #: Gives out what waits for more lines, once it is too old.
    flushing: asyncio.TimerHandle | None = None
    #: The loop itself holds tasks only weakly.
    flush: asyncio.Task[None] | None = None
    #: A flush must not run beside a batch.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Pipeline:
    """The path of the batches of one source. What it raises stops the process."""

    def __init__(
        self,
        parts: Parts,
        *,
        outlet: Outlet,
        metrics: Metrics,
        fail: Fail,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        """Process with `parts`; `fail` stops the process."""
        self.name = parts.path.name
        self._parts = parts
        self._outlet = outlet
        self._metrics = metrics
        self._tracing = tracing
        self._report = reporting(fail)
        self._progress: defaultdict[TopicPartition, _Progress] = defaultdict(lambda: _Progress(parts=self._parts))

    async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
        """Take a batch through all hops; return when its output is with the producer."""
        partition = batch.topic_partition
        progress = self._progress[partition]
        async with progress.turn:
            await self._renew(partition, progress)
            progress.resumed = batch.position or progress.resumed
            with self._tracing.batch(
                self.name, *partition, offset=batch.fetch_offset, since_ns=batch.fetched_ns
            ) as trace:
                with hop("decode"):
                    records = read_records(batch)
                trace.read(records)
                with hop("open envelopes"):
                    opened = self._open(batch, records, progress)
                now = time.monotonic()
                progress.open.append(_Open(batch.fetch_offset, batch.next_offset, acknowledge, now))
                await self._join_and_emit(partition, progress, opened, records, now)
            self._flush_later(partition, progress)

    @property
    def parts(self) -> Parts:
        """What the next batches are processed with."""
        return self._parts

    def exchange(self, parts: Parts) -> None:
        """Process the next batch of each partition with `parts`; one that is in work is finished with the former."""
        self._parts = parts

    async def settle_in(self) -> None:
        """Return when nothing is processed with former parts any more, nor held back by them."""
        for partition, progress in list(self._progress.items()):
            async with progress.turn:
                if self._progress.get(partition) is progress:
                    await self._renew(partition, progress)

    async def _renew(self, partition: TopicPartition, progress: _Progress) -> None:
        """Let a partition have the newest parts, with the lines that its former ones hold back.

        Where envelopes are opened otherwise now, these lines are begun anew from their records: no line is parsed by
        half of the one and half of the other. Of a record of several raw logs all are begun anew.
        """
        former, parts = progress.parts, self._parts
        if former is parts:
            return
        progress.parts = parts
        if parts.joiner is not former.joiner:
            parts.joiner.resume(partition, former.joiner.release(partition))
        if parts.envelope is not former.envelope and (returned := parts.joiner.give_back(partition)) is not None:
            records = returned.records
            opened = _bounded(parts.envelope.open(records), parts.outputs.max_line_bytes)
            self._count_reopened(partition, progress, _raw_logs(opened) - returned.rows)
            await self._join_and_emit(partition, progress, opened, records, returned.arrived)
        self._flush_later(partition, progress)

    def _count_reopened(self, partition: TopicPartition, progress: _Progress, more: int) -> None:
        """Count `more` raw logs in records that were counted before; where there are fewer, the others go back."""
        unpacked, returned = max(more, 0), max(-more, 0)
        self._count_in_flight(progress, more)
        self._metrics.reopened(self.name, partition.topic, unpacked=unpacked)
        self._metrics.returned(self.name, returned)

    @property
    def batches_in_flight(self) -> int:
        """Batches that are not wholly acknowledged."""
        return sum(len(progress.open) for progress in self._progress.values())

    async def drain(self, partitions: frozenset[TopicPartition]) -> None:
        """Return when nothing of `partitions` is in flight and nothing waits to be joined."""
        await asyncio.gather(*(self._drain(partition) for partition in partitions & self._progress.keys()))

    async def _drain(self, partition: TopicPartition) -> None:
        """Finish a partition. Lines that wait for more are forgotten: whoever reads on reads them again."""
        progress = self._progress[partition]
        async with progress.turn:
            if progress.flushing is not None:
                progress.flushing.cancel()
            self._outlet.hasten()
            if progress.settled is not None:
                await progress.settled
            progress.parts.joiner.forget(partition)
            self._metrics.returned(self.name, progress.raw_logs)
            self._count_in_flight(progress, -progress.raw_logs)
            del self._progress[partition]

    def _count_in_flight(self, progress: _Progress, raw_logs: int) -> None:
        progress.raw_logs += raw_logs
        self._metrics.records_in_flight(self.name, more=raw_logs)

    def _open(self, batch: FetchedBatch, records: Records, progress: _Progress) -> OpenedEnvelopes:
        """Take the raw texts out of their envelopes, and count."""
        opened = progress.parts.envelope.open(records)
        read, raw_logs = records.offset.size, _raw_logs(opened)
        # Most batches hold a raw log in every record, and nothing else.
        tombstones = 0 if raw_logs == read == opened.texts.length.size else _without_raw_log(records, opened)
        unpacked = raw_logs + tombstones - read
        self._count_in_flight(progress, raw_logs)
        self._metrics.fetched(
            self.name,
            batch.topic,
            records=read,
            size_bytes=len(batch.data),
            tombstones=tombstones,
            unpacked=unpacked,
        )
        return _bounded(opened, progress.parts.outputs.max_line_bytes)

    async def _join_and_emit(
        self, partition: TopicPartition, progress: _Progress, opened: OpenedEnvelopes, records: Records, now: float
    ) -> None:
        """Take what was opened, and came `now`, through the other hops."""
        with hop("join lines"):
            joined = _join(progress.parts, partition, opened, records, now)
        dead = [
            dead_letter(self.name, partition, records, row.record, reason=row.reason, error=row.error)
            for row in opened.dead
        ]
        await self._emit(partition, progress, joined, dead)

    async def _emit(
        self, partition: TopicPartition, progress: _Progress, joined: Joined, dead: list[DeadLetter]
    ) -> None:
        """Parse, write and produce `joined`; once all is delivered, acknowledge what does not wait for more lines."""
        texts, records, parts = joined.texts, joined.records, progress.parts
        progress.is_holding = bool(joined.held.size)
        position = progress.resumed.followed(progress.open[-1].next_offset, joined.held.tolist())
        encoded: Sequence[EncodedBatch] = ()
        events = size_bytes = covered = 0
        times = np.empty(0, np.int64)
        if texts.length.size:
            rows = await parts.path.write(
                texts,
                records.timestamp[texts.record],
                records,
                topic=partition.topic,
                partition=partition.partition,
            )
            with hop("write record batches"):
                encoded, oversized = _encode(rows.events, joined, parts.outputs)
            too_large = TooLarge(f"its event does not fit into a record batch of {parts.outputs.max_batch_bytes} bytes")
            for row, error in {**rows.unparsable, **dict.fromkeys(oversized, too_large)}.items():
                dead += self._letters(partition, joined, row, error.reason, str(error))
            size_bytes = sum(len(record_batch.data) for record_batch in encoded)
            is_event = (rows.matches.template >= 0) & (texts.length >= 0)
            is_event[oversized] = False
            events, covered = int(is_event.sum()), int(joined.covers[is_event].sum())
            times = records.timestamp[texts.record[is_event]]
            self._metrics.looked_up(self.name, rows.matches.tier[is_event])
            self._metrics.typed(self.name, rows.types)
        sent = sending({parts.outputs.topic: events, parts.outputs.dead_letter_topic: len(dead)})
        writing = await self._outlet.enter()
        sends = [await writing.sender.send(parts.outputs.topic, partition.partition, batch) for batch in encoded]
        sends += [await bury(writing.sender, letter, parts.outputs) for letter in dead]
        before = progress.settled

        async def settle() -> None:
            with ending():
                with sent:
                    await asyncio.gather(*sends)
                writing.leave(partition, position)
                with hop("commit"):
                    if before is not None:
                        await before
                    await writing.committed()
                note(events=events, joined=covered - events, dead_letters=len(dead), held=joined.held.size)
            latency_seconds = time.time() - times[times >= 0] / 1000
            self._metrics.produced(
                self.name,
                events=events,
                size_bytes=size_bytes,
                joined=covered - events,
                latency_seconds=latency_seconds,
            )
            for letter in dead:
                self._metrics.dead(self.name, letter.reason)
            self._count_in_flight(progress, -covered - len(dead))
            self._acknowledge(progress, position)

        progress.settled = asyncio.create_task(settle())
        progress.settled.add_done_callback(self._report)

    def _acknowledge(self, progress: _Progress, position: Position) -> None:
        """Tell every batch how much of it is done; batches that are done leave."""
        for batch in progress.open:
            if batch.fetch_offset <= position.offset:
                batch.acknowledge(min(position.offset, batch.next_offset), position)
        while progress.open and progress.open[0].next_offset <= position.offset:
            self._metrics.batch_done(time.monotonic() - progress.open.popleft().since)

    def _flush_later(self, partition: TopicPartition, progress: _Progress) -> None:
        if progress.flushing is not None:
            progress.flushing.cancel()
            progress.flushing = None
        if progress.is_holding:
            loop = asyncio.get_running_loop()
            progress.flushing = loop.call_later(progress.parts.max_wait_seconds, self._start_flush, partition, progress)

    def _start_flush(self, partition: TopicPartition, progress: _Progress) -> None:
        progress.flush = asyncio.create_task(self._flush(partition, progress))
        progress.flush.add_done_callback(self._report)

    async def _flush(self, partition: TopicPartition, progress: _Progress) -> None:
        """Give out what waited long enough for its next line."""
        async with progress.turn:
            # A batch may have come first, or the partition may have gone, and even come back.
            if self._progress.get(partition) is not progress or not progress.is_holding:
                return
            with self._tracing.batch(self.name, *partition):
                joined = progress.parts.joiner.flush(partition, now=time.monotonic())
                await self._emit(partition, progress, joined, [])
            self._flush_later(partition, progress)

    def _letters(
        self, partition: TopicPartition, joined: Joined, row: int, reason: str, error: str
    ) -> Iterator[DeadLetter]:
        """Make a dead letter of each record whose line went into the text of `row`: a replay puts it back."""
        for line in np.flatnonzero(joined.head == joined.head[row]).tolist():
            yield dead_letter(
                self.name, partition, joined.records, int(joined.texts.record[line]), reason=reason, error=error
            )


def dead_letter(
    source: str, partition: TopicPartition, records: Records, row: int, *, reason: str, error: str
) -> DeadLetter:
    """Make a dead letter of a row of `records`."""
    return DeadLetter(
        value=value_of(records, row),
        key=_span(records.buffer, records.key_start[row], records.key_length[row]),
        headers=decode_headers(records, row),
        reason=reason,
        error=error,
        source=source,
        topic=partition.topic,
        partition=partition.partition,
        offset=int(records.offset[row]),
        timestamp=int(records.timestamp[row]),
    )


def _raw_logs(opened: OpenedEnvelopes) -> int:
    """Count them, those that are dead too."""
    return int((opened.texts.length >= 0).sum()) + len(opened.dead)


def _bounded(opened: OpenedEnvelopes, max_line_bytes: int) -> OpenedEnvelopes:
    """Let texts that are longer than the limit be dead."""
    texts, dead = opened.texts, list(opened.dead)
    for row in np.flatnonzero(texts.length > max_line_bytes).tolist():
        error = f"{texts.length[row]} bytes, the limit is {max_line_bytes}"
        dead.append(DeadRow(record=int(texts.record[row]), reason=TooLarge.reason, error=error))
        texts.length[row] = NONE
    return replace(opened, dead=dead)


def _join(parts: Parts, partition: TopicPartition, opened: OpenedEnvelopes, records: Records, now: float) -> Joined:
    """Join lines that are one raw log and came `now`; the last may wait for the next batch."""
    is_start = np.ones(opened.texts.start.size, np.bool_) if parts.envelope.kind in _WHOLE_LOGS else None
    return parts.joiner.join(
        opened.texts,
        records,
        partition=partition,
        now=now,
        partial=opened.partial,
        is_start=is_start,
    )


def _encode(events: Events, joined: Joined, outputs: Outputs) -> tuple[Sequence[EncodedBatch], list[int]]:
    """Put the events into record batches; return with them the rows whose event fits in none."""
    oversized: list[int] = []
    while True:
        try:
            batches = write_record_batches(
                events,
                joined.records,
                joined.texts.record,
                compression=outputs.compression,
                max_bytes=outputs.max_batch_bytes,
            )
        except TooLarge as too_large:
            oversized = list(too_large.rows)
            events.length[oversized] = NONE
        else:
            return batches, oversized


def bury(sender: Sender, letter: DeadLetter, outputs: Outputs) -> Awaitable[asyncio.Task[Delivery]]:
    """Send a dead letter, or as much of it as fits."""
    letter = letter.fitted(outputs.max_batch_bytes)
    return sender.send_record(
        outputs.dead_letter_topic,
        None,
        letter.key,
        letter.value,
        letter.kafka_headers(),
        letter.timestamp if letter.timestamp >= 0 else None,
    )


def value_of(records: Records, row: int) -> bytes | None:
    """Take the value of a row of `records`; None is null."""
    return _span(records.buffer, records.value_start[row], records.value_length[row])


def _span(buffer: U8, start: np.int64, length: np.int64) -> bytes | None:
    return None if length < 0 else buffer[start : start + length].tobytes()


def _without_raw_log(records: Records, opened: OpenedEnvelopes) -> int:
    """Count the records that hold none."""
    holds = np.zeros(records.offset.size, np.bool_)
    holds[opened.texts.record[opened.texts.length >= 0]] = True
    holds[[row.record for row in opened.dead]] = True
    return int(np.count_nonzero(~holds))
