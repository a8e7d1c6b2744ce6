"""What is asked of parser workers: once, again where no answer comes, and within what the broker takes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import FakeProducer
from worker.cache.answers import AnswerBox, Answered, NotServed, digest_of, unpack_answer
from worker.errors import DeliveryFailed, StoreUnavailable, Undecodable, Unparsable
from worker.metrics import Metrics
from worker.parsing.templates import Template
from worker.requests import Request, Requests

_TEMPLATE = Template.cut(b"took 5 s", [(5, 6)])


class MemoryBox(AnswerBox):
    """A box without Redis."""

    def __init__(self) -> None:
        self.answers = asyncio.Queue[list[tuple[bytes, Answered]]]()
        self.is_away = False

    async def give(self, asker: str, answers: Sequence[bytes]) -> None:
        """Put packed answers in."""
        del asker
        self.answers.put_nowait([answer for packed in answers if (answer := unpack_answer(packed)) is not None])

    async def take(self, asker: str) -> list[tuple[bytes, Answered]]:
        """Give what was put in, or say after a while that there is nothing."""
        del asker
        if self.is_away:
            raise StoreUnavailable
        try:
            return await asyncio.wait_for(self.answers.get(), 0.01)
        except TimeoutError:
            return []


class Place:
    """A producer, a box, and what asks by them."""

    def __init__(self, *, retry_seconds: float = 60.0, max_bytes: int = 1_000_000) -> None:
        self.producer, self.box, self.metrics = FakeProducer(), MemoryBox(), Metrics()
        self.requests = Requests(
            producer=self.producer.as_producer,
            topic="misses",
            box=self.box,
            retry_seconds=retry_seconds,
            max_bytes=max_bytes,
            metrics=self.metrics,
        )

    def ask(self, *messages: bytes) -> "asyncio.Task[list[object]]":
        """Ask for messages of one scope."""

        async def asked() -> list[object]:
            return [*await self.requests.of("app", "v1").templates(messages)]

        return asyncio.create_task(asked())

    def sent(self) -> list[Request]:
        """Return what was sent so far."""
        return [Request.unpack(record.value or b"") for record in self.producer.produced]

    def answer(self, *answers: tuple[bytes, Answered]) -> None:
        """Answer messages."""
        self.box.answers.put_nowait([(digest_of("app", "v1", message), answer) for message, answer in answers])

    async def until(self, asked: int) -> None:
        """Wait until so many messages have been asked for, repeats included."""
        async with asyncio.timeout(30):
            while sum(len(request.messages) for request in self.sent()) < asked:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0)

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Take answers meanwhile."""
        running = asyncio.create_task(self.requests.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    def value(self, name: str, **labels: str) -> float:
        """Read a metric."""
        return self.metrics.registry.get_sample_value(f"logloom_{name}", labels) or 0.0


@given(st.text(), st.text(), st.text(), st.lists(st.binary()))
def test_a_request_is_read_as_it_was_written(asker: str, scope: str, version: str, messages: Sequence[bytes]) -> None:
    """Whatever is asked."""
    request = Request(asker=asker, scope=scope, version=version, messages=messages)
    assert Request.unpack(request.pack()) == request


@pytest.mark.parametrize(
    "packed",
    [b"", b"no request", msgpack.packb([2, "a", "s", "v", []]), msgpack.packb([1, "a", "s", "v", ["text"]])],
)
def test_what_is_no_request_is_undecodable(packed: bytes) -> None:
    """Other formats and other types are said to be none."""
    with pytest.raises(Undecodable, match="no request"):
        Request.unpack(packed)


async def test_batches_that_ask_the_same_share_an_answer() -> None:
    """A message is handed over once while it is waited for, and again when it misses later."""
    place = Place()
    async with place.taking():
        first, second = place.ask(b"took 5 s", b"ready"), place.ask(b"ready")
        await place.until(2)
        assert place.value("awaited_messages") == 2
        place.answer((b"ready", Unparsable("no")), (b"took 5 s", _TEMPLATE))
        template, refusal = await first
        assert (template, [refusal]) == (_TEMPLATE, await second)
        assert isinstance(refusal, Unparsable)
        assert sum(len(request.messages) for request in place.sent()) == 2
        assert (place.value("awaited_messages"), place.value("answer_seconds_count")) == (0, 2)
        again = place.ask(b"ready")
        await place.until(3)
        place.answer((b"ready", _TEMPLATE))
        assert await again == [_TEMPLATE]


async def test_what_is_not_answered_is_asked_again() -> None:
    """Redis was away, or lost the answer, or parsers of another version took the request."""
    place = Place(retry_seconds=0.02)
    async with place.taking():
        asked = place.ask(b"ready")
        place.answer((b"ready", NotServed("another version")), (b"unknown", _TEMPLATE))
        await place.until(3)
        place.box.is_away = True
        place.answer((b"ready", _TEMPLATE))
        await place.until(4)
        assert place.value("redis_errors_total", operation="answers") > 0
        place.box.is_away = False
        assert await asked == [_TEMPLATE]
        assert place.value("requests_total", attempt="first") == 1
        assert place.value("requests_total", attempt="again") >= 3


async def test_messages_that_are_alike_meet_the_same_parser() -> None:
    """They go to one partition; others are spread."""
    place = Place()
    asked = place.ask(*(b"took %d s" % number for number in range(50)))
    await place.until(50)
    assert len(place.producer.produced) == 1
    asked.cancel()
    spread = place.ask(*(b"%s is ready" % bytes([letter]) for letter in range(97, 123)))
    await place.until(76)
    assert len({record.partition for record in place.producer.produced}) == place.producer.partitions
    spread.cancel()
    await asyncio.wait([asked, spread])
    assert place.value("awaited_messages") == 0


async def test_requests_fit_what_the_broker_takes() -> None:
    """Long messages go by themselves, and one that fits nowhere has no template."""
    place = Place(max_bytes=4_096)
    asked = place.ask(b"a" * 5_000, *(b"b%d" % number * 400 for number in range(10)))
    await place.until(10)
    assert len(place.producer.produced) >= 4
    assert all(len(record.value or b"") <= 4_096 for record in place.producer.produced)
    async with place.taking():
        place.answer(*((b"b%d" % number * 400, _TEMPLATE) for number in range(10)))
        refusal, *templates = await asked
    assert isinstance(refusal, Unparsable)
    assert templates == [_TEMPLATE] * 10


async def test_a_request_that_is_not_delivered_stops_the_worker() -> None:
    """Who asks is told, and so is who asks again."""
    place = Place(retry_seconds=0.0)
    place.producer.fails = True
    with pytest.raises(DeliveryFailed):
        await place.ask(b"ready")
    place.producer.fails = False
    asked, running = place.ask(b"ready"), asyncio.create_task(place.requests.run())
    await place.until(4)
    place.producer.fails = True
    with pytest.raises(DeliveryFailed):
        await running
    asked.cancel()
    await asyncio.wait([asked])
