"""Which source a topic belongs to."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import WrongSettings
from worker.transport.subscriptions import Subscription, Subscriptions


def test_named_topic_goes_to_its_source() -> None:
    """A topic belongs to the source that names it, even if another one's pattern matches first."""
    subscriptions = Subscriptions(
        [Subscription(source="rest", pattern=r"raw\..*"), Subscription(source="web", topics=("raw.web",))]
    )
    assert subscriptions.source_of("raw.web") == "web"
    assert subscriptions.source_of("raw.db") == "rest"


def test_first_matching_pattern_wins() -> None:
    """Where several patterns match, the order of the sources decides."""
    subscriptions = Subscriptions([Subscription(source="a", pattern="x.*"), Subscription(source="b", pattern=".*")])
    assert [subscriptions.source_of(topic) for topic in ("xy", "y")] == ["a", "b"]


def test_pattern_matches_from_end_to_end() -> None:
    """A pattern that fits only the beginning of a name does not match."""
    assert Subscriptions([Subscription(source="a", pattern="raw|log")]).source_of("rawhide") is None


def test_named_topics_alone_need_no_pattern() -> None:
    """Without a pattern the broker is asked for the named topics only."""
    subscriptions = Subscriptions(
        [Subscription(source="a", topics=("x", "y")), Subscription(source="b", topics=("z",))]
    )
    assert subscriptions.pattern is None
    assert subscriptions.topics == {"x", "y", "z"}


def test_own_output_matches_no_pattern() -> None:
    """A pattern never takes in what the worker writes, nor does the pattern given to the broker."""
    subscriptions = Subscriptions([Subscription(source="a", pattern=".*")], excluded=["events", "dead.letters"])
    assert subscriptions.source_of("events") is None
    pattern = re.compile(subscriptions.pattern or "")
    names = ["events", "dead.letters", "dead-letters", "events2", "raw"]
    assert [name for name in names if pattern.match(name)] == ["dead-letters", "events2", "raw"]


@pytest.mark.parametrize(
    ("subscriptions", "message"),
    [
        ([], "no source"),
        ([Subscription(source="a")], "neither topics nor a pattern"),
        ([Subscription(source="a", topics=("x",)), Subscription(source="a", topics=("y",))], "two sources are named"),
        ([Subscription(source="a", topics=("x",)), Subscription(source="b", topics=("x",))], "of two sources"),
        ([Subscription(source="a", pattern="(")], "no regular expression"),
        ([Subscription(source="a", topics=("events",))], "which this worker writes"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(subscriptions: list[Subscription], message: str) -> None:
    """Mistakes are found at the start, each with what is wrong."""
    with pytest.raises(WrongSettings, match=message):
        Subscriptions(subscriptions, excluded=["events"])


TOPICS = st.text("ab.", min_size=1, max_size=4)


@given(
    st.lists(st.tuples(st.lists(TOPICS, max_size=2), st.sampled_from([None, "a.*", r"b\.", ".", "ab|ba"])), max_size=4),
    st.frozensets(TOPICS, max_size=2),
    TOPICS,
)
def test_broker_and_router_agree(
    drawn: list[tuple[list[str], str | None]], excluded: frozenset[str], topic: str
) -> None:
    """The one pattern that the broker's topics are matched with takes in exactly the topics that have a source."""
    named: set[str] = set(excluded)
    sources = []
    for number, (names, pattern) in enumerate(drawn):
        own = tuple(name for name in dict.fromkeys(names) if name not in named)
        named.update(own)
        if own or pattern is not None:
            sources.append(Subscription(source=str(number), topics=own, pattern=pattern))
    if not sources:
        return
    subscriptions = Subscriptions(sources, excluded=excluded)
    pattern = subscriptions.pattern
    is_subscribed = topic in subscriptions.topics if pattern is None else re.match(pattern, topic) is not None
    assert is_subscribed == (subscriptions.source_of(topic) is not None)
