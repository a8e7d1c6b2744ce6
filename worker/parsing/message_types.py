"""The type of a message, such as `timeout`: read off its template by a small network, for types asked for in words.

The network reads the words of a template, three at a time, and gives it a direction of unit length, near to those of
messages of its kind. It brings its own vocabulary, knows nothing of the encoder, and needs no torch: one file serves
every checkpoint. It was taught some types; another type's direction is that of the words that describe it. Examples
speak only for what is very like them: directions were taught to forget what tells messages of one type apart, so what
is compared is the layer before.
"""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import numpy as np
from tokenizers import Tokenizer

from worker.errors import WrongModel
from worker.parsing.networks import (
    F32,
    HUMP,
    Part,
    described_texts,
    described_threshold,
    described_tokenizer,
    packed,
    read_network,
    refuse_misfits,
    shapes_of,
    write_network,
)
from worker.parsing.templates import WILDCARD, Template

#: The file that ships with Logloom.
SHIPPED = Path(__file__).parents[1] / "models" / "types.safetensors"
_CURE = "Install Logloom again."
#: Most characters and most tokens of a template that are read: a flood of long ones must not take long.
_CHARACTERS, TOKENS = 400, 64
_PARTS = (
    "tokens", "token_scale", "hidden_weight", "hidden_bias", "centre", "direction_weight", "direction_bias", "types",
    "type_bias",
)  # fmt: skip
#: From which cosine on a template is like an example, and what it gains, in log-odds, where it is the same.
_LIKE, _SAME = 0.7, 6.0
#: A word as the tokenizer cuts ASCII: a run of letters and digits, or a mark.
_WORD = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
#: Words whose rows are kept.
_MOST_WORDS = 20_000


class Typer:
    """A loaded network, and the types that are asked for."""

    def __init__(self, parts: Mapping[str, F32], taught: Sequence[str], threshold: float, tokenizer: Tokenizer) -> None:
        """Ask for the types that the network was `taught`; below the probability `threshold` a message has none.

        `parts` are: tokens (V + 1, q), by rows of `tokenizer` and then one for a parameter, and token_scale (q,),
        hidden_weight (h, 3 * q), hidden_bias (h,), centre (2 * h,), what the hidden layer says on average,
        direction_weight (z, 2 * h), direction_bias (z,), types (n + 1, z), whose last row stands for no type, and
        type_bias (n + 1,). The length of a type's row is its sharpness.
        """
        self._parts = dict(parts)
        # What each token says to the hidden layer as the token before, the middle one and the one behind, (q, 3 * h).
        weights = np.split(parts["hidden_weight"], 3, axis=1)
        self._around = np.ascontiguousarray(np.concatenate([weight.T for weight in weights], axis=1))
        self._taught = tuple(taught)
        self._threshold = threshold
        self._rows = TokenRows(tokenizer)
        #: Examples and other words, (n, 2 * h), by type; at which row each type's begin, and which types these are.
        self._examples: F32 = np.zeros((0, 0), np.float32)
        self._starts: list[int] = []
        self._exemplified: list[int] = []
        #: What the rows of `types` are called; empty for no type.
        self._names: tuple[str, ...] = (*taught, "")

    @classmethod
    def load(cls, types: Mapping[str, Sequence[str]] | None = None, path: Path = SHIPPED) -> Self:
        """Load a network, and ask for `types`: their names, each with words or examples that tell what it is.

        None or no types at all: those that it was taught.

        Raises:
            WrongModel: the file is missing or broken.

        """
        about, parts = read_network(path, _CURE)
        tokenizer, taught = described_tokenizer(path, about, _CURE), described_texts(path, about, "types", _CURE)
        _check(path, parts, len(taught), tokenizer.get_vocab_size())
        loaded = {name: part.astype(np.float32) for name, part in parts.items()}
        loaded["tokens"] *= loaded["token_scale"]
        return cls(loaded, taught, described_threshold(path, about, _CURE), tokenizer).asking(types)

    @property
    def taught(self) -> tuple[str, ...]:
        """The types that need no words."""
        return self._taught

    def asking(self, types: Mapping[str, Sequence[str]] | None) -> Self:
        """Ask the same network, which is shared, for `types` and no others; None or none at all: as before.

        A taught type stays where it is. Any other stands between what its words say and the taught type that they come
        nearest to, whose place it takes. Taught types that are left stay as rivals: what fits them best has none of
        the types asked for. What is very like a type's words, or an example, is drawn to it.
        """
        if not types:
            return self
        taught, bias = self._parts["types"], self._parts["type_bias"]
        rows, biases, replaced, words_of = [], [], set[int](), list[F32]()
        starts, exemplified = list[int](), list[int]()
        for place, (name, words) in enumerate(types.items()):
            known = name in self._taught
            said = [self._pooled(text) for text in ([*words] if known else [name, *words])]
            if known:
                near = self._taught.index(name)
                rows.append(taught[near])
            else:
                own = _unit(np.sum([self._direction(pooled) for pooled in said], axis=0))
                near = int((taught[:-1] @ own + bias[:-1]).argmax())
                length = np.linalg.norm(taught[near])
                rows.append(_unit(taught[near] / length + own) * length)
            if said:
                starts.append(len(words_of))
                exemplified.append(place)
                words_of += [self._aside(pooled) for pooled in said]
            biases.append(bias[near])
            replaced.add(near)
        rivals = [row for row in range(len(taught)) if row not in replaced]
        typer = copy(self)
        typer._parts = self._parts | {  # noqa: SLF001  another of this class
            "types": np.stack([*rows, *taught[rivals]]).astype(np.float32),
            "type_bias": np.array([*biases, *bias[rivals]], np.float32),
        }
        typer._names = (*types, *("" for _ in rivals))  # noqa: SLF001  the same
        typer._starts, typer._exemplified = starts, exemplified  # noqa: SLF001  the same
        if words_of:
            typer._examples = np.stack(words_of)  # noqa: SLF001  the same
        return typer

    def typed(self, template: Template) -> Template:
        """Give `template` with its type and how probable that is, or without one."""
        shares = self.shares(template.text)
        best = int(shares.argmax())
        if not self._names[best] or shares[best] < self._threshold:
            return replace(template, type="", type_confidence=0.0)
        return replace(template, type=self._names[best], type_confidence=float(shares[best]))

    def shares(self, text: str) -> F32:
        """Return how probable each type is for a template, rivals and none after those asked for, (rows,)."""
        pooled = self._pooled(text)
        scores = self._parts["types"] @ self._direction(pooled) + self._parts["type_bias"]
        if self._starts:
            likeness = np.maximum.reduceat(self._examples @ self._aside(pooled), self._starts)
            scores[self._exemplified] += _SAME * np.maximum((likeness - _LIKE) / (1 - _LIKE), 0)
        shares = np.exp(scores - scores.max())
        return cast("F32", shares / shares.sum())

    def _pooled(self, text: str) -> F32:
        """Read a template or words, (2 * h,): the most and the mean of what the hidden layer says."""
        parts = self._parts
        around = parts["tokens"][self._rows.of(text)] @ self._around  # (t, 3 * h)
        wide = len(parts["hidden_bias"])
        hidden = around[:, wide : 2 * wide] + parts["hidden_bias"]  # (t, h)
        hidden[1:] += around[:-1, :wide]
        hidden[:-1] += around[1:, 2 * wide :]
        np.maximum(hidden, 0, out=hidden)
        pooled = np.empty(2 * wide, np.float32)
        np.maximum.reduce(hidden, axis=0, out=pooled[:wide])
        np.add.reduce(hidden, axis=0, out=pooled[wide:])
        pooled[wide:] /= len(hidden)
        return pooled

    def _direction(self, pooled: F32) -> F32:
        """Turn what was read, (2 * h,), to a direction of unit length, (z,)."""
        return _unit(self._parts["direction_weight"] @ pooled + self._parts["direction_bias"])

    def _aside(self, pooled: F32) -> F32:
        """Tell what sets a template apart from others, (2 * h,), of unit length."""
        return _unit(pooled - self._parts["centre"])


