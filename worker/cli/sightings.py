"""How often templates are seen, and in which messages: by the events that were written last. Knows no terminal."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from worker.cli.tail import decode_event
from worker.transport.admin import Admin, consumer

if TYPE_CHECKING:
    from worker.settings import Settings

#: The attribute of events that names their template.
_ID = "log.record.template.id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of the output topic is read."""

    #: Events, the last ones of each partition.
    events: int
    #: What was read by then is all.
    seconds: float


@dataclass(slots=True, kw_only=True)
class Sightings:
    """What the last events hold."""

    #: Events that were looked at.
    events: int = 0
    #: Events by source, and by source and template.
    by_source: Counter[str] = field(default_factory=Counter)
    by_template: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: The last events, of distinct messages, that were asked for; the oldest first.
    examples: list[dict[str, Any]] = field(default_factory=list)
    #: The first and the last time at which one of the events was made.
    first: datetime | None = None
    last: datetime | None = None

    def count(self, template_id: str, is_of: Callable[[str], bool]) -> int:
        """Count the events of a template in sources."""
        return sum(count for (source, its), count in self.by_template.items() if its == template_id and is_of(source))

    def of(self, is_of: Callable[[str], bool]) -> int:
        """Count the events of sources."""
        return sum(count for source, count in self.by_source.items() if is_of(source))

    @property
    def seconds(self) -> float:
        """Give the time from the first event to the last."""
        return 0.0 if self.first is None or self.last is None else (self.last - self.first).total_seconds()


def look(settings: "Settings", bounds: Bounds, *, template_ids: Collection[str] = (), most: int = 0) -> Sightings:
    """Count what the last events hold, and keep at most `most` examples of templates. Raises Unreachable."""
    found = Sightings()
    examples: dict[str, dict[str, Any]] = {}
    for value in _values(settings, bounds):
        event = decode_event(value)
        attributes = {} if event is None else event.get("attributes", {})
        template_id, source = attributes.get(_ID), attributes.get("logloom.source")
        if event is None or not isinstance(template_id, str) or not isinstance(source, str):
            continue
        found.events += 1
        found.by_source[source] += 1
        found.by_template[source, template_id] += 1
        if (made := _time(event)) is not None:
            found.first = made if found.first is None else min(found.first, made)
            found.last = made if found.last is None else max(found.last, made)
        if template_id in template_ids and most:
            message = str(event.get("body"))
            examples.pop(message, None)
            examples[message] = event
            if len(examples) > most:
                del examples[next(iter(examples))]
    found.examples = list(examples.values())
    return found


def _time(event: dict[str, Any]) -> datetime | None:
    try:
        made = datetime.fromisoformat(event["observed_timestamp"])
    except (KeyError, TypeError, ValueError):
        return None
    return made if made.tzinfo is not None else None


def _values(settings: "Settings", bounds: Bounds) -> Iterator[bytes]:
    """Give the values that the output topic holds, the last ones of each partition, within bounds."""
    ends_at = time.monotonic() + bounds.seconds
    with Admin(settings.kafka) as admin:
        places = admin.topic_partitions([settings.output.topic])
        begin, end = admin.begin_offsets(places), admin.end_offsets(places)
    of_each = -(-bounds.events // len(places))
    with consumer(settings.kafka) as opened:
        opened.assign(places)
        for place in places:
            opened.seek(place, max(begin[place], end[place] - of_each))
        while time.monotonic() < ends_at and any(opened.position(place) < end[place] for place in places):
            for place, records in opened.poll(timeout_ms=200).items():
                yield from (record.value or b"" for record in records if record.offset < end[place])
