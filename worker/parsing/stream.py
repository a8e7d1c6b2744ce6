"""What the misses of a source settle on as they come. Knows nothing of caches and of Redis.

Every miss leaves a candidate: its message, with what the model thought of each piece. All of them settle together anew
(`settling`) when more came, and templates that no candidate holds any more are replaced by those that their candidates
went to. The same misses in the same order give the same templates.

A cached template answers its messages, which then never come here: a value taken for a constant shows in as many
templates that differ in one place, and these merge; of a template that takes too much the first message alone is here,
and it splits only where another miss comes near. Labels and pinned templates never change.
"""

import hashlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import or_
from typing import Protocol

from worker.parsing.checkpoint import PIECES
from worker.parsing.parser import cut_template
from worker.parsing.rows import Candidate, Row, matched, row_of
from worker.parsing.settling import settle_rows
from worker.parsing.templates import Template, encoded

#: All candidates settle again with every miss while they are few, later when so large a share of them is new.
_FEW = 100
_GROWTH = 0.1
#: What is left where candidates are too many, so that not every miss makes some go.
_KEPT = 0.9
#: Replacements by others that are remembered.
_MOST_REMEMBERED = 100_000


class Naming(Protocol):
    """What a stream asks of the parser whose cuts it settles."""

    def cuts_of(self, prompt: str | None) -> str:
        """Tell how messages are cut under a prompt, one of CUTS."""
        ...

    def named(self, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
        """Name the parameters of templates that have no name, each by a message that it matches."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What new misses changed."""

    #: Each miss's template, in their order.
    answers: tuple[Template, ...]
    #: What is new beside these, or may hold white space in more parameters.
    others: tuple[Template, ...]
    #: By the id of each template that no message has any more, that which took its place.
    replaced: Mapping[str, str]


@dataclass(slots=True, kw_only=True, eq=False)
class _Heard:
    """A candidate and its template."""

    row: Row
    #: Drawn for the message, the same wherever it is drawn: the lowest of a template stay longest.
    lot: bytes
    template: Template

    def give(self) -> None:
        """Take the template for what a person said of the message."""
        candidate = self.row.candidate
        if not candidate.is_given:
            spans = matched(self.template, candidate.text) or ()
            self.row = row_of(replace(candidate, spans=spans, is_given=True))


class Stream:
    """The candidates of one source, bounded, and the templates that they settle on. Not for several threads at once."""

    def __init__(
        self,
        parser: Naming,
        *,
        prompt: str | None = None,
        diversity: float = 2.0,
        max_candidates: int = 2_000,
        max_characters: int = 2**20,
        pinned: Collection[str] = (),
    ) -> None:
        """Keep at most `max_candidates` messages, of `max_characters` together; those of rare templates stay.

        `pinned` names templates, by text or id, that stay as they are once they are found.
        """
        self._parser = parser
        self._prompt = prompt
        self._diversity = diversity
        self._max_candidates = max_candidates
        self._max_characters = max_characters
        self._pinned = frozenset(pinned)
        #: Ids of those that came and may go.
        self._pins: set[str] = set()
        self._heard: dict[str, _Heard] = {}
        #: Ids of labels and of pinned templates that were found.
        self._fixed: set[str] = set()
        #: What others replaced, by id, with what took its place.
        self._gone: OrderedDict[str, Template] = OrderedDict()
        self._unsettled = 0

    def __len__(self) -> int:
        return len(self._heard)

    @property
    def characters(self) -> int:
        """Characters of all candidates' messages."""
        return sum(map(len, self._heard))

    def hear(self, misses: Sequence[Template]) -> Change:
        """Take in what the model cut, each with its candidate, and tell what changes. What has none stays as it is."""
        before = [(heard, heard.template) for heard in self._heard.values()]
        for miss in misses:
            if miss.candidate is not None:
                self._take(miss, miss.candidate)
        enough = _GROWTH * len(self._heard) if len(self._heard) > _FEW else 0
        if self._unsettled > enough or self._is_full:
            self._settle()
        answers = [self._answer(miss) for miss in misses]
        known = {template.id: template for _, template in before}
        after = {heard.template.id: heard.template for heard in self._heard.values()}
        answered = {answer.id for answer in answers}
        others = [
            template
            for template_id, template in after.items()
            if template_id not in answered and not _covers(known.get(template_id), template)
        ]
        moves: dict[str, Counter[str]] = defaultdict(Counter)
        for heard, template in before:
            if template.id not in after and template.id not in self._fixed:
                moves[template.id][heard.template.id] += 1
        if self._is_full:
            self._forget()
        return Change(
            answers=tuple(answers),
            others=tuple(others),
            replaced={old: min(new, key=lambda one: (-new[one], one)) for old, new in moves.items()},
        )

    def replace(self, template_id: str, other: Template) -> None:
        """Learn that another worker put `other` in a template's place: it is not brought back by what is heard here."""
        self._gone.pop(other.id, None)
        self._gone[template_id] = other
        while len(self._gone) > _MOST_REMEMBERED:
            self._gone.popitem(last=False)
        for heard in self._heard.values():
            if heard.template.id == template_id:
                heard.template = self._standing(heard.template, encoded(heard.row.candidate.text))

    def pin(self, template_id: str) -> None:
        """Let a template stay as it is from now on, whoever replaced it."""
        self._pins.add(template_id)
        self._gone.pop(template_id, None)
        for heard in self._heard.values():
            if heard.template.id == template_id:
                self._fixed.add(template_id)
                heard.give()

    def unpin(self, template_id: str) -> None:
        """Let a template go when others settle; what was heard of it stays as it is."""
        self._pins.discard(template_id)

    def restore(self, template_id: str) -> None:
        """Learn that another worker brought a template back."""
        self._gone.pop(template_id, None)

    def forget(self, template_id: str) -> None:
        """Forget a template that an operator removed, with its candidates."""
        self._heard = {text: heard for text, heard in self._heard.items() if heard.template.id != template_id}

    def _take(self, miss: Template, candidate: Candidate) -> None:
        if candidate.text in self._heard:
            return
        message = encoded(candidate.text)
        lot = hashlib.blake2b(message, digest_size=8).digest()
        template = self._standing(replace(miss, candidate=None), message)
        self._heard[candidate.text] = _Heard(row=row_of(candidate), lot=lot, template=template)
        self._unsettled += 1
        if candidate.is_given:
            self._fixed.add(miss.id)

    def _answer(self, miss: Template) -> Template:
        return miss if miss.candidate is None else self._heard[miss.candidate.text].template

    def _settle(self) -> None:
        """Give every candidate the template that all agree on."""
        heard = list(self._heard.values())
        is_tidied = self._parser.cuts_of(self._prompt) != PIECES
        cuts = settle_rows([one.row for one in heard], diversity=self._diversity, is_tidied=is_tidied)
        made: dict[str, Template] = {}
        for one in heard:
            made[one.template.id] = _joined(made.get(one.template.id, one.template), one.template)
        named = set(made)
        first: dict[str, bytes] = {}
        for one, cut in zip(heard, cuts, strict=True):
            text = one.row.candidate.text
            message = encoded(text)
            template = cut_template(message, text, cut, one.template.confidence)
            if one.row.candidate.is_given or template.match(message) is None:
                continue
            made[template.id] = _joined(made.get(template.id, template), template)
            first.setdefault(template.id, message)
            one.template = template
        unnamed = [template_id for template_id in first if template_id not in named]
        names = self._parser.named([first[one] for one in unnamed], [made[one] for one in unnamed])
        made |= {template.id: template for template in names if template is not None}
        for one in heard:
            one.template = self._standing(made[one.template.id], encoded(one.row.candidate.text))
            if one.template.id in self._pins or self._pinned & {one.template.id, one.template.text}:
                self._fixed.add(one.template.id)
                one.give()
        self._unsettled = 0

    def _standing(self, template: Template, message: bytes) -> Template:
        """Follow a template that others replaced to what stands in its place, as far as that matches."""
        seen = set[str]()
        while template.id in self._gone and template.id not in seen:
            seen.add(template.id)
            other = self._gone[template.id]
            if other.match(message) is None:
                break
            template = other
        return template

    @property
    def _is_full(self) -> bool:
        return len(self._heard) > self._max_candidates or self.characters > self._max_characters

    def _forget(self) -> None:
        """Keep the bounds: the more candidates a template has the sooner they go, by lot.

        The few that stay would not settle on it again, so that they are given from now on.
        """
        taken = Counter[str]()
        ranked = list[tuple[int, bytes, str]]()
        for text, heard in sorted(self._heard.items(), key=lambda item: item[1].lot):
            ranked.append((taken[heard.template.id], heard.lot, text))
            taken[heard.template.id] += 1
        kept, size = set[str](), 0
        for _, _, text in sorted(ranked)[: int(_KEPT * self._max_candidates)]:
            size += len(text)
            if size > _KEPT * self._max_characters:
                break
            kept.add(text)
        thinned = {heard.template.id for text, heard in self._heard.items() if text not in kept}
        self._heard = {text: heard for text, heard in self._heard.items() if text in kept}
        for heard in self._heard.values():
            if heard.template.id in thinned:
                heard.give()


def _covers(known: Template | None, template: Template) -> bool:
    """Tell whether a template is known, its parameters as wide."""
    return known is not None and _joined(known, template).spacious == known.spacious


def _joined(one: Template, other: Template) -> Template:
    """Put two of the same id together: a parameter holds white space if either's may."""
    return replace(
        one,
        spacious=tuple(map(or_, one.spacious, other.spacious)),
        confidence=max(one.confidence, other.confidence),
    )
