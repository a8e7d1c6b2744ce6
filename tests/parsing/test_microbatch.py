"""Micro-batches: merging, bounds, errors and the end, with a working parser that needs no model."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from worker.errors import BadInput, ModelFailed, ModelHangs, TooMuchForDevice, WrongModel
from worker.parsing.microbatch import Answer, MicroBatcher
from worker.parsing.parser import Prompts
from worker.parsing.templates import Template


class DigitParser:
    """Makes a parameter of every digit, and notes each call. It can be held back to let misses gather."""

    version = "digits-1"

    def __init__(self) -> None:
        self.tokens = 0
        self.calls: list[tuple[list[bytes], Prompts]] = []
        #: What is raised at messages that hold this.
        self.error: Exception = ZeroDivisionError("on purpose")
        self.fails_at = b"poison"
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Cut the templates; `broken` messages and `poison` raise, `odd` ones have no template."""
        self.calls.append((list(messages), prompt))
        self.started.set()
        assert self.gate.wait(30)
        self.tokens += sum(len(message.split()) for message in messages)
        if b"broken" in messages:
            raise WrongModel("broken on purpose")
        if any(self.fails_at in message for message in messages):
            raise self.error
        return [None if message == b"odd" else self.template(message) for message in messages]

    def template(self, message: bytes) -> Template:
        """Cut one template."""
        return Template.cut(message, [(i, i + 1) for i, byte in enumerate(message) if 48 <= byte <= 57])


@pytest.fixture
def parser() -> DigitParser:
    """Return a parser that answers at once."""
    return DigitParser()


@pytest.fixture
async def batcher(parser: DigitParser) -> AsyncIterator[MicroBatcher]:
    """Return a micro-batcher without a deadline to wait for."""
    batcher = MicroBatcher(parser, max_rows=4, max_tokens=1000, deadline_seconds=0)
    yield batcher
    parser.gate.set()
    await batcher.close()


async def held(parser: DigitParser, batcher: MicroBatcher) -> "asyncio.Task[list[Answer]]":
    """Keep the parser busy with one message until its gate opens."""
    parser.gate.clear()
    busy = asyncio.create_task(batcher.templates([b"busy"]))
    await asyncio.to_thread(parser.started.wait, 30)
    return busy


async def waiting(batcher: MicroBatcher, count: int) -> None:
    """Let the loop run until `count` messages wait."""
    async with asyncio.timeout(30):
        while batcher.waiting < count:  # noqa: ASYNC110 - the micro-batcher has no event for tests to wait for
            await asyncio.sleep(0)


async def test_answers_stand_in_the_order_of_the_messages(parser: DigitParser, batcher: MicroBatcher) -> None:
    """Each message gets its own template, `None` where there is none, in the caller's order."""
    messages = [b"b 2", b"odd", b"a 1", b"b 2"]
    expected = [parser.template(b"b 2"), None, parser.template(b"a 1"), parser.template(b"b 2")]
    assert expected == await batcher.templates(messages)


async def test_no_messages_need_no_micro_batch(parser: DigitParser, batcher: MicroBatcher) -> None:
    """An empty call returns at once."""
    assert await batcher.templates([]) == []
    assert parser.calls == []


async def test_equal_messages_are_asked_once_even_between_callers(parser: DigitParser, batcher: MicroBatcher) -> None:
    """Waiting and running misses answer all callers of the same message."""
    busy = await held(parser, batcher)
    callers = [asyncio.create_task(batcher.templates([b"a 1", b"busy", b"a 1"])) for _ in range(3)]
    await waiting(batcher, 1)
    parser.gate.set()
    await busy
    a, b = parser.template(b"a 1"), parser.template(b"busy")
    assert [[a, b, a]] * 3 == await asyncio.gather(*callers)
    assert parser.calls == [([b"busy"], [None]), ([b"a 1"], [None])]


async def test_callers_are_merged_up_to_the_rows_of_a_micro_batch(parser: DigitParser, batcher: MicroBatcher) -> None:
    """Misses that gather while the parser is busy go together, at most `max_rows` at once."""
    busy = await held(parser, batcher)
    callers = [asyncio.create_task(batcher.templates([f"m {i}".encode()])) for i in range(6)]
    await waiting(batcher, 6)
    parser.gate.set()
    await asyncio.gather(busy, *callers)
    assert [len(messages) for messages, _ in parser.calls] == [1, 4, 2]


