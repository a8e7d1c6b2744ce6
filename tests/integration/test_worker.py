"""The whole worker as a process, on a real Apache Kafka and a real Redis.

Where the model is not the point there is none: Redis is filled with the templates before the worker starts.
"""

import asyncio
import json
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema
import msgpack
import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition

from tests.integration.worker_process import WorkerProcess, environment, running
from tests.kafka_broker import KafkaBroker, wait_until
from tests.redis_server import ForeignRedis, RedisServer
from worker.cache.store import TemplateStore
from worker.cli import cli
from worker.codec.events import event_schema
from worker.parsing.checkpoint import BASE, WEIGHTS, checkpoint_folder, checkpoint_version
from worker.parsing.templates import Template
from worker.settings import Kafka
from worker.transport.admin import consumer, producer, teach_compression

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280)]

#: For tests in which the model learns.
needs_weights = pytest.mark.skipif(
    not (checkpoint_folder(BASE) / WEIGHTS).is_file(), reason="the weights of `base` are not here"
)
#: What a worker without a model says it parses with.
NO_MODEL = "none"
KEYS = (b"a", b"b", b"c", None)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Topics of one test, and the group that reads them."""

    kafka: KafkaBroker
    raw: str
    events: str
    dead: str
    partitions: int

    @property
    def group(self) -> str:
        """Name of the consumer group."""
        return f"group-{self.raw}"

    def settings(self, *, topics: str | None = "", redis: str | None = None, **more: str) -> dict[str, str]:
        """Make a worker's environment: by default it reads `raw` as the source `default`."""
        return environment(
            self.kafka,
            topics=self.raw if topics == "" else topics,
            events=self.events,
            dead=self.dead,
            group=self.group,
            redis=redis,
            **more,
        )

    def send(self, values: Iterable[bytes | None], *, topic: str | None = None, **options: Any) -> None:
        """Produce `values` to partition 0, or as `options` of each send say."""
        with producer(
            Kafka(bootstrap_servers=(self.kafka.bootstrap,)), linger_ms=5, max_request_size=4_000_000
        ) as opened:
            for value in values:
                key = b"gone" if value is None else None  # kafka-python sends no record with neither
                opened.send(topic or self.raw, value, **{"partition": 0, "key": key, **options})
            opened.flush()

    def read(self, topic: str, records: int) -> list[Any]:
        """Read as many records of all partitions of `topic` with kafka-python, as they stand in them."""
        teach_compression()
        found: list[Any] = []
        with consumer(Kafka(bootstrap_servers=(self.kafka.bootstrap,))) as opened:
            places = [KafkaPartition(topic, number) for number in opened.partitions_for_topic(topic) or ()]
            opened.assign(places)
            opened.seek_to_beginning()
            wait_until(lambda: sum(opened.end_offsets(places).values()) >= records, seconds=60, what="events")
            while len(found) < records:
                for batch in opened.poll(timeout_ms=500).values():
                    found += batch
        return found

    def read_events(self, count: int) -> list[dict[str, Any]]:
        """Read as many events and hold each to the schema."""
        events = [json.loads(record.value) for record in self.read(self.events, count)]
        schema = jsonschema.Draft202012Validator(event_schema())
        for event in events:
            schema.validate(event)
        return events

    def bodies(self, count: int) -> list[str]:
        """Read what as many events say, sorted."""
        return sorted(event["body"] for event in self.read_events(count))

    def committed(self) -> int:
        """Return the sum of what the group committed."""
        return sum(self.kafka.committed(self.group).values())


@pytest.fixture
def place(kafka: KafkaBroker) -> Place:
    """Give new topics of two partitions."""
    return new_place(kafka)


def new_place(kafka: KafkaBroker, partitions: int = 2, configs: Mapping[str, str] | None = None) -> Place:
    """Make new topics."""
    raw, events, dead = (kafka.new_topic(name, partitions, configs) for name in ("raw", "events", "dead"))
    return Place(kafka=kafka, raw=raw, events=events, dead=dead, partitions=partitions)


