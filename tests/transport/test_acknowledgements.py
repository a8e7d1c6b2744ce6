"""Ledgers: the committed offset never passes a batch that is not done."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.transport.acknowledgements import Acknowledgements, Ledger
from worker.transport.batches import FetchedBatch, TopicPartition
from worker.transport.positions import Position

HERE = TopicPartition("raw", 0)


def batch(start: int, end: int, size: int = 10, partition: int = 0) -> FetchedBatch:
    """Return a batch of offsets `start` to `end`."""
    return FetchedBatch(topic="raw", partition=partition, data=bytes(size), fetch_offset=start, next_offset=end)


def ledger_of(*spans: tuple[int, int]) -> Ledger:
    """Return a ledger with batches of these spans in flight."""
    ledger = Ledger()
    for start, end in spans:
        ledger.register(batch(start, end))
    return ledger


def test_nothing_is_committable_at_first() -> None:
    """A batch in flight commits nothing."""
    assert ledger_of((0, 10)).committable is None


def test_whole_batch_is_committable() -> None:
    """A batch that is done may be committed up to its end."""
    ledger = ledger_of((0, 10))
    assert ledger.acknowledge(0, 10)
    assert ledger.committable == Position.at(10)


def test_batch_behind_an_unfinished_one_waits() -> None:
    """What is done behind a batch that is not does not move the offset; it does once that one is done."""
    ledger = ledger_of((0, 10), (10, 20), (20, 30))
    ledger.acknowledge(20, 30)
    ledger.acknowledge(10, 20)
    assert ledger.committable is None
    ledger.acknowledge(0, 10)
    assert ledger.committable == Position.at(30)


def test_part_of_a_batch_counts() -> None:
    """The done part of the first unfinished batch is committable: a tail may be held back."""
    ledger = ledger_of((0, 10), (10, 20))
    ledger.acknowledge(0, 10)
    assert not ledger.acknowledge(10, 14)
    assert ledger.committable == Position.at(14)


def test_part_of_a_later_batch_does_not_count() -> None:
    """The done part of a batch behind an unfinished one waits as the whole would."""
    ledger = ledger_of((0, 10), (10, 20))
    ledger.acknowledge(10, 14)
    assert ledger.committable is None


def test_gaps_between_batches_are_passed() -> None:
    """Offsets that no batch holds (control batches, compaction) do not hold the commit up."""
    ledger = ledger_of((0, 10), (15, 20))
    ledger.acknowledge(0, 10)
    ledger.acknowledge(15, 20)
    assert ledger.committable == Position.at(20)


def test_acknowledging_again_changes_nothing() -> None:
    """An acknowledgement never moves backwards, and a second one is no second batch."""
    ledger = ledger_of((0, 10))
    ledger.acknowledge(0, 6)
    assert not ledger.acknowledge(0, 3)
    assert ledger.committable == Position.at(6)
    assert ledger.acknowledge(0, 10)
    assert not ledger.acknowledge(0, 10)
    assert ledger.bytes_in_flight == 0


def test_what_is_done_behind_a_waiting_line_is_committable() -> None:
    """The offset stays at the line that waits; what passed it is told beside, again whenever it is more."""
    ledger = ledger_of((0, 10), (10, 20))
    told = []
    for position in (Position(0, 10, (0,)), Position(0, 10, (0,)), Position(0, 20, (0, 15)), Position(15, 20, (15,))):
        ledger.acknowledge(0, min(position.offset, 10), position)
        if position.offset > 10:
            ledger.acknowledge(10, position.offset, position)
        told.append(ledger.committable)
        ledger.committed = ledger.committable or ledger.committed
    assert told == [Position(0, 10, (0,)), None, Position(0, 20, (0, 15)), Position(15, 20, (15,))]


def test_where_the_former_owner_stopped_is_not_committed_again() -> None:
    """The first batch brings it: nothing is new until something is done."""
    ledger = Ledger()
    ledger.register(replace(batch(5, 10), position=Position(5, 9, (5,))))
    assert ledger.committable is None
    ledger.acknowledge(5, 10)
    assert ledger.committable == Position.at(10)


def test_offset_outside_the_batch_is_refused() -> None:
    """A batch can't be acknowledged past its own end."""
    with pytest.raises(ValueError, match="outside the batch"):
        ledger_of((0, 10), (10, 20)).acknowledge(0, 11)


