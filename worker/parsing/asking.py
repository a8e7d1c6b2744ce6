"""Fields asked for in words: which piece of a message, or which field of its header, answers `client ip` or `duration`.

A small network compares the words of a field with the words around a piece, its key, its own words, the type of its
value and the rules that found it. Words are rows of a fixed table that a sentence encoder was distilled into, so that
words of like meaning are near each other whether or not they were ever seen in a field. The idea of one space for
spans and for the words that ask for them is that of GLiNER (arXiv:2311.08526); here both sides are cheap enough for
plain Python: it is asked once per template.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from tokenizers import Tokenizer

from worker.parsing.networks import F32, HUMP, MARKS, mark_class, read_network
from worker.parsing.pieces import RULES, Piece
from worker.parsing.spans import Span
from worker.parsing.types import TYPES, parameter_type

#: Words read of each part: before a piece, behind it, of its key, of itself.
LEFT, RIGHT, KEY, OWN = 4, 2, 3, 4
#: Characters read on each side of a piece.
_AROUND = 80
_WORD = re.compile(r"[^\W\d_]+")
_KEY = re.compile(r"([A-Za-z_][\w.\-]{0,40}(?: [A-Za-z]+){0,2})(?:=|: ?|\s=\s)[\"'\[({<]?$")
#: Numbers of a slot beside its words: type, rules, marks, header or not, how long it is.
FACTS = len(TYPES) + len(RULES) + 2 * MARKS + 6


def words_of(text: str) -> list[str]:
    """Split names and prose into lower-case words: `clientIp`, `client_ip` and `client ip` are the same."""
    return [word.lower() for found in _WORD.findall(text) for word in HUMP.split(found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What is read of one piece of a message, or of one field of its header."""

    #: Words before it, the nearest first; behind it; of its key; of itself.
    left: tuple[str, ...]
    right: tuple[str, ...]
    key: tuple[str, ...]
    own: tuple[str, ...]
    #: What it is like, (FACTS,), 0 or 1 each.
    facts: tuple[float, ...]


def piece_slot(text: str, piece: Piece, parameters: Sequence[Span] = ()) -> Slot:
    """Read a piece of a message that has `parameters`."""
    left, right = text[max(0, piece.start - _AROUND) : piece.start], text[piece.end : piece.end + _AROUND]
    value = text[piece.start : piece.end]
    key = _KEY.search(left)
    return Slot(
        left=tuple(words_of(left)[: -LEFT - 1 : -1]),
        right=tuple(words_of(right)[:RIGHT]),
        key=tuple(words_of(key[1])[-KEY:]) if key else (),
        own=tuple(words_of(value)[:OWN]),
        facts=(
            *_facts(value, piece.rules, left[-1:], right[:1], in_header=False),
            float(any(start <= piece.start and piece.end <= end for start, end in parameters)),
            float(any(piece.start <= start < end <= piece.end for start, end in parameters)),
        ),
    )


def header_slot(name: str, value: str, rules: Sequence[str] = ()) -> Slot:
    """Read a field of a header, by its name in events, such as `process.pid`."""
    return Slot(
        left=(),
        right=(),
        key=tuple(words_of(name)[-KEY:]),
        own=tuple(words_of(value)[:OWN]),
        facts=(*_facts(value, rules, "", "", in_header=True), 0.0, 0.0),
    )


def _facts(
    value: str, rules: Sequence[str] | frozenset[str], before: str, behind: str, *, in_header: bool
) -> tuple[float, ...]:
    facts = [0.0] * (FACTS - 2)
    facts[TYPES.index(parameter_type(value.encode(errors="replace")))] = 1.0
    for rule in rules:
        facts[len(TYPES) + RULES.index(rule)] = 1.0
    facts[len(TYPES) + len(RULES) + mark_class(before)] = 1.0
    facts[len(TYPES) + len(RULES) + MARKS + mark_class(behind)] = 1.0
    facts[-4] = float(in_header)
    facts[-3] = float(" " in value)
    facts[-2] = min(len(value), 100) / 50
    facts[-1] = float(value.isalpha())
    return tuple(facts)


