"""What traces cost: processor time of the path of hits without them, with one batch in a hundred, and with all.

In memory each way takes the same batches in turn, one after the other, and its spans are sent before the next has its
turn; on a broker each is a worker of its own. The collector is another process.
"""

import asyncio
import gc
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.bench.figures import Figure
from tests.bench.kernels import pack
from tests.bench.loglines import block_store
from tests.bench.pipelines import Pace, run_worker
from tests.bench.processes import running
from tests.bench.topics import PARTITIONS, fill
from tests.fakes import FakeProducer, RuleParser
from tests.kafka_broker import KafkaBroker, free_port
from worker.cache.misses import Misses
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import Envelope
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joiner
from worker.columns.records import EncodedBatch
from worker.hops import NO_TRACING, Tracing, ending, hop, note, sending
from worker.interpreter import favour_hits
from worker.metrics import Metrics
from worker.parsing.microbatch import MicroBatcher
from worker.pipeline import Outputs, Parts, Pipeline, SourcePath
from worker.settings import load
from worker.tracing.traces import Traces
from worker.transport.batches import FetchedBatch, TopicPartition
from worker.transport.outlet import Direct
from worker.transport.producer import Delivery

#: Ways by their share of batches; None is without tracing.
_WAYS: dict[str, float | None] = {"without": None, "1 %": 0.01, "all": 1.0}
#: Turns of each way in one repeat, and records of each turn: they last about as long as spans wait to be sent.
_TURNS, _TURN_RECORDS = 4, 200_000
#: Batches of one repeat where hops alone are measured, and these hops.
_HOPS_ALONE = 1_000
_HOPS = ("decode", "open envelopes", "join lines", "split headers", "look up", "write events", "write record batches")
_PARTITION = TopicPartition("raw", 0)


class _Sink(FakeProducer):
    """Takes record batches, and keeps nothing."""

    async def send(self, topic: str, partition: int, batch: EncodedBatch) -> "asyncio.Task[Delivery]":
        """Take a record batch."""
        del batch
        return asyncio.create_task(self._deliver(topic, partition))


def tracing(broker: Callable[[], KafkaBroker], *, records: int, repeats: int, model: str) -> Iterator[Figure]:
    """Measure in memory, then on the broker."""
    with _collector() as endpoint:
        with _as_in_a_worker():
            yield from _hops_alone(endpoint, 2 * repeats + 1)
            for batch_records in (2_000, 100):
                yield from asyncio.run(_in_memory(endpoint, batch_records, 2 * repeats + 1))
        yield from _on_a_broker(broker(), endpoint, records, repeats, model)


@contextmanager
def _collector() -> Iterator[str]:
    port = free_port()
    with running([sys.executable, "-m", "tests.collector", str(port), "--forget"]) as process:
        process.wait_until(lambda: "takes traces" in process.log(), "a collector")
        yield f"http://127.0.0.1:{port}"


def _hops_alone(endpoint: str, repeats: int) -> Iterator[Figure]:
    """Measure what a batch says of its hops, and nothing else: spans are made, encoded and sent where it is sampled."""
    for name, share in {"without": None, "not sampled": 0.0, "sampled": 1.0}.items():
        tracing = _tracing_of(endpoint, share)
        values = []
        for turn in range(-1, repeats):
            began = time.process_time_ns()
            for offset in range(_HOPS_ALONE):
                _tell_hops(tracing, offset)
            _send(tracing)
            if turn >= 0:  # the first warms everything up
                values.append((time.process_time_ns() - began) / _HOPS_ALONE / 1000)
        asyncio.run(tracing.close())
        yield Figure(name=f"the hops of a batch alone, {name}", unit="µs of CPU a batch", values=tuple(values))


def _tell_hops(tracing: Tracing, offset: int) -> None:
    with tracing.batch("raw", "raw", 0, offset=offset, since_ns=time.time_ns()):
        for name in _HOPS:
            with hop(name):
                pass
        sent = sending({"events": 2_000, "dead": 0})
        with ending():
            with sent:
                pass
            with hop("commit"):
                pass
            note(events=2_000, joined=0, dead_letters=0, held=0)


def _tracing_of(endpoint: str, share: float | None) -> Tracing:
    if share is None:
        return NO_TRACING
    variables = {"ENDPOINT": endpoint, "SHARE": str(share), "MAX_WAITING_SPANS": "1000000"}
    environment = {f"LOGLOOM_TRACING__{name}": value for name, value in variables.items()}
    return Traces.to_collector(load(environment={"LOGLOOM_TOPICS": "raw", **environment}), Metrics())


def _send(tracing: Tracing) -> None:
    """Have sent what waits."""
    if isinstance(tracing, Traces):
        tracing._provider.force_flush()


