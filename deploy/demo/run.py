"""`make demo`: real sample logs through broker, worker, Redis and model, and what comes out, while it comes.

Starts a broker and a Redis of its own unless told of a broker, runs the worker as anyone would, feeds it, shows its
events, and ends with a summary. Exit code 0 only if every record that was read became part of an event or a dead
letter.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import servers
from kafka import KafkaConsumer, KafkaProducer

from worker.cli.view import render
from worker.settings import Kafka
from worker.transport.admin import Admin, consumer

SAMPLES = Path(__file__).with_name("samples")
#: Source, its file, and what is declared of it: most find everything out by themselves.
SOURCES = {
    "kafka": 'envelope = "raw"',
    "redis": 'envelope = "raw"',
    "nginx-access": 'envelope = "raw"',
    "nginx-error": 'envelope = "raw"',
    "postgresql": 'envelope = "raw"',
    "dpkg": 'envelope = "raw"',
    "java-billing": 'envelope = "raw"',
    "json-orders": 'envelope = "json"',
    "syslog": "",
}
PARTITIONS = 2
#: A record that no JSON decoder takes: it shows what becomes of bad input.
BROKEN = b'{"level":30,"time":1795362180830,"service":"orders","msg":"Order ord-'
#: Events that are shown of each source at most, and which of each template: a miss, and a hit later.
SHOWN_PER_SOURCE, SHOWN_OF_TEMPLATE = 14, frozenset({1, 5})
FEED_SECONDS = 8.0
PATIENCE_SECONDS = 90.0


def say(text: str) -> None:
    """Tell what happens now."""
    print(f"\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"==> {text}", flush=True)


def write_settings(folder: Path, broker: str, redis: str, run: str, *, is_embedded: bool) -> Path:
    """Write the worker's settings: a source per sample."""
    sources = "\n".join(
        f'[sources.{name}]\ntopics = ["{run}.{name}"]\nresource = {{ "service.name" = "{name}" }}\n{declared}\n'
        for name, declared in SOURCES.items()
    )
    path = folder / "logloom.toml"
    path.write_text(
        f"""
[kafka]
bootstrap_servers = ["{broker}"]
group_id = "{run}"
session_timeout_ms = 6000
enable_idempotence = {"false" if is_embedded else "true"}
[output]
topic = "{run}.events"
dead_letter_topic = "{run}.dead-letters"
[redis]
url = "redis://{redis}/0"
[metrics]
host = "127.0.0.1"
port = {servers.free_port()}
[log]
format = "text"
{sources}
""",
        encoding="utf-8",
    )
    return path


class Worker:
    """`logloom worker` as a process, and its metrics."""

    def __init__(self, settings: Path) -> None:
        port = re.search(r"port = (\d+)", settings.read_text(encoding="utf-8"))
        self._url = f"http://127.0.0.1:{port[1] if port else 0}"
        self._log = settings.with_name("worker.log")
        command = [sys.executable, "-m", "worker", "worker", "--config", str(settings)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 our own command

    def fail_if_ended(self) -> None:
        """Raise ServerFailed with the end of its log if the worker is gone."""
        if self.process.poll() is not None:
            raise servers.ServerFailed(f"the worker ended:\n{self._log.read_text(errors='replace')[-3000:]}")

    def wait_until_ready(self) -> float:
        """Wait for /readyz and return the seconds it took. Raises ServerFailed."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_SECONDS:
            self.fail_if_ended()
            try:
                with urllib.request.urlopen(f"{self._url}/readyz", timeout=2):
                    return time.monotonic() - begun
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise servers.ServerFailed(f"the worker is not ready after {PATIENCE_SECONDS:.0f} s; its log is {self._log}")

    def metrics(self) -> Counter[str]:
        """Read the counters, summed over labels but for those of hits and dead letters."""
        totals: Counter[str] = Counter()
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if match := re.match(r"(logloom_\w+?)(?:\{(.*)\})? ([0-9.e+-]+)$", line):
                    totals[match[1]] += float(match[3])  # type: ignore[assignment]
        return totals

    def stop(self) -> int:
        """End the worker with SIGTERM and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=40)


def lines_of(source: str) -> list[bytes]:
    """Read a sample's lines."""
    lines = (SAMPLES / f"{source}.log").read_bytes().splitlines()
    return [*lines, BROKEN] if source == "json-orders" else lines


