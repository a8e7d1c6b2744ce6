"""The template store on a real Redis: several workers, outages, lost and poisoned keys."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.redis_server import ForeignRedis, RedisServer
from worker.cache.calls import Calls
from worker.cache.store import Limits, News, StoredScope, TemplateStore
from worker.cache.stored import pack_stored
from worker.errors import StoreUnavailable
from worker.parsing.templates import Template

pytestmark = pytest.mark.redis

_SCOPE = "broker"
_AT_ONCE = Limits(pause_seconds=0.0)

Connect = Callable[..., TemplateStore]


def _template(text: str, *, spacious: bool = False, name: str = "") -> Template:
    literals = tuple(text.encode().split(b"<*>"))
    parameters = len(literals) - 1
    return Template(literals=literals, spacious=(spacious,) * parameters, names=(name,) * parameters, confidence=0.5)


_FIRST, _SECOND, _THIRD = _template("sent <*> bytes"), _template("user <*> left"), _template("ready")
_BINARY = _template("x<*>y")
_BINARY = replace(_BINARY, literals=(b"\xff\x00 raw ", b"\xfe"))


@pytest_asyncio.fixture
async def connect(redis_server: RedisServer | ForeignRedis) -> AsyncIterator[Connect]:
    """Give stores that share one parser version of the test's own; each stands for one worker."""
    stores = []
    version = f"test-{uuid4().hex}"

    def connect_to(url: str = redis_server.url, *, limits: Limits = _AT_ONCE, **options: object) -> TemplateStore:
        arguments: dict[str, object] = {"parser_version": version, "timeout_seconds": 2.0, **options}
        stores.append(TemplateStore.connect(url, limits=limits, **arguments))  # type: ignore[arg-type]
        return stores[-1]

    yield connect_to
    for store in stores:
        await store.close()


async def _until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until it is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  what it waits for happens in Redis
            await asyncio.sleep(0)


async def _eventually(call: Callable[[], Awaitable[News]]) -> News:
    """Call until Redis answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0)


async def test_what_one_worker_publishes_the_other_reads_once(connect: Connect) -> None:
    """An announcement reaches every other worker, and no worker twice."""
    mine, theirs = connect(), connect()
    assert not await mine.catch_up(_SCOPE)
    assert not await theirs.catch_up(_SCOPE)
    assert await mine.publish(_SCOPE, [(_FIRST, 1), (_BINARY, 2)]) == News(is_written=True)
    assert list(await theirs.catch_up(_SCOPE)) == [_FIRST, _BINARY]
    assert not await theirs.catch_up(_SCOPE)
    assert not await mine.catch_up(_SCOPE)


async def test_two_workers_that_miss_at_once_end_with_one_template(connect: Connect) -> None:
    """The second one writes nothing and gets the first one's template to match its messages with."""
    mine, theirs = connect(), connect()
    await asyncio.gather(mine.load(_SCOPE), theirs.load(_SCOPE))
    answers = await asyncio.gather(mine.publish(_SCOPE, [(_FIRST, 1)]), theirs.publish(_SCOPE, [(_SECOND, 1)]))
    (first, second) = sorted(answers, key=lambda news: news.is_written, reverse=True)
    assert (first.is_written, list(first), second.is_written) == (True, [], False)
    assert list(second) == list(await connect().load(_SCOPE))
    assert len(second) == 1


async def test_a_worker_that_lost_the_race_may_publish_what_still_misses(connect: Connect) -> None:
    """Once the news are read, publishing goes through."""
    mine, theirs = connect(), connect()
    await mine.load(_SCOPE)
    await theirs.publish(_SCOPE, [(_SECOND, 2)])
    await theirs.publish(_SCOPE, [(_SECOND, 2)])
    assert await mine.publish(_SCOPE, [(_FIRST, 1)]) == News(templates=(_SECOND,))
    assert await mine.publish(_SCOPE, [(_FIRST, 1)]) == News(is_written=True)
    assert list(await theirs.catch_up(_SCOPE)) == [_FIRST]


