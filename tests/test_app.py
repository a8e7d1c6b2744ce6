"""Lanes and packing: what lies between a transport and a processor. Delivery itself is proved on a real broker."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from worker.app import AppSettings, BatchProcessor, Lane, WorkerApp, pack_batches, pack_events
from worker.errors import DeliveryFailed, WrongSettings
from worker.transport.acknowledgements import Acknowledge, Acknowledgements
from worker.transport.batches import FetchedBatch, TopicPartition, read_records
from worker.transport.positions import Position
from worker.transport.subscriptions import Subscription


def batch(start: int) -> FetchedBatch:
    """Return a batch of one offset."""
    return FetchedBatch(topic="raw", partition=0, data=b"", fetch_offset=start, next_offset=start + 1)


def take_one(arrivals: deque[FetchedBatch]) -> tuple[FetchedBatch, Acknowledge]:
    """Take the first arrival; nobody hears of its acknowledgement."""
    return arrivals.popleft(), lambda up_to, position=None: None


@dataclass
class Gate:
    """A processor that finishes a batch when it is let."""

    begun: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
        """Note when `batch` begins and ends."""
        self.begun.append(batch.fetch_offset)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.finished.append(batch.fetch_offset)
        acknowledge(batch.next_offset)

    async def drain(self, partitions: frozenset[TopicPartition]) -> None:
        """Hold nothing."""


async def until(lane: Lane, gate: Gate, finished: int) -> None:
    """Wait until so many batches are finished, then stop the lane."""
    while len(gate.finished) < finished:  # noqa: ASYNC110 - a turn of the loop, not a poll
        await asyncio.sleep(0)
    await lane.stop()


async def test_lane_keeps_the_order() -> None:
    """Batches are processed one after the other in the order in which they came."""
    gate, failures = Gate(), list[BaseException]()
    lane = Lane(gate, take_one, failures.append)
    for offset in range(5):
        lane.put(batch(offset))
    await asyncio.sleep(0)
    assert gate.begun == [0]
    gate.open.set()
    await until(lane, gate, 5)
    assert gate.finished == [0, 1, 2, 3, 4]
    assert failures == []


async def test_stopped_lane_finishes_what_was_begun() -> None:
    """A lane that is stopped finishes its batch and drops those that wait: they are read again."""
    gate, failures = Gate(), list[BaseException]()
    lane = Lane(gate, take_one, failures.append)
    for offset in range(3):
        lane.put(batch(offset))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(lane.stop())
    await asyncio.sleep(0)
    assert (lane.is_stopping, lane.is_through) == (True, False)
    gate.open.set()
    await stopping
    assert lane.is_through
    assert gate.finished == [0]


async def test_lane_stopped_while_it_lingers_takes_nothing() -> None:
    """A lane that is stopped while it waits for more ends without a batch and without an error."""
    gate, failures = Gate(), list[BaseException]()
    lane = Lane(gate, take_one, failures.append, linger_seconds=0.001)
    lane.put(batch(0))
    await asyncio.sleep(0)
    await lane.stop()
    assert (gate.begun, failures) == ([], [])


async def test_caller_that_gives_up_does_not_cancel_the_batch() -> None:
    """When whoever waits for a lane runs out of time, the batch in it goes on."""
    gate, failures = Gate(), list[BaseException]()
    lane = Lane(gate, take_one, failures.append)
    lane.put(batch(0))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lane.stop(), timeout=0.01)
    gate.open.set()
    await lane.stop()
    assert gate.finished == [0]


async def test_successor_waits_for_its_predecessor() -> None:
    """A partition that comes back while an old batch is still processed begins behind it."""
    gate, failures = Gate(), list[BaseException]()
    old = Lane(gate, take_one, failures.append)
    old.put(batch(0))
    await asyncio.sleep(0)
    new = Lane(gate, take_one, failures.append, predecessor=old)
    new.put(batch(0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert gate.begun == [0]
    gate.open.set()
    await until(new, gate, 2)
    assert gate.begun == [0, 0]


async def test_a_failure_ends_the_wait_for_what_is_in_flight() -> None:
    """Lanes may wait for what failed: nobody waits for them then, and nothing more is committed."""
    gate = Gate()

    @asynccontextmanager
    async def pipelines(*_: object) -> AsyncIterator[Mapping[str, BatchProcessor]]:
        yield {}

    source = Subscription(source="a", topics=("raw",))
    app = WorkerApp(AppSettings(bootstrap_servers="localhost:1", group="g", subscriptions=[source]), pipelines)
    lane = Lane(gate, take_one, app.fail)
    lane.put(batch(1))
    app._lanes[TopicPartition("raw", 0)] = lane
    app._processors = {"a": gate}
    draining = asyncio.create_task(app._drain(frozenset({TopicPartition("raw", 0)})))
    while not lane.is_stopping:  # noqa: ASYNC110 - a turn of the loop, not a poll
        await asyncio.sleep(0)
    app.fail(DeliveryFailed("on purpose"))
    async with asyncio.timeout(20):
        assert not await draining
    gate.open.set()
    await lane.stop()


async def test_error_in_a_lane_is_reported() -> None:
    """What a processor raises reaches the app, and the lane takes nothing more."""
    gate, failures = Gate(error=RuntimeError("broken")), list[BaseException]()
    lane = Lane(gate, take_one, failures.append)
    lane.put(batch(0))
    lane.put(batch(1))
    gate.open.set()
    while not lane.is_through:  # noqa: ASYNC110 - a turn of the loop, not a poll
        await asyncio.sleep(0)
    assert failures == [gate.error]
    assert gate.begun == [0]


@dataclass
class Message:
    """What stock Faust knows of a record."""

    offset: int
    key: bytes | None
    value: bytes | None
    topic: str = "raw"
    partition: int = 2
    timestamp: float = 1_700_000_000.123
    headers: Any = (("h", b"1"),)


class Event:
    """What stock Faust hands to an agent."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.is_acknowledged = False

    def ack(self) -> None:
        """Note the acknowledgement."""
        assert not self.is_acknowledged
        self.is_acknowledged = True


