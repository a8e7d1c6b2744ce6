"""The hops of a batch, as they are told to whoever traces them. Knows nothing of OpenTelemetry: `tracing` does.

What is in work is noted in the context of the task that works on it, which tasks that it begins take along: so a hop
finds its own batch, however many are in work. Where nothing is traced, a hop costs a look at the context.
"""
# ruff: noqa: ARG002  what stands for nothing takes no note of what it is told

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

if TYPE_CHECKING:  # logs need neither columns nor a model
    from worker.columns.layout import Records
    from worker.parsing.microbatch import Watch

#: The header of a record that names the span it was sent in, by W3C's Trace Context.
TRACEPARENT = "traceparent"
#: What a span says beside its times.
Fact = str | int | float


class Ids(NamedTuple):
    """What logs name a span by, in hexadecimal digits."""

    trace: str
    span: str


class Span(Protocol):
    """A batch that is in work, or one of its hops."""

    @property
    def ids(self) -> Ids | None:
        """None where the batch is not sampled."""

    @property
    def traceparent(self) -> str | None:
        """What whoever goes on with the work is told; None where nothing is traced."""

    def hop(self, name: str, facts: Mapping[str, Fact]) -> AbstractContextManager[object]:
        """Begin a hop within it."""

    def asking_redis(self, what: str) -> AbstractContextManager[object]:
        """Begin a call of Redis."""

    def sending(self, records: Mapping[str, int]) -> AbstractContextManager[object]:
        """Begin to send so many records to each topic."""

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Say what is known only now."""

    def ending(self) -> AbstractContextManager[object]:
        """Have the batch end where this is left, if this is a batch."""


class Trace(Protocol):
    """A batch that may be traced. It is in work until it is left."""

    def read(self, records: "Records") -> None:
        """Say what it holds, and which traces sent it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Tracing(Protocol):
    """Begins traces."""

    @property
    def watch(self) -> "Watch | None":
        """Whom to tell of micro-batches."""

    def batch(
        self, source: str, topic: str, partition: int, *, offset: int | None = None, since_ns: int | None = None
    ) -> Trace:
        """Begin a batch that was fetched from `offset` on at `since_ns`; without, lines that waited for more.

        It ends where `ending` says, or with an error.
        """

    def requests(self, topic: str, partition: int, records: "Records", *, offset: int, since_ns: int) -> Trace:
        """Begin a batch of requests, in the traces of those who ask."""

    async def close(self) -> None:
        """Have sent what waits, within seconds."""


class Untraced:
    """Stands for what is not traced, and takes no note of anything."""

    @property
    def ids(self) -> Ids | None:
        """Give none."""
        return None

    @property
    def traceparent(self) -> str | None:
        """Give none."""
        return None

    def hop(self, name: str, facts: Mapping[str, Fact]) -> AbstractContextManager[object]:
        """Begin nothing."""
        return UNTRACED

    def asking_redis(self, what: str) -> AbstractContextManager[object]:
        """Begin nothing."""
        return UNTRACED

    def sending(self, records: Mapping[str, int]) -> AbstractContextManager[object]:
        """Begin nothing."""
        return UNTRACED

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Do nothing."""

    def read(self, records: "Records") -> None:
        """Do nothing."""

    def ending(self) -> AbstractContextManager[object]:
        """End nothing."""
        return UNTRACED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Do nothing."""


UNTRACED = Untraced()


class NoTracing:
    """Traces nothing."""

    watch = None

    def batch(
        self,
        source: str,
        topic: str,
        partition: int,
        *,
        offset: int | None = None,
        since_ns: int | None = None,
    ) -> Trace:
        """Begin nothing."""
        return UNTRACED

    def requests(self, topic: str, partition: int, records: "Records", *, offset: int, since_ns: int) -> Trace:
        """Begin nothing."""
        return UNTRACED

    async def close(self) -> None:
        """Do nothing."""


NO_TRACING = NoTracing()

_in_work: ContextVar[Span] = ContextVar("logloom_in_work", default=UNTRACED)


def in_work() -> Span:
    """Give the hop, or the batch, that is in work."""
    return _in_work.get()


def begin(span: Span) -> Token[Span]:
    """Note that `span` is in work."""
    return _in_work.set(span)


def leave(token: Token[Span]) -> None:
    """Note that what was in work before is again."""
    _in_work.reset(token)


def hop(name: str, **facts: Fact) -> AbstractContextManager[object]:
    """Time a hop of the batch that is in work."""
    return _in_work.get().hop(name, facts)


def asking_redis(what: str) -> AbstractContextManager[object]:
    """Time a call of Redis."""
    return _in_work.get().asking_redis(what)


def sending(records: Mapping[str, int]) -> AbstractContextManager[object]:
    """Time from now on how long the broker takes to have so many records of each topic."""
    return _in_work.get().sending(records)


def note(**facts: Fact) -> None:
    """Say of the hop, or of the batch, that is in work what is known only now."""
    _in_work.get().note(facts)


def ending() -> AbstractContextManager[object]:
    """Have the batch that is in work end where this is left."""
    return _in_work.get().ending()