def fill(redis: RedisServer | ForeignRedis, *texts: str, spacious: Sequence[str] = (), version: str = NO_MODEL) -> None:
    """Put templates into Redis as another worker would; parameters of those in `spacious` may hold white space."""

    async def publish() -> None:
        store = TemplateStore.connect(redis.url, parser_version=version)
        await store.load("default")
        learned = [Template.from_text(text, spacious=[0] if text in spacious else []) for text in texts]
        await store.publish("default", [(template, number) for number, template in enumerate(learned, 1)])
        await store.close()

    asyncio.run(publish())


def stored(redis: RedisServer | ForeignRedis, *, version: str = NO_MODEL) -> list[str]:
    """Return the texts of the templates in Redis, sorted."""

    async def read() -> list[str]:
        store = TemplateStore.connect(redis.url, parser_version=version)
        texts = sorted([template.text async for template in store.templates("default")])
        await store.close()
        return texts

    return asyncio.run(read())


@pytest.fixture
def templates(empty_redis: RedisServer | ForeignRedis) -> RedisServer | ForeignRedis:
    """Give a Redis that holds some templates for the source `default`, and nothing else."""
    fill(empty_redis, "took <*> ms", "record <*> of <*>", "blob <*>", "failed <*>", spacious=("failed <*>",))
    return empty_redis


ODD = [
    b"took 12 ms",
    b"took \x00 ms",
    b"took \x01\x1b\x7f ms",
    b"took \xff\xfe\x80 ms",
    "took \U0001f600\u00e9 ms".encode(),
    b'took "\\ ms',
    b"blob " + b"x" * 1_000_000,
    b"blob " + b"\x01" * 250_000,
    b"",
    b"   ",
    b"{not json",
    None,
]


@needs_weights
def test_raw_logs_become_events(kafka: KafkaBroker, redis_server: RedisServer | ForeignRedis) -> None:
    """Whatever a record holds it becomes one event or dead letter; key, headers, partition and order stay.

    Python's and Java's clients read the same, and the metrics account for every record.
    """
    place = new_place(kafka, configs={"max.message.bytes": "4000000"})
    version = checkpoint_version(BASE)
    fill(redis_server, "took <*> ms", "blob <*>", version=version)
    headers = [("h", b"1"), ("h", b"\xff"), ("", b"")]
    for partition in range(2):
        place.send(ODD, partition=partition, headers=headers)
        place.send([b"took 13 ms"], partition=partition, key=b"k\x00\xff")
    settings = place.settings(
        redis=redis_server.url,
        MULTILINE__ENABLED="false",
        OUTPUT__MAX_BATCH_BYTES="3500000",
        MODEL__DEVICE="cpu",
        REDIS__TIMEOUT_SECONDS="10",
    )
    sent = 2 * (len(ODD) + 1)
    with running(settings, is_ready=False) as worker:
        worker.wait(lambda: worker.status("/healthz") == 200, what="healthy")
        assert (worker.status("/startupz"), worker.status("/readyz")) == (503, 503)
        worker.wait_until_ready()
        assert worker.status("/startupz") == 200
        worker.wait_for(sent)
        metrics = worker.metrics()
        assert worker.terminate() == 0
    assert metrics["logloom_records_total"] == sent
    assert metrics["logloom_tombstones_total"] == 2
    dead, events = metrics["logloom_dead_letters_total"], metrics["logloom_events_total"]
    assert events + dead == sent - 2
    for partition in range(2):
        records = [record for record in place.read(place.events, events) if record.partition == partition]
        offsets = [json.loads(record.value)["attributes"]["logloom.offset"] for record in records]
        assert sorted(offsets) == offsets
        by_offset = dict(zip(offsets, records, strict=True))
        for offset in range(8):
            assert json.loads(by_offset[offset].value)["body"] == (ODD[offset] or b"").decode(errors="replace")
            assert (by_offset[offset].key, by_offset[offset].headers) == (None, headers)
        assert by_offset[len(ODD)].key == b"k\x00\xff"
    read = place.read_events(events)
    assert {event["attributes"]["logloom.parser"] for event in read} == {version}
    by_java = kafka.console_consumer(place.events, events).splitlines()
    assert sorted(by_java) == sorted(record.value for record in place.read(place.events, events))
    assert place.committed() == sent


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compression(place: Place, templates: RedisServer | ForeignRedis, codec: str) -> None:
    """Batches in every codec are read, and written so that other clients read them; msgpack events too."""
    form = "msgpack" if codec == "zstd" else "json"
    teach_compression()
    sending = KafkaProducer(bootstrap_servers=place.kafka.bootstrap, compression_type=codec, linger_ms=20)
    for number in range(500):
        sending.send(place.raw, b"took %d ms" % number, partition=number % 2)
    sending.close()
    with running(
        place.settings(redis=templates.url, MODEL__PATH="none", OUTPUT__COMPRESSION=codec, OUTPUT__FORMAT=form)
    ) as worker:
        worker.wait_for(500)
        metrics = worker.metrics()
        assert worker.terminate() == 0
    decode = msgpack.unpackb if form == "msgpack" else json.loads
    events = [decode(record.value) for record in place.read(place.events, 500)]
    assert sorted(event["body"] for event in events) == sorted(f"took {number} ms" for number in range(500))
    assert metrics["logloom_event_bytes_total"] < 500 * 100
    if form == "json":
        assert len(place.kafka.console_consumer(place.events, 500).splitlines()) == 500


