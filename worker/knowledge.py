"""What decides templates: the model, the caches of all scopes, and Redis. Opened, exchanged and closed as one.

A reload opens the new beside the old; what both would have alike, the model above all, they share. Knows nothing of
batches.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import structlog

from worker.announcing import Announcer
from worker.cache.answers import AnswerBox
from worker.cache.calls import Calls
from worker.cache.misses import FIRST_REPRESENTATIVES, Misses
from worker.cache.store import PINNED, News, TemplateStore
from worker.cache.templates import TemplateCache
from worker.errors import StoreUnavailable, WrongModel
from worker.hops import NO_TRACING, Tracing
from worker.logs import log_stacks
from worker.metrics import Metrics
from worker.parsing.asking import Asker
from worker.parsing.checkpoint import checkpoint_contents, checkpoint_folder, prompt_names, refuse_unknown_prompt
from worker.parsing.checksums import verify
from worker.parsing.fields import SHIPPED
from worker.parsing.message_types import Typer
from worker.parsing.microbatch import MicroBatcher, Watch
from worker.parsing.parser import EncoderParser
from worker.parsing.redaction import Redaction
from worker.parsing.stream import Stream
from worker.requests import Requests, ScopeRequests
from worker.settings import Model, Settings, Source
from worker.tasks import Fail, reporting
from worker.transport.producer import RecordBatchProducer

_log = structlog.get_logger(__name__)

#: The parser's version in events where no model is used.
_NO_PARSER = "none"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A checkpoint in memory, and what asks it."""

    parser: EncoderParser
    batcher: MicroBatcher
    #: What it was loaded by.
    settings: Model
    #: The versions of all that the checkpoint held.
    contents: tuple[str, ...]

    @classmethod
    def load(cls, path: str, settings: Model, metrics: Metrics, watch: Watch | None = None) -> "LoadedModel":
        """Load the checkpoint at `path`, which takes seconds. Raises WrongModel."""
        folder = checkpoint_folder(path)
        contents = checkpoint_contents(folder)
        parser = EncoderParser.load(
            folder,
            device=settings.device,
            dtype=settings.dtype,
            max_batch_tokens=settings.max_batch_tokens,
            signature_key=settings.signature_key,
        )
        if checkpoint_contents(folder) != contents:
            raise WrongModel(f"{path} changed while it was read: give a new checkpoint a folder of its own.")
        parser.on_halved = metrics.halved
        metrics.micro_batch_limits(rows=settings.max_rows, tokens=settings.max_batch_tokens)
        batcher = MicroBatcher(
            parser,
            max_tokens=settings.max_batch_tokens,
            max_rows=settings.max_rows,
            deadline_seconds=settings.deadline_ms / 1000,
            timeout_seconds=settings.timeout_seconds,
            on_micro_batch=metrics.micro_batch,
            on_hang=log_stacks,
            watch=watch,
        )
        return cls(parser=parser, batcher=batcher, settings=settings, contents=contents)

    @property
    def version(self) -> str:
        """Name and digest of the checkpoint."""
        return self.parser.version

    def version_of(self, prompt: str | None) -> str:
        """Name what decides the templates under a prompt. Raises WrongModel."""
        return self.parser.version_of(prompt)

    def is_that_of(self, settings: Model) -> bool:
        """Tell whether `settings` would load the same now, by what the checkpoint holds.

        Raises:
            WrongModel: it is not there any more, broken, or not signed as it must be.

        """
        if settings != self.settings or settings.path is None:
            return False
        folder = checkpoint_folder(settings.path)
        verify(folder, settings.signature_key)
        return checkpoint_contents(folder) == self.contents


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A checkpoint that workers of role `parse` have loaded: here its versions are known, and torch is not imported."""

    #: What it was found by.
    settings: Model
    #: Name and digest of the checkpoint.
    version: str
    #: The versions of its prompts, by name.
    prompts: Mapping[str, str]

    @classmethod
    def load(cls, path: str, settings: Model) -> "RemoteModel":
        """Look at the checkpoint at `path`, once: its digest is of all its weights. Raises WrongModel."""
        folder = checkpoint_folder(path)
        verify(folder, settings.signature_key)
        version, *prompts = checkpoint_contents(folder)
        return cls(settings=settings, version=version, prompts=dict(zip(prompt_names(folder), prompts, strict=True)))

    def version_of(self, prompt: str | None) -> str:
        """Name what decides the templates under a prompt. Raises WrongModel."""
        if prompt is None:
            return self.version
        refuse_unknown_prompt(prompt, self.prompts, self.version)
        return f"{self.version}+{self.prompts[prompt]}"

    def is_that_of(self, settings: Model) -> bool:
        """Tell whether `settings` would find the same now. Raises WrongModel."""
        return settings == self.settings and RemoteModel.load(str(settings.path), settings) == self


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """The model, the caches and the store of one worker, as its settings say."""

    settings: Settings
    metrics: Metrics
    networks: SharedNetworks
    producer: RecordBatchProducer
    calls: Calls
    fail: Fail
    tracing: Tracing = NO_TRACING
    model: LoadedModel | RemoteModel | None = None
    store: TemplateStore | None = None
    #: What operators pinned.
    pins: TemplateStore | None = None
    #: How misses are handed to workers of role `parse`, and how these answer; None where a worker does all itself.
    box: AnswerBox | None = None
    requests: Requests | None = None
    #: What answers the misses of each scope.
    misses: Mapping[str, Misses] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def parser_version(self) -> str:
        """Name the parser that decides, here or elsewhere."""
        return _NO_PARSER if self.model is None else self.model.version

    def version_of(self, source: Source) -> str:
        """Tell what decides the templates of `source`: the parser under its prompt. Events say so.

        Raises:
            WrongModel: the checkpoint has no such prompt.

        """
        if self.model is None:
            return _NO_PARSER
        try:
            return self.model.version_of(source.prompt)
        except WrongModel as exc:
            raise WrongModel(f"sources.{source.name}.prompt: {exc}") from exc

    @property
    def versions(self) -> Mapping[str, str]:
        """Tell what decides the templates of each scope, whose sources have one prompt. Raises WrongModel."""
        return {source.scope: self.version_of(source) for source in self.settings.sources.values()}

    def fits(self, settings: Settings) -> bool:
        """Tell whether `settings`, and the checkpoint as it is there now, would make the same. Raises WrongModel."""
        if _asked_of(settings) != _asked_of(self.settings):
            return False
        return self.model is None or self.model.is_that_of(settings.model)

    async def open(self, former: "Knowledge | None" = None) -> None:
        """Load the model, connect to Redis, warm the caches; `former` lends what is the same.

        Raises:
            WrongModel: the checkpoint is broken, or lacks a prompt. Everything is closed then.

        """
        try:
            await self._open(former)
        except BaseException:
            await self.close(heir=former)
            raise

    async def _open(self, former: "Knowledge | None") -> None:
        self.model = await asyncio.to_thread(self._load, None if former is None else former.model)
        versions = self.versions
        self.store, self.pins = self._connect(versions), self._connect_pins()
        self.box = self._open_box()
        if self.box is not None and self.settings.role == "match":
            self.requests = self._requests_by(self.box)
            # Before any batch comes: a reload waits for batches, which may wait for answers.
            self._run(self.requests.run())
        # Caches and small networks take a while: hits of the former ones go on meanwhile.
        self.misses = await asyncio.to_thread(lambda: {scope: self._misses(scope) for scope in versions})
        for scope, misses in self.misses.items():
            await self._warm_up(misses, None if former is None else former.misses.get(scope))
            if former is not None and former.versions.get(scope) == versions[scope]:
                await misses.inherit(former.misses[scope])

    def listen(self) -> None:
        """Learn from now on what other workers find as they find it; an error in that goes to `fail`."""
        if self.store is not None and self.pins is not None:
            self._run(self._listen(self.store, Misses.receive))
            self._run(self._listen(self.pins, Misses.receive_pins))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until all is closed; an error in it goes to `fail`."""
        task = asyncio.create_task(work)
        task.add_done_callback(reporting(self.fail))
        self._tasks.append(task)

    async def close(self, heir: "Knowledge | None" = None) -> None:
        """Close everything but the model that `heir` has too.

        All is let go of: a task that was cancelled keeps what it knew until the garbage collector comes.
        """
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        for connected in (self.store, self.pins, self.box):
            if connected is not None:
                await connected.close()
        if isinstance(self.model, LoadedModel) and (heir is None or heir.model is not self.model):
            await self.model.batcher.close()
        self.model, self.store, self.pins, self.box, self.requests = None, None, None, None, None
        self.misses = {}

    def _load(self, former: LoadedModel | RemoteModel | None) -> LoadedModel | RemoteModel | None:
        settings = self.settings.model
        if settings.path is None:
            return None
        if former is not None and former.is_that_of(settings):
            return former
        if self.settings.role == "match":
            return RemoteModel.load(settings.path, settings)
        return LoadedModel.load(settings.path, settings, self.metrics, self.tracing.watch)

    def _open_box(self) -> AnswerBox | None:
        redis = self.settings.redis
        if redis.url is None or self.settings.role == "all":
            return None
        return AnswerBox.connect(**redis.connection)

    def _requests_by(self, box: AnswerBox) -> Requests:
        return Requests(
            producer=self.producer,
            topic=self.settings.misses.topic,
            box=box,
            retry_seconds=self.settings.misses.retry_seconds,
            max_bytes=self.settings.output.max_batch_bytes,
            metrics=self.metrics,
        )

    def _connect(self, versions: Mapping[str, str]) -> TemplateStore | None:
        redis = self.settings.redis
        if redis.url is None:
            return None
        return TemplateStore.connect(
            **redis.connection,
            parser_version=self.parser_version,
            scope_versions=versions,
            max_connections=redis.max_connections,
            max_pending=redis.max_pending_templates,
            calls=self.calls,
        )

    def _connect_pins(self) -> TemplateStore | None:
        redis = self.settings.redis
        if redis.url is None:
            return None
        return TemplateStore.connect(**redis.connection, parser_version=PINNED, max_connections=2)

    def _misses(self, scope: str) -> Misses:
        sources = [source for source in self.settings.sources.values() if source.scope == scope]
        names = {template: names for source in sources for template, names in source.parameter_names.items()}
        types = sources[0].types  # as the prompt
        cache = TemplateCache(
            max_templates=self.settings.cache.max_templates,
            max_fingerprints=self.settings.cache.max_fingerprints,
            parameter_names=names,
            # Whoever makes no events has no use for types.
            typer=None if types is None or self.settings.role == "parse" else self.networks.typer.asking(types),
        )
        return Misses(
            cache=cache,
            store=self.store,
            pins=self.pins,
            model=self._answers(scope, sources[0]),
            scope=scope,
            prompt=sources[0].prompt,  # settings have made sure that it is that of all
            # Whoever asks a worker of role `parse` has chosen already.
            first_representatives=sys.maxsize if self.settings.role == "parse" else FIRST_REPRESENTATIVES,
            redaction=redaction_of(self.settings, *sources),
            stream=self._stream(sources[0].prompt, names),
            # Who has the model has announced what it found.
            announce=None
            if self.settings.output.templates_topic is None or self.settings.role == "match"
            else Announcer(
                producer=self.producer,
                topic=self.settings.output.templates_topic,
                source=scope,
                parser_version=self.version_of(sources[0]),
            ),
            on_store_error=self.metrics.redis_failed,
            on_templates=partial(self.metrics.templates_changed, scope),
        )

    def _answers(self, scope: str, source: Source) -> MicroBatcher | ScopeRequests | None:
        """Give what answers the misses of a scope: the model, those that have it, or nothing."""
        if self.requests is not None:
            return self.requests.of(scope, self.version_of(source))
        return self.model.batcher if isinstance(self.model, LoadedModel) else None

    def _stream(self, prompt: str | None, pinned: Collection[str]) -> Stream | None:
        """Make what the misses of a scope settle with; templates whose parameters a person named are pinned."""
        settings = self.settings.stream
        if not isinstance(self.model, LoadedModel) or not settings.enabled:
            return None
        return Stream(
            self.model.parser,
            prompt=prompt,
            max_candidates=settings.max_candidates,
            max_characters=settings.max_characters,
            pinned=pinned,
        )

    async def _warm_up(self, misses: Misses, former: Misses | None) -> None:
        try:
            await misses.load_pins(former)
            templates = await misses.warm_up()
        except StoreUnavailable as exc:
            self.metrics.redis_failed("load")
            _log.warning("Redis does not answer; starting with an empty cache", scope=misses.scope, error=str(exc))
        else:
            _log.info("templates loaded from Redis", scope=misses.scope, templates=templates)

    async def _listen(self, store: TemplateStore, receive: Callable[[Misses, News], Awaitable[None]]) -> None:
        """Learn what other workers find, or operators pin, as they do."""
        async for scope, news in store.listen(tuple(self.misses)):
            try:
                await receive(self.misses[scope], news)
            except StoreUnavailable:
                self.metrics.redis_failed("restore")  # what Redis lost waits in the store and goes along later


def redaction_of(settings: Settings, *sources: Source) -> Redaction:
    """Say what is redacted in events of `sources`; where they differ, as the first that names a kind says."""
    ways = {kind: way for source in reversed(sources) for kind, way in settings.redacted(source).items()}
    return Redaction(ways=ways, key=settings.redaction_key)


def _asked_of(settings: Settings) -> tuple[object, ...]:
    """Give the settings that make knowledge what it is."""
    sources = {
        name: (source.scope, source.prompt, source.types, source.parameter_names, settings.redacted(source).keys())
        for name, source in settings.sources.items()
    }
    return (
        settings.role,
        settings.model,
        settings.redis,
        settings.cache,
        settings.stream,
        settings.output.templates_topic,
        sources,
    )
