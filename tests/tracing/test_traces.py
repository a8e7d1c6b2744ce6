"""What traces show of batches: their hops, whatever else is in work, and what they are linked with."""

import asyncio
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.fakes import FakeProducer
from tests.test_logs import _logging_as_before  # noqa: F401  a fixture
from tests.test_pipeline import Sent, batch_of, bench, lines
from tests.test_requests import MemoryBox
from worker.answering import Answering, AnsweringParts
from worker.hops import ending, hop, in_work
from worker.logs import configure
from worker.metrics import Metrics
from worker.pipeline import Outputs
from worker.requests import Request, Requests
from worker.tasks import reporting
from worker.tracing.spans import MOST_LINKS, senders
from worker.tracing.traces import Traces
from worker.transport.batches import TopicPartition, read_records
from worker.transport.outlet import Direct

#: Hops of a batch whose lines the cache knows, in order.
HOPS = [
    *("wait", "decode", "open envelopes", "join lines", "split headers", "look up", "write events"),
    *("write record batches", "send events", "commit"),
]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"


@dataclass
class Place:
    """Traces, and what they have exported."""

    share: float = 1.0
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.traces = Traces(self.exporter, share=self.share, count=self._count, group="group", client_id="client")

    def _count(self, outcome: str, spans: int) -> None:
        self.outcomes[outcome] += spans

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """What has ended, in the order of its beginning."""
        self.traces._provider.force_flush()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def the(self, name: str) -> ReadableSpan:
        """Return the one span of a name."""
        (span,) = self.named(name)
        return span

    def below(self, span: ReadableSpan) -> list[str]:
        """Return the names of the spans right within one, in the order of their beginning."""
        return [one.name for one in self.spans if one.parent is not None and one.parent.span_id == id_of(span)]


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    return span.get_span_context().span_id  # type: ignore[union-attr]  # all that end have one


def trace_of(span: ReadableSpan) -> int:
    """Return the id of a span's trace."""
    return span.get_span_context().trace_id  # type: ignore[union-attr]  # the same


def linked(span: ReadableSpan) -> set[int]:
    """Return the ids of the spans that one is linked with."""
    return {link.context.span_id for link in span.links}


def facts(span: ReadableSpan) -> Mapping[str, Any]:
    """Return what a span says."""
    return dict(span.attributes or {})


@pytest.fixture
def place() -> Iterator[Place]:
    """Trace every batch."""
    place = Place()
    yield place
    place.traces._provider.shutdown()


async def test_a_batch_is_a_trace_of_its_hops(place: Place) -> None:
    """Described by the conventions for messaging, from its fetch to its acknowledgement; each hop within the batch."""
    async with bench(tracing=place.traces) as it:
        await it.take(lines(b"took 1 ms"), offset=0)
        await it.take(lines(b"took 2 ms", b"took 3 ms", None), offset=1)
        await it.drain()
    first, second = place.named("process raw")
    assert trace_of(first) != trace_of(second)
    assert place.below(second) == HOPS
    assert all(trace_of(span) in {trace_of(first), trace_of(second)} for span in place.spans)
    assert second.kind.name == "CONSUMER"
    assert facts(second) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "raw",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 1,
        "messaging.batch.message_count": 3,
        "messaging.consumer.group.name": "group",
        "messaging.client.id": "client",
        "logloom.source": "shop",
        "logloom.events": 2,
        "logloom.joined": 0,
        "logloom.dead_letters": 0,
        "logloom.held": 0,
    }
    sent = place.named("send events")[-1]
    assert sent.kind.name == "PRODUCER"
    assert facts(sent)["messaging.operation.type"] == "send"
    assert facts(sent)["messaging.batch.message_count"] == 2
    hops = [span for span in place.spans if span.parent is not None and span.parent.span_id == id_of(second)]
    assert all(second.start_time <= hop.start_time <= hop.end_time <= second.end_time for hop in hops)  # type: ignore[operator]
    assert sum(place.outcomes.values()) == place.outcomes["exported"] == len(place.spans)


