"""The transport, the producer and the app on a real broker, in this process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError

from tests.integration.echo_worker import echo_app
from tests.kafka_broker import KafkaBroker
from tests.transport.record_batches import encode
from worker.app import AppSettings, BatchProcessor, WorkerApp
from worker.columns.records import EncodedBatch
from worker.errors import DeliveryFailed
from worker.transport.acknowledgements import Acknowledge
from worker.transport.batches import FetchedBatch, TopicPartition, read_records
from worker.transport.producer import RecordBatchProducer
from worker.transport.seam import BatchConsumer
from worker.transport.subscriptions import Subscription

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


def settings_of(kafka: KafkaBroker, *topics: str, **changes: Any) -> AppSettings:
    """Return settings that read `topics` with short intervals."""
    settings = AppSettings(
        bootstrap_servers=kafka.bootstrap,
        group=f"group-{'-'.join(topics)}",
        subscriptions=[Subscription(source="all", topics=topics)],
        commit_interval_seconds=0.1,
        session_timeout_seconds=6,
        heartbeat_interval_seconds=0.3,
        rebalance_timeout_seconds=10,
        max_fetch_wait_seconds=0.1,
        metadata_seconds=0.5,
    )
    return replace(settings, **changes)


async def until(true: Callable[[], bool], *, of: "asyncio.Task[int] | None" = None) -> None:
    """Wait until `true` holds. Fails if the app's task ends before."""
    while not true():
        assert of is None or not of.done(), "the worker ended too soon"
        await asyncio.to_thread(threading.Event().wait, 0.01)  # between two looks, never instead of one


@asynccontextmanager
async def running(app: WorkerApp) -> AsyncIterator[asyncio.Task[int]]:
    """Run `app` beside the test; it is stopped at the end if it was not before."""
    task = asyncio.create_task(app.serve())
    try:
        yield task
    finally:
        app.stop()
        await task


async def produce(kafka: KafkaBroker, topic: str, values: list[bytes], **options: Any) -> None:
    """Produce `values` to partition 0 with aiokafka's own producer, each with its number as key."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, **options) as producer:
        for number, value in enumerate(values):
            await producer.send(topic, value, key=b"%d" % number, partition=0, headers=[("h", b"%d" % number)])
        await producer.flush()


async def values_in(kafka: KafkaBroker, topic: str, count: int) -> list[bytes]:
    """Return the first `count` values of `topic`, read one by one with aiokafka's own consumer."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


@dataclass
class Recorder:
    """A processor that keeps what it gets, and acknowledges when it is told to."""

    batches: list[FetchedBatch] = field(default_factory=list)
    acknowledges: list[Callable[[], None]] = field(default_factory=list)
    drained: list[frozenset[TopicPartition]] = field(default_factory=list)
    is_acknowledging: bool = True

    async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
        """Keep `batch`."""
        self.batches.append(batch)
        self.acknowledges.append(lambda: acknowledge(batch.next_offset))
        if self.is_acknowledging:
            acknowledge(batch.next_offset)

    async def drain(self, partitions: frozenset[TopicPartition]) -> None:
        """Note it."""
        self.drained.append(partitions)

    def app(self, settings: AppSettings) -> WorkerApp:
        """Return an app that gives everything to this processor."""

        @asynccontextmanager
        async def pipelines(*_: object) -> AsyncIterator[Mapping[str, BatchProcessor]]:
            yield {subscription.source: self for subscription in settings.subscriptions}

        return WorkerApp(settings, pipelines)

    @property
    def offsets(self) -> list[int]:
        """All offsets that came, in their order."""
        return [offset for batch in self.batches for offset in read_records(batch).offset.tolist()]

    @property
    def values(self) -> list[bytes]:
        """All values that came, in their order."""
        values = []
        for batch in self.batches:
            records = read_records(batch)
            spans = zip(records.value_start, records.value_length, strict=True)
            values += [records.buffer[start : start + length].tobytes() for start, length in spans]
        return values


def has_batches(recorder: Recorder, count: int) -> bool:
    """Say whether so many batches came."""
    return len(recorder.batches) == count


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_values_pass_whatever_their_compression(kafka: KafkaBroker, compression: str | None) -> None:
    """What was produced with any codec comes out the same, read by an independent client."""
    topic, output = kafka.new_topic(), kafka.new_topic()
    values = [b"line %d " % number * 20 for number in range(500)]
    await produce(kafka, topic, values, compression_type=compression)
    async with running(echo_app(settings_of(kafka, topic), output)) as task:
        assert await values_in(kafka, output, 500) == values
        assert not task.done()
    assert task.result() == 0


