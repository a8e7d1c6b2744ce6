"""Puts a worker together from its settings, and anew from others at a reload: which object gets which."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from worker.answering import REQUESTS, Answering, AnsweringParts
from worker.app import AppSettings, WorkerApp
from worker.cache.calls import ALL_SCOPES, Calls
from worker.codec.envelopes import AUTO, PRESETS, Envelope
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joiner, Limits
from worker.collectors import UsedTemplate
from worker.health import HealthServer
from worker.hops import NO_TRACING, Tracing
from worker.knowledge import Knowledge, LoadedModel, SharedNetworks, redaction_of
from worker.memory import give_back
from worker.metrics import TRANSACTION_ABORTED, TRANSACTION_COMMITTED, Metrics
from worker.parsing.checkpoint import taught_fields
from worker.parsing.fields import FieldReader
from worker.parsing.headers import format_of
from worker.pipeline import Outputs, Parts, Pipeline, SourcePath
from worker.reloading import Reloader
from worker.settings import Settings, Source
from worker.tasks import Fail, reporting
from worker.transport.batches import TopicPartition
from worker.transport.outlet import Outlet
from worker.transport.producer import RecordBatchProducer
from worker.transport.security import consumer_credentials, producer_security
from worker.transport.subscriptions import Subscription
from worker.warm_up import load

_log = structlog.get_logger(__name__)

#: How often gauges that nobody pushes are read.
_GAUGE_SECONDS = 1.0
#: After so many times, half of what templates were used for counts as long ago.
_FADING_TURNS = 300
#: How far the clocks of this machine and of Redis may lie apart: calls to reload from before the start need no reload.
_CLOCKS_DIFFER_SECONDS = 10.0


def app_settings(settings: Settings) -> AppSettings:
    """Say in the transport's words what `settings` say in the operator's. Raises WrongSettings."""
    kafka, output, limits = settings.kafka, settings.output, settings.limits
    return AppSettings(
        bootstrap_servers=",".join(kafka.bootstrap_servers),
        group=settings.group_id,
        subscriptions=_subscriptions(settings),
        written_topics=settings.written_topics,
        transport="faust" if settings.transport == "faust" else "batches",
        client_id=kafka.client_id,
        group_instance_id=kafka.group_instance_id,
        is_exactly_once=settings.is_exactly_once,
        transaction_interval_seconds=kafka.transaction_interval_ms / 1000,
        read_committed=kafka.isolation_level == "read_committed",
        offset_reset=kafka.auto_offset_reset,
        session_timeout_seconds=kafka.session_timeout_ms / 1000,
        heartbeat_interval_seconds=kafka.heartbeat_interval_ms / 1000,
        rebalance_timeout_seconds=max(kafka.session_timeout_ms, 6_000) / 1000,
        request_timeout_seconds=kafka.request_timeout_ms / 1000,
        max_poll_interval_seconds=kafka.max_poll_interval_ms / 1000,
        linger_seconds=output.linger_ms / 1000,
        is_idempotent=kafka.enable_idempotence,
        metadata_seconds=kafka.metadata_max_age_ms / 1000,
        max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
        max_fetch_wait_seconds=kafka.fetch_wait_max_ms / 1000,
        min_fetch_bytes=kafka.fetch_min_bytes,
        max_fetch_bytes=kafka.fetch_max_bytes,
        max_bytes_in_flight=limits.max_bytes_in_flight,
        max_partition_bytes_in_flight=max(limits.max_bytes_in_flight // 8, kafka.max_partition_fetch_bytes),
        record_compression=None if output.compression == "none" else output.compression,
        max_record_bytes=output.max_batch_bytes,  # dead letters are cut to it
        consumer_credentials=consumer_credentials(kafka),
        producer_security=producer_security(kafka),
    )


def _subscriptions(settings: Settings) -> list[Subscription]:
    if settings.role == "parse":
        return [Subscription(source=REQUESTS, topics=(settings.misses.topic,))]
    return [
        Subscription(source=source.name, topics=tuple(source.topics), pattern=source.topic_pattern)
        for source in settings.sources.values()
    ]


def envelope_of(source: Source, settings: Settings) -> Envelope:
    """Make the envelope of `source`. Raises WrongSettings."""
    declared = () if set(source.header) & {"auto", "none"} else source.header
    fields = PRESETS.get(source.envelope, AUTO)
    if source.message_field or source.timestamp_field or source.level_field:
        fields = replace(
            fields,
            message=source.message_field or fields.message,
            timestamp=source.timestamp_field or fields.timestamp,
            level=source.level_field or fields.level,
            guessed=False,
        )
    return Envelope(
        source.envelope,
        fields=fields,
        encoding=source.encoding,
        zone=source.zone,
        reserved=frozenset(name for text in declared for name in format_of(text).fields),
        max_record_bytes=settings.limits.max_record_bytes,
    )


@dataclass(slots=True, kw_only=True)
class Assembly:
    """A worker's parts while it runs."""

    settings: Settings
    metrics: Metrics
    producer: RecordBatchProducer
    outlet: Outlet
    fail: Fail
    tracing: Tracing = NO_TRACING
    calls: Calls = field(default_factory=Calls)
    networks: SharedNetworks = field(default_factory=SharedNetworks)
    #: By source; a worker of role `parse` answers requests instead.
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    answering: Answering | None = None
    knowledge: Knowledge = field(init=False)
    #: Whether kernels and model are loaded, and batches may come.
    is_open: bool = field(default=False, init=False)

    async def open(self, stack: AsyncExitStack) -> None:
        """Load kernels and model, connect to Redis, warm the caches, and make a pipeline per source."""
        await _load_kernels(self.settings)
        self.knowledge = self._knowledge_of(self.settings)
        await self.knowledge.open()
        stack.push_async_callback(self._close)
        self.metrics.describe_build(parser=self.knowledge.parser_version)
        for name, parts in self._parts(self.settings, self.knowledge).items():
            self.pipelines[name] = Pipeline(
                parts, outlet=self.outlet, metrics=self.metrics, fail=self.fail, tracing=self.tracing
            )
        if (answers := _answering_parts(self.settings, self.knowledge)) is not None:
            self.answering = Answering(answers, outlet=self.outlet, metrics=self.metrics, tracing=self.tracing)
        self.metrics.show_templates(self._used_templates)
        self.knowledge.listen()
        self.is_open = True

    @property
    def processors(self) -> Mapping[str, Pipeline | Answering]:
        """What takes batches, by source."""
        return self.pipelines if self.answering is None else {REQUESTS: self.answering}

    async def reload(self, settings: Settings) -> None:
        """Build what `settings` say beside what there is, and exchange both between two batches of each partition.

        Raises:
            LogloomError: it can't be built; then nothing has changed.

        """
        await _load_kernels(settings)
        former = knowledge = self.knowledge
        if not await asyncio.to_thread(former.fits, settings):
            knowledge = self._knowledge_of(settings)
            await knowledge.open(former)
        try:
            parts = await asyncio.to_thread(self._parts, settings, knowledge)
        except BaseException:
            if knowledge is not former:
                await knowledge.close(heir=former)
            raise
        self.settings, self.knowledge = settings, knowledge
        for name, pipeline in self.pipelines.items():
            pipeline.exchange(parts[name])
        if self.answering is not None and (answers := _answering_parts(settings, knowledge)) is not None:
            self.answering.exchange(answers)
        try:
            await asyncio.gather(*(processor.settle_in() for processor in self.processors.values()))
        except Exception as exc:  # noqa: BLE001 - half of it is in force: as if a batch had failed
            self.fail(exc)
        finally:
            if knowledge is not former:
                await former.close(heir=knowledge)
                knowledge.listen()
        self.metrics.describe_build(parser=knowledge.parser_version)
        if knowledge is not former:
            del former
            await asyncio.to_thread(give_back)

    async def _close(self) -> None:
        await self.knowledge.close()

    def fade(self) -> None:
        """Let what templates were used for count less by and by."""
        for misses in self.knowledge.misses.values():
            misses.cache.fade()

    def read_gauges(self, app: WorkerApp) -> None:
        """Read those that nobody pushes, but for lag."""
        knowledge, metrics = self.knowledge, self.metrics
        metrics.partitions(app.partitions)
        metrics.in_flight(sum(processor.batches_in_flight for processor in self.processors.values()))
        metrics.tasks(len(asyncio.all_tasks()))
        metrics.templates({scope: len(misses.cache) for scope, misses in knowledge.misses.items()})
        if knowledge.store is not None:
            metrics.redis(pending=knowledge.store.pending, is_away=knowledge.store.is_away)
        if isinstance(knowledge.model, LoadedModel):
            metrics.misses_waiting(knowledge.model.batcher.waiting)
            if (memory := knowledge.model.parser.device_memory()) is not None:
                metrics.device_memory(
                    memory.device, allocated=memory.allocated, reserved=memory.reserved, size=memory.size
                )

    def _used_templates(self) -> Iterator[UsedTemplate]:
        for scope, misses in self.knowledge.misses.items():
            for template, messages in misses.cache.most_used(self.settings.metrics.top_templates).items():
                yield UsedTemplate(scope, template.id, template.text, messages)

    def _knowledge_of(self, settings: Settings) -> Knowledge:
        return Knowledge(
            settings=settings,
            metrics=self.metrics,
            networks=self.networks,
            producer=self.producer,
            calls=self.calls,
            fail=self.fail,
            tracing=self.tracing,
        )

    def _parts(self, settings: Settings, knowledge: Knowledge) -> dict[str, Parts]:
        """Make what the batches of each source are processed with. Raises WrongModel and WrongSettings."""
        if settings.role == "parse":
            return {}
        return {name: self._parts_of(source, settings, knowledge) for name, source in settings.sources.items()}

    def _parts_of(self, source: Source, settings: Settings, knowledge: Knowledge) -> Parts:
        multiline, output = settings.multiline, settings.output
        is_joined = multiline.enabled if source.multiline is None else source.multiline
        path = SourcePath(
            name=source.name,
            finder=self._finder_of(source),
            misses=knowledge.misses[source.scope],
            parser_version=knowledge.version_of(source),
            resource=source.resource,
            event_format=output.format,
            template_attribute=output.template_attribute,
            has_parameter_attributes=output.parameter_attributes,
            fields=self._field_reader(source, settings) if source.fields else None,
            redaction=redaction_of(settings, source),
        )
        limits = Limits(max_lines=multiline.max_lines, max_bytes=multiline.max_bytes, max_seconds=multiline.seconds)
        return Parts(
            path=path,
            envelope=self._envelope_of(source, settings),
            joiner=Joiner(limits=limits, multiline=is_joined, by_record=settings.kafka.delivery == "exactly-once"),
            outputs=_outputs_of(settings),
            max_wait_seconds=multiline.seconds,
        )

    def _finder_of(self, source: Source) -> HeaderFinder:
        """Make the source's header finder, or keep the one that is set alike: `auto` has found something out."""
        pipeline, before = self.pipelines.get(source.name), self.settings.sources[source.name]
        if pipeline is not None and (source.header, source.zone) == (before.header, before.zone):
            return pipeline.parts.path.finder
        return HeaderFinder(source.header, zone=source.zone, source=source.name)

    def _envelope_of(self, source: Source, settings: Settings) -> Envelope:
        """Make the source's envelope, or keep the one that is set alike, as the header finder."""
        pipeline, before = self.pipelines.get(source.name), self.settings.sources[source.name]
        is_alike = _asked_of_envelope(source, settings) == _asked_of_envelope(before, self.settings)
        return pipeline.parts.envelope if pipeline is not None and is_alike else envelope_of(source, settings)

    def _field_reader(self, source: Source, settings: Settings) -> FieldReader:
        """Find fields in words, by what the source's prompt was taught where it was. Raises WrongModel."""
        taught = taught_fields(settings.model.path, source.prompt)
        return FieldReader(self.networks.asker, source.fields, taught=taught)


