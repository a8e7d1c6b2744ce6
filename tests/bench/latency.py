"""How long a raw log takes: from its record's timestamp until another consumer has its event.

An event keeps its record's timestamp, so the watcher needs nothing but the events. All hits: the templates are learned
before the clock counts.
"""

import sys
import time
from collections.abc import Iterator

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


def _pacer(broker: KafkaBroker, topic: str, pace: int, seconds: float) -> list[str]:
    return [sys.executable, "-m", "tests.bench.pacer", broker.bootstrap, topic, str(pace), str(seconds)]


def _watched(broker: KafkaBroker, topic: str, seconds: float, process: Measured) -> Iterator[float]:
    """Read records as they come; yield the milliseconds of those that come after the warm-up."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": f"watch-{topic}"})
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS)])
        begun = time.monotonic()
        while (since := time.monotonic() - begun) < _WARM_UP_SECONDS + seconds:
            process.check()
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