async def test_aborted_transactions_are_not_seen(kafka: KafkaBroker) -> None:
    """Under read_committed what was aborted is left out; the commit passes it and the markers."""
    topic = kafka.new_topic()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"tx-{topic}") as producer:
        for number, is_committed in enumerate([True, False, True, False]):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
            await (producer.commit_transaction() if is_committed else producer.abort_transaction())
    recorder = Recorder()
    async with running(recorder.app(settings_of(kafka, topic))) as task:
        await until(lambda: len(recorder.offsets) == 2, of=task)
    assert recorder.values == [b"0", b"2"]
    assert kafka.committed(f"group-{topic}") == {(topic, 0): 5}


async def test_reading_uncommitted_is_a_setting(kafka: KafkaBroker) -> None:
    """Under read_uncommitted aborted records are handed out as well."""
    topic = kafka.new_topic()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"tx-{topic}") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"0", partition=0)
        await producer.abort_transaction()
    recorder = Recorder()
    async with running(recorder.app(settings_of(kafka, topic, read_committed=False))) as task:
        await until(lambda: recorder.values == [b"0"], of=task)


async def test_restart_inside_a_batch_reads_its_rest(kafka: KafkaBroker) -> None:
    """A batch that was acknowledged in part is read again from that offset on."""
    topic = kafka.new_topic()
    await produce(kafka, topic, [b"%d" % number for number in range(10)], max_batch_size=1 << 20)

    class Half(Recorder):
        async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
            self.batches.append(batch)
            acknowledge(batch.fetch_offset + 1)

    half = Half()
    async with running(half.app(settings_of(kafka, topic))) as task:
        await until(lambda: half.offsets == list(range(10)), of=task)
    (committed,) = kafka.committed(f"group-{topic}").values()
    assert committed == 1
    recorder = Recorder()
    async with running(recorder.app(settings_of(kafka, topic))) as task:
        await until(lambda: len(recorder.offsets) == 9, of=task)
    assert recorder.offsets == list(range(1, 10))


async def test_nothing_is_committed_that_is_not_acknowledged(kafka: KafkaBroker) -> None:
    """Without an acknowledgement of the first batch, those of all later ones commit nothing."""
    topic = kafka.new_topic()
    recorder = Recorder(is_acknowledging=False)
    async with running(recorder.app(settings_of(kafka, topic))) as task:
        for number in range(3):
            await produce(kafka, topic, [b"%d" % number])
            await until(partial(has_batches, recorder, number + 1), of=task)
        recorder.acknowledges[2]()
        recorder.acknowledges[1]()
    assert task.result() == 0
    assert kafka.committed(f"group-{topic}") == {}
    assert recorder.drained[0] == {(topic, 0)}


async def test_error_in_a_processor_ends_the_worker(kafka: KafkaBroker) -> None:
    """A processor that raises ends the worker with exit code 1, and its batch is read again by the next one."""
    topic = kafka.new_topic()
    await produce(kafka, topic, [b"0", b"1"])

    class Broken(Recorder):
        async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
            raise RuntimeError("broken")

    app = Broken().app(settings_of(kafka, topic))
    assert await app.serve() == 1
    assert repr(app.failure) == "RuntimeError('broken')"
    assert kafka.committed(f"group-{topic}") == {}
    recorder = Recorder()
    async with running(recorder.app(settings_of(kafka, topic))) as task:
        await until(lambda: recorder.values == [b"0", b"1"], of=task)


async def test_output_that_cannot_be_delivered_ends_the_worker(kafka: KafkaBroker) -> None:
    """If the output topic has no such partition the worker ends with exit code 1 and commits nothing."""
    topic, output = kafka.new_topic(partitions=2), kafka.new_topic(partitions=1)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(topic, b"0", partition=1)
    app = echo_app(settings_of(kafka, topic), output)
    assert await app.serve() == 1
    assert isinstance(app.failure, DeliveryFailed)
    assert "at least as many" in str(app.failure)
    assert kafka.committed(f"group-{topic}") == {}


