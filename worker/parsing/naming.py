"""Names of parameters: read off the words around a parameter and the type of its value, by a small network.

The network knows words by the tokens of one tokenizer, with which it goes; it has none of the encoder's weights, needs
no torch, and fits every checkpoint that was taught from the same one. It chooses among names that many programs give
their variables, and the one or two words right before the parameter: `topic <*>`.

What a variable is called in code differs from what a reader calls the parameter by habits of programmers, of case and
of abbreviation: `plain_name` takes these off, so that one thing has one name.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from tokenizers import Tokenizer

from worker.errors import WrongModel
from worker.parsing.checkpoint import NAMES, TOKENIZER, tokenizer_version
from worker.parsing.networks import (
    F32,
    MARKS,
    Part,
    described_texts,
    described_threshold,
    mark_class,
    packed,
    read_network,
    refuse_misfits,
    shapes_of,
    write_network,
)
from worker.parsing.types import TYPES, parameter_type

_CURE = "Copy it again, or make it again."
#: Words that programmers shorten, and those of several words for one thing that is kept.
_SPELLINGS = {
    "addr": "address", "addrs": "addresses", "app": "application", "arch": "architecture", "attr": "attribute",
    "attrs": "attributes", "auth": "authentication", "buf": "buffer", "cert": "certificate", "cfg": "config",
    "clazz": "class", "cls": "class", "cmd": "command", "cnt": "count", "conf": "config", "configuration": "config",
    "conn": "connection", "ctx": "context", "db": "database", "desc": "description", "dest": "destination",
    "dev": "device", "dir": "directory", "dirname": "directory", "dst": "destination", "e": "error",
    "elapsed": "duration", "env": "environment", "err": "error", "errmsg": "error", "errno": "error_code",
    "errstr": "error", "ev": "event", "ex": "error", "exc": "error", "exception": "error", "expr": "expression",
    "ext": "extension", "filename": "file", "filepath": "path", "filesize": "file_size", "fn": "function",
    "fname": "file", "func": "function", "gen": "generation", "hostname": "host", "idx": "index", "iface": "interface",
    "ifname": "interface", "ioe": "error", "ip": "address", "len": "length", "lineno": "line", "loc": "location",
    "msg": "message", "msgs": "messages", "ns": "namespace", "num": "number", "op": "operation", "opt": "option",
    "opts": "options", "param": "parameter", "params": "parameters", "pathname": "path", "pidfile": "pid_file",
    "pkg": "package", "pos": "position", "prev": "previous", "prop": "property", "props": "properties",
    "proto": "protocol", "rc": "return_code", "ref": "reference", "req": "request", "resp": "response",
    "ret": "return_code", "retcode": "return_code", "returncode": "return_code", "retval": "return_code",
    "rsp": "response", "rv": "return_code", "seq": "sequence", "sig": "signal", "signame": "signal",
    "signum": "signal", "sock": "socket", "sockfd": "fd", "spec": "specification", "src": "source", "tbl": "table",
    "temp": "temporary", "throwable": "error", "tmp": "temporary", "tp": "topic_partition", "txn": "transaction",
    "uri": "url", "urls": "url", "username": "user", "val": "value", "vals": "values", "var": "variable",
    "ver": "version", "xid": "transaction_id",
}  # fmt: skip
#: Names of one thing.
_SAME = {
    "absolute_path": "path", "abs_path": "path", "canonical_path": "path", "cause": "reason", "cause_message": "error",
    "canonical_class": "class", "simple_class": "class", "current_version": "version", "duration_time": "duration",
    "error_message": "error", "error_text": "error", "file_path": "path", "full_path": "path",
    "host_address": "address", "last_error": "error", "line_number": "line", "localized_message": "error",
    "message_error": "error",
    "real_path": "path", "self_id": "id", "self_name": "name", "simple_name": "class", "canonical_name": "class",
    "stack_trace": "stack", "strerror": "error", "time_duration": "duration", "time_taken": "duration",
    "took": "duration", "total_time": "duration", "wait_time": "wait", "sleep_time": "delay", "user_name": "user",
}  # fmt: skip
#: Names that tell a reader nothing: of accessors, of containers, and of values that could be anything.
_EMPTY = frozenset({
    "arg", "args", "argument", "argv", "array", "buffer", "data", "dumps", "dict", "expected", "extra", "fmt",
    "foo", "format", "from", "get", "getattr", "getpid", "in", "is", "item", "items", "it", "json", "key_set",
    "keys_list", "kwargs", "line_separator", "list", "map", "map_list", "next", "now", "obj", "object", "optarg",
    "or", "or_else", "out", "output", "res", "result", "results", "s", "self", "set", "str", "string",
    "string_value", "sum", "text", "tuple", "this", "to", "val", "value", "values", "vec", "what", "where", "x",
})  # fmt: skip
#: What stands before `_name` and does not say by itself what is named.
_ADJECTIVES = frozenset({
    "first", "last", "new", "old", "full", "display", "given", "current", "local", "remote", "other", "real", "own",
    "original",
})  # fmt: skip
_UNITS = frozenset({
    "ms", "millis", "msec", "milliseconds", "secs", "sec", "seconds", "nanos", "ns", "us", "micros", "kb", "mb",
})  # fmt: skip
_OWNERS = frozenset({
    "self", "this", "my", "the", "our", "cur", "get",
})  # fmt: skip


def plain_name(name: str) -> str:
    """Write a variable's name as a reader would name the parameter: snake case, whole words; empty if it tells nothing.

    Owners (`self_`, single letters), units (`_ms`) and `_name` are taken off, and `num_retries` is `retry_count`.
    """
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", snake) if word]
    while len(words) > 1 and (words[0] in _OWNERS or (len(words[0]) == 1 and words[0] not in {"e", "n"})):
        words = words[1:]
    if len(words) == 1 and (len(words[0]) == 1 and words[0] != "e"):
        return ""
    if len(words) > 1 and words[0] in {"n", "num", "nb", "nr"}:
        words = [*words[1:-1], _singular(words[-1]), "count"]
    while len(words) > 1 and words[-1] in _UNITS:
        words = words[:-1]
    words = "_".join(_SPELLINGS.get(word, word) for word in words).split("_")
    plain = _SAME.get("_".join(words), "_".join(words))
    if plain.endswith("_name") and plain.removesuffix("_name").rpartition("_")[2] not in _ADJECTIVES:
        plain = plain.removesuffix("_name")
        plain = _SAME.get(plain, plain)
    return "" if plain in _EMPTY or not re.fullmatch(r"[a-z][a-z0-9_]{1,31}", plain) else plain


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def widespread(name: str, names: Collection[str]) -> str:
    """Write a plain name by one of `names`: itself, or its longest ending (`node_id` of `remote_node_id`), or empty."""
    while name and name not in names:
        name = name.partition("_")[2]
    return name


#: Words read on each side of a parameter.
LEFT, RIGHT = 3, 1
#: Stands for another parameter among the words.
PARAMETER = "<*>"
#: The same in text that is read.
_MARK = "\0"
#: Characters read on each side of a parameter, and of each constant for the subject.
_AROUND, _MOST_CHARACTERS = 100, 1000
_WORD = re.compile(r"\0|[^\W_]+")
_JOINT = re.compile(r"[ _\-]")
#: Most characters between a parameter and a word that names it.
_NEAR = 4
#: Most words of a message that are read as its subject.
_MOST_WORDS = 64
#: How many names of its own a place offers.
COPIES = 2

_PARTS = (
    "tokens", "token_scale", "special", "kinds", "marks", "hidden_weight", "hidden_bias", "span_weight", "span_bias",
    "names_weight",
    "names_bias",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is read of one parameter."""

    #: LEFT words before it, the nearest first, then RIGHT words behind it; empty for none, PARAMETER for another one.
    words: tuple[str, ...]
    #: The distinct words of the whole message's constants.
    message: tuple[str, ...]
    #: The value's type, by its place in TYPES.
    kind: int
    #: Classes of the characters before and behind it.
    marks: tuple[int, int]
    #: The name that the word before it gives, and the two words before it; empty where they give none.
    copies: tuple[str, str]


