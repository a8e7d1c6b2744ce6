"""`logloom status` against real servers: new templates as they come, and a worker at work."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner

from tests.integration.worker_process import environment, running
from tests.kafka_broker import KafkaBroker
from tests.redis_server import ForeignRedis, RedisServer
from worker.cache.store import TemplateStore
from worker.cli import cli
from worker.cli.newest import MOST, InRedis, NewTemplate, watching
from worker.errors import LogloomError, StoreUnavailable
from worker.parsing.templates import Template
from worker.settings import Kafka, Output, Redis, Settings
from worker.transport.admin import producer


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own logloom.toml out."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """Give a loop that outlives single calls, as the command has one."""
    with asyncio.Runner() as opened:
        yield opened


def _announced(number: int, **others: object) -> bytes:
    record = {
        "id": f"{number:016x}",
        "template": f"step {number} took <*>",
        "reason": "new",
        "replaces": [],
        "source": "app",
        "time": "2026-11-23T10:00:00.000Z",
    }
    return json.dumps(record | others).encode()


@pytest.mark.kafka
def test_templates_as_the_topic_announces_them(kafka: KafkaBroker, runner: asyncio.Runner) -> None:
    """First the last few that there are, then those that come; what is no announcement is passed over."""
    topic = kafka.new_topic("templates")
    connection = Kafka(bootstrap_servers=(kafka.bootstrap,))
    settings = Settings(kafka=connection, output=Output(templates_topic=topic))
    with producer(connection) as opened:
        for number in range(MOST + 5):
            opened.send(topic, _announced(number))
        opened.flush()
        with watching(settings, runner) as watch:
            assert [one.text for one in watch.poll()] == [f"step {number} took <*>" for number in range(5, MOST + 5)]
            assert watch.poll() == []
            for value in (b"no JSON", b"[]", b'{"reason":"new"}', _announced(98, reason="replaced"), None):
                opened.send(topic, value, key=b"k")
            opened.send(topic, _announced(99, reason="settled", replaces=["0" * 16, "1" * 16]))
            opened.flush()
            found: list[NewTemplate] = []
            while not found:
                found = watch.poll()
    assert found == [
        NewTemplate(time="2026-11-23T10:00:00.000Z", source="app", id=f"{99:016x}", text="step 99 took <*>", replaces=2)
    ]


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_told_of(kafka: KafkaBroker, runner: asyncio.Runner) -> None:
    """The rest of the view needs no topic."""
    settings = Settings(kafka=Kafka(bootstrap_servers=(kafka.bootstrap,)), output=Output(templates_topic="nowhere"))
    with watching(settings, runner) as watch, pytest.raises(LogloomError, match="the broker has no topic nowhere"):
        watch.poll()


@pytest.mark.redis
def test_templates_as_redis_has_them(redis_server: RedisServer | ForeignRedis, runner: asyncio.Runner) -> None:
    """First the last ones, whose time is not known; then those that come, once each, of every scope."""
    prefix, first, second = f"test-{uuid4().hex}", Template.from_text("user <*> left"), Template.from_text("ready")
    store = TemplateStore.connect(redis_server.url, prefix=prefix, parser_version="base-1", timeout_seconds=2.0)
    settings = Settings(redis=Redis(url=redis_server.url, prefix=prefix))

    async def publish(template: Template) -> None:
        while not (await store.publish("app", [(template, 1)])).is_written:
            pass

    with watching(settings, runner) as watch:
        assert watch.poll() == []
        runner.run(publish(first))
        assert isinstance(watch, InRedis)
        watch.forget_scopes()
        assert watch.poll() == [NewTemplate(time=None, source="app", id=first.id, text="user <*> left")]
        runner.run(publish(second))
        runner.run(store.remove("app", [first.id]))
        (found,) = watch.poll()
        assert (found.id, found.time is not None, watch.poll()) == (second.id, True, [])
    runner.run(store.close())


@pytest.mark.redis
def test_redis_may_go_and_come(breakable_redis: RedisServer, runner: asyncio.Runner) -> None:
    """What can't be told now may be told later."""
    settings = Settings(redis=Redis(url=breakable_redis.url))
    breakable_redis.stop()
    with watching(settings, runner) as watch:
        with pytest.raises(StoreUnavailable):
            watch.poll()
        breakable_redis.start()
        found = None
        while found is None:
            try:
                found = watch.poll()
            except StoreUnavailable:
                continue
    assert found == []


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.slow
def test_a_worker_at_work(kafka: KafkaBroker, redis_server: RedisServer | ForeignRedis) -> None:
    """Its figures and the templates that it found stand in one table of a script."""
    raw, events, dead, templates = (kafka.new_topic(name) for name in ("raw", "events", "dead", "templates"))
    variables = environment(
        kafka,
        topics=raw,
        events=events,
        dead=dead,
        group=raw,
        redis=redis_server.url,
        OUTPUT__TEMPLATES_TOPIC=templates,
        REDIS__PREFIX=f"test-{uuid4().hex}",
    )
    with running(variables) as worker:
        with producer(Kafka(bootstrap_servers=(kafka.bootstrap,))) as opened:
            for number in range(200):
                opened.send(raw, b"session %d of user ann opened" % number)
            opened.flush()
        worker.wait_for(200)
        worker.wait(
            lambda: "logloom_lag_records{" in worker.scrape() and not worker.metrics()["logloom_lag_records"],
            what="no lag",
        )
        arguments = ["status", "--json", "--interval", "0.1", "--workers", worker.address]
        shown = CliRunner().invoke(cli, arguments, env=variables)
        assert shown.exit_code == 0, shown.output
        told = json.loads(shown.stdout)
    (source,), (one,) = told["sources"], told["workers"]
    assert (source["name"], source["lag"], source["in_flight"], source["dead_letters"]) == ("default", 0, 0, {})
    assert source["templates"] == len(told["new_templates"]) >= 1
    assert {template["source"] for template in told["new_templates"]} == {"default"}
    assert one["parser"].startswith("base-")
    assert told["silent"] == []
