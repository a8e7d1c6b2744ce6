"""A template: the constant text of a logging call, and how a message matches it. Knows nothing of numba.

`Template.match` and `fingerprint` are the references that the compiled matcher is tested against.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.parsing.rows import Candidate

#: Stands for a parameter wherever a template is shown.
WILDCARD = "<*>"
#: Most parameters that a template may have.
MAX_PARAMETERS = 128
#: A word of a message. Bytes above 0x7f count as letters: words of any language can be anchors.
LETTERS = re.compile(rb"[A-Za-z\x80-\xff]+")

_SPACE = re.compile(rb"[ \t]")
#: A letter of any script, by one byte of it: ASCII, and what begins a character of UTF-8 from U+00C0 on, but for
#: U+2000 to U+2FFF, which are marks: dashes, arrows, frames.
_LETTER = re.compile(rb"[A-Za-z\xc3-\xe1\xe3-\xff]")
_DIGIT = re.compile(rb"[0-9]")

_MASK = (1 << 64) - 1
#: Odd constants that spread bits in 64-bit products, and what stands for a word with a digit.
SPREAD = 0x9E3779B97F4A7C15
SPREAD_AGAIN = 0xC2B2AE3D27D4EB4F
DIGITS = 0x165667B19E3779F9


def decoded(message: bytes) -> str:
    """Decode a message so that every character gives back its bytes."""
    return message.decode(errors="surrogateescape")


def encoded(text: str) -> bytes:
    """Give back the bytes that a text was decoded from.

    Raises:
        UnicodeEncodeError: it holds half a character, which no bytes give.

    """
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True, kw_only=True)
class Template:
    """Literal pieces with a parameter between each two of them. Pieces are bytes cut from the original message."""

    #: One more than there are parameters; the first and the last may be empty, the others never.
    literals: tuple[bytes, ...]
    #: Per parameter: may its value hold white space? Not part of the identity.
    spacious: tuple[bool, ...]
    #: Per parameter: its name, empty for none. Not part of the identity.
    names: tuple[str, ...]
    #: The model's confidence, 0 to 1. Not part of the identity.
    confidence: float = 1.0
    #: The message that a parser cut it from, as its neighbours will want to hear it. Not part of the identity.
    candidate: "Candidate | None" = field(default=None, compare=False, repr=False)
    #: What kind of message it is, empty for none, and how sure that is, 0 to 1. Not part of the identity: each worker
    #: decides by its own settings.
    type: str = field(default="", compare=False)
    type_confidence: float = field(default=0.0, compare=False)

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the literals' BLAKE2b: the same on every worker and after every restart."""
        digest = hashlib.blake2b(digest_size=8)
        for literal in self.literals:
            digest.update(len(literal).to_bytes(4, "big"))
            digest.update(literal)
        return digest.hexdigest()

    @cached_property
    def text(self) -> str:
        """The template as people read it, invalid UTF-8 replaced."""
        return WILDCARD.join(literal.decode(errors="replace") for literal in self.literals)

    @cached_property
    def rank(self) -> tuple[int, str]:
        """Sorts the template that wins, of those that match a message, before the others: most literal bytes, id."""
        return -sum(map(len, self.literals)), self.id

    @cached_property
    def letterless(self) -> bool:
        """Whether no literal holds a letter: then only messages without one match."""
        return not any(map(has_letter, self.literals))

    @cached_property
    def anchors(self) -> tuple[bytes, ...]:
        """Words that are runs of letters in every message that matches: a parameter can't lengthen them."""
        anchors: dict[bytes, None] = {}
        for number, literal in enumerate(self.literals):
            for run in LETTERS.finditer(literal):
                open_start = run.start() == 0 and number > 0
                open_end = run.end() == len(literal) and number < len(self.spacious)
                if not open_start and not open_end:
                    anchors[run[0]] = None
        return tuple(anchors)

    @classmethod
    def cut(cls, message: bytes, spans: Sequence[tuple[int, int]], confidence: float = 1.0) -> "Template":
        """Cut a template from `message` by the byte spans of its parameters, ascending; touching spans become one.

        It matches `message`, unless the spans leave no letter of a message that has one.
        """
        merged: list[list[int]] = []
        for start, end in spans:
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([start, end])
        edges = [0, *(edge for span in merged for edge in span), len(message)]
        return cls(
            literals=tuple(message[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)),
            spacious=tuple(any(byte in b" \t" for byte in message[start:end]) for start, end in merged),
            names=("",) * len(merged),
            confidence=confidence,
        )

    @classmethod
    def from_text(cls, text: str, spacious: Collection[int] = ()) -> "Template":
        """Read a template as people write it, `user <*> in`; `spacious` numbers the parameters that hold white space.

        Touching wildcards become one.
        """
        literals = re.split(rf"(?:{re.escape(WILDCARD)})+", text)
        parameters = range(len(literals) - 1)
        return cls(
            literals=tuple(literal.encode() for literal in literals),
            spacious=tuple(number in spacious for number in parameters),
            names=("",) * len(parameters),
        )

    def match(self, message: bytes) -> tuple[tuple[int, int], ...] | None:
        """Return the span of each parameter in `message`, None where the message does not match.

        Of all ways to match, each parameter is the shortest that lets the rest fit, from left to right. Takes time by
        the length of the message times the number of parameters at most.
        """
        start, end = len(self.literals[0]), len(message) - len(self.literals[-1])
        if not self.spacious:
            return () if message == self.literals[0] else None
        if start > end or not message.startswith(self.literals[0]) or not message.endswith(self.literals[-1]):
            return None
        if self.letterless and has_letter(message):
            return None
        return self._spans(message, start, end)

    def _spans(self, message: bytes, position: int, end: int) -> tuple[tuple[int, int], ...] | None:
        """Place every literal as far left as it goes.

        Where a value would hold white space, move what follows the last spacious parameter one place on; what stands
        before that never needs to move, a later end of it helps nobody. The places only ever move right, so what was
        found at or after `position` is remembered, not searched again.
        """
        spans: list[tuple[int, int]] = []
        last = len(self.spacious) - 1
        literal_at = [-1] * last + [end]
        space_at = [-1] * (last + 1)
        spacious = -1
        while len(spans) <= last:
            number = len(spans)
            if literal_at[number] < position:
                literal_at[number] = message.find(self.literals[number + 1], position, end)
                if literal_at[number] < 0:
                    return None
            if space_at[number] < position:
                space = _SPACE.search(message, position, end)
                space_at[number] = space.start() if space else end
            if self.spacious[number]:
                spacious = number
            elif space_at[number] < literal_at[number]:
                if spacious < 0:
                    return None
                number = spacious
                position, moved = spans[number][0], spans[number][1] + 1
                del spans[number:]
                literal_at[number] = message.find(self.literals[number + 1], moved, end)
                if literal_at[number] < 0:
                    return None
            spans.append((position, literal_at[number]))
            position = literal_at[number] + len(self.literals[number + 1])
        return tuple(spans)