async def test_topics_that_appear_later_are_read(kafka: KafkaBroker) -> None:
    """A pattern takes in a topic that is made while the worker runs, for the right source, and never the output."""
    name = kafka.new_topic("early")
    recorders = {"named": Recorder(), "matched": Recorder()}
    subscriptions = [
        Subscription(source="named", topics=(name,)),
        Subscription(source="matched", pattern=rf"late-of-{name}.*"),
    ]
    output = f"late-of-{name}-output"
    settings = settings_of(kafka, name, subscriptions=subscriptions, written_topics=frozenset({output}))

    @asynccontextmanager
    async def pipelines(*_: object) -> AsyncIterator[Mapping[str, BatchProcessor]]:
        yield recorders

    app = WorkerApp(settings, pipelines)
    await produce(kafka, name, [b"early"])
    async with running(app) as task:
        await until(lambda: recorders["named"].values == [b"early"], of=task)
        for topic in (output, f"late-of-{name}-1"):
            kafka.create_topic(topic)
            await produce(kafka, topic, [topic.encode()])
        await until(lambda: recorders["matched"].values == [f"late-of-{name}-1".encode()], of=task)
        assert recorders["named"].values == [b"early"]
    assert task.result() == 0


async def test_pattern_may_match_nothing_at_first(kafka: KafkaBroker) -> None:
    """A worker whose topics do not exist yet waits for them."""
    topic = f"not-yet-{kafka.new_topic()}"
    recorder = Recorder()
    settings = settings_of(kafka, topic, subscriptions=[Subscription(source="all", pattern=f"{topic}.*")])
    app = recorder.app(settings)
    async with running(app) as task:
        await until(lambda: app.is_ready, of=task)
        kafka.create_topic(topic)
        await produce(kafka, topic, [b"0"])
        await until(lambda: recorder.values == [b"0"], of=task)


