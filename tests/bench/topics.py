"""Topics of a benchmark: filled with lines, watched while they grow, removed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.kafka_broker import KafkaBroker

PARTITIONS = 4
#: Lines that go to one partition before the next has its turn: what a producer under load puts into a batch.
_RUN = 2000


def fill(broker: KafkaBroker, topic: str, lines: Iterable[bytes]) -> None:
    """Put `lines` into all partitions of `topic`, in batches as producers under load make them."""
    producer = Producer({
        "bootstrap.servers": broker.bootstrap, "linger.ms": 50, "batch.size": 1 << 20,
        "queue.buffering.max.messages": 2_000_000,
    })  # fmt: skip
    for number, line in enumerate(lines):
        while True:
            try:
                producer.produce(topic, line, partition=number // _RUN % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(60):
        raise TimeoutError(f"{topic} could not be filled")


@contextmanager
def output_topics(broker: KafkaBroker, name: str) -> Iterator[str]:
    """Give a topic for events, and one of the same name with `-dead` behind it; both go after the block.

    A run leaves some 700 MB behind, which the next run's writes would compete with.
    """
    topic = broker.new_topic(name, PARTITIONS)
    dead = broker.create_topic(f"{topic}-dead", PARTITIONS)
    try:
        yield topic
    finally:
        with broker.admin() as admin:
            admin.delete_topics([topic, dead])


class Watch:
    """Counts the records of a topic by its offsets."""

    def __init__(self, broker: KafkaBroker, topic: str) -> None:
        self._client = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": f"watch-{topic}"})
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]

    def count(self) -> int:
        """Return how many records there are now."""
        return sum(self._client.get_watermark_offsets(one, timeout=10)[1] for one in self._partitions)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
