"""A template: the constant text of a logging call, and how a message matches it. Knows nothing of numba.

`Template.match` is the reference that the compiled matcher is tested against.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

#: Stands for a parameter wherever a template is shown.
WILDCARD = "<*>"


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

    @classmethod
    def cut(cls, message: bytes, spans: Sequence[tuple[int, int]], confidence: float = 1.0) -> "Template":
        """Cut a template from `message` by the byte spans of its parameters, ascending; touching spans become one."""
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