async def test_a_miss_shows_what_it_waits_for(place: Place) -> None:
    """The misses hold the model, and that the micro-batch with its size."""
    async with bench(tracing=place.traces, unparsable=b"fork") as it:
        await it.take(lines(b"took 1 ms", b"took 2 ms", b"lost 3", b"a fork"))
        await it.drain()
    misses = place.the("misses")
    assert facts(misses) == {"logloom.rows": 4}
    assert set(place.below(misses)) == {"model"}
    model = place.named("model")[0]
    assert facts(model) == {"logloom.messages": 3}
    micro_batch = place.named("micro-batch")[0]
    assert micro_batch.parent is not None
    assert (micro_batch.parent.span_id, linked(micro_batch)) == (id_of(model), {id_of(model)})
    assert facts(micro_batch) == {"logloom.messages": 3, "logloom.tokens": 7, "logloom.batches": 1}
    assert facts(place.the("process raw"))["logloom.dead_letters"] == 1
    assert facts(place.the("send dead"))["messaging.batch.message_count"] == 1


async def test_batches_at_once_keep_to_their_own_traces(place: Place) -> None:
    """A micro-batch of several is in one of their traces, linked with all, and these with it."""
    async with bench(tracing=place.traces) as it:
        it.parser.may_answer.clear()
        busy = asyncio.create_task(it.take(lines(b"took 1 ms"), partition=TopicPartition("raw", 0)))
        await it.until(lambda: it.parser.asked != [])
        batches = [
            asyncio.create_task(it.take(lines(b"lost %d" % number, b"gone"), partition=TopicPartition("raw", number)))
            for number in (1, 2)
        ]
        await it.until(lambda: it.pipeline.batches_in_flight == 3)
        it.parser.may_answer.set()
        await asyncio.gather(busy, *batches)
        await it.pipeline.drain(frozenset(TopicPartition("raw", number) for number in range(3)))
    _, shared = place.named("micro-batch")
    first, second = (
        next(one for one in place.named("model") if trace_of(one) == trace_of(batch))
        for batch in place.named("process raw")[1:]
    )
    assert facts(shared)["logloom.batches"] == 2
    assert linked(shared) == {id_of(first), id_of(second)}
    (elsewhere,) = [one for one in (first, second) if trace_of(one) != trace_of(shared)]
    assert linked(elsewhere) == {id_of(shared)}
    for batch in place.named("process raw"):
        own = [span.name for span in place.spans if trace_of(span) == trace_of(batch)]
        assert {*HOPS, "misses", "model"} <= set(own)
        assert max(Counter(name for name in own if name not in {"model", "micro-batch"}).values()) == 1


async def test_a_batch_is_linked_with_what_sent_its_records(place: Place) -> None:
    """Not below it: it holds records of many. With no more than so many, and not with what is no traceparent."""
    wrong = [(name, value) for name in ("traceparent", "other") for value in (b"00-x", b"\xff", None, b"")]
    records = [
        Sent(value=b"took 1 ms"),
        Sent(value=b"took 2 ms", headers=wrong),
        Sent(value=b"took 3 ms", headers=[("traceparent", PARENT.encode())]),
        Sent(value=b"took 4 ms", headers=[("traceparent", PARENT.encode())]),
        Sent(value=b"took 5 ms", headers=[("much", b"x" * 5_000), ("traceparent", OTHER.encode())]),
    ]
    many = [
        Sent(value=b"took 1 ms", headers=[("traceparent", f"00-{number:032x}-{number:016x}-00".encode())])
        for number in range(1, MOST_LINKS + 10)
    ]
    async with bench(tracing=place.traces) as it:
        await it.take(records, offset=10)
        await it.take(many, offset=20)
        await it.drain()
        assert it.producer.of("events")[2].headers == [("traceparent", PARENT.encode())]
    few, full = place.named("process raw")
    (link,) = few.links
    assert (few.parent, f"{link.context.trace_id:x}-{link.context.span_id:x}") == (
        None,
        "af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    )
    assert dict(link.attributes or {}) == {"messaging.kafka.offset": 12}
    assert len(full.links) == MOST_LINKS


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["traceparent", "Traceparent", "tracestate", "x"]),
            st.none()
            | st.binary()
            | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.?").map(str.encode),
        ),
        max_size=4,
    )
)
def test_no_header_of_a_record_is_trusted(headers: Sequence[tuple[str, bytes | None]]) -> None:
    """Whatever stands in them, the batch goes on, and is linked with what can be a span alone."""
    records = read_records(batch_of([Sent(value=b"took 1 ms", headers=headers)] * 3, offset=5))
    for sender in senders(records):
        assert sender.context.is_valid
        assert sender.offset == 5


