"""What settings become: the transport's words, a pipeline per source, templates shared by scope."""

import asyncio
import json
import threading
import weakref
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog

from tests.columns_of import records_of
from tests.fakes import FakeProducer
from tests.kafka_broker import free_port
from tests.parsing.checkpoints import write_small
from tests.redis_server import ForeignRedis, RedisServer
from worker.assembly import Assembly, app_settings, assemble, envelope_of
from worker.cache.store import PINNED, TemplateStore
from worker.cli import checks
from worker.errors import WrongModel, WrongSettings
from worker.knowledge import Knowledge, LoadedModel, RemoteModel
from worker.metrics import Metrics
from worker.parsing.checkpoint import FIELDS, KNOWN, checkpoint_version, prompt_folder
from worker.parsing.known import write_known
from worker.parsing.parser import EncoderParser
from worker.parsing.templates import Template
from worker.settings import Model, Settings, Source
from worker.transport.outlet import Direct

SHOP: Mapping[str, Any] = {"name": "shop", "topics": ("raw.shop",), "header": ("none",), "envelope": "raw"}


def settings(*sources: Mapping[str, Any], **groups: Any) -> Settings:
    """Make settings without model and Redis."""
    found = {str(source["name"]): Source(**source) for source in sources or (SHOP,)}
    return Settings(sources=found, **{"model": {"path": None}, **groups})


def test_every_word_is_translated() -> None:
    """What an operator says of Kafka and of limits reaches the transport in its units."""
    said = app_settings(
        settings(
            SHOP,
            {"name": "late", "topic_pattern": r"late\..*"},
            transport="faust",
            kafka={
                "bootstrap_servers": "a:1,b:2", "group_id": "g", "client_id": "c",
                "isolation_level": "read_uncommitted",
                "auto_offset_reset": "latest", "session_timeout_ms": 9_000, "heartbeat_interval_ms": 1_000,
                "request_timeout_ms": 7_000, "enable_idempotence": False, "metadata_max_age_ms": 2_000,
                "max_partition_fetch_bytes": 2_048, "fetch_wait_max_ms": 20, "fetch_min_bytes": 5,
                "fetch_max_bytes": 4_096, "max_poll_interval_ms": 8_000,
            },
            output={
                "topic": "e", "dead_letter_topic": "d", "compression": "zstd", "linger_ms": 30,
                "max_batch_bytes": 9_999
            },
            limits={"max_bytes_in_flight": 16 << 20},
        )
    )  # fmt: skip
    assert (said.bootstrap_servers, said.group, said.client_id, said.transport) == ("a:1,b:2", "g", "c", "faust")
    assert [(one.source, one.topics, one.pattern) for one in said.subscriptions] == [
        ("shop", ("raw.shop",), None),
        ("late", (), r"late\..*"),
    ]
    assert said.written_topics == {"e", "d"}
    assert (said.read_committed, said.offset_reset, said.is_idempotent) == (False, "latest", False)
    assert (said.session_timeout_seconds, said.heartbeat_interval_seconds) == (9.0, 1.0)
    assert (said.request_timeout_seconds, said.metadata_seconds, said.max_poll_interval_seconds) == (7.0, 2.0, 8.0)
    assert (said.max_partition_fetch_bytes, said.max_fetch_bytes, said.min_fetch_bytes) == (2_048, 4_096, 5)
    assert (said.max_fetch_wait_seconds, said.linger_seconds) == (0.02, 0.03)
    assert (said.max_bytes_in_flight, said.max_partition_bytes_in_flight) == (16 << 20, 2 << 20)
    assert (said.record_compression, said.max_record_bytes) == ("zstd", 9_999)


