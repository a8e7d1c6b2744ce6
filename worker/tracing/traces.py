"""Traces of one worker: which batches are sampled, and what the spans of batches and micro-batches say."""

import asyncio
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Self, cast

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, set_span_in_context

from worker import __version__
from worker.columns.layout import Records
from worker.hops import Fact, in_work
from worker.metrics import Metrics
from worker.settings import Settings
from worker.tracing.outbox import Outbox, Processor, exporter_of
from worker.tracing.spans import MOST_LINKS, NO_CONTEXT, BatchSpan, HopSpan, Unsampled, messaging, own, senders

_log = structlog.get_logger(__name__)

#: Longest wait for the collector at the end of the process.
FLUSH_SECONDS = 5.0


class Traces:
    """Traces batches, and is told of micro-batches."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        share: float,
        count: Callable[[str, int], None],
        resource: Mapping[str, Fact] | None = None,
        group: str = "logloom",
        client_id: str = "logloom",
        most_waiting: int = 4_096,
    ) -> None:
        """Sample a `share` of the batches, give spans to `exporter`, and `count` what becomes of them."""
        self._share = share
        self._outbox = Outbox(exporter, most_waiting=most_waiting, count=count)
        self._provider = TracerProvider(
            # Who has no parent comes here only if its batch is to be sampled.
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource(resource or {}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(Processor(self._outbox))
        self._tracer = self._provider.get_tracer("logloom", __version__)
        self._reader = {"messaging.consumer.group.name": group, "messaging.client.id": client_id}

    @classmethod
    def to_collector(cls, settings: Settings, metrics: Metrics) -> Self:
        """Send spans to the collector that `settings` name."""
        return cls(
            exporter_of(settings.tracing),
            share=settings.tracing.share,
            count=metrics.spans,
            resource=_resource_of(settings),
            group=settings.group_id,
            client_id=settings.kafka.client_id,
            most_waiting=settings.tracing.max_waiting_spans,
        )

    @property
    def watch(self) -> Self:
        """Whom to tell of micro-batches."""
        return self

    def batch(
        self, source: str, topic: str, partition: int, *, offset: int | None = None, since_ns: int | None = None
    ) -> BatchSpan | Unsampled:
        """Begin a batch that was fetched from `offset` on at `since_ns`; without, lines that waited for more.

        It ends where `ending` says, or with an error.
        """
        if self._is_left_out():
            return Unsampled()
        name = "flush" if offset is None else "process"
        span = self._begin(name, topic, NO_CONTEXT, since_ns)
        span.set_attributes({**self._described(name, topic, partition, offset), **own({"source": source})})
        return self._waited(BatchSpan(self._tracer, span), since_ns)

    def requests(
        self, topic: str, partition: int, records: Records, *, offset: int, since_ns: int
    ) -> BatchSpan | Unsampled:
        """Begin a batch of requests: a span in the trace of each who asks, with the hops in that of the first."""
        askers = [sender.context for sender in senders(records)]
        sampled = [asker for asker in askers if asker.trace_flags.sampled]
        if not sampled and (askers or self._is_left_out()):
            return Unsampled()
        parents = [_within(asker) for asker in sampled] or [NO_CONTEXT]
        first, *others = (self._begin("process", topic, parent, since_ns) for parent in parents)
        for span in (first, *others):
            span.set_attributes({
                **self._described("process", topic, partition, offset),
                "messaging.batch.message_count": records.offset.size,
            })  # fmt: skip
        for other in others:
            other.add_link(first.get_span_context())
        return self._waited(BatchSpan(self._tracer, first, others), since_ns)

    def asker(self) -> object | None:
        """Give the hop that asks the model now, if its batch is sampled."""
        span = in_work()
        return span if isinstance(span, HopSpan) else None

    def answered(self, askers: Sequence[object], *, rows: int, tokens: int, seconds: float) -> None:
        """Make a span of a micro-batch: within the first hop that waits for it, linked with each that does."""
        if not askers:
            return
        first, *others = waiting = cast("Sequence[HopSpan]", askers)
        now = time.time_ns()
        facts = own({"messages": rows, "tokens": tokens, "batches": len(waiting)})
        span = first.begin("micro-batch", SpanKind.INTERNAL, facts, now - int(seconds * 1e9))
        for asker in waiting[:MOST_LINKS]:
            span.add_link(asker.span.get_span_context())
        for other in others:
            if other.span.is_recording():  # not so where its batch has failed meanwhile
                other.span.add_link(span.get_span_context())
        span.end(now)

    async def close(self) -> None:
        """Have sent what waits, for some seconds at most, and tell of what is lost."""
        # In a thread that the end of the process does not wait for: a collector may hang.
        stopping = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        stopping.start()
        await asyncio.to_thread(stopping.join, FLUSH_SECONDS)
        if lost := self._outbox.close():
            _log.warning("the last spans are lost: the collector did not take them in time", spans=lost)

    def _is_left_out(self) -> bool:
        """Draw. Before OpenTelemetry is asked: what is not sampled must cost nothing."""
        return random() >= self._share

    def _begin(self, name: str, topic: str, context: Context, since_ns: int | None) -> Span:
        return self._tracer.start_span(f"{name} {topic}", context, SpanKind.CONSUMER, start_time=since_ns)

    def _described(self, name: str, topic: str, partition: int, offset: int | None) -> dict[str, Fact]:
        return {
            **messaging("process", name, topic),
            **self._reader,
            "messaging.destination.partition.id": str(partition),
            **({} if offset is None else {"messaging.kafka.offset": offset}),
        }

    def _waited(self, batch: BatchSpan, since_ns: int | None) -> BatchSpan:
        """Tell how long a batch has waited since it was fetched."""
        if since_ns is not None:
            batch.begin("wait", SpanKind.INTERNAL, {}, since_ns).end()
        return batch


def _within(asker: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(asker), NO_CONTEXT)


def _resource_of(settings: Settings) -> dict[str, Fact]:
    """Say whose spans they are."""
    return {
        "service.name": settings.tracing.service_name,
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
        "logloom.role": settings.role,
        **settings.tracing.resource,
    }
