"""What becomes of a miss: Redis may know its template, else the model finds one, and everyone learns it."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from worker.cache.templates import TemplateCache
from worker.columns.layout import I64, TIER_MODEL, TIER_STORE, Headers, Matches, Texts
from worker.errors import StoreUnavailable
from worker.parsing.microbatch import MicroBatcher

if TYPE_CHECKING:  # the command line parses files without Redis, and without its client
    from worker.cache.store import News, TemplateStore

#: Messages for the model, each with the first of its rows.
Chosen = dict[bytes, int]

#: Messages asked for at first; most lines of a cold batch share few templates, so a few answers settle many.
_FIRST_REPRESENTATIVES = 32
#: Messages that the model found no template for and that are remembered, so that it isn't asked again.
_REMEMBERED_FAILURES = 1_024


@dataclass(slots=True, kw_only=True)
class MissCounts:
    """What happened to misses since the start."""

    #: Messages that went to the model.
    asked: int = 0
    #: New templates that the model gave.
    learned: int = 0
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
    #: The model; None where there is none: misses that Redis can't answer stay misses.
    model: MicroBatcher | None
    #: The scope in Redis: sources that share it share templates.
    scope: str
    prompt: str | None = None
    #: Told of the operation that Redis did not answer.
    on_store_error: Callable[[str], None] | None = None
    counts: MissCounts = field(default_factory=MissCounts)
    _failed: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    async def resolve(self, texts: Texts, headers: Headers, matches: Matches) -> Matches:
        """Return `matches` with every row filled that a template was found for; the others are unparsable."""
        missing = _missing(texts, matches)
        if missing.size == 0:
            return matches
        matches = await self._ask_store(texts, headers, matches, missing)
        width, asked = _FIRST_REPRESENTATIVES, set(self._failed)
        while self.model is not None:
            chosen = _representatives(texts, headers, matches, asked, width)
            if not chosen:
                break
            matches = await self._ask_model(self.model, texts, headers, matches, chosen)
            asked.update(chosen)
            self._remember_failures(chosen, matches)
            width *= 2
        return matches

    async def warm_up(self) -> int:
        """Load the scope's templates from Redis and return how many there are. Raises StoreUnavailable."""
        if self.store is None:
            return 0
        news = await self.store.load(self.scope)
        await self.receive(news)
        return len(news.templates)

    async def receive(self, news: "News") -> None:
        """Learn what other workers found, forget what an operator removed; give a Redis that lost everything its own.

        Both are done before anything is awaited. Raises StoreUnavailable.
        """
        for template in news.templates:
            self.cache.add(template)
        for template_id in news.removed:
            self.cache.remove(template_id)
        self.counts.received += len(news.templates)
        if news.was_emptied:
            await self._restore()

    async def _restore(self) -> None:
        """Write everything to Redis, whatever others publish meanwhile."""
        templates = [(template, 0) for template in self.cache.templates()]
        while self.store is not None and not (news := await self.store.publish(self.scope, templates)).is_written:
            await self.receive(news)

    async def _ask_store(self, texts: Texts, headers: Headers, matches: Matches, missing: I64) -> Matches:
        if self.store is None:
            return matches
        fingerprints = np.unique(matches.fingerprint[missing]).tolist()
        try:
            await self.receive(await self.store.find(self.scope, fingerprints))
        except StoreUnavailable:
            self._failed_store("find")
        # In any case: others may have learned, or brought news from Redis, while this one waited.
        return self.cache.look_up(texts, headers, only=matches, tier=TIER_STORE)

    async def _ask_model(
        self, model: MicroBatcher, texts: Texts, headers: Headers, matches: Matches, chosen: Chosen
    ) -> Matches:
        self.counts.asked += len(chosen)
        templates = await model.templates(list(chosen), prompt=self.prompt)
        learned = [(one, row) for one, row in zip(templates, chosen.values(), strict=True) if one is not None]
        while self.store is not None and learned:
            # Two workers that miss the same message at once end with one template: the first one's.
            matches = self.cache.look_up(texts, headers, only=matches, tier=TIER_STORE)
            learned = [(template, row) for template, row in learned if matches.template[row] < 0]
            try:
                fingerprinted = [(template, int(matches.fingerprint[row])) for template, row in learned]
                news = await self.store.publish(self.scope, fingerprinted)
                if news.is_written:
                    break
                await self.receive(news)
            except StoreUnavailable:
                self._failed_store("publish")  # it keeps them and writes them when Redis is back
                break
        self.counts.learned += len({template.id for template, _ in learned})
        for template, _ in learned:
            self.cache.add(template)
        return self.cache.look_up(texts, headers, only=matches, tier=TIER_MODEL)

    def _failed_store(self, operation: str) -> None:
        self.counts.store_errors += 1
        if self.on_store_error is not None:
            self.on_store_error(operation)

    def _remember_failures(self, chosen: Chosen, matches: Matches) -> None:
        for message, row in chosen.items():
            if matches.template[row] < 0:
                self._failed[message] = None
        while len(self._failed) > _REMEMBERED_FAILURES:
            self._failed.popitem(last=False)


def _representatives(texts: Texts, headers: Headers, matches: Matches, asked: Collection[bytes], width: int) -> Chosen:
    """Choose at most `width` messages that were not asked for, of distinct fingerprints first."""
    missing = _missing(texts, matches)
    _, first = np.unique(matches.fingerprint[missing], return_index=True)
    chosen: Chosen = {}
    for rows in (missing[np.sort(first)], missing):
        for row in rows.tolist():
            message = _message(texts, headers, row)
            if message not in asked and message not in chosen:
                chosen[message] = row
                if len(chosen) == width:
                    return chosen
        if chosen:
            return chosen
    return chosen


def _missing(texts: Texts, matches: Matches) -> I64:
    return np.flatnonzero((matches.template < 0) & (texts.length >= 0))


def _message(texts: Texts, headers: Headers, row: int) -> bytes:
    start = int(headers.message_start[row])
    return texts.buffer[start : start + int(headers.message_length[row])].tobytes()