def places(constants: Sequence[str], values: Sequence[bytes]) -> list[Place]:
    """Read the places of a message's parameters: `constants` are the texts around its `values`."""
    found = []
    message = dict.fromkeys(word[0].lower() for text in constants for word in _WORD.finditer(text[:_MOST_CHARACTERS]))
    subject = tuple(message)[:_MOST_WORDS]
    for number, value in enumerate(values):
        left = _MARK.join(constants[: number + 1])[-_AROUND:]
        right = _MARK.join(constants[number + 1 :])[:_AROUND]
        before = [*_WORD.finditer(left)][: -LEFT - 1 : -1]
        behind = [word[0] for word, _ in zip(_WORD.finditer(right), range(RIGHT), strict=False)]
        words = [*(word[0] for word in before), *[""] * (LEFT - len(before)), *behind, *[""] * (RIGHT - len(behind))]
        found.append(
            Place(
                words=tuple(PARAMETER if word == _MARK else word.lower() for word in words),
                message=subject,
                kind=TYPES.index(parameter_type(value)),
                marks=(mark_class(left[-1:]), mark_class(right[:1])),
                copies=_copies(left, before),
            )
        )
    return found


def _copies(left: str, before: Sequence[re.Match[str]]) -> tuple[str, str]:
    """Name a parameter by the word before it, and by the two words before it."""
    if not before or before[0][0] == _MARK or len(left) - before[0].end() > _NEAR:
        return "", ""
    one = plain_name(before[0][0])
    if len(before) < 2 or before[1][0] == _MARK or not _JOINT.fullmatch(left, before[1].end(), before[0].start()):
        return one, ""
    return one, plain_name(f"{before[1][0]}_{before[0][0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a parameter is called, and how sure that is."""

    name: str
    #: 0 to 1.
    probability: float


class Namer:
    """A loaded network: what a `Place` tells, one hidden layer, a span's 128 numbers, names."""

    def __init__(self, parts: Mapping[str, F32], names: Sequence[str], threshold: float, tokenizer: Tokenizer) -> None:
        """Choose among `names`, and give none below the probability `threshold`.

        `parts` are: tokens (V, q), by rows of `tokenizer`, and token_scale (q,), special (2, q) for no word and another
        parameter, kinds (types, k), marks (2 * MARKS, m), hidden_weight (h, 5 * q + k + 2 * m), hidden_bias (h,),
        span_weight (s, h), span_bias (s,), names_weight (n + COPIES, s), names_bias (n + COPIES,).
        """
        self._parts = parts
        self._names = tuple(names)
        self._row = {name: row for row, name in enumerate(names)}
        self._threshold = threshold
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Load the names of the checkpoint in `folder`; None where it has none.

        Raises:
            WrongModel: the file is broken, or was made for another tokenizer.

        """
        path = folder / NAMES
        if not path.is_file():
            return None
        about, parts = read_network(path, _CURE)
        if about.get("tokenizer") != tokenizer_version(folder):
            raise WrongModel(
                f"{path} was made for another tokenizer ({about.get('tokenizer')}) than that of {folder}: "
                "make it again with `python -m training.name`, or delete it."
            )
        names, threshold = described_texts(path, about, "names", _CURE), described_threshold(path, about, _CURE)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        _check(path, parts, len(names), tokenizer.get_vocab_size())
        return cls({name: part.astype(np.float32) for name, part in parts.items()}, names, threshold, tokenizer)

    def names(self, found: Sequence[Place]) -> list[str]:
        """Name parameters; empty where nothing is probable enough."""
        return [one.name if one.probability >= self._threshold else "" for one in self.choose(found)]

    def choose(self, found: Sequence[Place]) -> list[Chosen]:
        """Choose the most probable name of each parameter."""
        if not found:
            return []
        scores = self.spans(found) @ self._parts["names_weight"].T + self._parts["names_bias"]  # (b, n + COPIES)
        count = len(self._names)
        scores[:, count:][[[not copy for copy in place.copies] for place in found]] = -np.inf
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        best = shares[:, :count].argmax(axis=1)
        chosen = []
        for row, place in enumerate(found):
            odds = {self._names[best[row]]: float(shares[row, best[row]])}
            # A name of the place's own may be among the others too: both speak for it.
            for copy, share in zip(place.copies, shares[row, count:].tolist(), strict=True):
                if copy:
                    known = float(shares[row, self._row[copy]]) if copy in self._row else 0.0
                    odds[copy] = odds.get(copy, known) + share
            name = max(odds, key=lambda name: odds[name])
            chosen.append(Chosen(name=name, probability=odds[name]))
        return chosen

    def spans(self, found: Sequence[Place]) -> F32:
        """Represent parameters, (b, s): names and parameters that belong together have large dot products."""
        parts = self._parts
        vectors = self._vectors({word for place in found for word in (*place.words, *place.message)})
        words = np.stack([vectors[word] for place in found for word in place.words])  # (b * 4, q)
        # Parameters of one message have the same subject.
        subjects = {message: _mean(vectors, message) for message in {place.message for place in found}}
        messages = np.stack([subjects[place.message] for place in found])  # (b, q)
        kinds = parts["kinds"][[place.kind for place in found]]  # (b, k)
        sides = np.array([place.marks for place in found]) + np.array([0, MARKS])
        marks = parts["marks"][sides].reshape(len(found), -1)  # (b, 2 * m)
        read = np.concatenate([words.reshape(len(found), -1), messages, kinds, marks], axis=1)
        hidden = np.maximum(read @ parts["hidden_weight"].T + parts["hidden_bias"], 0)  # (b, h)
        return cast("F32", hidden @ parts["span_weight"].T + parts["span_bias"])

    def _vectors(self, words: Collection[str]) -> dict[str, F32]:
        """Represent words by the mean of their tokens, (q,)."""
        distinct = [*({*words} - {"", PARAMETER})]
        rows: dict[str, F32] = {"": self._parts["special"][0], PARAMETER: self._parts["special"][1]}
        for word, tokens in zip(
            distinct, self._tokenizer.encode_batch(distinct, add_special_tokens=False), strict=True
        ):
            if tokens.ids:
                rows[word] = self._parts["tokens"][tokens.ids].mean(axis=0) * self._parts["token_scale"]
            else:
                rows[word] = rows[""]
        return rows


def _mean(vectors: Mapping[str, F32], words: Sequence[str]) -> F32:
    """Average the vectors of `words`, (q,); zeros for no word."""
    if not words:
        return np.zeros_like(vectors[""])
    return cast("F32", np.mean([vectors[word] for word in words], axis=0))


def _check(path: Path, parts: Mapping[str, Part], names: int, tokens: int) -> None:
    """Raise WrongModel where tensors are missing, do not fit each other or `tokens`, or hold what is no number."""
    shapes = shapes_of(path, parts, _PARTS, "names")
    width, wide, span = shapes["tokens"][-1], shapes["hidden_bias"][0], shapes["span_bias"][0]
    kind, mark = shapes["kinds"][-1], shapes["marks"][-1]
    wanted = {
        "tokens": (tokens, width),
        "token_scale": (width,),
        "special": (2, width),
        "kinds": (len(TYPES), kind),
        "marks": (2 * MARKS, mark),
        "hidden_weight": (wide, (LEFT + RIGHT + 1) * width + kind + 2 * mark),
        "hidden_bias": (wide,),
        "span_weight": (span, wide),
        "span_bias": (span,),
        "names_weight": (names + COPIES, span),
        "names_bias": (names + COPIES,),
    }
    if not names:
        raise WrongModel(f"{path} has no names.")
    refuse_misfits(path, parts, wanted)


def write_names(folder: Path, parts: Mapping[str, F32], names: Sequence[str], threshold: float) -> None:
    """Write names into the checkpoint in `folder`, for whose tokenizer they were made.

    Tokens take a byte a number, by the scale of each column, everything else half precision.

    Raises:
        WrongModel: parts are missing, do not fit, or hold what is no number; there is no checkpoint.

    """
    path = folder / NAMES
    small = packed(parts, parts["token_scale"])
    _check(path, small, len(names), len(parts["tokens"]))
    about = {"tokenizer": tokenizer_version(folder), "threshold": threshold, "names": list(names)}
    write_network(path, small, about)
