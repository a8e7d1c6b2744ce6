"""Compares what stands in the input with what stands in the output, by reading both. Knows nothing of the worker."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

_NUMBER = re.compile(r"(\d+)")
#: How a line of a stack trace begins that is not its first.
_CONTINUATION = "\tat "


@dataclass(frozen=True, slots=True)
class Line:
    """One record of the input."""

    partition: int
    offset: int
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the output; a stack trace has several lines."""

    partition: int
    key: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the lines."""

    lines: int
    events: int
    lost: int
    #: Lines that stand in the output more than once, each time more counted.
    doubled: int
    #: Events that stand behind a later one of their key.
    disordered: int
    #: Lines that nobody wrote, or that stand in another partition or under another key.
    wrong: int
    #: Events that begin in the middle of a stack trace.
    cut: int
    #: Lines that are dead letters, each counted.
    dead: int

    def is_right(self, *, is_exactly_once: bool) -> bool:
        """Tell whether nothing was promised that was not kept."""
        broken = self.lost + self.disordered + self.wrong
        return not broken and not (is_exactly_once and (self.doubled or self.cut))

    def as_dict(self) -> dict[str, int]:
        """Give it for a report."""
        return asdict(self)


def check(lines: Iterable[Line], events: Sequence[Event], dead: Sequence[str] = ()) -> Verdict:
    """Compare the input with the output, whose events stand in the order of their partitions, and the dead letters."""
    expected = {number_of(line.text): line for line in lines}
    seen: Counter[int] = Counter()
    last: dict[tuple[int, str], int] = defaultdict(lambda: -1)
    disordered = wrong = cut = 0
    for event in events:
        cut += event.body.startswith(_CONTINUATION)
        numbers = []
        for text in event.body.split("\n"):
            line = expected.get(number_of(text))
            if line is None or (line.partition, line.key, line.text) != (event.partition, event.key, text):
                wrong += 1
                continue
            numbers.append(number_of(text))
            seen[numbers[-1]] += 1
        if not numbers:
            continue
        # What comes again comes in order too, from where it begins again.
        is_again = seen[numbers[0]] > 1
        disordered += numbers != sorted(numbers) or (numbers[0] <= last[event.partition, event.key] and not is_again)
        last[event.partition, event.key] = max(numbers[-1], last[event.partition, event.key])
    return Verdict(
        lines=len(expected),
        events=len(events),
        lost=len(expected.keys() - seen.keys() - set(map(number_of, dead))),
        doubled=sum(count - 1 for count in seen.values()),
        disordered=disordered,
        wrong=wrong,
        cut=cut,
        dead=len(dead),
    )


def number_of(text: str) -> int:
    """Return the number of a line; -1 where it has none."""
    found = _NUMBER.search(text)
    return int(found[1]) if found else -1


def read_lines(bootstrap: str, topic: str) -> list[Line]:
    """Read the whole input."""
    return [
        Line(record.partition, record.offset, record.key.decode(), record.value.decode())
        for record in _records(bootstrap, topic)
    ]


def read_events(bootstrap: str, topic: str) -> list[Event]:
    """Read the whole output as a reader of committed records sees it."""
    return [
        Event(record.partition, record.key.decode(), json.loads(record.value)["body"])
        for record in _records(bootstrap, topic)
    ]


def read_dead(bootstrap: str, topic: str) -> list[str]:
    """Read all dead letters."""
    return [record.value.decode() for record in _records(bootstrap, topic)]


def _records(bootstrap: str, topic: str) -> Iterable[Any]:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    try:
        places = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=500).values():
                yield from records
    finally:
        consumer.close()
