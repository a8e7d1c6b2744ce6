"""What becomes of misses: Redis first, then the model, every message once, one template for all workers."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio

from tests.columns_of import messages_of
from tests.fakes import RuleParser
from tests.redis_server import ForeignRedis, RedisServer
from worker.cache.misses import Misses
from worker.cache.store import PINNED, Limits, News, TemplateStore
from worker.cache.templates import TemplateCache
from worker.columns.layout import TIER_INDEX, TIER_MISS, TIER_MODEL, TIER_STORE, Matches
from worker.errors import StoreUnavailable
from worker.parsing.checkpoint import CORRECTED
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import Prompts
from worker.parsing.rows import Candidate
from worker.parsing.stream import Change, Stream
from worker.parsing.templates import Template


@dataclass(kw_only=True)
class Worker:
    """One worker's misses and the parser behind them."""

    misses: Misses
    parser: RuleParser
    errors: list[str]

    async def resolve(self, messages: Sequence[bytes | None]) -> Matches:
        """Look messages up as the pipeline does."""
        texts, headers = messages_of(messages)
        with self.misses.cache.in_use():
            return await self.misses.resolve(texts, headers, self.misses.cache.look_up(texts, headers))

    async def texts(self, messages: Sequence[bytes | None]) -> list[str | None]:
        """Return the template of each message as text."""
        matches = await self.resolve(messages)
        template = self.misses.cache._table.template
        return [None if row < 0 else template(row).text for row in matches.template.tolist()]

    @property
    def learned(self) -> list[str]:
        """Return the texts of all templates in memory, sorted."""
        return sorted(template.text for template in self.misses.cache.templates())


MakeWorker = Callable[..., Worker]


@pytest_asyncio.fixture
async def make_worker() -> AsyncIterator[MakeWorker]:
    """Give workers of one scope."""
    closing = []
    version = f"test-{uuid4().hex}"

    def make(
        *, redis: str | None = None, unparsable: bytes | None = None, has_model: bool = True, settles: bool = False
    ) -> Worker:
        parser, errors = Settling(version=version, unparsable=unparsable), list[str]()
        model = MicroBatcher(parser, deadline_seconds=0)
        closing.append(model.close)
        store = pins = None
        if redis is not None:
            at_once: dict[str, Any] = {"timeout_seconds": 2.0, "limits": Limits(pause_seconds=0.0)}
            store = TemplateStore.connect(redis, parser_version=version, **at_once)
            pins = TemplateStore.connect(redis, prefix=version, parser_version=PINNED, **at_once)
            closing.extend((store.close, pins.close))
        misses = Misses(
            cache=TemplateCache(max_templates=1000, max_fingerprints=1024),
            store=store,
            model=model if has_model else None,
            scope="app",
            pins=pins,
            stream=Stream(parser) if settles else None,
            on_store_error=errors.append,
        )
        return Worker(misses=misses, parser=parser, errors=errors)

    yield make
    for close in closing:
        await close()


async def test_hits_ask_nobody(make_worker: MakeWorker) -> None:
    """A batch without misses goes through as it is."""
    worker = make_worker()
    worker.misses.cache.add(Template.from_text("took <*> ms"))
    found = await worker.resolve([b"took 7 ms", None])
    assert (found.tier.tolist(), worker.parser.asked) == ([TIER_INDEX, TIER_MISS], [])


async def test_few_messages_settle_many(make_worker: MakeWorker) -> None:
    """Of messages that share a template the model sees one or two, whatever their number."""
    worker = make_worker()
    messages = [b"%s %d of %d" % (word, n, n) for n in range(200) for word in (b"read", b"wrote", b"sent")]
    found = await worker.resolve(messages)
    assert set(found.tier.tolist()) == {TIER_MODEL}
    assert worker.learned == ["read <*> of <*>", "sent <*> of <*>", "wrote <*> of <*>"]
    assert len(worker.parser.asked) == 3
    assert (worker.misses.counts.asked, worker.misses.counts.learned) == (3, 3)


async def test_a_flood_of_unlike_messages_is_resolved(make_worker: MakeWorker) -> None:
    """Messages that share nothing are all asked for, each once."""
    worker = make_worker()
    letters = "abcdefghijklmnopqrstuvwxyz"
    messages = [f"{a}{b} only".encode() for a in letters for b in letters]
    found = await worker.resolve(messages)
    assert (found.template >= 0).all()
    assert sorted(messages) == sorted(worker.parser.asked)


async def test_the_same_message_in_two_batches_is_asked_once(make_worker: MakeWorker) -> None:
    """Batches that miss the same message at once wait for one answer."""
    worker = make_worker()
    texts = await asyncio.gather(*(worker.texts([b"took 7 ms"]) for _ in range(5)))
    assert texts == [["took <*> ms"]] * 5
    assert worker.parser.asked == [b"took 7 ms"]


