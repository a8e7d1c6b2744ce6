"""With exactly-once a reader of committed records sees each record once, in order, whatever happens to the workers."""

import json
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition

from tests.kafka_broker import KafkaBroker, terminate, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

RECORDS = 90_000
PARTITIONS = 3
PADDING = b" Accepted connection from 10.0.0.7:5121 with 3 credentials in 12 ms"
SESSION_SECONDS = 6


@pytest.fixture(scope="module")
def filled_topic(kafka: KafkaBroker) -> str:
    """Give a topic of RECORDS records, each saying its number within its partition, the key as well."""
    topic = kafka.new_topic("filled-once", PARTITIONS)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, batch_size=16384)
    for number in range(RECORDS):
        place, partition = divmod(number, PARTITIONS)
        producer.send(topic, b"%d" % place + PADDING, key=b"%d" % place, partition=partition)
    producer.flush()
    producer.close()
    return topic


class Output:
    """What a reader of committed records has seen of a topic so far."""

    def __init__(self, kafka: KafkaBroker, topic: str) -> None:
        self.partitions = [KafkaPartition(topic, partition) for partition in range(PARTITIONS)]
        self.writes = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
        self.consumer = KafkaConsumer(
            bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        self.consumer.assign(self.partitions)
        #: Per partition and in their order, which input records there are.
        self.places: dict[int, list[int]] = defaultdict(list)

    def seen(self) -> int:
        """Read what there is now; return how many records were seen in all."""
        for records in self.consumer.poll(timeout_ms=200).values():
            for record in records:
                assert record.value == record.key + PADDING
                self.places[record.partition].append(int(record.key))
        return sum(map(len, self.places.values()))

    def is_more_written(self) -> bool:
        """Say whether something stands behind what readers of committed records may see."""
        visible, written = self.consumer.end_offsets(self.partitions), self.writes.end_offsets(self.partitions)
        return any(written[partition] > visible[partition] for partition in self.partitions)

    def assert_each_once(self) -> None:
        """Check that every record of the input is there once, in order."""
        for partition in range(PARTITIONS):
            assert self.places[partition] == list(range(len(range(partition, RECORDS, PARTITIONS))))


@contextmanager
def output_of(kafka: KafkaBroker) -> Iterator[tuple[str, Output]]:
    """Give a new output topic and its reader."""
    topic = kafka.new_topic("echoed-once", PARTITIONS)
    output = Output(kafka, topic)
    try:
        yield topic, output
    finally:
        output.consumer.close()
        output.writes.close()


@contextmanager
def worker(
    kafka: KafkaBroker, topic: str, output: str, member: str | None = "one", *, interval_seconds: float = 0.02
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that echoes `topic` to `output` in short transactions, in small fetches."""
    settings = {
        "bootstrap_servers": kafka.bootstrap,
        "group": f"group-{output}",
        "group_instance_id": member,
        "is_exactly_once": True,
        "transaction_interval_seconds": interval_seconds,
        "session_timeout_seconds": SESSION_SECONDS,
        "heartbeat_interval_seconds": 0.5,
        "max_partition_fetch_bytes": 65536,
        "max_partition_bytes_in_flight": 262144,
    }
    arguments = json.dumps({"input": topic, "output": output, "settings": settings})
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.echo_worker", arguments])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(output: Output, goal: int, *processes: subprocess.Popen[bytes]) -> None:
    """Wait until `goal` records were seen; `processes` must be alive."""

    def is_there() -> bool:
        assert all(process.poll() is None for process in processes)
        return output.seen() >= goal

    wait_until(is_there, seconds=90, what=f"{goal} committed records")


def test_killed_workers_repeat_nothing(kafka: KafkaBroker, filled_topic: str) -> None:
    """A worker that is killed in the middle of transactions, again and again, and then stopped in order."""
    with output_of(kafka) as (topic, output):
        for kill in range(1, 5):
            with worker(kafka, filled_topic, topic) as process:
                wait_for(output, max(output.seen() + 1, RECORDS * kill // 8), process)
                process.send_signal(signal.SIGKILL)
                process.wait()
        with worker(kafka, filled_topic, topic) as process:
            wait_for(output, max(output.seen() + 1, RECORDS * 5 // 8), process)
            assert terminate(process) == 0
        with worker(kafka, filled_topic, topic) as process:
            wait_for(output, RECORDS, process)
        output.assert_each_once()


def test_a_worker_that_comes_back_too_late_writes_nothing(
    kafka: KafkaBroker, filled_topic: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that was frozen beyond its session wakes up with an open transaction: it ends in an error, unseen."""
    with (
        output_of(kafka) as (topic, output),
        worker(kafka, filled_topic, topic, member=None, interval_seconds=1) as frozen,
    ):
        wait_for(output, 1, frozen)
        wait_until(output.is_more_written, seconds=30, what="a transaction with output in it")
        frozen.send_signal(signal.SIGSTOP)
        with worker(kafka, filled_topic, topic, member=None) as other:
            wait_for(output, RECORDS // 2, other)
            frozen.send_signal(signal.SIGCONT)
            assert frozen.wait(60) == 1
            wait_for(output, RECORDS, other)
        output.assert_each_once()
        told = capfd.readouterr().err
        # Which of them it hears of first is chance: the commit, the output behind it, or the group.
        reasons = "was not committed|ProducerFenced|was put out of the group"
        assert re.search(rf"^the worker stops: .*({reasons})", told, re.MULTILINE)
        assert "never retrieved" not in told
        assert "Exception in thread" not in told


def test_partitions_move_between_workers_without_repeats(
    kafka: KafkaBroker, filled_topic: str, record_property: Callable[[str, object], None]
) -> None:
    """Workers that join and leave take partitions over exactly where the one before stopped."""
    with output_of(kafka) as (topic, output):
        with worker(kafka, filled_topic, topic, member=None) as first:
            wait_for(output, RECORDS // 8, first)
            with worker(kafka, filled_topic, topic, member=None) as second:
                wait_for(output, RECORDS // 3, first, second)
                assert terminate(first) == 0
                wait_for(output, RECORDS // 2, second)
                with worker(kafka, filled_topic, topic, member=None) as third:
                    wait_for(output, RECORDS * 2 // 3, second, third)
                    second.send_signal(signal.SIGKILL)
                    second.wait()
                    wait_for(output, RECORDS, third)
        output.assert_each_once()
        record_property("records", RECORDS)
