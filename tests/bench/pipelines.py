"""Records per second and CPU per record on a real Kafka: Logloom and its peers, one after the other, on one broker.

Steady state: of each run the first fifth of the records is left out, and so is the last. CPU is the process's own; the
broker shares the machine.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.figures import Figure
from tests.bench.loglines import block_store
from tests.bench.processes import PATIENCE_SECONDS, Ended, Measured, pause, running, running_worker
from tests.bench.topics import PARTITIONS, Watch, fill, output_topics
from tests.kafka_broker import KafkaBroker

#: How much of the records each peer is given: enough for half a minute of it.
_PEER_SHARES = {"stock-faust-echo": 0.1, "quix-echo": 0.6, "confluent-drain3": 0.4}
#: The peers' titles.
_PEER_TITLES = {
    "stock-faust-echo": "stock Faust, echo",
    "quix-echo": "Quix Streams, echo",
    "confluent-drain3": "confluent-kafka + drain3",
}
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What one run did in its steady state."""

    records_per_second: float
    #: Microseconds of the process's CPU per record.
    cpu_us_per_record: float
    #: The same of a broker that was started for the benchmarks; 0 for another.
    broker_us_per_record: float
    #: Resident memory at the end, MiB.
    memory_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """How far a run was at a moment."""

    seconds: float
    records: int
    cpu_seconds: float
    broker_seconds: float