def feed(broker: str, run: str) -> int:
    """Send all samples, mixed, over FEED_SECONDS; return how many records that were."""
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20)
    samples = {source: lines_of(source) for source in SOURCES}
    slices, begun = 80, time.monotonic()
    for turn in range(slices):
        for source, lines in samples.items():
            part = lines[len(lines) * turn // slices : len(lines) * (turn + 1) // slices]
            # A multi-line log must not be cut between partitions: what one process writes has one key.
            for line in part:
                producer.send(f"{run}.{source}", value=line, key=source.encode())
        producer.flush()
        time.sleep(max(0.0, begun + FEED_SECONDS * (turn + 1) / slices - time.monotonic()))
    producer.close()
    return sum(map(len, samples.values()))


@contextmanager
def kafka_at(address: str | None) -> Iterator[str]:
    """Give the user's broker, or one of our own."""
    if address is not None:
        yield address
        return
    with servers.broker() as server:
        yield server.address


def show_until_done(worker: Worker, events: KafkaConsumer, fed: threading.Thread, expected: int) -> float:
    """Print events while they come until all records are accounted for; return the seconds since the first."""
    shown: Counter[str] = Counter()
    templates: defaultdict[str, Counter[str]] = defaultdict(Counter)
    width = shutil.get_terminal_size((150, 40)).columns
    begun = deadline = time.monotonic()
    deadline += PATIENCE_SECONDS
    while time.monotonic() < deadline:
        worker.fail_if_ended()
        for records in events.poll(timeout_ms=250).values():
            for record in records:
                event = json.loads(record.value)
                attributes = event["attributes"]
                source, template = attributes["logloom.source"], attributes["log.record.template.id"]
                templates[source][template] += 1
                if templates[source][template] in SHOWN_OF_TEMPLATE and shown[source] < SHOWN_PER_SOURCE:
                    shown[source] += 1
                    print(render(event, colour=sys.stdout.isatty(), width=width), flush=True)
        if not fed.is_alive():
            counts = worker.metrics()
            done = accounted(counts)
            if counts["logloom_records_total"] >= expected and done >= expected:
                break
    return time.monotonic() - begun


def accounted(counts: Counter[str]) -> int:
    """Add up the records that became something."""
    names = ("events", "joined", "dead_letters", "tombstones")
    return int(sum(counts[f"logloom_{name}_total"] for name in names))


def summary(counts: Counter[str], seconds: float, expected: int) -> bool:
    """Print what came of everything; tell whether it adds up."""
    count = {name: int(counts[f"logloom_{name}"]) for name in (
        "records_total", "events_total", "joined_total", "dead_letters_total", "hits_total", "misses_total",
        "micro_batch_rows_count", "micro_batch_rows_sum", "templates",
    )}  # fmt: skip
    adds_up = count["records_total"] == expected == accounted(counts)
    say("summary")
    print(f"  read          {count['records_total']:>7,} records of {len(SOURCES)} sources")
    print(f"  emitted       {count['events_total']:>7,} events, and {count['joined_total']:,} records joined to them")
    print(f"  dead          {count['dead_letters_total']:>7,} dead letters (one record was broken on purpose)")
    print(f"  hits          {count['hits_total']:>7,}")
    print(f"  misses        {count['misses_total']:>7,}")
    calls, messages = count["micro_batch_rows_count"], count["micro_batch_rows_sum"]
    print(f"  model calls   {calls:>7,} micro-batches of {messages:,} messages in all")
    print(f"  templates     {count['templates']:>7,}")
    print(f"  pace          {count['records_total'] / seconds:>7,.0f} records/s over {seconds:.1f} s, as they were fed")
    print(f"  read = emitted + dead: {'yes' if adds_up else 'NO'}", flush=True)
    return adds_up


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="your own broker; topics of its own are made and removed")
    arguments = parser.parse_args()
    run = f"logloom-demo-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="logloom-demo-")))
        say("starting " + ("Redis" if arguments.kafka else "a broker (Tansu, in memory) and Redis"))
        broker = stack.enter_context(kafka_at(arguments.kafka))
        redis = stack.enter_context(servers.redis()).address
        topics = [f"{run}.{name}" for name in [*SOURCES, "events", "dead-letters"]]
        kafka = Kafka(bootstrap_servers=(broker,))
        admin = stack.enter_context(Admin(kafka))
        admin.create_topics(dict.fromkeys(topics, PARTITIONS), replication_factor=-1 if arguments.kafka else 1)
        if arguments.kafka:
            stack.callback(admin.delete_topics, topics)
        say(f"starting the worker on {broker}")
        worker = Worker(write_settings(folder, broker, redis, run, is_embedded=arguments.kafka is None))
        stack.callback(lambda: worker.process.poll() is None and worker.process.kill())
        say(f"ready after {worker.wait_until_ready():.1f} s; feeding {len(SOURCES)} sample logs")
        expected = sum(len(lines_of(source)) for source in SOURCES)
        feeding = threading.Thread(target=feed, args=(broker, run), daemon=True)
        feeding.start()
        events = stack.enter_context(consumer(kafka, auto_offset_reset="earliest"))
        events.subscribe([f"{run}.events"])
        seconds = show_until_done(worker, events, feeding, expected)
        adds_up = summary(worker.metrics(), seconds, expected)
        code = worker.stop()
        if code:
            say(f"the worker ended with {code}")
        return 0 if adds_up and code == 0 else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
