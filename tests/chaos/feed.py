"""Writes numbered lines of some keys, stack traces among them, at a steady rate."""

import itertools
import random
import threading
import time
from collections.abc import Iterator

from kafka import KafkaProducer
from kafka.errors import KafkaError

from worker.parsing.templates import Template

KEYS = [b"shop-%d" % number for number in range(6)]
#: What matches the lines; a trace goes on into the parameter's white space.
TEMPLATES = (
    Template.from_text("took <*> ms"),
    Template.from_text("error failed <*>", spacious=[0]),
    Template.from_text("\tat shop.Cart.pay(Cart.java:<*>)", spacious=[0]),
)
_TRACE_LINES = 3
#: What lines are made of that no template knows yet.
WORDS = (
    *("amber", "basket", "canyon", "dagger", "ember", "falcon", "garden", "hammer", "island", "jacket", "kettle"),
    *("lantern", "magnet", "needle", "orchard", "pepper", "quarry", "ribbon", "saddle", "tunnel", "urchin", "walrus"),
)


def novel(first: int, count: int, *, words: int = 5) -> list[bytes]:
    """Make lines, each of a kind of its own: so many words and a number."""
    return [
        f"{' '.join(random.Random(number).sample(WORDS, words))} {number}".encode()
        for number in range(first, first + count)
    ]


class Lines:
    """Keys and lines for ever. Each line ends with a number of its own, but for a unit."""

    def __init__(self, chance: random.Random, novel: float = 0.0) -> None:
        """`novel`: the share of lines of a kind that hardly comes again."""
        self._chance = chance
        self._novel = novel
        self._numbers = itertools.count()
        #: How many lines of a key's stack trace are still to come.
        self._traces: dict[bytes, int] = {}

    def some(self, count: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the next `count`."""
        for _ in range(count):
            key = self._chance.choice(KEYS)
            if self._traces.get(key):
                yield self._frame(key)
            elif self._chance.random() < 0.02:
                self._traces[key] = _TRACE_LINES
                yield key, b"error failed %d" % next(self._numbers)
            elif self._chance.random() < self._novel:
                yield key, f"{' '.join(self._chance.choices(WORDS, k=6))} {next(self._numbers)}".encode()
            else:
                yield key, b"took %d ms" % next(self._numbers)

    def rest(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is still to come of stack traces."""
        for key in KEYS:
            while self._traces.get(key):
                yield self._frame(key)

    def last(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield lines behind which no line waits for more."""
        yield from self.rest()
        for key in KEYS:
            yield key, b"took %d ms" % next(self._numbers)

    def _frame(self, key: bytes) -> tuple[bytes, bytes]:
        self._traces[key] -= 1
        return key, b"\tat shop.Cart.pay(Cart.java:%d)" % next(self._numbers)


class Feeder:
    """Produces lines until it is stopped, whatever the broker does: each key to one partition, in order."""

    def __init__(
        self, bootstrap: str, topic: str, *, partitions: int, rate: float, seed: int, novel: float = 0.0
    ) -> None:
        """`rate`: lines a second; `novel`: the share of lines of a kind that hardly comes again."""
        self.topic = topic
        self.partitions = partitions
        self._bootstrap = bootstrap
        self._rate = rate
        self._lines = Lines(random.Random(seed), novel)
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
        """Feed nothing more for now, once no stack trace is open; return when the broker has everything."""
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
        producer, partitions = self._new_producer(), self.partitions
        last, due = time.monotonic(), 0.0
        while not self._stopping.wait(0.01):
            if not self._may_feed.is_set():
                self._send(producer, partitions, self._lines.rest())
                _flush(producer)
                self._is_at_rest.set()
                self._may_feed.wait()
                last = time.monotonic()
            if self.partitions != partitions:
                # A producer that runs learns of new partitions only when its metadata are old.
                self._send(producer, partitions, self._lines.rest())
                _flush(producer)
                producer.close()
                producer, partitions = self._new_producer(), self.partitions
            now = time.monotonic()
            due, last = due + (now - last) * self._rate, now
            if len(producer.partitions_for(self.topic)) >= partitions:
                self._send(producer, partitions, self._lines.some(max(int(due) - self.fed, 0)))
        self._send(producer, partitions, self._lines.last())
        _flush(producer)
        producer.close()

    def _new_producer(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self._bootstrap, linger_ms=5, enable_idempotence=True, delivery_timeout_ms=300_000
        )

    def _send(self, producer: KafkaProducer, partitions: int, lines: Iterator[tuple[bytes, bytes]]) -> None:
        for key, line in lines:
            producer.send(self.topic, line, key=key, partition=KEYS.index(key) % partitions)
            self.fed += 1


def _flush(producer: KafkaProducer) -> None:
    """Return when the broker has everything, however long it is away."""
    while True:
        try:
            producer.flush()
        except KafkaError:
            continue  # what was handed over stays queued
        return
