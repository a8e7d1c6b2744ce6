"""What becomes of a miss: Redis may know its template, else the model finds one, and everyone learns it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from worker.cache.templates import TemplateCache
from worker.columns.layout import I64, TIER_MODEL, TIER_STORE, Headers, Matches, Texts
from worker.errors import BadInput, StoreUnavailable, Unparsable
from worker.hops import asking_redis, hop
from worker.parsing.microbatch import Answer
from worker.parsing.redaction import NO_REDACTION, Redaction
from worker.parsing.stream import Stream
from worker.parsing.templates import Template

if TYPE_CHECKING:  # the command line parses files without Redis, and without its client
    from worker.cache.store import News, TemplateStore

#: Messages for the model, each with the first of its rows.
Chosen = dict[bytes, int]

#: A template, and a row of the batch that it was found for; None for one that the batch does not need.
Learned = tuple[Template, int | None]

#: Messages asked for at first; most lines of a cold batch share few templates, so a few answers settle many.
FIRST_REPRESENTATIVES = 32
#: Messages that got no template from the model and that are remembered with the reason, so that it isn't asked again.
_REMEMBERED_FAILURES = 1_024


class OnTemplates(Protocol):
    """Told what `MissCounts` counts of templates."""

    def __call__(self, *, learned: int = 0, received: int = 0, replaced: int = 0) -> None:
        """Count templates of the model, of other workers, and those that others took the place of."""
        ...


class AnswersMisses(Protocol):
    """The model's micro-batches, or what asks for them elsewhere."""

    async def templates(self, messages: Sequence[bytes], *, prompt: str | None = None) -> list[Answer]:
        """Return the template of each message, in the order of `messages`; None: no template fits."""
        ...


@dataclass(slots=True, kw_only=True)
class MissCounts:
    """What happened to misses since the start."""

    #: Messages that went to the model.
    asked: int = 0
    #: New templates that the model gave.
    learned: int = 0
    #: Templates in whose place others came.
    replaced: int = 0
    #: Templates that came from other workers by Redis.
    received: int = 0
    #: Redis did not answer.
    store_errors: int = 0


