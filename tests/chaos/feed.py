"""Writes numbered lines of some keys, stack traces among them, at a steady rate."""

import itertools
import random
import threading
import time
from collections.abc import Iterator

from kafka import KafkaProducer
from kafka.errors import KafkaError

KEYS = [b"shop-%d" % number for number in range(6)]
#: What the worker's templates must match; a trace goes on into the parameter's white space.
TEMPLATES = ("took <*> ms", "error failed <*>", "\tat shop.Cart.pay(Cart.java:<*>)")
SPACIOUS = TEMPLATES[1:]
_TRACE_LINES = 3


def lines(chance: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and lines for ever. Each line ends with a number of its own, but for a unit."""
    traces: dict[bytes, int] = {}
    for number in itertools.count():
        key = chance.choice(KEYS)
        if traces.get(key):
            traces[key] -= 1
            yield key, b"\tat shop.Cart.pay(Cart.java:%d)" % number
        elif chance.random() < 0.02:
            traces[key] = _TRACE_LINES
            yield key, b"error failed %d" % number
        else:
            yield key, b"took %d ms" % number


class Feeder:
    """Produces lines until it is stopped, whatever the broker does: each key to one partition, in order."""

    def __init__(self, bootstrap: str, topic: str, *, partitions: int, rate: float, seed: int) -> None:
        """`rate`: lines a second."""
        self.topic = topic
        self.partitions = partitions
        self._bootstrap = bootstrap
        self._rate = rate
        self._lines = lines(random.Random(seed))
        self._stopping = threading.Event()
        self._may_feed = threading.Event()
        self._may_feed.set()
        self._is_at_rest = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Lines handed to the producer.
        self.fed = 0

    def start(self) -> "Feeder":
        """Begin."""
        self._thread.start()
        return self

    def pause(self) -> None:
        """Feed nothing more for now; return when the broker has everything."""
        self._is_at_rest.clear()
        self._may_feed.clear()
        self._is_at_rest.wait()

    def resume(self) -> None:
        """Feed again."""
        self._may_feed.set()

    def stop(self) -> None:
        """End, once the broker has everything."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap, linger_ms=5, enable_idempotence=True, delivery_timeout_ms=300_000
        )
        last, due = time.monotonic(), 0.0
        while not self._stopping.wait(0.01):
            if not self._may_feed.is_set():
                _flush(producer)
                self._is_at_rest.set()
                self._may_feed.wait()
                last = time.monotonic()
            now = time.monotonic()
            due, last = due + (now - last) * self._rate, now
            for key, line in itertools.islice(self._lines, max(int(due) - self.fed, 0)):
                producer.send(self.topic, line, key=key, partition=KEYS.index(key) % self.partitions)
                self.fed += 1
        _flush(producer)
        producer.close()


def _flush(producer: KafkaProducer) -> None:
    """Return when the broker has everything, however long it is away."""
    while True:
        try:
            producer.flush()
        except KafkaError:
            continue  # what was handed over stays queued
        return