async def test_a_new_worker_starts_warm(connect: Connect) -> None:
    """Loading gives all templates, more than one page of them."""
    await connect().load(_SCOPE)
    mine = connect()
    await mine.load(_SCOPE)
    many = [_template(f"step {number} took <*>") for number in range(1500)]
    await mine.publish(_SCOPE, [(template, number) for number, template in enumerate(many)])
    loaded = await connect().load(_SCOPE)
    assert sorted(template.id for template in loaded) == sorted(template.id for template in many)
    assert not loaded.was_emptied


async def test_find_looks_fingerprints_up_and_catches_up_in_one_call(connect: Connect) -> None:
    """Known fingerprints give their templates, the largest 64-bit number too; unknown ones give nothing."""
    mine, theirs = connect(), connect()
    await mine.load(_SCOPE)
    await theirs.load(_SCOPE)
    await mine.publish(_SCOPE, [(_FIRST, 2**64 - 1), (_FIRST, 7)])
    await theirs.catch_up(_SCOPE)
    await mine.publish(_SCOPE, [(_SECOND, 8)])
    assert set(await theirs.find(_SCOPE, [2**64 - 1, 3])) == {_FIRST, _SECOND}
    assert list(await theirs.find(_SCOPE, [7, 7, 3])) == [_FIRST]
    assert list(await theirs.find(_SCOPE, [3])) == []


async def test_a_flood_of_fingerprints_is_looked_up_in_part(connect: Connect) -> None:
    """One call does a bounded amount of work, whatever the batch holds."""
    store = connect()
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 0), (_SECOND, 49_999)])
    assert list(await store.find(_SCOPE, range(50_000))) == [_FIRST]


async def test_scopes_and_parser_versions_do_not_mix(connect: Connect) -> None:
    """Neither another scope nor another checkpoint sees a template, whatever characters their names hold."""
    store = connect()
    await store.load("a:b{c}")
    await store.publish("a:b{c}", [(_FIRST, 1)])
    assert list(await connect().find("a:b", [1])) == []
    assert list(await connect(parser_version=f"{store.parser_version}:next").find("a:b{c}", [1])) == []
    assert list(await connect().find("a:b{c}", [1])) == [_FIRST]


async def test_a_scope_may_have_a_version_of_its_own(connect: Connect) -> None:
    """A scope with a prompt reads what was found under that prompt, whatever version the others have."""
    other = f"test-{uuid4().hex}"
    prompted = connect(scope_versions={_SCOPE: other})
    for scope, template in ((_SCOPE, _FIRST), ("plain", _SECOND)):
        await prompted.load(scope)
        assert await prompted.publish(scope, [(template, 1)]) == News(is_written=True)
    assert not await connect().load(_SCOPE)
    assert list(await connect().load("plain")) == [_SECOND]
    assert list(await connect(parser_version=other).load(_SCOPE)) == [_FIRST]


async def test_publishing_again_announces_nothing(connect: Connect) -> None:
    """A template is known by its id; the same one is no news."""
    mine, theirs = connect(), connect()
    await mine.load(_SCOPE)
    await mine.publish(_SCOPE, [(_FIRST, 1)])
    await theirs.load(_SCOPE)
    assert await mine.publish(_SCOPE, [(_FIRST, 2)]) == News(is_written=True)
    assert not await theirs.catch_up(_SCOPE)
    assert list(await theirs.find(_SCOPE, [2])) == [_FIRST]


async def test_wider_parameters_are_announced_and_never_narrowed(connect: Connect) -> None:
    """A parameter that may hold white space for one worker may hold it for all; a narrower copy learns that."""
    mine, theirs = connect(), connect()
    wide = replace(_FIRST, spacious=(True,), confidence=0.25)
    await mine.load(_SCOPE)
    await mine.publish(_SCOPE, [(_FIRST, 1)])
    await theirs.load(_SCOPE)
    await theirs.publish(_SCOPE, [(wide, 1)])
    widest = replace(_FIRST, spacious=(True,))
    assert list(await mine.catch_up(_SCOPE)) == [widest]
    assert await mine.publish(_SCOPE, [(_FIRST, 1)]) == News(templates=(widest,), is_written=True)
    assert list(await connect().load(_SCOPE)) == [widest]