def test_dead_letters_and_their_replay(place: Place, templates: RedisServer | ForeignRedis) -> None:
    """What can't become an event lands in its topic with the reason; put right, a replay brings it back as events."""
    values = [
        b'{"message":"took 1 ms"}',
        b'{"mess',
        b'{"message":"took %d ms"}' % 10**300,
        b'{"message":"what is this"}',
    ]
    place.send(values, key=b"k", headers=[("h", b"1")])
    more = {"MODEL__PATH": "none", "SOURCES__shop__TOPICS": place.raw, "SOURCES__shop__TEMPLATE_SCOPE": "default"}
    narrow = place.settings(
        topics=None, redis=templates.url, SOURCES__shop__ENVELOPE="json", LIMITS__MAX_LINE_BYTES="200", **more
    )
    with running(narrow) as worker:
        worker.wait_for(4)
        metrics = worker.metrics()
        assert worker.terminate() == 0
    assert metrics["logloom_events_total"] == 1
    letters = {dict(record.headers)["logloom.reason"]: record for record in place.read(place.dead, 3)}
    assert {reason: letter.value for reason, letter in letters.items()} == {
        b"undecodable": values[1],
        b"too_large": values[2],
        b"unparsable": values[3],
    }
    for number, reason in enumerate((b"undecodable", b"too_large", b"unparsable"), 1):
        headers = dict(letters[reason].headers)
        assert (letters[reason].key, headers["h"]) == (b"k", b"1")
        assert (headers["logloom.source"], headers["logloom.topic"]) == (b"shop", place.raw.encode())
        assert (headers["logloom.partition"], headers["logloom.offset"]) == (b"0", b"%d" % number)
        assert headers["logloom.error"]
    replayed = CliRunner().invoke(cli, ["dead-letters", "replay"], env=narrow)
    assert replayed.exit_code == 0, replayed.output
    fill(templates, "what is this", '{"mess')
    with running(place.settings(topics=None, redis=templates.url, SOURCES__shop__ENVELOPE="auto", **more)) as worker:
        worker.wait_for(3)
        assert worker.metrics()["logloom_dead_letters_total"] == 0
        assert worker.terminate() == 0
    assert place.bodies(4) == sorted(["took 1 ms", '{"mess', f"took {10**300} ms", "what is this"])


def model_calls(worker: WorkerProcess) -> int:
    """Return how many messages the worker's model was asked."""
    return worker.metrics()["logloom_micro_batch_rows_sum"]


