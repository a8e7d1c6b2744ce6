"""The template cache that workers share, in Redis. Knows nothing of Kafka, of the model or of columns.

All keys of one scope and parser version start with `logloom:{SCOPE}:VERSION:` (both percent-encoded; the braces keep
them in one slot), so a new checkpoint or prompt never reads the templates of an old one:

| key | type | holds |
|---|---|---|
| `templates` | hash | template id -> msgpack of its literals, spacious, names, confidence |
| `state` | hash | `epoch`: a random name given at the first write; `sequence`: announcements so far |
| `announcements` | stream | entry `SEQUENCE-0`: `template` (msgpack), `removed` (id) or `replaced` (two ids); bounded |
| `fingerprints:young`, `fingerprints:old` | hash | fingerprint (8 bytes, big-endian) -> template id |

A store remembers the epoch and sequence that it has seen of each scope. Sequences have no holes, so it notices when
announcements that it needs were trimmed, and reads the hash instead; another epoch says that Redis lost everything.
Calls to reload belong to no version: `cache/calls.py`. What operators pin is the templates of a version of its own,
`PINNED`: every worker reads it, whatever its parser.

The young fingerprints become the old ones when they are too many, and the old ones go: fingerprints that nobody asks
for are forgotten. Templates are bounded too: a full scope refuses new ones until some are removed.

News must be applied before anything else is awaited: what a call returned is not returned again.
"""

import asyncio
import re
import secrets
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar, overload
from urllib.parse import quote, unquote

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from worker.cache.calls import ALL_SCOPES, Calls, call_key
from worker.cache.connecting import client_of
from worker.cache.scripts import EXCHANGE, REMOVE, Mode
from worker.cache.stored import MAX_STORED_BYTES, pack_stored, unpack_stored
from worker.errors import StoreUnavailable
from worker.parsing.templates import Template