async def test_merging_keeps_bytes_that_are_no_utf8(connect: Connect) -> None:
    """What Redis packs anew is read as it was."""
    store = connect()
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_BINARY, 1)])
    await store.publish(_SCOPE, [(replace(_BINARY, spacious=(True,), names=("größe",)), 1)])
    assert list(await connect().load(_SCOPE)) == [replace(_BINARY, spacious=(True,), names=("größe",))]


async def test_a_gap_in_the_announcements_is_noticed(
    connect: Connect, redis_server: RedisServer | ForeignRedis
) -> None:
    """A worker that missed trimmed announcements reads the hash, and misses no template."""
    late, busy = connect(), connect()
    await late.load(_SCOPE)
    await busy.load(_SCOPE)
    await busy.publish(_SCOPE, [(_FIRST, 1), (_SECOND, 2)])
    with redis_server.client() as client:
        assert client.xtrim(_key(busy, "announcements"), maxlen=1, approximate=False) == 1
    await busy.publish(_SCOPE, [(_THIRD, 3)])
    news = await late.catch_up(_SCOPE)
    assert {template.id for template in news} == {_FIRST.id, _SECOND.id, _THIRD.id}
    assert not news.was_emptied
    assert not await late.catch_up(_SCOPE)


async def test_announcements_are_bounded(connect: Connect, redis_server: RedisServer | ForeignRedis) -> None:
    """The stream does not grow with the number of templates."""
    store = connect(limits=Limits(announcements=100))
    await store.load(_SCOPE)
    for start in range(0, 1000, 100):
        await store.publish(_SCOPE, [(_template(f"step {start + n}"), n) for n in range(100)])
    with redis_server.client() as client:
        assert client.xlen(_key(store, "announcements")) <= 300


async def test_fingerprints_are_bounded_and_those_asked_for_stay(
    connect: Connect, redis_server: RedisServer | ForeignRedis
) -> None:
    """Two generations hold at most twice the limit, and a look-up moves a fingerprint to the young one."""
    store = connect(limits=Limits(fingerprints=10))
    await store.load(_SCOPE)
    for fingerprint in range(100):
        await store.publish(_SCOPE, [(_FIRST, fingerprint)])
        assert list(await store.find(_SCOPE, [0])) == [_FIRST]
    assert list(await store.find(_SCOPE, [1])) == []
    with redis_server.client() as client:
        sizes = [client.hlen(_key(store, f"fingerprints:{age}")) for age in ("young", "old")]
    assert max(sizes) <= 11


async def test_a_full_scope_refuses_new_templates(connect: Connect) -> None:
    """Templates beyond the limit are counted and not stored; known ones still merge."""
    store = connect(limits=Limits(templates=2))
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 1), (_SECOND, 2), (_THIRD, 3)])
    await store.publish(_SCOPE, [(replace(_FIRST, spacious=(True,)), 1)])
    assert store.refused == 1
    assert {template.id for template in await store.load(_SCOPE)} == {_FIRST.id, _SECOND.id}


async def test_an_oversized_template_is_refused(connect: Connect) -> None:
    """One template can't fill Redis."""
    store = connect()
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_template("x" * 300_000), 1)])
    assert (store.refused, list(await store.load(_SCOPE))) == (1, [])


async def test_a_listener_hears_of_new_templates(connect: Connect) -> None:
    """Templates reach a listening worker by push, in every scope that it listens to."""
    mine, theirs = connect(), connect()
    async with _listening(mine, "a", "b") as heard:
        for scope, template in (("a", _FIRST), ("b", _SECOND), ("a", _THIRD)):
            await _publish(theirs, scope, template)
        wanted = {("a", _FIRST), ("a", _THIRD), ("b", _SECOND)}
        await _until(lambda: {(scope, template) for scope, news in heard for template in news} == wanted)


