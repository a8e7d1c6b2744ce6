"""Templates of one source settle together: what single messages leave in doubt, their neighbours decide.

Messages that are alike but for one word are a neighbourhood of that word. Where they disagree on how the word is cut,
the cut that most of them support wins, as long as it fits; where some take the word for constant, it becomes a
parameter if the model's doubt and the number of different words there speak for it together. Given templates, a
person's labels, are never changed and outvote all others. Deterministic; linear in the words of all messages a round.
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
#: A given template speaks as loud as so many messages.
_GIVEN_WEIGHT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A message as it was cut, before its neighbours are asked."""

    text: str
    #: Parameters, in characters, ascending.
    spans: tuple[Span, ...]
    #: Stretches that the model judged by themselves, and the log-odds that each is variable.
    units: Sequence[Span] = ()
    odds: Sequence[float] = ()
    #: Whether a person said so.
    is_given: bool = False


@dataclass(slots=True)
class _Row:
    """A candidate as words."""

    words: list[Span]
    texts: list[str]
    #: Each word with its parameters replaced by a mark: `user=\\0`.
    forms: list[str]
    odds: list[float]
    is_given: bool


def settle(candidates: Sequence[Candidate], *, diversity: float = 0.5) -> list[tuple[Span, ...]]:
    """Return the parameters of each candidate after all were heard.

    `diversity` weighs the logarithm of the number of different words in a place against the model's log-odds.
    A candidate with a parameter over several words takes no part, for its words have no fixed places.
    """
    rows = [_row(candidate) for candidate in candidates]
    for _ in range(_MOST_ROUNDS):
        changes = [change for place in _places(rows) for change in _unified(*place, rows, diversity)]
        if not changes:
            break
        for row, word, form in changes:
            found = rows[row]
            if found is not None:
                found.forms[word] = form
    return [
        candidate.spans if row is None or row.is_given else _spans(row)
        for candidate, row in zip(candidates, rows, strict=True)
    ]


def _row(candidate: Candidate) -> _Row | None:
    """Split a candidate into words; None where a parameter holds white space."""
    words = [found.span() for found in _WORD.finditer(candidate.text)]
    texts = [candidate.text[start:end] for start, end in words]
    if any(
        not candidate.text[start:end].strip() or _WORD.fullmatch(candidate.text, start, end) is None
        for start, end in candidate.spans
        if start < end
    ):
        return None
    forms, odds = [], []
    spans = iter([*candidate.spans, (len(candidate.text) + 1, len(candidate.text) + 1)])
    span = next(spans)
    units = list(zip(candidate.units, candidate.odds, strict=True))
    at = 0
    for start, end in words:
        form, place = "", start
        while span[0] <= end and span[0] >= start:
            form += candidate.text[place : span[0]] + _VARIABLE
            place = span[1]
            span = next(spans)
        forms.append(form + candidate.text[place:end])
        while at < len(units) and units[at][0][1] <= start:
            at += 1
        inside = []
        for (left, right), value in units[at:]:
            if left >= end:
                break
            inside.append((candidate.text[left:right], value))
        lettered = [value for text, value in inside if text[:1].isalnum()] or [value for _, value in inside]
        odds.append(sum(lettered) / len(lettered) if lettered else -math.inf)
    return _Row(words=words, texts=texts, forms=forms, odds=odds, is_given=candidate.is_given)


def _places(rows: Sequence[_Row | None]) -> Iterable[tuple[int, list[int]]]:
    """Group the rows that are alike but for one word; yields the word's number and the rows."""
    groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row is None or len(row.forms) < 2:
            continue
        # A sum of the words' hashes, each with its place, tells all words but one by a subtraction.
        hashes = [hash((place, form)) for place, form in enumerate(row.forms)]
        total = sum(hashes)
        for place, one in enumerate(hashes):
            groups[(len(hashes), place, total - one)].append(number)
    return [(place, members) for (_, place, _), members in groups.items() if len(members) > 1]


def _unified(
    word: int, members: Sequence[int], rows: Sequence[_Row | None], diversity: float
) -> list[tuple[int, int, str]]:
    """Decide how `word` is cut in rows that are alike otherwise; returns (row, word, new form)."""
    found = {number: row for number in members if (row := rows[number]) is not None}
    by_form: dict[str, list[int]] = defaultdict(list)
    for number, row in found.items():
        by_form[row.forms[word]].append(number)
    if len(by_form) < 2 or not _has_letter(next(iter(found.values())).forms, word):
        return []
    support = {
        form: sum(_GIVEN_WEIGHT if found[number].is_given else 1 for number in numbers)
        for form, numbers in by_form.items()
        if _VARIABLE in form
    }
    best = min(support, key=lambda form: (-support[form], len(form), form), default=_VARIABLE)
    loose = {
        number
        for form, numbers in by_form.items()
        for number in numbers
        if form != best and not found[number].is_given and _fits(best, found[number].texts[word])
    }
    changes = [
        (number, word, best)
        for form, numbers in by_form.items()
        if form in support and form != best and support[best] >= 2 * support[form]
        for number in numbers
        if number in loose
    ]
    constants = [number for form, numbers in by_form.items() if form not in support for number in numbers]
    doubted = [number for number in constants if number in loose]
    if doubted:
        by_text: dict[str, list[float]] = defaultdict(list)
        for row in found.values():
            by_text[row.texts[word]].append(row.odds[word])
        means = [sum(values) / len(values) for values in by_text.values()]
        different = len(by_text)
        if (different >= _LEAST_DIFFERENT or support) and sum(means) / different + diversity * math.log(different) > 0:
            changes += [(number, word, best) for number in doubted]
    return changes


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
    """Turn the words' forms into spans of the message; parameters that touch are one."""
    spans: list[Span] = []
    for (start, _), text, form in zip(row.words, row.texts, row.forms, strict=True):
        for left, right in _pieces(form, text) or ():
            spans.append((start + left, start + right))
    return tuple(spans)