async def test_tokens_close_a_micro_batch(parser: DigitParser) -> None:
    """Messages beyond the token budget go to the next micro-batch; one over the whole budget goes alone."""
    batcher = MicroBatcher(parser, max_tokens=50, max_rows=100, deadline_seconds=0)
    busy = await held(parser, batcher)
    caller = asyncio.create_task(batcher.templates([b"a" * 60, b"b" * 60, b"c" * 60, b"d" * 600]))
    await waiting(batcher, 4)
    parser.gate.set()
    await asyncio.gather(busy, caller)
    await batcher.close()
    assert [len(messages) for messages, _ in parser.calls] == [1, 2, 1, 1]


async def test_the_deadline_closes_a_micro_batch_that_is_not_full(parser: DigitParser) -> None:
    """One message is answered although no other ever comes."""
    batcher = MicroBatcher(parser, max_rows=100, deadline_seconds=0.01)
    assert [parser.template(b"a 1")] == await batcher.templates([b"a 1"])
    await batcher.close()


async def test_a_full_micro_batch_does_not_wait_for_the_deadline(parser: DigitParser) -> None:
    """Enough rows close a micro-batch at once, however far the deadline is."""
    batcher = MicroBatcher(parser, max_rows=3, deadline_seconds=3600)
    async with asyncio.timeout(30):
        await asyncio.gather(*(batcher.templates([f"m {i}".encode()]) for i in range(3)))
    await batcher.close()
    assert [len(messages) for messages, _ in parser.calls] == [3]


async def test_prompts_share_a_micro_batch(parser: DigitParser, batcher: MicroBatcher) -> None:
    """The same message under two prompts is two misses, each asked with its prompt, in one micro-batch."""
    busy = await held(parser, batcher)
    callers = [asyncio.create_task(batcher.templates([b"a 1"], prompt=prompt)) for prompt in ("x", None, "x", "y")]
    await waiting(batcher, 3)
    parser.gate.set()
    await asyncio.gather(busy, *callers)
    assert parser.calls == [([b"busy"], [None]), ([b"a 1"] * 3, ["x", None, "y"])]


async def test_an_error_reaches_every_waiter_and_the_next_call_works(
    parser: DigitParser, batcher: MicroBatcher
) -> None:
    """All callers of a failed micro-batch get the parser's error; later ones are answered."""
    busy = await held(parser, batcher)
    callers = [asyncio.create_task(batcher.templates([b"broken", b"a 1"])) for _ in range(2)]
    await waiting(batcher, 2)
    parser.gate.set()
    await busy
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [WrongModel, WrongModel] == [type(error) for error in errors]
    assert [parser.template(b"a 1")] == await batcher.templates([b"a 1"])


async def test_a_cancelled_caller_leaves_the_others_their_answer(parser: DigitParser, batcher: MicroBatcher) -> None:
    """Cancelling one of two callers of a message does not cancel the message."""
    busy = await held(parser, batcher)
    first, second = (asyncio.create_task(batcher.templates([b"a 1"])) for _ in range(2))
    await waiting(batcher, 1)
    first.cancel()
    await asyncio.wait([first])
    parser.gate.set()
    await busy
    assert first.cancelled()
    assert [parser.template(b"a 1")] == await second


async def test_callers_wait_for_room(parser: DigitParser) -> None:
    """No more than `max_waiting` messages wait; the rest of a call follows as micro-batches are taken."""
    batcher = MicroBatcher(parser, max_rows=2, deadline_seconds=0, max_waiting=2)
    busy = await held(parser, batcher)
    caller = asyncio.create_task(batcher.templates([f"m {i}".encode() for i in range(7)]))
    await waiting(batcher, 2)
    await asyncio.sleep(0)
    assert batcher.waiting == 2
    parser.gate.set()
    assert len(await caller) == 7
    await busy
    await batcher.close()


async def test_closing_answers_what_waits_and_refuses_the_rest(parser: DigitParser) -> None:
    """`close` drains at once, without the deadline; a later call is refused."""
    batcher = MicroBatcher(parser, deadline_seconds=3600)
    caller = asyncio.create_task(batcher.templates([b"a 1"]))
    await waiting(batcher, 1)
    async with asyncio.timeout(30):
        await batcher.close()
    assert [parser.template(b"a 1")] == await caller
    with pytest.raises(RuntimeError, match="closed"):
        await batcher.templates([b"a 1"])