def test_one_partition_may_hold_one_fetch() -> None:
    """However little may be in flight, what one fetch brings fits."""
    said = app_settings(settings(limits={"max_bytes_in_flight": 1 << 20}))
    assert said.max_partition_bytes_in_flight == said.max_partition_fetch_bytes


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        ({"envelope": "json"}, b'{"message":"took 1 ms","log":"x"}', b"took 1 ms"),
        ({"envelope": "json", "message_field": ("log",)}, b'{"message":"x","log":"took 1 ms"}', b"took 1 ms"),
        ({"envelope": "raw", "encoding": "latin-1"}, b"caf\xe9", "caf\u00e9".encode()),
    ],
)
def test_envelopes_are_as_declared(declared: dict[str, Any], value: bytes, text: bytes) -> None:
    """A source's own fields and encoding are used."""
    its = settings({**SHOP, **declared})
    opened = envelope_of(its.sources["shop"], its).open(records_of([value]))
    start, length = opened.texts.start[0], opened.texts.length[0]
    assert opened.texts.buffer[start : start + length].tobytes() == text


def test_records_over_the_limit_are_dead() -> None:
    """The limit of records reaches the envelope."""
    its = settings(limits={"max_record_bytes": 10, "max_line_bytes": 10})
    assert [row.reason for row in envelope_of(its.sources["shop"], its).open(records_of([b"x" * 11])).dead] == [
        "too_large"
    ]


async def opened(stack: AsyncExitStack, its: Settings) -> tuple[Assembly, list[BaseException]]:
    """Open an assembly with a producer that keeps what it gets."""
    failures: list[BaseException] = []
    producer = FakeProducer().as_producer
    assembly = Assembly(
        settings=its,
        metrics=Metrics(sources=its.sources),
        producer=producer,
        outlet=Direct(producer),
        fail=failures.append,
    )
    await assembly.open(stack)
    return assembly, failures


async def test_sources_of_one_scope_share_templates() -> None:
    """Every source has a pipeline; those of the same scope have one cache, others their own."""
    shared = [{**SHOP, "name": name, "topics": (name,), "template_scope": "common"} for name in ("a", "b")]
    async with AsyncExitStack() as stack:
        assembly, failures = await opened(stack, settings(SHOP, *shared))
        misses = {name: pipeline.parts.path.misses for name, pipeline in assembly.pipelines.items()}
        assert list(misses) == ["shop", "a", "b"]
        assert misses["a"] is misses["b"]
        assert misses["a"] is not misses["shop"]
        assert (assembly.knowledge.parser_version, failures) == ("none", [])


async def test_sources_share_the_small_networks() -> None:
    """However many sources ask for types and fields, the networks' weights are in memory once."""
    asking = {"fields": ("user",), "types": {"timeout": ()}}
    sources = [{**SHOP, **asking, "name": name, "topics": (name,)} for name in "ab"]
    async with AsyncExitStack() as stack:
        assembly, _ = await opened(stack, settings(*sources))
        first, other = (assembly.pipelines[name].parts.path for name in "ab")
        assert first._fields is not None
        assert other._fields is not None
        assert first._fields is not other._fields
        assert first._fields._asker is other._fields._asker
        weights = [path.misses.cache._typer._parts["tokens"] for path in (first, other) if path.misses.cache._typer]
        assert [one is assembly.networks.typer._parts["tokens"] for one in weights] == [True, True]


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_parameters_are_attributes_where_that_is_set(*, is_wanted: bool) -> None:
    """What `output.parameter_attributes` says reaches the events."""
    source = {**SHOP, "parameter_names": {"took <*> s": ("duration",)}}
    its = settings(source, output={"parameter_attributes": is_wanted})
    async with AsyncExitStack() as stack:
        assembly, _ = await opened(stack, its)
        path = assembly.pipelines["shop"].parts.path
        path.misses.cache.add(Template.from_text("took <*> s"))
        records = records_of([b"took 5 s"])
        written = await path.write(envelope_of(its.sources["shop"], its).open(records).texts, records.timestamp)
        attributes = json.loads(written.events.buffer.tobytes())["attributes"]
        assert attributes["log.record.parameters"][0]["name"] == "duration"
        assert attributes.get("log.record.parameter.duration") == ("5" if is_wanted else None)


async def test_redis_that_is_away_is_no_obstacle() -> None:
    """A worker starts with an empty cache, counts it and says so."""
    its = settings(redis={"url": f"redis://127.0.0.1:{free_port()}/0"})
    async with AsyncExitStack() as stack:
        with structlog.testing.capture_logs() as logs:
            assembly, failures = await opened(stack, its)
        count = assembly.metrics.registry.get_sample_value("logloom_redis_errors_total", {"operation": "load"})
        assert (count, failures) == (1, [])
        assert [log["event"] for log in logs] == ["Redis does not answer; starting with an empty cache"]


