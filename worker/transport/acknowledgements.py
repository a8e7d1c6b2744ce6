"""What was fetched, what of it is done, and which offset may therefore be committed. Knows no Kafka client.

A partition's committed offset never passes a batch that is not done, whatever is done after it: a restart then reads
it again. Per partition a ledger lives from assignment to revocation; what comes after is dropped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from worker.transport.batches import FetchedBatch, TopicPartition
from worker.transport.positions import Position

#: Memory that a batch in flight takes beside its bytes: without it a flood of tiny batches would have no bound.
_BATCH_OVERHEAD_BYTES = 2048


class Acknowledge(Protocol):
    """Says what of one batch is done: its output is acknowledged by the broker."""

    def __call__(self, up_to: int, position: Position | None = None) -> None:
        """Everything of the batch below offset `up_to` is; `position` tells what else of the partition."""


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
        #: Bytes of batches that were fetched and are not done.
        self.bytes_in_flight = 0
        #: What is done, and what the broker last confirmed: at first what the first batch began with.
        self._position: Position | None = None
        self.committed: Position | None = None
        #: The partition was taken away: nothing is acknowledged any more.
        self.is_closed = False

    @property
    def batches_in_flight(self) -> int:
        """Batches that were fetched and are not done."""
        return len(self._entries)

    @property
    def committable(self) -> Position | None:
        """The offset up to which everything is done, and what above it is; None if it is committed already."""
        return None if self.is_closed or self._position == self.committed else self._position

    def register(self, batch: FetchedBatch) -> None:
        """Note that `batch` is in flight. Raises ValueError if it does not lie behind all batches before it."""
        if self._end is not None and batch.fetch_offset < self._end:
            raise ValueError(f"{batch.topic}-{batch.partition}: offset {batch.fetch_offset} came after {self._end}")
        if batch.next_offset <= batch.fetch_offset:
            raise ValueError(f"{batch.topic}-{batch.partition}: an empty batch at offset {batch.fetch_offset}")
        start, size = batch.fetch_offset, len(batch.data) + _BATCH_OVERHEAD_BYTES
        if self._position is None:
            self._position = self.committed = batch.position or Position.at(start)
        entry = _Entry(start=start, end=batch.next_offset, done=start, size=size)
        self._entries.append(entry)
        self._by_start[start] = entry
        self._end = batch.next_offset
        self.bytes_in_flight += size

    def acknowledge(self, start: int, up_to: int, position: Position | None = None) -> bool:
        """Note that the batch that starts at `start` is done below offset `up_to`; say whether a batch became whole.

        `position` tells what of the partition is done above. Never moves backwards. A batch that is done already, or a
        closed ledger, is left alone. Raises ValueError if `up_to` lies outside the batch.
        """
        entry = self._by_start.get(start)
        if entry is None or self.is_closed:
            return False
        if not entry.start <= up_to <= entry.end:
            raise ValueError(f"offset {up_to} is outside the batch {entry.start}..{entry.end}")
        is_whole = up_to == entry.end
        if up_to > entry.done:
            entry.done = up_to
            if is_whole:
                self.bytes_in_flight -= entry.size
                del self._by_start[start]
        self._move(position)
        return is_whole

    def _move(self, position: Position | None) -> None:
        """Move to where the first batch that is not whole is done; there `position` may tell more."""
        done = self._position.offset if self._position is not None else 0
        while self._entries and self._entries[0].done == self._entries[0].end:
            done = self._entries.popleft().end
        if self._entries and self._entries[0].done > self._entries[0].start:
            done = self._entries[0].done
        if position is not None and position.offset == done:
            self._position = position
        elif self._position is None or done > self._position.offset:
            self._position = Position.at(done)


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

    def callback(self, batch: FetchedBatch) -> Acknowledge:
        """Return what acknowledges `batch`, which was registered, up to an offset; it outlives revocation, silently."""
        ledger, start = self._ledgers[batch.topic_partition], batch.fetch_offset

        def acknowledge(up_to: int, position: Position | None = None) -> None:
            if ledger.acknowledge(start, up_to, position):
                self._on_room()

        return acknowledge

    def committable(self) -> dict[TopicPartition, Position]:
        """Return the positions that may be committed now and are not."""
        positions = {partition: ledger.committable for partition, ledger in self._ledgers.items()}
        return {partition: position for partition, position in positions.items() if position is not None}

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Note that the broker confirmed `positions`. One that failed is not noted, and is committable again."""
        for partition, position in positions.items():
            ledger = self._ledgers.get(TopicPartition(*partition))
            if ledger is not None:
                ledger.committed = position