def _outputs_of(settings: Settings) -> Outputs:
    output = settings.output
    return Outputs(
        topic=output.topic,
        dead_letter_topic=output.dead_letter_topic,
        compression=output.compression,
        max_batch_bytes=output.max_batch_bytes,
        max_line_bytes=settings.limits.max_line_bytes,
    )


def _answering_parts(settings: Settings, knowledge: Knowledge) -> AnsweringParts | None:
    """Make what requests are answered with; None where this worker answers none."""
    if settings.role != "parse" or knowledge.box is None:
        return None
    outputs = _outputs_of(settings)
    return AnsweringParts(misses=knowledge.misses, versions=knowledge.versions, box=knowledge.box, outputs=outputs)


async def _load_kernels(settings: Settings) -> None:
    """Load what batches run, in a thread: where the cache lacks it a minute goes by, and others have their turn."""
    redacts = any(settings.redacted(source) for source in settings.sources.values())
    await asyncio.to_thread(load, settings.output.format, redacts=redacts)


def _asked_of_envelope(source: Source, settings: Settings) -> tuple[object, ...]:
    """Give the settings that make an envelope what it is."""
    fields = source.message_field, source.timestamp_field, source.level_field
    return source.envelope, fields, source.header, source.zone, source.encoding, settings.limits.max_record_bytes


