"""Sends lines to a topic at an even pace. `python -m tests.bench.pacer BROKER TOPIC RECORDS_PER_SECOND SECONDS`.

A process of its own: in the watching one, either would wait for the other's interpreter lock.
"""

import sys
import time
from itertools import cycle

from confluent_kafka import Producer

from tests.bench.loglines import block_store
from tests.bench.processes import pause
from tests.bench.topics import PARTITIONS

#: How often records are sent.
_TICK_SECONDS = 0.005
_DISTINCT_LINES = 20_000


def send(broker: str, topic: str, records_per_second: int, seconds: float) -> None:
    """Send; a record's timestamp is the moment at which it is given to the client library, whose linger is default."""
    producer = Producer({"bootstrap.servers": broker})
    lines = cycle(list(block_store(_DISTINCT_LINES)))
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        while sent < now * records_per_second:
            producer.produce(topic, next(lines), partition=sent % PARTITIONS)
            sent += 1
        producer.poll(0)
        pause(_TICK_SECONDS)
    producer.flush(30)


if __name__ == "__main__":
    _, given_broker, given_topic, given_pace, given_seconds = sys.argv
    send(given_broker, given_topic, int(given_pace), float(given_seconds))
