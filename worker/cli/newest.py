"""Watches templates as they come: on the topic that announces them, else in Redis. Knows nothing of the terminal."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from worker.cache.store import PINNED, TemplateStore
from worker.errors import LogloomError
from worker.transport.admin import Admin, consumer

if TYPE_CHECKING:
    from worker.settings import Redis, Settings

#: Templates that are shown at once.
MOST = 10
#: How often Redis is asked which scopes and parser versions there are: that walks over all keys.
_SCOPES_SECONDS = 30.0
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTemplate:
    """A template that was found, or changed, lately."""

    #: RFC 3339; None where it came before anyone watched.
    time: str | None
    source: str
    id: str
    text: str
    #: How many templates it took the place of.
    replaces: int = 0


class Watch(Protocol):
    """Where new templates are heard of."""

    def poll(self) -> list[NewTemplate]:
        """Give what came since the last call; the first one gives the last few that there are. Raises LogloomError."""
        ...


class Nowhere:
    """Neither a topic nor Redis is set, or it does not answer."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def poll(self) -> list[NewTemplate]:
        """Say why nothing can be told."""
        raise LogloomError(self._reason)


@contextmanager
def watching(settings: "Settings", runner: asyncio.Runner) -> Iterator[Watch]:
    """Watch the topic of templates where one is set, else Redis where it is."""
    topic = settings.output.templates_topic
    if topic is not None:
        try:
            with Admin(settings.kafka) as admin:
                places = admin.topic_partitions([topic])
                begin, end = admin.begin_offsets(places), admin.end_offsets(places)
        except LogloomError as exc:
            yield Nowhere(str(exc))
            return
        with consumer(settings.kafka) as opened:
            opened.assign(places)
            for place in places:
                opened.seek(place, max(begin[place], end[place] - MOST))
            yield OnTopic(opened)
    elif settings.redis.url is not None:
        watch = InRedis(settings.redis, runner)
        try:
            yield watch
        finally:
            watch.close()
    else:
        yield Nowhere("told by output.templates_topic or by Redis (redis.url); neither is set")


class OnTopic:
    """The topic that announces templates."""

    def __init__(self, opened: Any) -> None:
        """Read from a consumer that stands where to begin."""
        self._consumer = opened
        self._wait_ms = 1000

    def poll(self) -> list[NewTemplate]:
        """Read what there is."""
        records: list[Any] = []
        while found := self._consumer.poll(timeout_ms=self._wait_ms):
            records += (record for part in found.values() for record in part)
            self._wait_ms = 0
        self._wait_ms = 0
        records.sort(key=lambda record: record.timestamp)
        return [new for record in records if (new := _announced(record.value)) is not None][-MOST:]


def _announced(value: bytes | None) -> NewTemplate | None:
    """Read an announcement; None for that of a template that went, and for what is none."""
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        record = json.loads(value or b"null")
        if record["reason"] != "replaced":
            return NewTemplate(
                time=str(record["time"]),
                source=str(record["source"]),
                id=str(record["id"]),
                text=str(record["template"]),
                replaces=len(record["replaces"]),
            )
    return None


@dataclass(slots=True)
class InRedis:
    """The announcements that workers make to each other."""

    redis: "Redis"
    runner: asyncio.Runner
    _stores: dict[str, TemplateStore] = field(default_factory=dict)
    _scopes: list[tuple[str, str]] = field(default_factory=list)
    _scopes_at: float | None = None
    #: Ids by scope and parser version.
    _seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def poll(self) -> list[NewTemplate]:
        """Ask every scope for its last announcements."""
        return self.runner.run(self._poll())

    def forget_scopes(self) -> None:
        """Ask with the next call which scopes there are."""
        self._scopes_at = None

    def close(self) -> None:
        """Close all connections."""
        for store in self._stores.values():
            self.runner.run(store.close())

    async def _poll(self) -> list[NewTemplate]:
        if self._scopes_at is None or time.monotonic() - self._scopes_at > _SCOPES_SECONDS:
            held = await self._store("").scopes()
            self._scopes = [(one.scope, one.parser_version) for one in held if one.parser_version != PINNED]
            self._scopes_at = time.monotonic()
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        found: list[NewTemplate] = []
        for scope, parser in self._scopes:
            templates = await self._store(parser).newest(scope, MOST)
            time_of = now if (scope, parser) in self._seen else None
            seen = self._seen.setdefault((scope, parser), set())
            found += [
                NewTemplate(time=time_of, source=scope, id=template.id, text=template.text)
                for template in templates
                if template.id not in seen
            ]
            seen |= {template.id for template in templates}
        return found[-MOST:]

    def _store(self, parser: str) -> TemplateStore:
        if parser not in self._stores:
            connection = self.redis.connection | {"timeout_seconds": _TIMEOUT_SECONDS}
            self._stores[parser] = TemplateStore.connect(**connection, parser_version=parser, max_connections=2)
        return self._stores[parser]
