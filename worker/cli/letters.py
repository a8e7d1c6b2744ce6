"""Reads the dead-letter topic. Knows nothing of the terminal."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.cli.replay import Replayed
from worker.codec.dead_letters import DeadLetter
from worker.errors import Undecodable
from worker.transport.admin import Admin, consumer, records_between

if TYPE_CHECKING:
    from worker.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Buried:
    """A dead letter and where it stands in the dead-letter topic."""

    partition: int
    offset: int
    letter: DeadLetter


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """A record in the dead-letter topic that is none."""

    partition: int
    offset: int
    #: Why it is none.
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which letters are meant; empty is all."""

    reasons: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def holds(self, letter: DeadLetter) -> bool:
        """Say whether `letter` is meant."""
        return (not self.reasons or letter.reason in self.reasons) and (
            not self.sources or letter.source in self.sources
        )


def replay_group(settings: "Settings") -> str:
    """Give the consumer group whose offsets say what was replayed."""
    return f"{settings.kafka.group_id}-replay"


def replayed(settings: "Settings") -> dict[int, Replayed]:
    """Give what was replayed before, by partition of the dead-letter topic. Raises Unreachable."""
    with Admin(settings.kafka) as admin:
        committed = admin.committed(replay_group(settings))
    topic = settings.output.dead_letter_topic
    return {
        place.partition: Replayed.read(found.offset, found.metadata or "")
        for place, found in committed.items()
        if place.topic == topic
    }


def letters(settings: "Settings", states: Mapping[int, Replayed]) -> Generator[Buried | Foreign, None, None]:
    """Give the letters that the topic holds now and that are pending by `states`, partition by partition.

    Raises Unreachable.
    """
    with Admin(settings.kafka) as admin:
        places = admin.topic_partitions([settings.output.dead_letter_topic])
        begin, end = admin.begin_offsets(places), admin.end_offsets(places)
    starts = {
        place: max(begin[place], states[place.partition].offset) if place.partition in states else begin[place]
        for place in places
    }
    with consumer(settings.kafka) as opened:
        for record in records_between(opened, starts, end):
            state = states.get(record.partition)
            if state is None or state.pending(record.offset):
                yield _read(record)


def _read(record: Any) -> Buried | Foreign:
    try:
        letter = DeadLetter.read(value=record.value, key=record.key, headers=record.headers)
    except Undecodable as exc:
        return Foreign(partition=record.partition, offset=record.offset, error=str(exc))
    return Buried(partition=record.partition, offset=record.offset, letter=letter)
