"""Parsers that learn nothing from labels, to measure beside ours: Drain3 and Brain. Knows nothing of the model.

Published figures give each system its own masks, separators and thresholds. Here one general set serves every system:
what anybody would mask before having seen the logs, and nothing that only one system writes.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol

from worker.parsing.templates import WILDCARD

#: A value that stands alone, not a part of a longer word: `blk_17` and `2.0.x` hold no number.
_ALONE = r"(?<![\w.-])(?:{})(?![\w-]|\.\w)"
#: What is a parameter in any log, in this order: addresses, hexadecimal numbers, paths, numbers.
GENERAL_MASKS = (
    _ALONE.format(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"),
    _ALONE.format(r"0[xX][0-9a-fA-F]+"),
    r"(?<![\w./>~-])(?:/[\w.@%+~-]+){2,}/?",
    _ALONE.format(r"[-+]?\d+(?:\.\d+)?"),
)


class Baseline(Protocol):
    """Gives the lines of a log their templates, from the messages alone."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def templates_of(self, messages: Sequence[str]) -> list[str]:
        """Return the template of each message, settled: as it stands after the last line, (n,) -> (n,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain3:
    """Drain (He et al., ICWS 2017) by the package drain3: a tree by length and first words, then similarity.

    A template matches its message but for runs of white space, which become one space. Neighbouring `<*>` stay apart.
    """

    name: str = "Drain3"
    #: Regular expressions of what is masked first.
    masks: tuple[str, ...] = GENERAL_MASKS
    #: Share of words that a line has in common with a cluster that takes it.
    similarity: float = 0.4
    #: Depth of the tree, its root, the length and the leaf counted in.
    depth: int = 4

    def templates_of(self, messages: Sequence[str]) -> list[str]:
        """Return the template of each message's cluster after the last line, (n,) -> (n,).

        Raises:
            ModuleNotFoundError: drain3 is not installed.

        """
        from drain3.drain import Drain  # noqa: PLC0415  only the evaluation needs the package

        tree = Drain(depth=self.depth, sim_th=self.similarity, param_str=WILDCARD)
        clusters = [tree.add_log_message(line)[0] for line in masked(messages, self.masks)]
        return [str(cluster.get_template()) for cluster in clusters]


class _Line(NamedTuple):
    """A distinct masked line of Brain."""

    text: str
    words: tuple[str, ...]
    #: How many lines of the log have this word at this place, (words,).
    seen: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brain:
    """Brain (Yu et al., "Brain: Log Parsing with Bidirectional Parallel Tree", IEEE TSC 2023), written from the paper.

    Words of one logging call are seen equally often, so the longest run of equal counts in a line is constant, and
    lines that share it and their number of words are a group. Of the group's other words, those that are seen more
    often than the shared ones are variable where they differ at all; rarer ones where they differ much, else each of
    them makes a template. White space and separators stay as they are in the message, so each template matches its
    message; the authors' program puts a space after every separator instead.
    """

    name: str = "Brain"
    #: Regular expressions of what is masked first.
    masks: tuple[str, ...] = GENERAL_MASKS
    #: Characters that end a word, as white space does; none of `<*>`.
    separators: str = ",:="
    #: Distinct words from which a place is variable, at least 2. Published set-ups have 2 to 6, 4 on average.
    branches: int = 4
    #: Share of digits from which a word is variable wherever it stands.
    digits: float = 0.3

    def templates_of(self, messages: Sequence[str]) -> list[str]:
        """Return the template of each message, (n,) -> (n,). Takes time by the number of words."""
        texts = masked(messages, self.masks)
        templates = {
            line.text: self._template(line, places)
            for group in _groups(self._lines(Counter(texts)))
            for places in [self._variable_places(group)]
            for line in group
        }
        return [templates[text] for text in texts]

    def _lines(self, texts: Counter[str]) -> list[_Line]:
        words = {text: tuple(self._word.findall(text)) for text in texts}
        seen = Counter[tuple[int, str]]()
        for text, lines in texts.items():
            for place in enumerate(words[text]):
                seen[place] += lines
        return [_Line(text, words[text], tuple(seen[place] for place in enumerate(words[text]))) for text in texts]

    def _variable_places(self, group: Sequence[_Line]) -> set[int]:
        """Find the places of a group's variable words; its pattern has one word a place and so is never among them."""
        common = _pattern(group[0].seen)[0]
        places = set[int]()
        for place in range(len(group[0].words)):
            more_seen = all(line.seen[place] > common for line in group)
            if len({line.words[place] for line in group}) >= (2 if more_seen else self.branches):
                places.add(place)
        return places

    def _template(self, line: _Line, variable: set[int]) -> str:
        places = count()
        return self._word.sub(
            lambda word: WILDCARD if next(places) in variable or self._is_value(word[0]) else word[0], line.text
        )

    def _is_value(self, word: str) -> bool:
        return WILDCARD in word or sum(map(str.isdigit, word)) >= self.digits * len(word)

    @property
    def _word(self) -> re.Pattern[str]:
        return re.compile(rf"[^\s{re.escape(self.separators)}]+")


#: What the evaluation measures beside our parser.
BASELINES: tuple[Baseline, ...] = (Drain3(), Brain())


def masked(messages: Sequence[str], masks: Sequence[str]) -> list[str]:
    """Replace all that matches a mask by `<*>`, one mask after the other, (n,) -> (n,)."""
    lines = list(messages)
    for mask in map(re.compile, masks):
        lines = [mask.sub(WILDCARD, line) for line in lines]
    return lines


def _groups(lines: Sequence[_Line]) -> list[list[_Line]]:
    """Put lines together that have the same number of words and the same pattern."""
    groups = defaultdict[tuple[object, ...], list[_Line]](list)
    for line in lines:
        times, places = _pattern(line.seen)
        groups[len(line.words), times, *((place, line.words[place]) for place in places)].append(line)
    return list(groups.values())


def _pattern(seen: Sequence[int]) -> tuple[int, list[int]]:
    """Find how often most words of a line are seen, of several such counts the leftmost, and where these words are."""
    shares = Counter(seen)
    times = max(shares, key=shares.__getitem__, default=0)
    return times, [place for place, often in enumerate(seen) if often == times]
