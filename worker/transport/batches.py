"""What was fetched: Kafka record batches as the broker sent them. Knows neither Faust nor aiokafka."""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.columns.layout import Records
from worker.columns.records import MAX_DECOMPRESSED_BYTES, BatchInfo, concatenate, read_batch_info, read_record_batch
from worker.errors import CorruptRecordBatch
from worker.transport.positions import Position

#: Bytes of a batch before those that its length counts: base offset and the length itself.
_LENGTH_END = 12
#: Bytes that the record batches of one fetch may decompress to together: no log shrinks to a thousandth.
_MOST_DECOMPRESSED_BYTES = 4 * MAX_DECOMPRESSED_BYTES


class TopicPartition(NamedTuple):
    """A partition of a topic. Equal to Faust's and aiokafka's tuples of the same values."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedBatch:
    """Record batches of one partition that follow each other, still compressed; mostly it is one."""

    topic: str
    partition: int
    #: The record batches, headers included, as the broker sent them.
    data: bytes
    #: First offset that is wanted: records below it were asked for before.
    fetch_offset: int
    #: Offset after the last one.
    next_offset: int
    #: Where the partition's former owner stopped, if that lies within the batch: some of its records may be done.
    position: Position | None = None
    #: When it was fetched: nanoseconds since the epoch.
    fetched_ns: int = field(default_factory=time.time_ns, compare=False)

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that the batch is from."""
        return TopicPartition(self.topic, self.partition)


class RawBatch(NamedTuple):
    """A record batch inside a fetch response, and what its header says."""

    data: memoryview
    info: BatchInfo


def split_batches(response: bytes) -> Iterator[RawBatch]:
    """Yield the whole batches of a fetch response; the broker may cut the last one off.

    Raises CorruptRecordBatch for another message format or a header that can't be.
    """
    view, start = memoryview(response), 0
    while len(view) - start >= _LENGTH_END:
        (length,) = struct.unpack_from(">i", view, start + 8)
        if length < 0:
            raise CorruptRecordBatch(f"a record batch says that it is {length} bytes long")
        end = start + _LENGTH_END + length
        if end > len(view):
            return
        yield RawBatch(view[start:end], read_batch_info(view[start:end]))
        start = end


def join_batches(batches: Sequence[FetchedBatch]) -> FetchedBatch:
    """Make one of `batches`, which follow each other in one partition: many small ones cost more than they hold."""
    if len(batches) == 1:
        return batches[0]
    first, last = batches[0], batches[-1]
    return FetchedBatch(
        topic=first.topic,
        partition=first.partition,
        data=b"".join(batch.data for batch in batches),
        fetch_offset=first.fetch_offset,
        next_offset=last.next_offset,
        position=first.position,
        fetched_ns=first.fetched_ns,
    )


def read_records(batch: FetchedBatch, *, max_decompressed_bytes: int = _MOST_DECOMPRESSED_BYTES) -> Records:
    """Decode the records of `batch` that are not done, as one table.

    Raises:
        CorruptRecordBatch: there is none, one is corrupt, or all decompress to more than `max_decompressed_bytes`.

    """
    parts, size = [], 0
    for raw in split_batches(batch.data):
        parts.append(read_record_batch(raw.data, fetch_offset=batch.fetch_offset))
        size += parts[-1].buffer.size
        if size > max_decompressed_bytes:
            raise CorruptRecordBatch(
                f"{batch.topic}-{batch.partition}: {len(batch.data)} bytes of batches from offset {batch.fetch_offset} "
                f"on decompress to more than the allowed {max_decompressed_bytes} bytes"
            )
    if not parts:
        raise CorruptRecordBatch(f"{batch.topic}-{batch.partition}: no whole record batch at {batch.fetch_offset}")
    records = concatenate(parts)
    return records if batch.position is None else batch.position.left(records)
