"""Remembering which dead letters were replayed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.replay import MAX_METADATA, Replayed, TooScattered


def test_plain_offsets_say_that_all_below_is_done() -> None:
    """An offset that another tool committed is honoured."""
    state = Replayed.read(7, "")
    assert [state.pending(offset) for offset in (6, 7, 8)] == [False, True, True]


def test_what_a_filter_left_is_found_again() -> None:
    """A replay with a filter leaves letters behind; a later one takes these and no others."""
    state = Replayed(seen_to=0).after(replayed=[1, 2, 5], left=[3, 4])
    read = Replayed.read(state.offset, state.metadata)
    assert (read.offset, [offset for offset in range(8) if read.pending(offset)]) == (3, [3, 4, 6, 7])
    done = read.after(replayed=[3, 4], left=[])
    assert (done.offset, done.metadata) == (6, "logloom+0:")


@given(st.lists(st.tuples(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60))), max_size=5))
def test_state_survives_being_committed(steps: list[tuple[set[int], set[int]]]) -> None:
    """Whatever was replayed is never pending again, whatever was only seen stays pending, over any number of runs."""
    state, done, seen = Replayed(seen_to=0), set[int](), set[int]()
    for wanted, met in steps:
        letters = {offset for offset in wanted | met if state.pending(offset)}
        state = state.after(replayed=letters & wanted, left=letters - wanted)
        state = Replayed.read(state.offset, state.metadata)
        done |= letters & wanted
        seen |= letters
        assert not [offset for offset in done if state.pending(offset)]
        assert not [offset for offset in seen - done if not state.pending(offset)]


def test_too_many_gaps_are_refused() -> None:
    """A state that the broker could not keep is refused before anything is sent."""
    state = Replayed(seen_to=0).after(replayed=range(0, 4_000, 2), left=range(1, 4_000, 2))
    with pytest.raises(TooScattered):
        _ = state.metadata
    assert len(Replayed(seen_to=0).after(replayed=[9], left=range(9)).metadata) < MAX_METADATA
