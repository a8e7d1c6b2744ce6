"""Dead letters keep everything that a replay and an operator need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.codec.dead_letters import DeadLetter
from worker.errors import Undecodable

_HEADERS = st.lists(
    st.tuples(st.sampled_from(["trace", "logloom.reason", "logloom.offset", ""]) | st.text(), st.none() | st.binary()),
    max_size=5,
)
_LETTERS = st.builds(
    DeadLetter,
    value=st.none() | st.binary(),
    key=st.none() | st.binary(),
    headers=_HEADERS,
    reason=st.sampled_from(["undecodable", "too_large", "unparsable"]),
    error=st.text(st.characters(codec="utf-8")),
    source=st.text(st.characters(codec="utf-8")),
    topic=st.text(st.characters(codec="utf-8")),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
)


@given(letter=_LETTERS)
def test_round_trip(letter: DeadLetter) -> None:
    """A dead letter read back from its record is the dead letter that was written, whatever it holds."""
    read = DeadLetter.read(value=letter.value, key=letter.key, headers=letter.kafka_headers())
    assert letter == read


def test_headers_say_why_and_where_from() -> None:
    """The record's own headers come first and unchanged, Logloom's after them as text."""
    letter = DeadLetter(
        value=b"\xff",
        key=None,
        headers=[("trace", b"1"), ("trace", None)],
        reason="undecodable",
        error="not JSON",
        source="shop",
        topic="raw.shop",
        partition=3,
        offset=17,
        timestamp=1_790_000_000_000,
    )
    expected = [
        ("trace", b"1"),
        ("trace", None),
        ("logloom.reason", b"undecodable"),
        ("logloom.error", b"not JSON"),
        ("logloom.source", b"shop"),
        ("logloom.topic", b"raw.shop"),
        ("logloom.partition", b"3"),
        ("logloom.offset", b"17"),
        ("logloom.timestamp", b"1790000000000"),
    ]
    assert expected == letter.kafka_headers()


def test_replay_drops_the_headers_of_earlier_deaths() -> None:
    """A raw log goes back with its own headers only, however often it died."""
    first = DeadLetter(
        value=b"x", key=b"k", headers=[("trace", b"1")], reason="unparsable", error="no template", source="shop",
        topic="raw.shop", partition=0, offset=1, timestamp=-1,
    )  # fmt: skip
    second = DeadLetter(
        value=b"x", key=b"k", headers=first.kafka_headers(), reason="unparsable", error="again", source="shop",
        topic="raw.shop", partition=0, offset=9, timestamp=-1,
    )  # fmt: skip
    expected = [("trace", b"1")]
    assert expected == second.replay_headers()


def test_a_record_without_the_headers_is_no_dead_letter() -> None:
    """A foreign record in the topic is told from a dead letter by the header that it lacks."""
    with pytest.raises(Undecodable, match=r"it has no header `logloom\.reason`"):
        DeadLetter.read(value=b"x", key=None, headers=[("trace", b"1")])


def test_a_number_that_is_none_is_told() -> None:
    """A dead letter whose offset is no number is refused with the value seen."""
    names = ("reason", "error", "source", "topic", "partition", "offset", "timestamp")
    with pytest.raises(Undecodable, match="invalid literal"):
        DeadLetter.read(value=None, key=None, headers=[(f"logloom.{name}", b"x") for name in names])
