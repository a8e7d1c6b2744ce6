"""What was fetched, what of it is done, and which offset may therefore be committed. Knows no Kafka client.

A partition's committed offset never passes a batch that is not done, whatever is done after it: a restart then reads
it again. Per partition a ledger lives from assignment to revocation; what comes after is dropped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from worker.transport.batches import FetchedBatch, TopicPartition

#: Memory that a batch in flight takes beside its bytes: without it a flood of tiny batches would have no bound.
_BATCH_OVERHEAD_BYTES = 2048


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A fetched batch that is not done."""

    start: int
    end: int
    #: Everything of the batch below this offset is done.
    done: int
    size: int


class Ledger:
    """The batches of one partition that are in flight, in the order of their offsets."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._by_start: dict[int, _Entry] = {}
        self._end: int | None = None
        self._done: int | None = None
        #: Bytes of batches that were fetched and are not done.
        self.bytes_in_flight = 0
        #: The offset that the broker last confirmed, None before the first commit.
        self.committed: int | None = None
        #: The partition was taken away: nothing is acknowledged any more.
        self.is_closed = False

    @property
    def batches_in_flight(self) -> int:
        """Batches that were fetched and are not done."""
        return len(self._entries)

    @property
    def committable(self) -> int | None:
        """The offset up to which everything is done, None if it is committed already."""
        return None if self.is_closed or self._done == self.committed else self._done

    def register(self, batch: FetchedBatch) -> None:
        """Note that `batch` is in flight. Raises ValueError if it does not lie behind all batches before it."""
        if self._end is not None and batch.fetch_offset < self._end:
            raise ValueError(f"{batch.topic}-{batch.partition}: offset {batch.fetch_offset} came after {self._end}")
        if batch.next_offset <= batch.fetch_offset:
            raise ValueError(f"{batch.topic}-{batch.partition}: an empty batch at offset {batch.fetch_offset}")
        start, size = batch.fetch_offset, len(batch.data) + _BATCH_OVERHEAD_BYTES
        entry = _Entry(start=start, end=batch.next_offset, done=start, size=size)
        self._entries.append(entry)
        self._by_start[start] = entry
        self._end = batch.next_offset
        self.bytes_in_flight += size

    def acknowledge(self, start: int, up_to: int) -> bool:
        """Note that the batch that starts at `start` is done below offset `up_to`; say whether a batch became whole.

        Never moves backwards. A batch that is done already, or a closed ledger, is left alone. Raises ValueError if
        `up_to` lies outside the batch.
        """
        entry = self._by_start.get(start)
        if entry is None or self.is_closed:
            return False
        if not entry.start <= up_to <= entry.end:
            raise ValueError(f"offset {up_to} is outside the batch {entry.start}..{entry.end}")
        if up_to <= entry.done:
            return False
        entry.done = up_to
        is_whole = up_to == entry.end
        if is_whole:
            self.bytes_in_flight -= entry.size
            del self._by_start[start]
        while self._entries and self._entries[0].done == self._entries[0].end:
            self._done = self._entries.popleft().end
        if self._entries and self._entries[0].done > self._entries[0].start:
            self._done = self._entries[0].done
        return is_whole


class Acknowledgements:
    """The ledgers of all partitions that this worker holds."""

    def __init__(self, on_room: Callable[[], None] = lambda: None) -> None:
        """`on_room` is called whenever a batch became whole: there may be room to fetch."""
        self._ledgers: dict[TopicPartition, Ledger] = {}
        self._on_room = on_room

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of all batches in flight."""
        return sum(ledger.bytes_in_flight for ledger in self._ledgers.values())

    @property
    def batches_in_flight(self) -> int:
        """Number of all batches in flight."""
        return sum(ledger.batches_in_flight for ledger in self._ledgers.values())

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Open a ledger for each of `partitions`, closing those that were open."""
        for partition in partitions:
            self.revoke([partition])
            self._ledgers[TopicPartition(*partition)] = Ledger()

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Close the ledgers of `partitions`: what is acknowledged later is dropped."""
        for partition in partitions:
            ledger = self._ledgers.pop(TopicPartition(*partition), None)
            if ledger is not None:
                ledger.is_closed = True

    def ledger(self, partition: TopicPartition) -> Ledger | None:
        """Return the ledger of `partition`, None if this worker does not hold it."""
        return self._ledgers.get(partition)

    def register(self, batch: FetchedBatch) -> None:
        """Note that `batch` is in flight. Raises KeyError if this worker does not hold its partition."""
        self._ledgers[batch.topic_partition].register(batch)

    def callback(self, batch: FetchedBatch) -> Callable[[int], None]:
        """Return what acknowledges `batch`, which was registered, up to an offset; it outlives revocation, silently."""
        ledger, start = self._ledgers[batch.topic_partition], batch.fetch_offset

        def acknowledge(up_to: int) -> None:
            if ledger.acknowledge(start, up_to):
                self._on_room()

        return acknowledge

    def committable(self) -> dict[TopicPartition, int]:
        """Return the offsets that may be committed now and are not."""
        offsets = {partition: ledger.committable for partition, ledger in self._ledgers.items()}
        return {partition: offset for partition, offset in offsets.items() if offset is not None}

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note that the broker confirmed `offsets`. One that failed is not noted, and is committable again."""
        for partition, offset in offsets.items():
            ledger = self._ledgers.get(TopicPartition(*partition))
            if ledger is not None:
                ledger.committed = offset
