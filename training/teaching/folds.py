"""Labelled templates split into folds, and how well a parser that learned from some cuts the lines of the others.

Nothing but what was labelled is looked at: a fold keeps whole templates, so that a parser which learned them by heart
gains nothing.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from training.labels import Pair, aligned, collapsed, text_of
from training.teaching.core import Source
from training.teaching.lessons import matched_lines
from worker.errors import WrongSettings
from worker.parsing.parser import EncoderParser
from worker.parsing.settling import Candidate
from worker.parsing.spans import Span
from worker.parsing.templates import encoded

#: Labelled templates of a source, at least, and from how many on there are three folds instead of two.
_FEWEST, _FOR_THREE = 4, 6
#: Lines of a kept template that are parsed beside the labelled ones, and lines of a taught one that are at hand.
_KEPT_LINES, _TAUGHT_LINES = 8, 200
#: How much the loss moves the score: less than one line does.
_LOSS_SHARE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLine:
    """A line of a fold, which no trial learns from."""

    source: str
    message: str
    template: str
    spans: tuple[Span, ...]
    #: All lines of a template weigh 1 together.
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A split of what was labelled: what is taught, and the lines of the other templates."""

    taught: tuple[Source, ...]
    kept: tuple[KeptLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a configuration did on kept lines."""

    #: Share of the lines whose template is exactly the labelled one, each template alike.
    exact: float
    #: Mean cross-entropy of each piece being variable or not.
    loss: float

    @property
    def value(self) -> float:
        """The one figure that is searched for: the exact share; the loss decides where that is equal."""
        return self.exact - _LOSS_SHARE * (1 - 1 / (1 + self.loss))

    @classmethod
    def mean(cls, scores: Sequence[Self]) -> Self:
        """Average the scores of folds."""
        return cls(
            exact=float(np.mean([one.exact for one in scores])), loss=float(np.mean([one.loss for one in scores]))
        )


def folds_of(sources: Sequence[Source], seed: int) -> list[Fold]:
    """Split the labelled templates of each source into two folds, or into three where there are enough.

    Raises:
        WrongSettings: a source has fewer than four labelled templates.

    """
    labelled = [_Labelled(source, seed) for source in sources]
    for one in labelled:
        if len(one.templates) < _FEWEST:
            raise WrongSettings(
                f"{one.source.name} has {len(one.templates)} labelled templates: {_FEWEST} are the fewest that can be "
                "split into those to learn from and those to measure on. Label more lines, or take the defaults."
            )
    count = 3 if min(len(one.templates) for one in labelled) >= _FOR_THREE else 2
    return [
        Fold(
            taught=tuple(one.without(number, count) for one in labelled),
            kept=tuple(line for one in labelled for line in one.kept(number, count)),
        )
        for number in range(count)
    ]


def narrowed(source: Source, seed: int) -> Source:
    """Leave of a source's log what a search can use: lines that its labelled templates match, not all of them."""
    return _Labelled(source, seed).without(-1, 1)


class _Labelled:
    """The labelled templates of a source in random order, each with its lines."""

    def __init__(self, source: Source, seed: int) -> None:
        self.source = source
        self.templates = sorted({collapsed(pair.template) for pair in source.shots})
        rng = random.Random(seed)
        rng.shuffle(self.templates)
        self._shots: dict[str, list[Pair]] = defaultdict(list)
        for pair in source.shots:
            self._shots[collapsed(pair.template)].append(pair)
        self._lines = {
            template: rng.sample(list(lines), min(len(lines), _TAUGHT_LINES))
            for template, lines in matched_lines(source.log, source.shots).items()
        }

    def without(self, number: int, count: int) -> Source:
        """Give the source without a fold, neither its labels nor lines of its templates; -1 is no fold."""
        rest = [template for place, template in enumerate(self.templates) if place % count != number]
        return replace(
            self.source,
            log=[message for template in rest for message in self._lines.get(template, ())],
            shots=[pair for template in rest for pair in self._shots[template]],
        )

    def kept(self, number: int, count: int) -> Iterator[KeptLine]:
        """Yield the lines of a fold: the labelled ones, and some that their templates match."""
        for template in self.templates[number::count]:
            labelled = list(dict.fromkeys(pair.message for pair in self._shots[template]))
            messages = [*labelled, *self._lines.get(template, [])[:_KEPT_LINES]]
            for message in messages:
                yield KeptLine(
                    source=self.source.name,
                    message=message,
                    template=template,
                    spans=aligned(message, template) or (),
                    weight=1 / len(messages),
                )


def score_of(parser: EncoderParser, kept: Sequence[KeptLine]) -> Score:
    """Parse kept lines, each under the prompt of its source, and compare."""
    messages = [encoded(line.message) for line in kept]
    prompts = [line.source for line in kept]
    templates = parser.parse(messages, prompt=prompts)
    is_exact = [
        found is not None and collapsed(text_of(found)) == line.template
        for found, line in zip(templates, kept, strict=True)
    ]
    losses = [math.nan] * len(kept)
    for source in dict.fromkeys(prompts):
        places = [place for place, name in enumerate(prompts) if name == source]
        for place, cut in zip(
            places, parser.candidates([messages[place] for place in places], prompt=source), strict=True
        ):
            losses[place] = math.nan if cut is None else _loss(cut, kept[place].spans)
    weights = np.array([line.weight for line in kept])
    has_loss = ~np.isnan(losses)
    return Score(
        exact=float(np.average(is_exact, weights=weights)),
        loss=float(np.average(np.array(losses)[has_loss], weights=weights[has_loss])) if has_loss.any() else math.inf,
    )


def _loss(cut: Candidate, spans: Sequence[Span]) -> float:
    """Compute the mean cross-entropy of a line's pieces; NaN for a line without any."""
    if not cut.units:
        return math.nan
    is_variable = [any(start < last and end > first for first, last in spans) for start, end in cut.units]
    return float(np.mean(np.logaddexp(0, np.where(is_variable, -1, 1) * np.array(cut.odds))))