def measure(broker: KafkaBroker, target: str, records: int, process: Measured) -> Pace:
    """Watch `target` grow to `records` and return the pace between its first and its last fifth. Raises Ended."""
    watch = Watch(broker, target)
    try:
        marks = list(_marks(watch, records, process))
    finally:
        watch.close()
    steady = [mark for mark in marks if records // 5 <= mark.records <= records * 4 // 5]
    if len(steady) < 2:
        raise Ended(f"too quick to be measured: {len(marks)} looks at {records} records; give it more")
    first, last = steady[0], steady[-1]
    count = last.records - first.records
    return Pace(
        records_per_second=count / (last.seconds - first.seconds),
        cpu_us_per_record=(last.cpu_seconds - first.cpu_seconds) / count * 1e6,
        broker_us_per_record=(last.broker_seconds - first.broker_seconds) / count * 1e6,
        memory_mib=process.memory_mib(),
    )


def _marks(watch: Watch, records: int, process: Measured) -> Iterator[_Mark]:
    begun = time.monotonic()
    while True:
        process.check()
        mark = _Mark(
            records=watch.count(),
            seconds=time.monotonic(),
            cpu_seconds=process.cpu_seconds(),
            broker_seconds=_broker_seconds(),
        )
        yield mark
        if mark.records >= records:
            return
        if mark.seconds - begun > PATIENCE_SECONDS:
            raise Ended(f"{mark.records} of {records} records in {PATIENCE_SECONDS:.0f} s\n{process.log()}")
        pause(_POLL_SECONDS)


def _broker_seconds() -> float:
    """CPU time of the Java processes that this one has started: the broker, where it is ours."""
    times = [child.cpu_times() for child in psutil.Process().children() if child.name() == "java"]
    return float(sum(one.user + one.system for one in times))


def run_peer(name: str, broker: KafkaBroker, source: str, records: int) -> Pace:
    """Run one peer on `records` of `source`."""
    peers = str(Path(__file__).with_name("peers.py"))
    with output_topics(broker, name) as target:
        command = [sys.executable, peers, name, broker.bootstrap, f"bench-{target}", source, target]
        with running(command) as process:
            return measure(broker, target, records, process)


def run_worker(broker: KafkaBroker, source: str, records: int, model: str, **settings: str) -> Pace:
    """Run the worker with `settings`, by variable; the first fifth of the records warms its caches."""
    with (
        output_topics(broker, "events") as target,
        running_worker(broker, source, target, model, **settings) as worker,
    ):
        return measure(broker, target, records, worker.process)


def settling(broker: KafkaBroker, *, records: int, repeats: int, model: str) -> Iterator[Figure]:
    """Run the worker with and without the settling of templates, in turn."""
    off, on = _in_turn(broker, records, repeats, model, LOGLOOM_STREAM__ENABLED=("false", "true"))
    yield from _figures("without settling", off)
    yield from _figures("with settling", on)
    values = tuple(one.cpu_us_per_record / other.cpu_us_per_record for one, other in zip(on, off, strict=True))
    yield Figure(name="CPU with settling over CPU without", unit="times", values=values, at_most=1.1)


def delivery(broker: KafkaBroker, *, records: int, repeats: int, model: str) -> Iterator[Figure]:
    """Run the worker with at-least-once and with exactly-once, in turn."""
    kinds = ("at-least-once", "exactly-once")
    least, once = _in_turn(broker, records, repeats, model, LOGLOOM_KAFKA__DELIVERY=kinds)
    yield from _figures(kinds[0], least)
    yield from _figures(kinds[1], once)
    values = tuple(one.records_per_second / other.records_per_second for one, other in zip(once, least, strict=True))
    yield Figure(name="throughput with exactly-once over at-least-once", unit="times", values=values, at_least=0.7)


def _in_turn(
    broker: KafkaBroker, records: int, repeats: int, model: str, **setting: tuple[str, ...]
) -> Iterator[list[Pace]]:
    """Run the worker with each value of one setting, by variable, `repeats` times in turn; the paces of each value."""
    ((name, values),) = setting.items()
    source = broker.new_topic("raw", PARTITIONS)
    fill(broker, source, block_store(records))
    paces = [[run_worker(broker, source, records, model, **{name: value}) for value in values] for _ in range(repeats)]
    return (list(found) for found in zip(*paces, strict=True))


def throughput(broker: KafkaBroker, *, records: int, repeats: int, model: str) -> Iterator[Figure]:
    """Run everything `repeats` times in turn, so that what disturbs the machine disturbs all."""
    source = broker.new_topic("raw", PARTITIONS)
    fill(broker, source, block_store(records))
    paces: dict[str, list[Pace]] = {}
    for _ in range(repeats):
        for compression in ("lz4", "none"):
            pace = run_worker(broker, source, records, model, LOGLOOM_OUTPUT__COMPRESSION=compression)
            paces.setdefault(compression, []).append(pace)
        for name, share in _PEER_SHARES.items():
            paces.setdefault(name, []).append(run_peer(name, broker, source, int(records * share)))
    yield from _figures("Logloom", paces["lz4"], quick=250_000, frugal=4.0)
    yield from _figures("Logloom, events uncompressed", paces["none"])
    for name, title in _PEER_TITLES.items():
        yield from _figures(title, paces[name])
    for name, factor in (("stock-faust-echo", 50), ("confluent-drain3", 6)):
        yield Figure(
            name=f"Logloom over {_PEER_TITLES[name]}",
            unit="times",
            values=tuple(
                ours.records_per_second / theirs.records_per_second
                for ours, theirs in zip(paces["lz4"], paces[name], strict=True)
            ),
            at_least=factor,
        )


def _figures(
    title: str, paces: list[Pace], *, quick: float | None = None, frugal: float | None = None
) -> Iterator[Figure]:
    yield Figure(
        name=f"{title}: steady state",
        unit="records/s",
        values=tuple(pace.records_per_second for pace in paces),
        at_least=quick,
    )
    yield Figure(
        name=f"{title}: CPU of the process",
        unit="µs a record",
        values=tuple(pace.cpu_us_per_record for pace in paces),
        at_most=frugal,
    )
    yield Figure(
        name=f"{title}: CPU of the broker beside it",
        unit="µs a record",
        values=tuple(pace.broker_us_per_record for pace in paces),
    )
    yield Figure(name=f"{title}: memory at the end", unit="MiB", values=tuple(pace.memory_mib for pace in paces))
