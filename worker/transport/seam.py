"""The private parts of aiokafka that this project leans on, all of them, and what it makes of them.

Fetch: aiokafka's fetcher turns each partition's answer into a `PartitionRecords`, whose iterator yields what
`getmany` returns. `BatchFetcher` is that fetcher with another class in its place, which yields whole record batches:
fetching, positions, rebalance and back-pressure stay aiokafka's own.

Produce: `AIOKafkaProducer.send_batch` takes whatever has the methods of its own `BatchBuilder`.
`EncodedBatchBuilder` has them, around a record batch that is encoded already, and `EncodedProduceRequest` sends it
without copying it over and over.

`tests/transport/test_seam.py` fails when aiokafka changes one of these parts.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from types import FunctionType
from typing import Any, ClassVar, Final, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import CoordinationType
from aiokafka.consumer import consumer as consumer_module
from aiokafka.consumer import fetcher as fetcher_module
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CommitFailedError,
    CoordinatorLoadInProgressError,
    IllegalGenerationError,
    NotCoordinatorError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.producer.sender import Sender, SendProduceReqHandler, TxnOffsetCommitHandler
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Int32, Schema, String
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from worker.columns.records import EncodedBatch
from worker.errors import CorruptRecordBatch, WrongSettings
from worker.transport.batches import FetchedBatch, RawBatch, split_batches
from worker.transport.group_offsets import CommitRequest, CommitResponse, FetchRequest, FetchResponse, Membership
from worker.transport.positions import Position

#: The versions whose private parts were read and tested.
SUPPORTED: Final = "0.14."
#: Error codes that aiokafka does not know: offsets of a transaction that is not decided; a static member's successor.
_UNSTABLE, _FENCED_INSTANCE = 88, 82
#: What says that the group went on without a member.
_PUT_OUT = {IllegalGenerationError.errno, UnknownMemberIdError.errno, _FENCED_INSTANCE}
_TOPIC_NAME = String("utf-8")


def check_version() -> None:
    """Raise WrongSettings if the installed aiokafka is not one whose private parts are known."""
    installed = version("aiokafka")
    if not installed.startswith(SUPPORTED):
        raise WrongSettings(f"aiokafka {installed} is installed; this version of Logloom works with {SUPPORTED}x")


class ResponseBatches:
    """One partition's answer to a fetch, in the place of aiokafka's `MemoryRecords`.

    What is broken in it raises from `next_batch`, where the caller of `getmany` sees it; an exception from the
    constructor would end aiokafka's fetch task unseen, and the consumer would wait for ever.
    """

    def __init__(self, response: bytes) -> None:
        self._size = len(response)
        self._batches = split_batches(response)
        self._error: CorruptRecordBatch | None = None
        self._next = self._advance()

    def size_in_bytes(self) -> int:
        """Return the size of the answer; aiokafka tells by it that a batch was too large to be fetched."""
        return self._size

    def has_next(self) -> bool:
        """Say whether `next_batch` has something to return or to raise."""
        return self._next is not None or self._error is not None

    def next_batch(self) -> RawBatch | None:
        """Return the next whole batch, None behind the last. Raises CorruptRecordBatch."""
        if self._next is None and self._error is not None:
            raise self._error
        batch, self._next = self._next, self._advance()
        return batch

    def _advance(self) -> RawBatch | None:
        try:
            return next(self._batches, None)
        except CorruptRecordBatch as exc:
            self._error = exc
            return None


class PartitionBatches(PartitionRecords):
    """Yields a `FetchedBatch` per record batch, in the place of aiokafka's records one by one.

    Drops control batches, and under read_committed those of aborted transactions. `next_fetch_offset` moves before
    a batch is handed out, as aiokafka's own does: `FetchResult` takes the consumer's position from it.
    """

    _records: ResponseBatches
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[FetchedBatch]:
        while (batch := self._records.next_batch()) is not None:
            fetch_offset = max(self.next_fetch_offset, batch.info.base_offset)
            # Compaction may have removed a batch's last records; its header still says where the next batch starts.
            next_offset = batch.info.last_offset + 1
            is_wanted = not self._is_aborted(batch) and not batch.info.is_control and batch.info.count > 0
            if next_offset <= self.next_fetch_offset:
                continue
            self.next_fetch_offset = next_offset
            if is_wanted:
                yield FetchedBatch(
                    topic=self._tp.topic,
                    partition=self._tp.partition,
                    # A copy: a view would keep the whole answer alive as long as one of its batches is in flight.
                    data=bytes(batch.data),
                    fetch_offset=fetch_offset,
                    next_offset=next_offset,
                )

    def _is_aborted(self, batch: RawBatch) -> bool:
        info = batch.info
        if self._isolation_level != READ_COMMITTED or info.producer_id < 0:
            return False
        self._consume_aborted_up_to(info.base_offset)
        if info.is_control and _ends_aborted(batch):
            # `discard`: Kafka may send an abort marker for a partition that the transaction never wrote to.
            self._aborted_producers.discard(info.producer_id)
        return info.is_transactional and info.producer_id in self._aborted_producers


def _ends_aborted(batch: RawBatch) -> bool:
    control = DefaultRecordBatch(bytes(batch.data))
    if not control.validate_crc():
        raise CorruptRecordBatch(f"the control batch at offset {batch.info.base_offset} fails its checksum")
    record = next(control, None)
    if record is None:
        raise CorruptRecordBatch(f"the control batch at offset {batch.info.base_offset} is empty")
    return bool(ControlRecord.parse(record.key) == ABORT_MARKER)


def _with_globals(function: Any, **replaced: Any) -> Callable[..., Any]:
    """Return `function` seeing other classes under some of its module's names; the module itself stays as it is."""
    original = cast("FunctionType", function)
    missing = replaced.keys() - set(original.__code__.co_names)
    if missing or original.__closure__:
        raise WrongSettings(f"aiokafka's {original.__qualname__} does not use {sorted(missing)} any more")
    names = {**original.__globals__, **replaced}
    copy = FunctionType(original.__code__, names, original.__name__, original.__defaults__)
    copy.__kwdefaults__ = original.__kwdefaults__
    return copy