@asynccontextmanager
async def _listening(store: TemplateStore, *scopes: str) -> AsyncIterator[list[tuple[str, News]]]:
    """Collect what a listener hears."""
    heard: list[tuple[str, News]] = []

    async def listen() -> None:
        async with aclosing(store.listen(scopes)) as news:
            async for scope, one in news:
                heard.append((scope, one))

    listening = asyncio.create_task(listen())
    yield heard
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def _publish(store: TemplateStore, scope: str, template: Template) -> None:
    while not (await store.publish(scope, [(template, 1)])).is_written:
        pass


def _key(store: TemplateStore, name: str) -> str:
    return f"logloom:{{{_SCOPE}}}:{store.parser_version}:{name}"


async def test_an_outage_is_told_and_what_was_learned_is_written_later(
    connect: Connect, breakable_redis: RedisServer
) -> None:
    """While Redis is away every call fails with one error; templates wait, and go along with the first success."""
    store = connect(breakable_redis.url)
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 1)])
    breakable_redis.stop()
    with pytest.raises(StoreUnavailable, match="check the address"):
        await store.publish(_SCOPE, [(_SECOND, 2)])
    with pytest.raises(StoreUnavailable):
        await store.publish(_SCOPE, [(_SECOND, 3)])
    with pytest.raises(StoreUnavailable):
        await store.find(_SCOPE, [1])
    assert (store.pending, store.failures, store.is_away) == (1, 3, True)
    breakable_redis.start()
    news = await _eventually(lambda: store.find(_SCOPE, [2]))
    assert news.was_emptied
    assert (store.pending, store.is_away) == (0, False)
    assert list(await connect(breakable_redis.url).find(_SCOPE, [3])) == [_SECOND]


async def test_an_emptied_redis_can_be_filled_again(connect: Connect, breakable_redis: RedisServer) -> None:
    """A worker learns that everything was lost, even if others have written as much since."""
    store, other = connect(breakable_redis.url), connect(breakable_redis.url)
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 1)])
    breakable_redis.stop()
    breakable_redis.start()
    await other.load(_SCOPE)
    await other.publish(_SCOPE, [(_SECOND, 2)])
    news = await _eventually(lambda: store.catch_up(_SCOPE))
    assert (news.was_emptied, list(news)) == (True, [_SECOND])
    assert await store.publish(_SCOPE, [(_FIRST, 1)]) == News(is_written=True)
    assert list(await other.catch_up(_SCOPE)) == [_FIRST]


async def test_a_frozen_redis_costs_one_timeout_and_then_nothing(
    connect: Connect, breakable_redis: RedisServer
) -> None:
    """A server that keeps connections and answers nothing is given up, and not asked for a while."""
    store = connect(breakable_redis.url, limits=Limits(pause_seconds=600.0), timeout_seconds=0.05)
    await store.load(_SCOPE)
    breakable_redis.freeze()
    with pytest.raises(StoreUnavailable, match="Timeout"):
        await store.find(_SCOPE, [1])
    with pytest.raises(StoreUnavailable, match="not asked again yet"):
        await store.find(_SCOPE, [1])
    breakable_redis.thaw()
    assert store.failures == 1


async def test_what_waits_is_bounded_and_what_is_given_up_is_counted(connect: Connect) -> None:
    """A long outage costs no memory without end: the oldest templates go."""
    store = connect("redis://127.0.0.1:1/0", max_pending=3)
    for number in range(5):
        with pytest.raises(StoreUnavailable):
            await store.publish(_SCOPE, [(_template(f"step {number}"), number)])
    assert (store.pending, store.dropped) == (3, 2)


