"""Spans of batches and their hops, called and described by OpenTelemetry's conventions where these have words.

They hold names, numbers and times, and nothing of a log.
"""

from collections.abc import Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import hops
from worker.columns.layout import Records
from worker.columns.records import decode_headers
from worker.hops import TRACEPARENT, UNTRACED, Fact, Ids, Untraced

#: Most links of a span; so many records with headers are looked at for them, if these are no longer than that.
MOST_LINKS = 32
_MOST_HEADER_BYTES = 4_096

NO_CONTEXT = Context()
_PROPAGATOR = TraceContextTextMapPropagator()
_IDS = RandomIdGenerator()


class HopSpan:
    """A hop of a sampled batch: in work from when it is entered until it is left, which ends it."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self.span = span
        self._tracer = tracer
        self._token: Token[hops.Span] | None = None

    @property
    def ids(self) -> Ids | None:
        """What logs name it by; None where OpenTelemetry's own variables turn it off."""
        context = self.span.get_span_context()
        return Ids(f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None

    @property
    def traceparent(self) -> str:
        """What whoever goes on with the work is told."""
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def hop(self, name: str, facts: Mapping[str, Fact]) -> "HopSpan":
        """Begin a hop within it."""
        return HopSpan(self._tracer, self.begin(name, SpanKind.INTERNAL, own(facts)))

    def asking_redis(self, what: str) -> "HopSpan":
        """Begin a call of Redis."""
        return HopSpan(self._tracer, self.begin(f"redis {what}", SpanKind.CLIENT, {"db.system.name": "redis"}))

    def sending(self, records: Mapping[str, int]) -> "Sending | Untraced":
        """Begin to send so many records to each topic."""
        topics = {topic: count for topic, count in records.items() if count}
        if not topics:
            return UNTRACED
        return Sending([
            HopSpan(
                self._tracer,
                self.begin(
                    f"send {topic}",
                    SpanKind.PRODUCER,
                    {**messaging("send", "send", topic), "messaging.batch.message_count": count},
                ),
            )
            for topic, count in topics.items()
        ])  # fmt: skip

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Say what is known only now."""
        self.span.set_attributes(own(facts))

    def ending(self) -> "Ending | Untraced":
        """Do nothing: a hop ends where it is left."""
        return UNTRACED

    def begin(self, name: str, kind: SpanKind, attributes: Mapping[str, Fact], since_ns: int | None = None) -> Span:
        """Begin a span within it."""
        context = set_span_in_context(self.span, NO_CONTEXT)
        return self._tracer.start_span(name, context, kind, attributes, start_time=since_ns)

    def end(self, error: BaseException | None = None) -> None:
        """End it. What an error says may hold a part of a log, and stands in the worker's logs alone."""
        if error is not None:
            self.span.set_attribute("error.type", type(error).__name__)
            self.span.set_status(StatusCode.ERROR)
        self.span.end()

    def __enter__(self) -> Self:
        self._token = hops.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._token is not None:
            hops.leave(self._token)
        self.end(error)


class Sending:
    """Records on their way to topics. Those of the first one are in work until it is left, which ends all."""

    def __init__(self, spans: Sequence[HopSpan]) -> None:
        self._first, *self._others = spans

    def __enter__(self) -> object:
        return self._first.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._first.__exit__(kind, error, trace)
        for other in self._others:
            other.end(error)


class BatchSpan(HopSpan):
    """A sampled batch: in work from when it is entered until it is left, and ended by `ending`, or by an error."""

    def __init__(self, tracer: Tracer, span: Span, others: Sequence[Span] = ()) -> None:
        """`others` stand for it in further traces."""
        super().__init__(tracer, span)
        self._others = others

    def read(self, records: Records) -> None:
        """Say what it holds, and which traces sent it."""
        self.span.set_attribute("messaging.batch.message_count", records.offset.size)
        for sender in senders(records):
            self.span.add_link(sender.context, {"messaging.kafka.offset": sender.offset})

    def ending(self) -> "Ending":
        """Have it end where this is left."""
        return Ending(self)

    def end(self, error: BaseException | None = None) -> None:
        """End it, once."""
        if self.span.is_recording():
            super().end(error)
            for other in self._others:
                other.end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is not None:
            # It stays in work, so that the line that tells of the error, as this stops the process, names the trace.
            self.end(error)
        elif self._token is not None:
            hops.leave(self._token)


class Ending:
    """Ends a batch as it is left."""

    def __init__(self, batch: BatchSpan) -> None:
        self._batch = batch

    def __enter__(self) -> object:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._batch.end(error)


class Unsampled(Untraced):
    """A batch that is not sampled: whoever goes on with it is told so."""

    def __init__(self) -> None:
        self._token: Token[hops.Span] | None = None

    @property
    def traceparent(self) -> str:
        """Name a span that there is not, and say that it is not sampled."""
        return f"00-{_IDS.generate_trace_id():032x}-{_IDS.generate_span_id():016x}-00"

    def __enter__(self) -> Self:
        self._token = hops.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._token is not None:
            hops.leave(self._token)


def messaging(operation: str, name: str, topic: str) -> dict[str, Fact]:
    """Describe a span by the conventions for messaging."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": operation,
        "messaging.operation.name": name,
        "messaging.destination.name": topic,
    }


def own(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Name what no convention has a name for."""
    return {f"logloom.{name}": fact for name, fact in facts.items()}


class Sender(NamedTuple):
    """A span that records were sent in, and the offset of the first of these."""

    context: SpanContext
    offset: int


def senders(records: Records) -> list[Sender]:
    """Give the spans that records were sent in, each once, by the first records with headers."""
    found: dict[tuple[int, int], Sender] = {}
    length = records.headers_length
    # One byte says that there are none.
    for row in np.flatnonzero((length > 1) & (length <= _MOST_HEADER_BYTES))[:MOST_LINKS].tolist():
        for name, value in decode_headers(records, row):
            if name == TRACEPARENT and value is not None:
                carrier = {TRACEPARENT: value.decode(errors="replace")}
                context = get_current_span(_PROPAGATOR.extract(carrier, NO_CONTEXT)).get_span_context()
                if context.is_valid:
                    sender = Sender(context, int(records.offset[row]))
                    found.setdefault((context.trace_id, context.span_id), sender)
    return [*found.values()]
