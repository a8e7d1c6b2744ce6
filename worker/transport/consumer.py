"""The Faust transport that hands whole record batches to agents, and the stock one beside it.

What stays Faust's: the consumer's thread, rebalance, pause and resume, generations, flow control. What is ours: which
topics belong to which source, how much may be in flight, and what is committed. In stock Faust a gap between offsets
counts as acknowledged, a failed commit advances all the same, and revoked partitions lose their acknowledgements
before they are committed; here a ledger per partition decides (`acknowledgements`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata
from faust.app.base import BootStrategy
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import WorkerThread

from worker.errors import DeliveryFailed
from worker.transport.acknowledgements import Acknowledgements
from worker.transport.batches import FetchedBatch, TopicPartition
from worker.transport.group_offsets import Membership
from worker.transport.positions import Position
from worker.transport.seam import BatchConsumer, StableBatchConsumer, check_version, membership_of, positions_of
from worker.transport.subscriptions import Subscriptions

_log = logging.getLogger(__name__)

#: How long one look for new batches waits for them.
_POLL_SECONDS = 1.0
#: The same while a partition is held back: it must not wait for another one's next batch to be looked at again.
_POLL_SECONDS_HELD_BACK = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """What is fetched, how much of it at once, and who is asked to finish when partitions go away."""

    subscriptions: Subscriptions
    #: Called before partitions are given up: returns when nothing of them is being worked on or in flight, with True
    #: if what was acknowledged may be committed.
    drain: Callable[[frozenset[TopicPartition]], Awaitable[bool]]
    #: Longest wait for `drain`; what is not done by then is read again by whoever gets the partition.
    drain_seconds: float = 30.0
    #: Are offsets part of transactions (`transactions.py`)? Then they are not committed here.
    is_exactly_once: bool = False
    #: See only records of committed transactions?
    read_committed: bool = True
    #: A partition with more bytes in flight is not fetched; one fetch may overshoot.
    max_partition_bytes_in_flight: int = 8 << 20
    #: The same for all partitions together.
    max_bytes_in_flight: int = 64 << 20
    #: Longest wait of the broker for `min_fetch_bytes` to be there.
    max_fetch_wait_seconds: float = 0.5
    min_fetch_bytes: int = 1
    #: Most bytes of one fetch over all partitions.
    max_fetch_bytes: int = 50 << 20


class SourceConductor(Conductor):
    """Routes a partition's messages to the agent of the source that its topic belongs to.

    A source's Faust topic has the source's name; which Kafka topics it stands for is known by `Subscriptions` alone,
    so that topics that appear later, and match a pattern, need no change here.
    """

    def acks_enabled_for(self, topic: str) -> bool:  # noqa: ARG002 - Faust's signature
        """Say that every topic is acknowledged."""
        return True

    def _update_tp_index(self, assigned: set[TP]) -> None:
        channels = {channel.topics[0]: channel for channel in self._topics}
        for partition in assigned:
            source = self.app.fetching.subscriptions.source_of(partition.topic)
            if source in channels:
                self._tp_index[partition].add(channels[source])
                self._acking_topics.add(partition.topic)


class _DaemonThread(WorkerThread):
    """A consumer's thread that does not keep a failed process alive while it waits for a broker that is gone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True


class SourceThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker, subscribed to the topics of all sources."""

    Worker = _DaemonThread

    async def subscribe(self, topics: Iterable[str]) -> None:  # noqa: ARG002 - Faust's signature
        """Subscribe to the topics of all sources. `topics` are the sources' names and are not used."""
        subscriptions: Subscriptions = self.app.fetching.subscriptions
        wanted: dict[str, Any] = (
            {"topics": set(subscriptions.topics)}
            if subscriptions.pattern is None
            else {"pattern": subscriptions.pattern}
        )
        client = self._ensure_consumer()
        await self.call_thread(client.subscribe, listener=self._rebalance_listener, **wanted)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        conf, fetching = self.app.conf, self.app.fetching
        return self.consumer.Client(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=int(fetching.max_fetch_wait_seconds * 1000),
            fetch_min_bytes=fetching.min_fetch_bytes,
            fetch_max_bytes=fetching.max_fetch_bytes,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed" if fetching.read_committed else "read_uncommitted",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def _fetch_records(self, consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        records: Mapping[TP, list[Any]] = await super()._fetch_records(consumer, *args, **kwargs)
        fetch_task = consumer._fetcher.error_future  # noqa: SLF001 - Faust's thread reads it too
        if not records and fetch_task.done() and not fetch_task.cancelled():
            fetch_task.result()  # raises what ended it; aiokafka itself would return nothing for ever
        return records

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # aiokafka refuses an empty commit, and Faust would take that for a crash.
        held = self.assignment()
        offsets = {partition: offset for partition, offset in offsets.items() if partition in held}
        return bool(offsets) and await super()._commit(offsets)


class Fetched(NamedTuple):
    """What one look for new batches brought."""

    #: The group's generation in which they were fetched.
    generation: int
    batches: Mapping[TP, list[FetchedBatch]]
    #: What the group had committed of each partition when it was assigned.
    positions: Mapping[TP, Position]


class RecordBatchThread(SourceThread):
    """The thread that fetches record batches, and takes back what nobody may have yet."""

    async def _fetch_records(self, consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Fetched:
        batches: Mapping[TP, list[FetchedBatch]] = await super()._fetch_records(consumer, *args, **kwargs)
        if not self.consumer.flow_active:
            # The call began before a rebalance and brought batches of the new assignment before streams may have
            # them. Dropped with the position behind them, they would be lost: the next commit would pass them.
            for partition, fetched in batches.items():
                consumer.seek(partition, fetched[0].fetch_offset)
            batches = {}
        return Fetched(self.app.consumer_generation_id, batches, positions_of(consumer))

    async def _commit(self, positions: Mapping[TP, Position]) -> bool:  # type: ignore[override]
        """Commit offsets with their metadata, which Faust leaves empty. What goes wrong is a crash, as there."""
        held = self.assignment()
        wanted = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(position.offset, position.metadata)
            for tp, position in positions.items()
            if tp in held
        }
        if not wanted:
            return False
        try:
            await self._ensure_consumer().commit(wanted)
        except CommitFailedError as exc:
            if "already rebalanced" not in str(exc):
                await self.crash(exc)
            return False
        except Exception as exc:  # noqa: BLE001 - Faust's own way to stop for it
            await self.crash(exc)
            return False
        return True


class StockConsumer(driver.Consumer):
    """Stock Faust: a message per record and Faust's own bookkeeping, with our subscriptions and our draining."""

    Client: ClassVar[type[AIOKafkaConsumer]] = AIOKafkaConsumer
    Thread: ClassVar[type[SourceThread]] = SourceThread

    def _new_consumer_thread(self) -> SourceThread:
        return self.Thread(self, loop=self.loop, beacon=self.beacon)

    async def wait_empty(self) -> None:
        """Finish what is being worked on and commit."""
        if await self._drained():
            await super().wait_empty()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Leave it: Faust takes a partition that is held back for a stuck one. Lag is a metric."""

    async def _drained(self) -> bool:
        if self.app.crashed or not self._thread.started:
            return False
        fetching: Fetching = self.app.fetching
        held = frozenset(TopicPartition(*partition) for partition in self.assignment())
        try:
            async with asyncio.timeout(fetching.drain_seconds):
                return await fetching.drain(held)
        except TimeoutError:
            text = f"not finished after {fetching.drain_seconds:.0f} s; it will be read again: {sorted(held)}"
            if fetching.is_exactly_once:
                # What goes on would be written in the name of the new generation, beside the next owner's.
                await self.crash(DeliveryFailed(text))
                return False
            # Not an error: the partitions' next owner reads again from the last commit.
            _log.warning(text)
            return True


class RecordBatchConsumer(StockConsumer):
    """A message per record batch, and what is committed decided by ledgers."""

    Client = BatchConsumer
    Thread = RecordBatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._room = asyncio.Event()
        self._commit_lock = asyncio.Lock()
        #: What is in flight, and what of it may be committed.
        self.acknowledgements = Acknowledgements(on_room=self._room.set)
        super().__init__(*args, **kwargs)
        if self.app.fetching.is_exactly_once:
            self.Client = StableBatchConsumer  # type: ignore[misc]

    def membership(self) -> Membership:
        """Tell who this worker is in its group."""
        return membership_of(self._thread._ensure_consumer())  # noqa: SLF001 - Faust's own way to it

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Open a ledger per partition, then let Faust go on."""
        self.acknowledgements.assign(TopicPartition(*partition) for partition in assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust stop the flow, which drains and commits, then close the ledgers."""
        await super().on_partitions_revoked(revoked)
        if not self.app.should_stop:
            self.stop_flow()  # Faust does so only where there were partitions; they may come next
        self.acknowledgements.revoke(TopicPartition(*partition) for partition in revoked)

    async def wait_empty(self) -> None:
        """Finish what is being worked on and commit."""
        if await self._drained():
            await self.force_commit()

    async def force_commit(self, topics: object = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit what the ledgers allow; say whether something was. With exactly-once it is committed already.

        A commit that fails is not noted: the offsets stay committable.
        """
        async with self._commit_lock:
            positions = self.acknowledgements.committable()
            if not positions or not await self._is_committed(positions):
                return False
            self.acknowledgements.committed(positions)
            return True

    async def _is_committed(self, positions: Mapping[TopicPartition, Position]) -> bool:
        if self.app.fetching.is_exactly_once:
            return True
        return bool(await self._commit({TP(*partition): position for partition, position in positions.items()}))

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many offsets lie between what is done and the end, per partition that had a commit."""
        lags = {}
        for partition in map(TopicPartition._make, self.assignment()):
            ledger = self.acknowledgements.ledger(partition)
            highwater = self.highwater(TP(*partition))
            if ledger is not None and ledger.committed is not None and highwater is not None:
                lags[partition] = max(highwater - ledger.committed.offset, 0)
        return lags

    def _to_message(self, tp: TP, record: FetchedBatch) -> ConsumerMessage:
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.fetch_offset,
            None,  # a batch has many timestamps, headers and keys
            0,
            None,
            None,
            record,
            None,
            0,
            len(record.data),
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _fetchable(self) -> set[TP]:
        """Return the partitions that may be fetched: flowing, and with room for more in flight."""
        fetching: Fetching = self.app.fetching
        if self.acknowledgements.bytes_in_flight >= fetching.max_bytes_in_flight:
            return set()
        ledgers = ((tp, self.acknowledgements.ledger(TopicPartition(*tp))) for tp in self._get_active_partitions())
        limit = fetching.max_partition_bytes_in_flight
        return {tp for tp, ledger in ledgers if ledger is not None and ledger.bytes_in_flight < limit}

    async def _drain_messages(self, fetcher: faust.Service) -> None:
        """Fetch and hand on until stopped, in the place of Faust's loop.

        Faust's drops what it fetched of a partition that was paused meanwhile, and sleeps for a second when all are
        paused; here a partition without room is simply not asked for.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                fetchable = self._fetchable()
                if not fetchable:
                    self._room.clear()
                    await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=_POLL_SECONDS)
                    continue
                is_one_held_back = len(fetchable) < len(self._get_active_partitions())
                await self._fetch(fetchable, _POLL_SECONDS_HELD_BACK if is_one_held_back else _POLL_SECONDS)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    async def _fetch(self, partitions: set[TP], timeout_seconds: float) -> None:
        fetched: Fetched = await self._getmany(active_partitions=partitions, timeout=timeout_seconds)
        for tp, batches in fetched.batches.items():
            position = fetched.positions.get(tp)
            for batch in batches:
                if not self.flow_active or self.app.consumer_generation_id != fetched.generation:
                    return  # the partitions were taken away since: their new owner starts from the last commit
                if position is not None and batch.fetch_offset < position.done:
                    batch = replace(batch, position=position)  # noqa: PLW2901
                self.acknowledgements.register(batch)
                await self.callback(self._to_message(TP(*tp), batch))


class StockTransport(driver.Transport):
    """Stock Faust, record by record."""

    Consumer: ClassVar[type[StockConsumer]] = StockConsumer
    Conductor: ClassVar[type[SourceConductor]] = SourceConductor


class RecordBatchTransport(StockTransport):
    """Whole record batches: a message's value is a `FetchedBatch`."""

    Consumer = RecordBatchConsumer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_version()
        super().__init__(*args, **kwargs)


class _ConsumerOnly(BootStrategy):
    """Faust without its own producer: events leave through `RecordBatchProducer`, whose delivery can be awaited."""

    enable_kafka_producer = False


class SourceApp(faust.App):
    """A Faust app that only consumes: no tables, no web server, no leader topic, no folder of its own."""

    BootStrategy = _ConsumerOnly

    def __init__(self, *args: Any, fetching: Fetching, transport: type[StockTransport], **kwargs: Any) -> None:
        self.fetching = fetching
        self._transport_class = transport
        super().__init__(*args, autodiscover=False, web_enabled=False, topic_disable_leader=True, **kwargs)

    def _new_transport(self) -> StockTransport:
        return self._transport_class(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Leave it: there is nothing to store."""

    async def _producer_flush(self, logger: Any) -> None:
        """Leave it: Faust's producer is never started; `Fetching.drain` awaits ours."""
