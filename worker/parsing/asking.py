"""Fields asked for in words: which piece of a message, or which field of its header, answers `client ip` or `duration`.

A small network compares the words of a field with the words around a piece, its key, its own words, the type of its
value and the rules that found it. Words are rows of a fixed table that a sentence encoder was distilled into, so that
words of like meaning are near each other whether or not they were ever seen in a field. The idea of one space for
spans and for the words that ask for them is that of GLiNER (arXiv:2311.08526); here both sides are cheap enough for
plain Python: it is asked once per template.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from tokenizers import Tokenizer

from worker.parsing.networks import (
    F32,
    HUMP,
    MARKS,
    Part,
    described_threshold,
    described_tokenizer,
    mark_class,
    read_network,
    refuse_misfits,
    shapes_of,
)
from worker.parsing.pieces import RULES, Piece
from worker.parsing.spans import Span
from worker.parsing.types import TYPES, parameter_type

#: Words read of each part: before a piece, behind it, of its key, of itself, and of the whole message.
LEFT, RIGHT, KEY, OWN, CONTEXT = 4, 3, 3, 4, 16
#: How many means of words a slot is, how near they are to a field's words and its last, shares of words in common.
SIDES, NEAR, EXACT = 8, 16, 5
#: Characters read on each side of a piece, and of a message.
_AROUND, _LONGEST = 80, 400
_WORD = re.compile(r"[^\W\d_]+")
_KEY = re.compile(r"([A-Za-z_][\w.\-]{0,40}(?: [A-Za-z]+){0,2})(?:=|: ?|\s=\s)[\"'\[({<]?$")
_CURE = "Copy it again, or make it again."
#: Numbers of a slot beside its words: type, rules, marks, header or not, how it is written, where it stands.
_MORE = 12
FACTS = len(TYPES) + len(RULES) + 2 * MARKS + _MORE
_LAYERS = ("slot", "slot_out", "query", "query_out", "joint", "joint_out")
_PARTS = ("words", "words_scale", *(f"{layer}_{part}" for layer in _LAYERS for part in ("weight", "bias")))


def words_of(text: str) -> list[str]:
    """Split names and prose into lower-case words: `clientIp`, `client_ip` and `client ip` are the same."""
    return [word.lower() for found in _WORD.findall(text) for word in HUMP.split(found)]


def field_name(field: str) -> str:
    """Write the words of a field as the end of an attribute's name: `client ip` is `client_ip`."""
    return "_".join(re.findall(r"\w+", field.lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What is read of one piece of a message, or of one field of its header."""

    #: Words before it, the nearest first; behind it; of its key; of itself.
    left: tuple[str, ...]
    right: tuple[str, ...]
    key: tuple[str, ...]
    own: tuple[str, ...]
    #: What it is like, (FACTS,), 0 to 2 each.
    facts: tuple[float, ...]

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """All of these words."""
        return self.left, self.right, self.key, self.own


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
            float(piece.start == 0),
            float(piece.end == len(text)),
        ),
    )


def header_slot(name: str, value: str, rules: Sequence[str] = ()) -> Slot:
    """Read a field of a header, by its name in events, such as `process.pid`."""
    return Slot(
        left=(),
        right=(),
        key=tuple(words_of(name)[-KEY:]),
        own=tuple(words_of(value)[:OWN]),
        facts=(*_facts(value, rules, "", "", in_header=True), 0.0, 0.0, 0.0, 0.0),
    )


def _facts(
    value: str, rules: Sequence[str] | frozenset[str], before: str, behind: str, *, in_header: bool
) -> tuple[float, ...]:
    shown = [0.0] * (FACTS - _MORE)
    shown[TYPES.index(parameter_type(value.encode(errors="replace")))] = 1.0
    for rule in rules:
        shown[len(TYPES) + RULES.index(rule)] = 1.0
    shown[len(TYPES) + len(RULES) + mark_class(before)] = 1.0
    shown[len(TYPES) + len(RULES) + MARKS + mark_class(behind)] = 1.0
    return (
        *shown,
        float(in_header),
        float(" " in value),
        min(len(value), 100) / 50,
        float(value.isalpha()),
        float(value.isupper()),
        float(value[:1].isupper()),
        float(any(map(str.isdigit, value))),
        min(value.count(" "), 8) / 4,
    )


class Asker:
    """Loaded networks that tell together how well each slot answers each field."""

    def __init__(
        self, parts: Mapping[str, F32], tokenizer: Tokenizer, threshold: float, taught: Mapping[str, F32] | None = None
    ) -> None:
        """Give no answer below `threshold`; `taught` are soft prompts, (3, d), read in place of the words of fields.

        `parts` are: words (V, d), by rows of `tokenizer`, and of n networks slot_weight (n, h, SIDES * d + FACTS),
        slot_bias (n, 1, h), slot_out_weight (n, p, h), slot_out_bias (n, 1, p), query_weight (n, h, 3 * d), query_bias,
        query_out_weight (n, p, h), query_out_bias, joint_weight (n, j, p + NEAR + EXACT), joint_bias (n, 1, j),
        joint_out_weight (n, 1, j), joint_out_bias (n, 1, 1).
        """
        self.parts = parts
        self._tokenizer = tokenizer
        self.threshold = threshold
        #: By `field_name`.
        self._taught = dict(taught or {})

    @property
    def width(self) -> int:
        """How many numbers a word is."""
        return int(self.parts["words"].shape[1])

    def taught(self, prompts: Mapping[str, F32]) -> "Asker":
        """Give one that reads soft prompts, (3, d), in place of the words of fields, by `field_name`."""
        return Asker(self.parts, self._tokenizer, self.threshold, {**self._taught, **prompts})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the file that `python -m training.ask` writes.

        Raises:
            WrongModel: it is missing, broken, or of another format.

        """
        about, parts = read_network(path, _CURE)
        tokenizer, threshold = described_tokenizer(path, about, _CURE), described_threshold(path, about, _CURE)
        _check(path, parts, tokenizer.get_vocab_size())
        words = parts["words"].astype(np.float32) * parts.pop("words_scale").astype(np.float32)
        floats = {name: part.astype(np.float32) for name, part in parts.items()} | {"words": words}
        return cls(floats, tokenizer, threshold)

    def scores(self, slots: Sequence[Slot], fields: Sequence[str], message: str = "") -> F32:
        """Tell the log-odds that a slot of `message` answers a field, (fields, slots)."""
        exact = overlaps(slots, [words_of(field) for field in fields])
        return scored(self.parts, *self.sides(slots, message), self.queries(fields), exact)

    def sides(self, slots: Sequence[Slot], message: str) -> tuple[F32, F32]:
        """Read the words around slots of `message`, (s, SIDES, d), and their facts, (s, FACTS)."""
        context = words_of(message[:_LONGEST])[:CONTEXT]
        known = self.embed({*context, *(word for slot in slots for part in slot.words for word in part)})
        around = self._mean(known, context)
        sides = [
            [self._mean(known, words) for words in (
                slot.left[:1], slot.left[1:2], slot.left, slot.right[:1], slot.right, slot.key, slot.own
            )] + [around] for slot in slots
        ]  # fmt: skip
        return np.array(sides, np.float32), np.array([slot.facts for slot in slots], np.float32)

    def queries(self, fields: Sequence[str]) -> F32:
        """Read fields: all words, the last and the first, (f, 3, d), or what was learned in their place."""
        asked = [words_of(field) for field in fields]
        known = self.embed({word for words in asked for word in words})
        return np.stack([
            self._taught.get(
                field_name(field), np.stack([self._mean(known, part) for part in (words, words[-1:], words[:1])])
            )
            for field, words in zip(fields, asked, strict=True)
        ])  # fmt: skip

    def _mean(self, known: Mapping[str, F32], words: Sequence[str]) -> F32:
        return np.mean([known[word] for word in words], axis=0) if words else np.zeros(self.width, np.float32)

    def embed(self, words: Iterable[str]) -> dict[str, F32]:
        """Look words up, each the mean of its tokens' rows, of length 1."""
        found, listed = {}, [*words]
        for word, encoding in zip(listed, self._tokenizer.encode_batch(listed, add_special_tokens=False), strict=True):
            row = self.parts["words"][encoding.ids].mean(axis=0)
            found[word] = row / (np.linalg.norm(row) + 1e-6)
        return found


def overlaps(slots: Sequence[Slot], asked: Sequence[Sequence[str]]) -> F32:
    """Tell the share of a field's words that a slot's key, left, first right, right and own hold, (f, s, EXACT)."""
    parts = [
        tuple(map(frozenset, (slot.key, slot.left[:2], slot.right[:1], slot.right, slot.own))) for slot in slots
    ]  # fmt: skip
    return np.array(
        [[[len(part.intersection(words)) / len(words) for part in slot] for slot in parts] for words in asked],
        np.float32,
    )


def scored(parts: Mapping[str, F32], sides: F32, facts: F32, queries: F32, exact: F32) -> F32:
    """Ask all: `sides` (s, SIDES, d), `facts` (s, FACTS), `queries` (f, 3, d), `exact` (f, s, EXACT); (f, s)."""
    slots = _layer(parts, "slot", np.concatenate([sides.reshape(len(sides), -1), facts], axis=1))  # (n, s, h)
    slots = _linear(parts, "slot_out", slots)  # (n, s, p)
    asked = _layer(parts, "query", queries.reshape(len(queries), -1))  # (n, f, h)
    asked = _linear(parts, "query_out", asked)  # (n, f, p)
    near = np.einsum("fqd,skd->fsqk", queries[:, :2], sides).reshape(len(queries) * len(sides), -1)  # (f * s, NEAR)
    together = np.concatenate([near, exact.reshape(len(near), -1)], axis=1)  # (f * s, NEAR + EXACT)
    product = (asked[:, :, None] * slots[:, None]).reshape(len(slots), len(near), -1)  # (n, f * s, p)
    both = np.concatenate([product, np.broadcast_to(together, (len(slots), *together.shape))], axis=2)
    more = _linear(parts, "joint_out", _layer(parts, "joint", both))[..., 0]  # (n, f * s)
    found = product.sum(axis=2) / product.shape[2] ** 0.5 + more
    return cast("F32", found.mean(axis=0).reshape(len(queries), len(sides)))


def _layer(parts: Mapping[str, F32], name: str, inputs: F32) -> F32:
    return cast("F32", np.maximum(_linear(parts, name, inputs), 0))


def _linear(parts: Mapping[str, F32], name: str, inputs: F32) -> F32:
    return cast("F32", inputs @ parts[f"{name}_weight"].swapaxes(1, 2) + parts[f"{name}_bias"])


def _check(path: Path, parts: Mapping[str, Part], tokens: int) -> None:
    """Raise WrongModel where tensors are missing, do not fit each other, or hold what is no number."""
    shapes = shapes_of(path, parts, _PARTS, "networks that answer fields")
    count = shapes["slot_weight"][0]
    width, *wide = (shapes[name][-1] for name in ("words", "slot_bias", "slot_out_bias", "query_bias", "joint_bias"))
    hidden, space, asking, joint = wide
    layers = {
        "slot": (hidden, SIDES * width + FACTS), "slot_out": (space, hidden), "query": (asking, 3 * width),
        "query_out": (space, asking), "joint": (joint, space + NEAR + EXACT), "joint_out": (1, joint),
    }  # fmt: skip
    wanted: dict[str, tuple[int, ...]] = {"words": (tokens, width), "words_scale": (tokens, 1)}
    for layer, (outputs, inputs) in layers.items():
        wanted |= {f"{layer}_weight": (count, outputs, inputs), f"{layer}_bias": (count, 1, outputs)}
    refuse_misfits(path, parts, wanted)
