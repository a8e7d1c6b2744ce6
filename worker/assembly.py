"""Puts a worker together from its settings: which object gets which. No logic of its own."""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import structlog

from worker.announcing import Announcer
from worker.app import AppSettings, Fail, WorkerApp
from worker.cache.misses import Misses
from worker.cache.store import TemplateStore
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import AUTO, PRESETS, Envelope
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joiner, Limits
from worker.errors import StoreUnavailable, WrongModel
from worker.health import HealthServer
from worker.logs import log_stacks
from worker.metrics import Metrics
from worker.parsing.asking import Asker
from worker.parsing.checkpoint import taught_fields
from worker.parsing.fields import SHIPPED, FieldReader
from worker.parsing.headers import format_of
from worker.parsing.message_types import Typer
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import EncoderParser
from worker.parsing.stream import Stream
from worker.pipeline import Outputs, Pipeline, SourcePath
from worker.settings import Settings, Source
from worker.transport.batches import TopicPartition
from worker.transport.outlet import Outlet
from worker.transport.producer import RecordBatchProducer
from worker.transport.security import consumer_credentials, producer_security
from worker.transport.subscriptions import Subscription

_log = structlog.get_logger(__name__)

#: How often gauges that nobody pushes are read.
_GAUGE_SECONDS = 1.0
#: The parser's version in events where no model is used.
_NO_PARSER = "none"


