"""The path of a batch in memory, on one core, hop by hop: ten kinds of logs, each as its source would take it.

Each kind has its own source: a header format found by itself, a template cache, an event writer. A batch is a record
batch as the broker would send it, and leaves as one. Nothing is fetched or sent.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from tests.bench.figures import Figure
from tests.bench.loglines import block_store
from worker.cache.misses import Misses
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import Envelope
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joiner
from worker.codec.redacting import Redactor
from worker.columns.events import EventWriter
from worker.columns.headers import HeaderSplitter
from worker.columns.layout import Events
from worker.columns.records import read_record_batch, write_record_batches
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import EncoderParser
from worker.parsing.redaction import KINDS, Redaction, Way
from worker.parsing.stream import Stream
from worker.warm_up import records_of

_SAMPLES = Path(__file__).parents[2] / "deploy" / "demo" / "samples"
#: Records of one batch, and batches of one kind in one repeat: the kinds have equal shares.
_BATCH_RECORDS = 2000
HOPS = (
    "read record batch",
    "open envelopes",
    "join lines",
    "split headers",
    "look up",
    "write events",
    "write batches",
)


def kinds(lines_each: int) -> dict[str, list[bytes]]:
    """Return the lines of each kind: the demo's samples, again and again, and a block store's."""
    lines = {
        path.stem: list(islice(cycle(path.read_bytes().splitlines()), lines_each))
        for path in sorted(_SAMPLES.glob("*.log"))
    }
    return {**lines, "block-store": list(block_store(lines_each))}


@dataclass(slots=True, kw_only=True)
class Kind:
    """One kind of logs on its way."""

    name: str
    #: Record batches as the broker would send them.
    batches: list[bytes]
    envelope: Envelope
    #: Finds no header before the lines were learned.
    splitter: HeaderSplitter
    cache: TemplateCache
    misses: Misses


def pack(lines: list[bytes]) -> list[bytes]:
    """Make record batches of lines."""
    batches = []
    for first in range(0, len(lines), _BATCH_RECORDS):
        records = records_of(tuple(lines[first : first + _BATCH_RECORDS]))
        values = Events(buffer=records.buffer, start=records.value_start, length=records.value_length)
        rows = np.arange(records.offset.size)
        batches += [
            bytes(batch.data)
            for batch in write_record_batches(values, records, rows, compression="none", max_bytes=1 << 26)
        ]
    return batches


def kind_of(name: str, lines: list[bytes], model: MicroBatcher, stream: Stream | None) -> Kind:
    """Prepare a kind; its templates are learned from the model, and settle with a stream."""
    cache = TemplateCache(max_templates=100_000, max_fingerprints=1 << 20)
    return Kind(
        name=name,
        batches=pack(lines),
        envelope=Envelope("auto"),
        splitter=HeaderSplitter([], "UTC"),
        cache=cache,
        misses=Misses(cache=cache, store=None, model=model, scope=name, stream=stream),
    )


async def learn(kind: Kind) -> EventWriter:
    """Take the batches through once, misses to the model; return the writer that knows all templates."""
    joiner, finder = Joiner(), HeaderFinder(["auto"], zone="UTC", source=kind.name)
    for batch in kind.batches:
        records = read_record_batch(batch)
        opened = kind.envelope.open(records)
        joined = joiner.join(opened.texts, records, partition=0, now=0.0, partial=opened.partial)
        kind.splitter = await finder.splitter_for(joined.texts)
        headers = kind.splitter.split(joined.texts, joined.records.timestamp[joined.texts.record])
        with kind.cache.in_use():
            await kind.misses.resolve(joined.texts, headers, kind.cache.look_up(joined.texts, headers))
    writer = EventWriter(
        resource={}, fields=[[(name, "text") for name in found.fields] for found in kind.splitter.formats]
    )
    kind.cache.attach(writer)
    return writer


@dataclass(slots=True, kw_only=True)
class Spent:
    """What a kind took, all hops together and each of them."""

    records: int = 0
    events: int = 0
    nanoseconds: np.ndarray[tuple[int], np.dtype[np.int64]]


def take(kind: Kind, writer: EventWriter, redactor: Redactor | None = None) -> Spent:
    """Take the batches through all hops once and look at the thread's CPU clock between them.

    What a redactor takes counts as time of the writing.
    """
    joiner = Joiner()
    spent = Spent(nanoseconds=np.zeros(len(HOPS), np.int64))
    marks = np.zeros(len(HOPS) + 1, np.int64)
    clock = time.thread_time_ns  # of the core alone: others may use the machine too
    for batch in kind.batches:
        marks[0] = clock()
        records = read_record_batch(batch)
        marks[1] = clock()
        opened = kind.envelope.open(records)
        marks[2] = clock()
        joined = joiner.join(opened.texts, records, partition=0, now=0.0, partial=opened.partial)
        texts = joined.texts
        marks[3] = clock()
        headers = kind.splitter.split(texts, joined.records.timestamp[texts.record])
        marks[4] = clock()
        matches = kind.cache.look_up(texts, headers)
        marks[5] = clock()
        if redactor is not None:
            texts, headers, matches = redactor.redact(texts, headers, matches)
        events = writer.write(
            texts, headers, matches, joined.records,
            source=kind.name, topic=kind.name, partition=0, parser_version="none", observed_ns=time.time_ns(),
        )  # fmt: skip
        marks[6] = clock()
        write_record_batches(events, joined.records, texts.record, compression="none", max_bytes=1_000_000)
        marks[7] = clock()
        spent.records += records.offset.size
        spent.events += int((events.length >= 0).sum())
        spent.nanoseconds += np.diff(marks)
    return spent


def in_memory(*, lines_each: int, repeats: int, model: str) -> Iterator[Figure]:
    """Measure all kinds, one after the other, `repeats` times."""
    allowed = os.sched_getaffinity(0)
    spent: dict[str, list[Spent]] = {}
    without: dict[str, list[Spent]] = {}
    try:
        prepared = asyncio.run(_prepare(lines_each, model, settles=True))
        others = asyncio.run(_prepare(lines_each, model, settles=False))
        os.sched_setaffinity(0, {min(allowed)})
        for kind, writer in [*prepared, *others]:
            take(kind, writer)
        for _ in range(repeats):
            for (kind, writer), (other, its_writer) in zip(prepared, others, strict=True):
                spent.setdefault(kind.name, []).append(take(kind, writer))
                without.setdefault(kind.name, []).append(take(other, its_writer))
    finally:
        os.sched_setaffinity(0, allowed)
    yield Figure(
        name=f"kernels in memory, {len(spent)} kinds of logs in equal shares, full event",
        unit="lines/s a core",
        values=tuple(
            sum(one[turn].records for one in spent.values())
            / sum(one[turn].nanoseconds.sum() for one in spent.values())
            * 1e9
            for turn in range(repeats)
        ),
        at_least=700_000,
        note=f"batches of {_BATCH_RECORDS:,} records",
    )
    yield Figure(
        name="kernels in memory, hits: time with what misses settle on, beside templates of single messages",
        unit="of that",
        values=tuple(
            sum(int(one[turn].nanoseconds.sum()) for one in spent.values())
            / sum(int(one[turn].nanoseconds.sum()) for one in without.values())
            for turn in range(repeats)
        ),
        at_most=1.1,
        note=f"{sum(len(kind.cache) for kind, _ in prepared)} templates, {sum(len(kind.cache) for kind, _ in others)}",
    )
    for place, hop in enumerate(HOPS):
        yield Figure(
            name=f"kernels in memory: {hop}",
            unit="ns a line",
            values=tuple(
                sum(one[turn].nanoseconds[place] for one in spent.values())
                / sum(one[turn].records for one in spent.values())
                for turn in range(repeats)
            ),
        )
    for kind, _ in prepared:
        turns = spent[kind.name]
        slowest = [
            f"{hop} {np.median([turn.nanoseconds[place] / turn.records for turn in turns]):.0f}"
            for place, hop in enumerate(HOPS)
        ]
        yield Figure(
            name=f"kernels in memory: {kind.name}",
            unit="lines/s a core",
            values=tuple(turn.records / int(turn.nanoseconds.sum()) * 1e9 for turn in turns),
            note=f"{len(kind.cache)} templates, {turns[0].events:,} events; ns a line: {', '.join(slowest)}",
        )


def redacting(*, lines_each: int, repeats: int, model: str) -> Iterator[Figure]:
    """Measure all kinds with redaction of every kind of values and without, in turn."""
    allowed = os.sched_getaffinity(0)
    ways: dict[str, Way] = dict.fromkeys(KINDS, "hash")
    redaction = Redaction(ways=ways, key=b"sixteen bytes or more")
    shares: dict[str, list[float]] = {}
    off, on = np.zeros((2, repeats))
    try:
        prepared = asyncio.run(_prepare(lines_each, model, settles=False))
        os.sched_setaffinity(0, {min(allowed)})
        for kind, writer in prepared:
            names = [found.fields for found in kind.splitter.formats]
            its_writer = EventWriter(resource={}, fields=[[(name, "text") for name in row] for row in names])
            redactor = Redactor(redaction, its_writer, names)
            kind.cache.attach(redactor)
            for turn in range(-1, repeats):
                without, spent = take(kind, writer), take(kind, its_writer, redactor)
                if turn >= 0:  # the first warms everything up
                    off[turn] += without.nanoseconds.sum() / without.records
                    on[turn] += spent.nanoseconds.sum() / spent.records
                    shares.setdefault(kind.name, []).append(float(without.nanoseconds.sum() / spent.nanoseconds.sum()))
    finally:
        os.sched_setaffinity(0, allowed)
    title = "kernels in memory, all kinds of values hashed"
    yield Figure(name=title, unit="lines/s a core", values=tuple(len(shares) / on * 1e9))
    yield Figure(name=f"{title}: of the speed without", unit="of that", values=tuple(off / on))
    for name, values in shares.items():
        yield Figure(name=f"{title}: {name}", unit="of the speed without", values=tuple(values))


async def _prepare(lines_each: int, model: str, *, settles: bool) -> list[tuple[Kind, EventWriter]]:
    parser = EncoderParser.load(model)
    batcher = MicroBatcher(parser, deadline_seconds=0.0)
    try:
        found = []
        for name, lines in kinds(lines_each).items():
            kind = kind_of(name, lines, batcher, Stream(parser) if settles else None)
            found.append((kind, await learn(kind)))
        return found
    finally:
        await batcher.close()