class Asker:
    """A loaded network that tells how well each slot answers each field."""

    def __init__(self, parts: Mapping[str, F32], tokenizer: Tokenizer, threshold: float) -> None:
        """Give no answer below `threshold`; `parts` are those of `shapes`."""
        self._parts = parts
        self._tokenizer = tokenizer
        self.threshold = threshold

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the file that `python -m training.ask` writes.

        Raises:
            WrongModel: it is missing, broken, or of another format.

        """
        about, parts = read_network(path, "Copy it again, or make it again.")
        words = parts["words"].astype(np.float32) * parts.pop("words_scale").astype(np.float32)
        floats = {name: part.astype(np.float32) for name, part in parts.items()} | {"words": words}
        return cls(floats, Tokenizer.from_str(about["tokenizer"]), float(about["threshold"]))

    def scores(self, slots: Sequence[Slot], fields: Sequence[str]) -> F32:
        """Tell the log-odds that a slot answers a field, (fields, slots)."""
        read = {word for slot in slots for part in (slot.left, slot.right, slot.key, slot.own) for word in part}
        asked = [words_of(field) for field in fields]
        known = self.embed([*read, *(word for words in asked for word in words)])
        width = self._parts["words"].shape[1]

        def mean(words: Sequence[str]) -> F32:
            return np.mean([known[word] for word in words], axis=0) if words else np.zeros(width, np.float32)

        read_of = [
            (slot.left[:1], slot.left[1:2], slot.left, slot.right, slot.key, slot.own) for slot in slots
        ]  # fmt: skip
        sides = np.stack([np.stack([mean(words) for words in parts]) for parts in read_of])  # (s, 6, d)
        facts = np.array([slot.facts for slot in slots], np.float32)  # (s, FACTS)
        queries = np.stack([np.stack([mean(words), mean(words[-1:]), mean(words[:1])]) for words in asked])  # (f, 3, d)
        exact = overlaps(slots, asked)
        return scored(self._parts, sides, facts, queries, exact)

    def embed(self, words: Sequence[str]) -> dict[str, F32]:
        """Look words up, each the mean of its tokens' rows, of length 1."""
        found = {}
        for word, encoding in zip(
            words, self._tokenizer.encode_batch(list(words), add_special_tokens=False), strict=True
        ):
            row = self._parts["words"][encoding.ids].mean(axis=0)
            found[word] = row / (np.linalg.norm(row) + 1e-6)
        return found


def overlaps(slots: Sequence[Slot], asked: Sequence[Sequence[str]]) -> F32:
    """Tell the share of a field's words that each part of a slot holds literally, (f, s, 4): key, left, right, own."""
    parts = [tuple(map(frozenset, (slot.key, slot.left[:2], slot.right, slot.own))) for slot in slots]
    return np.array(
        [[[len(part.intersection(words)) / len(words) for part in slot] for slot in parts] for words in asked],
        np.float32,
    )


def scored(parts: Mapping[str, F32], sides: F32, facts: F32, queries: F32, exact: F32) -> F32:
    """Run the network: `sides` (s, 6, d), `facts` (s, FACTS), `queries` (f, 3, d), `exact` (f, s, 4); (f, s)."""
    slots = _layer(parts, "slot", np.concatenate([sides.reshape(len(sides), -1), facts], axis=1))  # (s, h)
    slots = slots @ parts["slot_out_weight"].T + parts["slot_out_bias"]  # (s, p)
    asked = _layer(parts, "query", queries.reshape(len(queries), -1))  # (f, h)
    asked = asked @ parts["query_out_weight"].T + parts["query_out_bias"]  # (f, p)
    near = np.einsum("fqd,skd->fsqk", queries[:, :2], sides).reshape(len(queries), len(sides), -1)  # (f, s, 12)
    together = np.concatenate([near, exact], axis=2)  # (f, s, 16)
    product = asked[:, None] * slots[None]  # (f, s, p)
    hidden = _layer(parts, "joint", np.concatenate([product, together], axis=2))  # (f, s, j)
    more = (hidden @ parts["joint_out_weight"].T + parts["joint_out_bias"])[..., 0]  # (f, s)
    return cast("F32", product.sum(axis=2) / product.shape[2] ** 0.5 + more)


def _layer(parts: Mapping[str, F32], name: str, inputs: F32) -> F32:
    return cast("F32", np.maximum(inputs @ parts[f"{name}_weight"].T + parts[f"{name}_bias"], 0))
