"""Nothing is lost and order is kept, whatever happens to the worker: on a real broker, with processes that die."""

import json
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

RECORDS = 200_000
PARTITIONS = 3
PADDING = b" Accepted connection from 10.0.0.7:5121 with 3 credentials in 12 ms"


@pytest.fixture(scope="module")
def filled_topic(kafka: KafkaBroker) -> str:
    """Give a topic of RECORDS records, each saying its number within its partition, the key as well."""
    topic = kafka.new_topic("filled", PARTITIONS)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, batch_size=16384)
    for number in range(RECORDS):
        place, partition = divmod(number, PARTITIONS)
        producer.send(topic, b"%d" % place + PADDING, key=b"%d" % place, partition=partition)
    producer.flush()
    producer.close()
    return topic


@contextmanager
def worker(
    kafka: KafkaBroker, topic: str, output: str, member: str | None = "one"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that echoes `topic` to `output`, in small fetches so that it can be caught in the middle.

    With static membership, as `member`, the next process of that name takes over at once.
    """
    settings = {
        "bootstrap_servers": kafka.bootstrap,
        "group": f"group-{output}",
        "group_instance_id": member,
        "session_timeout_seconds": 6,
        "heartbeat_interval_seconds": 0.5,
        "commit_interval_seconds": 0.1,
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


class Output:
    """What stands in the output topic."""

    def __init__(self, kafka: KafkaBroker, topic: str) -> None:
        self.partitions = [KafkaPartition(topic, partition) for partition in range(PARTITIONS)]
        self.consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        self.consumer.assign(self.partitions)

    def count(self) -> int:
        """Return how many records there are."""
        return sum(self.consumer.end_offsets(self.partitions).values())

    def places(self) -> dict[int, list[int]]:
        """Return, per partition and in their order, which input records there are."""
        places: dict[int, list[int]] = defaultdict(list)
        left = self.count()
        while left:
            for records in self.consumer.poll(timeout_ms=1000).values():
                left -= len(records)
                for record in records:
                    assert record.value == record.key + PADDING
                    places[record.partition].append(int(record.key))
        return places


@contextmanager
def output_of(kafka: KafkaBroker) -> Iterator[tuple[str, Output]]:
    """Give a new output topic and what stands in it."""
    topic = kafka.new_topic("echoed", PARTITIONS)
    output = Output(kafka, topic)
    try:
        yield topic, output
    finally:
        output.consumer.close()


def duplicates(places: dict[int, list[int]]) -> int:
    """Return how many records come again. Fails if one is missing or comes before one that stood before it."""
    again = 0
    for partition in range(PARTITIONS):
        expected = 0
        for place in places[partition]:
            assert place <= expected, f"partition {partition}: {place} came where {expected} was due"
            again += place < expected
            expected += place == expected
        assert expected == len(range(partition, RECORDS, PARTITIONS))
    return again


def wait_for_progress(process: subprocess.Popen[bytes], output: Output, goal: int) -> None:
    """Wait until there are more than `goal` records in the output, or the worker has ended."""
    wait_until(lambda: output.count() > goal or process.poll() is not None, seconds=60, what="the worker's progress")


def finish(kafka: KafkaBroker, topic: str, output: str) -> None:
    """Run a worker until all is committed, then stop it in order."""
    group = f"group-{output}"

    def is_all_committed() -> bool:
        return sum(at for (name, _), at in kafka.committed(group).items() if name == topic) == RECORDS

    with worker(kafka, topic, output) as process:
        wait_until(is_all_committed, seconds=60, what="the last commit")
        assert terminate(process) == 0


def test_five_sigkills_lose_nothing(
    kafka: KafkaBroker, filled_topic: str, record_property: Callable[[str, object], None]
) -> None:
    """A worker that is killed five times in 200,000 records loses none and keeps each partition's order."""
    with output_of(kafka) as (topic, output):
        for kill in range(1, 6):
            with worker(kafka, filled_topic, topic) as process:
                wait_for_progress(process, output, max(output.count(), RECORDS * kill // 6))
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
        finish(kafka, filled_topic, topic)
        again = duplicates(output.places())
        record_property("duplicates", again)
        print(f"{again} of {RECORDS} records came again after five kills")  # noqa: T201 - a figure worth seeing


def test_sigterm_makes_no_duplicate(kafka: KafkaBroker, filled_topic: str) -> None:
    """A worker that is told to stop in the middle finishes, commits and exits with 0: its successor repeats nothing."""
    with output_of(kafka) as (topic, output):
        with worker(kafka, filled_topic, topic) as process:
            wait_for_progress(process, output, RECORDS // 3)
            assert terminate(process) == 0
        assert output.count() < RECORDS
        finish(kafka, filled_topic, topic)
        assert duplicates(output.places()) == 0


def test_partitions_of_a_dead_worker_move(kafka: KafkaBroker, filled_topic: str) -> None:
    """When one of two workers is killed the other takes its partitions over: nothing is lost, order is kept."""
    with output_of(kafka) as (topic, output):
        with worker(kafka, filled_topic, topic, member=None) as survivor:
            with worker(kafka, filled_topic, topic, member=None) as victim:
                wait_for_progress(victim, output, RECORDS // 3)
                victim.send_signal(signal.SIGKILL)
                victim.wait()
            wait_for_progress(survivor, output, RECORDS - 1)
            assert survivor.poll() is None
        finish(kafka, filled_topic, topic)
        duplicates(output.places())
