"""Micro-batches: the distinct misses of all callers go to the parser together, in one thread off the event loop.

Misses of different prompts share a micro-batch; the same message under two prompts is two misses.
A micro-batch closes when it has enough tokens or rows, or when its oldest message has waited for the deadline. While
the parser is busy, misses gather, so that load makes the micro-batches larger by itself.

A micro-batch that the parser fails at is asked again in halves, down to the message that is to blame: it gets the error
for an answer, and the others their templates. One message alone is to blame only if the parser still reads a witness,
and no more than a few are in a row: else it is the parser that is broken, and its error reaches every caller, as an
error of the world or the lack of the machine's memory does at once. One poisoned message so stops no worker, and a
broken model makes no topic of dead letters.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeAlias

from worker.errors import BadInput, BadWorld, ModelFailed, ModelHangs
from worker.parsing.parser import Parser
from worker.parsing.templates import Template

#: What tells misses apart: prompt and message.
_Asked: TypeAlias = tuple[str | None, bytes]

#: What comes of a message: its template, None where none fits, or why the parser can't read it.
Answer: TypeAlias = Template | BadInput | None

#: A token of a log has about this many bytes. Only to bound a micro-batch: the parser splits it by true tokens.
_BYTES_PER_TOKEN = 3

#: Read without fail by a parser that works; no known template is like it.
_WITNESS = b"witness 7 speaks for the model"
#: Most messages in a row that are to blame for what the parser raises.
_MOST_BLAMED = 16


class OnMicroBatch(Protocol):
    """Told, in the parser's thread, of each micro-batch that it answered."""

    def __call__(self, *, rows: int, tokens: int, seconds: float) -> None:
        """Count `rows` messages of `tokens` sub-words that took `seconds` of the parser."""
        ...


