"""The dashboard from a real run: `python -m tests.watching dashboard.png`.

Kafka, Redis, two workers with exactly-once, and a Prometheus that scrapes them; paced input with a miss storm, dead
letters, a Redis that is stopped and a worker that is frozen. At the end the dashboard is drawn from what Prometheus
holds. What an operator would ask meanwhile is asked, and printed for the runbooks.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path

import click
import matplotlib as mpl
from kafka import KafkaProducer

from deploy.watching.draw import save
from tests.bench.processes import pause
from tests.integration.worker_process import WorkerProcess
from tests.kafka_broker import JavaBroker, free_port
from tests.redis_server import RedisServer, start_redis

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy" / "demo" / "samples"
ALERTS = ROOT / "deploy" / "watching" / "alerts.yaml"
#: Sources, the sample that each is fed, its records a second, and what is declared.
SOURCES = {
    "web": ("nginx-access", 700, 'envelope = "raw"'),
    "orders": ("json-orders", 300, 'envelope = "json"'),
    "database": ("postgresql", 200, 'envelope = "raw"'),
    "queue": ("kafka", 300, 'envelope = "raw"'),
}
GROUP = "logloom"
PARTITIONS = 4
SCRAPE_SECONDS = 2
#: Records of each source that wait before the workers start.
BACKLOG = 20_000
_TICK_SECONDS = 0.1
_LETTERS = "bcdfghjklmnprstvwz", "aeiou"


@dataclass
class Feed:
    """Sends samples at an even pace, and whatever is put beside them, from a thread of its own."""

    bootstrap: str
    chance: random.Random = field(default_factory=lambda: random.Random(8))
    #: A second: messages of kinds that nobody has seen, records that no JSON decoder takes, lines beyond the limit.
    strange: float = 0
    broken: float = 0
    too_large: float = 0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send until stopped."""
        lines = {source: cycle(_lines(source)) for source in SOURCES}
        with _producer(self.bootstrap) as producer:
            due = dict.fromkeys((*SOURCES, "strange", "broken", "too_large"), 0.0)
            before = time.monotonic()
            while not self._stopping.wait(_TICK_SECONDS):
                now = time.monotonic()
                paces = {source: float(pace) for source, (_, pace, _) in SOURCES.items()}
                paces |= {"strange": self.strange, "broken": self.broken, "too_large": self.too_large}
                for kind, pace in paces.items():
                    due[kind] += pace * (now - before)
                    while due[kind] >= 1:
                        due[kind] -= 1
                        topic, value = (kind, next(lines[kind])) if kind in SOURCES else ("orders", self._odd(kind))
                        producer.send(f"app.{topic}", value)
                before = now

    def stop(self) -> None:
        """Let it end."""
        self._stopping.set()

    def _odd(self, kind: str) -> bytes:
        if kind == "broken":
            return b'{"level":30,"service":"orders","msg":"Order ord-'
        if kind == "too_large":
            return json.dumps({"level": 30, "service": "orders", "msg": "dump " + "x" * 100_000}).encode()
        words = " ".join(self._word() for _ in range(4))
        return json.dumps({"level": 30, "service": "orders", "msg": f"{words} {self.chance.randrange(9999)}"}).encode()

    def _word(self) -> str:
        return "".join(self.chance.choice(letters) for _ in range(3) for letters in _LETTERS)


def _lines(source: str) -> list[bytes]:
    return (SAMPLES / f"{SOURCES[source][0]}.log").read_bytes().splitlines()


@contextmanager
def _producer(bootstrap: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50)
    try:
        yield producer
    finally:
        producer.close()


