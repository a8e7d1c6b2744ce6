"""What the last events tell of templates, on a real Kafka; and names that a running worker is given."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import msgpack
import pytest
from click.testing import CliRunner, Result

from tests.integration.worker_process import environment, running
from tests.kafka_broker import KafkaBroker, wait_until
from tests.redis_server import ForeignRedis, RedisServer
from worker.cache.store import TemplateStore
from worker.cli import cli
from worker.cli.sightings import Bounds, look
from worker.parsing.templates import Template
from worker.settings import Kafka, Output, Settings
from worker.transport.admin import producer

pytestmark = pytest.mark.kafka

_LEFT = Template.from_text("user <*> left")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own logloom.toml out."""
    monkeypatch.chdir(tmp_path)


def _event(body: str, template_id: str, *, source: str = "sshd", second: int = 0) -> bytes:
    attributes = {"logloom.source": source, "log.record.template.id": template_id}
    observed = f"2026-11-23T10:00:{second:02}.000Z"
    return json.dumps({"observed_timestamp": observed, "body": body, "attributes": attributes}).encode()


def _settings(kafka: KafkaBroker, topic: str) -> Settings:
    return Settings(kafka=Kafka(bootstrap_servers=(kafka.bootstrap,)), output=Output(topic=topic))


def _send(kafka: KafkaBroker, topic: str, *values: bytes | None) -> None:
    with producer(Kafka(bootstrap_servers=(kafka.bootstrap,))) as opened:
        for number, value in enumerate(values):
            opened.send(topic, value, key=b"k", partition=number % 2)
        opened.flush()


def test_the_last_events_are_counted(kafka: KafkaBroker) -> None:
    """By source and template, over the time between them; what is no event counts for nothing."""
    topic = kafka.new_topic("events", partitions=2)
    packed = msgpack.packb(json.loads(_event("packed", "a", second=9)))
    events = [_event(f"user {number} left", "a", second=number) for number in range(4)]
    _send(kafka, topic, *events, _event("x", "b", source="web"), packed, b"no event", b'{"attributes":{}}', None, b"")
    found = look(_settings(kafka, topic), Bounds(events=100, seconds=60))
    assert (found.events, found.seconds) == (6, 9.0)
    assert found.by_source == {"sshd": 5, "web": 1}
    assert (found.count("a", lambda source: source == "sshd"), found.count("a", lambda source: source == "web")) == (
        5,
        0,
    )
    assert (found.of(lambda _: True), found.examples) == (6, [])


def test_no_more_is_read_than_is_asked_for(kafka: KafkaBroker) -> None:
    """The last events of each partition; examples are the last distinct messages among them."""
    topic = kafka.new_topic("events", partitions=2)
    _send(kafka, topic, *(_event(f"user {number // 2 % 5} left", "a") for number in range(100)))
    found = look(_settings(kafka, topic), Bounds(events=20, seconds=60), template_ids={"a"}, most=2)
    assert found.events == 20
    assert [event["body"] for event in found.examples] == ["user 3 left", "user 4 left"]


def test_time_is_bounded_too(kafka: KafkaBroker) -> None:
    """What was read by then is all; an empty topic gives nothing."""
    topic = kafka.new_topic("events", partitions=2)
    assert look(_settings(kafka, topic), Bounds(events=20, seconds=60)).events == 0
    _send(kafka, topic, *(_event("user left", "a") for _ in range(10)))
    assert look(_settings(kafka, topic), Bounds(events=20, seconds=0)).events == 0


@pytest.mark.redis
@pytest.mark.slow
def test_a_worker_at_work_is_given_names(kafka: KafkaBroker, redis_server: RedisServer | ForeignRedis) -> None:
    """A template is shown with its rate and messages; its next events carry the name that it was given."""
    raw, events, dead = (kafka.new_topic(name) for name in ("raw", "events", "dead"))
    prefix = f"test-{uuid4().hex}"
    variables = environment(
        kafka,
        topics=raw,
        events=events,
        dead=dead,
        group=raw,
        redis=redis_server.url,
        REDIS__PREFIX=prefix,
        MODEL__PATH="none",
    )

    async def teach() -> None:
        store = TemplateStore.connect(redis_server.url, prefix=prefix, parser_version="none", timeout_seconds=10.0)
        await store.put("default", [_LEFT, Template.from_text("ready")])
        await store.close()

    def run(*arguments: str) -> Result:
        shown = CliRunner().invoke(cli, ["templates", *arguments], env=variables)
        assert shown.exit_code == 0, shown.output
        return shown

    def names() -> list[str | None]:
        """Send one more message, and tell what the last event that there is calls its parameter."""
        with producer(Kafka(bootstrap_servers=(kafka.bootstrap,))) as opened:
            opened.send(raw, b"user eve left").get(30)
        found = look(_settings(kafka, events), Bounds(events=1, seconds=60), template_ids={_LEFT.id}, most=1)
        return [parameter.get("name") for parameter in found.examples[-1]["attributes"]["log.record.parameters"]]

    asyncio.run(teach())
    with running(variables) as worker:
        with producer(Kafka(bootstrap_servers=(kafka.bootstrap,))) as opened:
            for number in range(4):
                opened.send(raw, b"ready" if number == 3 else b"user u%d left" % number)
            opened.flush()
        worker.wait_for(4)
        shown = run("show", _LEFT.id[:8])
        assert "seen        3 times in 4 events of default (75.00 %" in shown.stdout
        examples = [line.split(maxsplit=4)[-1] for line in shown.stdout.splitlines() if line.startswith("example ")]
        assert examples == ["hit  user <u0> left", "hit  user <u1> left", "hit  user <u2> left"]
        assert "looked at the last 4 events" in shown.stderr
        assert [line.split()[0] for line in run("list", "--rates").stdout.splitlines()] == ["75.00", "25.00"]
        run("rename", _LEFT.id, "1=account")
        wait_until(lambda: names() == ["account"], seconds=60, what="the name in events")
        run("unpin", _LEFT.id)
        wait_until(lambda: names() == [None], seconds=60, what="events without the name")