async def test_a_listener_outlives_an_outage(connect: Connect, breakable_redis: RedisServer) -> None:
    """After a restart the listener says that all was lost, writes what waited and hears of new templates."""
    mine = connect(breakable_redis.url)
    await mine.load(_SCOPE)
    await mine.publish(_SCOPE, [(_FIRST, 1)])
    async with _listening(mine, _SCOPE) as heard:
        breakable_redis.stop()
        with pytest.raises(StoreUnavailable):
            await mine.publish(_SCOPE, [(_SECOND, 2)])
        breakable_redis.start()
        await _until(lambda: any(news.was_emptied for _, news in heard) and mine.pending == 0)
        theirs = connect(breakable_redis.url)
        assert list(await theirs.load(_SCOPE)) == [_SECOND]
        await theirs.publish(_SCOPE, [(_THIRD, 3)])
        await _until(lambda: any(_THIRD in news for _, news in heard))


async def test_poisoned_values_are_counted_and_removed(
    connect: Connect, redis_server: RedisServer | ForeignRedis
) -> None:
    """What no worker wrote reaches no worker, and the rest does."""
    writer = connect()
    await writer.load(_SCOPE)
    await writer.publish(_SCOPE, [(_FIRST, 1), (_SECOND, 2)])
    with redis_server.client() as client:
        client.hset(_key(writer, "templates"), _FIRST.id, b"\x80\x04pickle")
        client.hset(_key(writer, "templates"), "0" * 16, pack_stored(_THIRD))
    reader = connect()
    assert list(await reader.load(_SCOPE)) == [_SECOND]
    assert reader.poisoned == 2
    assert list(await reader.find(_SCOPE, [1, 2])) == [_SECOND]
    with redis_server.client() as client:
        assert client.hkeys(_key(writer, "templates")) == [_SECOND.id.encode()]


async def test_a_poisoned_template_is_replaced_when_it_is_learned_again(
    connect: Connect, redis_server: RedisServer | ForeignRedis
) -> None:
    """The script that merges survives what it can't read."""
    store = connect()
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 1)])
    for poison in (b"\xc1", b"\x93\x01\x02\x03", b"text", b"\x94\x90\x90\x90\xa1x"):
        with redis_server.client() as client:
            client.hset(_key(store, "templates"), _FIRST.id, poison)
        assert (await store.publish(_SCOPE, [(_FIRST, 1)])).is_written
        assert list(await connect().load(_SCOPE)) == [_FIRST]


@pytest.mark.parametrize("name", ["templates", "state", "announcements", "fingerprints:young", "fingerprints:old"])
async def test_keys_of_a_wrong_type_are_replaced(
    connect: Connect, redis_server: RedisServer | ForeignRedis, name: str
) -> None:
    """A key that something else took is deleted and counted, and the store goes on."""
    store = connect(limits=Limits(fingerprints=3, pause_seconds=0.0))
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 1)])
    with redis_server.client() as client:
        client.set(_key(store, name), "taken")
    await store.find(_SCOPE, [5])
    await _publish(store, _SCOPE, _SECOND)
    assert _SECOND in list(await connect().load(_SCOPE))
    assert list(await connect().find(_SCOPE, [1])) != []


async def test_a_foreign_announcement_does_not_stop_publishing(
    connect: Connect, redis_server: RedisServer | ForeignRedis
) -> None:
    """An entry that no worker wrote, even one from the future, costs a reload and no template."""
    mine, theirs = connect(), connect()
    await mine.load(_SCOPE)
    await theirs.load(_SCOPE)
    await mine.publish(_SCOPE, [(_FIRST, 1)])
    with redis_server.client() as client:
        client.xadd(_key(mine, "announcements"), {"template": b"?"}, id="999999-0")
    await mine.publish(_SCOPE, [(_SECOND, 2)])
    assert set(await theirs.catch_up(_SCOPE)) == {_FIRST, _SECOND}
    await mine.publish(_SCOPE, [(_THIRD, 3)])
    assert set(await theirs.catch_up(_SCOPE)) == {_THIRD}