@dataclass
class Run:
    """What runs, and the questions that are asked."""

    broker: JavaBroker
    redis: RedisServer
    feed: Feed
    workers: dict[str, WorkerProcess]
    ports: dict[str, int]
    config: Path
    prometheus: str

    def start_worker(self, name: str) -> None:
        """Start a worker that is called `name` in its group, and wait until it is ready."""
        settings = {
            "LOGLOOM_CONFIG": str(self.config),
            "LOGLOOM_KAFKA__GROUP_INSTANCE_ID": name,
            "LOGLOOM_METRICS__PORT": str(self.ports[name]),
        }
        self.workers[name] = WorkerProcess(settings)
        self.workers[name]._port = self.ports[name]
        self.workers[name].wait(lambda: self.workers[name].status("/readyz") == 200, what=name, seconds=400)

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            worker.end()

    def ask(self, title: str, command: str) -> None:
        """Run a command line as an operator would, and print what it says."""
        environment = {**os.environ, "LOGLOOM_CONFIG": str(self.config), "PORT": str(self.ports["worker-1"])}
        environment |= {"PROMETHEUS": self.prometheus, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "-c", command.replace("logloom ", f"{sys.executable} -m worker ")],
            env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        click.echo(f"\n### {title}\n$ {command}\n{done.stdout}{done.stderr}")

    def ask_kafka(self, title: str, *arguments: str) -> None:
        """Run Kafka's own tool for groups."""
        tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        said = self.broker.run_tool(tool, ["--bootstrap-server", self.broker.bootstrap, *arguments]).decode()
        click.echo(f"\n### {title}\n$ kafka-consumer-groups.sh --bootstrap-server ... {' '.join(arguments)}\n{said}")

    def tell_alerts(self, title: str) -> None:
        """Print what is pending or fires."""
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/alerts", timeout=10) as answer:  # noqa: S310  loopback
            alerts = json.load(answer)["data"]["alerts"]
        found = [f"{one['labels']['alertname']} {one['state']} {one['annotations']['summary']}" for one in alerts]
        click.echo(f"\n### alerts: {title}\n" + "\n".join(found))


def _steady(run: Run) -> None:
    run.ask(
        "steady: metrics", "curl -s localhost:$PORT/metrics | grep -E '^logloom_(lag|partitions|hits|misses|templates)'"
    )
    run.ask("steady: check", "logloom check --no-model")
    run.ask_kafka("steady: members", "--describe", "--group", GROUP, "--members")


def _storm(run: Run) -> None:
    run.feed.strange = 40


def _storm_seen(run: Run) -> None:
    run.ask(
        "storm: metrics",
        "curl -s localhost:$PORT/metrics | grep -E '^logloom_(misses_|templates_learned|model_seconds_(sum|count))'",
    )
    run.ask("storm: templates", "logloom templates list --scope orders | tail -12")
    run.tell_alerts("storm")


def _storm_over(run: Run) -> None:
    run.feed.strange = 0


def _dead(run: Run) -> None:
    run.feed.broken, run.feed.too_large = 12, 2


def _dead_seen(run: Run) -> None:
    run.ask("dead letters: metrics", "curl -s localhost:$PORT/metrics | grep -E '^logloom_dead_letters.*orders'")
    run.ask("dead letters: list", "logloom dead-letters list --source orders --max 4")
    run.ask("dead letters: reasons", "logloom dead-letters list --json --max 200 | jq -r .reason | sort | uniq -c")
    run.tell_alerts("dead letters")
    run.feed.broken = run.feed.too_large = 0


def _redis_stopped(run: Run) -> None:
    run.redis.stop()
    run.feed.strange = 2


def _redis_seen(run: Run) -> None:
    run.ask("redis: metrics", "curl -s localhost:$PORT/metrics | grep ^logloom_redis")
    run.ask("redis: check", "logloom check --no-model 2>&1 | grep -i redis")
    run.tell_alerts("redis")


def _redis_back(run: Run) -> None:
    run.feed.strange = 0
    run.redis.start()


def _frozen(run: Run) -> None:
    run.workers["worker-2"].process.send_signal(19)


def _thawed(run: Run) -> None:
    run.ask_kafka("frozen: group", "--describe", "--group", GROUP)
    run.workers["worker-2"].process.send_signal(18)


def _ended(run: Run) -> None:
    worker = run.workers["worker-2"]
    try:
        code = worker.process.wait(5)
    except subprocess.TimeoutExpired:
        worker.kill()  # nothing was in its hands when it was frozen, so that it went on
        code = worker.process.returncode
    said = [line for line in worker.log.splitlines() if '"error"' in line or "critical" in line or "stops" in line]
    click.echo(f"\n### worker-2 ended with {code}\n" + "\n".join(line[:600] for line in said[-3:]))
    worker.end()
    run.start_worker("worker-2")


