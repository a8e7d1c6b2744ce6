"""How long a raw log takes: from its record's timestamp until another consumer has its event.

An event keeps its record's timestamp, so the watcher needs nothing but the events. All hits: the templates are learned
before the clock counts.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from tests.bench.figures import Figure
from tests.bench.processes import Ended, Measured, running, running_worker
from tests.bench.topics import PARTITIONS, output_topics
from tests.kafka_broker import KafkaBroker

#: Seconds at the beginning that do not count: the worker joins its group, learns the templates and finds the header.
_WARM_UP_SECONDS = 6.0
_MOST_AT_ONCE = 2000
#: Fewer events than this share of what was sent say that something fell behind: then it is no latency of hits.
_LEAST_SHARE = 0.8
#: How often a worker loads its model anew while its latency is measured.
_RELOAD_SECONDS = 4.0

Milliseconds = npt.NDArray[np.float64]


def straight(broker: KafkaBroker, *, pace: int, seconds: float) -> Milliseconds:
    """Return the milliseconds, (n,), that records take with no worker in between: what the machine allows."""
    topic = broker.new_topic("straight", PARTITIONS)
    with running(_pacer(broker, topic, pace, _WARM_UP_SECONDS + seconds)) as pacer:
        return np.fromiter(_watched(broker, topic, seconds, pacer), np.float64)


def latencies(broker: KafkaBroker, *, pace: int, seconds: float, model: str) -> Milliseconds:
    """Return the milliseconds from record to event, (n,), of records sent at `pace` a second for `seconds`."""
    source = broker.new_topic("paced", PARTITIONS)
    with output_topics(broker, "events") as target, running_worker(broker, source, target, model) as worker:
        with running(_pacer(broker, source, pace, 0.2)):
            worker.process.wait_until(lambda: worker.metric("logloom_events_total") > 0, "the first event")
        with running(_pacer(broker, source, pace, _WARM_UP_SECONDS + seconds)):
            return np.fromiter(_watched(broker, target, seconds, worker.process), np.float64)


def reloading(broker: KafkaBroker, *, pace: int, seconds: float, repeats: int, model: str) -> Iterator[Figure]:
    """Measure the latency of hits while the worker loads its model anew every few seconds, beside the same without."""
    kept, swapped = [], []
    for _ in range(repeats):
        kept.append(latencies(broker, pace=pace, seconds=seconds, model=model))
        swapped.append(_while_reloading(broker, pace=pace, seconds=seconds, model=model))
    for name, share in (("p50", 50), ("p99", 99), ("longest", 100)):
        without = [float(np.percentile(run, share)) for run in kept]
        yield Figure(
            name=f"hit latency at {pace:,} records/s, a reload every {_RELOAD_SECONDS:.0f} s: {name}",
            unit="ms",
            values=tuple(float(np.percentile(run, share)) for run in swapped),
            note=f"without a reload: {np.median(without):.3g} ms",
        )


def _while_reloading(broker: KafkaBroker, *, pace: int, seconds: float, model: str) -> Milliseconds:
    source = broker.new_topic("paced", PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="logloom-bench-") as folder, output_topics(broker, "events") as target:
        config, calls = Path(folder, "logloom.toml"), 0
        config.touch()
        with running_worker(broker, source, target, model, LOGLOOM_CONFIG=str(config)) as worker:
            with running(_pacer(broker, source, pace, 0.2)):
                worker.process.wait_until(lambda: worker.metric("logloom_events_total") > 0, "the first event")

            def reload() -> None:
                nonlocal calls
                calls += 1
                config.write_text(f"[model]\ndeadline_ms = {5 + calls % 2}.0\n")
                worker.process.send(signal.SIGHUP)

            with running(_pacer(broker, source, pace, _WARM_UP_SECONDS + seconds)):
                found = np.fromiter(_watched(broker, target, seconds, worker.process, reload), np.float64)
            worker.process.wait_until(
                lambda: worker.metric('logloom_reloads_total{outcome="done"}') == calls, "all reloads"
            )
            return found


def _pacer(broker: KafkaBroker, topic: str, pace: int, seconds: float) -> list[str]:
    return [sys.executable, "-m", "tests.bench.pacer", broker.bootstrap, topic, str(pace), str(seconds)]


def _watched(
    broker: KafkaBroker, topic: str, seconds: float, process: Measured, reload: Callable[[], None] | None = None
) -> Iterator[float]:
    """Read records as they come; yield the milliseconds of those that come after the warm-up. `reload` now and then."""
    next_reload = _WARM_UP_SECONDS
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": f"watch-{topic}"})
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS)])
        begun = time.monotonic()
        while (since := time.monotonic() - begun) < _WARM_UP_SECONDS + seconds:
            process.check()
            if reload is not None and since >= next_reload:
                reload()
                next_reload += _RELOAD_SECONDS
            found = consumer.consume(_MOST_AT_ONCE, 0.005)
            now_ms = time.time() * 1000
            if since >= _WARM_UP_SECONDS:
                for record in found:
                    yield now_ms - record.timestamp()[1]
    finally:
        consumer.close()


def hit_latency(
    broker: KafkaBroker, *, paces: tuple[int, ...], seconds: float, repeats: int, model: str
) -> Iterator[Figure]:
    """Measure each pace (records per second) `repeats` times; only the first has targets."""
    # Not counted: a broker that just started still compiles its own code, and the first run has twice the latency.
    latencies(broker, pace=paces[0], seconds=seconds, model=model)
    for number, pace in enumerate(paces):
        bare, runs = [], []
        for _ in range(repeats):
            bare.append(straight(broker, pace=pace, seconds=seconds))
            runs.append(latencies(broker, pace=pace, seconds=seconds, model=model))
        if any(run.size < pace * seconds * _LEAST_SHARE for run in runs):
            raise Ended(f"{[run.size for run in runs]} events at {pace} records/s in {seconds} s: it fell behind")
        for name, share, target in (("p50", 50, 30.0), ("p99", 99, 100.0)):
            without = np.median([np.percentile(one, share) for one in bare])
            yield Figure(
                name=f"hit latency at {pace:,} records/s: {name}",
                unit="ms",
                values=tuple(float(np.percentile(run, share)) for run in runs),
                at_most=target if number == 0 else None,
                note=f"straight from producer to consumer: {without:.3g} ms",
            )
