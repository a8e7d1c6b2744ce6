"""Fetched bytes taken apart, put together and decoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.record_batches import encode
from worker.columns.layout import Records
from worker.errors import CorruptRecordBatch
from worker.transport.batches import FetchedBatch, join_batches, read_records, split_batches


def fetched(data: bytes, fetch_offset: int, next_offset: int) -> FetchedBatch:
    """Return `data` as fetched."""
    return FetchedBatch(topic="raw", partition=3, data=data, fetch_offset=fetch_offset, next_offset=next_offset)


def values(records: Records) -> list[bytes | None]:
    """Return the values of `records` as Python's bytes."""
    spans = zip(records.value_start, records.value_length, strict=True)
    return [None if length < 0 else records.buffer[start : start + length].tobytes() for start, length in spans]


def test_response_is_split_at_batches() -> None:
    """Each whole batch comes out as it went in, with what its header says."""
    batches = [encode(0, [b"a", b"b"]), encode(7, [b"c"], compression=1)]
    split = list(split_batches(b"".join(batches)))
    assert [bytes(raw.data) for raw in split] == batches
    assert [(raw.info.base_offset, raw.info.last_offset) for raw in split] == [(0, 1), (7, 7)]


@pytest.mark.parametrize("kept", [0, 5, 12, 17, 60, 61, 70])
def test_batch_that_is_cut_off_is_left_out(kept: int) -> None:
    """The broker may cut the last batch off anywhere; it is fetched again."""
    whole = encode(0, [b"a" * 100])
    assert [bytes(raw.data) for raw in split_batches(whole + encode(1, [b"b" * 100])[:kept])] == [whole]


def test_older_message_formats_are_refused() -> None:
    """A batch of format v1 is told of instead of being misread."""
    data = bytearray(encode(0, [b"a"]))
    data[16] = 1
    with pytest.raises(CorruptRecordBatch, match="v1"):
        list(split_batches(bytes(data)))


@given(st.binary(max_size=200))
def test_any_bytes_are_split_or_refused(response: bytes) -> None:
    """Whatever the bytes are, splitting ends, with batches that lie in them or with CorruptRecordBatch."""
    try:
        split = list(split_batches(response))
    except CorruptRecordBatch:
        return
    assert b"".join(bytes(raw.data) for raw in split) == response[: sum(len(raw.data) for raw in split)]


def test_joined_batches_are_decoded_as_one() -> None:
    """Batches that were joined give one table with all their records, offsets and keys as they were."""
    parts = [
        fetched(encode(10, [b"a", None, b"b"], keys=[b"x", None, b""]), 10, 13),
        fetched(encode(20, [b"cc"], compression=1), 20, 25),
        fetched(encode(25, [b"d"] * 3), 25, 28),
    ]
    joined = join_batches(parts)
    assert (joined.topic_partition, joined.fetch_offset, joined.next_offset) == (("raw", 3), 10, 28)
    records = read_records(joined)
    assert values(records) == [b"a", None, b"b", b"cc", b"d", b"d", b"d"]
    assert records.offset.tolist() == [10, 11, 12, 20, 25, 26, 27]
    assert records.key_length.tolist() == [1, -1, 0, 3, 3, 3, 3]
    assert records.buffer[records.key_start[3] : records.key_start[3] + 3].tobytes() == b"key"
    assert records.buffer.flags.writeable
    assert all(column.dtype == np.int64 for column in records[1:])


def test_single_batch_is_joined_to_itself() -> None:
    """One batch needs no copy."""
    only = fetched(encode(0, [b"a"]), 0, 1)
    assert join_batches([only]) is only


def test_records_below_the_fetch_offset_are_left_out() -> None:
    """A fetch that began inside a batch yields the rest of it."""
    records = read_records(fetched(encode(5, [b"a", b"b", b"c"]), 6, 8))
    assert values(records) == [b"b", b"c"]


def test_nothing_to_decode_is_told_of() -> None:
    """Bytes that hold no whole batch are broken, for only whole ones are handed out."""
    with pytest.raises(CorruptRecordBatch, match="no whole record batch"):
        read_records(fetched(b"", 0, 1))


def test_bombs_of_one_fetch_are_refused_together() -> None:
    """Batches that are each within their limit are corrupt where they decompress to too much together."""
    batches = b"".join(encode(offset, [bytes(100_000)], compression=1) for offset in range(3))
    assert read_records(fetched(batches, 0, 3), max_decompressed_bytes=301_000).offset.tolist() == [0, 1, 2]
    with pytest.raises(CorruptRecordBatch, match=r"raw-3: .* more than the allowed 300000 bytes"):
        read_records(fetched(batches, 0, 3), max_decompressed_bytes=300_000)
