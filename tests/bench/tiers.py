"""One worker that does all, beside two tiers: what handing misses over costs, on one machine with processes.

The model takes the same time wherever it stands, so that tiers show what lies in between: a topic there, and a list in
Redis back.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from confluent_kafka import Producer

from tests.bench.figures import Figure
from tests.bench.loglines import block_store
from tests.bench.pipelines import measure
from tests.bench.processes import Worker, running_worker
from tests.bench.topics import PARTITIONS, Watch, fill, output_topics
from tests.chaos.feed import novel
from tests.kafka_broker import KafkaBroker
from tests.redis_server import start_redis

#: Words of a message of a kind of its own.
_NOVEL_WORDS = 6
#: Messages that come one after the other, each when the event of the one before is there.
_ONE_BY_ONE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """One worker that reads `source`, and the one that parses for it: itself, where there is but one."""

    source: str
    target: str
    reader: Worker
    parser: Worker


@contextmanager
def _one(broker: KafkaBroker, records: int, model: str) -> Iterator[_Running]:
    with ExitStack() as stack:
        source, target, settings = _place(broker, records, stack)
        worker = stack.enter_context(running_worker(broker, source, target, model, **settings))
        yield _Running(source=source, target=target, reader=worker, parser=worker)


@contextmanager
def _two(broker: KafkaBroker, records: int, model: str) -> Iterator[_Running]:
    with ExitStack() as stack:
        source, target, settings = _place(broker, records, stack)
        settings = {**settings, "LOGLOOM_MISSES__TOPIC": broker.new_topic("misses", PARTITIONS)}
        parser, reader = (
            stack.enter_context(running_worker(broker, source, target, model, **settings, LOGLOOM_ROLE=role))
            for role in ("parse", "match")
        )
        yield _Running(source=source, target=target, reader=reader, parser=parser)


def _place(broker: KafkaBroker, records: int, stack: ExitStack) -> tuple[str, str, Mapping[str, str]]:
    redis = start_redis()
    stack.callback(redis.close)
    source, target = broker.new_topic("raw", PARTITIONS), stack.enter_context(output_topics(broker, "events"))
    fill(broker, source, block_store(records))
    return source, target, {"LOGLOOM_REDIS__URL": redis.url}


_KINDS: Mapping[str, Callable[[KafkaBroker, int, str], AbstractContextManager[_Running]]] = {
    "one worker": _one,
    "two tiers": _two,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Took:
    """What one run of one kind took."""

    misses_per_second: float
    #: Microseconds of CPU for each miss, of who reads and, where that is another, of who parses.
    reader_us: float
    parser_us: float
    #: From sending a message of a new kind to its event, one at a time.
    alone_ms: list[float]
    hits_per_second: float
    hit_us: float
    reader_mib: float
    parser_mib: float


def tiers(broker: KafkaBroker, *, records: int, lines: int, repeats: int, model: str) -> Iterator[Figure]:
    """Have `records` read of ten kinds, then messages each of its own kind: some one at a time, `lines` at once."""
    runs: dict[str, list[_Took]] = {kind: [] for kind in _KINDS}
    for _ in range(repeats):
        for kind, start in _KINDS.items():
            with start(broker, records, model) as place:
                runs[kind].append(_run(broker, place, records, lines))
    one, two = runs["one worker"], runs["two tiers"]
    for kind, took in runs.items():
        yield from _figures(kind, took, has_parser=took is two)
    for name, of in (("misses", _misses_per_second), ("hits", _hits_per_second)):
        ratios = tuple(of(tier) / of(whole) for tier, whole in zip(two, one, strict=True))
        yield Figure(name=f"{name} a second, two tiers over one worker", unit="times", values=ratios)


def _misses_per_second(took: _Took) -> float:
    return took.misses_per_second


def _hits_per_second(took: _Took) -> float:
    return took.hits_per_second


def _run(broker: KafkaBroker, place: _Running, records: int, lines: int) -> _Took:
    pace = measure(broker, place.target, records, place.reader.process)
    alone = list(_one_by_one(broker, place))
    watch = Watch(broker, place.target)
    try:
        before, own, other = watch.count(), place.reader.process.cpu_seconds(), place.parser.process.cpu_seconds()
        begun = time.monotonic()
        fill(broker, place.source, novel(1_000_000, lines, words=_NOVEL_WORDS))
        place.reader.process.wait_until(lambda: watch.count() >= before + lines, "all events", every_seconds=0.02)
        seconds = time.monotonic() - begun
        own, other = place.reader.process.cpu_seconds() - own, place.parser.process.cpu_seconds() - other
    finally:
        watch.close()
    return _Took(
        misses_per_second=lines / seconds,
        reader_us=own / lines * 1e6,
        parser_us=other / lines * 1e6,
        alone_ms=alone,
        hits_per_second=pace.records_per_second,
        hit_us=pace.cpu_us_per_record,
        reader_mib=place.reader.process.memory_mib(),
        parser_mib=place.parser.process.memory_mib(),
    )


def _one_by_one(broker: KafkaBroker, place: _Running) -> Iterator[float]:
    """Yield the milliseconds that each of some messages of a new kind takes; the first brings all to work."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
    watch = Watch(broker, place.target)
    try:
        before = watch.count()
        for number, line in enumerate(novel(0, 1 + _ONE_BY_ONE, words=_NOVEL_WORDS)):
            begun = time.monotonic()
            producer.produce(place.source, line, partition=number % PARTITIONS)
            producer.flush(10)
            place.reader.process.wait_until(
                lambda expected=before + number + 1: watch.count() >= expected,  # type: ignore[misc]
                "an event",
                every_seconds=0.001,
            )
            if number:
                yield (time.monotonic() - begun) * 1000
    finally:
        watch.close()


def _figures(kind: str, runs: list[_Took], *, has_parser: bool) -> Iterator[Figure]:
    def figure(name: str, unit: str, values: Iterator[float]) -> Figure:
        return Figure(name=f"{kind}: {name}", unit=unit, values=tuple(values))

    reads = "who matches" if has_parser else "the worker"
    yield figure("misses, all at once", "a second", (run.misses_per_second for run in runs))
    yield figure(f"CPU of {reads}", "µs a miss", (run.reader_us for run in runs))
    if has_parser:
        yield figure("CPU of who parses", "µs a miss", (run.parser_us for run in runs))
    yield figure("a new message by itself, to its event: median", "ms", (median(run.alone_ms) for run in runs))
    yield figure("the same, longest", "ms", (max(run.alone_ms) for run in runs))
    yield figure("hits", "records/s", (run.hits_per_second for run in runs))
    yield figure(f"CPU of {reads}", "µs a hit", (run.hit_us for run in runs))
    yield figure(f"memory of {reads}", "MiB", (run.reader_mib for run in runs))
    if has_parser:
        yield figure("memory of who parses", "MiB", (run.parser_mib for run in runs))
