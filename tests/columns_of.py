"""Columns for tests that begin in the middle of the path: messages as texts without headers."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from worker.codec.envelopes import Envelope
from worker.columns.headers import HeaderSplitter
from worker.columns.layout import NONE, Headers, Records, Texts


def records_of(values: Sequence[bytes | None]) -> Records:
    """Make records of values alone; None is a tombstone."""
    count = len(values)
    lengths = np.array([NONE if value is None else len(value) for value in values], np.int64)
    sizes = np.maximum(lengths, 0)
    nothing = np.zeros(count, np.int64)
    return Records(
        buffer=np.frombuffer(bytearray(b"".join(value or b"" for value in values)), np.uint8),
        offset=np.arange(count, dtype=np.int64),
        timestamp=nothing + NONE,
        key_start=nothing,
        key_length=nothing + NONE,
        value_start=np.cumsum(sizes) - sizes,
        value_length=lengths,
        headers_start=nothing,
        headers_length=nothing,
    )


def texts_of(values: Sequence[bytes | None]) -> Texts:
    """Make a text of each value."""
    return _raw().open(records_of(values)).texts


def messages_of(values: Sequence[bytes | None]) -> tuple[Texts, Headers]:
    """Make texts that are messages from end to end."""
    texts = texts_of(values)
    return texts, _whole_texts().split(texts, np.zeros(len(values), np.int64))


@cache
def _raw() -> Envelope:
    return Envelope("raw")


@cache
def _whole_texts() -> HeaderSplitter:
    return HeaderSplitter([], "UTC")
