"""Templates of one source settle together: what single messages leave in doubt, their neighbours decide.

Messages that are alike but for one word are a neighbourhood of that word. Where they disagree on how the word is cut,
the cut that most of them support wins, as long as it fits; where some take the word for constant, it becomes a
parameter if the model's doubt and the number of different words there speak for it together. Given templates, a
person's labels, are never changed and outvote all others: where one cuts a word, so do its neighbours, and where one
keeps it, no neighbour's constant is doubted. The order of the messages decides nothing; linear in the words of all
messages a round.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.parsing.spans import Span

#: Stands for a parameter in the form of a word.
_VARIABLE = "\0"
_WORD = re.compile(r"\S+")
_MOST_ROUNDS = 3
#: Different words that must stand in one place before constants there are doubted.
_LEAST_DIFFERENT = 3


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


@dataclass(slots=True, kw_only=True, eq=False)
class _Row:
    """A candidate as words."""

    words: list[Span]
    texts: list[str]
    #: Each word with its parameters replaced by a mark: `user=\\0`.
    forms: list[str]
    #: Of each word, minus infinity where the model did not judge it.
    odds: list[float]
    is_given: bool
    has_changed: bool = False

    def change(self, word: int, form: str) -> None:
        """Cut a word by another form, unless that took the last constant letter: several words may change at once."""
        if _has_letter(self.forms, word) or any(map(str.isalpha, form)):
            self.forms[word] = form
            self.has_changed = True


def settle(candidates: Sequence[Candidate], *, diversity: float = 0.5) -> list[tuple[Span, ...]]:
    """Return the parameters of each candidate after all were heard.

    `diversity` weighs the logarithm of the number of different words in a place against the model's log-odds.
    A candidate with a parameter that holds white space, or none between white space, takes no part: its words have no
    fixed places.
    """
    rows = [_row(candidate) for candidate in candidates]
    taking_part = [row for row in rows if row is not None]
    for _ in range(_MOST_ROUNDS):
        changes = [change for place in _places(taking_part) for change in _unified(*place, diversity)]
        if not changes:
            break
        # By place in the message: where only one of two words may change, it is the first.
        for word, row, form in sorted(changes, key=lambda change: change[0]):
            row.change(word, form)
    return [
        candidate.spans if row is None or not row.has_changed else _spans(row)
        for candidate, row in zip(candidates, rows, strict=True)
    ]


def _row(candidate: Candidate) -> _Row | None:
    """Split a candidate into words; None where it can't take part."""
    words = [found.span() for found in _WORD.finditer(candidate.text)]
    forms = _forms(candidate, words)
    if forms is None or _VARIABLE in candidate.text:
        return None
    return _Row(
        words=words,
        texts=[candidate.text[start:end] for start, end in words],
        forms=forms,
        odds=_odds(candidate, words),
        is_given=candidate.is_given,
    )


def _forms(candidate: Candidate, words: Sequence[Span]) -> list[str] | None:
    """Give each word's form; parameters that touch are one. None where a parameter lies in no single word."""
    text, forms, number = candidate.text, list[str](), 0
    for first, last in words:
        form, place = "", first
        while number < len(candidate.spans) and first <= candidate.spans[number][0] <= last:
            start, end = candidate.spans[number]
            if end > last:
                return None
            form += text[place:start]
            form += "" if form.endswith(_VARIABLE) else _VARIABLE
            place, number = end, number + 1
        forms.append(form + text[place:last])
    return forms if number == len(candidate.spans) else None


def _odds(candidate: Candidate, words: Sequence[Span]) -> list[float]:
    """Take the mean of the odds of each word's units, of those that are no marks if it has any."""
    odds, at = list[float](), 0
    for first, last in words:
        inside, lettered = list[float](), list[float]()
        while at < len(candidate.units) and candidate.units[at][0] < last:
            start, end = candidate.units[at]
            if end > first:
                inside.append(candidate.odds[at])
                if candidate.text[start].isalnum():
                    lettered.append(candidate.odds[at])
            at += 1
        odds.append(_mean(lettered or inside) if inside else -math.inf)
    return odds


