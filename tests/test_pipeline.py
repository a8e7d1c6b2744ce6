"""The path of a batch with a rule-based parser and a producer that keeps what it gets; Kafka itself is not needed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jsonschema
import msgpack
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakeProducer, Produced, RuleParser
from worker.cache.misses import Misses
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import Envelope
from worker.codec.events import event_schema
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joiner, Limits
from worker.errors import CorruptRecordBatch, DeliveryFailed
from worker.hops import NO_TRACING, Tracing
from worker.metrics import REASONS, Metrics
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import Prompts
from worker.parsing.templates import Template
from worker.pipeline import Outputs, Parts, Pipeline, SourcePath
from worker.transport.batches import FetchedBatch, TopicPartition
from worker.transport.outlet import Direct
from worker.transport.positions import Position

PARTITION = TopicPartition("raw", 3)
TIME_MS = 1_795_362_180_830


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A record as it is in the topic that is read."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def batch_of(records: Sequence[Sent], *, offset: int = 0, partition: TopicPartition = PARTITION) -> FetchedBatch:
    """Encode `records` as one record batch from `offset` on."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 30)
    for delta, record in enumerate(records):
        builder.append(delta, TIME_MS + delta, record.key, record.value, list(record.headers))
    data = bytearray(builder.build())
    data[:8] = offset.to_bytes(8, "big")
    next_offset = offset + len(records)
    return FetchedBatch(
        topic=partition.topic,
        partition=partition.partition,
        data=bytes(data),
        fetch_offset=offset,
        next_offset=next_offset,
    )


def lines(*values: bytes | None, key: bytes | None = None) -> list[Sent]:
    """Make a record of each value."""
    return [Sent(value=value, key=key) for value in values]


@dataclass(frozen=True, kw_only=True)
class RecordCounts:
    """What became of the records of the source: what was read, and what was unpacked of it, is in one of the others."""

    read: float = 0
    unpacked: float = 0
    events: float = 0
    records_in_events: float = 0
    dead: float = 0
    tombstones: float = 0
    returned: float = 0
    in_flight: float = 0


