"""Templates that others cover go into them: the last step of settling.

A group of messages split off because its values hold other tokens than those of its kin: brackets, several words, or
nothing at all. If another template matches all of its messages once its parameters may hold anything, and what they
would swallow of this one's constants is doubtful enough, the messages are cut by the other one.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from worker.parsing.rows import Row, matched
from worker.parsing.spans import Span
from worker.parsing.templates import LETTERS, Template, encoded

#: More different values than this say no more.
_MOST_VALUES = 50


@dataclass(slots=True, kw_only=True, eq=False)
class _Group:
    """Rows of one template, which may hold anything in its parameters."""

    template: Template
    rows: list[Row]
    cuts: list[tuple[Span, ...]]


def merged(rows: Sequence[Row], cuts: Sequence[tuple[Span, ...]], diversity: float) -> list[tuple[Span, ...]]:
    """Return the cut of each row after templates that others cover went into these.

    Templates of labels take others in first, those with the most constant text before the rest, then the template of
    most rows; one that has gone into another takes none in.
    """
    groups = _groups(rows, cuts)
    found = {id(row): cut for row, cut in zip(rows, cuts, strict=True)}
    gone = set[int]()
    kin = _kin(groups)
    given = [number for number, group in enumerate(groups) if any(row.candidate.is_given for row in group.rows)]
    given.sort(key=lambda number: groups[number].template.rank)
    for number in dict.fromkeys([*given, *range(len(groups))]):
        group = groups[number]
        if number in gone or group.template.letterless or not group.template.spacious:
            continue
        covered = {
            other: matches
            for other in kin[number]
            if other not in gone and (matches := _matches(group.template, groups[other].rows))
        }
        values = _values([group.cuts, *covered.values()], [group.rows, *(groups[other].rows for other in covered)])
        for other, matches in covered.items():
            # A larger template goes only into one that swallows none of its words.
            variety = [
                diversity * math.log(min(count, _MOST_VALUES)) if other > number else -math.inf for count in values
            ]
            if all(
                _may_swallow(row, cut, match, variety)
                for row, cut, match in zip(groups[other].rows, groups[other].cuts, matches, strict=True)
            ):
                gone.add(other)
                found.update({id(row): match for row, match in zip(groups[other].rows, matches, strict=True)})
                # Should this one go into a third, all go with it.
                group.rows += groups[other].rows
                group.cuts += matches
    return [found[id(row)] for row in rows]


def _groups(rows: Sequence[Row], cuts: Sequence[tuple[Span, ...]]) -> list[_Group]:
    """Group rows by their templates, most rows first."""
    groups: dict[tuple[str, ...], _Group] = {}
    for row, cut in zip(rows, cuts, strict=True):
        literals = _literals(row.candidate.text, cut)
        if literals not in groups:
            template = Template(
                literals=tuple(map(encoded, literals)), spacious=(True,) * len(cut), names=("",) * len(cut)
            )
            groups[literals] = _Group(template=template, rows=[], cuts=[])
        groups[literals].rows.append(row)
        groups[literals].cuts.append(cut)
    return sorted(groups.values(), key=lambda group: (-len(group.rows), group.template.id))


def _literals(text: str, spans: Sequence[Span]) -> tuple[str, ...]:
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return tuple(text[edges[at] : edges[at + 1]] for at in range(0, len(edges), 2))


def _kin(groups: Sequence[_Group]) -> list[list[int]]:
    """List for each group the others without labels whose first message holds all of its words, in order."""
    held = [set(LETTERS.findall(encoded(group.rows[0].candidate.text))) for group in groups]
    frequency = Counter(word for words in held for word in words)
    by_word: dict[bytes | None, list[int]] = defaultdict(list)
    words = [set(group.template.anchors) for group in groups]
    for number in range(len(groups)):
        by_word[min(words[number], key=lambda word: (frequency[word], word), default=None)].append(number)
    kin: list[list[int]] = [[] for _ in groups]
    for number, group in enumerate(groups):
        if any(row.candidate.is_given for row in group.rows):
            continue
        for word in [*held[number], None]:
            for other in by_word.get(word, ()):
                if other != number and words[other] <= held[number]:
                    kin[other].append(number)
    return kin


def _matches(template: Template, rows: Sequence[Row]) -> list[tuple[Span, ...]] | None:
    """Find the parameters of a template in messages, in characters; None unless it matches all of them."""
    found = list[tuple[Span, ...]]()
    for row in rows:
        match = matched(template, row.candidate.text)
        if match is None:
            return None
        found.append(match)
    return found


def _values(cuts: Sequence[Sequence[tuple[Span, ...]]], rows: Sequence[Sequence[Row]]) -> list[int]:
    """Count the different values of each parameter."""
    values = [set[str]() for _ in cuts[0][0]]
    for group, of in zip(cuts, rows, strict=True):
        for cut, row in zip(group, of, strict=True):
            for number, (start, end) in enumerate(cut):
                values[number].add(row.candidate.text[start:end])
    return [len(each) for each in values]


def _may_swallow(row: Row, cut: tuple[Span, ...], match: tuple[Span, ...], variety: Sequence[float]) -> bool:
    """Weigh the constants of `cut` that the parameters of `match` would take in, each with the variety there."""
    at = 0
    for (start, end), value in zip(match, variety, strict=True):
        odds = list[float]()
        while at < len(row.places) and row.places[at][0] < end:
            first, last = row.places[at]
            is_constant = not any(left < last and first < right for left, right in cut)
            if first >= start and is_constant and any(map(str.isalnum, row.words[at])):
                odds.append(row.odds[at])
            at += 1
        if odds and math.fsum(odds) / len(odds) + value <= 0:
            return False
    return True