async def test_a_message_without_a_template_stays_a_miss(make_worker: MakeWorker) -> None:
    """It is not asked for again, and does not keep others from being found."""
    worker = make_worker(unparsable=b"boom")
    for _ in range(2):
        assert await worker.texts([b"boom 1", b"took 7 ms", b"boom 1", b"boom 2"]) == [None, "took <*> ms", None, None]
    assert sorted(worker.parser.asked) == [b"boom 1", b"boom 2", b"took 7 ms"]


async def test_remembered_failures_are_bounded(make_worker: MakeWorker) -> None:
    """A flood of messages without a template does not fill the memory."""
    worker = make_worker(unparsable=b"boom")
    await worker.resolve([b"boom %d" % number for number in range(3000)])
    assert len(worker.misses._failed) == 1024


async def test_without_a_model_misses_stay(make_worker: MakeWorker) -> None:
    """Where there is neither model nor Redis every miss stays one."""
    worker = make_worker(has_model=False)
    assert await worker.texts([b"took 7 ms"]) == [None]


async def test_an_error_of_the_parser_is_raised(make_worker: MakeWorker) -> None:
    """A model that fails stops the batch: no row is passed over."""
    worker = make_worker()

    def fail(messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        raise MemoryError(f"{len(messages)} {prompt}")

    worker.parser.parse = fail  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        await worker.resolve([b"took 7 ms"])


@pytest.mark.redis
class TestSharing:
    """Several workers and a real Redis."""

    async def test_what_one_learns_the_other_hits(
        self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis
    ) -> None:
        """The second worker finds it in Redis and asks no model."""
        one, other = make_worker(redis=redis_server.url), make_worker(redis=redis_server.url)
        await one.resolve([b"user bob left at 7"])
        found = await other.resolve([b"user bob left at 8"])
        assert (found.tier.tolist(), other.parser.asked) == ([TIER_STORE], [])
        assert other.misses.counts.received > 0

    async def test_both_miss_at_once(self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis) -> None:
        """Two workers that learn different templates for one message at once end with the first one's."""
        one, other = make_worker(redis=redis_server.url), make_worker(redis=redis_server.url)
        coarse = Template.cut(b"user bob left", [(5, 8)])

        def parse(messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
            return [coarse for _ in messages]

        other.parser.parse = parse  # type: ignore[method-assign]
        await one.resolve([b"warm up 1"])
        await other.misses.warm_up()
        found = await asyncio.gather(one.texts([b"user bob left"]), other.texts([b"user bob left"]))
        assert found[0] == found[1]
        assert one.misses.store is not None
        texts = [template.text async for template in one.misses.store.templates("app")]
        assert sorted(texts) == sorted(["warm up <*>", str(found[0][0])])

    async def test_news_that_came_another_way_is_not_lost(
        self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis
    ) -> None:
        """A template that the listener brings while a batch asks Redis keeps the batch from asking the model."""
        one, other = make_worker(redis=redis_server.url), make_worker(redis=redis_server.url)
        assert one.misses.store is not None
        assert other.misses.store is not None
        await other.misses.warm_up()
        texts, headers = messages_of([b"user eve left"])
        missed = other.misses.cache.look_up(texts, headers)
        await one.misses.warm_up()
        await one.misses.store.publish("app", [(Template.cut(b"user bob left", [(5, 8)]), 1)])
        await other.misses.receive(await other.misses.store.catch_up("app"))
        found = await other.misses.resolve(texts, headers, missed)
        assert (found.tier.tolist(), other.parser.asked) == ([TIER_STORE], [])

    async def test_warm_start(self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis) -> None:
        """A new worker loads everything and needs no model."""
        one, other = make_worker(redis=redis_server.url), make_worker(redis=redis_server.url)
        messages = [b"took 7 ms", b"sent 5 bytes", b"ready"]
        await one.resolve(messages)
        assert await other.misses.warm_up() == 3
        await other.resolve(messages)
        assert (other.parser.asked, other.learned) == ([], one.learned)

    async def test_a_removed_template_is_forgotten(
        self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis
    ) -> None:
        """What an operator removes goes from memory with the next news."""
        worker = make_worker(redis=redis_server.url)
        store = worker.misses.store
        assert store is not None
        await worker.resolve([b"took 7 ms"])
        await store.remove("app", [template.id for template in worker.misses.cache.templates()])
        await worker.misses.receive(await store.catch_up("app"))
        assert worker.learned == []

    async def test_what_is_pinned_names_parameters_in_every_worker(
        self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis
    ) -> None:
        """It is known before anything is learned, stays when others replace it, and goes when it is unpinned."""
        one, other = make_worker(redis=redis_server.url), make_worker(redis=redis_server.url, settles=True)
        pin = replace(Template.from_text("took <*> ms"), names=("duration",))
        await one.resolve([b"took 7 ms"])
        await other.misses.warm_up()
        for worker in (one, other):
            await worker.misses.load_pins()
        assert one.misses.pins is not None
        assert one.misses.store is not None
        await one.misses.pins.put("app", [pin])
        await one.misses.store.publish("app", [(Template.from_text("took <*>", spacious=[0]), 1)], {pin.id: "0" * 16})
        assert other.misses.store is not None
        assert other.misses.pins is not None
        await other.misses.receive_pins(await other.misses.pins.catch_up("app"))
        await other.misses.receive(await other.misses.store.catch_up("app"))
        found = await other.resolve([b"took 8 ms"])
        assert other.misses.cache.template(int(found.template[0])) == pin
        await one.misses.pins.remove("app", [pin.id])
        await other.misses.receive_pins(await other.misses.pins.catch_up("app"))
        assert await other.texts([b"took 9 ms"]) == ["took <*>"]
        assert other.parser.asked == []

    async def test_pins_outlive_an_outage(self, make_worker: MakeWorker, breakable_redis: RedisServer) -> None:
        """A Redis that comes back empty gets them again; while it is away a successor takes them over."""
        worker, successor = make_worker(redis=breakable_redis.url), make_worker(redis=breakable_redis.url)
        pin = replace(Template.from_text("took <*> ms"), names=("duration",))
        assert worker.misses.pins is not None
        await worker.misses.pins.put("app", [pin])
        await worker.misses.load_pins()
        breakable_redis.stop()
        with pytest.raises(StoreUnavailable):
            await successor.misses.load_pins(worker.misses)
        assert await successor.texts([b"took 7 ms"]) == ["took <*> ms"]
        assert successor.parser.asked == []
        breakable_redis.start()
        await worker.misses.receive_pins(await worker.misses.pins.catch_up("app"))
        assert [template async for template in worker.misses.pins.templates("app")] == [pin]

    async def test_an_outage_is_survived_and_made_good(
        self, make_worker: MakeWorker, breakable_redis: RedisServer
    ) -> None:
        """Without Redis the model answers; a Redis that comes back empty gets old and new, by any call."""
        worker = make_worker(redis=breakable_redis.url)
        await worker.resolve([b"took 7 ms"])
        breakable_redis.stop()
        assert await worker.texts([b"sent 5 bytes"]) == ["sent <*> bytes"]
        assert worker.errors == ["find", "publish"]
        assert worker.misses.counts.store_errors == 2
        breakable_redis.start()
        assert await worker.texts([b"user 4 left"]) == ["user <*> left"]
        store = worker.misses.store
        assert store is not None
        await worker.misses.receive(await store.catch_up("app"))
        stored = sorted([template.text async for template in store.templates("app")])
        assert (stored, store.pending) == (["sent <*> bytes", "took <*> ms", "user <*> left"], 0)


async def test_matches_keep_their_parameters(make_worker: MakeWorker) -> None:
    """Spans of hits and of resolved misses stand for the same bytes."""
    worker = make_worker()
    worker.misses.cache.add(Template.from_text("took <*> ms"))
    messages = [b"sent 5 of 6", b"took 77 ms"]
    texts, _ = messages_of(messages)
    matches = await worker.resolve(messages)
    spans = [
        texts.buffer[matches.start[at] : matches.end[at]].tobytes()
        for row in range(2)
        for at in range(matches.first_parameter[row], matches.first_parameter[row] + matches.parameter_count[row])
    ]
    assert spans == [b"5", b"6", b"77"]
    assert np.count_nonzero(matches.fingerprint) == 2


class Settling(RuleParser):
    """Cuts as its parent does, and doubts every other word a little."""

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Give each template a candidate."""
        return [
            one and replace(one, candidate=doubted(message.decode(), one))
            for message, one in zip(messages, super().parse(messages, prompt=prompt), strict=True)
        ]

    def cuts_of(self, prompt: str | None) -> str:
        """Decide words as a whole."""
        del prompt
        return CORRECTED

    def named(self, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
        """Name nothing."""
        del messages
        return list(templates)


def doubted(text: str, template: Template) -> Candidate:
    """Make the candidate of a message whose words are constant by a little."""
    units = [word.span() for word in re.finditer(r"\S+", text)]
    odds = [6.0 if re.search(r"\d", text[start:end]) else -1.0 for start, end in units]
    return Candidate(text=text, spans=template.match(text.encode()) or (), units=units, odds=odds)


async def test_misses_settle_together(make_worker: MakeWorker) -> None:
    """Messages of one batch leave under what they settled on; later ones replace what no message has any more."""
    worker = make_worker(settles=True)
    assert await worker.texts([b"user bob left"]) == ["user bob left"]
    assert await worker.texts([b"user eve left", b"user joe left"]) == ["user <*> left"] * 2
    assert worker.learned == ["user <*> left"]
    assert await worker.texts([b"user bob left", b"user ann left"]) == ["user <*> left"] * 2
    assert len(worker.parser.asked) == 3
    assert worker.misses.counts.replaced == 1


async def test_rows_of_a_batch_follow_what_settles(make_worker: MakeWorker) -> None:
    """A line whose template another line of its batch has replaced leaves under the new one."""
    worker = make_worker(settles=True)
    await worker.resolve([b"user bob left"])
    found = await worker.texts([b"user bob left", b"user eve left", b"user joe left"])
    assert found == ["user <*> left"] * 3


async def test_templates_are_announced_before_anyone_has_them(make_worker: MakeWorker) -> None:
    """New ones, and what took the place of others, are told once, while the cache does not have them."""
    worker, told = make_worker(settles=True), list[tuple[list[str], int]]()

    async def announce(templates: Sequence[Template], replaced: Mapping[str, str]) -> None:
        assert not {template.id for template in templates} & {one.id for one in worker.misses.cache.templates()}
        told.append(([template.text for template in templates], len(replaced)))

    worker.misses.announce = announce
    for messages in ([b"user bob left"], [b"user eve left", b"user joe left"], [b"user kim left"]):
        await worker.resolve(messages)
    assert told == [(["user bob left"], 0), (["user <*> left"], 1)]


async def test_a_message_keeps_a_template_whatever_settles(make_worker: MakeWorker) -> None:
    """Where what settled does not match a message after all, its own cut does."""
    worker = make_worker(settles=True)
    assert worker.misses.stream is not None
    own, other = Template.cut(b"disk sda is full", ()), Template.from_text("something <*> else")

    def hear(misses: Sequence[Template]) -> Change:
        return Change(answers=tuple(other for _ in misses), others=(), replaced={own.id: other.id})

    worker.misses.stream.hear = hear  # type: ignore[method-assign]
    assert await worker.texts([b"disk sda is full"]) == ["disk sda is full"]


@pytest.mark.redis
class TestSettlingTogether:
    """Workers with streams of their own, and a real Redis."""

    async def test_what_one_replaces_goes_from_the_other(
        self, make_worker: MakeWorker, redis_server: RedisServer | ForeignRedis
    ) -> None:
        """The other worker learns the new template, lets go of the former one, and does not bring it back."""
        one, other = (make_worker(redis=redis_server.url, settles=True) for _ in range(2))
        await other.resolve([b"user bob left"])
        await one.resolve([b"user eve left", b"user joe left", b"user ann left"])
        assert await other.texts([b"disk sda is full", b"user bob left"]) == ["disk sda is full", "user bob left"]
        await one.resolve([b"user bob left again 1"])
        assert one.misses.store is not None
        assert other.misses.store is not None
        # The other one hears, and settles, the message that the first one's template takes in.
        await other.resolve([b"user kim left", b"user pat left", b"user sam left"])
        for worker in (one, other, one):
            assert worker.misses.store is not None
            await worker.misses.receive(await worker.misses.store.catch_up("app"))
        stored = sorted([template.text async for template in one.misses.store.templates("app")])
        assert stored == one.learned == other.learned

    async def test_replacements_wait_for_redis(self, make_worker: MakeWorker, breakable_redis: RedisServer) -> None:
        """What settled while Redis was away is there once it is back."""
        worker = make_worker(redis=breakable_redis.url, settles=True)
        await worker.resolve([b"user bob left"])
        breakable_redis.stop()
        assert await worker.texts([b"user eve left", b"user joe left"]) == ["user <*> left"] * 2
        breakable_redis.start()
        store = worker.misses.store
        assert store is not None
        await worker.misses.receive(await store.catch_up("app"))
        assert [template.text async for template in store.templates("app")] == worker.learned == ["user <*> left"]


async def test_others_work_while_templates_come(make_worker: MakeWorker) -> None:
    """Each template that is kept takes time by all that are: nobody waits for many. What goes meanwhile stays gone."""
    worker = make_worker()
    templates = [Template.from_text(f"{chr(97 + number)} <*>") for number in range(8)]
    adding = asyncio.create_task(worker.misses._add(templates))
    await asyncio.sleep(0)
    assert not adding.done()
    await worker.misses.receive(News(removed=(templates[0].id, templates[5].id), replaced={templates[6].id: "other"}))
    await adding
    assert worker.learned == [templates[number].text for number in (1, 2, 3, 4, 7)]
