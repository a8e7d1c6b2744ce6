"""Answers of parser workers on a real Redis: taken once by who asked, whatever stands in their place."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import msgpack
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.kafka_broker import free_port
from tests.redis_server import ForeignRedis, RedisServer
from worker.cache.answers import AnswerBox, Answered, NotServed, digest_of, pack_answer, unpack_answer
from worker.errors import ModelFailed, StoreUnavailable, Unparsable
from worker.parsing.templates import Template

_TEMPLATE = Template(literals=(b"took \xff ", b" s"), spacious=(True,), names=("duration",), confidence=0.5)
_DIGEST = digest_of("app", "base-1", b"took \xff 5 s")


@pytest_asyncio.fixture
async def box(redis_server: RedisServer | ForeignRedis) -> AsyncIterator[AnswerBox]:
    """Give a box on a real Redis."""
    box = _box(redis_server.url)
    yield box
    await box.close()


def _box(url: str) -> AnswerBox:
    return AnswerBox.connect(url, prefix="logloom", connect_timeout_seconds=2.0, timeout_seconds=2.0)


def _as_told(answer: Answered) -> object:
    return (type(answer), str(answer)) if isinstance(answer, Exception) else answer


@pytest.mark.parametrize(
    "answer", [_TEMPLATE, Unparsable("no template fits"), ModelFailed("it fails"), NotServed("another version")]
)
def test_an_answer_arrives_as_it_was_given(answer: Answered) -> None:
    """Templates, refusals of one message, and parsers that are not the right ones."""
    found = unpack_answer(pack_answer(_DIGEST, answer))
    assert found is not None
    assert (found[0], _as_told(found[1])) == (_DIGEST, _as_told(answer))


@given(st.binary() | st.recursive(st.binary() | st.text() | st.integers(-(2**63), 2**63), st.lists).map(msgpack.packb))
def test_what_no_parser_wrote_is_no_answer(packed: bytes) -> None:
    """Whatever it is, it raises nothing."""
    found = unpack_answer(packed)
    assert found is None or isinstance(found[0], bytes)


def test_digests_tell_scope_version_and_message_apart() -> None:
    """What is the same together is not the same."""
    asked = [("a", "bc", b"d"), ("ab", "c", b"d"), ("a", "b", b"cd"), ("a", "bc", b"e"), ("", "abc", b"d")]
    assert len({digest_of(*one) for one in asked}) == len(asked)


@pytest.mark.redis
async def test_answers_are_taken_once_by_who_asked(box: AnswerBox) -> None:
    """In their order; another asker has a list of its own, and an empty one is waited for."""
    mine, theirs = uuid4().hex, uuid4().hex
    taking = asyncio.create_task(box.take(mine))
    await box.give(theirs, [pack_answer(b"other", Unparsable("no"))])
    await box.give(mine, [pack_answer(_DIGEST, _TEMPLATE), pack_answer(b"second", NotServed("away"))])
    taken = await taking
    while len(taken) < 2:
        taken += await box.take(mine)
    assert taken == [(_DIGEST, _TEMPLATE), (b"second", NotServed("away"))]
    assert await box.take(mine) == []


@pytest.mark.redis
async def test_poison_is_counted_and_gone(box: AnswerBox, redis_server: RedisServer | ForeignRedis) -> None:
    """A value that no parser wrote, and a key of another type in the place of the list."""
    asker = uuid4().hex
    async with Redis.from_url(redis_server.url) as client:
        await client.rpush(f"logloom:answers:{asker}", b"poison", pack_answer(_DIGEST, _TEMPLATE))
        taken = await box.take(asker)
        assert (taken, box.poisoned) == ([(_DIGEST, _TEMPLATE)], 1)
        await client.set(f"logloom:answers:{asker}", b"poison")
        with pytest.raises(StoreUnavailable):
            await box.give(asker, [pack_answer(_DIGEST, _TEMPLATE)])
        assert await box.take(asker) == []
        await box.give(asker, [pack_answer(_DIGEST, _TEMPLATE)])
        assert (await box.take(asker), box.poisoned) == ([(_DIGEST, _TEMPLATE)], 2)
        await box.give(asker, [pack_answer(_DIGEST, _TEMPLATE)])
        assert 0 < await client.ttl(f"logloom:answers:{asker}") <= 600


async def test_a_redis_that_is_away_is_said_to_be() -> None:
    """Both ways."""
    box = _box(f"redis://localhost:{free_port()}")
    try:
        with pytest.raises(StoreUnavailable):
            await box.give("one", [b"answer"])
        with pytest.raises(StoreUnavailable):
            await box.take("one")
    finally:
        await box.close()