def test_batches_come_in_order() -> None:
    """A batch that overlaps one before it is refused, and so is one that holds no offset."""
    with pytest.raises(ValueError, match="came after"):
        ledger_of((0, 10), (5, 20))
    with pytest.raises(ValueError, match="empty"):
        ledger_of((5, 5))


def test_bytes_in_flight_are_those_of_unfinished_batches() -> None:
    """A batch counts from fetch until it is whole, with what a batch costs beside its bytes."""
    ledger = Ledger()
    ledger.register(batch(0, 10, size=1000))
    one = ledger.bytes_in_flight
    ledger.register(batch(10, 20, size=3000))
    assert one > 1000
    assert ledger.bytes_in_flight == 2 * one + 2000
    ledger.acknowledge(0, 5)
    assert ledger.bytes_in_flight == 2 * one + 2000
    ledger.acknowledge(0, 10)
    assert ledger.bytes_in_flight == one + 2000


def test_failed_commit_is_committable_again() -> None:
    """What the broker did not confirm stays committable; what it did is not."""
    ledgers = Acknowledgements()
    ledgers.assign([HERE])
    ledgers.register(batch(0, 10))
    ledgers.callback(batch(0, 10))(10)
    assert ledgers.committable() == {HERE: Position.at(10)}
    assert ledgers.committable() == {HERE: Position.at(10)}
    ledgers.committed({HERE: Position.at(10)})
    assert ledgers.committable() == {}


def test_acknowledgement_after_revocation_is_dropped() -> None:
    """Once a partition is gone, late acknowledgements go nowhere, even if it comes back."""
    ledgers = Acknowledgements()
    ledgers.assign([HERE])
    ledgers.register(batch(0, 10))
    acknowledge = ledgers.callback(batch(0, 10))
    ledgers.revoke([HERE])
    ledgers.assign([HERE])
    ledgers.register(batch(0, 10))
    acknowledge(10)
    assert ledgers.committable() == {}
    assert ledgers.batches_in_flight == 1


def test_partitions_are_kept_apart() -> None:
    """An unfinished batch of one partition holds up no other."""
    ledgers = Acknowledgements()
    other = TopicPartition("raw", 1)
    ledgers.assign([HERE, other])
    ledgers.register(batch(0, 10))
    ledgers.register(batch(0, 10, partition=1))
    ledgers.callback(batch(0, 10, partition=1))(10)
    assert ledgers.committable() == {other: Position.at(10)}


def test_room_is_told_of_when_a_batch_is_whole() -> None:
    """Whoever waits for room hears of every batch that is done, not of parts."""
    heard: list[int] = []
    ledgers = Acknowledgements(on_room=lambda: heard.append(1))
    ledgers.assign([HERE])
    ledgers.register(batch(0, 10))
    acknowledge = ledgers.callback(batch(0, 10))
    acknowledge(5)
    assert heard == []
    acknowledge(10)
    assert heard == [1]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Draw the spans of batches, with gaps, and acknowledgements of them in any order."""
    spans, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=12)):
        spans.append((at + gap, at + gap + length))
        at += gap + length
    places = st.integers(0, len(spans) - 1).flatmap(lambda i: st.tuples(st.just(i), st.integers(*spans[i])))
    return spans, draw(st.lists(places, max_size=40))


@given(histories())
def test_committable_offset_is_that_of_the_model(history: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> None:
    """After any acknowledgements the offset is the end of the longest done prefix, offset by offset."""
    spans, acknowledgements = history
    ledger = ledger_of(*spans)
    done: set[int] = set()
    for index, up_to in acknowledgements:
        ledger.acknowledge(spans[index][0], up_to)
        done.update(range(spans[index][0], up_to))
    expected = None
    for start, end in spans:
        prefix = next((offset for offset in range(start, end) if offset not in done), end)
        if prefix > start:
            expected = prefix
        if prefix < end:
            break
    assert (None if expected is None else Position.at(expected)) == ledger.committable
    unfinished = sum(any(offset not in done for offset in range(*span)) for span in spans)
    assert (ledger.bytes_in_flight > 0) == (unfinished > 0)