@needs_weights
def test_workers_share_what_they_learn(place: Place, empty_redis: RedisServer | ForeignRedis) -> None:
    """What one worker learns the other hits; both missing the same message at once end with one template."""
    version = checkpoint_version(BASE)
    settings = place.settings(
        redis=empty_redis.url, MULTILINE__ENABLED="false", MODEL__DEVICE="cpu", REDIS__TIMEOUT_SECONDS="10"
    )
    with running(settings) as one, running(settings) as other:
        workers = (one, other)

        def until(records: int) -> None:
            one.wait(lambda: sum(worker.accounted() for worker in workers) >= records, what=f"{records} records")

        def both_hold_a_partition() -> bool:
            return all(worker.metrics()["logloom_records_total"] > 0 for worker in workers)

        sent = 0

        def send_to_both() -> bool:
            nonlocal sent
            for partition in range(2):
                place.send([b"Accepted connection from 10.0.0.7:5121"], partition=partition)
            sent += 2
            until(sent)
            return both_hold_a_partition()

        one.wait(send_to_both, what="a partition each")
        # One after the other: the second never asks its model.
        place.send([b"user 4711 logged in after 12 attempts"], partition=0)
        until(sent + 1)
        asked = [model_calls(worker) for worker in workers]
        version_templates = stored(empty_redis, version=version)
        place.send([b"user 4712 logged in after 13 attempts"], partition=1)
        until(sent + 2)
        assert [model_calls(worker) for worker in workers] == asked
        assert stored(empty_redis, version=version) == version_templates
        # At the same time.
        for partition in range(2):
            place.send([b"Deleted segment 00017 of log orders-3 in 5 ms"], partition=partition)
        until(sent + 4)
        assert [worker.terminate() for worker in workers] == [0, 0]
    events = place.read_events(sent + 4)
    ids = {
        event["attributes"]["log.record.template.id"] for event in events if event["body"].startswith("Deleted segment")
    }
    assert len(ids) == 1
    assert sum(text.startswith("Deleted segment") for text in stored(empty_redis, version=version)) == 1


@needs_weights
def test_templates_are_announced(place: Place, redis_server: RedisServer | ForeignRedis) -> None:
    """Every id that an event carries was announced before; of what was replaced the topic tells what came for it."""
    topic = f"{place.raw}.templates"
    place.kafka.create_topic(topic, partitions=1)
    settings = place.settings(redis=redis_server.url, OUTPUT__TEMPLATES_TOPIC=topic)
    users = ("bob", "eve", "joe", "kim", "pat", "sam", "ann", "max")
    with running(settings) as worker:
        place.send([b"disk sda is full"])
        worker.wait_for(1)
        place.send([f"session of {user} was closed after {number} s".encode() for number, user in enumerate(users)])
        worker.wait_for(1 + len(users))
        assert worker.terminate() == 0
    with consumer(Kafka(bootstrap_servers=(place.kafka.bootstrap,))) as opened:
        count = sum(opened.end_offsets([KafkaPartition(topic, 0)]).values())
    announced = place.read(topic, count)
    events = place.read(place.events, 1 + len(users))
    told = [json.loads(record.value) for record in announced]
    assert [f"default:{one['id']}".encode() for one in told] == [record.key for record in announced]
    known = {one["id"] for one in told if one["reason"] != "replaced"}
    for record in events:
        attributes = json.loads(record.value)["attributes"]
        assert attributes["log.record.template.id"] in known
    assert {"new"} <= {one["reason"] for one in told} <= {"new", "settled", "replaced"}
    assert {one["replaced_by"] for one in told if one["reason"] == "replaced"} <= known


@needs_weights
def test_redis_is_lost_and_comes_back(place: Place, breakable_redis: RedisServer) -> None:
    """Without Redis the worker goes on; it refills one that comes back empty, and then a new worker asks no model."""
    version = checkpoint_version(BASE)
    settings = place.settings(
        redis=breakable_redis.url, MULTILINE__ENABLED="false", MODEL__DEVICE="cpu", REDIS__TIMEOUT_SECONDS="10"
    )
    before, during = b"Accepted connection from 10.0.0.7:5121", b"user 4711 logged in after 12 attempts"
    with running(settings) as worker:
        place.send([before])
        worker.wait_for(1)
        assert len(stored(breakable_redis, version=version)) == 1
        breakable_redis.stop()
        place.send([during])
        worker.wait_for(2)
        assert worker.metrics()["logloom_redis_errors_total"] > 0
        breakable_redis.start()
        worker.wait(lambda: len(stored(breakable_redis, version=version)) == 2, what="templates written back")
        assert worker.metrics()["logloom_redis_pending_templates"] in {0, 1}  # a gauge, read now and then
        assert worker.terminate() == 0
    with running(settings) as worker:
        place.send([before, during, b"user 4719 logged in after 1 attempts"])
        worker.wait_for(3)
        assert model_calls(worker) == 0
        assert worker.metrics()["logloom_misses_total"] == 0
        assert worker.terminate() == 0
    assert len(place.read_events(5)) == 5


TRACE = [b"failed 7", b"java.io.IOException: gone", b"\tat A.b(A.java:1)", b"Caused by: x.Y: z", b"\tat C.d(C.java:2)"]
OTLP = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[%b]}]}]}'