async def test_an_error_beside_the_path_stops_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens to Redis does not end unheard."""

    async def listen(*_: object) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken")

    monkeypatch.setattr(Knowledge, "_listen", listen)
    async with AsyncExitStack() as stack:
        _, failures = await opened(stack, settings(redis={"url": f"redis://127.0.0.1:{free_port()}/0"}))
        async with asyncio.timeout(10):
            while not failures:  # noqa: ASYNC110 - a turn of the loop, not a poll
                await asyncio.sleep(0)
        assert {str(failure) for failure in failures} == {"broken"}


async def test_a_broken_model_is_told() -> None:
    """A checkpoint that is not there ends the start."""
    async with AsyncExitStack() as stack:
        with pytest.raises(WrongModel):
            await opened(stack, settings(model={"path": "/no/such/folder"}))


async def test_a_source_is_parsed_under_its_prompt(tmp_path: Path) -> None:
    """Misses ask for the source's prompt, and its version names it; other sources have the plain version."""
    write_known(prompt_folder(write_small(tmp_path), "mail") / KNOWN, [Template.from_text("took <*> s")])
    its = settings(
        {**SHOP, "prompt": "mail"},
        {**SHOP, "name": "plain", "topics": ("raw.plain",)},
        model={"path": str(tmp_path), "device": "cpu"},
    )
    async with AsyncExitStack() as stack:
        assembly, failures = await opened(stack, its)
        versions = {name: assembly.knowledge.version_of(source) for name, source in its.sources.items()}
        assert versions == {"shop": checkpoint_version(tmp_path, "mail"), "plain": checkpoint_version(tmp_path)}
        prompts = {name: pipeline.parts.path.misses.prompt for name, pipeline in assembly.pipelines.items()}
        assert (prompts, failures) == ({"shop": "mail", "plain": None}, [])


async def test_a_prompt_that_the_checkpoint_lacks_is_refused(tmp_path: Path) -> None:
    """The worker does not start, and the error names the setting and the prompts there are; so does `logloom check`."""
    write_known(prompt_folder(write_small(tmp_path), "mail") / KNOWN, [Template.from_text("took <*> s")])
    good, bad = (
        settings({**SHOP, "prompt": prompt}, model={"path": str(tmp_path), "device": "cpu"})
        for prompt in ("mail", "no-such")
    )
    async with AsyncExitStack() as stack:
        with pytest.raises(WrongModel, match=r"sources.shop.prompt: .*'no-such'; it has mail"):
            await opened(stack, bad)
    for its, verdict in ((good, "ok"), (bad, "fail")):
        (finding,) = (one for one in checks._model(its) if "prompt" in one.subject)
        assert finding.verdict == verdict
        assert "mail" in finding.text


def test_sources_that_cannot_be_told_apart_are_refused() -> None:
    """A worker is not made where two sources claim a topic."""
    with pytest.raises(WrongSettings):
        assemble(settings(SHOP, {**SHOP, "name": "other"}))


async def test_a_reload_keeps_what_is_set_alike(tmp_path: Path) -> None:
    """Model, caches, and what `auto` found out of headers and envelopes stay; the path itself is new."""
    write_small(tmp_path)
    model = {"path": str(tmp_path), "device": "cpu"}
    auto = {**SHOP, "header": ("auto",), "envelope": "auto"}
    async with AsyncExitStack() as stack:
        before, _ = await opened(stack, settings(auto, model=model))
        parts, knowledge = before.pipelines["shop"].parts, before.knowledge
        await before.reload(settings({**auto, "resource": {"a": "b"}}, model=model, multiline={"seconds": 5.0}))
        new = before.pipelines["shop"].parts
        assert before.knowledge is knowledge
        assert new.path is not parts.path
        assert (new.path.finder, new.envelope) == (parts.path.finder, parts.envelope)
        assert new.max_wait_seconds == 5.0
        await before.reload(settings({**auto, "zone": "Europe/Paris"}, model=model))
        assert before.pipelines["shop"].parts.path.finder is not new.path.finder
        assert before.pipelines["shop"].parts.envelope is not new.envelope