async def test_a_parser_that_loses_an_answer_is_an_error(parser: DigitParser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few templates are refused instead of being given to the wrong messages."""
    monkeypatch.setattr(parser, "parse", lambda messages, prompt: [])
    batcher = MicroBatcher(parser, deadline_seconds=0)
    with pytest.raises(ValueError, match="0 templates for 1 messages"):
        await batcher.templates([b"a 1"])
    await batcher.close()


async def test_micro_batches_are_counted(parser: DigitParser) -> None:
    """Counts and the observer see rows, true tokens and seconds of each micro-batch."""
    seen: list[tuple[int, int]] = []

    def observe(*, rows: int, tokens: int, seconds: float) -> None:
        assert seconds >= 0
        seen.append((rows, tokens))

    batcher = MicroBatcher(parser, deadline_seconds=0, on_micro_batch=observe)
    await batcher.templates([b"a b 1", b"c"])
    await batcher.close()
    assert seen == [(2, 4)]
    assert (batcher.counts.micro_batches, batcher.counts.rows, batcher.counts.tokens) == (1, 2, 4)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ZeroDivisionError("on purpose"), ModelFailed("the model fails: ZeroDivisionError('on purpose')")),
        (TooMuchForDevice("64 GiB"), TooMuchForDevice("64 GiB")),
    ],
)
async def test_a_message_that_alone_fails_stops_nobody(
    parser: DigitParser, error: Exception, expected: BadInput
) -> None:
    """It has its error for an answer, wherever it stands; the others get their templates, also in the same call."""
    parser.error = error
    batcher = MicroBatcher(parser, deadline_seconds=0)
    for place in range(5):
        messages = [b"m %d" % number for number in range(4)]
        messages.insert(place, b"poison")
        answers = await batcher.templates(messages)
        refused = answers.pop(place)
        assert (type(refused), str(refused)) == (type(expected), str(expected))
        assert [parser.template(b"m %d" % number) for number in range(4)] == answers
    await batcher.close()
    # The others were not asked one by one: whoever is to blame is found in halves.
    assert len(parser.calls) <= 5 * 8


async def test_one_poisoned_message_is_told_from_a_broken_parser(parser: DigitParser, batcher: MicroBatcher) -> None:
    """A message that fails with no other beside it is to blame if the parser reads a witness, else it raises."""
    assert [ModelFailed] == [type(answer) for answer in await batcher.templates([b"poison"])]
    parser.fails_at = b""
    with pytest.raises(ZeroDivisionError):
        await batcher.templates([b"poison too"])


async def test_a_parser_that_fails_at_everything_it_is_asked_is_broken(parser: DigitParser) -> None:
    """A few messages in a row may be to blame; more are an error, though a witness is read."""
    parser.fails_at = b"m "
    batcher = MicroBatcher(parser, deadline_seconds=0)
    assert {ModelFailed} == {type(answer) for answer in await batcher.templates([b"m %d" % i for i in range(10)])}
    with pytest.raises(ZeroDivisionError):
        await batcher.templates([b"m %d" % i for i in range(10)])
    await batcher.close()


async def test_the_machines_own_memory_is_no_messages_fault(parser: DigitParser, batcher: MicroBatcher) -> None:
    """MemoryError is raised at once."""
    parser.error = MemoryError("on purpose")
    with pytest.raises(MemoryError):
        await batcher.templates([b"poison", b"a 1"])
    assert len(parser.calls) == 1


async def test_a_parser_that_hangs_is_given_up(parser: DigitParser) -> None:
    """Whoever waits is told, later callers are refused, and the end does not wait for the thread."""
    told: list[int] = []
    batcher = MicroBatcher(
        parser, max_rows=1, deadline_seconds=0, timeout_seconds=0.05, on_hang=lambda: told.append(len(parser.calls))
    )
    parser.gate.clear()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(batcher.templates([b"a 1"]), batcher.templates([b"b 2"]), return_exceptions=True)
        assert [ModelHangs, ModelHangs] == [type(answer) for answer in answers]
        with pytest.raises(RuntimeError, match="closed"):
            await batcher.templates([b"c 3"])
        await batcher.close()
    assert told == [1]
    parser.gate.set()