class TokenRows:
    """Cuts templates into rows of the table of tokens; the row after the last token stands for a parameter."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Keep the rows of words: most words of a template were read before."""
        self._tokenizer = tokenizer
        self._parameter: int = tokenizer.get_vocab_size()
        self._words: dict[str, list[int]] = {}

    def of(self, text: str) -> list[int]:
        """Cut a template."""
        rows: list[int] = []
        for number, piece in enumerate(HUMP.sub(" ", text[:_CHARACTERS]).split(WILDCARD)):
            if number:
                rows.append(self._parameter)
            # Marks that are not ASCII part words or not, as the tokenizer knows.
            for word in _WORD.findall(piece) if piece.isascii() else [piece]:
                found = self._words.get(word)
                rows += self._of_word(word) if found is None else found
        return rows[:TOKENS] or [self._parameter]

    def _of_word(self, word: str) -> list[int]:
        if len(self._words) >= _MOST_WORDS:
            self._words.clear()
        rows: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        self._words[word] = rows
        return rows


def _unit(vector: F32) -> F32:
    return cast("F32", vector / max(float(np.linalg.norm(vector)), 1e-6))


def _check(path: Path, parts: Mapping[str, Part], types: int, tokens: int) -> None:
    """Raise WrongModel where tensors are missing, do not fit each other, or hold what is no number."""
    shapes = shapes_of(path, parts, _PARTS, "types")
    width, wide, length = (shapes[name][-1] for name in ("tokens", "hidden_bias", "direction_bias"))
    wanted = {
        "tokens": (tokens + 1, width),
        "token_scale": (width,),
        "hidden_weight": (wide, 3 * width),
        "hidden_bias": (wide,),
        "centre": (2 * wide,),
        "direction_weight": (length, 2 * wide),
        "direction_bias": (length,),
        "types": (types + 1, length),
        "type_bias": (types + 1,),
    }
    if not types:
        raise WrongModel(f"{path} has no types.")
    refuse_misfits(path, parts, wanted)


def write_types(
    path: Path, parts: Mapping[str, F32], taught: Sequence[str], threshold: float, tokenizer: Tokenizer
) -> None:
    """Write a network; tokens take a byte a number, by the scale of each column, everything else half precision.

    Raises:
        WrongModel: parts are missing, do not fit, or hold what is no number.

    """
    small = packed(parts)
    _check(path, small, len(taught), tokenizer.get_vocab_size())
    write_network(path, small, {"threshold": threshold, "types": list(taught), "tokenizer": tokenizer.to_str()})