def has_letter(text: bytes) -> bool:
    """Tell whether there is a letter, of whatever script."""
    return _LETTER.search(text) is not None


def words_of(message: bytes) -> list[bytes | None]:
    """Split at spaces and tabs; None stands for a word that holds a digit."""
    return [None if _DIGIT.search(word) else word for word in re.split(rb"[ \t]+", message) if word]


def word_hash(word: bytes) -> int:
    """Hash eight bytes at a time, little-endian, to 64 bits."""
    mixed = 0
    for at in range(0, len(word), 8):
        mixed = (mixed ^ int.from_bytes(word[at : at + 8], "little")) * SPREAD & _MASK
        mixed ^= mixed >> 32
    return mixed


def scope_seed(scope: int) -> int:
    """Return where the hashes of a scope start."""
    mixed = (scope + 1) * SPREAD & _MASK
    return mixed ^ mixed >> 29


def mix(mixed: int, more: int) -> int:
    """Mix one more 64-bit number into a hash."""
    mixed = (mixed ^ more) * SPREAD_AGAIN & _MASK
    return mixed ^ mixed >> 29


def fingerprint(message: bytes, scope: int = 0) -> int:
    """Hash the words of a message, 64 bits: messages of one template mostly share it, and it is only a guess."""
    mixed = scope_seed(scope)
    for word in words_of(message):
        mixed = mix(mixed, DIGITS if word is None else word_hash(word))
    return mixed
