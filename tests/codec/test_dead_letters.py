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
        ("logloom.size", b"1"),
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
    names = ("reason", "error", "source", "topic", "partition", "offset", "timestamp", "size")
    with pytest.raises(Undecodable, match="invalid literal"):
        DeadLetter.read(value=None, key=None, headers=[(f"logloom.{name}", b"x") for name in names])


@given(letter=_LETTERS, max_bytes=st.integers(0, 2000))
def test_a_letter_is_cut_to_fit(letter: DeadLetter, max_bytes: int) -> None:
    """A letter that is too large keeps the beginning of its value and says how long that was."""
    fitted = letter.fitted(max_bytes)
    if fitted.cut_from is None:
        assert letter == fitted
    else:
        assert fitted.cut_from == len(letter.value or b"") > len(fitted.value or b"")
        assert (letter.value or b"").startswith(fitted.value or b"")
    read = DeadLetter.read(value=fitted.value, key=fitted.key, headers=fitted.kafka_headers())
    assert fitted == read


def test_a_large_letter_fits() -> None:
    """What is cut stays below the limit, with key and headers where there is room for them."""
    letter = DeadLetter(
        value=b"x" * 5000, key=b"k" * 100, headers=[("trace", b"1")], reason="too_large", error="5000 bytes",
        source="shop", topic="raw.shop", partition=0, offset=1, timestamp=-1,
    )  # fmt: skip
    fitted = letter.fitted(1000)
    headers = sum(len(name) + len(value or b"") for name, value in fitted.kafka_headers())
    assert (fitted.key, fitted.headers, fitted.cut_from) == (letter.key, letter.headers, 5000)
    assert 300 < len(fitted.value or b"") + headers + 100 < 1000
