"""Which lines of an unlabelled log are worth labelling: one per kind of line, frequent kinds first, then diverse ones.

One pass with bounded memory reduces a log to forms (lines that are equal but for values with digits), forms are joined
to groups where a word of them varies, and a greedy choice covers the groups. Looks at no label and at no model.
"""

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

#: Stands for a value in a form.
VALUE = "\0"

_WITHOUT_DIGITS = str.maketrans("", "", "0123456789")
#: Characters of a message that are looked at: what is beyond is mostly a dump.
_MOST_CHARACTERS = 1000
_WORD = re.compile(
    r"(?<!\w)'[^']{1,200}'(?!\w)|(?<!\w)\"[^\"]{1,200}\"(?![\w:])|[^\s=:,;|()\[\]{}<>\"']+|[=:,;|()\[\]{}<>\"']"
)
_MARKS = frozenset("=:,;|()[]{}<>\"'")
#: Between two values these make a list of them, or one long value.
_JOINTS = frozenset("=:,;|")
_IS_VALUE = re.compile(
    r"\d|^[/\\].|[/\\].*[/\\]|.@.|^[a-fA-F]{8,}$|^['\"].|^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)$"
)
#: A plain word, of a language rather than an identifier.
_PLAIN = re.compile(r"[A-Z]?[a-z]+")

#: Different words that must stand in one place of otherwise equal forms before the place counts as a value.
_MOST_PLAIN = 4
_MOST_NAMES = 2
_ROUNDS = 6
#: Where two words may vary at once: words with letters that a pattern has at least, those two among them, and its
#: length at most, because all pairs of places are tried.
_LETTERS_BESIDE_PAIR = 5
_LONGEST_PAIRED = 24
#: Examples kept of a form.
_EXAMPLES = 32
#: Groups that the choice weighs against each other, in pairs.
_MOST_GROUPS = 2000
#: Share of the weight that goes to groups alike, however few lines they have.
_TAIL = 0.1
#: How much chance moves a group's weight.
_NOISE = 0.05
#: Words are counted in so many buckets where groups are compared.
_BUCKETS = 2048
_HASH = (1 << 61) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A line that is worth labelling."""

    #: Where it stands among the messages.
    index: int
    message: str
    #: Lines of the log that seem to be of its kind.
    lines: int


@dataclass(slots=True, kw_only=True, eq=False)
class Form:
    """Lines that are equal but for their values (counted, hence not frozen)."""

    words: tuple[str, ...]
    lines: int = 0
    #: Index and message of some of them, each as likely as the others.
    examples: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Forms that seem to come from one template."""

    words: tuple[str, ...]
    #: The one with most lines first.
    forms: tuple[Form, ...]
    lines: int


def chosen(messages: Sequence[str], count: int, *, seed: int = 1) -> list[int]:
    """Choose `count` messages to label, as indices, the most useful first: each beginning of the list is a good choice.

    Fewer where there are fewer different messages. Another seed gives another choice that is as good.
    """
    survey = Survey(seed=seed)
    survey.read(messages)
    return [choice.index for choice in survey.chosen(count)]


