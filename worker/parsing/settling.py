"""Templates of one source settle together: what single messages leave in doubt, their neighbours decide.

Three steps. Messages of as many tokens are split by the words that are constant for sure, the surest first, until each
group is one template: a place in which different words are left is a parameter. Each group then agrees on the cut of
each of its tokens. At last a template that another one covers goes into it (`merging`). How sure a word is, the model
says of each message, and the neighbours say by how many different words stand in its place.

Given templates, a person's labels, are never changed, and what they say of a word counts as certain. The order of the
messages decides nothing; time grows with the words of all messages times the different places that split them.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from worker.parsing.alike import kind_of
from worker.parsing.convention import with_empty
from worker.parsing.merging import merged
from worker.parsing.rows import MOST_ODDS, VARIABLE, Candidate, Row, row_of
from worker.parsing.spans import Span

__all__ = ["Candidate", "settle", "settle_rows"]

#: What programs write where there is no value.
_PLACEHOLDER = re.compile(r"[-*?<>~_.]+")
#: Brackets, and what closes them.
_CLOSES = {"(": ")", "[": "]", "{": "}"}
#: What the model's judgement of a word weighs beside that of all the different words in its place.
_OWN = 0.2
#: How much the lines of a template in which a word never varies speak for it as a constant, by their logarithm, and
#: how sure the model must be of a value that stands in one line alone.
_STEADINESS = 0.5
_LEAST_ODDS = 1.0


def settle(
    candidates: Sequence[Candidate], *, diversity: float = 1.0, is_tidied: bool = True
) -> list[tuple[Span, ...]]:
    """Return the parameters of each candidate after all were heard; one may be empty, where a neighbour's is not.

    `diversity` weighs the logarithm of the number of different words in a place against the model's log-odds.
    `is_tidied`: keep the marks at a parameter's ends constant, and the commas of lists, as a reader would; what was
    taught by labels has learned from these whether to.
    """
    rows = [row_of(candidate) for candidate in candidates]
    return settle_rows(rows, diversity=diversity, is_tidied=is_tidied)


def settle_rows(rows: Sequence[Row], *, diversity: float, is_tidied: bool) -> list[tuple[Span, ...]]:
    """Settle candidates that are split into tokens already, as `settle` does."""
    readable = [row for row in rows if VARIABLE not in row.candidate.text]
    cuts = {id(row): cut for group in _groups(readable, diversity) for row, cut in _cut(group, is_tidied)}
    settled = merged(readable, [cuts[id(row)] for row in readable], diversity)
    found = {id(row): cut for row, cut in zip(readable, settled, strict=True) if not row.candidate.is_given}
    return [found.get(id(row), row.candidate.spans) for row in rows]


def _groups(rows: Iterable[Row], diversity: float) -> Iterable[list[Row]]:
    """Split rows until each group is one template."""
    by_length: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_length[len(row.words)].append(row)
    undecided = list(by_length.values())
    while undecided:
        group = undecided.pop()
        splits = [
            (min(doubts.values()), place, doubts)
            for place in range(len(group[0].words))
            if (doubts := _constants(group, place, diversity))
        ]
        if not splits:
            yield group
            continue
        _, place, constants = min(splits, key=lambda split: split[:2])
        parts: dict[str | None, list[Row]] = defaultdict(list)
        for row in group:
            parts[row.words[place] if row.words[place] in constants else None].append(row)
        undecided += parts.values()


def _constants(group: Sequence[Row], place: int, diversity: float) -> dict[str, float]:
    """Tell which of the different words in a place are constant, and how sure that is: below zero, the surer the less.

    The model's judgement of a word is worth little beside that of all words in its place; empty where one word stands.
    """
    by_word: dict[str, list[float]] = defaultdict(list)
    for row in group:
        by_word[row.words[place]].append(row.odds[place])
    if len(by_word) < 2:
        return {}
    odds = {word: math.fsum(judged) / len(judged) for word, judged in by_word.items()}
    spoken = [value for word, value in odds.items() if _is_spoken(word)]
    mean = math.fsum(spoken) / len(spoken) if spoken else -MOST_ODDS
    variety = diversity * math.log(len(by_word))
    kinds = Counter(map(kind_of, odds))
    sure = {}
    for word, value in odds.items():
        if kinds[kind_of(word)] > 1 and value >= -MOST_ODDS:
            continue  # of words that differ in their numbers alone none is constant, unless a label says so
        if _is_spoken(word):
            sure[word] = _OWN * value + (1 - _OWN) * mean + variety
        else:
            sure[word] = mean + variety if _PLACEHOLDER.fullmatch(word) else -2 * MOST_ODDS
    return {word: value for word, value in sure.items() if value < 0}


def _is_spoken(word: str) -> bool:
    """Tell whether a word holds a letter or a digit."""
    return any(map(str.isalnum, word))


def _is_value(word: str) -> bool:
    """Tell whether a word is none of the marks that enclose values, and no white space."""
    return len(word) > 1 or word.isalnum() or bool(_PLACEHOLDER.fullmatch(word))


def _cut(group: Sequence[Row], is_tidied: bool) -> Iterable[tuple[Row, tuple[Span, ...]]]:
    """Cut all rows of a group alike; a row that would keep no letter as the model did."""
    words = group[0].words
    forms = [_form(group, place) for place in range(len(words))]
    forms = _tidied(words, forms) if is_tidied else forms
    for row in group:
        text, spans = row.candidate.text, list[Span]()
        for (start, end), form in zip(row.places, forms, strict=True):
            if form is None:
                continue
            for left, right in _pieces(form, text[start:end]) or ():
                if spans and spans[-1][1] == start + left:
                    spans[-1] = (spans[-1][0], start + right)
                else:
                    spans.append((start + left, start + right))
        cut = spans if _keeps_a_letter(text, spans) else row.candidate.spans
        yield row, tuple(with_empty(text, cut) if is_tidied else cut)


def _keeps_a_letter(text: str, spans: Sequence[Span]) -> bool:
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return any(
        text[at].isalpha() for left, right in zip(edges[::2], edges[1::2], strict=True) for at in range(left, right)
    )


def _tidied(words: Sequence[str], forms: Sequence[str | None]) -> list[str | None]:
    """Keep marks and white space constant at the ends of a parameter, and the commas of a list of single words.

    Brackets that a parameter opens and closes are its own, with all that stands between them. What is left between two
    tokens that are variable as a whole goes into one parameter with them.
    """
    kept, end = list(forms), 0
    for place in range(len(forms)):
        if place < end or forms[place] != VARIABLE:
            continue
        end = next((at for at in range(place, len(forms)) if forms[at] != VARIABLE), len(forms))
        spoken = [at for at in range(place, end) if _is_value(words[at])]
        if not spoken:
            kept[place:end] = [None] * (end - place)
            continue
        enclosed = _enclosed(words, spoken[0], end)
        inner = range(spoken[0], max([spoken[-1], *enclosed.values()]) + 1)
        within = {at for first, closing in enclosed.items() for at in range(first, closing + 1)}
        is_list = all(words[at - 1] == "," for at in inner if words[at] == " " and at not in within)
        for at in range(place, end):
            if at not in inner or (is_list and words[at] in {",", " "} and at not in within):
                kept[at] = None
    return kept


def _enclosed(words: Sequence[str], start: int, end: int) -> dict[int, int]:
    """Find the brackets from `start` to `end` that follow a word and are closed there: where each closes."""
    closing, waiting = dict[int, int](), list[int]()
    for at in range(start, end):
        if words[at] in _CLOSES:
            waiting.append(at)
        elif waiting and words[at] == _CLOSES[words[waiting[-1]]]:
            opened = waiting.pop()
            if opened > start:
                closing[opened] = at
    return closing


def _form(group: Sequence[Row], place: int) -> str | None:
    """Choose how a token is cut: as a label says, else as most rows do that cut it, if that fits all of them.

    None: it is constant.
    """
    given = {row.forms[place] for row in group if row.candidate.is_given}
    forms = Counter(row.forms[place] for row in group)
    texts = {row.words[place] for row in group}
    cuts = [form for form in forms if VARIABLE in form and all(_pieces(form, text) for text in texts)]
    # Of two that are as frequent the shorter one, then the first by its letters.
    best = min(cuts, key=lambda form: (form not in given, -forms[form], len(form), form), default=VARIABLE)
    if len(texts) > 1:
        return best
    word = group[0].words[place]
    if not _is_value(word):
        return best if 2 * sum(forms[form] for form in cuts) > len(group) else None
    if given or any(map(str.isdigit, word)):
        return best if cuts and (not given or best in given) else None
    steadiness = _LEAST_ODDS + _STEADINESS * math.log(len(group))
    is_variable = math.fsum(row.odds[place] for row in group) / len(group) > steadiness
    return best if is_variable and cuts else None


def _pieces(form: str, text: str) -> list[Span] | None:
    """Find the parameters of a form in a token, each the shortest that lets the rest fit; None where it does not."""
    first, *others = form.split(VARIABLE)
    if not text.startswith(first):
        return None
    spans, place = list[Span](), len(first)
    for number, literal in enumerate(others):
        is_last = number == len(others) - 1
        end = len(text) - len(literal) if is_last else text.find(literal, place)
        if end <= place or (is_last and not text.endswith(literal)):
            return None
        spans.append((place, end))
        place = end + len(literal)
    return spans
