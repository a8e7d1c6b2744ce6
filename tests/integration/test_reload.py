"""Reloads of a running worker, under load, on a real Apache Kafka and a real Redis."""

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition

from tests.chaos.checker import check, read_dead, read_events, read_lines
from tests.chaos.feed import TEMPLATES, Feeder
from tests.integration.worker_process import DELIVERIES, WorkerProcess, environment, running
from tests.kafka_broker import KafkaBroker, wait_until
from tests.parsing.checkpoints import write_small
from tests.redis_server import ForeignRedis, RedisServer
from worker.cli import cli
from worker.parsing.checkpoint import KNOWN, checkpoint_version, prompt_folder
from worker.parsing.known import write_known
from worker.parsing.templates import Template

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280)]

PARTITIONS = 3


def checkpoint(folder: Path, *, seed: int, prompts: Sequence[str] = ()) -> Path:
    """Write a checkpoint that knows the feeder's templates, under no prompt and under each of `prompts`."""
    write_small(folder, seed=seed)
    write_known(folder / KNOWN, TEMPLATES)
    for number, prompt in enumerate(prompts):
        # Prompts of other content have other versions.
        write_known(prompt_folder(folder, prompt) / KNOWN, [*TEMPLATES, Template.from_text(f"prompt {number} <*>")])
    return folder


