"""What settling reads: messages as the model cut them, split into tokens."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from worker.parsing.spans import Span, later_lines
from worker.parsing.templates import Template, encoded

#: Stands for a parameter in the form of a token.
VARIABLE = "\0"
#: No judgement of the model counts for more than this; a label counts for twice as much.
MOST_ODDS = 6.0
#: Stands for all lines after a message's first, which are one parameter.
_LATER_LINES = "\n\n"
#: White space, a mark that ends a field, or what stands between them.
_TOKEN = re.compile(r"\s+|[,!;:=|\"'\[\](){}]|[^\s,!;:=|\"'\[\](){}]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A message as it was cut, before its neighbours are asked."""

    text: str
    #: Parameters, in characters, ascending.
    spans: tuple[Span, ...]
    #: Stretches that the model judged by themselves, ascending, and the log-odds that each is variable.
    units: Sequence[Span] = ()
    odds: Sequence[float] = ()
    #: Whether a person said so.
    is_given: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A candidate as tokens."""

    candidate: Candidate
    #: Where each token stands, and its text; white space is one blank.
    places: list[Span]
    words: list[str]

    @cached_property
    def forms(self) -> list[str]:
        """Each token with a mark, `VARIABLE`, in the place of its parameters."""
        text, spans, number = self.candidate.text, self.candidate.spans, 0
        forms = []
        for start, end in self.places:
            form, place = "", start
            while number < len(spans) and spans[number][0] < end:
                left, right = spans[number]
                form += text[place:left] + VARIABLE
                place = min(right, end)
                if right > end:
                    break
                number += 1
            forms.append(form + text[place:end])
        return forms

    @cached_property
    def odds(self) -> list[float]:
        """The log-odds that each token is variable: of its units with letters or digits, if it has any."""
        candidate = self.candidate
        if candidate.is_given:
            return [2 * MOST_ODDS if VARIABLE in form else -2 * MOST_ODDS for form in self.forms]
        odds, at = list[float](), 0
        for start, end in self.places:
            inside, lettered = list[float](), list[float]()
            while at < len(candidate.units) and candidate.units[at][0] < end:
                if candidate.units[at][1] > start:
                    inside.append(candidate.odds[at])
                    if candidate.text[candidate.units[at][0]].isalnum():
                        lettered.append(candidate.odds[at])
                at += 1
            judged = lettered or inside
            mean = math.fsum(judged) / len(judged) if judged else -MOST_ODDS
            if self.words[len(odds)] == _LATER_LINES:
                mean = MOST_ODDS
            odds.append(min(MOST_ODDS, max(-MOST_ODDS, mean)))
        return odds


def matched(template: Template, text: str) -> tuple[Span, ...] | None:
    """Find the parameters of a template in a message, in characters; None where it does not match."""
    match = template.match(encoded(text))
    if match is None or text.isascii():
        return match
    ends = [0]
    for character in text:
        ends.append(ends[-1] + len(encoded(character)))
    place = {end: number for number, end in enumerate(ends)}
    return tuple((place[start], place[end]) for start, end in match)


def row_of(candidate: Candidate) -> Row:
    """Split a candidate into tokens; lines after the first that are a parameter are one token."""
    text, later = candidate.text, later_lines(candidate.text)
    is_cut = bool(later) and later[0] in candidate.spans
    places = [token.span() for token in _TOKEN.finditer(text, 0, later[0][0] if is_cut else len(text))]
    words = [" " if text[start:end].isspace() else text[start:end] for start, end in places]
    if is_cut:
        places, words = [*places, *later], [*words, _LATER_LINES]
    return Row(candidate=candidate, places=places, words=words)