def _last(run: Run) -> None:
    run.ask("end: transactions", "curl -s localhost:$PORT/metrics | grep -E '^(logloom_transactions|process_start)'")
    run.tell_alerts("end")


#: What is done at which second after the workers are ready.
SCHEDULE: tuple[tuple[float, Callable[[Run], None]], ...] = (
    (20, _steady),
    (30, _storm),
    (70, _storm_seen),
    (80, _storm_over),
    (95, _dead),
    (120, _dead_seen),
    (135, _redis_stopped),
    (160, _redis_seen),
    (168, _redis_back),
    (185, _frozen),
    (205, _thawed),
    (212, _ended),
    (260, _last),
)


def _settings(folder: Path, broker: JavaBroker, redis: RedisServer) -> Path:
    sources = "\n".join(
        f'[sources.{name}]\ntopics = ["app.{name}"]\n{declared}\nresource = {{ "service.name" = "{name}" }}\n'
        for name, (_, _, declared) in SOURCES.items()
    )
    path = folder / "logloom.toml"
    path.write_text(f"""
[kafka]
bootstrap_servers = ["{broker.bootstrap}"]
group_id = "{GROUP}"
session_timeout_ms = 10000
heartbeat_interval_ms = 1000
delivery = "exactly-once"
[output]
topic = "logloom.events"
dead_letter_topic = "logloom.dead-letters"
[redis]
url = "{redis.url}"
[limits]
max_line_bytes = 65536
[multiline]
enabled = false
{sources}
""")
    return path


@contextmanager
def _prometheus(folder: Path, ports: dict[str, int]) -> Iterator[str]:
    """Run a Prometheus that scrapes the workers and reads the alerts."""
    binary, port = shutil.which("prometheus"), free_port()
    if binary is None:
        raise click.ClickException("there is no `prometheus` here: Debian's package of that name has it")
    targets = "\n".join(
        f'      - targets: ["127.0.0.1:{at}"]\n        labels: {{instance: {name}}}' for name, at in ports.items()
    )
    config = folder / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: {SCRAPE_SECONDS}s, evaluation_interval: 5s}}
rule_files: [{ALERTS}]
scrape_configs:
  - job_name: logloom
    static_configs:
{targets}
""")
    address = f"127.0.0.1:{port}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([binary, *options], stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


@click.command()
@click.argument("png", type=click.Path(dir_okay=False, path_type=Path))
def main(png: Path) -> None:
    """Run for five minutes, and draw the dashboard into a picture, but for the backlog that the workers begin with."""
    mpl.use("agg")
    subprocess.run([sys.executable, "-m", "worker.warm_up"], check=True, cwd=ROOT)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="logloom-watching-")))
        broker = JavaBroker()
        stack.callback(broker.stop)
        broker.start()
        redis = start_redis()
        stack.callback(redis.close)
        topics = {**dict.fromkeys((f"app.{name}" for name in SOURCES), PARTITIONS), "logloom.events": PARTITIONS}
        for topic, partitions in {**topics, "logloom.dead-letters": 1}.items():
            broker.create_topic(topic, partitions)
        ports = {name: free_port() for name in ("worker-1", "worker-2")}
        prometheus = stack.enter_context(_prometheus(folder, ports))
        feed = Feed(broker.bootstrap)
        run = Run(broker, redis, feed, {}, ports, _settings(folder, broker, redis), prometheus)
        with _producer(broker.bootstrap) as producer:
            for source in SOURCES:
                for _, line in zip(range(BACKLOG), cycle(_lines(source)), strict=False):
                    producer.send(f"app.{source}", line)
        stack.callback(run.end)
        feeding = threading.Thread(target=feed.run)
        stack.callback(feeding.join)
        stack.callback(feed.stop)
        run.start_worker("worker-1")
        feeding.start()
        run.start_worker("worker-2")
        begun = time.time()
        for (before, _), (at, do) in pairwise(((0.0, _steady), *SCHEDULE)):
            click.echo(f"--- {at:.0f} s: {do.__name__.strip('_')} ({at - before:.0f} s later)")
            pause(max(0.0, begun + at - time.time()))
            do(run)
        save(png, prometheus, begun + 20, time.time(), SCRAPE_SECONDS)


if __name__ == "__main__":
    main()
