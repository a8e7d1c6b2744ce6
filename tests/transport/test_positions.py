"""What a commit says of a partition is read back as it was, fits into its metadata, and leaves out what is done."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.record_batches import encode
from worker.errors import DeliveryFailed
from worker.transport.batches import FetchedBatch, read_records
from worker.transport.positions import Position

#: What Kafka takes by default (`offset.metadata.max.bytes`).
MOST_BYTES = 4096


@st.composite
def positions(draw: st.DrawFn) -> Position:
    """Draw a position whose lines that wait make few runs or many."""
    offset = draw(st.integers(0, 1 << 62))
    waiting = draw(st.lists(st.integers(0, 300), unique=True).map(sorted))
    done = draw(st.integers(waiting[-1] + 1 if waiting else 0, 400))
    return Position(offset, offset + done, tuple(offset + place for place in waiting))


@given(positions())
def test_what_a_commit_says_is_read_back(position: Position) -> None:
    """Offset and metadata hold all of it; a clean partition needs none."""
    assert Position.read(position.offset, position.metadata) == position
    assert (position.metadata == "") == (position.done == position.offset)


def test_metadata_is_short_and_readable() -> None:
    """Runs of lines that wait take little."""
    position = Position(100, 160, (100, 101, 102, 110, 150, 151))
    assert position.metadata == "logloom:1:60:0-2,8,40-1"


@pytest.mark.parametrize("step", [2, 1000, 50_000])
def test_the_most_that_may_wait_fits(step: int) -> None:
    """As many runs as a partition may hold back, short and far apart, stay below Kafka's limit."""
    waiting = tuple(place for run in range(300) for place in (run * (step + 5), run * (step + 5) + 1))
    assert len(Position(0, waiting[-1] + 1, waiting).metadata) < MOST_BYTES


@pytest.mark.parametrize("metadata", [None, "", "some other program's", "logloom", "LOGLOOM:1:3:0"])
def test_metadata_of_others_says_nothing(metadata: str | None) -> None:
    """Then the offset alone counts."""
    assert Position.read(7, metadata) == Position.at(7)


@pytest.mark.parametrize(
    "metadata",
    ["logloom:1:", "logloom:1:x:0", "logloom:1:5:5", "logloom:1:5:3,", "logloom:1:5:2,3-1", "logloom:1:9:0-9999999"],
)
def test_broken_metadata_is_refused(metadata: str) -> None:
    """To guess would lose lines, or do them twice."""
    with pytest.raises(DeliveryFailed, match="metadata of the commit at offset 7 is broken"):
        Position.read(7, metadata)


def test_a_batch_leaves_out_what_is_done() -> None:
    """Of the records that are read again only those are given that wait, and those behind."""
    data = encode(10, [b"%d" % number for number in range(6)])
    batch = FetchedBatch(topic="raw", partition=0, data=data, fetch_offset=11, next_offset=16)
    assert read_records(batch).offset.tolist() == [11, 12, 13, 14, 15]
    left = Position(11, 14, (11, 13)).left(read_records(batch))
    assert left.offset.tolist() == [11, 13, 14, 15]
    values = [left.buffer[start : start + size].tobytes() for start, size in zip(*left[5:7], strict=True)]
    assert values == [b"1", b"3", b"4", b"5"]


@given(st.lists(st.integers(0, 40), unique=True).map(sorted), st.integers(1, 40), st.integers(0, 60))
def test_a_partition_goes_on_where_it_stopped(held: list[int], step: int, done: int) -> None:
    """However far the next owner came before it stopped too, what is left is what nobody did."""
    held = [offset for offset in held if offset < done]
    first = Position(held[0] if held else done, done, tuple(held))
    end = first.offset + step
    again = [offset for offset in held if offset < end][-2:]
    after = first.followed(end, again)
    left = {*again, *(offset for offset in held if offset >= end), *range(max(end, done), 100)}
    kept = np.array([offset for offset in range(100) if offset >= after.done or offset in after.waiting])
    assert {*kept.tolist()} == left
    assert after.offset <= min(left)