def test_several_sources_and_a_topic_that_comes_later(place: Place, templates: RedisServer | ForeignRedis) -> None:
    """Each source has its own envelope and header; traces are joined over batches; a pattern takes new topics."""
    kafka = place.kafka
    otlp, prefix = kafka.new_topic("otlp"), f"late{time.time_ns()}"
    sources = {
        "app": {"TOPICS": place.raw, "ENVELOPE": "raw", "HEADER": "<Level> <Content>"},
        "traces": {"TOPICS": kafka.new_topic("traces"), "ENVELOPE": "raw", "HEADER": "none"},
        "otel": {"TOPICS": otlp, "ENVELOPE": "otlp"},
        "late": {"TOPIC_PATTERN": rf"{prefix}\..*", "ENVELOPE": "raw", "HEADER": "none"},
    }
    declared = {
        f"SOURCES__{source}__{name}": value
        for source, its in sources.items()
        for name, value in {**its, "TEMPLATE_SCOPE": "default"}.items()
    }
    with running(
        place.settings(
            topics=None, redis=templates.url, MODEL__PATH="none", KAFKA__METADATA_MAX_AGE_MS="1000", **declared
        )
    ) as worker:
        place.send([b"WARN took 1 ms"])
        for line in TRACE:
            place.send([line], topic=sources["traces"]["TOPICS"])
        three = b",".join(b'{"body":{"stringValue":"took %d ms"}}' % number for number in (2, 3, 4))
        place.send([OTLP % three], topic=otlp)
        worker.wait_for(7)
        topic = kafka.create_topic(f"{prefix}.one")
        place.send([b"took 5 ms"], topic=topic)
        worker.wait_for(8)
        assert worker.terminate() == 0
    events = {event["body"]: event for event in place.read_events(6)}
    trace = b"\n".join(TRACE).decode()
    assert set(events) == {trace, *(f"took {number} ms" for number in range(1, 6))}
    assert events["took 1 ms"]["severity_text"] == "WARN"
    found = {body: event["attributes"]["logloom.source"] for body, event in events.items()}
    assert [found[trace], found["took 1 ms"], found["took 2 ms"], found["took 5 ms"]] == [
        "traces", "app", "otel", "late",
    ]  # fmt: skip


def test_stock_transport(place: Place, templates: RedisServer | ForeignRedis) -> None:
    """With Faust's own transport the same comes out, and all of it is committed at the end."""
    place.send([b"took %d ms" % number for number in range(300)] + [None])
    with running(place.settings(redis=templates.url, MODEL__PATH="none", TRANSPORT="faust")) as worker:
        worker.wait_for(301)
        assert worker.terminate() == 0
    assert [event["body"] for event in place.read_events(300)] == [f"took {number} ms" for number in range(300)]
    assert place.committed() == 301


def test_a_broken_world_ends_the_worker(kafka: KafkaBroker, templates: RedisServer | ForeignRedis) -> None:
    """Events that the broker can't take end the worker with 1 and the reason; nothing is committed."""
    wide = new_place(kafka)
    place = Place(kafka=kafka, raw=wide.raw, events=kafka.new_topic("narrow"), dead=wide.dead, partitions=2)
    place.send([b"took 1 ms"], partition=1)
    with running(place.settings(redis=templates.url, MODEL__PATH="none"), is_ready=False) as worker:
        assert worker.process.wait(90) == 1
        assert "give it at least as many as the topic that is read" in worker.log
    assert place.committed() == 0


RECORDS, PARTITIONS, KILLS = 200_000, 3, 5


@pytest.fixture(scope="module")
def filled_topic(kafka: KafkaBroker) -> str:
    """Give a topic of RECORDS records, each saying its number within its partition, under one of four keys."""
    topic = kafka.new_topic("filled", PARTITIONS)
    sending = KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, batch_size=16384)
    for number in range(RECORDS):
        at, partition = divmod(number, PARTITIONS)
        sending.send(topic, b"record %d of 200000" % at, key=KEYS[at % len(KEYS)], partition=partition)
    sending.close()
    return topic


