"""Micro-batches: the distinct misses of all callers go to the parser together, in one thread off the event loop.

Misses of different prompts share a micro-batch; the same message under two prompts is two misses.
A micro-batch closes when it has enough tokens or rows, or when its oldest message has waited for the deadline. While
the parser is busy, misses gather, so that load makes the micro-batches larger by itself.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeAlias

from worker.parsing.parser import Parser
from worker.parsing.templates import Template

#: What tells misses apart: prompt and message.
_Asked: TypeAlias = tuple[str | None, bytes]

#: A token of a log has about this many bytes. Only to bound a micro-batch: the parser splits it by true tokens.
_BYTES_PER_TOKEN = 3


class OnMicroBatch(Protocol):
    """Told, in the parser's thread, of each micro-batch that it answered."""

    def __call__(self, *, rows: int, tokens: int, seconds: float) -> None:
        """Count `rows` messages of `tokens` sub-words that took `seconds` of the parser."""
        ...


@dataclass(slots=True)
class MicroBatchCounts:
    """What a micro-batcher has done since its start."""

    micro_batches: int = 0
    rows: int = 0
    tokens: int = 0
    model_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Miss:
    """A message that waits for its template."""

    prompt: str | None
    message: bytes
    answer: asyncio.Future[Template | None]
    #: When it came, by the event loop's clock.
    since: float

    @property
    def tokens(self) -> int:
        """A guess of its tokens, the special ones included."""
        return 2 + -(-len(self.message) // _BYTES_PER_TOKEN)


class MicroBatcher:
    """Answers misses with templates. Belongs to one event loop."""

    def __init__(
        self,
        parser: Parser,
        *,
        max_tokens: int = 16_384,
        max_rows: int = 256,
        deadline_seconds: float = 0.005,
        max_waiting: int = 16_384,
        on_micro_batch: OnMicroBatch | None = None,
    ) -> None:
        """Ask `parser`; callers wait while `max_waiting` messages already do."""
        self.counts = MicroBatchCounts()
        self._parser = parser
        self._max_tokens = max_tokens
        self._max_rows = max_rows
        self._deadline_seconds = deadline_seconds
        self._max_waiting = max_waiting
        self._on_micro_batch = on_micro_batch
        #: Misses, oldest first, and tokens of those that wait.
        self._waiting: dict[_Asked, _Miss] = {}
        self._in_parser: dict[_Asked, _Miss] = {}
        self._waiting_tokens = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parser")
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """Messages that wait for a micro-batch."""
        return len(self._waiting)

    async def templates(self, messages: Sequence[bytes], *, prompt: str | None = None) -> list[Template | None]:
        """Return the template of each message, in the order of `messages`; None: no template fits.

        Equal messages are asked once, also between callers. Raises what the parser raised for them.

        Raises:
            RuntimeError: the micro-batcher is closed.

        """
        answers: dict[bytes, asyncio.Future[Template | None]] = {}
        for message in dict.fromkeys(messages):
            answers[message] = await self._ask(message, prompt)
        if answers:
            # `wait` leaves the answers alone when this caller is cancelled: others may wait for them.
            await asyncio.wait(answers.values())
        return [answers[message].result() for message in messages]

    async def close(self) -> None:
        """Refuse new messages, answer those that wait, and end the thread."""
        self._is_closed = True
        self._changed.set()
        self._room.set()
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    async def _ask(self, message: bytes, prompt: str | None) -> asyncio.Future[Template | None]:
        """Queue a message unless it is on its way already; wait for room first."""
        while True:
            if self._is_closed:
                raise RuntimeError("the micro-batcher is closed")
            known = self._waiting.get((prompt, message)) or self._in_parser.get((prompt, message))
            if known is not None:
                return known.answer
            if self.waiting < self._max_waiting:
                break
            self._room.clear()
            await self._room.wait()
        loop = asyncio.get_running_loop()
        miss = _Miss(prompt=prompt, message=message, answer=loop.create_future(), since=loop.time())
        # An error that nobody is left to hear must not be reported as forgotten.
        miss.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._waiting[prompt, message] = miss
        self._waiting_tokens += miss.tokens
        self._changed.set()
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="micro-batches")
        return miss.answer

    async def _run(self) -> None:
        """Make micro-batches until closed and empty."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if not self._waiting:
                if self._is_closed:
                    return
                await self._changed.wait()
                continue
            oldest = next(iter(self._waiting.values()))
            left = oldest.since + self._deadline_seconds - loop.time()
            if left > 0 and not self._is_full() and not self._is_closed:
                # At the deadline the micro-batch closes at the next turn; else more messages came, or the end.
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()
                continue
            await self._micro_batch()

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._max_rows or self._waiting_tokens >= self._max_tokens

    async def _micro_batch(self) -> None:
        """Take one micro-batch of those that wait, have it parsed, and answer."""
        tokens = 0
        for asked, miss in list(islice(self._waiting.items(), self._max_rows)):
            if tokens and tokens + miss.tokens > self._max_tokens:
                break
            tokens += miss.tokens
            self._in_parser[asked] = self._waiting.pop(asked)
        self._waiting_tokens -= tokens
        self._room.set()
        misses = list(self._in_parser.values())
        parsing = asyncio.get_running_loop().run_in_executor(self._thread, self._parse, misses)
        await asyncio.wait([parsing])
        error = parsing.exception()
        self._in_parser.clear()
        for place, miss in enumerate(misses):
            if error is None:
                miss.answer.set_result(parsing.result()[place])
            else:
                miss.answer.set_exception(error)

    def _parse(self, misses: Sequence[_Miss]) -> list[Template | None]:
        """Parse in the thread, and count."""
        messages = [miss.message for miss in misses]
        tokens, began = self._parser.tokens, time.perf_counter()
        templates = self._parser.parse(messages, prompt=[miss.prompt for miss in misses])
        seconds = time.perf_counter() - began
        tokens = self._parser.tokens - tokens
        if len(templates) != len(messages):
            raise ValueError(f"the parser gave {len(templates)} templates for {len(messages)} messages")
        self.counts.micro_batches += 1
        self.counts.rows += len(messages)
        self.counts.tokens += tokens
        self.counts.model_seconds += seconds
        if self._on_micro_batch is not None:
            self._on_micro_batch(rows=len(messages), tokens=tokens, seconds=seconds)
        return templates