@dataclass(kw_only=True)
class Bench:
    """A pipeline and everything around it that a test looks at."""

    pipeline: Pipeline
    producer: FakeProducer
    parser: RuleParser
    failures: list[BaseException]
    metrics: Metrics
    #: Offsets as they were acknowledged, per first offset of the batch.
    acknowledged: dict[int, list[int]] = field(default_factory=dict)
    #: What was said of the partition with the last acknowledgement.
    position: Position | None = None

    async def take(
        self,
        records: Sequence[Sent],
        *,
        offset: int = 0,
        partition: TopicPartition = PARTITION,
        position: Position | None = None,
    ) -> None:
        """Take one batch; what is acknowledged of it is noted under its first offset."""
        noted = self.acknowledged.setdefault(offset, [])

        def acknowledge(up_to: int, position: Position | None = None) -> None:
            self.position = position
            if up_to > max(noted, default=offset):
                noted.append(up_to)

        batch = replace(batch_of(records, offset=offset, partition=partition), position=position)
        await self.pipeline.process(batch, acknowledge)

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn until something holds."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - a turn of the loop, not a poll
                await asyncio.sleep(0)

    def reload(self, **changes: Any) -> None:
        """Exchange the parts for others, set alike but for `changes`."""
        joiner = Joiner(limits=Limits(max_seconds=60.0), multiline=True)
        self.pipeline.exchange(replace(self.pipeline.parts, joiner=joiner, **changes))

    async def drain(self) -> None:
        """Finish the partition."""
        await self.pipeline.drain(frozenset({PARTITION}))

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the events, decoded."""
        return [json.loads(record.value or b"") for record in self.producer.of("events")]

    @property
    def bodies(self) -> list[str]:
        """Return what the events say."""
        return [event["body"] for event in self.events]

    @property
    def letters(self) -> list[Produced]:
        """Return the dead letters."""
        return self.producer.of("dead")

    @property
    def counts(self) -> RecordCounts:
        """Return what became of the records, as the metrics tell."""
        source, topic = {"source": "shop"}, {"source": "shop", "topic": "raw"}
        events = self.metric("events_total", **source)
        return RecordCounts(
            read=self.metric("records_total", **topic),
            unpacked=self.metric("unpacked_total", **topic),
            events=events,
            records_in_events=events + self.metric("joined_total", **source),
            dead=sum(self.metric("dead_letters_total", reason=reason, **source) for reason in REASONS),
            tombstones=self.metric("tombstones_total", **topic),
            returned=self.metric("returned_total", **source),
            in_flight=self.metric("records_in_flight", **source),
        )

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.metrics.registry.get_sample_value(f"logloom_{name}", labels) or 0.0


@asynccontextmanager
async def bench(
    *,
    envelope: str = "raw",
    headers: Sequence[str] = ("none",),
    multiline: bool = False,
    wait_seconds: float = 60.0,
    has_model: bool = True,
    unparsable: bytes | None = None,
    max_record_bytes: int = 1 << 20,
    outputs: Outputs | None = None,
    event_format: Any = "json",
    tracing: Tracing = NO_TRACING,
) -> AsyncIterator[Bench]:
    """Assemble a pipeline of one source."""
    parser, producer, metrics = RuleParser(unparsable=unparsable), FakeProducer(), Metrics(sources=["shop"])
    model = MicroBatcher(parser, deadline_seconds=0, watch=tracing.watch)
    failures: list[BaseException] = []
    path = SourcePath(
        name="shop",
        finder=HeaderFinder(headers, zone="UTC", source="shop"),
        misses=Misses(
            cache=TemplateCache(max_templates=1000, max_fingerprints=1024),
            store=None,
            model=model if has_model else None,
            scope="shop",
        ),
        parser_version=parser.version,
        resource={"service.name": "shop"},
        event_format=event_format,
    )
    parts = Parts(
        path=path,
        envelope=Envelope(envelope, max_record_bytes=max_record_bytes),
        joiner=Joiner(limits=Limits(max_seconds=wait_seconds), multiline=multiline),
        outputs=outputs or Outputs(topic="events", dead_letter_topic="dead"),
        max_wait_seconds=wait_seconds,
    )
    pipeline = Pipeline(
        parts,
        outlet=Direct(producer.as_producer),
        metrics=metrics,
        fail=failures.append,
        tracing=tracing,
    )
    yield Bench(pipeline=pipeline, producer=producer, parser=parser, failures=failures, metrics=metrics)
    await model.close()


def outputs(**changes: int) -> Outputs:
    """Make outputs with other limits."""
    return Outputs(topic="events", dead_letter_topic="dead", **changes)  # type: ignore[arg-type]


async def test_a_raw_log_becomes_an_event() -> None:
    """Key, headers, time and partition of the record stay; the event says template, parameters and where it is from."""
    async with bench(headers=["<Level> <Content>"]) as it:
        await it.take([Sent(value=b"WARN took 12 ms", key=b"k", headers=[("h", b"1"), ("h", None)])], offset=7)
        await it.drain()
        (record,) = it.producer.of("events")
        assert (record.partition, record.key, record.headers) == (3, b"k", [("h", b"1"), ("h", None)])
        assert record.timestamp == TIME_MS
        (event,) = it.events
    jsonschema.validate(event, event_schema())
    del event["observed_timestamp"]
    assert event == {
        "timestamp": "2026-11-22T15:43:00.830Z",
        "severity_text": "WARN",
        "severity_number": 13,
        "body": "took 12 ms",
        "resource": {"service.name": "shop"},
        "attributes": {
            "log.record.template": "took <*> ms",
            "log.record.template.id": event["attributes"]["log.record.template.id"],
            "log.record.parameters": [{"value": "12", "type": "integer", "start": 5, "end": 7}],
            "logloom.source": "shop",
            "logloom.topic": "raw",
            "logloom.partition": 3,
            "logloom.offset": 7,
            "logloom.parser": "rules-1",
            "logloom.cache": "miss",
            "logloom.confidence": 1.0,
        },
    }


async def test_order_stays_and_known_messages_are_hits() -> None:
    """Events come in the order of their records; what was learned is not asked for again."""
    async with bench() as it:
        await it.take(lines(b"a 1", b"b 1", b"a 2"))
        await it.take(lines(b"b 2", b"a 3"), offset=3)
        await it.drain()
        assert it.bodies == ["a 1", "b 1", "a 2", "b 2", "a 3"]
        assert [event["attributes"]["logloom.cache"] for event in it.events] == ["miss"] * 3 + ["hit"] * 2
        assert sorted(it.parser.asked) == [b"a 1", b"b 1"]
        assert it.metric("misses_total", source="shop") == 3
        assert it.metric("hits_total", source="shop", tier="fingerprint") == 2


@pytest.mark.parametrize(
    "text", [b"", b" ", b"\x00", b"\x01\x1b red 7", b"\xff\xfe 7", "caf\u00e9 \U0001f600 7".encode(), b'"\\ 7', b"7"]
)
async def test_odd_texts_become_events(text: bytes) -> None:
    """Whatever bytes a line holds, its event is strict JSON and says what it said."""
    async with bench() as it:
        await it.take(lines(text))
        await it.drain()
        jsonschema.validate(it.events[0], event_schema())
        assert it.bodies == [text.decode(errors="replace")]


async def test_msgpack_events() -> None:
    """Events in msgpack say the same."""
    async with bench(event_format="msgpack") as it:
        await it.take(lines(b"took 12 ms"))
        await it.drain()
        (record,) = it.producer.of("events")
    event = msgpack.unpackb(record.value)
    jsonschema.validate(event, event_schema())
    assert event["attributes"]["log.record.template"] == "took <*> ms"


async def test_nothing_is_acknowledged_before_the_broker_has_it() -> None:
    """A batch is acknowledged when its events are delivered, not when they are sent."""
    async with bench() as it:
        it.producer.may_deliver.clear()
        await it.take(lines(b"a 1", b"a 2"))
        await it.until(lambda: len(it.producer.produced) == 2)
        assert it.acknowledged == {0: []}
        assert it.counts == RecordCounts(read=2, in_flight=2)
        assert it.pipeline.batches_in_flight == 1
        it.producer.may_deliver.set()
        await it.drain()
        assert it.acknowledged == {0: [2]}
        assert it.counts == RecordCounts(read=2, events=2, records_in_events=2)


async def test_a_batch_without_events_is_acknowledged() -> None:
    """Tombstones make no event and no dead letter, and hold nothing up."""
    async with bench(multiline=True) as it:
        await it.take(lines(None, None))
        await it.drain()
        assert (it.producer.produced, it.acknowledged[0][-1]) == ([], 2)
        assert it.counts == RecordCounts(read=2, tombstones=2)


async def test_a_failed_delivery_stops_the_process() -> None:
    """What the broker refuses is reported once, and neither it nor what comes after is acknowledged."""
    async with bench() as it:
        it.producer.may_deliver.clear()
        await it.take(lines(b"a 1"))
        it.producer.fails = True
        it.producer.may_deliver.set()
        await it.until(lambda: bool(it.failures))
        it.producer.fails = False
        await it.take(lines(b"a 2"), offset=1)
        await it.until(lambda: len(it.failures) == 2)
        assert isinstance(it.failures[0], DeliveryFailed)
        assert it.acknowledged == {0: [], 1: []}


async def test_a_corrupt_batch_is_refused() -> None:
    """A batch whose checksum is wrong raises: the process stops instead of guessing."""
    async with bench() as it:
        fetched = batch_of(lines(b"a 1"))
        broken = FetchedBatch(topic="raw", partition=3, data=fetched.data[:-1] + b"\x7f", fetch_offset=0, next_offset=1)
        with pytest.raises(CorruptRecordBatch):
            await it.pipeline.process(broken, lambda up_to, position=None: None)


async def test_an_undecodable_record_is_a_dead_letter() -> None:
    """It goes to its topic with its own bytes, key and headers, why, and where from; its neighbours are events."""
    async with bench(envelope="json") as it:
        await it.take([
            Sent(value=b'{"message":"a 1"}'),
            Sent(value=b'{"mess', key=b"k", headers=[("h", None)]),
            Sent(value=b'{"message":"a 2"}'),
        ], offset=10)  # fmt: skip
        await it.drain()
        assert it.bodies == ["a 1", "a 2"]
        (letter,) = it.letters
        assert (letter.partition, letter.key, letter.value) == (None, b"k", b'{"mess')
        assert letter.timestamp == TIME_MS + 1
        headers = dict(letter.headers)
        assert letter.headers[0] == ("h", None)
        assert headers["logloom.reason"] == b"undecodable"
        assert [headers[f"logloom.{name}"] for name in ("source", "topic", "partition", "offset")] == [
            b"shop", b"raw", b"3", b"11",
        ]  # fmt: skip
        assert it.acknowledged == {10: [13]}
        assert it.metric("dead_letters_total", source="shop", reason="undecodable") == 1


async def test_a_dead_letter_holds_the_acknowledgement_back() -> None:
    """A batch whose only output is a dead letter waits for the broker too."""
    async with bench(envelope="json") as it:
        it.producer.may_deliver.clear()
        await it.take(lines(b"{"))
        await it.until(lambda: len(it.letters) == 1)
        assert (it.acknowledged, it.counts.dead) == ({0: []}, 0)
        it.producer.may_deliver.set()
        await it.drain()
        assert (it.acknowledged, it.counts.dead) == ({0: [1]}, 1)


async def test_records_and_lines_over_the_limits_are_dead_letters() -> None:
    """A record and a raw log that are too long are dead, with the limit that they break."""
    async with bench(max_record_bytes=100, outputs=outputs(max_line_bytes=50)) as it:
        await it.take(lines(b"a 1", b"x" * 60, b"y" * 101, b"a 2"))
        await it.drain()
        assert it.bodies == ["a 1", "a 2"]
        errors = {letter.value: dict(letter.headers)["logloom.error"] for letter in it.letters}
        assert errors == {b"x" * 60: b"60 bytes, the limit is 50", b"y" * 101: b"101 bytes, the limit is 100"}
        assert {dict(letter.headers)["logloom.reason"] for letter in it.letters} == {b"too_large"}
        assert it.counts == RecordCounts(read=4, events=2, records_in_events=2, dead=2)


async def test_an_event_that_fits_in_no_batch_is_a_dead_letter() -> None:
    """An event can be larger than its raw log; one that no record batch holds is dead, its neighbours are not."""
    async with bench(outputs=outputs(max_batch_bytes=1500)) as it:
        await it.take(lines(b"a 1", b"\x01" * 800, b"a 2"))
        await it.drain()
        assert it.bodies == ["a 1", "a 2"]
        (letter,) = it.letters
        assert dict(letter.headers)["logloom.reason"] == b"too_large"
        assert it.counts == RecordCounts(read=3, events=2, records_in_events=2, dead=1)
        assert it.acknowledged == {0: [3]}


async def test_a_dead_letter_is_cut_to_what_the_broker_takes() -> None:
    """A record that is larger than any that may be produced leaves its beginning and its size."""
    async with bench(max_record_bytes=5000, outputs=outputs(max_batch_bytes=1500)) as it:
        await it.take(lines(b"x" * 9000))
        await it.drain()
        (letter,) = it.letters
        assert dict(letter.headers)["logloom.size"] == b"9000"
        assert 500 < len(letter.value or b"") < 1500


async def test_a_message_without_a_template_is_a_dead_letter() -> None:
    """Where the parser finds none, and where there is no parser, the raw log is dead, never a catch-all."""
    for has_model in (True, False):
        async with bench(has_model=has_model, unparsable=b"x") as it:
            await it.take(lines(b"x 1", b"x 1"))
            await it.take(lines(b"x 1"), offset=2)
            await it.drain()
            assert [dict(letter.headers)["logloom.reason"] for letter in it.letters] == [b"unparsable"] * 3
            assert it.parser.asked == ([b"x 1"] if has_model else [])
            assert it.acknowledged == {0: [2], 2: [3]}


async def test_a_message_that_the_model_fails_at_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and is not asked for again; the others of its batch become events."""
    async with bench() as it:
        parse = it.parser.parse

        def fails(messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
            if b"poison 1" in messages:
                raise ZeroDivisionError("on purpose")
            return parse(messages, prompt=prompt)

        monkeypatch.setattr(it.parser, "parse", fails)
        await it.take(lines(b"poison 1", b"took 7 ms"))
        await it.take(lines(b"poison 1"), offset=2)
        await it.drain()
        told = [dict(letter.headers) for letter in it.letters]
        assert [letter["logloom.reason"] for letter in told] == [b"model_failed"] * 2
        assert {letter["logloom.error"] for letter in told} == {b"the model fails: ZeroDivisionError('on purpose')"}
        assert it.counts.events == 1
        assert it.failures == []


async def test_joined_lines_die_one_by_one() -> None:
    """Of a joined text that can't be parsed every record becomes a dead letter, so that a replay finds them all."""
    async with bench(multiline=True, unparsable=b"boom") as it:
        await it.take(
            [*lines(b"boom", b"\tat A.b(A.java:1)"), Sent(value=b"\tat C.d(C.java:2)", headers=[("h", b"1")])]
        )
        await it.take(lines(b"next 1"), offset=3)
        await it.drain()
        assert [letter.value for letter in it.letters] == [b"boom", b"\tat A.b(A.java:1)", b"\tat C.d(C.java:2)"]
        assert [dict(letter.headers)["logloom.offset"] for letter in it.letters] == [b"0", b"1", b"2"]
        assert it.letters[2].headers[0] == ("h", b"1")
        assert it.counts.dead == 3


OTLP = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[%b]}]}]}'