class BatchFetcher(Fetcher):
    """aiokafka's fetcher, handing out record batches."""

    _proc_fetch_request = _with_globals(
        fetcher_module.Fetcher._proc_fetch_request,  # noqa: SLF001 - this module is the place for it
        MemoryRecords=ResponseBatches,
        PartitionRecords=PartitionBatches,
    )

    async def close(self) -> None:
        """Stop fetching. aiokafka's own raises CancelledError when a fetch that failed waits to be tried again."""
        for tasks in ({self._fetch_task}, self._pending_tasks):
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        self._pending_tasks.clear()
        await super().close()


class PositionCoordinator(GroupCoordinator):
    """aiokafka's side of a group, which keeps what the commits say beside their offsets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.positions: dict[TopicPartition, Position] = {}

    async def _do_fetch_commit_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        partitions = set(partitions)
        committed = await self._committed(partitions)
        for partition in partitions:
            self.positions.pop(partition, None)
        for partition, (offset, metadata) in committed.items():
            self.positions[partition] = Position.read(offset, metadata)
        return committed

    async def _committed(self, partitions: set[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        committed: dict[TopicPartition, OffsetAndMetadata] = await super()._do_fetch_commit_offsets(partitions)
        return committed


class StableCoordinator(PositionCoordinator):
    """The same for exactly-once: an offset counts when its transaction is decided."""

    async def _committed(self, partitions: set[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        response: FetchResponse = await self._send_req(FetchRequest(self.group_id, partitions))
        codes = {response.error_code, *(code for _, _, code in response.offsets)} - {0}
        if codes & {_UNSTABLE, CoordinatorLoadInProgressError.errno}:
            raise CoordinatorLoadInProgressError  # asked again in a while
        for code in codes:
            if code == NotCoordinatorError.errno:
                self.coordinator_dead()
            raise for_code(code)
        return {partition: committed for partition, committed, _ in response.offsets if committed.offset >= 0}


class BatchConsumer(AIOKafkaConsumer):
    """aiokafka's consumer, whose `getmany` returns record batches."""

    start = _with_globals(
        consumer_module.AIOKafkaConsumer.start, Fetcher=BatchFetcher, GroupCoordinator=PositionCoordinator
    )


class StableBatchConsumer(BatchConsumer):
    """The same, which begins behind offsets whose transaction is being committed."""

    start = _with_globals(
        consumer_module.AIOKafkaConsumer.start, Fetcher=BatchFetcher, GroupCoordinator=StableCoordinator
    )


def membership_of(consumer: AIOKafkaConsumer) -> Membership:
    """Tell who `consumer` is in its group."""
    coordinator = consumer._coordinator  # noqa: SLF001 - this module is the place for it
    return Membership(
        group=coordinator.group_id,
        generation=coordinator.generation,
        member_id=coordinator.member_id,
        instance_id=coordinator._group_instance_id,  # noqa: SLF001
    )


def positions_of(consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, Position]:
    """Return what was committed of each partition that `consumer` has asked the group for."""
    coordinator: PositionCoordinator = consumer._coordinator  # noqa: SLF001 - this module is the place for it
    return coordinator.positions


class EncodedBatchBuilder:
    """A record batch that is encoded already, in the place of aiokafka's `BatchBuilder`.

    aiokafka sets the producer's id, epoch and sequence once, before the first try, and sends the same bytes again on
    a retry: that is what makes the broker drop a batch that it has.
    """

    def __init__(self, encoded: EncodedBatch, *, is_transactional: bool = False) -> None:
        self._encoded = encoded
        self._is_transactional = is_transactional

    def append(self, *, timestamp: Any, key: Any, value: Any, headers: Any = ()) -> None:
        """Return None, which says: full. Records sent one by one go to a batch of their own."""

    def close(self) -> None:
        """Do nothing: it was closed from the start."""

    def closed(self) -> bool:
        """Return True: it takes no more records and need not linger."""
        return True

    def size(self) -> int:
        """Return its size in bytes."""
        return len(self._encoded.data)

    def record_count(self) -> int:
        """Return the number of its records."""
        return self._encoded.record_count

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._encoded.set_producer(producer_id, producer_epoch, base_sequence, is_transactional=self._is_transactional)

    def _build(self) -> bytearray:
        return self._encoded.data