def _mean(values: Sequence[float]) -> float:
    """Take a mean that does not depend on the order."""
    return math.fsum(values) / len(values)


def _places(rows: Iterable[_Row]) -> Iterable[tuple[int, list[_Row]]]:
    """Group the rows that are alike but for one word; returns the word's number and the rows."""
    groups: dict[tuple[int, int, int], list[_Row]] = defaultdict(list)
    for row in rows:
        # A sum of the words' hashes, each with its place, tells all words but one by a subtraction.
        hashes = [hash((place, form)) for place, form in enumerate(row.forms)]
        total = sum(hashes)
        for place, one in enumerate(hashes):
            groups[len(hashes), place, total - one].append(row)
    return [(place, members) for (count, place, _), members in groups.items() if count > 1 and len(members) > 1]


def _unified(word: int, members: Sequence[_Row], diversity: float) -> Iterable[tuple[int, _Row, str]]:
    """Decide how `word` is cut in rows that are alike otherwise; yields (word, row, new form)."""
    by_form: dict[str, list[_Row]] = defaultdict(list)
    for row in members:
        by_form[row.forms[word]].append(row)
    if len(by_form) < 2 or not _has_letter(members[0].forms, word):
        return
    given = {row.forms[word] for row in members if row.is_given}
    cuts = [form for form in by_form if _VARIABLE in form]
    # Of two that are as strong the shorter one, then the first by its letters.
    best = min(cuts, key=lambda form: (form not in given, -len(by_form[form]), len(form), form), default=_VARIABLE)
    for form in cuts:
        outvoted = best in given or len(by_form[best]) >= 2 * len(by_form[form])
        if form != best and form not in given and outvoted:
            yield from _changed(word, by_form[form], best)
    if best in given or (not any(_VARIABLE not in form for form in given) and _is_doubted(word, members, diversity)):
        for form in by_form.keys() - cuts:
            yield from _changed(word, by_form[form], best)


def _changed(word: int, rows: Iterable[_Row], form: str) -> Iterable[tuple[int, _Row, str]]:
    """Cut a word of `rows` by `form`, where it fits and no person has said otherwise."""
    return [(word, row, form) for row in rows if not row.is_given and _fits(form, row.texts[word])]


def _is_doubted(word: int, members: Sequence[_Row], diversity: float) -> bool:
    """Weigh the odds of the different texts of a word, each by its mean, together with how many there are."""
    by_text: dict[str, list[float]] = defaultdict(list)
    for row in members:
        by_text[row.texts[word]].append(row.odds[word])
    is_cut_somewhere = any(_VARIABLE in row.forms[word] for row in members)
    if len(by_text) < _LEAST_DIFFERENT and not is_cut_somewhere:
        return False
    return _mean([_mean(values) for values in by_text.values()]) + diversity * math.log(len(by_text)) > 0


def _has_letter(forms: Sequence[str], without: int) -> bool:
    """Tell whether constant text with a letter stands outside of one word."""
    return any(character.isalpha() for place, form in enumerate(forms) if place != without for character in form)


def _pieces(form: str, text: str) -> list[Span] | None:
    """Find the parameters of a form in a word, each the shortest that lets the rest fit; None where it does not."""
    first, *others = form.split(_VARIABLE)
    if not text.startswith(first) or (not others and text != first):
        return None
    spans, place = [], len(first)
    for number, literal in enumerate(others):
        is_last = number == len(others) - 1
        end = len(text) - len(literal) if is_last else text.find(literal, place)
        if end < place or (not text.endswith(literal) and is_last):
            return None
        spans.append((place, end))
        place = end + len(literal)
    return spans


def _fits(form: str, text: str) -> bool:
    pieces = _pieces(form, text)
    return pieces is not None and all(start < end for start, end in pieces)


def _spans(row: _Row) -> tuple[Span, ...]:
    """Turn the words' forms into spans of the message."""
    return tuple(
        (start + left, start + right)
        for (start, _), text, form in zip(row.words, row.texts, row.forms, strict=True)
        for left, right in _pieces(form, text) or ()
    )