async def test_an_envelope_of_several_raw_logs_is_accounted_for() -> None:
    """Raw logs beside the first of a record are counted as unpacked, envelopes with none as tombstones."""
    async with bench(envelope="otlp") as it:
        three = b",".join(b'{"body":{"stringValue":"a %d"}}' % number for number in range(3))
        await it.take(lines(OTLP % three, OTLP % b"", None, b"{}x"))
        await it.drain()
        assert it.bodies == ["a 0", "a 1", "a 2"]
        assert [event["attributes"]["logloom.index"] for event in it.events] == [0, 1, 2]
        assert it.counts == RecordCounts(read=4, unpacked=2, events=3, records_in_events=3, dead=1, tombstones=2)


TRACE = (b"failed 1", b"java.io.IOException: gone", b"\tat A.b(A.java:1)", b"\tat C.d(C.java:2)")


async def test_a_trace_over_two_batches_is_one_event() -> None:
    """Its first lines wait unacknowledged; the event stands at its last record, and then all is acknowledged."""
    async with bench(multiline=True) as it:
        await it.take(lines(b"begun", *TRACE[:2]))
        await it.until(lambda: it.acknowledged[0] == [1])
        assert it.bodies == ["begun"]
        await it.take(lines(*TRACE[2:], b"next 1", None), offset=3)
        await it.until(lambda: it.acknowledged[3][-1:] == [5])
        assert it.bodies == ["begun", "\n".join(line.decode() for line in TRACE)]
        assert it.events[1]["attributes"]["logloom.offset"] == 4
        assert it.acknowledged[0] == [1, 3]
        assert it.counts == RecordCounts(read=7, events=2, records_in_events=5, tombstones=1, in_flight=1)


