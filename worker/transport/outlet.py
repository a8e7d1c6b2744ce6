"""Where batches write: straight to the broker, or into transactions (`transactions.py`)."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from worker.columns.records import EncodedBatch
from worker.transport.batches import TopicPartition
from worker.transport.positions import Position
from worker.transport.producer import Delivery, RecordBatchProducer


class Sender(Protocol):
    """Takes record batches and single records, as `RecordBatchProducer` does."""

    async def send(self, topic: str, partition: int, batch: EncodedBatch) -> asyncio.Task[Delivery]:
        """Take a record batch; what is returned ends when the broker has it."""

    async def send_record(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Task[Delivery]:
        """Take one record."""


class Writing(Protocol):
    """The output of one batch on its way. `leave` must be called, or nothing that was written with it ends."""

    @property
    def sender(self) -> Sender:
        """Takes what is to be written."""

    def leave(self, partition: TopicPartition, position: Position) -> None:
        """Say that the broker has all of it: then the partition stands at `position`."""

    async def committed(self) -> None:
        """Return when readers may see it, and it stays."""


class Outlet(Protocol):
    """Where batches write."""

    async def enter(self) -> Writing:
        """Begin to write the output of one batch; those of a partition enter one after the other."""

    def hasten(self) -> None:
        """Let what is written so far become visible soon."""


class Direct:
    """At least once: what the broker has is visible, and offsets are committed apart from it."""

    def __init__(self, producer: RecordBatchProducer) -> None:
        self.sender: Sender = producer

    async def enter(self) -> Writing:
        """Return at once."""
        return self

    def hasten(self) -> None:
        """Do nothing: everything is visible already."""

    def leave(self, partition: TopicPartition, position: Position) -> None:
        """Do nothing: offsets are committed by the consumer."""

    async def committed(self) -> None:
        """Return at once."""