async def test_what_is_not_sampled_makes_no_span() -> None:
    """Whoever goes on with it is told so, and everything else is as ever."""
    place = Place(share=0.0)
    async with bench(tracing=place.traces) as it:
        with place.traces.batch("shop", "raw", 0, offset=1, since_ns=2), hop("look up"), ending():
            assert in_work().ids is None
            assert re.fullmatch(r"00-\w{32}-\w{16}-0[02]", in_work().traceparent or "")
        await it.take(lines(b"took 1 ms"))
        await it.drain()
        assert it.bodies == ["took 1 ms"]
    assert in_work().traceparent is None
    assert (place.spans, place.outcomes) == ([], {})
    place.traces._provider.shutdown()


async def test_a_share_is_sampled() -> None:
    """About as many batches as the share says."""
    place = Place(share=0.25)
    for _ in range(400):
        with place.traces.batch("shop", "raw", 0, offset=1), ending():
            pass
    assert 50 < len(place.named("process raw")) < 150
    place.traces._provider.shutdown()


async def test_lines_that_waited_have_a_trace_of_their_own(place: Place) -> None:
    """What is given out after a while is no part of the batch that it came with, which has ended."""
    async with bench(tracing=place.traces, multiline=True, wait_seconds=0.01) as it:
        await it.take(lines(b"java.lang.IllegalStateException: 5"))
        await it.until(lambda: len(it.events) == 1)
        await it.drain()
    batch, flushed = place.the("process raw"), place.the("flush raw")
    assert facts(batch)["logloom.held"] == 1
    assert (facts(batch)["logloom.events"], facts(flushed)["logloom.events"]) == (0, 1)
    assert trace_of(batch) != trace_of(flushed)
    assert "send events" in place.below(flushed)


@pytest.mark.usefixtures("_logging_as_before")
async def test_logs_name_the_trace(place: Place) -> None:
    """Lines that are written within a sampled batch, whoever writes them; no others, and not what tells of repeats."""
    stream = io.StringIO()
    handler = configure(stream=stream, repeats=1)
    structlog.get_logger("worker").info("before")
    with place.traces.batch("shop", "raw", 0, offset=1), ending():
        structlog.get_logger("worker").info("own", rows=1)
        with hop("look up"):
            logging.getLogger("aiokafka").warning("foreign")
            logging.getLogger("aiokafka").warning("foreign")
        handler.flush_repeats()
    structlog.get_logger("worker").info("after")
    before, own, foreign, repeats, after = map(json.loads, stream.getvalue().splitlines())
    trace = f"{trace_of(place.the('process raw')):032x}"
    assert list(own) == ["timestamp", "level", "logger", "event", "rows", "trace_id", "span_id"]
    assert (own["trace_id"], own["span_id"]) == (trace, f"{id_of(place.the('process raw')):016x}")
    assert (foreign["trace_id"], foreign["span_id"]) == (trace, f"{id_of(place.the('look up')):016x}")
    assert repeats["suppressed"] == 1
    assert not [one for one in (before, repeats, after) if "trace_id" in one]


@pytest.mark.parametrize("fails", ["model", "delivery"])
@pytest.mark.usefixtures("_logging_as_before")
async def test_what_stops_the_worker_is_found_by_its_trace(fails: str, place: Place) -> None:
    """The hop and the batch are failed, without what the error says; the line that says it names the trace."""
    stream = io.StringIO()
    configure(stream=stream)
    async with bench(tracing=place.traces) as it:
        it.producer.fails = fails == "delivery"

        def fail(error: BaseException) -> None:
            logging.getLogger("worker.app").critical("the worker stops: %s", error)
            it.failures.append(error)

        it.pipeline._report = reporting(fail)
        if fails == "model":
            it.parser.parse = _broken  # type: ignore[method-assign,assignment]
        try:
            await it.take(lines(b"took 1 ms"))
        except MemoryError as error:
            fail(error)  # as a lane does, in the same task
        await it.until(lambda: it.failures != [])
    batch = place.the("process raw")
    hop_name = {"model": "model", "delivery": "send events"}[fails]
    for span in (batch, place.the(hop_name)):
        assert span.status.status_code.name == "ERROR"
        assert span.status.description is None
        assert facts(span)["error.type"] == {"model": "MemoryError", "delivery": "DeliveryFailed"}[fails]
        assert span.events == ()
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines() if "the worker stops" in line]
    assert line["trace_id"] == f"{trace_of(batch):032x}"