def test_stock_events_become_a_record_batch() -> None:
    """Records that came one by one are decoded from the batch as they were, gaps and tombstones too."""
    messages = [Message(10, b"k", b"a"), Message(11, None, b"bb"), Message(15, b"k", None)]
    events = deque(Event(message) for message in messages)
    packed, _ = pack_events(events)
    assert not events
    assert (packed.topic_partition, packed.fetch_offset, packed.next_offset) == (("raw", 2), 10, 16)
    records = read_records(packed)
    assert records.offset.tolist() == [10, 11, 15]
    assert records.timestamp.tolist() == [1_700_000_000_123] * 3
    assert records.key_length.tolist() == [1, -1, 1]
    assert records.value_length.tolist() == [1, 2, -1]
    start, length = records.headers_start[0], records.headers_length[0]
    assert records.buffer[start : start + length].tobytes() == b"\x02\x02h\x021"


def test_joined_batches_are_acknowledged_one_by_one() -> None:
    """What is done below an offset is done of each; a line that waits at the start of one is told with what passed."""
    ledgers = Acknowledgements()
    ledgers.assign([TopicPartition("raw", 0)])
    arrivals = deque([batch(0), batch(1), batch(2)])
    for arrival in arrivals:
        ledgers.register(arrival)
    packed, acknowledge = pack_batches(arrivals, ledgers)
    assert (packed.fetch_offset, packed.next_offset) == (0, 3)
    told = []
    for position in (Position(0, 3, (0,)), Position(1, 3, (1,)), Position.at(3)):
        acknowledge(position.offset, position)
        told.append(ledgers.committable().get(TopicPartition("raw", 0)))
    assert told == [Position(0, 3, (0,)), Position(1, 3, (1,)), Position.at(3)]
    assert ledgers.batches_in_flight == 0


def test_stock_events_are_acknowledged_up_to_the_offset() -> None:
    """An offset acknowledges the events below it, once each."""
    kept = [Event(Message(offset, None, b"a")) for offset in (10, 11, 15)]
    _, acknowledge = pack_events(deque(kept))
    acknowledge(11)
    assert [event.is_acknowledged for event in kept] == [True, False, False]
    acknowledge(16)
    assert [event.is_acknowledged for event in kept] == [True, True, True]


def test_mistaken_sources_are_refused_at_the_start() -> None:
    """An app whose sources can't be told apart is not made."""

    @asynccontextmanager
    async def pipelines(*_: object) -> AsyncIterator[Mapping[str, BatchProcessor]]:
        yield {}

    source = Subscription(source="a", topics=("events",))
    settings = AppSettings(
        bootstrap_servers="localhost:1", group="g", subscriptions=[source], written_topics=frozenset({"events"})
    )
    with pytest.raises(WrongSettings, match="which this worker writes"):
        WorkerApp(settings, pipelines)