@dataclass
class Place:
    """Topics, a file of settings, and what fills the input."""

    kafka: KafkaBroker
    raw: str
    events: str
    dead: str
    file: Path
    #: The worker's environment.
    environment: dict[str, str]
    feeder: Feeder
    #: The parser's version under each generation of settings that was in force, in order.
    versions: list[str] = field(default_factory=list)

    def set(self, model: Path | str, **source: Any) -> None:
        """Write the settings: the generation stands in each event's resource."""
        generation = str(len(self.versions))
        lines = [f"model = {json.dumps({'path': str(model), 'device': 'cpu'})}", "[sources.shop]"]
        its = {"topics": [self.raw], "header": "none", "envelope": "raw", **source}
        lines += [f"{name} = {json.dumps(value)}" for name, value in its.items()]
        lines += [f'resource = {{ generation = "{generation}" }}']
        self.file.write_text("\n".join(lines).replace('": ', '" = '))

    def take(self, worker: WorkerProcess, model: Path, prompt: str | None = None, **source: Any) -> None:
        """Change the settings and have the worker take them; return when events are written with them."""
        self.set(model, **source, **({} if prompt is None else {"prompt": prompt}))
        done = outcomes(worker)["done"]
        worker.process.send_signal(signal.SIGHUP)
        worker.wait(lambda: outcomes(worker)["done"] > done, what="a reload")
        self.versions.append(checkpoint_version(model, prompt))
        worker.wait_for(worker.accounted() + 200)

    def written(self) -> list[dict[str, Any]]:
        """Read all events, as a reader of committed records sees them, partition by partition."""
        found = []
        consumer = KafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        try:
            places = [KafkaPartition(self.events, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            while any(consumer.position(place) < ends[place] for place in places):
                for place, records in consumer.poll(timeout_ms=500).items():
                    found += [{"place": place.partition, **json.loads(record.value)} for record in records]
        finally:
            consumer.close()
        return sorted(found, key=lambda event: event["place"])

    def check(self, worker: WorkerProcess) -> None:
        """Stop the worker, and hold output against input: each line once, in order, traces whole.

        Each generation of settings was in force once in each partition, with its own parser.
        """
        self.feeder.stop()
        worker.wait(lambda: sum(self.kafka.committed(f"group-{self.raw}").values()) == self.feeder.fed, what="the end")
        assert worker.terminate() == 0
        bootstrap = self.kafka.bootstrap
        verdict = check(
            read_lines(bootstrap, self.raw), read_events(bootstrap, self.events), read_dead(bootstrap, self.dead)
        )
        assert (verdict.lines, verdict.lost, verdict.dead) == (self.feeder.fed, 0, 0)
        assert (verdict.doubled, verdict.disordered, verdict.wrong, verdict.cut) == (0, 0, 0, 0)
        for _, events in groupby(self.written(), key=lambda event: event["place"]):
            made = [(event["resource"]["generation"], event["attributes"]["logloom.parser"]) for event in events]
            assert [one for one, _ in groupby(made)] == [(str(n), name) for n, name in enumerate(self.versions)]


def outcomes(worker: WorkerProcess) -> dict[str, int]:
    """Return how many reloads were done and refused."""
    metrics = worker.metrics()
    return {name: metrics[f'logloom_reloads_total{{outcome="{name}"}}'] for name in ("done", "refused")}


def has_done(worker: WorkerProcess, reloads: int) -> bool:
    """Tell whether so many reloads were done."""
    return outcomes(worker)["done"] == reloads


@pytest.fixture
def checkpoints(tmp_path: Path) -> Mapping[str, Path]:
    """Give two checkpoints."""
    return {name: checkpoint(tmp_path / name, seed=seed, prompts=("p", "q")) for seed, name in enumerate("ab", 1)}


@pytest.fixture(params=DELIVERIES)
def place(
    request: pytest.FixtureRequest,
    kafka: KafkaBroker,
    empty_redis: RedisServer | ForeignRedis,
    checkpoints: Mapping[str, Path],
    tmp_path: Path,
) -> Place:
    """Give topics, a feeder of steady load, and settings with the first checkpoint, once for each mode of delivery."""
    raw, dead = kafka.new_topic("raw", PARTITIONS), kafka.new_topic("dead", 1)
    events = kafka.new_topic("events", PARTITIONS)
    file = tmp_path / "logloom.toml"
    settings = environment(
        kafka,
        topics=None,
        events=events,
        dead=dead,
        group=f"group-{raw}",
        redis=empty_redis.url,
        CONFIG=str(file),
        KAFKA__DELIVERY=request.param,
        # Longer than any pause of the feeder's: else lines come too late for their trace.
        MULTILINE__SECONDS="12",
    )
    feeder = Feeder(kafka.bootstrap, raw, partitions=PARTITIONS, rate=1_000, seed=3)
    place = Place(kafka=kafka, raw=raw, events=events, dead=dead, file=file, environment=settings, feeder=feeder)
    place.set(checkpoints["a"])
    place.versions.append(checkpoint_version(checkpoints["a"]))
    return place


def test_each_batch_is_parsed_by_one_state(place: Place, checkpoints: Mapping[str, Path]) -> None:
    """Checkpoint, prompt and settings change under load; each line becomes an event once, in order, traces whole."""
    a, b = checkpoints["a"], checkpoints["b"]
    with running(place.environment) as worker:
        place.feeder.start()
        worker.wait_for(500)
        place.take(worker, b)
        place.take(worker, b, "p")
        place.take(worker, b, "q")
        # Lines that wait for their stack trace are opened again.
        place.take(worker, b, "q", envelope="auto")
        place.take(worker, b, "q", encoding="latin-1")
        place.set("/no/such/checkpoint")
        worker.process.send_signal(signal.SIGHUP)
        worker.wait(lambda: outcomes(worker)["refused"] == 1, what="a refusal")
        place.take(worker, a)
        place.check(worker)


@pytest.mark.parametrize("place", ["at-least-once"], indirect=True)
def test_a_call_in_redis_reaches_every_worker(place: Place, checkpoints: Mapping[str, Path]) -> None:
    """`logloom reload` has all workers, or those of a scope, read their files anew; a scope that nobody has is told."""
    named = {"LOGLOOM_REDIS__URL": place.environment["LOGLOOM_REDIS__URL"]}

    def call(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["reload", "--config", str(place.file), *options], env=named)
        return result.exit_code, result.output

    with running(place.environment) as one, running(place.environment) as other:
        for number, options in enumerate(([], ["--scope", "shop"]), 1):
            place.set(checkpoints["ab"[number % 2]])
            code, said = call(*options)
            assert (code, said.partition(";")[0]) == (
                0,
                f"asked the workers of {options[-1] if options else 'all scopes'}",
            )
            for worker in (one, other):
                wait_until(partial(has_done, worker, number), seconds=60, what="a reload")
        code, said = call("--scope", "ship")
        assert (code, "no worker reads the scope ship; there are shop" in said) == (2, True)
        assert [outcomes(worker) for worker in (one, other)] == [{"done": 2, "refused": 0}] * 2
        assert (one.terminate(), other.terminate()) == (0, 0)


def test_signals_come_at_any_time(place: Place) -> None:
    """During a start, a rebalance and a stop too, many at once: each line becomes an event once, in order."""
    with running(place.environment, is_ready=False) as one:
        one.wait(lambda: "serving /metrics" in one.log, what="a start")
        for _ in range(20):
            one.process.send_signal(signal.SIGHUP)
        one.wait_until_ready()
        one.wait(lambda: outcomes(one)["done"] >= 1, what="a reload")
        place.feeder.start()
        one.wait_for(500)
        with running(place.environment, is_ready=False) as other:

            def is_shared() -> bool:
                one.process.send_signal(signal.SIGHUP)
                if "serving /metrics" in other.log:
                    other.process.send_signal(signal.SIGHUP)
                return other.status("/readyz") == one.status("/readyz") == 200 and other.accounted() > 500

            other.wait(is_shared, what="two workers")
            for _ in range(20):
                one.process.send_signal(signal.SIGHUP)
            one.process.send_signal(signal.SIGTERM)
            while one.process.poll() is None:
                one.process.send_signal(signal.SIGHUP)
            assert one.process.returncode == 0
            assert outcomes(other)["refused"] == 0
            place.check(other)
