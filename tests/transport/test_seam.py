"""The private parts of aiokafka: that they are what the seam takes them for, and what it makes of them."""

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher as fetcher_module
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from tests.transport.record_batches import TRANSACTIONAL, control, encode
from worker.columns.records import EncodedBatch
from worker.errors import CorruptRecordBatch, WrongSettings
from worker.transport import seam
from worker.transport.batches import FetchedBatch

HERE = TopicPartition("raw", 0)


def fetch(
    *batches: bytes, at: int = 0, isolation: int = READ_COMMITTED, aborted: list[tuple[int, int]] | None = None
) -> seam.PartitionBatches:
    """Return what the fetcher makes of a response of `batches` to a fetch from offset `at`."""
    response = seam.ResponseBatches(b"".join(batches))
    return seam.PartitionBatches(HERE, response, aborted, at, None, None, True, isolation)


def spans(partition: seam.PartitionBatches) -> list[tuple[int, int]]:
    """Return first and last offset of what is handed out."""
    return [(batch.fetch_offset, batch.next_offset) for batch in partition]


# What aiokafka must be for the seam to hold: each of these fails when a new version differs.


def test_installed_aiokafka_is_a_known_one() -> None:
    """The version that is installed is one whose private parts were read."""
    seam.check_version()


def test_other_aiokafka_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With any other version the worker does not start."""
    monkeypatch.setattr(seam, "version", lambda _: "0.15.0")
    with pytest.raises(WrongSettings, match=r"0\.15\.0"):
        seam.check_version()


def test_fetcher_still_builds_what_is_replaced() -> None:
    """The fetcher makes records of a response by the two names that the seam replaces, and the consumer the fetcher."""
    source = inspect.getsource(Fetcher._proc_fetch_request)
    assert "records = MemoryRecords(part_data[-1])" in source
    assert "PartitionRecords(" in source
    assert "self._fetcher = Fetcher(" in inspect.getsource(AIOKafkaConsumer.start)


def test_stock_aiokafka_is_left_as_it_is() -> None:
    """Other consumers of the process see aiokafka's own classes."""
    assert fetcher_module.MemoryRecords is MemoryRecords
    assert fetcher_module.PartitionRecords is PartitionRecords
    assert seam.BatchFetcher._proc_fetch_request is not Fetcher._proc_fetch_request


def test_replacing_a_name_that_is_gone_fails() -> None:
    """If aiokafka stops using a name that the seam replaces, importing the seam fails instead of doing nothing."""
    with pytest.raises(WrongSettings, match="Elsewhere"):
        seam._with_globals(Fetcher._proc_fetch_request, Elsewhere=object)


def test_partition_records_keep_their_parts() -> None:
    """The constructor's arguments and the parts that the seam overrides or reads are there."""
    parameters = list(inspect.signature(PartitionRecords.__init__).parameters)[1:5]
    assert parameters == ["tp", "records", "aborted_transactions", "fetch_offset"]
    source = inspect.getsource(PartitionRecords)
    for part in ("_unpack_records", "_consume_aborted_up_to", "_aborted_producers", "next_fetch_offset"):
        assert part in source
    assert "_records_iterator = self._unpack_records()" in source
    assert "consumed_to(self._partition_records.next_fetch_offset)" in inspect.getsource(FetchResult)


def test_memory_records_have_no_more_methods() -> None:
    """The stand-in for a response has the methods of aiokafka's own."""
    theirs = {name for name in dir(MemoryRecords) if not name.startswith("_")}
    assert theirs == {name for name in dir(seam.ResponseBatches) if not name.startswith("_")}


def test_batch_builder_has_no_more_methods() -> None:
    """The stand-in for a batch being built has every method that aiokafka calls."""
    theirs = {name for name, part in vars(BatchBuilder).items() if callable(part) and not name.startswith("__")}
    assert theirs - {"_serialize"} <= set(dir(seam.EncodedBatchBuilder))
    called = inspect.getsource(MessageBatch) + inspect.getsource(MessageAccumulator)
    for method in ("record_count()", "closed()", "_set_producer_state(", "_build()"):
        assert f"_builder.{method}" in called


def test_producer_can_still_be_given_up() -> None:
    """What lets a producer stop without its broker is there: the flag, the sender's task, the client."""
    source = inspect.getsource(AIOKafkaProducer.stop)
    for part in ("self._closed = True", "self._sender.sender_task", "self.client.close()"):
        assert part in source


