"""Which source a topic belongs to. Knows neither Faust nor aiokafka."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from worker.errors import WrongSettings


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """The topics of one source: named ones, and those that a regular expression matches from end to end."""

    source: str
    topics: tuple[str, ...] = ()
    pattern: str | None = None


class Subscriptions:
    """All sources of a worker. A named topic goes to the source that names it, another to the first that matches."""

    def __init__(self, subscriptions: Sequence[Subscription], *, excluded: Iterable[str] = ()) -> None:
        """`excluded` topics match no pattern: the worker's own output must not come back as its input.

        Raises WrongSettings if a source has no topics, two sources have one name or topic, a pattern is no regular
        expression, or an excluded topic is named.
        """
        self._subscriptions = tuple(subscriptions)
        self._excluded = frozenset(excluded)
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        self._source_by_topic: dict[str, str] = {}
        if not self._subscriptions:
            raise WrongSettings("there is no source: name one and its topics")
        for subscription in self._subscriptions:
            self._add(subscription)

    def _add(self, subscription: Subscription) -> None:
        source = subscription.source
        if sum(other.source == source for other in self._subscriptions) > 1:
            raise WrongSettings(f"two sources are named {source!r}")
        if not subscription.topics and subscription.pattern is None:
            raise WrongSettings(f"source {source!r} has neither topics nor a pattern")
        for topic in subscription.topics:
            if topic in self._excluded:
                raise WrongSettings(f"source {source!r} reads {topic!r}, which this worker writes")
            if self._source_by_topic.setdefault(topic, source) != source:
                raise WrongSettings(f"{topic!r} is a topic of two sources: {self._source_by_topic[topic]} and {source}")
        if subscription.pattern is not None:
            try:
                self._patterns.append((source, re.compile(rf"(?:{subscription.pattern})\Z")))
            except re.error as exc:
                message = f"source {source!r}: {subscription.pattern!r} is no regular expression: {exc}"
                raise WrongSettings(message) from exc

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of all sources, in their order."""
        return tuple(subscription.source for subscription in self._subscriptions)

    @property
    def topics(self) -> frozenset[str]:
        """All topics that are named."""
        return frozenset(self._source_by_topic)

    @cached_property
    def pattern(self) -> str | None:
        """One regular expression for all topics, named ones too; None if every topic is named."""
        if not self._patterns:
            return None
        kinds = [pattern.pattern for _, pattern in self._patterns]
        kinds += [rf"(?:{re.escape(topic)})\Z" for topic in sorted(self.topics)]
        excluded = "|".join(re.escape(topic) for topic in sorted(self._excluded))
        return rf"(?!(?:{excluded})\Z)(?:{'|'.join(kinds)})" if excluded else "|".join(kinds)

    def source_of(self, topic: str) -> str | None:
        """Return the name of the source that `topic` belongs to, None if it belongs to none."""
        named = self._source_by_topic.get(topic)
        if named is not None or topic in self._excluded:
            return named
        return next((source for source, pattern in self._patterns if pattern.match(topic)), None)
