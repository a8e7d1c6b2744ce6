"""Sends dead letters back to where they came from: each one once.

aiokafka sends here, for kafka-python's producer refuses headers that are null.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from worker.cli.letters import Buried, Foreign, Wanted, letters, replay_group, replayed
from worker.cli.replay import Replayed
from worker.errors import LogloomError, Unreachable
from worker.transport.admin import Admin
from worker.transport.security import producer_security

if TYPE_CHECKING:
    from worker.codec.dead_letters import DeadLetter
    from worker.settings import Settings

#: Letters that go back in one transaction.
_CHUNK = 500


@dataclass(kw_only=True, slots=True)
class Plan:
    """Decides letter by letter, and counts."""

    wanted: Wanted
    #: Most letters to take; None is all.
    most: int | None
    #: Where they go; None is where they came from.
    topic: str | None
    #: How many go to each topic.
    taken: Counter[str] = field(default_factory=Counter)
    #: How many do not.
    remaining: int = 0

    def takes(self, found: Buried | Foreign) -> bool:
        """Decide on `found`, and count it. What is not whole stays: half a raw log is another one."""
        full = self.most is not None and self.taken.total() >= self.most
        if (
            full
            or isinstance(found, Foreign)
            or found.letter.cut_from is not None
            or not self.wanted.holds(found.letter)
        ):
            self.remaining += 1
            return False
        self.taken[self.topic or found.letter.topic] += 1
        return True


async def replay(settings: "Settings", plan: Plan) -> None:
    """Send what `plan` takes of all pending letters.

    Sending a chunk and remembering it is one transaction: both happen or neither. What was sent can be read, under
    either isolation, when this returns. Raises LogloomError; the chunks before were sent and are remembered.
    """
    with Admin(settings.kafka) as admin:
        partitions = admin.partitions()
    try:
        # Starting fences whoever replays at the same time; only then is what it committed the last word.
        async with _started(settings) as producer:
            states = await asyncio.to_thread(replayed, settings)
            with closing(letters(settings, dict(states))) as pending:
                while chunk := await asyncio.to_thread(_next, pending):
                    states |= await _send(producer, settings, chunk, plan, states, partitions)
            # A commit is acknowledged before partitions know of it; until they do, no such producer is started.
            async with _started(settings):
                pass
    except KafkaError as exc:
        raise Unreachable(f"the replay ended early: {type(exc).__name__}: {exc}") from exc


@asynccontextmanager
async def _started(settings: "Settings") -> AsyncIterator[AIOKafkaProducer]:
    """Start the producer of which the broker lets only the last one send."""
    kafka = settings.kafka
    producer = AIOKafkaProducer(
        bootstrap_servers=list(kafka.bootstrap_servers),
        client_id=kafka.client_id,
        transactional_id=replay_group(settings),
        linger_ms=20,
        **producer_security(kafka),
    )
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


def _next(pending: Iterator[Buried | Foreign]) -> list[Buried | Foreign]:
    return list(islice(pending, _CHUNK))


async def _send(
    producer: AIOKafkaProducer,
    settings: "Settings",
    chunk: Sequence[Buried | Foreign],
    plan: Plan,
    states: Mapping[int, Replayed],
    partitions: Mapping[str, int],
) -> dict[int, Replayed]:
    """Send one chunk and remember it; give the new state of its partitions."""
    taken = [found for found in chunk if plan.takes(found) and isinstance(found, Buried)]
    after = {}
    for partition in {found.partition for found in chunk}:
        done = {found.offset for found in taken if found.partition == partition}
        every = {found.offset for found in chunk if found.partition == partition}
        state = states.get(partition, Replayed(seen_to=0))
        after[partition] = state.after(replayed=done, left=every - done)
    offsets = {
        TopicPartition(settings.output.dead_letter_topic, partition): (state.offset, state.metadata)
        for partition, state in after.items()
    }
    async with producer.transaction():
        sent = [await _send_letter(producer, found.letter, plan.topic, partitions) for found in taken]
        await asyncio.gather(*sent)
        await producer.send_offsets_to_transaction(offsets, replay_group(settings))
    return after


async def _send_letter(
    producer: AIOKafkaProducer, letter: "DeadLetter", topic: str | None, partitions: Mapping[str, int]
) -> "asyncio.Future[Any]":
    target = topic or letter.topic
    if target not in partitions:
        raise LogloomError(f"the broker has no topic {target!r}; create it, or give another with --to")
    same_place = topic is None and letter.partition < partitions[target]
    future: asyncio.Future[Any] = await producer.send(
        target,
        value=letter.value,
        key=letter.key,
        headers=letter.replay_headers(),
        partition=letter.partition if same_place else None,
        timestamp_ms=letter.timestamp if letter.timestamp >= 0 else None,
    )
    return future
