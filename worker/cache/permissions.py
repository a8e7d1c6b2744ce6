"""Tries whether Redis lets a worker in, and lets it do all that it does. Knows nothing of templates."""

import hashlib
import math
import secrets
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.cache.answers import answers_key
from worker.cache.calls import ALL_SCOPES, call_key
from worker.cache.scripts import REMOVE
from worker.errors import StoreUnavailable, Unreachable
from worker.settings import Redis
from worker.tls import context_of, fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server that lets the worker do all it needs has said."""

    #: Of a round trip.
    milliseconds: float
    #: None where the user may not ask for it.
    version: str | None


def ask(settings: Redis, scope: str, *, has_tiers: bool = False) -> Answer:
    """Try every command of a worker once, on keys of their own among those of `scope`, which are gone afterwards.

    With `has_tiers`, those too by which workers answer each other.

    Raises:
        Unreachable: the server refuses its certificate, its user, or commands, which are all named.
        StoreUnavailable: it does not answer; workers go on without it.

    """
    if settings.tls:
        context_of(settings, "redis")
    client = redis.Redis.from_url(
        str(settings.address),
        socket_connect_timeout=settings.connect_timeout_seconds,
        socket_timeout=max(1.0, settings.timeout_seconds),
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **settings.tls,
    )
    try:
        name = f"check-{secrets.token_hex(4)}"
        key = f"{settings.prefix}:{{{quote(scope, safe='')}}}:{name}"
        commands = [*_commands(key, [call_key(settings.prefix, called) for called in (ALL_SCOPES, scope)])]
        if has_tiers:
            commands += _answer_commands(answers_key(settings.prefix, name))
        return _ask(client, settings.prefix, commands)
    except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as exc:
        raise Unreachable(
            f"Redis refuses the user: {str(exc).rstrip('.')}; look at redis.url and redis.password"
        ) from exc
    except redis.RedisError as exc:
        broken = exc.__context__
        if isinstance(broken, ssl.SSLError):
            own = settings.ssl_certificate_location or "no certificate"
            ended = f"ends the TLS connection with {own}; look at redis.url and redis.ssl_certificate_location"
            raise Unreachable(f"Redis {fault(broken, settings, 'redis') or ended}") from exc
        # The address may hold a password; Redis's own words don't.
        raise StoreUnavailable(f"{type(exc).__name__}: {exc}") from exc
    finally:
        client.close()


def _ask(client: redis.Redis, prefix: str, commands: Sequence[tuple[str, tuple[str | int, ...]]]) -> Answer:
    denied: dict[str, None] = {}
    best = math.inf
    for permission, command in commands:
        began = time.perf_counter()
        try:
            client.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.exceptions.NoPermissionError as exc:
            denied[permission if "command" in str(exc) else f"~{prefix}:*"] = None
        except redis.ResponseError:
            if not denied:  # else it may come of a command before it that was denied
                raise
        best = min(best, time.perf_counter() - began)
    if denied:
        raise Unreachable(f"Redis denies the user what a worker needs: {' '.join(denied)}; see docs/security.md")
    try:
        version = str(client.info("server")["redis_version"])
    except redis.exceptions.NoPermissionError:
        version = None
    return Answer(milliseconds=best * 1000, version=version)


def _answer_commands(key: str) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Give what workers of two tiers need beside, as `_commands`."""
    yield "+rpush", ("RPUSH", key, "answer")
    yield "+expire", ("EXPIRE", key, 1)
    yield "+blpop", ("BLPOP", key, 1)
    yield "+lpop", ("LPOP", key, 1)
    yield "+del", ("DEL", key)


def _commands(key: str, calls: Sequence[str]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Give each permission as an ACL has it, with a command that needs it."""
    state, stream, young, old = (f"{key}:{name}" for name in ("state", "announcements", "young", "old"))
    yield "+hset", ("HSET", state, "epoch", "")
    yield "+hget", ("HGET", state, "epoch")
    yield "+hlen", ("HLEN", state)
    yield "+hscan", ("HSCAN", state, 0)
    yield "+hdel", ("HDEL", state, "epoch")
    yield "+xadd", ("XADD", stream, "1-0", "template", "")
    yield "+xrange", ("XRANGE", stream, "-", "+")
    yield "+xread", ("XREAD", "STREAMS", stream, 0)
    yield "+type", ("TYPE", stream)
    for call in calls:
        yield "+type", ("TYPE", call)  # of keys that are the worker's to read, whatever stands there
    yield "+hset", ("HSET", young, "fingerprint", "id")
    yield "+rename", ("RENAME", young, old)
    yield "+script|load", ("SCRIPT", "LOAD", REMOVE)
    yield (
        "+evalsha",
        ("EVALSHA", hashlib.sha1(REMOVE.encode(), usedforsecurity=False).hexdigest(), 3, state, state, stream, 1),
    )
    yield "+del", ("DEL", state, stream, young, old)
