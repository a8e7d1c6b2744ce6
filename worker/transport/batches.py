"""A record batch (Kafka message format v2) as the broker sent it: its header, and where it lies in its partition.

Knows neither Faust nor aiokafka. Checksum and records are `worker.columns.records`' business.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from worker.errors import CorruptRecordBatch

#: Base offset, length of what follows it, leader epoch, magic, checksum, attributes, last offset delta, first and
#: last timestamp, producer id, producer epoch, base sequence, number of records.
_HEADER = struct.Struct(">qiibIhiqqqhii")
#: Bytes of a batch before those that its length counts: base offset and the length itself.
_LENGTH_END = 12
_TRANSACTIONAL, _CONTROL = 0x10, 0x20


class TopicPartition(NamedTuple):
    """A partition of a topic. Equal to Faust's and aiokafka's tuples of the same values."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedBatch:
    """One record batch of one partition, still compressed."""

    topic: str
    partition: int
    #: The record batch, header included, as the broker sent it.
    data: bytes
    #: First offset that is wanted: records of the batch below it were asked for before.
    fetch_offset: int
    #: Offset after the batch's last one.
    next_offset: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that the batch is from."""
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """A record batch inside a fetch response, with what its header says."""

    data: memoryview
    base_offset: int
    #: Offset after the last one that the batch stands for; compaction may have removed that record.
    next_offset: int
    producer_id: int
    record_count: int
    attributes: int

    @property
    def is_control(self) -> bool:
        """Whether it holds a transaction's end instead of records."""
        return bool(self.attributes & _CONTROL)

    @property
    def is_transactional(self) -> bool:
        """Whether it was written in a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)


def split_batches(response: bytes) -> Iterator[RawBatch]:
    """Yield the whole batches of a fetch response; the broker may cut the last one off.

    Raises CorruptRecordBatch for another message format or a length that can't be.
    """
    view, start = memoryview(response), 0
    while len(view) - start >= _LENGTH_END:
        (length,) = struct.unpack_from(">i", view, start + 8)
        end = start + _LENGTH_END + length
        if length <= 4:  # too short to hold the magic byte, which tells the format
            raise CorruptRecordBatch(f"a record batch says that it is {length} bytes long")
        if end > len(view):
            return
        if view[start + 16] != 2:
            raise CorruptRecordBatch(
                f"the broker sent message format v{view[start + 16]}; only v2 (Kafka 0.11 and later) can be read"
            )
        if end - start < _HEADER.size:
            raise CorruptRecordBatch(f"a record batch says that it is {length} bytes long")
        yield _raw_batch(view[start:end])
        start = end


def _raw_batch(data: memoryview) -> RawBatch:
    base_offset, _, _, _, _, attributes, last_delta, _, _, producer_id, _, _, count = _HEADER.unpack_from(data)
    return RawBatch(
        data=data,
        base_offset=base_offset,
        next_offset=base_offset + last_delta + 1,
        producer_id=producer_id,
        record_count=count,
        attributes=attributes,
    )