def _broken(*_: object, **__: object) -> list[None]:
    raise MemoryError("on purpose")


async def test_a_parser_goes_on_with_the_trace_of_who_asks(place: Place) -> None:
    """What a matcher asks for over Kafka is answered in its trace; who asks first has the hops, others a link to it."""
    producer, box, metrics = FakeProducer(partitions=1), MemoryBox(), Metrics()
    requests = Requests(
        producer=producer.as_producer, topic="misses", box=box, retry_seconds=60, max_bytes=9_999, metrics=metrics
    )

    async def ask(*messages: bytes) -> None:
        with place.traces.batch("shop", "raw", 0, offset=1), ending(), hop("misses"):
            await requests.ask("app", "v1", messages)

    running = asyncio.create_task(requests.run())
    asking = [asyncio.create_task(ask(b"took 1 ms")), asyncio.create_task(ask(b"lost 1"))]
    async with asyncio.timeout(20):
        while len(producer.produced) < 2:  # noqa: ASYNC110 - a turn of the loop, not a poll
            await asyncio.sleep(0)
    async with bench(tracing=place.traces) as it:
        answering = Answering(
            AnsweringParts(
                misses={"app": it.pipeline.parts.path.misses},
                versions={"app": "v1"},
                box=box,
                outputs=Outputs(topic="events", dead_letter_topic="dead"),
            ),
            outlet=Direct(producer.as_producer),
            metrics=metrics,
            tracing=place.traces,
        )
        batch = batch_of(
            [Sent(value=one.value, headers=one.headers) for one in producer.produced],
            partition=TopicPartition("misses", 0),
        )
        await answering.process(batch, lambda *_: None)
        await asyncio.gather(*asking)
    running.cancel()
    asked = place.named("send misses")
    parsers = place.named("process misses")
    assert [one.parent and one.parent.span_id for one in parsers] == [id_of(one) for one in asked]
    assert {trace_of(one) for one in parsers} == {trace_of(one) for one in place.named("process raw")}
    first, other = parsers
    assert linked(other) == {id_of(first)}
    assert place.below(first) == ["wait", "look up", "misses", "redis answers"]
    assert place.below(other) == []
    assert facts(first)["messaging.batch.message_count"] == 2
    assert (facts(first)["logloom.requests"], facts(first)["logloom.messages"]) == (2, 2)


@pytest.mark.parametrize(("flags", "is_sampled"), [("01", True), ("00", False)])
async def test_a_parser_follows_who_asks(flags: str, is_sampled: bool) -> None:
    """It samples neither more nor less than they do, whatever its own share."""
    place = Place(share=0.0 if is_sampled else 1.0)
    header = ("traceparent", f"{PARENT[:-2]}{flags}".encode())
    request = Request(asker="a", scope="app", version="v1", messages=[])
    async with bench(tracing=place.traces) as it:
        parts = AnsweringParts(
            misses={"app": it.pipeline.parts.path.misses},
            versions={},
            box=MemoryBox(),
            outputs=it.pipeline.parts.outputs,
        )
        answering = Answering(parts, outlet=it.pipeline._outlet, metrics=it.metrics, tracing=place.traces)
        await answering.process(batch_of([Sent(value=request.pack(), headers=[header])]), lambda *_: None)
    assert len(place.named("process raw")) == is_sampled
    place.traces._provider.shutdown()


async def test_opentelemetry_may_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own variable: nothing is traced then, and batches go their way."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    place = Place()
    async with bench(tracing=place.traces) as it:
        with place.traces.batch("shop", "raw", 0, offset=1, since_ns=2), hop("misses"), ending():
            assert in_work().traceparent == f"00-{'0' * 32}-{'0' * 16}-00"
            assert in_work().ids is None
        await it.take(lines(b"took 1 ms"))
        await it.drain()
        assert it.bodies == ["took 1 ms"]
    assert place.spans == []
    place.traces._provider.shutdown()
