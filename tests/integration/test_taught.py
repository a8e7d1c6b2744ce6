"""From labelled lines to events: a taught checkpoint in a worker on a real Apache Kafka and a real Redis."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.worker_process import environment, running
from tests.kafka_broker import KafkaBroker
from tests.redis_server import ForeignRedis, RedisServer
from training.labels import Pair, write_pairs
from worker.parsing.checkpoint import BASE, WEIGHTS, checkpoint_folder, checkpoint_version
from worker.settings import Kafka
from worker.transport.admin import producer

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(280),
    pytest.mark.skipif(
        not (checkpoint_folder(BASE) / WEIGHTS).is_file(), reason="the weights of `base` are not here"
    ),
]  # fmt: skip

NAME = "harbour"
#: One labelled line of each kind, cut as no convention would have it.
SHOTS = [
    Pair(message="crane c-4 lifts box#991", template="crane c-<*> lifts box#<*>"),
    Pair(message="ship Nordlicht at berth B12/3", template="ship <*> at berth B<*>/<*>"),
    Pair(message="tide=2.40m rising", template="tide=<*>m <*>"),
    Pair(message="gate 7 (east) opened by otto", template="gate <*> (<*>) opened by <*>"),
    Pair(message="scale: 18250 kg gross", template="scale: <*> kg gross"),
    Pair(message="seal AX-77-QQ broken on box#12", template="seal <*>-<*>-<*> broken on box#<*>"),
    Pair(message="radar quiet", template="radar quiet"),
    Pair(message="pilot asks for tug Möwe now", template="pilot asks for tug <*> now"),
]


def harbour_log(lines: int) -> list[tuple[str, str]]:
    """Make up a log: messages and the templates of their kind."""
    rng = random.Random(5)

    def number() -> int:
        return rng.randrange(1, 1000)

    def name() -> str:
        return rng.choice(["Nordlicht", "Seestern", "Anna", "otto", "Jørn", "mia"])

    kinds = (
        lambda: f"crane c-{number()} lifts box#{number()}",
        lambda: f"ship {name()} at berth B{number()}/{number()}",
        lambda: f"tide={number()}.{number()}m {rng.choice(['rising', 'falling', 'still'])}",
        lambda: f"gate {number()} ({rng.choice(['east', 'west'])}) opened by {name()}",
        lambda: f"scale: {number()} kg gross",
        lambda: f"seal {name()}-{number()}-QQ broken on box#{number()}",
        lambda: "radar quiet",
        lambda: f"pilot asks for tug {name()} now",
    )
    chosen = [rng.randrange(len(kinds)) for _ in range(lines - len(kinds))]
    return [(kinds[kind](), SHOTS[kind].template) for kind in [*range(len(kinds)), *chosen]]


LOG = harbour_log(2000)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teach the base by the command, as a user would."""
    folder = tmp_path_factory.mktemp("taught")
    write_pairs(folder / "pairs.csv", SHOTS)
    (folder / "harbour.log").write_text("".join(f"{message}\n" for message, _ in LOG[:500]), encoding="utf-8")
    command = [
        sys.executable, "-m", "training.fine_tune", "--source", NAME, str(folder / "harbour.log"),
        str(folder / "pairs.csv"), "--header", "none", "--out", str(folder / "run"), "--steps", "5", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompts"] == [NAME]
    return folder / "run" / "checkpoint"


def settings(kafka: KafkaBroker, checkpoint: Path, redis: RedisServer | ForeignRedis, prompt: str) -> dict[str, str]:
    """Make the settings of a worker that reads one source under a prompt."""
    raw, events, dead = (kafka.new_topic(name, 1) for name in ("raw", "events", "dead"))
    return environment(
        kafka,
        topics=None,
        events=events,
        dead=dead,
        group=f"group-{raw}",
        redis=redis.url,
        MODEL__PATH=str(checkpoint),
        MODEL__DEVICE="cpu",
        REDIS__TIMEOUT_SECONDS="10",
        SOURCES__quay__TOPICS=raw,
        SOURCES__quay__HEADER="none",
        SOURCES__quay__ENVELOPE="raw",
        SOURCES__quay__MULTILINE="false",
        SOURCES__quay__PROMPT=prompt,
    )


def test_labelled_kinds_get_their_labels(
    kafka: KafkaBroker, empty_redis: RedisServer | ForeignRedis, checkpoint: Path
) -> None:
    """Every line of a labelled kind becomes an event with the labelled template, and the event names the prompt."""
    chosen = settings(kafka, checkpoint, empty_redis, NAME)
    with producer(Kafka(bootstrap_servers=(kafka.bootstrap,)), linger_ms=5) as opened:
        for message, _ in LOG:
            opened.send(chosen["LOGLOOM_SOURCES__quay__TOPICS"], message.encode())
        opened.flush()
    with running(chosen) as worker:
        worker.wait_for(len(LOG))
        assert worker.metrics()["logloom_dead_letters_total"] == 0
        assert worker.terminate() == 0
    lines = kafka.console_consumer(chosen["LOGLOOM_OUTPUT__TOPIC"], len(LOG)).splitlines()
    events = [json.loads(line) for line in lines]
    assert LOG == [(event["body"], event["attributes"]["log.record.template"]) for event in events]
    version = checkpoint_version(checkpoint, NAME)
    assert {version} == {event["attributes"]["logloom.parser"] for event in events}


def test_a_prompt_that_is_not_there_is_refused_at_start(
    kafka: KafkaBroker, empty_redis: RedisServer | ForeignRedis, checkpoint: Path
) -> None:
    """The worker ends with 1, and says which prompts the checkpoint has."""
    with running(settings(kafka, checkpoint, empty_redis, "harbor"), is_ready=False) as worker:
        assert worker.process.wait(90) == 1
        assert "has no prompt 'harbor'; it has harbour" in worker.log.replace("\\'", "'")