async def test_a_trace_in_one_record_is_known_by_its_last_line() -> None:
    """Its event and those beside it in the record have one offset, and tell which of its logs they are."""
    async with bench(envelope="vector", multiline=True) as it:
        texts = [line.decode() for line in (b"begun", *TRACE, b"next 1")]
        await it.take(lines(json.dumps([{"message": text} for text in texts]).encode(), b'{"message": "later 2"}'))
        await it.until(lambda: len(it.bodies) == 3)
        assert it.bodies == ["begun", "\n".join(texts[1:-1]), "next 1"]
        places = [event["attributes"] for event in it.events]
        assert [(place["logloom.offset"], place["logloom.index"]) for place in places] == [(0, 0), (0, 4), (0, 5)]


async def test_a_line_does_not_wait_for_ever() -> None:
    """The last line of a partition is given out after a while, though nothing follows."""
    async with bench(multiline=True, wait_seconds=0.01) as it:
        await it.take(lines(b"a 1", b"error 2"))
        await it.until(lambda: it.acknowledged[0][-1:] == [2])
        assert it.bodies == ["a 1", "error 2"]
        assert it.pipeline.batches_in_flight == 0


async def test_drain_leaves_an_open_trace_to_the_next_owner() -> None:
    """Lines at the end that still wait are neither emitted nor acknowledged: they are read again, and joined whole."""
    async with bench(multiline=True) as it:
        await it.take(lines(b"begun", *TRACE[:2]))
        await it.drain()
        assert (it.bodies, it.acknowledged[0][-1]) == (["begun"], 1)
        assert (it.counts.returned, it.counts.in_flight) == (2, 0)
        await it.take(lines(*TRACE, b"next 1"), offset=1)
        await it.drain()
        assert it.bodies == ["begun", "\n".join(line.decode() for line in TRACE)]