@dataclass(slots=True, kw_only=True)
class Misses:
    """Resolves the misses of one scope. Batches of several partitions may do so at once."""

    cache: TemplateCache
    #: Redis; None where there is none.
    store: "TemplateStore | None"
    #: The model, or who has it; None where there is none: misses that Redis can't answer stay misses.
    model: "AnswersMisses | None"
    #: The scope in Redis: sources that share it share templates.
    scope: str
    #: What operators pinned, in Redis too, whatever the parser; None where there is no Redis.
    pins: "TemplateStore | None" = None
    prompt: str | None = None
    #: Messages that the model is asked for at first.
    first_representatives: int = FIRST_REPRESENTATIVES
    #: Values of these kinds are parameters of new templates, whatever the model says.
    redaction: Redaction = NO_REDACTION
    #: What the misses settle on together; None: each keeps the template that the model cut.
    stream: Stream | None = None
    #: Told of templates that are new here, and of the ids of those that were replaced, before anyone else knows.
    announce: Callable[[Sequence[Template], Mapping[str, str]], Awaitable[None]] | None = None
    #: Told of the operation that Redis did not answer.
    on_store_error: Callable[[str], None] | None = None
    #: Told how many templates came and went.
    on_templates: OnTemplates | None = None
    counts: MissCounts = field(default_factory=MissCounts)
    #: Messages that got no template, and the error that they got instead where they got one.
    _failed: OrderedDict[bytes, BadInput | None] = field(default_factory=OrderedDict)
    #: Ids of templates that were learned and are about to be kept, by each who is at it.
    _coming: list[set[str]] = field(default_factory=list)
    #: One settling at a time.
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: What the stream must be told before it settles again: it may be at work, in its thread, when news comes.
    _untold: list[Callable[[Stream], None]] = field(default_factory=list)

    async def resolve(self, texts: Texts, headers: Headers, matches: Matches) -> Matches:
        """Return `matches` with every row filled that a template was found for; the others are unparsable."""
        missing = _missing(texts, matches)
        if missing.size == 0:
            return matches
        with hop("misses", rows=missing.size):
            return await self._resolve(texts, headers, matches, missing)

    async def _resolve(self, texts: Texts, headers: Headers, matches: Matches, missing: I64) -> Matches:
        """Fill the `missing` rows."""
        matches = await self._ask_store(texts, headers, matches, missing)
        width, asked, cuts = self.first_representatives, set(self._failed), dict[bytes, Template]()
        while self.model is not None:
            chosen = _representatives(texts, headers, matches, asked, width)
            if not chosen:
                break
            templates = await self._ask_model(self.model, chosen)
            matches = await self._settle(texts, headers, matches, chosen, templates)
            asked.update(chosen)
            cuts |= templates
            width *= 2
        # A message whose template went while others settled keeps its own cut: settling makes no dead letters.
        rows = {message_of(texts, headers, row): row for row in _missing(texts, matches).tolist()} if cuts else {}
        own = [(cuts[message], row) for message, row in rows.items() if message in cuts]
        return await self._learn(texts, headers, matches, own, {}) if own else matches

    def why(self, message: bytes) -> BadInput:
        """Tell why a message has no template."""
        return self._failed.get(message) or Unparsable("no template fits the message")

    async def warm_up(self) -> int:
        """Load the scope's templates from Redis and return how many there are. Raises StoreUnavailable."""
        if self.store is None:
            return 0
        news = await self.store.load(self.scope)
        # Nobody else uses this scope yet: others may work between templates.
        await self._add(news.templates)
        self._count(received=len(news.templates))
        return len(news.templates)

    async def load_pins(self, former: "Misses | None" = None) -> None:
        """Load what operators pinned; where Redis is away, what `former` knows of it. Raises StoreUnavailable."""
        if self.pins is None:
            return
        try:
            news = await self.pins.load(self.scope)
        except StoreUnavailable:
            self._pin(() if former is None else former.cache.pins.values())
            raise
        self._pin(news.templates)

    async def receive_pins(self, news: "News") -> None:
        """Follow what operators pin and unpin; give a Redis that lost everything what is pinned here.

        Raises StoreUnavailable.
        """
        self._pin(news.templates)
        for template_id in news.removed:
            self.cache.unpin(template_id)
            self._tell(partial(Stream.unpin, template_id=template_id))
        if news.was_emptied and self.pins is not None:
            await self.pins.put(self.scope, list(self.cache.pins.values()), is_merged=True)

    def _pin(self, templates: Iterable[Template]) -> None:
        for template in templates:
            self.cache.pin(template)
            self._tell(partial(Stream.pin, template_id=template.id))

    async def inherit(self, former: "Misses") -> None:
        """Take over what `former`, of the same version, knows beside; Redis gets it too where it has not.

        What is removed meanwhile is not taken over: `former` is told last. Names that settings gave are left behind.
        """
        try:
            if former.store is not None:
                await former.receive(await former.store.catch_up(former.scope))
        except StoreUnavailable:
            self._failed_store("load")
        templates = [
            replace(template, type="", type_confidence=0.0)
            for template in former.cache.templates()
            if self.cache.find(template.id) is None and not former.cache.has_given_names(template)
        ]
        await self._add(templates)
        try:
            await self._restore(templates)
        except StoreUnavailable:
            self._failed_store("restore")  # they wait in the store and go along later

    async def receive(self, news: "News") -> None:
        """Learn what other workers found, forget what an operator removed; give a Redis that lost everything its own.

        Both are done before anything is awaited. Raises StoreUnavailable.
        """
        for template in news.templates:
            self.cache.add(template)
            self._tell(partial(Stream.restore, template_id=template.id))
        for coming in self._coming:
            coming.difference_update(news.removed, news.replaced)
        for template_id in news.removed:
            self.cache.remove(template_id)
            self._tell(partial(Stream.forget, template_id=template_id))
        for template_id, other_id in news.replaced.items():
            self.cache.remove(template_id)
            if template_id in self.cache.pins:
                continue
            if (other := self.cache.find(other_id)) is not None:
                self._tell(partial(Stream.replace, template_id=template_id, other=other))
        self._count(received=len(news.templates))
        if news.was_emptied:
            await self._restore(self.cache.templates())

    async def _restore(self, templates: Sequence[Template]) -> None:
        """Write templates to Redis, whatever others publish meanwhile."""
        learned = [(template, 0) for template in templates]
        while self.store is not None and not (news := await self.store.publish(self.scope, learned)).is_written:
            await self.receive(news)

    async def _ask_store(self, texts: Texts, headers: Headers, matches: Matches, missing: I64) -> Matches:
        if self.store is None:
            return matches
        fingerprints = np.unique(matches.fingerprint[missing]).tolist()
        try:
            with asking_redis("find"):
                news = await self.store.find(self.scope, fingerprints)
            await self.receive(news)
        except StoreUnavailable:
            self._failed_store("find")
        # In any case: others may have learned, or brought news from Redis, while this one waited.
        return self.cache.look_up(texts, headers, only=matches, tier=TIER_STORE)

    async def _ask_model(self, model: AnswersMisses, chosen: Chosen) -> dict[bytes, Template]:
        """Have the model cut the chosen messages; those that got no template are missing, and remembered."""
        self.counts.asked += len(chosen)
        found = {}
        with hop("model", messages=len(chosen)):
            answers = await model.templates(list(chosen), prompt=self.prompt)
        for message, answer in zip(chosen, answers, strict=True):
            if isinstance(answer, Template):
                found[message] = self.redaction.cut(message, answer)
            else:
                self._failed[message] = answer
        while len(self._failed) > _REMEMBERED_FAILURES:
            self._failed.popitem(last=False)
        return found

    async def _settle(
        self, texts: Texts, headers: Headers, matches: Matches, chosen: Chosen, templates: Mapping[bytes, Template]
    ) -> Matches:
        """Let the cuts settle with those of earlier misses, and learn what comes of it."""
        rows = [chosen[message] for message in templates]
        if self.stream is None:
            return await self._learn(texts, headers, matches, list(zip(templates.values(), rows, strict=True)), {})
        async with self._turn:
            for tell in self._untold:
                tell(self.stream)
            self._untold.clear()
            with hop("settle", templates=len(templates)):
                change = await asyncio.to_thread(self.stream.hear, list(templates.values()))
            learned: list[Learned] = [*zip(change.answers, rows, strict=True), *((one, None) for one in change.others)]
            return await self._learn(texts, headers, matches, learned, change.replaced)

    async def _learn(
        self, texts: Texts, headers: Headers, matches: Matches, learned: Sequence[Learned], replaced: Mapping[str, str]
    ) -> Matches:
        """Publish and keep templates, let go of those that were `replaced`, and look the batch's misses up again.

        They are announced first, so that no event of any worker carries an id that was not; one that another worker's
        template makes needless then was announced in vain.
        """
        await self._announce(learned, replaced)
        while self.store is not None and (learned or replaced):
            # Two workers that miss the same message at once end with one template: the first one's.
            matches = self.cache.look_up(texts, headers, only=matches, tier=TIER_STORE)
            learned = [one for one in learned if not self._was_found(matches, one)]
            try:
                fingerprinted = [(one, 0 if row is None else int(matches.fingerprint[row])) for one, row in learned]
                with asking_redis("publish"):
                    news = await self.store.publish(self.scope, fingerprinted, replaced)
                if news.is_written:
                    break
                await self.receive(news)
                learned = [(one, row) for one, row in learned if row is not None or one.id not in news.replaced]
            except StoreUnavailable:
                self._failed_store("publish")  # it keeps them and writes them when Redis is back
                break
        self._count(learned=len({template.id for template, _ in learned}), replaced=len(replaced))
        await self._add([template for template, _ in learned])
        for template_id in replaced:
            self.cache.remove(template_id)
        matches = self.cache.without_removed(matches)
        return self.cache.look_up(texts, headers, only=matches, tier=TIER_MODEL)

    async def _add(self, templates: Sequence[Template]) -> None:
        """Keep templates, and let others work between them: each takes time by all that are kept.

        What comes to be removed meanwhile is not added any more.
        """
        coming = {template.id for template in templates}
        self._coming.append(coming)
        try:
            for template in templates:
                if template.id in coming:
                    self.cache.add(template)
                    await asyncio.sleep(0)
        finally:
            self._coming = [other for other in self._coming if other is not coming]

    async def _announce(self, learned: Sequence[Learned], replaced: Mapping[str, str]) -> None:
        """Tell of templates that are new, and of those that others go into."""
        if self.announce is None:
            return
        new = {one.id: one for one, _ in learned if one.id in replaced.values() or self.cache.find(one.id) is None}
        known = {one: found for one in replaced.values() if one not in new and (found := self.cache.find(one))}
        if new or replaced:
            await self.announce([*new.values(), *known.values()], replaced)

    def _was_found(self, matches: Matches, learned: Learned) -> bool:
        """Tell whether a template of another worker has answered the miss that this one was learned for."""
        template, row = learned
        if row is None or matches.template[row] < 0:
            return False
        other = self.cache.template(int(matches.template[row]))
        if other.id != template.id:
            self._tell(partial(Stream.replace, template_id=template.id, other=other))
        return True

    def _tell(self, news: Callable[[Stream], None]) -> None:
        if self.stream is not None:
            self._untold.append(news)

    def _count(self, *, learned: int = 0, received: int = 0, replaced: int = 0) -> None:
        self.counts.learned += learned
        self.counts.received += received
        self.counts.replaced += replaced
        if self.on_templates is not None:
            self.on_templates(learned=learned, received=received, replaced=replaced)

    def _failed_store(self, operation: str) -> None:
        self.counts.store_errors += 1
        if self.on_store_error is not None:
            self.on_store_error(operation)


def _representatives(texts: Texts, headers: Headers, matches: Matches, asked: Collection[bytes], width: int) -> Chosen:
    """Choose at most `width` messages that were not asked for, of distinct fingerprints first."""
    missing = _missing(texts, matches)
    _, first = np.unique(matches.fingerprint[missing], return_index=True)
    chosen: Chosen = {}
    for rows in (missing[np.sort(first)], missing):
        for row in rows.tolist():
            message = message_of(texts, headers, row)
            if message not in asked and message not in chosen:
                chosen[message] = row
                if len(chosen) == width:
                    return chosen
        if chosen:
            return chosen
    return chosen


def _missing(texts: Texts, matches: Matches) -> I64:
    return np.flatnonzero((matches.template < 0) & (texts.length >= 0))


def message_of(texts: Texts, headers: Headers, row: int) -> bytes:
    """Take the message of a row."""
    start = int(headers.message_start[row])
    return texts.buffer[start : start + int(headers.message_length[row])].tobytes()