class Survey:
    """What is remembered of an unlabelled log: its forms, at most `max_forms`, whatever its length."""

    def __init__(self, *, seed: int = 1, max_forms: int = 10_000) -> None:
        #: Messages read, blank ones too.
        self.lines = 0
        self._max_forms = max_forms
        self._rng = random.Random(seed)
        self._forms: dict[tuple[str, ...], Form] = {}
        # By the message without its digits: quicker than the form's words, and mostly enough.
        self._by_text: dict[str, Form] = {}
        # Lines of unknown forms that are passed over for each one that is looked at: grows where forms never end.
        self._passed_over = 0

    def read(self, messages: Iterable[str]) -> None:
        """Read more messages; indices go on where the last call ended."""
        by_text, chance = self._by_text, self._rng.random
        for index, message in enumerate(messages, self.lines):
            self.lines = index + 1
            if not message or message.isspace():  # without their digits, `7` and it would be one
                continue
            key = message[:_MOST_CHARACTERS].translate(_WITHOUT_DIGITS)
            form = by_text.get(key) or self._form(key, message)
            if form is None:
                continue
            form.lines += 1
            if len(form.examples) < _EXAMPLES:
                form.examples.append((index, message))
            elif chance() * form.lines < _EXAMPLES:
                form.examples[form.lines % _EXAMPLES] = (index, message)

    @property
    def forms(self) -> Sequence[Form]:
        """What is remembered."""
        return list(self._forms.values())

    def groups(self) -> list[Group]:
        """Join forms to groups, those with most lines first."""
        return grouped(self.forms)

    def chosen(self, count: int) -> list[Choice]:
        """Choose up to `count` messages to label, the most useful first; no two are equal."""
        groups = self.groups()
        rng = random.Random(self._rng.random())
        kept = groups[: _MOST_GROUPS * 3 // 4]
        rest = groups[len(kept) :]
        kept += rng.sample(rest, min(len(rest), _MOST_GROUPS - len(kept)))
        order = coverage_order(kept, count, rng)
        return picked([kept[place] for place in order], count, rng)

    def _form(self, key: str, message: str) -> Form | None:
        """Find or make the form of a message whose text was not met; None for a blank one, or one passed over."""
        if self._passed_over and self._rng.random() * (1 + self._passed_over) >= 1:
            return None
        words = form_words(message)
        if not words:
            return None
        form = self._forms.get(words)
        if form is None:
            if len(self._forms) >= self._max_forms:
                self._condense()
            form = self._forms.setdefault(words, Form(words=words))
        if len(self._by_text) >= 4 * self._max_forms:
            self._by_text.clear()
        self._by_text[key] = form
        # It stands for those that were passed over, new or not: so counts stay right on average.
        form.lines += self._passed_over
        return form

    def _condense(self) -> None:
        """Make room: keep one form per group, and the biggest groups and some of the others if these are too many."""
        self._passed_over = 2 * self._passed_over + 1
        self._by_text.clear()
        groups = grouped(self.forms)
        keep = self._max_forms // 2
        if len(groups) > keep:
            head, tail = groups[: keep // 2], groups[keep // 2 :]
            groups = head + self._rng.sample(tail, keep - len(head))
        self._forms = {
            group.words: Form(words=group.words, lines=group.lines, examples=group.forms[0].examples)
            for group in groups
        }


def form_words(message: str) -> tuple[str, ...]:
    """Cut a message into words and marks; VALUE stands for what must be a value, and for lists of them.

    Of several lines the first that is not blank is read.
    """
    words: list[str] = []
    for word in _WORD.findall(message[:_MOST_CHARACTERS].strip().split("\n", 1)[0]):
        is_value = word not in _MARKS and (_IS_VALUE.search(word) or (words and words[-1] == "="))
        words.append(VALUE if is_value else word)
    return collapsed(words)


def collapsed(words: Sequence[str]) -> tuple[str, ...]:
    """Make one value of values that follow each other, with a joint between them or without."""
    kept: list[str] = []
    for word in words:
        if word == VALUE and kept and kept[-1] == VALUE:
            continue
        if word == VALUE and len(kept) > 1 and kept[-1] in _JOINTS and kept[-2] == VALUE:
            kept.pop()
            continue
        kept.append(word)
    return tuple(kept)


def grouped(forms: Sequence[Form]) -> list[Group]:
    """Join forms where words in one place vary while all others are equal, until nothing changes; biggest first."""
    members: dict[tuple[str, ...], list[Form]] = defaultdict(list)
    for form in forms:
        members[form.words].append(form)
    for _ in range(_ROUNDS):
        patterns = list(members)
        lines = [sum(form.lines for form in members[words]) for words in patterns]
        varying = varying_places(patterns, lines) or varying_places(patterns, lines, pairs=True)
        if not varying:
            break
        joined: dict[tuple[str, ...], list[Form]] = defaultdict(list)
        for number, words in enumerate(patterns):
            places = varying.get(number, ())
            masked = collapsed([VALUE if place in places else word for place, word in enumerate(words)])
            joined[masked].extend(members[words])
        members = joined
    groups = [
        Group(
            words=words,
            forms=tuple(sorted(found, key=lambda form: -form.lines)),
            lines=sum(form.lines for form in found),
        )
        for words, found in members.items()
    ]
    return sorted(groups, key=lambda group: -group.lines)


def varying_places(
    patterns: Sequence[tuple[str, ...]], lines: Sequence[int], *, pairs: bool = False
) -> dict[int, set[int]]:
    """Find the places of each pattern where the word varies among patterns that are equal elsewhere.

    Each pattern has its number of `lines`. With `pairs`, two words vary at once, such as user and host.
    """
    numbers: dict[str, int] = {}
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, words in enumerate(patterns):
        hashes = [
            (numbers.setdefault(word, len(numbers)) + 1) * 0x9E3779B97F4A7C15 * (2 * place + 1) ** 3 % _HASH
            for place, word in enumerate(words)
        ]
        total = sum(hashes) + len(words)
        letters = sum(word[0].isalpha() for word in words)
        if letters < (_LETTERS_BESIDE_PAIR if pairs else 2) or (pairs and len(words) > _LONGEST_PAIRED):
            continue
        places = [place for place, word in enumerate(words) if word not in _MARKS]
        for open_places in combinations(places, 2 if pairs else 1):
            rest = total - sum(hashes[place] for place in open_places)
            alike[rest % _HASH, *open_places].append(number)
    varying: dict[int, set[int]] = defaultdict(set)
    for (_, *opened), found in alike.items():
        if len(found) > 1 and all(vary_at(place, found, patterns, lines) for place in opened):
            for number in found:
                varying[number].update(place for place in opened if patterns[number][place] != VALUE)
    return {number: places for number, places in varying.items() if places}


def vary_at(place: int, found: Sequence[int], patterns: Sequence[tuple[str, ...]], lines: Sequence[int]) -> bool:
    """Tell whether the words in one place of the patterns `found`, equal elsewhere, are values."""
    counts: dict[str, int] = defaultdict(int)
    for number in found:
        counts[patterns[number][place]] += lines[number]
    return len(counts) > 1 and varies(counts, place)


def varies(words: Mapping[str, int], place: int) -> bool:
    """Tell whether different words that stand in one place, each with its lines, are values."""
    if VALUE in words and place:
        return True
    plain = sum(lines for word, lines in words.items() if _PLAIN.fullmatch(word))
    most = _MOST_PLAIN if 2 * plain > sum(words.values()) else _MOST_NAMES
    # What a message begins with is mostly what it says.
    return len(words) > (most if place else 2 * most)


def coverage_order(groups: Sequence[Group], count: int, rng: random.Random) -> list[int]:
    """Order up to `count` groups so that each beginning of the order covers the most.

    A group covers itself and, in part, groups with nearly the same words: so a template that fell apart into many
    groups does not take all places, and of rare groups those that resemble most others come first. What is covered
    counts by lines, and in a small part by groups.
    """
    if not groups:
        return []
    lines = np.array([group.lines for group in groups], np.float64)
    weights = (1 - _TAIL) * lines / lines.sum() + _TAIL / len(groups)
    weights *= np.array([1 + _NOISE * rng.random() for _ in groups])
    alike = likeness([group.words for group in groups])
    covered = np.zeros(len(groups))
    order: list[int] = []
    for _ in range(min(count, len(groups))):
        gains = np.maximum(alike - covered, 0) @ weights
        gains[order] = -1
        best = int(gains.argmax())
        order.append(best)
        covered = np.maximum(covered, alike[best])
    return order


def likeness(patterns: Sequence[tuple[str, ...]]) -> npt.NDArray[np.float64]:
    """Compare patterns in pairs, 0 to 1, (g, g): 1 with themselves, 0 where half of the words differ."""
    numbers: dict[str, int] = {}
    holds = np.zeros((len(patterns), _BUCKETS), np.float32)
    for row, words in enumerate(patterns):
        for word in words:
            if word not in _MARKS and word != VALUE:
                holds[row, numbers.setdefault(word, len(numbers)) % _BUCKETS] = 1
    sizes = holds.sum(axis=1)
    shared = 2 * (holds @ holds.T) / np.maximum(sizes[:, None] + sizes[None, :], 1)
    alike: npt.NDArray[np.float64] = np.maximum(0, 2 * shared - 1).astype(np.float64)
    np.fill_diagonal(alike, 1)
    return alike


def picked(groups: Sequence[Group], count: int, rng: random.Random) -> list[Choice]:
    """Take one message of each group, in order, then further ones by the square root of a group's lines."""
    stocks = [stocked(group, rng) for group in groups]
    choices: list[Choice] = []
    taken: set[str] = set()
    times = [0] * len(groups)

    def take(place: int) -> bool:
        while stocks[place]:
            index, message = stocks[place].pop()
            if message not in taken:
                taken.add(message)
                choices.append(Choice(index=index, message=message, lines=groups[place].lines))
                times[place] += 1
                return True
        return False

    for place in range(len(groups)):
        take(place)
    while len(choices) < count and (left := [place for place, stock in enumerate(stocks) if stock]):
        take(max(left, key=lambda place: math.sqrt(groups[place].lines) / (times[place] + 1)))
    return choices[:count]


def stocked(group: Group, rng: random.Random) -> list[tuple[int, str]]:
    """List a group's examples, the best last: one of its most frequent form, then one of each other form, and so on."""
    stock: list[tuple[int, str]] = []
    shuffled = [rng.sample(form.examples, len(form.examples)) for form in group.forms[:64]]
    for turn in range(_EXAMPLES):
        stock += [examples[turn] for examples in shuffled if turn < len(examples)]
    return stock[::-1]