async def test_a_line_that_others_passed_is_read_on_alone() -> None:
    """The next owner starts at the line that waits, joins it with what follows, and leaves out what passed it."""
    records = [Sent(value=TRACE[0], key=b"a"), Sent(value=b"b 1", key=b"b"), Sent(value=b"b 2", key=b"b")]
    async with bench(multiline=True) as it:
        await it.take(records)
        await it.drain()
        assert (it.bodies, it.acknowledged[0]) == (["b 1", "b 2"], [])
        position = Position.read(0, it.position.metadata if it.position else None)
        assert position == Position(0, 3, (0,))
    async with bench(multiline=True) as it:
        await it.take([*records, Sent(value=TRACE[1], key=b"a"), Sent(value=b"c", key=b"a")], position=position)
        await it.drain()
        assert it.bodies == [b"\n".join(TRACE[:2]).decode()]
        assert it.position == Position(4, 5, (4,))


async def test_a_flush_of_a_former_life_does_nothing() -> None:
    """A partition that went away and came back is not flushed by the timer of its first stay."""
    async with bench(multiline=True, wait_seconds=0.01) as it:
        await it.take(lines(b"error 1"))
        await it.drain()
        assert it.bodies == []
        await it.take(lines(b"error 1"))
        await it.until(lambda: it.acknowledged[0] == [1])
        assert it.bodies == ["error 1"]
        assert it.failures == []


