"""The templates of one scope in this process, bounded. Knows nothing of Redis and of the model."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import or_
from typing import Protocol
from weakref import WeakSet

import numpy as np

from worker.columns.layout import I64, Headers, Matches, Texts
from worker.columns.matching import TemplateTable
from worker.parsing.message_types import Typer
from worker.parsing.templates import Template

#: One table serves one scope.
_SCOPE = 0
#: A full cache gives up this share of its templates at once, the least recently used, but not so many that others wait.
_EVICTED_SHARE, _MOST_EVICTED = 16, 256
#: Rows beyond the limit for templates that batches in work still need: none of theirs is evicted.
_HEADROOM = 1 << 17


class KnowsRows(Protocol):
    """What must know the template of each row: an event writer, or what stands before one."""

    def set_template(self, row: int, template: Template) -> None:
        """Let `row` of the template table be `template` from now on."""
        ...

    def clear_template(self, row: int) -> None:
        """Forget the template in `row`, if there is one."""
        ...


class TemplateCache:
    """A table of templates, and the event writers that must know the same rows."""

    def __init__(
        self,
        *,
        max_templates: int,
        max_fingerprints: int,
        parameter_names: Mapping[str, Sequence[str]] | None = None,
        typer: Typer | None = None,
    ) -> None:
        """Prepare an empty cache. `parameter_names`: a template's text or id to the names that its parameters get.

        `typer` decides the message type of each template as it comes, whichever worker found it: a changed list of
        types holds from the start on for those that are known, too.
        """
        # Pages that are never touched cost no memory.
        self._table = TemplateTable(capacity=max_templates + _HEADROOM, fingerprint_capacity=max_fingerprints)
        self._capacity = max_templates
        #: Messages of the template in each row, how many of them were long ago, and how many rows ever had one.
        self._messages, self._former = np.zeros((2, max_templates + _HEADROOM), np.int64)
        self._highest = 0
        # A writer goes when its source has another: only a batch that still waits holds on to it.
        self._writers: WeakSet[KnowsRows] = WeakSet()
        self._parameter_names = dict(parameter_names or {})
        self._typer = typer
        #: By id, what a person pinned, and what was learned under the ids of these.
        self._pins: dict[str, Template] = {}
        self._learned: dict[str, Template] = {}
        self._in_use: Counter[int] = Counter()
        #: Rows of templates that were removed, which batches in work may still need.
        self._hidden: list[int] = []

    def __len__(self) -> int:
        return len(self._table)

    def attach(self, writer: KnowsRows) -> None:
        """Let `writer` know every template from now on."""
        for row in self._table.rows(_SCOPE):
            writer.set_template(row, self._table.template(row))
        self._writers.add(writer)

    def add(self, template: Template) -> int:
        """Keep `template` and return its row; a full cache first forgets those that were not used for longest."""
        if len(self._table) >= self._capacity:
            self._evict()
        if template.id in self._pins:
            self._learned[template.id] = replace(template, candidate=None)
        return self._keep(template)

    def _keep(self, template: Template) -> int:
        named = replace(self._named(template), candidate=None)
        row = self._table.add(named if self._typer is None else self._typer.typed(named), _SCOPE)
        for writer in self._writers:
            writer.set_template(row, self._table.template(row))
        return row

    def look_up(
        self, texts: Texts, headers: Headers, *, only: Matches | None = None, tier: int | None = None
    ) -> Matches:
        """Find the template of each row; with `only`, of its misses, which then get `tier`."""
        if only is None or tier is None:
            return self._table.look_up(texts, headers, _SCOPE)
        return self._table.look_up(texts, headers, _SCOPE, only=only, tier=tier)

    def count(self, rows: I64) -> Counter[str]:
        """Count messages whose rows, (n,), are in use; return how many have which type, empty for none."""
        counts = np.bincount(rows)
        self._highest = max(self._highest, counts.size)
        used = np.flatnonzero(counts)
        self._messages[used] += counts[used]
        types = Counter[str]()
        for row in used.tolist():
            types[self._table.template(row).type] += int(counts[row])
        return types

    def most_used(self, most: int) -> dict[Template, int]:
        """Return the templates that most messages of late had, at most `most`, with all messages since they came."""
        lately = self._messages[: self._highest] - self._former[: self._highest]
        chosen = np.argpartition(-lately, most)[:most] if most < lately.size else np.arange(lately.size)
        rows = [row for row in chosen.tolist() if lately[row]]
        # A hidden row may have a successor of the same id.
        return {
            template: int(self._messages[row])
            for row in rows
            if self._table.row_of((template := self._table.template(row)).id, _SCOPE) == row
        }

    def fade(self) -> None:
        """Let half of the messages of late be long ago."""
        former = self._former[: self._highest]
        former += (self._messages[: self._highest] - former + 1) // 2

    def remove(self, template_id: str) -> None:
        """Let no message find a template any more; what was found keeps it for as long as a batch is in work.

        A pinned one stays.
        """
        if template_id in self._pins:
            self._learned.pop(template_id, None)
        else:
            self._hide(template_id)

    def _hide(self, template_id: str) -> None:
        row = self._table.row_of(template_id, _SCOPE)
        if row is not None:
            self._table.hide(row)
            self._hidden.append(row)
            self._release_hidden()

    @property
    def pins(self) -> Mapping[str, Template]:
        """Templates that a person pinned, by id."""
        return self._pins

    def pin(self, template: Template) -> None:
        """Keep `template` with the names that it has, whatever is learned and however little it is used."""
        known = self.find(template.id)
        if known is not None and template.id not in self._pins:
            self._learned[template.id] = known
        if known is not None:
            template = replace(template, spacious=tuple(map(or_, template.spacious, known.spacious)))
        self._pins[template.id] = template
        self._hide(template.id)  # a name that it had would stay where it has none now
        self._keep(template)

    def unpin(self, template_id: str) -> None:
        """Go back to what was learned."""
        if self._pins.pop(template_id, None) is not None:
            self._hide(template_id)
            if (learned := self._learned.pop(template_id, None)) is not None:
                self._keep(learned)

    def template(self, row: int) -> Template:
        """Return the template of a row that was found. Raises KeyError for a free one."""
        return self._table.template(row)

    def find(self, template_id: str) -> Template | None:
        """Return a template by its id, None if it is not here."""
        row = self._table.row_of(template_id, _SCOPE)
        return None if row is None else self._table.template(row)

    def without_removed(self, matches: Matches) -> Matches:
        """Make misses of the rows of `matches` whose templates were removed."""
        return self._table.without_hidden(matches)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep what is looked up inside from being evicted: rows of matches stay what they are."""
        tick = self._table.tick
        self._in_use[tick] += 1
        try:
            yield
        finally:
            self._in_use[tick] -= 1
            if not self._in_use[tick]:
                del self._in_use[tick]
            self._release_hidden()

    def templates(self) -> list[Template]:
        """Return all templates in the order in which they came; pinned ones as they were learned, if they were."""
        kept = (self._table.template(row) for row in self._table.rows(_SCOPE))
        return [
            self._learned.get(template.id, template)
            for template in kept
            if template.id not in self._pins or template.id in self._learned
        ]

    def has_given_names(self, template: Template) -> bool:
        """Tell whether the settings name the parameters of a template, instead of the model."""
        return bool(self._parameter_names.keys() & {template.text, template.id})

    def _evict(self) -> None:
        before = min(self._in_use, default=self._table.tick + 1)
        too_many = len(self._table) - self._capacity
        share = min(max(self._capacity // _EVICTED_SHARE, 1), _MOST_EVICTED)
        for row in self._table.evict(too_many + share, before=before):
            self._forget(row)
        for pin in self._pins.values():
            if self.find(pin.id) is None:
                self._keep(pin)

    def _release_hidden(self) -> None:
        if self._in_use:
            return
        for row in self._hidden:
            self._table.release(row)
            self._forget(row)
        self._hidden.clear()

    def _forget(self, row: int) -> None:
        """Let a row that has become free be any template's."""
        self._messages[row] = self._former[row] = 0
        for writer in self._writers:
            writer.clear_template(row)

    def _named(self, template: Template) -> Template:
        names = self._parameter_names.get(template.text) or self._parameter_names.get(template.id)
        if names is None:
            pin = self._pins.get(template.id)
            return template if pin is None else replace(template, names=pin.names)
        given = [*names, *template.names[len(names) :]][: len(template.names)]
        return replace(template, names=tuple(given))
