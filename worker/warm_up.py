"""`python -m worker.warm_up`: take a few lines through every kernel, so that they lie compiled in the cache.

Set-up and image builds run it; else the first batch of the first worker compiles for some seconds.
"""

import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from worker.codec.envelopes import Envelope
from worker.codec.multiline import Joiner
from worker.columns.events import EventWriter
from worker.columns.headers import HeaderSplitter
from worker.columns.layout import Events, Records
from worker.columns.matching import TemplateTable
from worker.columns.records import encode_headers, read_record_batch, write_record_batches
from worker.parsing.headers import PRESETS
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


def warm_up(tell: Callable[[str, float], None]) -> None:
    """Run every kernel once; `tell` hears of each part and the seconds it took."""
    begun = time.perf_counter()

    def done(part: str) -> None:
        nonlocal begun
        now = time.perf_counter()
        tell(part, now - begun)
        begun = now

    records = records_of(_LINES)
    events = Events(buffer=records.buffer, start=records.value_start, length=records.value_length)
    rows = np.arange(len(_LINES), dtype=np.int64)
    (batch,) = write_record_batches(events, records, rows, compression="none", max_bytes=1 << 20)
    done("write record batches")
    records = read_record_batch(bytes(batch.data))
    done("read record batches")
    Envelope("json").open(records_of((b'{"message":"a b","n":1}',)))
    done("JSON envelopes")
    joined = Joiner().join(Envelope("raw").open(records).texts, records, partition=0, now=0.0)
    done("join lines")
    formats = [PRESETS["log4j-hadoop"]]
    headers = HeaderSplitter(formats, "Europe/Berlin").split(
        joined.texts, joined.records.timestamp[joined.texts.record]
    )
    done("split headers")
    table = TemplateTable(capacity=64, fingerprint_capacity=64)
    template = Template.cut(b"accepted 10.0.0.7:5121 after 12 ms", [(9, 22), (29, 31)])
    row = table.add(template, 0)
    matches = table.look_up(joined.texts, headers, 0)
    table.look_up(joined.texts, headers, 0, only=matches, tier=1)
    done("look up templates")
    form: Literal["json", "msgpack"]
    for form in ("json", "msgpack"):
        writer = EventWriter(resource={}, fields=[[(name, "text") for name in formats[0].fields]], format=form)
        writer.set_template(row, template)
        writer.write(
            joined.texts,
            headers,
            matches,
            joined.records,
            source="warm-up",
            topic="warm-up",
            partition=0,
            parser_version="none",
            observed_ns=0,
        )
        done(f"write events as {form}")


def main() -> None:
    """Compile, and say how long each part took."""
    begun = time.perf_counter()
    print("==> compiling the kernels (once; they are kept in the cache)", flush=True)  # noqa: T201
    warm_up(lambda part, seconds: print(f"    {part:<24}{seconds:6.1f} s", flush=True))  # noqa: T201
    print(f"    {'all':<24}{time.perf_counter() - begun:6.1f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