async def test_partitions_do_not_wait_for_each_other() -> None:
    """While a miss of one partition is with the model, another partition's hits go through."""
    async with bench() as it:
        await it.take(lines(b"a 1"))
        it.parser.may_answer.clear()
        other = TopicPartition("raw", 4)
        waiting = asyncio.create_task(it.take(lines(b"new 1"), offset=1))
        await it.until(lambda: it.parser.asked == [b"a 1", b"new 1"])
        await it.take(lines(b"a 2"), offset=100, partition=other)
        assert it.bodies == ["a 1", "a 2"]
        it.parser.may_answer.set()
        await waiting
        await it.pipeline.drain(frozenset({PARTITION, other}))
        assert it.bodies == ["a 1", "a 2", "new 1"]
        assert it.acknowledged == {0: [1], 1: [2], 100: [101]}


async def test_a_batch_that_waits_keeps_its_event_fields() -> None:
    """`auto` may find another header format while a batch waits for the model: its events keep their own fields."""
    async with bench(headers=["auto"]) as it:
        it.parser.may_answer.clear()
        first = asyncio.create_task(it.take(lines(b"2026-11-02 15:04:05,123 INFO [main] a.B: took 1 ms")))
        await it.until(lambda: bool(it.parser.asked))
        other = TopicPartition("raw", 4)
        klog = b"I1102 15:04:05.123456    7 main.go:12] said 1"
        second = asyncio.create_task(it.take(lines(*[klog] * 40), offset=100, partition=other))
        it.parser.may_answer.set()
        await asyncio.gather(first, second)
        await it.pipeline.drain(frozenset({PARTITION, other}))
        by_body = {event["body"]: event["attributes"] for event in it.events}
        assert by_body["took 1 ms"]["log.logger"] == "a.B"
        assert it.failures == []


