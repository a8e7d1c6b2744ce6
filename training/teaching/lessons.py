"""What a few labelled lines teach: every line of the unlabelled log that a labelled template matches is a lesson too.

The values of such a lesson are sometimes replaced by others of their kind, so that the model learns the place of a
parameter rather than what stood there.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from training.labels import Pair, aligned, collapsed
from worker.parsing.known import KnownTemplates
from worker.parsing.parser import cut_template
from worker.parsing.spans import Span
from worker.parsing.templates import Template, decoded, encoded
from worker.parsing.types import parameter_type

_DIGIT = re.compile(r"\d")
_SIGNABLE = "integer"
#: Drawings of other digits, of which one mostly is of the value's type.
_MOST_DRAWINGS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A message, the parameters in it, and how often it is shown."""

    text: str
    #: In characters, ascending; never empty.
    spans: tuple[Span, ...]
    weight: float


def shot_templates(shots: Iterable[Pair]) -> list[Template]:
    """Make the templates that labelled lines stand for; a parameter may hold white space if it does in one of them.

    A pair that does not align gives none: `labels.complaint` tells why beforehand.
    """
    found: dict[str, Template] = {}
    for pair in shots:
        spans = aligned(pair.message, pair.template)
        if spans is not None:
            cut = cut_template(encoded(pair.message), pair.message, spans, 1.0)
            found[cut.id] = widened(found.get(cut.id, cut), cut)
    return list(found.values())


def widened(template: Template, other: Template) -> Template:
    """Let the parameters of a template hold white space where those of another, which is equal but for that, may."""
    spacious = tuple(one or another for one, another in zip(template.spacious, other.spacious, strict=True))
    return replace(template, spacious=spacious)


def matched_lines(log: Iterable[str], shots: Sequence[Pair]) -> dict[str, dict[str, Template]]:
    """Find the different lines of a log that a labelled template matches, but for the labelled lines themselves.

    Returns, by label and then by line, sorted, the template that matches.
    """
    known = KnownTemplates(shot_templates(shots))
    label_of = {template.id: collapsed(pair.template) for pair in shots for template in shot_templates([pair])}
    lines: dict[str, dict[str, Template]] = defaultdict(dict)
    for message in sorted(set(log) - {pair.message for pair in shots}):
        template = known.find(encoded(message))
        if template is not None:
            lines[label_of[template.id]][message] = template
    return lines


def lessons(log: Iterable[str], shots: Sequence[Pair], *, per_template: int, seed: int) -> list[Lesson]:
    """Find the lessons of a source: at most `per_template` different lines of each template, all templates alike."""
    by_template: dict[str, dict[str, tuple[Span, ...]]] = defaultdict(dict)
    # The labelled lines come first, by their own labels.
    for pair in shots:
        spans = aligned(pair.message, pair.template)
        if spans is not None:
            by_template[collapsed(pair.template)][pair.message] = tuple(span for span in spans if span[0] < span[1])
    for label, matched in matched_lines(log, shots).items():
        for message, template in matched.items():
            found = character_spans(message, template)
            by_template[label][message] = tuple(span for span in found if span[0] < span[1])
    given = {pair.message for pair in shots}
    rng = random.Random(seed)
    chosen: list[Lesson] = []
    for _, lines in sorted(by_template.items()):
        first = [message for message in lines if message in given]
        others = [message for message in lines if message not in given]
        kept = [*first, *rng.sample(others, min(len(others), max(0, per_template - len(first))))]
        chosen += [Lesson(text=message, spans=lines[message], weight=1 / len(kept)) for message in kept]
    return chosen


def character_spans(message: str, template: Template) -> list[Span]:
    """Cut a message by a template that matches it."""
    raw = encoded(message)
    spans = template.match(raw) or ()
    if message.isascii():
        return list(spans)
    return [(len(decoded(raw[:start])), len(decoded(raw[:end]))) for start, end in spans]


class Variations:
    """Replaces values in lessons by others of their type. The same seed varies alike."""

    def __init__(self, of: Iterable[Lesson], *, share: float, seed: int) -> None:
        """Vary a `share` of the values, with the values of all lessons `of` a source at hand."""
        self._share = share
        self._rng = random.Random(seed)
        pool: dict[str, dict[str, None]] = defaultdict(dict)
        for lesson in of:
            for start, end in lesson.spans:
                value = lesson.text[start:end]
                pool[_type(value)][value] = None
        self._pool = {kind: tuple(values) for kind, values in pool.items()}

    def varied(self, lesson: Lesson) -> Lesson:
        """Replace some values of a lesson."""
        text, spans, at = "", list[Span](), 0
        for start, end in lesson.spans:
            text += lesson.text[at:start]
            value = lesson.text[start:end]
            if self._rng.random() < self._share:
                value = self._other(value)
            spans.append((len(text), len(text) + len(value)))
            text, at = text + value, end
        return Lesson(text=text + lesson.text[at:], spans=tuple(spans), weight=lesson.weight)

    def _other(self, value: str) -> str:
        """Choose another value of its type that the log has, or change its digits."""
        kind = _type(value)
        others = self._pool.get(kind, ())
        if not _DIGIT.search(value) or (len(others) > 1 and self._rng.random() < 0.5):
            return self._rng.choice(others) if others else value
        drawings = (_DIGIT.sub(lambda _: str(self._rng.randrange(10)), value) for _ in range(_MOST_DRAWINGS))
        changed = next((drawn for drawn in drawings if _type(drawn) == kind), value)
        if kind == _SIGNABLE and self._rng.random() < 0.1:
            changed = changed.lstrip("-") if changed.startswith("-") else f"-{changed}"
        return changed


def _type(value: str) -> str:
    return parameter_type(encoded(value))