async def test_fetching_stops_while_a_failed_fetch_waits_to_be_tried_again() -> None:
    """A broker that goes away just before a worker is stopped does not keep it from stopping."""
    is_asked = asyncio.Event()

    async def send(node: int, request: object) -> None:
        is_asked.set()
        raise KafkaConnectionError

    client: Any = SimpleNamespace(_loop=asyncio.get_running_loop(), _metadata_max_age_ms=1000, send=send)
    fetcher = seam.BatchFetcher(client, SubscriptionState(), retry_backoff_ms=60_000)
    fetching = asyncio.create_task(fetcher._proc_fetch_request(None, 1, SimpleNamespace(topics=[])))
    await asyncio.wait_for(is_asked.wait(), 10)
    fetcher._pending_tasks.add(fetching)
    await fetcher.close()
    assert fetching.done()


# What the seam makes of a response.


def test_each_batch_is_handed_out_as_it_came() -> None:
    """A batch comes out byte by byte as the broker sent it, with its place."""
    batches = [encode(5, [b"a", b"b"]), encode(7, [b"c"], compression=1)]
    assert list(fetch(*batches, at=5)) == [
        FetchedBatch(topic="raw", partition=0, data=batches[0], fetch_offset=5, next_offset=7),
        FetchedBatch(topic="raw", partition=0, data=batches[1], fetch_offset=7, next_offset=8),
    ]


def test_position_moves_with_each_batch() -> None:
    """The offset to fetch next is behind the batch that was handed out last: FetchResult takes the position from it."""
    partition = fetch(encode(0, [b"a"] * 3), encode(3, [b"b"] * 2))
    positions = [partition.next_fetch_offset for _ in partition]
    assert positions == [3, 5]


def test_fetch_inside_a_batch_starts_there() -> None:
    """Of a batch that holds the fetch offset, only what is behind it is wanted."""
    assert spans(fetch(encode(0, [b"a"] * 5), at=3)) == [(3, 5)]


def test_batch_below_the_fetch_offset_is_left_out() -> None:
    """A batch that was read whole before is not handed out again."""
    assert spans(fetch(encode(0, [b"a"] * 5), encode(5, [b"a"]), at=5)) == [(5, 6)]


def test_compacted_batch_ends_where_its_header_says() -> None:
    """The next fetch starts behind the batch, though its last records are gone; else it would be fetched for ever."""
    partition = fetch(encode(0, [b"a"], last_offset=9))
    assert spans(partition) == [(0, 10)]
    assert partition.next_fetch_offset == 10


def test_empty_batch_is_passed_over() -> None:
    """A batch that compaction emptied moves the position and is not handed out."""
    empty = bytearray(encode(0, [b"a"], last_offset=9)[:61])
    empty[8:12] = (61 - 12).to_bytes(4, "big")
    empty[57:61] = bytes(4)
    partition = fetch(bytes(empty))
    assert spans(partition) == []
    assert partition.next_fetch_offset == 10


@pytest.mark.parametrize("isolation", [READ_UNCOMMITTED, READ_COMMITTED])
def test_control_batches_are_passed_over(isolation: int) -> None:
    """A transaction's end is no record, under either isolation."""
    partition = fetch(
        encode(0, [b"a"], producer_id=7, attributes=TRANSACTIONAL), control(1, 7, is_commit=True), isolation=isolation
    )
    assert spans(partition) == [(0, 1)]
    assert partition.next_fetch_offset == 2


def test_aborted_transaction_is_passed_over() -> None:
    """Under read_committed what an aborted transaction wrote is left out, what others wrote meanwhile is not."""
    batches = [
        encode(0, [b"aborted"], producer_id=7, attributes=TRANSACTIONAL),
        encode(1, [b"plain"]),
        encode(2, [b"other"], producer_id=8, attributes=TRANSACTIONAL),
        encode(3, [b"aborted"], producer_id=7, attributes=TRANSACTIONAL),
        control(4, 7, is_commit=False),
        encode(5, [b"committed"], producer_id=7, attributes=TRANSACTIONAL),
        control(6, 7, is_commit=True),
    ]
    partition = fetch(*batches, aborted=[(7, 0)])
    assert spans(partition) == [(1, 2), (2, 3), (5, 6)]
    assert partition.next_fetch_offset == 7


