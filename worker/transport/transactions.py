"""Exactly once: output and offsets of a group of batches in one Kafka transaction (KIP-98, KIP-447).

Two producers take turns. While one's transaction is committed the other's takes the next batches, whose output follows
in the same partitions; it is committed after the one before, or never. Nothing of a transaction that fails is seen by
readers of committed records, and its offsets are not committed: the batches are read again.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from itertools import cycle
from types import TracebackType
from typing import Self

from aiokafka.errors import KafkaError

from worker.errors import DeliveryFailed
from worker.tasks import Fail, reporting
from worker.transport.batches import TopicPartition
from worker.transport.group_offsets import Membership
from worker.transport.outlet import Sender
from worker.transport.positions import Position
from worker.transport.producer import RecordBatchProducer

#: Longest wait for the broker to end a transaction that is given up.
_ABORT_SECONDS = 5.0


class Transaction:
    """One transaction, from its first batch to its commit."""

    def __init__(self, producer: RecordBatchProducer, member: Membership) -> None:
        self.producer = producer
        self.member = member
        self.positions: dict[TopicPartition, Position] = {}
        self.due = asyncio.Event()
        self._inside = 0
        self._all_left = asyncio.Event()
        self._committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def sender(self) -> Sender:
        """Takes what is to be written."""
        return self.producer

    def enter(self) -> Self:
        """Count one batch more."""
        self._inside += 1
        self._all_left.clear()
        return self

    def leave(self, partition: TopicPartition, position: Position) -> None:
        """Say that the broker has all output of a batch."""
        known = self.positions.get(partition)
        # Batches of one partition may leave in another order than that in which they entered.
        if known is None or (known.done, known.offset) < (position.done, position.offset):
            self.positions[partition] = position
        self._inside -= 1
        if not self._inside:
            self._all_left.set()

    async def committed(self) -> None:
        """Return when it is committed. Raises DeliveryFailed if it can't be."""
        await asyncio.shield(self._committed)

    async def delivered(self) -> None:
        """Return when every batch that entered has left."""
        await self._all_left.wait()

    async def commit(self) -> None:
        """Commit output and offsets. Raises DeliveryFailed."""
        client = self.producer.client
        try:
            await client.commit_positions(self.positions, self.member)
            await client.commit_transaction()
        except KafkaError as exc:
            raise DeliveryFailed(f"the transaction of {self.member.group} was not committed: {exc}") from exc
        self._committed.set_result(None)

    def give_up(self, error: DeliveryFailed) -> None:
        """Tell whoever waits that it is not committed."""
        self._committed.set_exception(error)
        self._committed.exception()  # looked at, for maybe nobody waits


class Transactions:
    """An `Outlet` that writes into one transaction after the other. To be made and used in one running event loop."""

    def __init__(
        self,
        producers: Sequence[RecordBatchProducer],
        *,
        member: Callable[[], Membership],
        interval_seconds: float,
        fail: Fail,
        on_end: Callable[[bool], None] | None = None,
    ) -> None:
        """Commit every `interval_seconds` while something is written; `fail` stops the process.

        `on_end` is told of each transaction that ends whether it was committed.

        `producers`: two, each with a transactional id of its own. `member` tells who the consumer is in its group when
        a transaction begins.
        """
        self._producers = producers
        self._member = member
        self._interval_seconds = interval_seconds
        self._report = reporting(fail)
        self._on_end = on_end
        self._turns = cycle([(producer, asyncio.Lock()) for producer in producers])
        self._gate = asyncio.Lock()
        self._open: Transaction | None = None
        #: Ends when the transaction that was closed last is committed.
        self._ending: asyncio.Task[None] | None = None

    async def enter(self) -> Transaction:
        """Begin to write into the open transaction; the first one begins one.

        Waits while the transaction before is being delivered, so that its output stands first in each partition.
        """
        async with self._gate:
            if self._open is None:
                producer, is_busy = next(self._turns)
                await is_busy.acquire()
                member = self._member()
                if not member.is_known:
                    raise DeliveryFailed(f"this worker was put out of the group {member.group}; its batches have gone")
                await producer.client.begin_transaction()
                self._open = Transaction(producer, member)
                # In no batch's context: the first one's would be taken for that of all.
                ending = self._end(self._open, is_busy, self._ending)
                self._ending = asyncio.create_task(ending, context=Context())
                self._ending.add_done_callback(self._report)
            return self._open.enter()

    def hasten(self) -> None:
        """Commit what is open without waiting for more."""
        if self._open is not None:
            self._open.due.set()

    async def _end(self, transaction: Transaction, is_busy: asyncio.Lock, before: asyncio.Task[None] | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(transaction.due.wait(), self._interval_seconds)
        async with self._gate:
            self._open = None
            await transaction.delivered()
        try:
            if before is not None:
                await before
            await transaction.commit()
        except DeliveryFailed as exc:
            transaction.give_up(exc)
            self._tell(is_committed=False)
            raise
        self._tell(is_committed=True)
        is_busy.release()

    def _tell(self, *, is_committed: bool) -> None:
        if self._on_end is not None:
            self._on_end(is_committed)

    async def __aenter__(self) -> Self:
        for producer in self._producers:
            await producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._ending is not None:
            await self._ending
        for producer in self._producers:
            if error is None:
                await producer.close()
                continue
            # Else readers of committed records would wait for the transaction's end until it times out.
            with suppress(Exception):
                await asyncio.wait_for(producer.client.abort_transaction(), _ABORT_SECONDS)
            await producer.abort()