class _OffsetsHandler(TxnOffsetCommitHandler):
    """Puts offsets into a transaction in the name of a group's member."""

    def __init__(self, sender: "_GroupSender", offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        super().__init__(sender, offsets, sender.member.group)
        self._member = sender.member

    def create_request(self) -> CommitRequest:
        manager = self._sender._txn_manager  # noqa: SLF001
        producer = manager.producer_id, manager.producer_epoch
        return CommitRequest(manager.transactional_id, producer, self._member, self._offsets)

    def handle_response(self, response: CommitResponse) -> float | None:
        codes = {code for _, partitions in response.errors for _, code in partitions}
        if codes & _PUT_OUT:
            text = "another worker has its partitions: this one was put out of the group, or took too long"
            self._sender._txn_manager.error_transaction(CommitFailedError(text))  # noqa: SLF001
            return None
        backoff: float | None = super().handle_response(response)
        return backoff


class _EncodedAtOnce:
    """Encodes a produce request with one copy of its record batches, where aiokafka makes six."""

    SCHEMA: ClassVar[Schema]
    topics: list[tuple[str, list[tuple[int, bytes | bytearray]]]]

    def encode(self) -> bytes:
        """Encode as the schema says, whose last field are the topics."""
        *others, _ = zip(self.SCHEMA.names, self.SCHEMA.fields, strict=True)
        pieces: list[bytes | bytearray] = [field.encode(getattr(self, name)) for name, field in others]
        pieces.append(Int32.encode(len(self.topics)))
        for topic, partitions in self.topics:
            pieces += [_TOPIC_NAME.encode(topic), Int32.encode(len(partitions))]
            for partition, data in partitions:
                pieces += [Int32.encode(partition), Int32.encode(len(data)), data]
        return b"".join(pieces)


#: By aiokafka's class, one for each version of the request.
_ENCODED_AT_ONCE = {
    struct: type(struct)(struct.__name__, (_EncodedAtOnce, struct), {})
    for struct in ProduceRequest._CLASSES  # noqa: SLF001 - this module is the place for it
}


class EncodedProduceRequest(ProduceRequest):
    """aiokafka's produce request, of whichever version, encoded at once."""

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request of the version that the broker takes."""
        return super().build(_ENCODED_AT_ONCE[request_struct_class])


class _ProduceHandler(SendProduceReqHandler):
    """Sends such requests."""

    create_request = _with_globals(SendProduceReqHandler.create_request, ProduceRequest=EncodedProduceRequest)


class _GroupSender(Sender):
    """aiokafka's sender, whose transactions know the member that they commit for."""

    member: Membership

    _send_produce_req = _with_globals(
        Sender._send_produce_req,  # noqa: SLF001 - this module is the place for it
        SendProduceReqHandler=_ProduceHandler,
    )

    async def _do_txn_offset_commit(self, offsets: dict[TopicPartition, OffsetAndMetadata], group_id: str) -> None:
        node = await self._find_coordinator(CoordinationType.GROUP, group_id)
        await _OffsetsHandler(self, offsets).do(node)


class GroupProducer(AIOKafkaProducer):
    """aiokafka's producer, whose transactions commit offsets for one member of a group in one generation."""

    __init__ = _with_globals(AIOKafkaProducer.__init__, Sender=_GroupSender)

    async def commit_positions(self, positions: Mapping[tuple[str, int], Position], member: Membership) -> None:
        """Put `positions` into the open transaction. Raises CommitFailedError if another member has the partitions."""
        offsets = {TopicPartition(*place): OffsetAndMetadata(at.offset, at.metadata) for place, at in positions.items()}
        self._sender.member = member
        await self.send_offsets_to_transaction(offsets, member.group)


async def give_up(producer: AIOKafkaProducer) -> None:
    """Stop `producer` with what it holds undelivered; its own `stop` waits for a broker that may be gone."""
    producer._closed = True  # noqa: SLF001 - this module is the place for it
    sender = producer._sender.sender_task  # noqa: SLF001
    while sender is not None and not sender.done():
        # Once is not enough: when cancelled it goes on to wait for the requests on their way.
        sender.cancel()
        await asyncio.wait([sender], timeout=0.1)
    transactions = producer._txn_manager  # noqa: SLF001
    transaction = None if transactions is None else transactions.wait_for_transaction_end()
    for ended in (sender, transaction):
        if ended is not None and ended.done() and not ended.cancelled():
            ended.exception()  # looked at, so that asyncio does not complain that nobody did
    await producer.client.close()
