"""Messages whose parameters have names: mined logging calls filled with made-up values, with their variables' names."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from training.corpus.examples import Example, Examples, augmented, example, rendered
from training.corpus.logging_calls import LoggingCall
from training.corpus.values import CLOSE, OPEN, Values
from worker.parsing.naming import plain_name
from worker.parsing.spans import Span

_MOST_CHARACTERS = 700
#: Marks, behind `OPEN`, whose value follows.
_FIRST_TAG, _TAGS = 0xE100, 64
_TAGGED = re.compile(f"{OPEN}([{chr(_FIRST_TAG)}-{chr(_FIRST_TAG + _TAGS - 1)}])([^{OPEN}{CLOSE}]*){CLOSE}")
_TAG = re.compile(f"[{chr(_FIRST_TAG)}-{chr(_FIRST_TAG + _TAGS - 1)}]")
_MARK = re.compile(f"[{OPEN}{CLOSE}{chr(_FIRST_TAG)}-{chr(_FIRST_TAG + _TAGS - 1)}]")


def vocabulary(calls: Iterable[LoggingCall], packages: int) -> list[str]:
    """List the plain names that occur in at least `packages` packages, the most widespread first."""
    found: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        for name in call.names:
            found[plain_name(name)].add(call.package)
    counts = Counter({name: len(those) for name, those in found.items() if name and len(those) >= packages})
    return sorted(counts, key=lambda name: (-counts[name], name))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedExample:
    """A message, where its parameters are, and their names."""

    text: str
    #: In characters, ascending.
    spans: tuple[Span, ...]
    #: One plain name per span; empty where none is known.
    names: tuple[str, ...]


def named_example(text: str, names: Sequence[str]) -> NamedExample:
    """Take marks and tags out of a message; `names` gives the name of each tag.

    A parameter that two variables fill has no name.
    """
    tagged = [
        (found.start() - len(_MARK.findall(text, 0, found.start())), len(found[2]), names[ord(found[1]) - _FIRST_TAG])
        for found in _TAGGED.finditer(text)
    ]
    made: Example = example(_TAG.sub("", text))
    given = []
    for start, end in made.spans:
        inside = [name for place, length, name in tagged if place < end and place + max(length, 1) > start]
        given.append(inside[0] if len(inside) == 1 else "")
    return NamedExample(text=made.text, spans=made.spans, names=tuple(given))


class TaggedValues(Values):
    """Makes values with a tag in front that says whose they are; what marks parts of itself has keys, and no tag."""

    def __init__(self, values: Values) -> None:
        super().__init__(values.rng, values.words, values.phrases, values.names)
        #: The plain name of each tag given out since it was emptied.
        self.given: list[str] = []

    def of(self, name: str, conversion: str = "") -> str:
        """Make a value of the variable `name`, formatted by `conversion`."""
        text = super().of(name, conversion)
        if OPEN in text:
            return text
        self.given.append(plain_name(name))
        return chr(_FIRST_TAG + len(self.given) - 1) + text


class NamedExamples:
    """An endless, repeatable stream of messages with named parameters."""

    def __init__(self, calls: Sequence[LoggingCall], words: Sequence[str], seed: int) -> None:
        examples = Examples(calls, words, seed)
        self._values = TaggedValues(examples.values)
        named = [
            (call, weight)
            for call, weight in zip(examples.calls, examples.weights, strict=True)
            if any(map(plain_name, call.names))
        ]
        self._calls = [call for call, _ in named]
        self._weights = [weight for _, weight in named]

    def take(self, count: int) -> Iterator[NamedExample]:
        """Yield `count` examples that have a name at least."""
        made = 0
        while made < count:
            for pair in zip(
                *(self._values.rng.choices(self._calls, self._weights, k=1000) for _ in range(2)), strict=True
            ):
                found = self._example(*pair)
                if found is None or not any(found.names) or len(found.text) > _MOST_CHARACTERS:
                    continue
                yield found
                made += 1
                if made == count:
                    return

    def _example(self, call: LoggingCall, other: LoggingCall) -> NamedExample | None:
        self._values.given.clear()
        text, second = rendered(call, self._values), rendered(other, self._values)
        if text is None or second is None:
            return None
        return named_example(augmented(text, self._values, second), self._values.given)