_Key = TypeVar("_Key")
_SCOPE_KEY = re.compile(r":\{([^{}:]+)\}:([^{}:]+):templates")
_KEY_TYPES: Mapping[str, bytes] = {
    "templates": b"hash",
    "state": b"hash",
    "announcements": b"stream",
    "fingerprints:young": b"hash",
    "fingerprints:old": b"hash",
}
#: The version of templates that operators pinned. No parser has it: theirs end with a digest, or are `none`.
PINNED = "pinned"
#: No epoch has this name: whoever has seen nothing must load.
_NOTHING_SEEN = b"?"
#: Templates that go along with one call, and fingerprints that are kept per template.
_MOST_WRITTEN, _MOST_FINGERPRINTS = 256, 64
_MOST_LOOKED_UP = 4096
_SCAN_PAGE = 1000
_LISTEN_SECONDS = 2.0
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a scope may grow to in Redis, and how an outage is met."""

    #: Templates; further ones are refused.
    templates: int = 100_000
    #: Fingerprints in each of the two generations.
    fingerprints: int = 200_000
    #: Announcements that Redis keeps; whoever misses more reads all templates.
    announcements: int = 10_000
    #: After a failure, calls fail at once for so long, so that an outage does not cost every batch a timeout.
    pause_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class News(Sequence[Template]):
    """Templates to learn. An id that is known already may come again, with wider parameters or other names."""

    #: What other workers published, the oldest first, then what was asked for.
    templates: tuple[Template, ...] = ()
    #: Ids of templates that an operator removed.
    removed: tuple[str, ...] = ()
    #: Ids of templates that another worker replaced, each with the id of what took its place.
    replaced: Mapping[str, str] = field(default_factory=dict)
    #: Redis lost what it held: publish again what this worker knows.
    was_emptied: bool = False
    #: What was given to `publish` is in Redis.
    is_written: bool = False

    def __len__(self) -> int:
        return len(self.templates)

    @overload
    def __getitem__(self, place: int) -> Template: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Template]: ...
    def __getitem__(self, place: int | slice) -> Template | Sequence[Template]:
        return self.templates[place]

    def __bool__(self) -> bool:
        return bool(self.templates or self.removed or self.replaced or self.was_emptied)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScope:
    """One scope under one parser version, as operators see it."""

    scope: str
    parser_version: str
    #: Number of templates.
    templates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    """A template to write, and fingerprints of messages that it matched."""

    template: Template
    fingerprints: tuple[int, ...] = ()

    def arguments(self) -> Iterator[Any]:
        """Give what the script asks for."""
        yield from (self.template.id, pack_stored(self.template), len(self.fingerprints))
        yield from map(_fingerprint_bytes, self.fingerprints)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replaced:
    """A template to take away, and what took its place."""

    template_id: str
    other_id: str

    def arguments(self) -> Iterator[Any]:
        """Give what the script asks for."""
        yield from (self.template_id, self.other_id, -1)


_Write = _Learned | _Replaced


class _Seen(NamedTuple):
    epoch: bytes
    sequence: int


class _Reply(NamedTuple):
    epoch: bytes
    sequence: int
    must_reload: int
    is_written: int
    refused: int
    missed: list[bytes]
    corrected: list[bytes]
    found: list[bytes]


class TemplateStore:
    """The templates of one parser version in Redis. Every call that talks to Redis may raise StoreUnavailable."""

    def __init__(
        self,
        client: Redis,
        listening_client: Redis,
        *,
        prefix: str,
        parser_version: str,
        scope_versions: Mapping[str, str],
        max_pending: int,
        limits: Limits,
        calls: Calls | None = None,
    ) -> None:
        """Take over two clients; see `connect`."""
        self.parser_version = parser_version
        #: Templates that were given up because too many waited; that were refused because the scope is full or they are
        #: too large; values that no worker wrote; calls that failed.
        self.dropped = self.refused = self.poisoned = self.failures = 0
        self._client = client
        self._listening_client = listening_client
        self._prefix = prefix
        self._scope_versions = scope_versions
        self._max_pending = max_pending
        self._limits = limits
        self._calls = calls
        self._exchange_script = client.register_script(EXCHANGE)
        self._remove_script = client.register_script(REMOVE)
        self._seen: dict[str, _Seen] = {}
        self._pending: dict[tuple[str, str], _Write] = {}
        self._paused_until = 0.0
        #: Whether the last call found Redis away, or refusing.
        self.is_away = False

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        parser_version: str,
        scope_versions: Mapping[str, str] | None = None,
        password: str | None = None,
        tls: Mapping[str, Any] | None = None,
        prefix: str = "logloom",
        connect_timeout_seconds: float = 0.5,
        timeout_seconds: float = 0.5,
        max_connections: int = 8,
        max_pending: int = 10_000,
        limits: Limits | None = None,
        calls: Calls | None = None,
    ) -> "TemplateStore":
        """Connect, on first use, to `url` (`redis://`, `rediss://` or `unix://`).

        `scope_versions` gives the versions of scopes that have another than `parser_version`: those with a prompt.
        `tls` goes to the client as it is (`ssl_ca_certs` and so on). Whoever listens also hears `calls` to reload.
        """
        connect_to = partial(
            client_of, url, password=password, tls=tls, connect_timeout_seconds=connect_timeout_seconds
        )
        return cls(
            connect_to(connections=max_connections, timeout_seconds=timeout_seconds),
            # A listener holds a connection for as long as nothing happens.
            connect_to(
                connections=1, timeout_seconds=timeout_seconds, answer_seconds=_LISTEN_SECONDS + timeout_seconds
            ),
            prefix=prefix,
            parser_version=parser_version,
            scope_versions=scope_versions or {},
            max_pending=max_pending,
            limits=limits or Limits(),
            calls=calls,
        )

    @property
    def pending(self) -> int:
        """Templates that wait to be written."""
        return len(self._pending)

    async def close(self) -> None:
        """Close all connections, those that break on the way too; what is pending is lost."""
        for client in (self._client, self._listening_client):
            try:
                await client.aclose()
            except (RedisError, OSError):
                self.failures += 1

    # The path of a batch, in call order.

    async def load(self, scope: str) -> News:
        """Read all templates of a scope: a warm start needs no model."""
        self._seen.pop(scope, None)
        return await self.catch_up(scope)

    async def catch_up(self, scope: str) -> News:
        """Learn what other workers published since the last call."""
        return await self.find(scope, ())

    async def find(self, scope: str, fingerprints: Sequence[int]) -> News:
        """Catch up and look fingerprints up, in one round trip; what waits to be written goes along.

        Templates found by fingerprint are guesses, as ever: the match is the proof. Of a flood of fingerprints only the
        first some thousand are looked up, so that no call holds Redis up; the others stay misses.
        """
        waiting = [one for (waiting_scope, _), one in self._pending.items() if waiting_scope == scope]
        mode = Mode.WRITE_BACK if waiting else Mode.READ
        sent, reply = await self._exchange(scope, mode, waiting[:_MOST_WRITTEN], fingerprints[:_MOST_LOOKED_UP])
        return await self._news(scope, sent, reply)

    async def publish(
        self, scope: str, learned: Sequence[tuple[Template, int]], replaced: Mapping[str, str] | None = None
    ) -> News:
        """Write templates, each with the fingerprint of a message that it matched, and announce them.

        Then templates go that are `replaced`, given by their ids with those of what took their places.

        If another worker published something that this one has not seen, nothing more is written (`is_written`): match
        the messages with the news, and publish what still misses. Templates are merged by id. While Redis is away,
        they wait in this process and go along with a later call. Many are written in several calls, so that none holds
        Redis up.
        """
        merged: dict[str, _Write] = {}
        for template, fingerprint in learned:
            _merge(merged, template.id, _Learned(template=template, fingerprints=(fingerprint,)))
        fit = [
            one
            for one in merged.values()
            if isinstance(one, _Learned) and len(pack_stored(one.template)) <= MAX_STORED_BYTES
        ]
        self.refused += len(merged) - len(fit)
        gone = [_Replaced(template_id=one, other_id=other) for one, other in (replaced or {}).items()]
        writes: list[_Write] = [*fit, *gone]
        try:
            if any(waiting_scope == scope for waiting_scope, _ in self._pending) and (
                news := await self.catch_up(scope)
            ):
                return replace(news, is_written=False)  # what waited was written, not what is given now
            merged_differently: list[Template] = []
            for start in range(0, len(writes), _MOST_WRITTEN):
                sent, reply = await self._exchange(scope, Mode.PUBLISH, writes[start : start + _MOST_WRITTEN])
                news = await self._news(scope, sent, reply)
                merged_differently += news.templates
                if not news.is_written:
                    return replace(news, templates=tuple(merged_differently))
            return News(templates=tuple(merged_differently), is_written=True)
        except StoreUnavailable:
            self._wait(scope, writes)
            raise

    async def flush(self) -> dict[str, News]:
        """Write what waits, of each scope at most 256 templates a call; returns what was learned by the way."""
        return {scope: await self.catch_up(scope) for scope in {scope for scope, _ in self._pending}}

    async def listen(self, scopes: Collection[str]) -> AsyncGenerator[tuple[str, News], None]:
        """Yield what other workers do as they do it, for ever.

        An outage is waited for. When Redis is back, what was missed comes, and what waits is written.
        """
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            try:
                for scope in await self._changed(scopes):
                    if news := await self.catch_up(scope):
                        yield scope, news
                for scope, news in (await self.flush()).items():
                    if news:
                        yield scope, news
                pause = _SHORTEST_PAUSE_SECONDS
            except StoreUnavailable:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    # What operators do.

    async def scopes(self) -> list[StoredScope]:
        """List every scope under every parser version, in order of name."""
        stored = []
        with self._seam():
            async for key in self._client.scan_iter(match=f"{_escaped(self._prefix)}:*:templates", count=_SCAN_PAGE):
                if (names := _SCOPE_KEY.fullmatch(key.decode()[len(self._prefix) :])) and await self._client.type(
                    key
                ) == b"hash":
                    scope, version = (unquote(name) for name in names.groups())
                    count = await self._client.hlen(key)
                    stored.append(StoredScope(scope=scope, parser_version=version, templates=count))
        return sorted(stored, key=lambda one: (one.scope, one.parser_version))

    async def templates(self, scope: str) -> AsyncIterator[Template]:
        """Go through the templates of a scope, in no order; poisoned ones are removed."""
        key = self._key(scope, "templates")
        with self._seam():
            async for template_id, packed in self._client.hscan_iter(key, count=_SCAN_PAGE):
                template = unpack_stored(packed)
                if template is not None and template.id.encode() == template_id:
                    yield template
                else:
                    self.poisoned += 1
                    await self._client.hdel(key, template_id)

    async def newest(self, scope: str, most: int) -> list[Template]:
        """Give the templates of the last `most` announcements of a scope, new and changed ones, the oldest first."""
        with self._seam():
            sequence: Any = await self._client.hget(self._key(scope, "state"), "sequence")
            first = max(0, int(sequence or 0) - most) + 1
            entries: Any = await self._client.xrange(self._key(scope, "announcements"), f"{first}-0", count=most)
        latest: dict[str, Template | None] = {}
        for _, fields in entries:
            if (packed := fields.get(b"template")) is not None:
                self._unpack_into(latest, packed)
        return [template for template in latest.values() if template is not None]

    async def put(self, scope: str, templates: Sequence[Template], *, is_merged: bool = False) -> int:
        """Write templates in place of what is there, or merged with it, and tell the workers; returns how many were.

        Those that are too large, or for which the scope has no room, are left out.
        """
        fit = [one for one in templates if len(pack_stored(one)) <= MAX_STORED_BYTES]
        mode = Mode.WRITE_BACK if is_merged else Mode.REPLACE
        refused = 0
        for start in range(0, len(fit), _MOST_WRITTEN):
            writes = [_Learned(template=one) for one in fit[start : start + _MOST_WRITTEN]]
            refused += (await self._exchange(scope, mode, writes))[1].refused
        return len(fit) - refused

    async def remove(self, scope: str, template_ids: Iterable[str]) -> int:
        """Remove templates and tell the workers; returns how many were there."""
        with self._seam():
            removed = await self._remove_script(
                keys=self._keys(scope), args=[self._limits.announcements, *template_ids]
            )
        return int(removed)

    async def drop(self, scope: str) -> None:
        """Forget a scope under this parser version: what an old checkpoint leaves behind."""
        with self._seam():
            await self._client.delete(*self._keys(scope))

    async def call_reload(self, scope: str = ALL_SCOPES) -> None:
        """Have every worker of a scope, of all by default, read its settings and its checkpoint again."""
        with self._seam():
            await self._client.xadd(call_key(self._prefix, scope), {"reload": scope}, maxlen=1, approximate=False)

    # How it talks.

    def _key(self, scope: str, name: str) -> str:
        version = self._scope_versions.get(scope, self.parser_version)
        return f"{self._prefix}:{{{quote(scope, safe='')}}}:{quote(version, safe='')}:{name}"

    def _keys(self, scope: str) -> list[str]:
        return [self._key(scope, name) for name in _KEY_TYPES]

    @contextmanager
    def _seam(self) -> Iterator[None]:
        """Translate what goes wrong between here and Redis; while it is paused, don't even try."""
        if time.monotonic() < self._paused_until:
            raise StoreUnavailable("Redis failed a moment ago and is not asked again yet")
        cancellations = _cancellations()
        try:
            yield
        except (RedisError, OSError) as exc:
            self.failures += 1
            self.is_away = True
            self._paused_until = time.monotonic() + self._limits.pause_seconds
            raise StoreUnavailable(
                f"Redis does not answer as it should: {type(exc).__name__}: {exc}; check the address and its log"
            ) from exc
        # Before Python 3.12 asyncio.wait_for, by which the client sends, may lose a cancellation.
        if _cancellations() > cancellations:
            raise asyncio.CancelledError
        self.is_away = False

    async def _exchange(
        self, scope: str, mode: Mode, writes: Sequence[_Write] = (), fingerprints: Sequence[int] = ()
    ) -> tuple[_Seen, _Reply]:
        """Run the script; returns what had been seen when it was sent, and its reply."""
        sent = self._seen.setdefault(scope, _Seen(_NOTHING_SEEN, 0))
        limits = self._limits
        arguments: list[Any] = [*sent, int(mode), secrets.token_hex(8)]
        arguments += [limits.announcements, limits.templates, limits.fingerprints]
        arguments += [len(fingerprints), *map(_fingerprint_bytes, fingerprints)]
        arguments += [argument for one in writes for argument in one.arguments()]
        with self._seam():
            try:
                answer = await self._exchange_script(keys=self._keys(scope), args=arguments)
            except ResponseError as exc:
                if "WRONGTYPE" not in str(exc):
                    raise
                await self._delete_wrong_types(scope)
                answer = await self._exchange_script(keys=self._keys(scope), args=arguments)
        reply = _Reply(*answer)
        self.refused += reply.refused
        if reply.is_written:
            for one in writes:
                if self._pending.get((scope, _id_of(one))) is one:
                    del self._pending[scope, _id_of(one)]
        return sent, reply

    async def _delete_wrong_types(self, scope: str) -> None:
        for name, expected in _KEY_TYPES.items():
            key = self._key(scope, name)
            if await self._client.type(key) not in {expected, b"none"}:
                self.poisoned += 1
                await self._client.delete(key)

    async def _news(self, scope: str, sent: _Seen, reply: _Reply) -> News:
        """Turn a reply into news, reading all templates where announcements don't tell everything."""
        if reply.must_reload:
            templates = tuple([template async for template in self.templates(scope)])
            # What was announced while the templates were read comes once more with the next call.
            self._seen[scope] = _Seen(reply.epoch, reply.sequence)
            was_emptied = sent.epoch not in {_NOTHING_SEEN, b""}
            return News(templates=templates, was_emptied=was_emptied, is_written=bool(reply.is_written))
        seen = self._seen[scope]
        latest: dict[str, Template | None] = {}
        replaced: dict[str, str] = {}
        for sequence, kind, payload in zip(*(iter(reply.missed),) * 3, strict=True):
            if seen.epoch == sent.epoch and int(sequence) <= seen.sequence:
                continue  # another call, sent at the same time, brought it already
            if kind == b"removed":
                latest[payload.decode(errors="replace")] = None
            elif kind == b"replaced":
                template_id, _, other_id = payload.decode(errors="replace").partition(" ")
                latest.pop(template_id, None)
                replaced[template_id] = other_id
            else:
                self._unpack_into(latest, payload)
        for packed in (*reply.corrected, *filter(None, reply.found)):
            self._unpack_into(latest, packed)
        if seen.epoch == sent.epoch:
            self._seen[scope] = _Seen(reply.epoch, max(reply.sequence, seen.sequence))
        return News(
            templates=tuple(template for template in latest.values() if template is not None),
            removed=tuple(template_id for template_id, template in latest.items() if template is None),
            replaced={one: other for one, other in replaced.items() if one not in latest},
            is_written=bool(reply.is_written),
        )

    def _unpack_into(self, latest: dict[str, Template | None], packed: bytes) -> None:
        template = unpack_stored(packed)
        if template is None:
            self.poisoned += 1
        else:
            latest[template.id] = template

    def _wait(self, scope: str, writes: Sequence[_Write]) -> None:
        for one in writes:
            _merge(self._pending, (scope, _id_of(one)), one)
        while len(self._pending) > self._max_pending:
            del self._pending[next(iter(self._pending))]
            self.dropped += 1

    async def _changed(self, scopes: Collection[str]) -> list[str]:
        """Wait for an announcement that is new; after a while without one, look at every scope all the same."""
        if unseen := [scope for scope in scopes if scope not in self._seen]:
            return unseen
        streams = {self._key(scope, "announcements"): scope for scope in scopes}
        after: Any = {key: f"{self._seen[scope].sequence}-0" for key, scope in streams.items()}
        calls = self._call_keys(scopes)
        if self._calls is not None:
            after |= {key: self._calls.after(key) for key in calls}
        with self._seam():
            try:
                announced: Any = await self._listening_client.xread(after, count=1, block=int(1000 * _LISTEN_SECONDS))
            except ResponseError as exc:
                if "WRONGTYPE" not in str(exc) or not await self._delete_wrong_calls(calls):
                    raise
                return list(scopes)
        for key, entries in announced:
            if self._calls is not None and key.decode() in calls:
                self._calls.take(key.decode(), calls[key.decode()], entries[-1][0].decode())
        changed = [streams[key.decode()] for key, _ in announced if key.decode() in streams]
        return changed if announced else list(scopes)

    def _call_keys(self, scopes: Collection[str]) -> dict[str, str]:
        """Give the streams of calls that concern `scopes`, each with its scope."""
        if self._calls is None:
            return {}
        return {call_key(self._prefix, scope): scope for scope in (ALL_SCOPES, *scopes)}

    async def _delete_wrong_calls(self, keys: Collection[str]) -> int:
        """Delete what stands in the place of a stream of calls; return how many."""
        wrong = [key for key in keys if await self._client.type(key) not in {b"stream", b"none"}]
        self.poisoned += len(wrong)
        return int(await self._client.delete(*wrong)) if wrong else 0


def _id_of(write: _Write) -> str:
    return write.template.id if isinstance(write, _Learned) else write.template_id


def _merge(waiting: MutableMapping[_Key, _Write], key: _Key, write: _Write) -> None:
    """Add to what waits; the fingerprints of a template that waits already are kept."""
    before = waiting.pop(key, None)
    if isinstance(write, _Learned) and isinstance(before, _Learned):
        fingerprints = dict.fromkeys((*write.fingerprints, *before.fingerprints))
        write = replace(write, fingerprints=tuple(fingerprints)[:_MOST_FINGERPRINTS])
    waiting[key] = write


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _fingerprint_bytes(fingerprint: int) -> bytes:
    return int(fingerprint).to_bytes(8, "big")


def _escaped(pattern: str) -> str:
    """Let Redis take each character of a key's pattern as it is."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", pattern)