async def test_unacknowledged_batches_hold_fetching_back(kafka: KafkaBroker) -> None:
    """What is in flight is bounded, and the rest comes when there is room again; other partitions go on meanwhile."""
    topic, other = kafka.new_topic(), kafka.new_topic()
    await produce(kafka, topic, [b"%05d" % number * 200 for number in range(400)], max_batch_size=8192)
    recorder = Recorder(is_acknowledging=False)
    limit = 65536
    settings = settings_of(kafka, topic, other, max_partition_bytes_in_flight=limit, max_partition_fetch_bytes=16384)
    async with running(recorder.app(settings)) as task:
        await until(lambda: sum(len(batch.data) for batch in recorder.batches) > limit // 2, of=task)
        await produce(kafka, other, [b"other"])
        await until(lambda: recorder.batches[-1].topic == other, of=task)
        assert sum(len(batch.data) for batch in recorder.batches) < limit + 2 * 16384
        recorder.is_acknowledging = True
        for acknowledge in recorder.acknowledges:
            acknowledge()
        await until(lambda: len(recorder.offsets) == 401, of=task)
    assert [value[:5] for value in recorder.values if value != b"other"] == [b"%05d" % number for number in range(400)]


async def test_partitions_move_without_repeats(kafka: KafkaBroker) -> None:
    """When a second worker joins and leaves, each record is processed once: what was begun is committed before."""
    topic = kafka.new_topic(partitions=4)
    first, second = Recorder(), Recorder()
    settings = settings_of(kafka, topic)
    sent = 0

    async def send(count: int) -> None:
        nonlocal sent
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for number in range(sent, sent + count):
                await producer.send(topic, b"%d" % number, partition=number % 4)
        sent += count

    def is_everything_there() -> bool:
        return len(first.values) + len(second.values) >= sent

    async with running(first.app(settings)) as one:
        await send(200)
        await until(is_everything_there, of=one)
        second_app = second.app(replace(settings, client_id="two"))
        async with running(second_app) as two:
            await until(lambda: second_app.is_ready and bool(first.drained), of=two)
            await send(200)
            await until(is_everything_there, of=two)
            assert second.values
        await send(200)
        await until(is_everything_there, of=one)
    everything = [int(value) for value in first.values + second.values]
    assert sorted(everything) == list(range(sent))


async def test_stock_transport_does_the_same(kafka: KafkaBroker) -> None:
    """Record by record through stock Faust, the same processor gets the same and the same is committed."""
    topic, output = kafka.new_topic(), kafka.new_topic()
    values = [b"line %d" % number for number in range(300)]
    await produce(kafka, topic, values)
    async with running(echo_app(settings_of(kafka, topic, transport="faust"), output)) as task:
        assert await values_in(kafka, output, 300) == values
    assert task.result() == 0
    assert kafka.committed(f"group-{topic}") == {(topic, 0): 300}


async def test_keys_headers_and_timestamps_are_kept(kafka: KafkaBroker) -> None:
    """Java's console consumer reads the echo's keys, headers and timestamps as they were produced."""
    topic, output = kafka.new_topic(), kafka.new_topic()
    await produce(kafka, topic, [b"a", b"b"])
    shown = {"print.key": "true", "print.headers": "true", "print.timestamp": "true"}
    async with running(echo_app(settings_of(kafka, topic), output)):
        await values_in(kafka, output, 2)
    read = [kafka.console_consumer(name, 2, properties=shown) for name in (topic, output)]
    assert read[0] == read[1]
    assert b"h:0\t0\ta" in read[1]


async def test_lag_is_known(kafka: KafkaBroker) -> None:
    """After a commit the lag is how many records are not committed."""
    topic = kafka.new_topic()
    recorder = Recorder()
    app = recorder.app(settings_of(kafka, topic))
    async with running(app) as task:
        await produce(kafka, topic, [b"0", b"1"])
        await until(lambda: app.lag() == {(topic, 0): 0}, of=task)
        recorder.is_acknowledging = False
        await produce(kafka, topic, [b"2"])
        await until(lambda: app.lag() == {(topic, 0): 1}, of=task)
    assert app.lag() == {}


async def test_commit_that_fails_is_made_again(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that the group refuses, because it rebalances, does not count: the same offset is committed later."""
    topic = kafka.new_topic()
    real_commit = BatchConsumer.commit
    refused: list[object] = []

    async def commit(self: BatchConsumer, offsets: dict[Any, Any]) -> None:
        if not refused:
            refused.append(offsets)
            raise CommitFailedError("the group has already rebalanced")
        await real_commit(self, offsets)

    monkeypatch.setattr(BatchConsumer, "commit", commit)
    await produce(kafka, topic, [b"0"])
    async with running(Recorder().app(settings_of(kafka, topic))) as task:
        await until(lambda: bool(refused), of=task)
        await until(lambda: kafka.committed(f"group-{topic}") == {(topic, 0): 1}, of=task)
    assert task.result() == 0


async def test_commit_that_is_not_allowed_ends_the_worker(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that can't succeed, which fails in the consumer's thread, ends the worker with exit code 1."""
    topic = kafka.new_topic()

    async def commit(self: BatchConsumer, offsets: dict[Any, Any]) -> None:
        raise GroupAuthorizationFailedError("group")

    monkeypatch.setattr(BatchConsumer, "commit", commit)
    await produce(kafka, topic, [b"0"])
    app = Recorder().app(settings_of(kafka, topic))
    assert await app.serve() == 1
    assert isinstance(app.failure, GroupAuthorizationFailedError)


async def test_worker_may_be_stopped_while_it_starts(kafka: KafkaBroker) -> None:
    """A worker that is told to stop before it has partitions exits with 0."""
    app = Recorder().app(settings_of(kafka, kafka.new_topic()))
    task = asyncio.create_task(app.serve())
    await asyncio.sleep(0)
    app.stop()
    assert await task == 0


async def test_worker_outlives_its_broker(kafka: KafkaBroker) -> None:
    """When the broker is killed and comes back, the worker goes on where it was, with nothing lost or repeated."""
    if not kafka.controllable:
        pytest.skip("the broker that was given can't be killed")
    topic, output = kafka.new_topic(), kafka.new_topic()
    async with running(echo_app(settings_of(kafka, topic), output)) as task:
        await produce(kafka, topic, [b"before"])
        assert await values_in(kafka, output, 1) == [b"before"]
        kafka.kill()
        await asyncio.to_thread(kafka.restart)
        await produce(kafka, topic, [b"after"])
        assert await values_in(kafka, output, 2) == [b"before", b"after"]
        assert not task.done()
    assert task.result() == 0
    assert kafka.committed(f"group-{topic}") == {(topic, 0): 2}


async def test_no_broker_ends_the_worker() -> None:
    """A worker that reaches no broker ends with exit code 1 instead of waiting for ever."""
    recorder = Recorder()
    settings = AppSettings(
        bootstrap_servers="localhost:1", group="g", subscriptions=[Subscription(source="all", topics=("t",))]
    )
    app = recorder.app(settings)
    assert await app.serve() == 1
    assert isinstance(app.failure, DeliveryFailed)


# The producer.


def encoded(values: list[bytes]) -> EncodedBatch:
    """Return a batch of `values`, ready to be produced."""
    return EncodedBatch(data=bytearray(encode(0, values)), record_count=len(values))


async def test_batches_are_acknowledged_in_order(kafka: KafkaBroker) -> None:
    """Batches and records of one partition stand in the topic in the order in which they were taken."""
    topic = kafka.new_topic()
    async with RecordBatchProducer(kafka.bootstrap) as producer:
        deliveries = [await producer.send(topic, 0, encoded([b"%d" % number, b"again"])) for number in range(50)]
        placed = [(await delivery).offset for delivery in deliveries]
    assert placed == list(range(0, 100, 2))
    expected = [value for number in range(50) for value in (b"%d" % number, b"again")]
    assert await values_in(kafka, topic, 100) == expected


async def test_closing_waits_for_what_was_taken(kafka: KafkaBroker) -> None:
    """What was taken is there once the producer is closed, single records too; then it takes nothing more."""
    topic = kafka.new_topic()
    producer = RecordBatchProducer(kafka.bootstrap)
    await producer.start()
    for number in range(10):
        await producer.send_record(topic, 0, None, b"%d" % number, [("reason", b"undecodable")], 1_700_000_000_000)
    await producer.close()
    await producer.close()
    assert producer.bytes_in_flight == 0
    assert await values_in(kafka, topic, 10) == [b"%d" % number for number in range(10)]
    with pytest.raises(DeliveryFailed, match="closed"):
        await producer.send(topic, 0, encoded([b"late"]))


async def test_dead_letter_may_be_empty(kafka: KafkaBroker) -> None:
    """A record with neither key nor value is sent with an empty value."""
    topic = kafka.new_topic()
    async with RecordBatchProducer(kafka.bootstrap) as producer:
        await (await producer.send_record(topic, None, None, None))
    assert await values_in(kafka, topic, 1) == [b""]


async def test_bytes_in_flight_are_bounded(kafka: KafkaBroker) -> None:
    """With too much in flight, taking waits; nothing is lost by it."""
    topic = kafka.new_topic()
    async with RecordBatchProducer(
        kafka.bootstrap, max_bytes_in_flight=3000, max_partition_batches_in_flight=100
    ) as producer:
        for number in range(30):
            await producer.send(topic, 0, encoded([b"%d" % number * 500]))
            assert producer.bytes_in_flight <= 3000
        await producer.drain()
    assert len(await values_in(kafka, topic, 30)) == 30


async def test_refused_batch_fails_and_everything_after_it(kafka: KafkaBroker) -> None:
    """What the broker refuses raises DeliveryFailed, as does everything later: order is not bought with a gap."""
    topic = kafka.new_topic(configs={"max.message.bytes": "1000"})
    producer = RecordBatchProducer(kafka.bootstrap)
    await producer.start()
    refused = await producer.send(topic, 0, encoded([b"a" * 5000]))
    with pytest.raises(DeliveryFailed, match="0"):
        await refused
    with pytest.raises(DeliveryFailed):
        await producer.send(topic, 0, encoded([b"a"]))
    with pytest.raises(DeliveryFailed):
        await producer.close()


async def test_unknown_partition_is_told_of(kafka: KafkaBroker) -> None:
    """A partition that the topic does not have fails, with what to do about it."""
    topic = kafka.new_topic()
    producer = RecordBatchProducer(kafka.bootstrap)
    await producer.start()
    with pytest.raises(DeliveryFailed, match="at least as many"):
        await (await producer.send(topic, 7, encoded([b"a"])))
    await producer.abort()


async def test_broker_that_comes_back_gets_each_batch_once(kafka: KafkaBroker) -> None:
    """Batches that are sent while the broker is killed and restarted are there once each, in order."""
    if not kafka.controllable:
        pytest.skip("the broker that was given can't be killed")
    topic = kafka.new_topic(configs={"flush.messages": "1"})
    async with RecordBatchProducer(kafka.bootstrap, request_seconds=3) as producer:
        deliveries = [await producer.send(topic, 0, encoded([b"0"]))]
        await deliveries[0]
        kafka.kill()
        restarting = asyncio.create_task(asyncio.to_thread(kafka.restart))
        deliveries += [await producer.send(topic, 0, encoded([b"%d" % number])) for number in range(1, 30)]
        await restarting
        placed = [(await delivery).offset for delivery in deliveries]
    assert placed == list(range(30))
    assert await values_in(kafka, topic, 30) == [b"%d" % number for number in range(30)]


async def test_broker_that_stays_away_fails_in_time(kafka: KafkaBroker) -> None:
    """Without a broker a batch fails when its time is over, and the producer closes without it."""
    if not kafka.controllable:
        pytest.skip("the broker that was given can't be killed")
    topic = kafka.new_topic()
    producer = RecordBatchProducer(kafka.bootstrap, delivery_seconds=1.0, request_seconds=1.0)
    await producer.start()
    kafka.kill()
    try:
        delivery = await producer.send(topic, 0, encoded([b"0"]))
        with pytest.raises(DeliveryFailed, match="not acknowledged within 1 s"):
            await delivery
        await producer.abort()
    finally:
        kafka.restart()