async def test_operators_list_change_remove_and_drop(connect: Connect) -> None:
    """What operators do reaches the workers; other scopes and versions stay."""
    worker, operator = connect(), connect()
    await worker.load(_SCOPE)
    await worker.publish(_SCOPE, [(_FIRST, 1), (_SECOND, 2)])
    await worker.load("other")
    await worker.publish("other", [(_THIRD, 3)])
    mine = [stored for stored in await operator.scopes() if stored.parser_version == operator.parser_version]
    assert mine == [
        StoredScope(scope=_SCOPE, parser_version=operator.parser_version, templates=2),
        StoredScope(scope="other", parser_version=operator.parser_version, templates=1),
    ]
    renamed = replace(_FIRST, names=("bytes",))
    assert await operator.put(_SCOPE, [renamed]) == 1
    assert list(await worker.catch_up(_SCOPE)) == [renamed]
    assert await operator.remove(_SCOPE, [_SECOND.id, "0" * 16]) == 1
    assert await worker.catch_up(_SCOPE) == News(removed=(_SECOND.id,))
    assert [template async for template in operator.templates(_SCOPE)] == [renamed]
    await operator.drop(_SCOPE)
    assert [template async for template in operator.templates(_SCOPE)] == []
    assert (await worker.catch_up(_SCOPE)).was_emptied
    assert list(await operator.load("other")) == [_THIRD]


async def test_a_name_once_given_stays(connect: Connect) -> None:
    """A worker that learns a template again does not take away the operator's names."""
    store = connect()
    await store.load(_SCOPE)
    await store.publish(_SCOPE, [(_FIRST, 1)])
    await store.put(_SCOPE, [replace(_FIRST, names=("count",))])
    await store.catch_up(_SCOPE)
    await store.publish(_SCOPE, [(replace(_FIRST, names=("guess",)), 1)])
    assert list(await connect().load(_SCOPE)) == [replace(_FIRST, names=("count",))]


async def test_what_is_put_takes_the_place_of_what_is_there_or_is_merged_with_it(connect: Connect) -> None:
    """Names may be taken away by the former, and never by the latter; what does not fit is left out and counted."""
    store, worker = connect(limits=Limits(templates=2, pause_seconds=0.0)), connect()
    named = replace(_FIRST, names=("count",))
    await worker.load(_SCOPE)
    assert await store.put(_SCOPE, [named]) == 1
    assert await store.put(_SCOPE, [replace(_FIRST, names=("guess",))], is_merged=True) == 1
    assert list(await worker.catch_up(_SCOPE)) == [named]
    assert await store.put(_SCOPE, [_FIRST, _SECOND, _THIRD, _template("x" * 300_000)]) == 2
    assert list(await worker.catch_up(_SCOPE)) == [_FIRST, _SECOND]


async def test_the_newest_templates_of_a_scope(connect: Connect) -> None:
    """Those announced last, the oldest first; a scope that nobody wrote to has none."""
    store = connect()
    assert await store.newest(_SCOPE, 2) == []
    await store.put(_SCOPE, [_FIRST, _SECOND, _THIRD])
    assert await store.newest(_SCOPE, 2) == [_SECOND, _THIRD]
    await store.remove(_SCOPE, [_FIRST.id])
    assert await store.newest(_SCOPE, 2) == [_THIRD]
    assert await store.newest(_SCOPE, 100) == [_FIRST, _SECOND, _THIRD]


async def test_flush_writes_what_waits_in_every_scope(connect: Connect, breakable_redis: RedisServer) -> None:
    """After an outage one call writes everything, and tells what others did meanwhile."""
    store = connect(breakable_redis.url)
    breakable_redis.stop()
    for scope in ("a", "b"):
        with pytest.raises(StoreUnavailable):
            await store.publish(scope, [(_FIRST, 1)])
    breakable_redis.start()
    await connect(breakable_redis.url).load("a")
    await _eventually(lambda: store.catch_up("c"))
    assert set(await store.flush()) == {"a", "b"}
    assert store.pending == 0
    assert list(await connect(breakable_redis.url).load("b")) == [_FIRST]


