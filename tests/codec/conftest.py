"""Records as the decoder of record batches gives them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from worker.columns.layout import Records

MakeRecords = Callable[..., Records]


@pytest.fixture(scope="session")
def make_records() -> MakeRecords:
    """Return a function that lays out values, and keys if given, as one batch."""
    return _records


def _records(
    values: Sequence[bytes | None],
    *,
    keys: Sequence[bytes | None] | None = None,
    timestamp_ms: int = 1_790_000_000_000,
    first_offset: int = 100,
) -> Records:
    pieces: list[bytes] = []
    columns = []
    for key, value in zip(keys or [None] * len(values), values, strict=True):
        position = sum(map(len, pieces))
        # Two bytes that belong to no one stand before each record, as lengths do in a real batch.
        pieces += [b"\xff\xfe", key or b"", value or b"", b"\x00"]
        columns.append(
            (
                position + 2,
                -1 if key is None else len(key),
                position + 2 + len(key or b""),
                -1 if value is None else len(value),
            )
        )
    table = np.array(columns, np.int64).reshape(-1, 4)
    key_start, key_length, value_start, value_length = (np.ascontiguousarray(table[:, i]) for i in range(4))
    length = np.maximum(value_length, 0)
    return Records(
        buffer=np.frombuffer(bytearray(b"".join(pieces)), np.uint8),
        offset=np.arange(first_offset, first_offset + len(values), dtype=np.int64),
        timestamp=np.full(len(values), timestamp_ms, np.int64),
        key_start=key_start,
        key_length=key_length,
        value_start=value_start,
        value_length=value_length,
        headers_start=value_start + length,
        headers_length=np.ones(len(values), np.int64),
    )
