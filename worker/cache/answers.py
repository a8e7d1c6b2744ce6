"""Answers of parser workers on their way to who asked, in Redis: a list for each worker that asks.

`logloom:answers:ASKER` holds msgpack of a digest and what became of the message that it stands for: a template as
`stored.py` packs it, or the reason and the words of a refusal. Whoever asked takes an answer off its list once. A list
that nobody takes from any more goes by itself. An answer that Redis loses is asked for again: `worker.requests`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from worker.cache.connecting import client_of
from worker.cache.stored import pack_stored, unpack_stored
from worker.errors import BadInput, StoreUnavailable
from worker.parsing.templates import Template

#: How long answers wait for who asked, and how long who asks waits for one at a time.
_KEPT_SECONDS, _TAKE_SECONDS = 600, 1.0
_MOST_TAKEN = 1000
_REFUSALS = {error.reason: error for error in BadInput.__subclasses__()}


@dataclass(frozen=True, slots=True)
class NotServed:
    """No answer: these parsers are of another version, or do not know the scope. Others may come."""

    why: str


#: What became of a message.
Answered: TypeAlias = Template | BadInput | NotServed


def answers_key(prefix: str, asker: str) -> str:
    """Name the list of the answers to `asker`."""
    return f"{prefix}:answers:{asker}"


def digest_of(scope: str, version: str, message: bytes) -> bytes:
    """Name a message of a scope under a version of the parser, 16 bytes."""
    digest = hashlib.blake2b(message, digest_size=16)
    for part in (scope.encode(), version.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def pack_answer(digest: bytes, answer: Answered) -> bytes:
    """Pack an answer."""
    if isinstance(answer, Template):
        return bytes(msgpack.packb([digest, pack_stored(answer)]))
    if isinstance(answer, NotServed):
        return bytes(msgpack.packb([digest, "", answer.why]))
    return bytes(msgpack.packb([digest, answer.reason, str(answer)]))


def unpack_answer(packed: bytes) -> tuple[bytes, Answered] | None:
    """Unpack what `pack_answer` made; None for anything else, anyone may have written it."""
    try:
        match msgpack.unpackb(packed):
            case [bytes() as digest, bytes() as stored]:
                template = unpack_stored(stored)
                return None if template is None else (digest, template)
            case [bytes() as digest, "", str() as why]:
                return digest, NotServed(why)
            case [bytes() as digest, str() as reason, str() as why] if reason in _REFUSALS:
                return digest, _REFUSALS[reason](why)
    except (ValueError, msgpack.UnpackException):
        pass  # poisoned, as the rest
    return None


class AnswerBox:
    """Gives answers and takes them. Every call may raise StoreUnavailable."""

    def __init__(self, client: Redis, taking_client: Redis, *, prefix: str) -> None:
        """Take over two clients; see `connect`."""
        #: Values in a list that no worker wrote.
        self.poisoned = 0
        self._client = client
        self._taking_client = taking_client
        self._prefix = prefix

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        prefix: str,
        connect_timeout_seconds: float,
        timeout_seconds: float,
        tls: Mapping[str, Any] | None = None,
    ) -> "AnswerBox":
        """Connect, on first use, to `url`, as `TemplateStore.connect`."""
        clients = [
            client_of(
                url,
                connections=connections,
                timeout_seconds=timeout_seconds,
                connect_timeout_seconds=connect_timeout_seconds,
                answer_seconds=seconds + timeout_seconds,
                tls=tls,
            )
            for connections, seconds in ((4, 0.0), (1, _TAKE_SECONDS))
        ]
        return cls(*clients, prefix=prefix)

    async def give(self, asker: str, answers: Sequence[bytes]) -> None:
        """Put packed answers on the list of `asker`."""
        key = answers_key(self._prefix, asker)
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.rpush(key, *answers)
                pipeline.expire(key, _KEPT_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def take(self, asker: str) -> list[tuple[bytes, Answered]]:
        """Wait a while for answers to `asker`, and take all that are there; none where none came."""
        key = answers_key(self._prefix, asker)
        try:
            first: Any = await self._taking_client.blpop([key], timeout=_TAKE_SECONDS)
            if first is None:
                return []
            more: Any = await self._taking_client.lpop(key, _MOST_TAKEN)
        except ResponseError as exc:
            if "WRONGTYPE" not in str(exc):
                raise _unavailable(exc) from exc
            self.poisoned += 1
            await self._delete(key)
            return []
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc
        found = [unpack_answer(packed) for packed in (first[1], *(more or ()))]
        self.poisoned += found.count(None)
        return [answer for answer in found if answer is not None]

    async def _delete(self, key: str) -> None:
        try:
            await self._client.delete(key)
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def close(self) -> None:
        """Close the connections, those that break on the way too."""
        for client in (self._client, self._taking_client):
            try:
                await client.aclose()
            except (RedisError, OSError):
                continue  # it is gone either way


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"Redis does not answer as it should: {type(error).__name__}: {error}")