def test_aborted_transaction_is_read_uncommitted() -> None:
    """Without read_committed everything that was written is handed out."""
    batches = [encode(0, [b"a"], producer_id=7, attributes=TRANSACTIONAL), control(1, 7, is_commit=False)]
    assert spans(fetch(*batches, isolation=READ_UNCOMMITTED, aborted=[(7, 0)])) == [(0, 1)]


def test_broken_control_batch_is_told_of() -> None:
    """A transaction's end whose checksum fails decides nothing."""
    broken = bytearray(control(0, 7, is_commit=False))
    broken[-1] ^= 1
    with pytest.raises(CorruptRecordBatch, match="checksum"):
        list(fetch(bytes(broken)))


def test_broken_response_raises_where_it_is_read() -> None:
    """A broken batch raises when it is its turn, not before, and not in aiokafka's background task."""
    broken = bytearray(encode(1, [b"b"]))
    broken[16] = 9
    partition = fetch(encode(0, [b"a"]), bytes(broken))
    assert next(partition).next_offset == 1
    with pytest.raises(CorruptRecordBatch, match="v9"):
        next(partition)
    response = seam.ResponseBatches(bytes(broken))
    assert response.has_next()
    with pytest.raises(CorruptRecordBatch, match="v9"):
        response.next_batch()


def test_batch_larger_than_the_fetch_is_told_apart_from_none() -> None:
    """A response that holds part of one batch has bytes and no batch: aiokafka makes an error of that."""
    response = seam.ResponseBatches(encode(0, [b"a" * 100])[:50])
    assert not response.has_next()
    assert response.size_in_bytes() == 50


# What the seam makes of a batch that is produced.


@pytest.mark.parametrize("is_transactional", [False, True])
def test_producer_state_is_written_into_the_batch(is_transactional: bool) -> None:
    """An independent decoder finds producer, epoch, sequence and checksum right, and the records as they were."""
    data = bytearray(encode(0, [b"a", b"b"]))
    builder = seam.EncodedBatchBuilder(EncodedBatch(data=data, record_count=2), is_transactional=is_transactional)
    assert (builder.size(), builder.record_count(), builder.closed()) == (len(data), 2, True)
    refused: object = builder.append(timestamp=None, key=None, value=b"c")  # type: ignore[func-returns-value]
    assert refused is None
    builder.close()
    builder._set_producer_state(1234567890123, 5, 42)
    batch = DefaultRecordBatch(bytes(builder._build()))
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (1234567890123, 5, 42)
    assert batch.is_transactional == is_transactional
    assert [record.value for record in batch] == [b"a", b"b"]


@pytest.mark.parametrize("transactional_id", [None, "logloom-1"])
@pytest.mark.parametrize("version", ProduceRequest._CLASSES)
def test_produce_requests_are_those_of_aiokafka(version: type[RequestStruct], transactional_id: str | None) -> None:
    """In every version what is put together at once is byte for byte what aiokafka puts together."""
    topics = [("events", [(0, bytearray(b"abc")), (3, b"de")]), ("dead \u00e9", [(1, b"")])]
    theirs, ours = (
        request(transactional_id=transactional_id, required_acks=-1, timeout=30_000, topics=topics)
        for request in (ProduceRequest, seam.EncodedProduceRequest)
    )
    if transactional_id is not None and version.API_VERSION < 3:
        with pytest.raises(IncompatibleBrokerVersion):
            ours.build(version)
        return
    request = ours.build(version)
    assert request.encode() == theirs.build(version).encode()
    assert (request.API_KEY, request.API_VERSION) == (version.API_KEY, version.API_VERSION)
    assert request.RESPONSE_TYPE is version.RESPONSE_TYPE


def test_the_producer_sends_such_requests() -> None:
    """The sender makes its requests by the class that the seam puts in the place of aiokafka's."""
    batches = {HERE: SimpleNamespace(get_data_buffer=lambda: b"records")}
    client: Any = SimpleNamespace()
    sender: Any = SimpleNamespace(client=client, _txn_manager=None, _acks=-1, _request_timeout_ms=1, _retry_backoff=1)
    request = seam._ProduceHandler(sender, batches).create_request()
    assert isinstance(request, seam.EncodedProduceRequest)
    assert "SendProduceReqHandler(self, batches)" in inspect.getsource(Sender._send_produce_req)