_TEXTS = st.sampled_from(
    [b"a 1", b"b 2", b"error 3", b"", b"boom", b"\tat A.b(A.java:1)", b"x" * 60, None]
) | st.binary(max_size=6)
_RECORDS = st.builds(Sent, value=_TEXTS, key=st.sampled_from([None, b"a", b"b"]))


@settings(max_examples=60)
@given(batches=st.lists(st.lists(_RECORDS, min_size=1, max_size=12), max_size=5), multiline=st.booleans())
def test_everything_is_accounted_for(batches: list[list[Sent]], multiline: bool) -> None:
    """Every record is in one event, dead letter or tombstone, of this owner or of the next; order stays per key."""
    limits = outputs(max_line_bytes=50)

    async def run() -> None:
        async with bench(multiline=multiline, unparsable=b"boom", outputs=limits) as it:
            offset = 0
            for records in batches:
                await it.take(records, offset=offset)
                offset += len(records)
            await it.drain()
            everything = [record for records in batches for record in records]
            counts, position = it.counts, it.position or Position.at(0)
            assert it.failures == []
            assert counts.read == offset
            left = sum(everything[at].value is not None for at in (*position.waiting, *range(position.done, offset)))
            assert counts.read - left == counts.records_in_events + counts.dead + counts.tombstones
            assert (counts.returned, counts.in_flight) == (left, 0)
            emitted = by_key(it)
        async with bench(multiline=multiline, unparsable=b"boom", outputs=limits, wait_seconds=0) as it:
            if everything[position.offset :]:
                await it.take(everything[position.offset :], offset=position.offset, position=position)
                await it.drain()
            assert left == it.counts.records_in_events + it.counts.dead
            for key, offsets in by_key(it).items():
                assert sorted({*offsets, *emitted[key]}) == [*emitted[key], *offsets]

    def by_key(it: Bench) -> dict[bytes | None, list[int]]:
        return {
            key: [
                json.loads(record.value or b"")["attributes"]["logloom.offset"]
                for record in it.producer.of("events")
                if record.key == key
            ]
            for key in (None, b"a", b"b")
        }

    asyncio.run(run())


@settings(max_examples=60)
@given(
    batches=st.lists(st.tuples(st.lists(_RECORDS, min_size=1, max_size=12), st.integers(0, 3)), max_size=5),
    is_awaited=st.booleans(),
)
def test_reloads_change_nothing_but_what_they_say(batches: list[tuple[list[Sent], int]], is_awaited: bool) -> None:
    """Whatever waits between batches while the parts are exchanged, the same events come, and the same is read again.

    Held-back lines go over to the new parts, or are opened again; a partition in which nothing comes has them too.
    """

    async def run(*, reloads: bool) -> tuple[list[dict[str, Any]], Position | None, RecordCounts]:
        async with bench(multiline=True, unparsable=b"boom", outputs=outputs(max_line_bytes=50)) as it:
            offset = 0
            for records, kind in batches:
                if kind and reloads:
                    it.reload(**({"envelope": Envelope("raw")} if kind == 3 else {}))
                    if is_awaited:
                        await it.pipeline.settle_in()
                await it.take(records, offset=offset)
                offset += len(records)
            await it.drain()
            assert it.failures == []
            events = it.events
            for event in events:
                del event["observed_timestamp"], event["attributes"]["logloom.cache"]
            return events, it.position, it.counts

    assert asyncio.run(run(reloads=True)) == asyncio.run(run(reloads=False))


