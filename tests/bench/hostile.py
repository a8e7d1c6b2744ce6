"""Lines built to blow up whoever reads them, from 1 kB to 1 MB: how time grows with length; and floods.

Times are the thread's own, the best of several, so that who else uses the machine matters little. The exponent is the
slope of log time over log length from 16 kB on (4 kB for the model, which refuses what is longer than 64 kB): 1 is
linear, 2 is quadratic.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from tests.bench.figures import Figure
from tests.columns_of import messages_of, records_of, texts_of
from worker.cache.misses import Misses
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import Envelope
from worker.codec.multiline import Joiner
from worker.columns.events import EventWriter
from worker.columns.headers import HeaderSplitter
from worker.columns.redacting import ColumnRedactor
from worker.interpreter import favour_hits
from worker.parsing.checkpoint import PIECES
from worker.parsing.headers import PRESETS, detect
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import EncoderParser, Prompts
from worker.parsing.redaction import KINDS, Redaction
from worker.parsing.rows import Candidate
from worker.parsing.stream import Stream
from worker.parsing.templates import Template, decoded

_SIZES = tuple(1 << bits for bits in range(10, 21, 2))
#: The model's curve: what is longer is refused before it is read.
_MODEL_SIZES = tuple(1 << bits for bits in range(10, 17))
_FITTED_FROM, _MODEL_FITTED_FROM = 1 << 14, 1 << 12
#: Above it the picture and the table say that it is worse than linear.
_MOST_EXPONENT = 1.2
_SPACIOUS = range(128)

#: What repeats in a hostile line.
_UNITS: Mapping[str, bytes] = {
    "parameters": b"user=17 ",
    "one letter": b"a",
    "near match": b"x a ",
    "brackets": b"[({<",
    "closed brackets": b"[a] (b) ",
    "spaces": b" ",
    "words and spaces": b"a          ",
    "digits": b"1",
    "hex": b"deadbeef01 ",
    "quotes": b"\"a' ",
    "paths": b"/a.b-c:1",
    "not ASCII": "ä→1 ".encode(),
    "dates": b"2026-11-22 12:00:00,123 ",
    "levels": b"INFO: ",
    "no UTF-8": b"\xff\xfe1 ",
}
#: What repeats in a line that is to be redacted, beside those: values that never end, or are none after all.
_VALUES: Mapping[str, bytes] = {
    "grouped digits": b"4111-",
    "digits in ones": b"4 ",
    "near cards": b"4111 1111 1111 1112 ",
    "cards": b"4111111111111111,",
    "letters with dots": b"a.",
    "numbers with dots": b"1.",
    "near IPv4": b"1.2.3.256.",
    "at signs": b"@",
    "mail without end": b"a@a.",
    "local parts": b"a.b+c%",
    "colons": b":",
    "hex groups": b"fe80:",
    "near IPv6": b"1::2::",
    "words with colons": b"a:b::",
    "keys": b"user=",
    "keys of mail": b"email=",
    "keys without values": b"token= ",
    "keys in quotes": b'"user":"',
    "keys in angle brackets": b"user=<",
    "escaped quotes": b'\\"user\\":\\"',
    "nested quotes": b"user=\"'",
    "backslashes": b"\\",
    "keys to the line's end": b"cookie: ",
    "options": b"--password ",
    "URLs": b"http://a:",
    "colons of URLs": b"://:",
    "schemes": b"Bearer ",
    "beginnings of JWTs": b"eyJhbGciOi.",
    "beginnings of keys": b"ghp_",
    "base64": b"aB3/",
    "words of keys": b"userToken",
    "phrases": b"for user ",
    "sudo": b"a : TTY=",
    "PAM": b" a(uid=",
    "web users": b" - a [12/N",
    "hosts of MySQL": b"'a'@'",
    "options of curl": b" -u a:",
    "users in quotes": b"user '",
    "names with dots": b" a...",
    "lists": b'user=["',
}
#: What such a line may end with, where that is what makes a value none.
_ENDS: Mapping[str, bytes] = {"keys": b"<", "keys in quotes": b"\\", "local parts": b"@"}


def _line(unit: bytes, size: int, end: bytes = b" y") -> bytes:
    """Repeat `unit` between words that templates know."""
    return b"x " + unit * ((size - 4) // len(unit)) + end


def _templates() -> list[Template]:
    """Make templates that nearly match: many parameters, repeated literals, and ends that never come."""
    texts = [
        "x " + "user=<*> " * 127 + "z",
        "x <*>" + "a<*>" * 60 + "z",
        "x <*>a a<*>a<*>b y",
        "x <*>[<*>[<*>]<*>]<*>z",
        "x <*> <*> <*> <*> <*> z",
        "x <*>1<*>1<*>2 y",
        "<*>a<*>",
        "[<*>] <*>",
        *(f"x <*> user=<*> a<*> {'b' * number} y" for number in range(40)),
    ]
    return [Template.from_text(text, spacious) for text in texts for spacious in ((), _SPACIOUS, (0,))]


def _best(work: Callable[[], object], repeats: int) -> float:
    """Tell the shortest time of a few turns, in seconds of the thread."""
    times = []
    for _ in range(repeats):
        began = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - began)
    return min(times) / 1e9


def _matching(line: bytes) -> Callable[[], object]:
    cache = TemplateCache(max_templates=1000, max_fingerprints=1024)
    for template in _templates():
        cache.add(template)
    texts, headers = messages_of([line])
    return lambda: cache.look_up(texts, headers)


def _writing(line: bytes) -> Callable[[], object]:
    cache = TemplateCache(max_templates=10, max_fingerprints=1024)
    writer = EventWriter(resource={})
    cache.attach(writer)
    cache.add(Template.from_text("x <*> y", _SPACIOUS))
    texts, headers = messages_of([line])
    matches = cache.look_up(texts, headers)
    return lambda: writer.write(texts, headers, matches, None, source="hostile", topic=None, partition=0,
                                parser_version="none", observed_ns=0)  # fmt: skip


def _headers(line: bytes) -> Callable[[], object]:
    splitter = HeaderSplitter(tuple(PRESETS.values()), "UTC")
    texts, times = texts_of([line, line[2:]]), np.full(2, -1, np.int64)
    return lambda: splitter.split(texts, times)


def _finding(line: bytes) -> Callable[[], object]:
    return lambda: detect([line, line[2:]])


def _joining(line: bytes) -> Callable[[], object]:
    """Join a trace that is as long as the line, in lines of eight bytes, and the line itself behind an error."""
    lines = [b"java.lang.Error: x", *[b"\tat a.B\n"] * (len(line) // 8), b"Caused by: " + line, b"\t... 3 more"]
    records = records_of(lines)
    texts = Envelope("raw").open(records).texts
    return lambda: Joiner().join(texts, records, partition=0, now=0.0)


def _redacting(line: bytes) -> Callable[[], object]:
    redactor = ColumnRedactor(Redaction(ways=dict.fromkeys(KINDS, "hash"), key=bytes(16)))
    cache = TemplateCache(max_templates=10, max_fingerprints=1024)
    cache.add(Template.from_text("x <*>", _SPACIOUS))
    texts, headers = messages_of([line])
    matches = cache.look_up(texts, headers)
    return lambda: redactor.redact(texts, headers, matches)


def _opening(kind: str, before: bytes, after: bytes) -> Callable[[bytes], Callable[[], object]]:
    def opening(line: bytes) -> Callable[[], object]:
        records = records_of([before + line.replace(b'"', b'\\"') + after, before + line])
        envelope = Envelope(kind, max_record_bytes=1 << 22)
        return lambda: envelope.open(records)

    return opening


_HOPS: Mapping[str, Callable[[bytes], Callable[[], object]]] = {
    "match": _matching,
    "write event": _writing,
    "split header": _headers,
    "find header": _finding,
    "redact": _redacting,
    "join lines": _joining,
    "open JSON": _opening("json", b'{"a":{"b":7},"message":"', b'"}'),
    "open syslog": _opening("syslog", b'<34>1 2026-11-22T12:00:00Z h a 1 - [a b="', b'"] x'),
    "open syslog data": _opening("syslog", b"<34>1 2026-11-22T12:00:00Z h a 1 - [a ", b"] x"),
    "open CRI": _opening("cri", b"2026-11-22T12:00:00Z stdout F ", b""),
}


def exponent(sizes: Sequence[int], seconds: Sequence[float], fitted_from: int) -> float:
    """Fit the slope of log time over log length."""
    fitted = [place for place, size in enumerate(sizes) if size >= fitted_from]
    lengths, times = np.log([sizes[place] for place in fitted]), np.log([max(seconds[place], 1e-9) for place in fitted])
    slope, _ = np.polyfit(lengths, times, 1)
    return float(slope)


def curves(*, repeats: int, model: str, png: Path) -> Iterator[Figure]:
    """Measure every hop and the model on every kind of line, and draw the curves."""
    drawn: dict[str, dict[str, tuple[Sequence[int], list[float]]]] = {}
    for hop in _HOPS:
        drawn[hop] = _curves_of(hop, repeats)
        yield from _figures(hop, drawn[hop], _FITTED_FROM)
    parser = EncoderParser.load(model)
    drawn["model"] = {
        name: (_MODEL_SIZES, [_best(_parsing(parser, _line(unit, size)), 1) for size in _MODEL_SIZES])
        for name, unit in _UNITS.items()
    }
    yield from _figures("model", drawn["model"], _MODEL_FITTED_FROM)
    refused = [_best(_parsing(parser, _line(unit, _SIZES[-1])), 1) for unit in _UNITS.values()]
    yield Figure(name="hostile lines, model: 1 MB, refused", unit="s", values=(max(refused),), note="the slowest kind")
    drawn["settle"] = {
        name: (_MODEL_SIZES, [_best(_settling(parser, unit, size), 1) for size in _MODEL_SIZES])
        for name, unit in _UNITS.items()
    }
    yield from _figures("settle", drawn["settle"], _MODEL_FITTED_FROM)
    _draw(drawn, png)


def redact_curves(*, repeats: int) -> Iterator[Figure]:
    """Measure the redaction of every kind of line alone."""
    yield from _figures("redact", _curves_of("redact", repeats), _FITTED_FROM)


def _curves_of(hop: str, repeats: int) -> dict[str, tuple[Sequence[int], list[float]]]:
    prepare = _HOPS[hop]
    lines = {name: (unit, b" y") for name, unit in _UNITS.items()}
    if hop == "redact":
        lines |= {name: (unit, b" y") for name, unit in _VALUES.items()}
        lines |= {f"{name}, cut off": (_VALUES[name], end) for name, end in _ENDS.items()}
    return {
        name: (_SIZES, [_best(prepare(_line(unit, size, end)), repeats) for size in _SIZES])
        for name, (unit, end) in lines.items()
    }


def _parsing(parser: EncoderParser, line: bytes) -> Callable[[], object]:
    return lambda: parser.parse([line])


def _settling(parser: EncoderParser, unit: bytes, size: int) -> Callable[[], object]:
    """Let a long line settle with eight that differ from it in a word, every piece of them doubtful."""
    lines = [_line(unit, size) + word for word in (b" a", b" b", b" c", b" 1", b" 2", b"", b" d e", b" [f]")]
    misses = []
    for line in lines:
        text = decoded(line)
        units = [(at, at + 1) for at in range(0, len(text), 4)]
        candidate = Candidate(text=text, spans=((len(text) - 1, len(text)),), units=units, odds=[0.1] * len(units))
        made = Template.cut(line, [(len(line) - 1, len(line))])
        misses.append(Template(literals=made.literals, spacious=made.spacious, names=made.names, candidate=candidate))
    return lambda: Stream(parser).hear(misses)


def _figures(
    hop: str, curves_of: Mapping[str, tuple[Sequence[int], Sequence[float]]], fitted_from: int
) -> Iterator[Figure]:
    """Tell the worst exponent of a hop, and the longest that its longest line takes."""
    exponents = {name: exponent(sizes, seconds, fitted_from) for name, (sizes, seconds) in curves_of.items()}
    worst = max(exponents, key=lambda name: exponents[name])
    slowest = max(curves_of, key=lambda name: curves_of[name][1][-1])
    sizes, seconds = curves_of[slowest]
    others = ", ".join(f"{name} {value:.2f}" for name, value in sorted(exponents.items(), key=lambda one: -one[1])[1:4])
    yield Figure(
        name=f"hostile lines, {hop}: worst exponent", unit="of length", values=(exponents[worst],),
        at_most=_MOST_EXPONENT, note=f"{worst}; then {others}",
    )  # fmt: skip
    yield Figure(
        name=f"hostile lines, {hop}: slowest of {sizes[-1] >> 10:,} kB", unit="ms", values=(1000 * seconds[-1],),
        note=slowest,
    )  # fmt: skip


def _draw(drawn: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]], png: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    columns = 5
    figure, axes = plt.subplots(-(-len(drawn) // columns), columns, figsize=(20, 8.5), layout="constrained")
    for place, (hop, lines) in zip(axes.flat, drawn.items(), strict=False):
        fitted_from = _FITTED_FROM if hop in _HOPS else _MODEL_FITTED_FROM
        worst = max(exponent(sizes, seconds, fitted_from) for sizes, seconds in lines.values())
        for name, (sizes, seconds) in lines.items():
            place.loglog(sizes, [1000 * took for took in seconds], marker=".", linewidth=1, label=name)
        sizes, seconds = max(lines.values(), key=lambda line: line[1][-1])
        first = 1000 * seconds[-1] / sizes[-1]
        place.loglog(sizes, [first * size for size in sizes], "k--", linewidth=0.8, label="linear")
        place.set(title=f"{hop}: worst exponent {worst:.2f}", xlabel="bytes", ylabel="ms")
    for place in axes.flat[len(drawn) :]:
        place.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, frameon=False)
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=80, metadata={"Software": None})
    plt.close(figure)


class _Constant:
    """A parser that takes every message for a template of its own: the worst flood for who keeps templates."""

    version = "constant"
    tokens = 0

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Cut nothing."""
        del prompt
        found: list[Template | None] = []
        for message in messages:
            made, text = Template.cut(message, []), decoded(message)
            candidate = Candidate(text=text, spans=())
            found.append(Template(literals=made.literals, spacious=(), names=(), candidate=candidate))
        return found

    def cuts_of(self, prompt: str | None) -> str:
        """Cut by labels alone."""
        del prompt
        return PIECES

    def named(self, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
        """Name nothing."""
        del messages
        return [*templates]


def _distinct(first: int, count: int) -> list[bytes]:
    """Make lines of one word, no two alike and without a digit: settling can make no parameter of all that there is."""
    letters = bytes.maketrans(b"0123456789abcdef", b"ghijklmnopqrstuv")
    mixed = (number * 0x9E3779B97F4A7C15 & (1 << 64) - 1 for number in range(first, first + count))
    return [(b"%016x" % word).translate(letters) for word in mixed]


class _Source:
    """A source on its way through cache, misses and settling, without Kafka."""

    def __init__(self, model: MicroBatcher, stream: Stream | None, *, max_templates: int) -> None:
        self.cache = TemplateCache(max_templates=max_templates, max_fingerprints=1 << 20)
        self.stream = stream
        self.misses = Misses(cache=self.cache, store=None, model=model, scope="hostile", stream=self.stream)
        self.writer = EventWriter(resource={})
        self.cache.attach(self.writer)
        self._envelope, self._splitter = Envelope("raw"), HeaderSplitter([], "UTC")

    async def take(self, lines: Sequence[bytes]) -> None:
        """Look lines up, ask for what is missing, and write their events."""
        texts = self._envelope.open(records_of(lines)).texts
        headers = self._splitter.split(texts, np.zeros(len(lines), np.int64))
        with self.cache.in_use():
            matches = await self.misses.resolve(texts, headers, self.cache.look_up(texts, headers))
            self.writer.write(texts, headers, matches, None, source="hostile", topic=None, partition=0,
                              parser_version="none", observed_ns=0)  # fmt: skip


#: Lines of one batch of the flood, and of one of the other source; the other's known kinds; how often its batch comes.
_FLOOD_BATCH, _OTHER_BATCH, _OTHER_KINDS, _EVERY_SECONDS = 500, 500, 50, 0.02


#: Templates that the flooded source keeps: the flood is many times as many.
_MOST_TEMPLATES = 10_000


def flood(*, lines: int) -> Iterator[Figure]:
    """Flood one source with lines of which each is a template of its own, while another source's lines are all known.

    First through cache and misses alone, then a tenth of the lines with settling too.
    """
    interval, generations = sys.getswitchinterval(), gc.get_threshold()
    favour_hits()  # as `logloom worker` does
    try:
        yield from asyncio.run(_flood(lines, settles=False))
        yield from asyncio.run(_flood(lines // 10, settles=True))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*generations)
        gc.unfreeze()


async def _flood(lines: int, *, settles: bool) -> list[Figure]:
    settling = _Constant()
    model, others_model = (MicroBatcher(settling, deadline_seconds=0.0) for _ in range(2))
    flooded = _Source(model, Stream(settling) if settles else None, max_templates=_MOST_TEMPLATES)
    other = _Source(others_model, None, max_templates=_MOST_TEMPLATES)
    known = [line for line in _distinct(1 << 40, _OTHER_KINDS) for _ in range(_OTHER_BATCH // _OTHER_KINDS)]
    await other.take(known)
    quiet = await _latencies(other, known, asyncio.Event(), turns=300)
    # The cache is full and settling has its candidates before memory is looked at.
    for first in range(0, 2 * _MOST_TEMPLATES, _FLOOD_BATCH):
        await flooded.take(_distinct((1 << 41) + first, _FLOOD_BATCH))
    process, is_over = psutil.Process(), asyncio.Event()
    before = process.memory_info().rss / (1 << 20)
    watching = asyncio.create_task(_latencies(other, known, is_over))
    began = time.monotonic()
    for first in range(0, lines, _FLOOD_BATCH):
        await flooded.take(_distinct(first, _FLOOD_BATCH))
    seconds = time.monotonic() - began
    is_over.set()
    loud = await watching
    after = process.memory_info().rss / (1 << 20)
    await model.close()
    await others_model.close()
    name = f"flood{', settling too' if settles else ''}"
    candidates = f", {len(flooded.stream):,} candidates" if flooded.stream is not None else ""
    note = f"{lines:,} distinct lines, {len(flooded.cache):,} templates kept{candidates}"
    return [
        Figure(name=f"{name}: memory before", unit="MiB", values=(before,), note=note),
        Figure(name=f"{name}: memory after", unit="MiB", values=(after,)),
        Figure(name=f"{name}: growth", unit="%", values=((after / before - 1) * 100,), at_most=5.0),
        Figure(name=f"{name}: pace", unit="lines/s", values=(lines / seconds,)),
        Figure(
            name=f"{name}: another source's hits, median latency beside that without a flood", unit="of that",
            values=(median(loud) / median(quiet),), at_most=2.0,
            note=f"{1000 * median(quiet):.2f} and {1000 * median(loud):.2f} ms for {_OTHER_BATCH} lines",
        ),
        Figure(
            name=f"{name}: the same, 99th percentile", unit="of that",
            values=(float(np.percentile(loud, 99) / np.percentile(quiet, 99)),),
            note=f"{1000 * np.percentile(quiet, 99):.2f} and {1000 * np.percentile(loud, 99):.2f} ms",
        ),
    ]  # fmt: skip


async def _latencies(
    source: _Source, lines: Sequence[bytes], is_over: asyncio.Event, *, turns: int | None = None
) -> list[float]:
    """Take the same batch again and again, at its hour, and tell how long each took from that hour on."""
    loop, latencies = asyncio.get_running_loop(), list[float]()
    hour = loop.time()
    while not is_over.is_set() and len(latencies) != turns:
        hour = max(hour + _EVERY_SECONDS, loop.time())
        due = asyncio.Event()
        loop.call_at(hour, due.set)
        await due.wait()
        await source.take(lines)
        latencies.append(loop.time() - hour)
    return latencies
