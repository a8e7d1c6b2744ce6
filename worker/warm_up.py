"""`python -m worker.warm_up`: run every kernel once, so that they lie compiled in the cache.

Set-up and image builds run it; else a worker compiles for a minute before it takes its first batch. The parts need
nothing of each other, so that two processes share the work.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import Literal

import numpy as np

from worker.codec.envelopes import Envelope
from worker.codec.multiline import Joiner
from worker.columns.events import EventWriter
from worker.columns.headers import HeaderSplitter
from worker.columns.layout import MAX_FIELDS, NO_TIME, Events, Headers, Matches, Records, Texts
from worker.columns.matching import TemplateTable
from worker.columns.records import encode_headers, read_record_batch, write_record_batches
from worker.columns.redacting import ColumnRedactor
from worker.parsing.headers import PRESETS
from worker.parsing.redaction import Redaction
from worker.parsing.templates import Template

_LINES = (
    b"2026-11-02 15:04:05,123 INFO [main] org.example.Server: accepted 10.0.0.7:5121 after 12 ms",
    b"java.lang.IllegalStateException: closed",
    b"\tat org.example.Server.run(Server.java:17)",
    b"2026-11-02 15:04:06,123 WARN [main] org.example.Server: caf\xc3\xa9 \xff closed",
)


def records_of(lines: tuple[bytes, ...]) -> Records:
    """Make records with key and headers of `lines`."""
    key, headers = b"key", encode_headers([("name", b"value")])
    buffer = np.frombuffer(b"".join(lines) + key + headers, np.uint8).copy()
    lengths = np.array([len(line) for line in lines], np.int64)
    end = int(lengths.sum())

    def column(value: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.full(len(lines), value, np.int64)

    return Records(
        buffer=buffer,
        offset=np.arange(len(lines), dtype=np.int64),
        timestamp=column(1_795_362_180_830),
        key_start=column(end),
        key_length=column(len(key)),
        value_start=np.cumsum(lengths) - lengths,
        value_length=lengths,
        headers_start=column(end + len(key)),
        headers_length=column(len(headers)),
    )


def _texts(records: Records) -> Texts:
    return Envelope("raw").open(records).texts


def _headers(texts: Texts) -> Headers:
    """Say that every text is a message, without a kernel."""
    nothing = np.zeros(texts.start.size, np.int64)
    return Headers(
        format=nothing - 1,
        message_start=texts.start,
        message_length=texts.length,
        timestamp=nothing + NO_TIME,
        precision=nothing.astype(np.uint8),
        severity=nothing.astype(np.uint8),
        level_start=nothing,
        level_length=nothing,
        field_start=np.zeros((nothing.size, MAX_FIELDS), np.int64),
        field_length=np.zeros((nothing.size, MAX_FIELDS), np.int64),
    )


def _matches(texts: Texts) -> Matches:
    """Say that every text is a miss, without a kernel."""
    nothing = np.zeros(texts.start.size, np.int64)
    return Matches(
        template=nothing - 1,
        tier=nothing.astype(np.uint8),
        fingerprint=nothing.astype(np.uint64),
        first_parameter=nothing,
        parameter_count=nothing,
        start=nothing[:0],
        end=nothing[:0],
    )


def write_events(form: Literal["json", "msgpack"]) -> None:
    """Compile the event writer."""
    records = records_of(_LINES)
    texts = _texts(records)
    EventWriter(resource={}, format=form).write(
        texts,
        _headers(texts),
        _matches(texts),
        records,
        source="warm-up",
        topic="warm-up",
        partition=0,
        parser_version="none",
        observed_ns=0,
    )


def look_up() -> None:
    """Compile the matcher."""
    texts = _texts(records_of(_LINES))
    table = TemplateTable(capacity=64, fingerprint_capacity=64)
    table.add(Template.cut(b"accepted 10.0.0.7:5121 after 12 ms", [(9, 22), (29, 31)]), 0)
    table.add(Template.cut(b"accepted 10.0.0.7:5121 after 12 s", [(9, 22), (29, 33)]), 0)
    table.look_up(texts, _headers(texts), 0)


def split_headers() -> None:
    """Compile the header splitter."""
    texts = _texts(records_of(_LINES))
    HeaderSplitter([PRESETS["log4j-hadoop"]], "Europe/Berlin").split(texts, np.zeros(texts.start.size, np.int64))


def read_and_write_record_batches() -> None:
    """Compile the record-batch codec."""
    records = records_of(_LINES)
    events = Events(buffer=records.buffer, start=records.value_start, length=records.value_length)
    rows = np.arange(len(_LINES), dtype=np.int64)
    (batch,) = write_record_batches(events, records, rows, compression="none", max_bytes=1 << 20)
    read_record_batch(bytes(batch.data))


def redact() -> None:
    """Compile what redacts values."""
    texts = _texts(records_of(_LINES))
    found = _matches(texts)
    found = found._replace(template=found.template + 1)
    ColumnRedactor(Redaction(ways={"ip": "mask"})).redact(texts, _headers(texts), found)


def open_json_envelopes() -> None:
    """Compile the reader of JSON envelopes."""
    Envelope("json").open(records_of((b'{"message":"a b","n":1}',)))


def join_lines() -> None:
    """Compile what joins lines."""
    records = records_of(_LINES)
    Joiner().join(_texts(records), records, partition=0, now=0.0)


#: The longest first, so that two processes end together. MessagePack is compiled where it is asked for.
PARTS: Mapping[str, Callable[[], None]] = {
    "redact values": redact,
    "open JSON envelopes": open_json_envelopes,
    "split headers": split_headers,
    "look up templates": look_up,
    "write events": partial(write_events, "json"),
    "join lines": join_lines,
    "read and write batches": read_and_write_record_batches,
}


def load(form: Literal["json", "msgpack"], *, redacts: bool) -> None:
    """Run the kernels that write events in `form`, redacted or not, once here: what the cache lacks is compiled."""
    for run in PARTS.values():
        if redacts or run is not redact:
            run()
    write_events(form)


def _timed(part: str) -> tuple[str, float]:
    begun = time.perf_counter()
    PARTS[part]()
    return part, time.perf_counter() - begun


def main() -> None:
    """Compile with as many processes as there are cores, and say how long each part took."""
    begun = time.perf_counter()
    print("==> compiling the kernels (once; they are kept in the cache)", flush=True)  # noqa: T201
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(PARTS)), get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_timed, part) for part in PARTS]):
            part, seconds = future.result()
            print(f"    {part:<24}{seconds:6.1f} s", flush=True)  # noqa: T201
    print(f"    {'in all':<24}{time.perf_counter() - begun:6.1f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
