"""Output and offsets of batches are committed together, in order, or not at all, while the next ones are written."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiokafka.errors import CommitFailedError

from worker.errors import DeliveryFailed
from worker.transport.batches import TopicPartition
from worker.transport.group_offsets import Membership
from worker.transport.positions import Position
from worker.transport.producer import RecordBatchProducer
from worker.transport.transactions import Transactions

HERE, THERE = TopicPartition("raw", 0), TopicPartition("raw", 1)
MEMBER = Membership(group="g", generation=3, member_id="m", instance_id=None)


@dataclass
class Producer:
    """Notes what is asked of its client; commits end while `may_commit` is set."""

    name: str
    log: list[str]
    committed: list[dict[TopicPartition, Position]]
    may_commit: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.may_commit.set()
        self.client = self

    async def start(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""
        self.log.append(f"{self.name} closed")

    async def abort(self) -> None:
        """Disconnect at once."""

    async def begin_transaction(self) -> None:
        """Begin."""
        self.log.append(f"{self.name} begun")

    async def abort_transaction(self) -> None:
        """Give up."""
        self.log.append(f"{self.name} aborted")

    async def commit_positions(self, positions: Mapping[TopicPartition, Position], member: Membership) -> None:
        """Put offsets into the transaction."""
        assert member is MEMBER
        if self.error is not None:
            raise self.error
        self.committed.append(dict(positions))

    async def commit_transaction(self) -> None:
        """Commit."""
        self.log.append(f"{self.name} commits")
        await self.may_commit.wait()
        self.log.append(f"{self.name} committed")


@dataclass
class Bench:
    """Transactions and what a test looks at."""

    member: Membership = MEMBER
    log: list[str] = field(default_factory=list)
    committed: list[dict[TopicPartition, Position]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    #: Of each transaction that ended, whether it was committed.
    ended: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producers = [Producer(name, self.log, self.committed) for name in ("one", "two")]

    def transactions(self, interval_seconds: float = 60.0) -> Transactions:
        """Make them; nothing is committed before it is hastened."""
        return Transactions(
            cast("list[RecordBatchProducer]", self.producers),
            member=lambda: self.member,
            interval_seconds=interval_seconds,
            fail=self.failures.append,
            on_end=self.ended.append,
        )


async def turns() -> None:
    """Let everything go on that can: nothing here waits for a clock."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_batches_of_one_transaction_are_committed_with_their_last_positions() -> None:
    """A batch that leaves before one that entered earlier takes no position back."""
    bench = Bench()
    async with bench.transactions() as transactions:
        first, second, third = [await transactions.enter() for _ in range(3)]
        second.leave(HERE, Position.at(20))
        first.leave(HERE, Position.at(10))
        transactions.hasten()
        await turns()
        assert bench.log == ["one begun"]
        third.leave(THERE, Position(5, 9, (5,)))
        await third.committed()
        assert bench.committed == [{HERE: Position.at(20), THERE: Position(5, 9, (5,))}]
    assert bench.log == ["one begun", "one commits", "one committed", "one closed", "two closed"]


async def test_the_next_transaction_is_written_while_one_is_committed_and_committed_after_it() -> None:
    """It begins once the output before it is delivered; a third waits for the first producer."""
    bench = Bench()
    async with bench.transactions(interval_seconds=0) as transactions:
        bench.producers[0].may_commit.clear()
        first = await transactions.enter()
        await turns()
        entering = asyncio.create_task(transactions.enter())
        await turns()
        assert (bench.log, entering.done()) == (["one begun"], False)
        first.leave(HERE, Position.at(10))
        second = await entering
        await turns()
        entering = asyncio.create_task(transactions.enter())
        second.leave(HERE, Position.at(20))
        await turns()
        assert (sorted(bench.log), entering.done()) == (["one begun", "one commits", "two begun"], False)
        assert bench.committed == [{HERE: Position.at(10)}]
        bench.producers[0].may_commit.set()
        (await entering).leave(HERE, Position.at(30))
    assert bench.committed == [{HERE: Position.at(10)}, {HERE: Position.at(20)}, {HERE: Position.at(30)}]
    assert (bench.failures, bench.ended) == ([], [True, True, True])


async def test_a_transaction_ends_by_itself() -> None:
    """Whoever waits need not hasten it."""
    bench = Bench()
    async with bench.transactions(interval_seconds=0.01) as transactions:
        writing = await transactions.enter()
        writing.leave(HERE, Position.at(1))
        await writing.committed()
        assert bench.committed == [{HERE: Position.at(1)}]


async def test_what_is_not_committed_stops_the_process() -> None:
    """Neither that transaction nor one behind it is; both are given up."""
    bench = Bench()
    bench.producers[0].error = CommitFailedError("another worker has its partitions")

    async def run() -> None:
        async with bench.transactions(interval_seconds=0) as transactions:
            first = await transactions.enter()
            await turns()
            entering = asyncio.create_task(transactions.enter())
            await turns()
            first.leave(HERE, Position.at(10))
            second = await entering
            second.leave(HERE, Position.at(20))
            with pytest.raises(DeliveryFailed, match="was not committed"):
                await first.committed()
            await second.committed()

    with pytest.raises(DeliveryFailed, match="was not committed"):
        await run()
    assert (bench.committed, len(bench.failures), bench.ended) == ([], 2, [False, False])
    assert bench.log == ["one begun", "two begun", "one aborted", "two aborted"]


@pytest.mark.parametrize(("generation", "member_id"), [(-1, ""), (3, ""), (-1, "m")])
async def test_nothing_is_written_for_nobody(generation: int, member_id: str) -> None:
    """A broker would take the offsets of a consumer that is in no group."""
    member = Membership(group="g", generation=generation, member_id=member_id, instance_id=None)
    bench = Bench(member=member)
    async with bench.transactions() as transactions:
        with pytest.raises(DeliveryFailed, match="put out of the group g"):
            await transactions.enter()
    assert "one begun" not in bench.log