def assemble(settings: Settings, reloader: Reloader | None = None) -> WorkerApp:
    """Make the worker that `settings` describe; `reloader` has it take others later. Raises WrongSettings."""
    metrics = Metrics(
        sources=[REQUESTS] if settings.role == "parse" else settings.sources,
        scopes={source.scope for source in settings.sources.values()},
        is_exactly_once=settings.is_exactly_once,
    )
    began_ms = int((time.time() - _CLOCKS_DIFFER_SECONDS) * 1000)

    @asynccontextmanager
    async def pipelines(
        producer: RecordBatchProducer, outlet: Outlet, fail: Fail
    ) -> AsyncIterator[Mapping[str, Pipeline | Answering]]:
        assembly = Assembly(
            settings=settings,
            metrics=metrics,
            producer=producer,
            outlet=outlet,
            fail=fail,
            tracing=_tracing_of(settings, metrics),
            calls=Calls() if reloader is None else Calls(hear=partial(_ask, reloader), since_ms=began_ms),
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(assembly.tracing.close)
            await _serve_health(stack, assembly, app)
            await assembly.open(stack)
            _keep_running(stack, _watch(app, assembly), fail)
            if reloader is not None:
                _keep_running(stack, reloader.run(assembly.reload, metrics), fail)
            yield assembly.processors

    def count(is_committed: bool) -> None:
        metrics.transaction(TRANSACTION_COMMITTED if is_committed else TRANSACTION_ABORTED)

    app = WorkerApp(app_settings(settings), pipelines, on_transaction=count)
    return app


def _tracing_of(settings: Settings, metrics: Metrics) -> Tracing:
    """Make what traces batches, where a collector is named."""
    if settings.tracing.endpoint is None:
        return NO_TRACING
    from worker.tracing.traces import Traces  # noqa: PLC0415  who traces nothing does not load OpenTelemetry

    return Traces.to_collector(settings, metrics)


def _ask(reloader: Reloader, scope: str) -> None:
    reloader.ask(f"a call to {'all scopes' if scope == ALL_SCOPES else f'scope {scope}'}")


def _keep_running(stack: AsyncExitStack, work: Coroutine[Any, Any, None], fail: Fail) -> None:
    """Run `work` until `stack` unwinds; an error in it stops the process."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    task.add_done_callback(reporting(fail))
    stack.push_async_callback(stop)


async def _serve_health(stack: AsyncExitStack, assembly: Assembly, app: WorkerApp) -> None:
    settings = assembly.settings.metrics
    if not settings.enabled:
        return
    server = HealthServer(
        host=settings.host,
        port=settings.port,
        registry=assembly.metrics.registry,
        started={"model": lambda: None if assembly.is_open else "kernels and model are being loaded"},
        alive={"worker": lambda: None if app.failure is None else str(app.failure)},
        ready={"kafka": lambda: None if app.is_ready else "no partitions are assigned yet"},
    )
    await server.start()
    stack.push_async_callback(server.stop)
    host, port = server.address
    _log.info("serving /metrics, /startupz, /healthz and /readyz", host=host, port=port)


async def _watch(app: WorkerApp, assembly: Assembly) -> None:
    """Read gauges that nobody pushes, and let counts of templates fade."""
    known: set[TopicPartition] = set()
    for turn in itertools.count(1):
        lag = app.lag()
        for partition in known - lag.keys():
            assembly.metrics.revoked(partition.topic, partition.partition)
        for partition, records in lag.items():
            assembly.metrics.lag(partition.topic, partition.partition, records)
        known = set(lag)
        assembly.read_gauges(app)
        if turn % _FADING_TURNS == 0:
            assembly.fade()
        await asyncio.sleep(_GAUGE_SECONDS)