async def test_kernels_are_loaded_before_batches_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start and at a reload, those of the events' format; those that redact where any source is redacted."""
    loaded: list[tuple[str, bool]] = []
    monkeypatch.setattr("worker.assembly.load", lambda form, *, redacts: loaded.append((form, redacts)))
    async with AsyncExitStack() as stack:
        assembly, _ = await opened(stack, settings())
        await assembly.reload(settings({**SHOP, "redact": {"ip": "mask"}}))
        await assembly.reload(settings(redact={"ip": "mask"}, output={"format": "msgpack"}))
    assert loaded == [("json", False), ("json", True), ("msgpack", True)]


async def test_templates_of_the_same_version_outlive_a_reload(tmp_path: Path) -> None:
    """Caches that are made anew inherit them, but for those that settings gave names; of another version none."""
    model = {"path": str(write_small(tmp_path / "a")), "device": "cpu"}
    named = {**SHOP, "parameter_names": {"took <*> s": ("duration",)}}
    async with AsyncExitStack() as stack:
        assembly, _ = await opened(stack, settings(named, model=model))
        for text in ("took <*> s", "user <*> left"):
            assembly.knowledge.misses["shop"].cache.add(Template.from_text(text))
        parser = assembly.knowledge.model
        await assembly.reload(settings(model=model, cache={"max_templates": 500}))
        assert [one.text for one in assembly.knowledge.misses["shop"].cache.templates()] == ["user <*> left"]
        assert assembly.knowledge.model is parser
        await assembly.reload(settings(model={**model, "path": str(write_small(tmp_path / "b", seed=2))}))
        assert assembly.knowledge.model is not parser
        assert assembly.knowledge.misses["shop"].cache.templates() == []


@pytest.mark.redis
async def test_pinned_names_outlive_a_new_checkpoint(redis_server: RedisServer | ForeignRedis, tmp_path: Path) -> None:
    """A running worker hears of them, and so does what is built by a reload, though it has learned nothing yet."""
    source, redis = (
        {**SHOP, "template_scope": f"shop-{uuid4().hex}"},
        {"url": redis_server.url, "timeout_seconds": 10.0},
    )
    scope = source["template_scope"]
    pin = replace(Template.from_text("user <*> left"), names=("account",))
    operator = TemplateStore.connect(redis_server.url, parser_version=PINNED)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(operator.close)
        first, second = (str(write_small(tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 2)))
        assembly, failures = await opened(stack, settings(source, redis=redis, model={"path": first, "device": "cpu"}))
        cache = assembly.knowledge.misses[scope].cache
        cache.add(replace(pin, names=("guess",)))
        await operator.put(scope, [pin])
        async with asyncio.timeout(30):
            while cache.find(pin.id) != pin:  # noqa: ASYNC110  what it waits for happens in Redis
                await asyncio.sleep(0)
        await assembly.reload(settings(source, redis=redis, model={"path": second, "device": "cpu"}))
        assert assembly.knowledge.misses[scope].cache.find(pin.id) == pin
        await operator.remove(scope, [pin.id])
        async with asyncio.timeout(30):
            while assembly.knowledge.misses[scope].cache.find(pin.id) is not None:  # noqa: ASYNC110  the same
                await asyncio.sleep(0)
        assert failures == []


