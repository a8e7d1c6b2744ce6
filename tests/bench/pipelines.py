"""Records per second and CPU per record on a real Kafka: Logloom and its peers, one after the other, on one broker.

Steady state: of each run, the first fifth of the records is left out, and so is the last. CPU is the process's own, its
children included; the broker shares the machine.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.bench.loglines import block_store
from tests.kafka_broker import KafkaBroker, free_port

PARTITIONS = 4
#: How many records each peer is given: enough for half a minute of it.
PEER_RECORDS = {"stock-faust-echo": 120_000, "quix-echo": 600_000, "confluent-drain3": 400_000}
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What one run did in its steady state."""

    name: str
    records: int
    records_per_second: float
    #: Microseconds of the process's CPU per record.
    cpu_us_per_record: float
    #: Resident memory at the end, MiB.
    memory_mib: float


def fill(broker: str, topic: str, records: int) -> None:
    """Put `records` log lines into `topic`, in batches as producers under load make them."""
    producer = Producer(
        {"bootstrap.servers": broker, "linger.ms": 50, "batch.size": 1 << 20, "queue.buffering.max.messages": 2_000_000}
    )
    for number, line in enumerate(block_store(records)):
        while True:
            try:
                producer.produce(topic, line, partition=number // 2000 % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()


def end_offset(client: Consumer, topic: str, partitions: int = PARTITIONS) -> int:
    """Count the records of a topic by its offsets."""
    return sum(
        client.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in range(partitions)
    )


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[psutil.Process]:
    """Run a pipeline's process for the length of a block."""
    log = tempfile.NamedTemporaryFile(suffix=".log", delete=False)  # noqa: SIM115  kept for whoever looks for the cause
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
    try:
        yield psutil.Process(process.pid)
        if process.poll() is not None:
            raise RuntimeError(f"{command} ended: {Path(log.name).read_text(errors='replace')[-2000:]}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(name: str, broker: str, target: str, records: int, process: psutil.Process, *, already: int = 0) -> Pace:
    """Watch `target` grow by `records` and return the pace between its first and its last fifth."""
    client = Consumer({"bootstrap.servers": broker, "group.id": f"watch-{name}"})
    first = last = None
    begun = time.monotonic()
    while time.monotonic() - begun < _PATIENCE_SECONDS and process.status() != psutil.STATUS_ZOMBIE:
        done, now = end_offset(client, target) - already, time.monotonic()
        if first is None and done >= records // 5:
            first = (now, done, _cpu_seconds(process))
        if done <= records * 4 // 5 or last is None:
            last = (now, done, _cpu_seconds(process))
        if done >= records:
            break
        threading.Event().wait(_POLL_SECONDS)
    client.close()
    if first is None or last is None or last[1] <= first[1]:
        raise RuntimeError(f"{name} was too quick or too slow to be measured: {first}, {last}")
    count = last[1] - first[1]
    return Pace(
        name=name,
        records=records,
        records_per_second=count / (last[0] - first[0]),
        cpu_us_per_record=(last[2] - first[2]) / count * 1e6,
        memory_mib=process.memory_info().rss / (1 << 20),
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def run_peer(name: str, broker: KafkaBroker, source: str) -> Pace:
    """Run one peer on its share of `source`."""
    target = broker.new_topic("out", PARTITIONS)
    peers = str(Path(__file__).with_name("peers.py"))
    with running([sys.executable, peers, name, broker.bootstrap, f"bench-{target}", source, target]) as process:
        return measure(name, broker.bootstrap, target, PEER_RECORDS[name], process)


def run_logloom(broker: KafkaBroker, source: str, records: int, *, compression: str = "none") -> Pace:
    """Run the worker with caches that were warmed by the first fifth."""
    target, dead = broker.new_topic("events", PARTITIONS), broker.new_topic("dead", PARTITIONS)
    environment = {
        "LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "LOGLOOM_KAFKA__GROUP_ID": f"bench-{target}",
        "LOGLOOM_TOPICS": source,
        "LOGLOOM_OUTPUT__TOPIC": target,
        "LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead,
        "LOGLOOM_OUTPUT__COMPRESSION": compression,
        "LOGLOOM_METRICS__PORT": str(free_port()),
    }
    with running([sys.executable, "-m", "worker", "worker"], **environment) as process:
        return measure(f"logloom-{compression}", broker.bootstrap, target, records, process)