@contextmanager
def _as_in_a_worker() -> Iterator[None]:
    """Set Python up as a worker does."""
    switch, thresholds = sys.getswitchinterval(), gc.get_threshold()
    favour_hits()
    try:
        yield
    finally:
        sys.setswitchinterval(switch)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _in_memory(endpoint: str, batch_records: int, repeats: int) -> list[Figure]:
    lines = list(block_store(_TURN_RECORDS))
    batches = [data for first in range(0, len(lines), batch_records) for data in pack(lines[first:][:batch_records])]
    # Twice without: what differs there is the machine's doing.
    ways = {name: _Way(endpoint, share) for name, share in {**_WAYS, "without, again": None}.items()}
    for way in ways.values():
        await way.take(batches)  # warms everything up
    spent: dict[str, list[float]] = {name: [] for name in ways}
    chance = random.Random(7)
    for _ in range(repeats):
        nanoseconds = dict.fromkeys(ways, 0)
        for _ in range(_TURNS):
            # In any order: whoever comes after all spans were made finds cold caches.
            for name in chance.sample([*ways], len(ways)):
                nanoseconds[name] += await ways[name].take(batches)
        for name, took in nanoseconds.items():
            spent[name].append(took / (_TURNS * len(batches)))
    for way in ways.values():
        await way.close()
    title = f"batches of {batch_records:,} hits in memory"
    figures = [
        Figure(name=f"{title}, {name}", unit="µs of CPU a batch", values=tuple(took / 1000 for took in spent[name]))
        for name in ways
    ]
    for name in [*ways][1:]:
        ratios = (took / plain for took, plain in zip(spent[name], spent["without"], strict=True))
        figures.append(Figure(name=f"{title}: CPU, {name} over without", unit="times", values=tuple(ratios)))
    return figures


class _Way:
    """A pipeline with traces of a share of its batches."""

    def __init__(self, endpoint: str, share: float | None) -> None:
        self._tracing = tracing = _tracing_of(endpoint, share)
        self._model = MicroBatcher(RuleParser(), deadline_seconds=0, watch=tracing.watch)
        cache = TemplateCache(max_templates=10_000, max_fingerprints=1 << 16)
        path = SourcePath(
            name="raw",
            finder=HeaderFinder(["auto"], zone="UTC", source="raw"),
            misses=Misses(cache=cache, store=None, model=self._model, scope="raw"),
            parser_version="rules",
            resource={},
        )
        parts = Parts(
            path=path,
            envelope=Envelope("auto"),
            joiner=Joiner(),
            outputs=Outputs(topic="events", dead_letter_topic="dead"),
        )
        self._failures: list[BaseException] = []
        self._pipeline = Pipeline(
            parts,
            outlet=Direct(_Sink().as_producer),
            metrics=Metrics(sources=["raw"]),
            fail=self._failures.append,
            tracing=tracing,
        )

    async def take(self, batches: list[bytes]) -> int:
        """Take batches, have their spans sent, and return the nanoseconds of the process's CPU that it took."""
        began = time.process_time_ns()
        for data in batches:
            batch = FetchedBatch(topic="raw", partition=0, data=data, fetch_offset=0, next_offset=1 << 20)
            await self._pipeline.process(batch, lambda *_: None)
        await self._pipeline.drain(frozenset({_PARTITION}))
        _send(self._tracing)
        if self._failures:
            raise self._failures[0]
        return time.process_time_ns() - began

    async def close(self) -> None:
        """End its threads."""
        await self._model.close()
        await self._tracing.close()


def _on_a_broker(broker: KafkaBroker, endpoint: str, records: int, repeats: int, model: str) -> Iterator[Figure]:
    source = broker.new_topic("raw", PARTITIONS)
    fill(broker, source, block_store(records))
    paces: dict[str, list[Pace]] = {name: [] for name in _WAYS}
    for _ in range(repeats):
        for name, share in _WAYS.items():
            settings = {} if share is None else {"ENDPOINT": endpoint, "SHARE": str(share)}
            variables = {f"LOGLOOM_TRACING__{setting}": value for setting, value in settings.items()}
            paces[name].append(run_worker(broker, source, records, model, **variables))
    for name, found in paces.items():
        values = tuple(pace.records_per_second for pace in found)
        yield Figure(name=f"a worker on a broker, {name}: steady state", unit="records/s", values=values)
    for name in [*paces][1:]:
        ratios = (
            pace.cpu_us_per_record / plain.cpu_us_per_record
            for pace, plain in zip(paces[name], paces["without"], strict=True)
        )
        yield Figure(name=f"a worker on a broker: CPU, {name} over without", unit="times", values=tuple(ratios))
