"""The worker's process: sources in, agents, lanes, a processor per source, and an exit code.

An agent per source takes what the transport fetched and puts it into the lane of its partition. A lane gives one batch
after the other to the source's processor; lanes do not wait for each other, so that a miss in one partition does not
hold up the next. Whatever goes wrong in a lane, an agent, or in something that is still in flight stops the process:
nothing that is not acknowledged is committed, and the next worker reads it again.
"""

import asyncio
import logging
import signal
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, cast

import faust
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from worker.errors import DeliveryFailed, WrongSettings
from worker.tasks import Fail
from worker.transport.acknowledgements import Acknowledge, Acknowledgements
from worker.transport.batches import FetchedBatch, TopicPartition, join_batches
from worker.transport.consumer import Fetching, RecordBatchConsumer, RecordBatchTransport, SourceApp, StockTransport
from worker.transport.group_offsets import Membership
from worker.transport.outlet import Direct, Outlet
from worker.transport.positions import Position
from worker.transport.producer import RecordBatchProducer
from worker.transport.subscriptions import Subscription, Subscriptions
from worker.transport.transactions import Transactions

_log = logging.getLogger(__name__)

#: Takes arrivals off a lane's left and makes one batch of them.
Pack = Callable[[deque[Any]], tuple[FetchedBatch, Acknowledge]]

#: How often to look whether Faust crashed.
_CRASH_POLL_SECONDS = 0.25
#: A lane puts small batches that wait together up to so many bytes, as fetched.
_JOINED_BYTES = 512 * 1024
#: Records that the stock transport's lanes pack into one batch, at most, and how long they wait for more.
_STOCK_BATCH_RECORDS = 1000
_STOCK_LINGER_SECONDS = 0.02
#: Longest wait for Faust to stop once everything is drained, or given up.
_STOP_SECONDS = 15.0
#: The same after a failure: a broker that lets the group wait for others holds the consumer until the rebalance's end.
_FAILED_STOP_SECONDS = 3.0


class BatchProcessor(Protocol):
    """What becomes of the batches of one source."""

    async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
        """Take `batch`; return when the next one of its partition may come, output may still be in flight.

        Batches of one partition come one after the other, in order; those of different partitions at the same time.
        `acknowledge(offset)`, called once or several times, now or after later batches were taken, says: the broker
        acknowledged all that came of *this* batch below `offset`. `batch.next_offset` makes it whole. The committed
        offset never passes a batch that is not whole, so the order among batches does not matter. What is raised stops
        the process; for what is in flight there is `Fail`.
        """

    async def drain(self, partitions: frozenset[TopicPartition]) -> None:
        """Return when nothing of `partitions` is in flight any more, and forget what is held back of them.

        Called when partitions go away and when the worker stops, after the last `process` of them returned. What is
        then not acknowledged is read again, from the first offset that is not.
        """