class Watch(Protocol):
    """Told for whom each micro-batch worked."""

    def asker(self) -> object | None:
        """Give what stands for whoever asks now; None for nobody who is to be told of."""

    def answered(self, askers: Sequence[object], *, rows: int, tokens: int, seconds: float) -> None:
        """Take note, in the parser's thread, of a micro-batch with messages of `askers`, before they are answered."""


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
    answer: asyncio.Future[Answer]
    #: When it came, by the event loop's clock.
    since: float
    #: What stands for those who ask, in the eyes of a watch.
    askers: list[object] = field(default_factory=list)

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
        timeout_seconds: float | None = None,
        on_micro_batch: OnMicroBatch | None = None,
        on_hang: Callable[[], None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Ask `parser`; callers wait while `max_waiting` messages already do.

        A parser that is at one micro-batch for more than `timeout_seconds` hangs: `on_hang` is told first, then all
        callers get ModelHangs. Its thread can't be ended but with the process.
        """
        self.counts = MicroBatchCounts()
        self._parser = parser
        self._max_tokens = max_tokens
        self._max_rows = max_rows
        self._deadline_seconds = deadline_seconds
        self._max_waiting = max_waiting
        self._timeout_seconds = timeout_seconds
        self._on_micro_batch = on_micro_batch
        self._on_hang = on_hang
        self._watch = watch
        #: Messages that were to blame since one was parsed; the parser's thread counts.
        self._blamed = 0
        #: Misses, oldest first, and tokens of those that wait.
        self._waiting: dict[_Asked, _Miss] = {}
        self._in_parser: dict[_Asked, _Miss] = {}
        self._waiting_tokens = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parser")
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False
        self._hangs = False

    @property
    def waiting(self) -> int:
        """Messages that wait for a micro-batch."""
        return len(self._waiting)

    async def templates(self, messages: Sequence[bytes], *, prompt: str | None = None) -> list[Answer]:
        """Return the template of each message, in the order of `messages`; None: no template fits.

        Equal messages are asked once, also between callers. A message that alone makes the parser fail has the error
        for an answer; what the parser raises for all is raised.

        Raises:
            RuntimeError: the micro-batcher is closed.
            ModelHangs: the parser gave no answer in time.

        """
        answers: dict[bytes, asyncio.Future[Answer]] = {}
        for message in dict.fromkeys(messages):
            answers[message] = await self._ask(message, prompt)
        if answers:
            # `wait` leaves the answers alone when this caller is cancelled: others may wait for them.
            await asyncio.wait(answers.values())
        return [answers[message].result() for message in messages]

    async def close(self) -> None:
        """Refuse new messages, answer those that wait, and end the thread unless it hangs."""
        self._is_closed = True
        self._changed.set()
        self._room.set()
        if self._running is not None:
            await self._running
        self._thread.shutdown(wait=not self._hangs)

    async def _ask(self, message: bytes, prompt: str | None) -> asyncio.Future[Answer]:
        """Queue a message unless it is on its way already; wait for room first."""
        while True:
            if self._is_closed:
                raise RuntimeError("the micro-batcher is closed")
            known = self._waiting.get((prompt, message)) or self._in_parser.get((prompt, message))
            if known is not None:
                self._note_asker(known)
                return known.answer
            if self.waiting < self._max_waiting:
                break
            self._room.clear()
            await self._room.wait()
        loop = asyncio.get_running_loop()
        miss = _Miss(prompt=prompt, message=message, answer=loop.create_future(), since=loop.time())
        # An error that nobody is left to hear must not be reported as forgotten.
        miss.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._note_asker(miss)
        self._waiting[prompt, message] = miss
        self._waiting_tokens += miss.tokens
        self._changed.set()
        if self._running is None:
            # In no caller's context: the first one's would be taken for that of all.
            self._running = asyncio.create_task(self._run(), name="micro-batches", context=Context())
        return miss.answer

    def _note_asker(self, miss: _Miss) -> None:
        if self._watch is not None and (asker := self._watch.asker()) is not None:
            miss.askers.append(asker)

    async def _run(self) -> None:
        """Make micro-batches until closed and empty, or until the parser hangs."""
        loop = asyncio.get_running_loop()
        while not self._hangs:
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
        done, _ = await asyncio.wait([parsing], timeout=self._timeout_seconds)
        if not done:
            self._give_up()
            return
        error = parsing.exception()
        self._in_parser.clear()
        for place, miss in enumerate(misses):
            if error is None:
                miss.answer.set_result(parsing.result()[place])
            else:
                miss.answer.set_exception(error)

    def _give_up(self) -> None:
        """Tell everyone that the parser hangs, and ask it no more."""
        self._hangs = self._is_closed = True
        if self._on_hang is not None:
            self._on_hang()
        error = ModelHangs(
            f"the model was at one micro-batch of {len(self._in_parser)} messages for more than "
            f"{self._timeout_seconds:g} s (model.timeout_seconds)"
        )
        for miss in (*self._in_parser.values(), *self._waiting.values()):
            miss.answer.set_exception(error)
        self._waiting.clear()
        self._room.set()

    def _parse(self, misses: Sequence[_Miss]) -> list[Answer]:
        """Parse in the thread, and count."""
        tokens, began = self._parser.tokens, time.perf_counter()
        answers = self._answers(misses)
        seconds = time.perf_counter() - began
        tokens = self._parser.tokens - tokens
        self.counts.micro_batches += 1
        self.counts.rows += len(misses)
        self.counts.tokens += tokens
        self.counts.model_seconds += seconds
        if self._on_micro_batch is not None:
            self._on_micro_batch(rows=len(misses), tokens=tokens, seconds=seconds)
        if self._watch is not None:
            # Copies: the event loop adds others meanwhile.
            askers = dict.fromkeys(asker for miss in misses for asker in miss.askers.copy())
            self._watch.answered([*askers], rows=len(misses), tokens=tokens, seconds=seconds)
        return answers

    def _answers(self, misses: Sequence[_Miss]) -> list[Answer]:
        """Ask for `misses` together and, where that fails, in halves."""
        try:
            answers = self._asked([miss.message for miss in misses], [miss.prompt for miss in misses])
        except (BadWorld, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, one message may be all that is wrong
            if len(misses) == 1:
                self._acquit(misses[0].prompt, error)
                return [error if isinstance(error, BadInput) else ModelFailed(f"the model fails: {error!r}")]
        else:
            self._blamed = 0
            return answers
        middle = len(misses) // 2
        return [*self._answers(misses[:middle]), *self._answers(misses[middle:])]

    def _acquit(self, prompt: str | None, error: Exception) -> None:
        """Raise `error`, which one message alone gave, where the parser rather than the message is to blame."""
        self._blamed += 1
        if self._blamed > _MOST_BLAMED:
            raise error
        try:
            self._asked([_WITNESS], [prompt])
        except Exception as broken:
            raise error from broken

    def _asked(self, messages: Sequence[bytes], prompts: Sequence[str | None]) -> list[Answer]:
        templates = self._parser.parse(messages, prompt=prompts)
        if len(templates) != len(messages):
            raise ValueError(f"the parser gave {len(templates)} templates for {len(messages)} messages")
        return [*templates]
