"""Hands misses over to parser workers: by a Kafka topic there, by a list in Redis back. Knows nothing of caches.

For workers of role `match`, which load no model. What is asked is asked again until it is answered: parsers may be
restarted, Redis may lose an answer. Until then the batch that needs it waits, and in the end fetching does; known lines
of other partitions go on.
"""

import asyncio
import re
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgpack
import structlog

from worker.cache.answers import AnswerBox, NotServed, digest_of
from worker.errors import StoreUnavailable, Undecodable, Unparsable
from worker.hops import TRACEPARENT, in_work, sending
from worker.metrics import Metrics
from worker.parsing.microbatch import Answer
from worker.transport.producer import RecordBatchProducer

_log = structlog.get_logger(__name__)

#: What a request takes beside its messages, and each message beside its bytes, at most.
_OVERHEAD_BYTES, _MESSAGE_OVERHEAD_BYTES = 1024, 8
_PAUSE_SECONDS = 0.2
_DIGITS = re.compile(rb"[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Messages of one scope that a worker asks the templates of."""

    #: Names the list that the answers go to.
    asker: str
    scope: str
    #: What decides the templates of the scope, as the asker has it.
    version: str
    messages: Sequence[bytes]

    def pack(self) -> bytes:
        """Make the value of a Kafka record: a format's number, and the rest in order."""
        return bytes(msgpack.packb([1, self.asker, self.scope, self.version, [*self.messages]]))

    @classmethod
    def unpack(cls, packed: bytes) -> "Request":
        """Read the value of a record. Raises Undecodable."""
        try:
            found = msgpack.unpackb(packed)
        except (ValueError, msgpack.UnpackException) as exc:
            raise Undecodable(f"no request: {exc!r}") from exc
        match found:
            case [1, str() as asker, str() as scope, str() as version, list() as messages] if all(
                isinstance(message, bytes) for message in messages
            ):
                return cls(asker=asker, scope=scope, version=version, messages=messages)
        raise Undecodable("no request: not made of a format, an asker, a scope, a version and messages")


@dataclass(slots=True, kw_only=True)
class _Awaited:
    """A message that was handed over."""

    scope: str
    version: str
    message: bytes
    answer: asyncio.Future[Answer]
    since: float
    #: When it was handed over last.
    asked: float
    #: How many batches wait for it.
    callers: int = 0
    #: Of the batch that asked first.
    traceparent: str | None = None


@dataclass(slots=True, kw_only=True)
class Requests:
    """What one worker asks of parser workers. Belongs to one event loop."""

    producer: RecordBatchProducer
    topic: str
    box: AnswerBox
    #: How long an answer is waited for before it is asked for again.
    retry_seconds: float
    #: Most bytes of a request.
    max_bytes: int
    metrics: Metrics
    asker: str = field(default_factory=lambda: uuid.uuid4().hex)
    _awaited: dict[bytes, _Awaited] = field(default_factory=dict)

    def of(self, scope: str, version: str) -> "ScopeRequests":
        """Give what answers the misses of a scope."""
        return ScopeRequests(requests=self, scope=scope, version=version)

    async def ask(self, scope: str, version: str, messages: Sequence[bytes]) -> list[Answer]:
        """Return what parsers make of each message, however long it takes them.

        Raises:
            DeliveryFailed: the broker does not take a request.

        """
        loop = asyncio.get_running_loop()
        digests = [digest_of(scope, version, message) for message in messages]
        new = []
        for digest, message in zip(digests, messages, strict=True):
            if digest not in self._awaited:
                now = loop.time()
                self._awaited[digest] = _Awaited(
                    scope=scope, version=version, message=message, answer=loop.create_future(), since=now, asked=now
                )
                new.append(self._awaited[digest])
            self._awaited[digest].callers += 1
        self.metrics.awaited(len(self._awaited))
        waiting = [self._awaited[digest] for digest in digests]
        try:
            with sending({self.topic: len(new)}):
                await self._send(new, again=False)
            return [await asyncio.shield(one.answer) for one in waiting]
        finally:
            for digest, one in zip(digests, waiting, strict=True):
                one.callers -= 1
                if not one.callers:
                    self._awaited.pop(digest, None)
            self.metrics.awaited(len(self._awaited))

    async def run(self) -> None:
        """Take answers for ever, and ask again for what got none.

        Raises:
            DeliveryFailed: the broker does not take a request.

        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                answers = await self.box.take(self.asker)
            except StoreUnavailable:
                self.metrics.redis_failed("answers")
                answers = []
                await asyncio.sleep(_PAUSE_SECONDS)
            for digest, answer in answers:
                awaited = self._awaited.get(digest)
                if awaited is None or awaited.answer.done():
                    continue
                if isinstance(answer, NotServed):
                    _log.warning("parsers do not answer", scope=awaited.scope, version=awaited.version, why=answer.why)
                    continue
                awaited.answer.set_result(answer)
                self.metrics.answered(loop.time() - awaited.since)
            late = loop.time() - self.retry_seconds
            await self._send(
                [one for one in self._awaited.values() if one.asked < late and not one.answer.done()], again=True
            )

    async def _send(self, awaited: Sequence[_Awaited], *, again: bool) -> None:
        """Hand messages over; those that are alike go to one partition, so that they meet the same parser."""
        if not awaited:
            return
        partitions = await self.producer.partitions_of(self.topic)
        groups = defaultdict[tuple[str, str, int, str | None], list[_Awaited]](list)
        now, parent = asyncio.get_running_loop().time(), in_work().traceparent
        for one in awaited:
            one.asked = now
            one.traceparent = one.traceparent or parent
            place = zlib.crc32(_DIGITS.sub(b"", one.message)) % partitions
            groups[one.scope, one.version, place, one.traceparent].append(one)
        sends = []
        for (scope, version, place, asked_in), members in groups.items():
            headers = [] if asked_in is None else [(TRACEPARENT, asked_in.encode())]
            for messages in self._bounded(members):
                request = Request(asker=self.asker, scope=scope, version=version, messages=messages)
                sends.append(await self.producer.send_record(self.topic, place, None, request.pack(), headers))
        self.metrics.asked(len(awaited), again=again)
        await asyncio.gather(*sends)

    def _bounded(self, members: Sequence[_Awaited]) -> Iterator[list[bytes]]:
        """Cut what is asked into requests that the broker takes; a message that fits into none is answered here."""
        room = self.max_bytes - _OVERHEAD_BYTES
        messages, size = list[bytes](), 0
        for one in members:
            taken = len(one.message) + _MESSAGE_OVERHEAD_BYTES
            if taken > room:
                one.answer.set_result(Unparsable("no template: the message is too long to be handed to a parser"))
                continue
            if messages and size + taken > room:
                yield messages
                messages, size = [], 0
            messages.append(one.message)
            size += taken
        if messages:
            yield messages


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRequests:
    """Answers the misses of one scope, as a micro-batcher does."""

    requests: Requests
    scope: str
    version: str

    async def templates(self, messages: Sequence[bytes], *, prompt: str | None = None) -> list[Answer]:
        """Return what parsers make of each message; the version stands for the prompt. Raises DeliveryFailed."""
        del prompt
        return await self.requests.ask(self.scope, self.version, messages)