class Progress:
    """What stands in the events topic of a worker that may be killed."""

    def __init__(self, kafka: KafkaBroker, filled_topic: str, redis: RedisServer | ForeignRedis) -> None:
        events, dead = kafka.new_topic("events", PARTITIONS), kafka.new_topic("dead")
        self.place = Place(kafka=kafka, raw=filled_topic, events=events, dead=dead, partitions=PARTITIONS)
        # Small fetches, so that it can be caught in the middle.
        self.settings = {
            **self.place.settings(
                redis=redis.url,
                MODEL__PATH="none",
                KAFKA__SESSION_TIMEOUT_MS="3000",
                KAFKA__MAX_PARTITION_FETCH_BYTES="65536",
                LIMITS__MAX_BYTES_IN_FLIGHT="1048576",
            ),
            "LOGLOOM_KAFKA__GROUP_ID": f"group-{events}",
        }
        self._partitions = [KafkaPartition(events, number) for number in range(PARTITIONS)]
        self._consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)

    def count(self) -> int:
        """Return how many events there are."""
        return sum(self._consumer.end_offsets(self._partitions).values())

    def wait_for(self, worker: WorkerProcess, events: int) -> None:
        """Wait until there are so many events."""
        wait_until(lambda: self.count() >= events or worker.process.poll() is not None, seconds=60, what="progress")

    def finish(self) -> None:
        """Run a worker until all is committed, then stop it in order."""

        def is_all_committed() -> bool:
            return sum(self.place.kafka.committed(self.settings["LOGLOOM_KAFKA__GROUP_ID"]).values()) == RECORDS

        with running(self.settings) as worker:
            worker.wait(is_all_committed, what="the last commit")
            assert worker.terminate() == 0

    def duplicates(self) -> int:
        """Return how many events come again. Fails if a record has none, or comes before one of its key before it."""
        self._consumer.close()
        numbers: dict[tuple[int, bytes | None], list[int]] = defaultdict(list)
        records = self.place.read(self.place.events, self.count_at_end)
        for record in records:
            numbers[record.partition, record.key].append(int(json.loads(record.value)["body"].split()[1]))
        for (partition, key), found in numbers.items():
            due = [at for at in range(len(range(partition, RECORDS, PARTITIONS))) if KEYS[at % len(KEYS)] == key]
            assert first_times(found) == due
        assert len(numbers) == PARTITIONS * len(KEYS)
        return len(records) - RECORDS

    @property
    def count_at_end(self) -> int:
        """Return how many events there are, by a consumer of its own."""
        own = KafkaConsumer(bootstrap_servers=self.place.kafka.bootstrap)
        try:
            return sum(own.end_offsets(self._partitions).values())
        finally:
            own.close()


def first_times(numbers: Sequence[int]) -> list[int]:
    """Return `numbers` without those that came before; what comes again must come in order too."""
    highest, firsts = -1, []
    for number in numbers:
        if number > highest:
            firsts.append(number)
            highest = number
    return firsts


def test_five_sigkills_lose_nothing(
    kafka: KafkaBroker,
    filled_topic: str,
    templates: RedisServer | ForeignRedis,
    record_property: Callable[[str, object], None],
) -> None:
    """A worker killed five times at random in 200,000 records loses none and keeps the order per partition and key."""
    progress = Progress(kafka, filled_topic, templates)
    chance = random.Random(7)
    for kill in range(KILLS):
        with running(progress.settings) as worker:
            goal = progress.count() + chance.randint(1_000, RECORDS // 4)
            progress.wait_for(worker, goal)
            assert worker.process.poll() is None, f"kill {kill}: it ended by itself: {worker.log[-3000:]}"
            worker.process.send_signal(signal.SIGKILL)
            assert worker.process.wait() == -signal.SIGKILL
    progress.finish()
    again = progress.duplicates()
    record_property("duplicates", again)
    print(f"{again} of {RECORDS} events came again after {KILLS} kills")  # noqa: T201 - a figure worth seeing


def test_sigterm_makes_no_duplicate(
    kafka: KafkaBroker, filled_topic: str, templates: RedisServer | ForeignRedis
) -> None:
    """A worker told to stop in the middle finishes, commits and exits with 0: its successor repeats nothing."""
    progress = Progress(kafka, filled_topic, templates)
    with running(progress.settings) as worker:
        progress.wait_for(worker, RECORDS // 3)
        assert worker.terminate() == 0
    assert progress.count() < RECORDS
    progress.finish()
    assert progress.duplicates() == 0