async def test_a_password_is_sent(connect: Connect, breakable_redis: RedisServer) -> None:
    """A protected server is used with its password and unavailable without."""
    with breakable_redis.client() as client:
        client.config_set("requirepass", "secret")
    with pytest.raises(StoreUnavailable, match=r"(?i)authenticat"):
        await connect(breakable_redis.url).load(_SCOPE)
    assert not await connect(breakable_redis.url, password="secret").load(_SCOPE)  # noqa: S106  the test's own


@pytest.mark.parametrize(("scope", "heard"), [("*", ["*"]), (_SCOPE, [_SCOPE]), ("other", [])])
async def test_a_listener_hears_calls_to_reload(connect: Connect, scope: str, heard: list[str]) -> None:
    """Those to its scope and those to all, each once, by whatever connection it listens then."""
    prefix, told, templates = f"test-{uuid4().hex}", list[str](), list[Template]()
    calls, theirs = Calls(hear=told.append), connect(prefix=prefix)
    for number in (1, 2):
        listening = asyncio.create_task(_listen(connect(prefix=prefix, calls=calls), templates))
        await theirs.call_reload(scope)
        await theirs.catch_up(_SCOPE)
        new = _template(f"kind {number} <*>")
        assert (await theirs.publish(_SCOPE, [(new, number)])).is_written
        await _until(lambda: new in templates and len(told) == number * len(heard))  # noqa: B023  awaited here
        await _end(listening)
    assert told == heard * 2


async def test_calls_from_before_the_start_are_not_heard(connect: Connect) -> None:
    """A worker that starts has read everything anew; a call that came since is heard though it was away then."""
    prefix, told = f"test-{uuid4().hex}", list[str]()
    await connect(prefix=prefix).call_reload()
    since_ms = int(time.time() * 1000) + 60_000
    listening = asyncio.create_task(_listen(connect(prefix=prefix, calls=Calls(hear=told.append, since_ms=since_ms))))
    again = asyncio.create_task(_listen(connect(prefix=prefix, calls=Calls(hear=told.append, since_ms=0))))
    await _until(lambda: bool(told))
    await _end(listening)
    await _end(again)
    assert told == ["*"]


async def test_a_call_is_heard_after_an_outage(connect: Connect, breakable_redis: RedisServer) -> None:
    """One that came while this worker was cut off is heard when it is back; of several the last."""
    told = list[str]()
    mine = connect(breakable_redis.url, calls=Calls(hear=told.append), timeout_seconds=0.2)
    listening = asyncio.create_task(_listen(mine))
    await _until(lambda: mine.failures == 0 and _SCOPE in mine._seen)
    breakable_redis.stop()
    await _until(lambda: mine.failures > 0)
    breakable_redis.start()
    await connect(breakable_redis.url).call_reload()
    await connect(breakable_redis.url).call_reload()
    await _until(lambda: bool(told))
    await _end(listening)
    assert 1 <= len(told) <= 2
    with breakable_redis.client() as client:
        assert client.xlen("logloom:reload") == 1


async def test_what_stands_in_the_place_of_calls_is_removed(
    connect: Connect, redis_server: RedisServer | ForeignRedis
) -> None:
    """Another type under their key must not keep workers from each other's templates."""
    prefix, told, heard = f"test-{uuid4().hex}", list[str](), list[Template]()
    with redis_server.client() as client:
        client.set(f"{prefix}:reload", "what is this")
    mine = connect(prefix=prefix, calls=Calls(hear=told.append))
    listening = asyncio.create_task(_listen(mine, heard))
    await _until(lambda: mine.poisoned == 1)
    theirs = connect(prefix=prefix)
    await theirs.catch_up(_SCOPE)
    assert (await theirs.publish(_SCOPE, [(_FIRST, 1)])).is_written
    await _until(lambda: heard == [_FIRST])
    await theirs.call_reload()
    await _until(lambda: told == ["*"])
    await _end(listening)


async def _listen(store: TemplateStore, heard: list[Template] | None = None) -> None:
    async with aclosing(store.listen([_SCOPE])) as news:
        async for _, templates in news:
            if heard is not None:
                heard += templates


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