@pytest.mark.redis
async def test_a_new_redis_gets_what_the_worker_knows(
    redis_server: RedisServer | ForeignRedis, breakable_redis: RedisServer
) -> None:
    """Other workers of the new one find it there; what the old one heard last is known too."""
    source, group = {**SHOP, "template_scope": f"shop-{uuid4().hex}"}, {"timeout_seconds": 10.0}
    async with AsyncExitStack() as stack:
        assembly, failures = await opened(stack, settings(source, redis={"url": redis_server.url, **group}))
        other = TemplateStore.connect(redis_server.url, parser_version="none")
        await other.load(source["template_scope"])
        await other.publish(source["template_scope"], [(Template.from_text("user <*> left"), 1)])
        await other.close()
        await assembly.reload(settings(source, redis={"url": breakable_redis.url, **group}))
        other = TemplateStore.connect(breakable_redis.url, parser_version="none")
        assert [one.text for one in await other.load(source["template_scope"])] == ["user <*> left"]
        await other.close()
        assert failures == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": {"path": "/no/such/folder"}}, "no/such"),
        ({"prompt": "no-such"}, "sources.shop.prompt: .*it has none"),
        ({"taught": b"broken"}, "fields"),
    ],
)
async def test_a_reload_that_fails_changes_nothing(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    """What was opened on the way is closed, and the worker's parts are the ones from before."""
    model = {"path": str(write_small(tmp_path / "a")), "device": "cpu"}
    new = {"path": str(write_small(tmp_path / "b", seed=2)), "device": "cpu"}
    source = {**SHOP, **({"prompt": wrong["prompt"]} if "prompt" in wrong else {})}
    if "taught" in wrong:
        source |= {"prompt": "mail", "fields": ("user",)}
        folder = prompt_folder(tmp_path / "b", "mail")
        folder.mkdir(parents=True)
        (folder / FIELDS).write_bytes(wrong["taught"])
    async with AsyncExitStack() as stack:
        assembly, failures = await opened(stack, settings(model=model))
        before = (assembly.settings, assembly.knowledge, assembly.pipelines["shop"].parts)
        with pytest.raises(WrongModel, match=said):
            await assembly.reload(settings(source, model=wrong.get("model", new)))
        assert (assembly.settings, assembly.knowledge, assembly.pipelines["shop"].parts) == before
        assert isinstance(assembly.knowledge.model, LoadedModel)
        assert await assembly.knowledge.model.batcher.templates([b"took 5 s"]) is not None
        assert failures == []


def test_who_loads_no_model_knows_its_versions(tmp_path: Path) -> None:
    """They are those of who loads it: else neither would take the other's templates."""
    write_known(prompt_folder(write_small(tmp_path), "mail") / KNOWN, [Template.from_text("took <*> s")])
    settings = Model(path=str(tmp_path))
    model = RemoteModel.load(str(tmp_path), settings)
    for prompt in (None, "mail"):
        assert model.version_of(prompt) == checkpoint_version(tmp_path, prompt)
    with pytest.raises(WrongModel, match="has no prompt 'post'; it has mail"):
        model.version_of("post")
    assert model.is_that_of(settings)
    write_small(tmp_path, seed=2)
    assert not model.is_that_of(settings)


async def test_a_checkpoint_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of one and labels of another would carry the name of one of them."""
    write_small(tmp_path)
    load = EncoderParser.load

    def loaded(path: str, **options: Any) -> EncoderParser:
        parser = load(path, **options)
        write_small(tmp_path, seed=2)
        return parser

    monkeypatch.setattr(EncoderParser, "load", loaded)
    async with AsyncExitStack() as stack:
        with pytest.raises(WrongModel, match="changed while it was read"):
            await opened(stack, settings(model={"path": str(tmp_path), "device": "cpu"}))


@pytest.mark.redis
async def test_reloads_leave_nothing_behind(tmp_path: Path, redis_server: RedisServer | ForeignRedis) -> None:
    """After many of them there are as many tasks, threads and files as after the first, and one parser."""
    folders = [str(write_small(tmp_path / str(seed), seed=seed)) for seed in (1, 2)]
    parsers = list[weakref.ref[EncoderParser]]()

    def left() -> tuple[int, int, int]:
        return len(asyncio.all_tasks()), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    async with AsyncExitStack() as stack:
        its = [
            settings(model={"path": folder, "device": "cpu"}, redis={"url": redis_server.url, "timeout_seconds": 10.0})
            for folder in folders
        ]
        assembly, failures = await opened(stack, its[0])
        for number in range(1, 23):
            model = assembly.knowledge.model
            assert isinstance(model, LoadedModel)
            assert await model.batcher.templates([b"took 5 s"]) is not None
            parsers.append(weakref.ref(model.parser))
            del model
            if number == 2:
                before = left()
            await assembly.reload(its[number % 2])
        assert [parser() for parser in parsers] == [None] * 22
        assert failures == []
        assert all(now <= then for now, then in zip(left(), before, strict=True))
