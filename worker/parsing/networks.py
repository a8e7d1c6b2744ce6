"""What the small networks beside the model share: the form of their files, and how they read characters.

A file is safetensors with one description, JSON, in its metadata.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tokenizers import Tokenizer

from worker.errors import WrongModel

F32 = npt.NDArray[np.float32]
Part: TypeAlias = npt.NDArray[Any]

#: Where one word of several begins, as programmers write them: `readTimeout`.
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: Classes of the characters around a value; 0 is none, and what is in no class has the one after the last.
_MARKS = ("", " ", "=", ":", "([{<", ")]}>", "\"'`", ",;", ".!?", "/\\", "-_#@%")
#: How many classes there are.
MARKS = len(_MARKS) + 1
#: The version of the files' format; another one can't be run.
_FORMAT = 1
_ABOUT = "about"


def mark_class(character: str) -> int:
    """Tell the class of a character beside a value, empty for the text's edge."""
    if not character:
        return 0
    return next((place for place, marks in enumerate(_MARKS) if character in marks and place), len(_MARKS))


def read_network(path: Path, cure: str) -> tuple[dict[str, Any], dict[str, Part]]:
    """Read a file's description and its tensors by name; `cure` says what to do about a broken one.

    Raises:
        WrongModel: the file is missing, broken, or of another format.

    """
    try:
        with safe_open(str(path), "numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get(_ABOUT, "{}"))
            parts = {part: file.get_tensor(part) for part in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WrongModel(f"{path} is broken: {error}. {cure}") from error
    if not isinstance(about, dict):
        raise WrongModel(f"{path} is broken: it describes itself by no object. {cure}")
    if about.get("format") != _FORMAT:
        raise WrongModel(f"{path} is of format {about.get('format')!r}; this version runs format {_FORMAT}.")
    return about, parts


def described_tokenizer(path: Path, about: Mapping[str, Any], cure: str) -> Tokenizer:
    """Make the tokenizer that a file's description holds.

    Raises:
        WrongModel: it holds none.

    """
    text = about.get("tokenizer")
    try:
        return Tokenizer.from_str(text if isinstance(text, str) else "")
    except Exception as error:  # the Rust library raises bare Exceptions
        raise WrongModel(f"{path} is broken: it holds no tokenizer: {error}. {cure}") from error


def described_texts(path: Path, about: Mapping[str, Any], name: str, cure: str) -> list[str]:
    """Read a list of texts out of a file's description.

    Raises:
        WrongModel: it is none.

    """
    texts = about.get(name)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise WrongModel(f"{path} is broken: its {name} are no list of texts. {cure}")
    return texts


def described_threshold(path: Path, about: Mapping[str, Any], cure: str) -> float:
    """Read the probability or the odds below which a network says nothing.

    Raises:
        WrongModel: it is no number.

    """
    threshold = about.get("threshold")
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not np.isfinite(threshold):
        raise WrongModel(f"{path} is broken: {threshold!r} is no threshold. {cure}")
    return float(threshold)


def write_network(path: Path, parts: Mapping[str, Part], about: Mapping[str, Any]) -> None:
    """Write what `read_network` reads. The same network gives the same bytes, which versions follow."""
    # One text, because several would come in random order.
    path.write_bytes(save(dict(parts), {_ABOUT: json.dumps({"format": _FORMAT, **about})}))


def packed(parts: Mapping[str, F32], token_scale: F32 | float = 1.0) -> dict[str, Part]:
    """Make tensors small: `tokens` a byte a number, by the scale of each column, everything else half precision.

    `token_scale` is what the tokens are to be multiplied with already, and becomes part of the scale.
    """
    scale = np.maximum(np.abs(parts["tokens"]).max(axis=0), 1e-6) / 127
    small: dict[str, Part] = {name: np.ascontiguousarray(part, np.float16) for name, part in parts.items()}
    small["tokens"] = np.round(parts["tokens"] / scale).astype(np.int8)
    small["token_scale"] = (scale * token_scale).astype(np.float32)
    return small


def shapes_of(path: Path, parts: Mapping[str, Part], wanted: Iterable[str], what: str) -> dict[str, tuple[int, ...]]:
    """Tell the shape of each tensor.

    Raises:
        WrongModel: there are others than those `wanted` for `what`, or one is no array.

    """
    if set(parts) != {*wanted}:
        raise WrongModel(f"{path} holds {', '.join(sorted(parts))}: {what} have {', '.join(wanted)}.")
    shapes = {name: part.shape for name, part in parts.items()}
    if not all(shapes.values()):
        raise WrongModel(f"{path} has a part without a shape. Make it again.")
    return shapes


def refuse_misfits(path: Path, parts: Mapping[str, Part], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the shapes of tensors with those `wanted`, which must not be empty, and look for what is no number.

    Raises:
        WrongModel: they do not fit, or hold what is no number.

    """
    wrong = [f"{name} {parts[name].shape}, not {shape}" for name, shape in wanted.items() if parts[name].shape != shape]
    if wrong:
        raise WrongModel(f"{path} has parts that do not fit each other or the tokenizer: {'; '.join(wrong)}.")
    if not all(np.isfinite(part).all() for part in parts.values()):
        raise WrongModel(f"{path} holds values that are no numbers. Make it again.")