async def test_a_batch_in_work_is_finished_as_it_was_begun() -> None:
    """The next one of its partition has the new parts, in whole; so has at once a partition with nothing in work."""
    async with bench() as it:
        other = TopicPartition("raw", 4)
        await it.take(lines(b"idle 1"), partition=other)
        it.parser.may_answer.clear()
        batch = asyncio.create_task(it.take(lines(b"took 1 ms"), offset=10))
        await it.until(lambda: b"took 1 ms" in it.parser.asked)
        path = SourcePath(
            name="shop",
            finder=HeaderFinder(["<Level> <Content>"], zone="UTC", source="shop"),
            misses=it.pipeline.parts.path.misses,
            parser_version="rules-2",
            resource={},
        )
        it.reload(path=path)
        settling = asyncio.create_task(it.pipeline.settle_in())
        await it.take(lines(b"WARN idle 2"), offset=1, partition=other)
        assert not settling.done()
        it.parser.may_answer.set()
        await asyncio.gather(batch, settling)
        await it.take(lines(b"WARN took 2 ms"), offset=11)
        await it.pipeline.drain(frozenset({PARTITION, other}))
        told = {event["body"]: (event["attributes"]["logloom.parser"], event["resource"]) for event in it.events}
        assert told == {
            "idle 1": ("rules-1", {"service.name": "shop"}),
            "took 1 ms": ("rules-1", {"service.name": "shop"}),
            "idle 2": ("rules-2", {}),
            "took 2 ms": ("rules-2", {}),
        }


async def test_lines_that_wait_are_opened_by_one_envelope() -> None:
    """A trace whose head was held back by the former envelope is joined and written by the new one alone."""
    async with bench(multiline=True) as it:
        await it.take(lines(b'{"message":"error: boom 1"}', key=b"a"))
        assert it.bodies == []
        it.reload(envelope=Envelope("json"))
        await it.pipeline.settle_in()
        assert it.bodies == []
        await it.take(lines(b'{"message":"\\tat A.b(A.java:1)"}', b'{"message":"next 1"}', key=b"a"), offset=1)
        await it.take(lines(b'{"message":"next 2"}', key=b"a"), offset=3)
        await it.drain()
        assert it.bodies[0] == "error: boom 1\n\tat A.b(A.java:1)"
        assert it.counts.read == it.counts.records_in_events + it.counts.returned


@pytest.mark.parametrize(
    ("envelope", "said", "counted"),
    [
        ("json", 0, {"dead": 1, "unpacked": 0, "returned": 0}),
        ("otlp", 2, {"dead": 0, "unpacked": 1, "returned": 0}),
    ],
)
async def test_what_the_new_envelope_makes_of_waiting_lines_is_accounted_for(
    envelope: str, said: int, counted: dict[str, int]
) -> None:
    """One that can't be opened any more is a dead letter; one that holds several raw logs counts as several."""
    logs = [{"body": {"stringValue": f"took {number} ms"}} for number in range(2)]
    held = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": logs}]}], "of": "error"}).encode()
    async with bench(multiline=True) as it:
        await it.take(lines(held if envelope == "otlp" else b"error: boom", key=b"a"))
        assert (it.bodies, it.counts.in_flight) == ([], 1)
        it.reload(envelope=Envelope(envelope))
        await it.pipeline.settle_in()
        await it.drain()
        assert (len(it.bodies), it.counts.in_flight) == (said, 0)
        assert {name: getattr(it.counts, name) for name in counted} == counted
