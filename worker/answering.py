"""What a parser worker does with a batch: requests in, templates for who asked out. Makes no events.

For workers of role `parse`. A batch is acknowledged when Redis has all its answers, so that no request is lost; one
that is answered twice costs nothing.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worker.cache.answers import AnswerBox, Answered, NotServed, digest_of, pack_answer
from worker.cache.misses import Misses
from worker.codec.dead_letters import DeadLetter
from worker.columns.headers import HeaderSplitter
from worker.columns.layout import NO_TIME, NONE, Records, Texts
from worker.errors import StoreUnavailable, Undecodable
from worker.hops import NO_TRACING, Tracing, asking_redis, ending, hop, note
from worker.metrics import Metrics
from worker.pipeline import Outputs, bury, dead_letter, value_of
from worker.requests import Request
from worker.transport.acknowledgements import Acknowledge
from worker.transport.batches import FetchedBatch, TopicPartition, read_records
from worker.transport.outlet import Outlet

#: The name of requests among sources, in metrics and in dead letters.
REQUESTS = "requests"
_PAUSE_SECONDS = 0.2
#: A message from end to end: no header is split.
_WHOLE = HeaderSplitter([], "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringParts:
    """What requests are answered with: a reload exchanges them all at once."""

    #: What answers the misses of each scope, and what decides its templates.
    misses: Mapping[str, Misses]
    versions: Mapping[str, str]
    #: Takes the answers.
    box: AnswerBox
    outputs: Outputs


class Answering:
    """The path of requests. What it raises stops the process."""

    def __init__(
        self, parts: AnsweringParts, *, outlet: Outlet, metrics: Metrics, tracing: Tracing = NO_TRACING
    ) -> None:
        """Answer with `parts`; what is no request is a dead letter."""
        self._parts = parts
        self._outlet = outlet
        self._metrics = metrics
        self._tracing = tracing
        #: Batches in work, each with what it is answered with.
        self._in_work: dict[TopicPartition, AnsweringParts] = {}
        self._changed = asyncio.Condition()

    @property
    def batches_in_flight(self) -> int:
        """Batches that are not acknowledged."""
        return len(self._in_work)

    async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
        """Answer the requests of a batch; return when they are with who asked."""
        began, parts = time.monotonic(), self._parts
        self._in_work[batch.topic_partition] = parts
        try:
            records = read_records(batch)
            self._metrics.fetched(REQUESTS, batch.topic, records=records.offset.size, size_bytes=len(batch.data))
            traced = self._tracing.requests(
                *batch.topic_partition, records, offset=batch.fetch_offset, since_ns=batch.fetched_ns
            )
            with traced, ending():
                requests, letters = _read(batch, records)
                await self._answer(parts, requests)
                await self._bury(parts, letters)
        finally:
            async with self._changed:
                del self._in_work[batch.topic_partition]
                self._changed.notify_all()
        acknowledge(batch.next_offset)
        self._metrics.batch_done(time.monotonic() - began)

    def exchange(self, parts: AnsweringParts) -> None:
        """Answer the next batch of each partition with `parts`; one that is in work is finished with the former."""
        self._parts = parts

    async def settle_in(self) -> None:
        """Return when nothing is answered with former parts any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: all(parts is self._parts for parts in self._in_work.values()))

    async def drain(self, partitions: frozenset[TopicPartition]) -> None:
        """Do nothing: `process` leaves nothing behind."""

    async def _answer(self, parts: AnsweringParts, requests: Sequence[Request]) -> None:
        """Answer requests, all messages of a scope together, whoever asked."""
        asked = defaultdict[str, dict[bytes, None]](dict)
        refusals = [_refusal(parts, request) for request in requests]
        for request, refusal in zip(requests, refusals, strict=True):
            if refusal is None:
                asked[request.scope].update(dict.fromkeys(request.messages))
        found = await asyncio.gather(*(_resolved(parts.misses[scope], [*asked[scope]]) for scope in asked))
        by_scope = dict(zip(asked, found, strict=True))
        note(requests=len(requests), messages=sum(map(len, by_scope.values())))
        packed = defaultdict[str, list[bytes]](list)
        for request, refusal in zip(requests, refusals, strict=True):
            for message in request.messages:
                answer = by_scope[request.scope][message] if refusal is None else refusal
                digest = digest_of(request.scope, request.version, message)
                packed[request.asker].append(pack_answer(digest, answer))
                self._metrics.answer(is_served=refusal is None)
        for asker, answers in packed.items():
            await self._give(parts.box, asker, answers)

    async def _give(self, box: AnswerBox, asker: str, answers: Sequence[bytes]) -> None:
        """Give answers, when Redis is back if it is away: until then nothing more is fetched of the partition."""
        while True:
            try:
                with asking_redis("answers"):
                    return await box.give(asker, answers)
            except StoreUnavailable:
                self._metrics.redis_failed("answers")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _bury(self, parts: AnsweringParts, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        writing = await self._outlet.enter()
        await asyncio.gather(*[await bury(writing.sender, letter, parts.outputs) for letter in letters])
        for letter in letters:
            self._metrics.dead(REQUESTS, letter.reason)


def _refusal(parts: AnsweringParts, request: Request) -> NotServed | None:
    """Tell why a request is not answered here: who asks may be of another version for a while, as all are renewed."""
    version = parts.versions.get(request.scope)
    if version is None:
        return NotServed(f"the parsers have no scope {request.scope}; they need the same [sources]")
    if version != request.version:
        return NotServed(f"the parsers serve version {version}; renew or reload whichever is older")
    return None


async def _resolved(misses: Misses, messages: Sequence[bytes]) -> dict[bytes, Answered]:
    """Find the template of each message, or why there is none."""
    texts = _texts_of(messages)
    headers = _WHOLE.split(texts, np.zeros(len(messages), np.int64))
    with misses.cache.in_use():
        with hop("look up"):
            matches = misses.cache.look_up(texts, headers)
        matches = await misses.resolve(texts, headers, matches)
        rows = matches.template.tolist()
        return {
            message: misses.why(message) if row < 0 else misses.cache.template(row)
            for message, row in zip(messages, rows, strict=True)
        }


def _texts_of(messages: Sequence[bytes]) -> Texts:
    """Lay messages out as texts that came in no envelope."""
    count = len(messages)
    lengths = np.fromiter(map(len, messages), np.int64, count)
    nothing = np.zeros(count, np.int64)
    return Texts(
        buffer=np.frombuffer(bytearray(b"".join(messages)), np.uint8),
        start=np.cumsum(lengths) - lengths,
        length=lengths,
        record=np.arange(count, dtype=np.int64),
        place=np.full(count, NONE, np.int64),
        attributes_buffer=np.empty(0, np.uint8),
        attributes_start=nothing,
        attributes_length=nothing,
        timestamp=np.full(count, NO_TIME, np.int64),
        severity=np.zeros(count, np.uint8),
    )


def _read(batch: FetchedBatch, records: Records) -> tuple[list[Request], list[DeadLetter]]:
    """Read the requests of a batch; what is none becomes a dead letter, but a null value, which is nothing."""
    requests, letters = list[Request](), list[DeadLetter]()
    for row in range(records.offset.size):
        value = value_of(records, row)
        if value is None:
            continue
        try:
            requests.append(Request.unpack(value))
        except Undecodable as error:
            partition = batch.topic_partition
            letters.append(dead_letter(REQUESTS, partition, records, row, reason=error.reason, error=str(error)))
    return requests, letters