def app_settings(settings: Settings) -> AppSettings:
    """Say in the transport's words what `settings` say in the operator's. Raises WrongSettings."""
    kafka, output, limits = settings.kafka, settings.output, settings.limits
    return AppSettings(
        bootstrap_servers=",".join(kafka.bootstrap_servers),
        group=kafka.group_id,
        subscriptions=[
            Subscription(source=source.name, topics=tuple(source.topics), pattern=source.topic_pattern)
            for source in settings.sources.values()
        ],
        written_topics=settings.own_topics,
        transport="faust" if settings.transport == "faust" else "batches",
        client_id=kafka.client_id,
        group_instance_id=kafka.group_instance_id,
        is_exactly_once=kafka.delivery == "exactly-once",
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


class SharedNetworks:
    """The small networks beside the model: each is loaded with the first source that asks, once for all sources."""

    @cached_property
    def typer(self) -> Typer:
        """Tell the types that were taught. Raises WrongModel."""
        return Typer.load()

    @cached_property
    def asker(self) -> Asker:
        """Find fields in words. Raises WrongModel."""
        return Asker.load(SHIPPED)


@dataclass(slots=True, kw_only=True)
class Assembly:
    """A worker's parts while it runs."""

    settings: Settings
    metrics: Metrics
    networks: SharedNetworks = field(default_factory=SharedNetworks)
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    parser: EncoderParser | None = None
    store: TemplateStore | None = None
    model: MicroBatcher | None = None

    @property
    def parser_version(self) -> str:
        """Name the parser that is loaded."""
        return _NO_PARSER if self.parser is None else self.parser.version

    def version_of(self, source: Source) -> str:
        """Tell what decides the templates of `source`: the parser under its prompt. Events say so.

        Raises:
            WrongModel: the checkpoint has no such prompt.

        """
        if self.parser is None:
            return _NO_PARSER
        try:
            return self.parser.version_of(source.prompt)
        except WrongModel as exc:
            raise WrongModel(f"sources.{source.name}.prompt: {exc}") from exc

    async def open(self, stack: AsyncExitStack, producer: RecordBatchProducer, outlet: Outlet, fail: Fail) -> None:
        """Load the model, connect to Redis, warm the caches, and make a pipeline per source."""
        model = self.settings.model
        if model.path is not None:
            self.parser = await asyncio.to_thread(
                EncoderParser.load,
                model.path,
                device=model.device,
                dtype=model.dtype,
                max_batch_tokens=model.max_batch_tokens,
                signature_key=model.signature_key,
            )
            self.parser.on_halved = self.metrics.halved
            self.model = MicroBatcher(
                self.parser,
                max_tokens=model.max_batch_tokens,
                max_rows=model.max_rows,
                deadline_seconds=model.deadline_ms / 1000,
                timeout_seconds=model.timeout_seconds,
                on_micro_batch=self.metrics.micro_batch,
                on_hang=log_stacks,
            )
            stack.push_async_callback(self.model.close)
        self.metrics.describe_build(parser=self.parser_version)
        versions = {source.scope: self.version_of(source) for source in self.settings.sources.values()}
        self.store = self._connect(versions)
        if self.store is not None:
            stack.push_async_callback(self.store.close)
        misses = {
            scope: self._misses(scope, producer)
            for scope in {source.scope for source in self.settings.sources.values()}
        }
        for of_scope in misses.values():
            await self._warm_up(of_scope)
        for source in self.settings.sources.values():
            self.pipelines[source.name] = self._pipeline(source, misses[source.scope], outlet, fail)
        if self.store is not None:
            _keep_running(stack, self._listen(self.store, misses), fail)

    def _connect(self, versions: Mapping[str, str]) -> TemplateStore | None:
        redis = self.settings.redis
        if redis.address is None:
            return None
        return TemplateStore.connect(
            redis.address,
            tls=redis.tls,
            prefix=redis.prefix,
            parser_version=self.parser_version,
            scope_versions=versions,
            connect_timeout_seconds=redis.connect_timeout_seconds,
            timeout_seconds=redis.timeout_seconds,
            max_connections=redis.max_connections,
            max_pending=redis.max_pending_templates,
        )

    def _misses(self, scope: str, producer: RecordBatchProducer) -> Misses:
        sources = [source for source in self.settings.sources.values() if source.scope == scope]
        names = {template: names for source in sources for template, names in source.parameter_names.items()}
        types = sources[0].types  # as the prompt
        cache = TemplateCache(
            max_templates=self.settings.cache.max_templates,
            max_fingerprints=self.settings.cache.max_fingerprints,
            parameter_names=names,
            typer=None if types is None else self.networks.typer.asking(types),
        )
        return Misses(
            cache=cache,
            store=self.store,
            model=self.model,
            scope=scope,
            prompt=sources[0].prompt,  # settings have made sure that it is that of all
            stream=self._stream(sources[0].prompt, names),
            announce=None
            if self.settings.output.templates_topic is None
            else Announcer(
                producer=producer,
                topic=self.settings.output.templates_topic,
                source=scope,
                parser_version=self.version_of(sources[0]),
            ),
            on_store_error=self.metrics.redis_failed,
        )

    def _field_reader(self, source: Source) -> FieldReader:
        """Find fields in words, by what the source's prompt was taught where it was. Raises WrongModel."""
        taught = taught_fields(self.settings.model.path, source.prompt)
        return FieldReader(self.networks.asker, source.fields, taught=taught)

    def _stream(self, prompt: str | None, pinned: Collection[str]) -> Stream | None:
        """Make what the misses of a scope settle with; templates whose parameters a person named are pinned."""
        settings = self.settings.stream
        if self.parser is None or not settings.enabled:
            return None
        return Stream(
            self.parser,
            prompt=prompt,
            max_candidates=settings.max_candidates,
            max_characters=settings.max_characters,
            pinned=pinned,
        )

    async def _warm_up(self, misses: Misses) -> None:
        try:
            templates = await misses.warm_up()
        except StoreUnavailable as exc:
            self.metrics.redis_failed("load")
            _log.warning("Redis does not answer; starting with an empty cache", scope=misses.scope, error=str(exc))
        else:
            _log.info("templates loaded from Redis", scope=misses.scope, templates=templates)

    async def _listen(self, store: TemplateStore, misses: Mapping[str, Misses]) -> None:
        """Learn what other workers find as they find it."""
        async for scope, news in store.listen(misses.keys()):
            try:
                await misses[scope].receive(news)
            except StoreUnavailable:
                self.metrics.redis_failed("restore")  # what Redis lost waits in the store and goes along later

    def _pipeline(self, source: Source, misses: Misses, outlet: Outlet, fail: Fail) -> Pipeline:
        settings = self.settings
        multiline = settings.multiline
        is_joined = multiline.enabled if source.multiline is None else source.multiline
        path = SourcePath(
            name=source.name,
            finder=HeaderFinder(source.header, zone=source.zone, source=source.name),
            misses=misses,
            parser_version=self.version_of(source),
            resource=source.resource,
            event_format=settings.output.format,
            template_attribute=settings.output.template_attribute,
            has_parameter_attributes=settings.output.parameter_attributes,
            fields=self._field_reader(source) if source.fields else None,
        )
        limits = Limits(max_lines=multiline.max_lines, max_bytes=multiline.max_bytes, max_seconds=multiline.seconds)
        outputs = Outputs(
            topic=settings.output.topic,
            dead_letter_topic=settings.output.dead_letter_topic,
            compression=settings.output.compression,
            max_batch_bytes=settings.output.max_batch_bytes,
            max_line_bytes=settings.limits.max_line_bytes,
        )
        return Pipeline(
            path=path,
            envelope=envelope_of(source, settings),
            joiner=Joiner(limits=limits, multiline=is_joined, by_record=settings.kafka.delivery == "exactly-once"),
            outputs=outputs,
            outlet=outlet,
            metrics=self.metrics,
            fail=fail,
            max_wait_seconds=multiline.seconds,
        )


def assemble(settings: Settings) -> WorkerApp:
    """Make the worker that `settings` describe. Raises WrongSettings."""
    metrics = Metrics(sources=settings.sources)

    @asynccontextmanager
    async def pipelines(
        producer: RecordBatchProducer, outlet: Outlet, fail: Fail
    ) -> AsyncIterator[Mapping[str, Pipeline]]:
        assembly = Assembly(settings=settings, metrics=metrics)
        async with AsyncExitStack() as stack:
            await _serve_health(stack, settings, metrics, app)
            await assembly.open(stack, producer, outlet, fail)
            _keep_running(stack, _watch(app, assembly), fail)
            yield assembly.pipelines

    app = WorkerApp(app_settings(settings), pipelines)
    return app


def _keep_running(stack: AsyncExitStack, work: Coroutine[Any, Any, None], fail: Fail) -> None:
    """Run `work` until `stack` unwinds; an error in it stops the process."""
    task = asyncio.create_task(work)

    def report(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            fail(error)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    task.add_done_callback(report)
    stack.push_async_callback(stop)


async def _serve_health(stack: AsyncExitStack, settings: Settings, metrics: Metrics, app: WorkerApp) -> None:
    if not settings.metrics.enabled:
        return
    server = HealthServer(
        host=settings.metrics.host,
        port=settings.metrics.port,
        registry=metrics.registry,
        alive={"worker": lambda: None if app.failure is None else str(app.failure)},
        ready={"kafka": lambda: None if app.is_ready else "no partitions are assigned yet"},
    )
    await server.start()
    stack.push_async_callback(server.stop)
    host, port = server.address
    _log.info("serving /metrics, /healthz and /readyz", host=host, port=port)


async def _watch(app: WorkerApp, assembly: Assembly) -> None:
    """Read gauges that nobody pushes: lag, and what waits for Redis."""
    known: set[TopicPartition] = set()
    while True:
        lag = app.lag()
        for partition in known - lag.keys():
            assembly.metrics.revoked(partition.topic, partition.partition)
        for partition, records in lag.items():
            assembly.metrics.lag(partition.topic, partition.partition, records)
        known = set(lag)
        assembly.metrics.in_flight(sum(pipeline.batches_in_flight for pipeline in assembly.pipelines.values()))
        assembly.metrics.tasks(len(asyncio.all_tasks()))
        if assembly.store is not None:
            assembly.metrics.redis_pending(assembly.store.pending)
        await asyncio.sleep(_GAUGE_SECONDS)