#: Makes the processors, by source, and whatever they need; leaves when the worker is done with them. The outlet takes
#: the output of batches, the producer what belongs to none.
Pipelines = Callable[[RecordBatchProducer, Outlet, Fail], AbstractAsyncContextManager[Mapping[str, BatchProcessor]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What the Faust app, its consumer and its producer are set to."""

    #: host:port, several separated by commas.
    bootstrap_servers: str
    #: The consumer group.
    group: str
    subscriptions: Sequence[Subscription]
    #: Topics that this worker writes: no pattern of a source may match them.
    written_topics: frozenset[str] = frozenset()
    transport: Literal["batches", "faust"] = "batches"
    client_id: str = "logloom"
    #: Name of this member for static membership: a restart within the session timeout moves no partitions.
    group_instance_id: str | None = None
    #: Write output and offsets in transactions, each open so long at most.
    is_exactly_once: bool = False
    transaction_interval_seconds: float = 0.1
    read_committed: bool = True
    #: Where to begin in a partition with no committed offset.
    offset_reset: Literal["earliest", "latest"] = "earliest"
    commit_interval_seconds: float = 1.0
    session_timeout_seconds: float = 30.0
    heartbeat_interval_seconds: float = 3.0
    rebalance_timeout_seconds: float = 60.0
    request_timeout_seconds: float = 60.0
    #: Longest time that fetched batches may lie untouched before the group goes on without this worker.
    max_poll_interval_seconds: float = 300.0
    #: Longest wait for what is in flight when partitions go away or the worker stops.
    drain_seconds: float = 30.0
    #: How soon new topics and partitions are noticed.
    metadata_seconds: float = 30.0
    max_partition_fetch_bytes: int = 1 << 20
    max_fetch_wait_seconds: float = 0.5
    min_fetch_bytes: int = 1
    max_fetch_bytes: int = 50 << 20
    #: How long a batch waits in its lane for more of its partition.
    linger_seconds: float = 0.0
    max_partition_bytes_in_flight: int = 8 << 20
    max_bytes_in_flight: int = 64 << 20
    #: Longest wait for the broker's acknowledgement of one batch of events, retries included.
    delivery_seconds: float = 120.0
    #: Let the broker drop what a retry sends twice; not every broker can.
    is_idempotent: bool = True
    max_produce_bytes_in_flight: int = 32 << 20
    #: Compression and largest size of single records: dead letters.
    record_compression: str | None = None
    max_record_bytes: int = 1 << 20
    #: Credentials as Faust takes them (`faust.SASLCredentials` and so on), and as aiokafka's producer does.
    consumer_credentials: Any = None
    producer_security: Mapping[str, Any] = field(default_factory=dict)


class Lane:
    """What was fetched of one partition on its way to the processor: one batch after the other."""

    def __init__(
        self,
        processor: BatchProcessor,
        pack: Pack,
        fail: Fail,
        *,
        linger_seconds: float = 0,
        predecessor: "Lane | None" = None,
    ) -> None:
        """`predecessor` is an earlier lane of the partition that is not through yet: it goes first."""
        self._linger_seconds = linger_seconds
        self._processor = processor
        self._pack = pack
        self._fail = fail
        self._arrivals: deque[Any] = deque()
        self._changed = asyncio.Event()
        self._is_stopping = False
        self._task = asyncio.create_task(self._run(predecessor))

    @property
    def is_through(self) -> bool:
        """Whether it was stopped and its last batch is processed."""
        return self._task.done()

    @property
    def is_stopping(self) -> bool:
        """Whether it takes nothing more."""
        return self._is_stopping

    def put(self, arrival: Any) -> None:
        """Add what the transport handed over. How much lies here is bounded by what may be in flight."""
        self._arrivals.append(arrival)
        self._changed.set()

    async def stop(self) -> None:
        """Drop what was not begun, and return when what was begun is processed."""
        self._is_stopping = True
        self._arrivals.clear()
        self._changed.set()
        # Not awaited itself: a caller that runs out of time would cancel it in the middle of a batch.
        await asyncio.wait([self._task])

    async def _run(self, predecessor: "Lane | None") -> None:
        try:
            if predecessor is not None:
                await predecessor.stop()
            while not self._is_stopping:
                if self._arrivals:
                    if self._linger_seconds:
                        await asyncio.sleep(self._linger_seconds)
                        if not self._arrivals:  # it was stopped meanwhile
                            continue
                    batch, acknowledge = self._pack(self._arrivals)
                    await self._processor.process(batch, acknowledge)
                else:
                    self._changed.clear()
                    await self._changed.wait()
        except Exception as exc:  # noqa: BLE001 - the process edge: whatever it is, it stops the process
            self._fail(exc)


class WorkerApp:
    """One worker: made of settings and a recipe for its processors, run once."""

    def __init__(
        self, settings: AppSettings, pipelines: Pipelines, *, on_transaction: Callable[[bool], None] | None = None
    ) -> None:
        """`on_transaction` is told of each that ends. Raises WrongSettings if sources' topics can't be told apart."""
        self.settings = settings
        self._on_transaction = on_transaction
        self._pipelines = pipelines
        self._subscriptions = Subscriptions(settings.subscriptions, excluded=settings.written_topics)
        self._lanes: dict[TopicPartition, Lane] = {}
        self._processors: Mapping[str, BatchProcessor] = {}
        self._faust: SourceApp | None = None
        self._failure: BaseException | None = None
        self._is_drained = True
        self._ending = asyncio.Event()
        self._failing = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether it has partitions, or knows that there are none for it, and fetches."""
        app = self._faust
        return (
            app is not None
            and app.started
            and not app.should_stop
            and not app.rebalancing
            and app.flow_control.is_active()
        )

    @property
    def failure(self) -> BaseException | None:
        """What stopped it, None if nothing did."""
        return self._failure

    @property
    def partitions(self) -> int:
        """How many partitions it has."""
        return len(self._faust.consumer.assignment()) if self.is_ready and self._faust is not None else 0

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many records of each partition are not committed yet; nothing under the stock transport."""
        if self.is_ready and self._faust is not None and isinstance(self._faust.consumer, RecordBatchConsumer):
            return self._faust.consumer.lag()
        return {}

    def fail(self, error: BaseException) -> None:
        """Stop with `error`: nothing more is committed, and the exit code is 1."""
        if self._failure is None:
            self._failure = error
            _log.critical("the worker stops: %s", error or repr(error), exc_info=error)
        self._failing.set()
        self._ending.set()

    def stop(self) -> None:
        """Stop in order: finish what was begun, have it acknowledged, commit."""
        self._ending.set()

    async def serve(self) -> int:
        """Run until a signal, `stop` or a failure; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._serve()
        except Exception as exc:  # noqa: BLE001 - the process edge: it becomes the exit code
            self.fail(exc)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        return 0 if self._failure is None else 1

    async def _serve(self) -> None:
        async with (
            self._producer() as producer,
            self._outlet(producer) as outlet,
            self._pipelines(producer, outlet, self.fail) as self._processors,
        ):
            missing = set(self._subscriptions.sources) - self._processors.keys()
            if missing:
                raise WrongSettings(f"there is no processor for the sources {sorted(missing)}")
            self._faust = self._new_faust()
            await self._run_faust(self._faust)
            if self._failure is not None:
                raise self._failure

    def _producer(self, transactional_id: str | None = None) -> RecordBatchProducer:
        settings = self.settings
        return RecordBatchProducer(
            settings.bootstrap_servers.split(","),
            client_id=settings.client_id,
            delivery_seconds=settings.delivery_seconds,
            is_idempotent=settings.is_idempotent,
            max_bytes_in_flight=settings.max_produce_bytes_in_flight,
            compression=settings.record_compression,
            max_record_bytes=settings.max_record_bytes,
            transactional_id=transactional_id,
            # Nobody sees what a dead worker left open, nor what stands behind it, before this.
            transaction_seconds=settings.session_timeout_seconds,
            security=dict(settings.producer_security),
        )

    @asynccontextmanager
    async def _outlet(self, producer: RecordBatchProducer) -> AsyncIterator[Outlet]:
        """Give where batches write.

        With static membership the transactional ids are static too, and a restarted worker ends at once what its
        predecessor left open. Else they are new each time; the group's generation keeps a former owner out either way.
        """
        settings = self.settings
        if not settings.is_exactly_once:
            yield Direct(producer)
            return
        member = settings.group_instance_id or uuid.uuid4().hex
        producers = [self._producer(f"logloom-{settings.group}-{member}-{number}") for number in range(2)]

        def membership() -> Membership:
            return cast("RecordBatchConsumer", cast("SourceApp", self._faust).consumer).membership()

        async with Transactions(
            producers,
            member=membership,
            interval_seconds=settings.transaction_interval_seconds,
            fail=self.fail,
            on_end=self._on_transaction,
        ) as transactions:
            yield transactions

    async def _run_faust(self, app: SourceApp) -> None:
        starting = asyncio.create_task(app.start())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            while not ending.done() and not app.should_stop:
                # Looks now and then: a crash in the consumer's thread sets Faust's flag but wakes nobody here.
                await asyncio.wait({ending}, timeout=_CRASH_POLL_SECONDS)
        finally:
            # Stopped halfway through its start, Faust would leave its consumer's thread behind.
            await asyncio.wait({starting}, timeout=_STOP_SECONDS)
            await self._stop_faust(app)
            for task in (starting, ending):
                task.cancel()

    async def _stop_faust(self, app: SourceApp) -> None:
        if app.crashed:
            self.fail(app.crash_reason or DeliveryFailed("Faust crashed"))
        seconds = _FAILED_STOP_SECONDS if self._failure is not None else self.settings.drain_seconds + _STOP_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await app.stop()
        except TimeoutError as exc:
            self.fail(exc)
        if not self._is_drained and self._failure is None:
            self.fail(DeliveryFailed(f"not finished {self.settings.drain_seconds:.0f} s after the stop"))

    def _new_faust(self) -> SourceApp:
        settings = self.settings
        fetching = Fetching(
            subscriptions=self._subscriptions,
            drain=self._drain,
            drain_seconds=settings.drain_seconds,
            is_exactly_once=settings.is_exactly_once,
            read_committed=settings.read_committed,
            max_partition_bytes_in_flight=settings.max_partition_bytes_in_flight,
            max_bytes_in_flight=settings.max_bytes_in_flight,
            max_fetch_wait_seconds=settings.max_fetch_wait_seconds,
            min_fetch_bytes=settings.min_fetch_bytes,
            max_fetch_bytes=settings.max_fetch_bytes,
        )
        app = SourceApp(
            settings.group,
            fetching=fetching,
            transport=RecordBatchTransport if settings.transport == "batches" else StockTransport,
            broker=[f"kafka://{server.strip()}" for server in settings.bootstrap_servers.split(",")],
            broker_credentials=settings.consumer_credentials,
            broker_client_id=settings.client_id,
            broker_commit_interval=settings.commit_interval_seconds,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_heartbeat_interval=settings.heartbeat_interval_seconds,
            broker_rebalance_timeout=settings.rebalance_timeout_seconds,
            broker_request_timeout=settings.request_timeout_seconds,
            broker_max_poll_interval=settings.max_poll_interval_seconds,
            consumer_auto_offset_reset=settings.offset_reset,
            consumer_group_instance_id=settings.group_instance_id,
            consumer_max_fetch_size=settings.max_partition_fetch_bytes,
            consumer_metadata_max_age_ms=int(settings.metadata_seconds * 1000),
            stream_wait_empty=True,
            store="memory://",
        )
        for source in self._subscriptions.sources:
            topic = app.topic(source, key_serializer="raw", value_serializer="raw", allow_empty=True)
            app.agent(topic, name=f"source-{source}")(partial(self._receive, source))
        return app

    async def _receive(self, source: str, stream: faust.Stream[Any]) -> None:
        """Put what comes for `source` into the lanes, as long as Faust runs."""
        try:
            if self.settings.transport == "batches":
                async for batch in stream.noack():
                    self._lane(source, batch.topic_partition).put(batch)
            else:
                async for event in stream.noack().events():
                    self._lane(source, TopicPartition(event.message.topic, event.message.partition)).put(event)
        except Exception as exc:
            self.fail(exc)
            raise

    def _lane(self, source: str, partition: TopicPartition) -> Lane:
        lane = self._lanes.get(partition)
        if lane is None or lane.is_stopping:
            are_batches = self.settings.transport == "batches"
            lane = self._lanes[partition] = Lane(
                self._processors[source],
                self._pack_batches if are_batches else pack_events,
                self.fail,
                linger_seconds=self.settings.linger_seconds if are_batches else _STOCK_LINGER_SECONDS,
                predecessor=lane,
            )
        return lane

    def _pack_batches(self, arrivals: deque[FetchedBatch]) -> tuple[FetchedBatch, Acknowledge]:
        consumer: RecordBatchConsumer = cast("SourceApp", self._faust).consumer
        return pack_batches(arrivals, consumer.acknowledgements)

    async def _drain(self, partitions: frozenset[TopicPartition]) -> bool:
        """Finish what was begun of `partitions`; return whether what was acknowledged may be committed."""
        self._is_drained = False
        finishing, failing = asyncio.create_task(self._finish(partitions)), asyncio.create_task(self._failing.wait())
        try:
            # What failed may never finish: lanes wait for a transaction that will not end.
            await asyncio.wait({finishing, failing}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure is not None:
                return False
            await finishing
        finally:
            for task in (finishing, failing):
                task.cancel()
            await asyncio.wait({finishing, failing})
            if not finishing.cancelled():
                finishing.exception()  # looked at: it is what failed, or is raised above
        self._is_drained = True
        return True

    async def _finish(self, partitions: frozenset[TopicPartition]) -> None:
        """Wait until nothing of `partitions` is in flight, and let their lanes go."""
        held = {partition: lane for partition, lane in self._lanes.items() if partition in partitions}
        await asyncio.gather(*(lane.stop() for lane in held.values()))
        by_source: dict[str, set[TopicPartition]] = {}
        for partition in partitions:
            by_source.setdefault(self._subscriptions.source_of(partition.topic) or "", set()).add(partition)
        drained = (self._processors[source].drain(frozenset(of_it)) for source, of_it in by_source.items() if source)
        await asyncio.gather(*drained)
        for partition in held:
            del self._lanes[partition]


def pack_batches(arrivals: deque[FetchedBatch], acknowledgements: Acknowledgements) -> tuple[FetchedBatch, Acknowledge]:
    """Take batches that wait, in order, and make one of them; each is acknowledged by itself."""
    taken = [arrivals.popleft()]
    size = len(taken[0].data)
    while arrivals and size + len(arrivals[0].data) <= _JOINED_BYTES:
        taken.append(arrivals.popleft())
        size += len(taken[-1].data)
    callbacks = deque((batch, acknowledgements.callback(batch)) for batch in taken)

    def acknowledge(up_to: int, position: Position | None = None) -> None:
        # A batch whose first line waits is told too: the position may say more than before.
        while callbacks and callbacks[0][0].fetch_offset <= up_to:
            batch, acknowledge_one = callbacks[0]
            acknowledge_one(min(up_to, batch.next_offset), position)
            if up_to < batch.next_offset:
                return
            callbacks.popleft()

    return join_batches(taken), acknowledge


def pack_events(events: deque[Any]) -> tuple[FetchedBatch, Acknowledge]:
    """Take records that stock Faust delivered one by one, in order, and make one record batch of them."""
    taken = [events.popleft() for _ in range(min(len(events), _STOCK_BATCH_RECORDS))]
    first, last = taken[0].message, taken[-1].message
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 30)
    for event in taken:
        message = event.message
        timestamp_ms = round(message.timestamp * 1000)
        builder.append(
            message.offset - first.offset, timestamp_ms, message.key, message.value, list(message.headers or ())
        )
    data = bytearray(builder.build())
    data[:8] = first.offset.to_bytes(8, "big")  # the builder counts from zero; the checksum does not cover these bytes
    batch = FetchedBatch(
        topic=first.topic,
        partition=first.partition,
        data=bytes(data),
        fetch_offset=first.offset,
        next_offset=last.offset + 1,
    )
    waiting = deque(taken)

    def acknowledge(up_to: int, position: Position | None = None) -> None:  # noqa: ARG001 - Faust commits offsets alone
        while waiting and waiting[0].message.offset < up_to:
            waiting.popleft().ack()

    return batch, acknowledge


def run(app: WorkerApp) -> int:
    """Run `app` until it is told to stop or fails; return the process's exit code."""
    for name in ("faust", "mode", "aiokafka"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)  # what they say of every rebalance is not for operators
    # Faust calls it a crash when an agent is cancelled, at each stop; real errors of agents come through `fail`.
    logging.getLogger("faust.agents.actor").setLevel(logging.CRITICAL)
    return asyncio.run(app.serve())
