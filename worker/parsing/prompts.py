"""Soft prompts: what a source teaches a frozen encoder, in some kilobytes, and how rows of many prompts run at once.

A prompt may have any of three parts: vectors that stand before the tokens (Lester et al., 2021), keys and values for
the attention of every layer (Li & Liang, 2021; P-tuning v2), and virtual label tokens, whose dot product with a token's
hidden state scores the label (LogPPT, 2023). Knows nothing of messages and templates.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from worker.errors import WrongModel
from worker.parsing.bert import Prefix
from worker.parsing.checkpoint import (
    LABELS,
    PROMPT,
    encoder_version,
    prompt_folder,
    prompt_names,
    refuse_unknown_cuts,
)

__all__ = ["Prompt", "PromptBatch", "load_prompt", "load_prompts", "prompt_names", "write_prompt"]

#: The version of the file's format; another one can't be run.
_FORMAT = "1"
_PARTS = ("vectors", "keys", "values")
_HEAD = ("head_weight", "head_bias")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """What was learned of one source. Its tensors may be parameters in training."""

    name: str
    #: Read by the first layer beside the tokens, (p, H); p may be 0.
    vectors: Tensor
    #: Keys and values of every layer's attention, as its projections would give them, (layers, q, H); q may be 0.
    keys: Tensor
    values: Tensor
    #: A vector and a bias for each label, (3, H) and (3,); None: the checkpoint's own head scores.
    head_weight: Tensor | None = None
    head_bias: Tensor | None = None
    #: How messages are cut, one of CUTS; None: as the checkpoint says.
    cuts: str | None = None

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Prompt":
        """Move it to where it runs."""
        return replace(
            self,
            vectors=self.vectors.to(device, dtype),
            keys=self.keys.to(device, dtype),
            values=self.values.to(device, dtype),
            head_weight=None if self.head_weight is None else self.head_weight.to(device, dtype),
            head_bias=None if self.head_bias is None else self.head_bias.to(device, dtype),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors that there are by name."""
        named = {name: getattr(self, name) for name in (*_PARTS, *_HEAD)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBatch:
    """The prompts of B rows, padded to the longest. Gradients reach the tensors that it was made of."""

    prefix: Prefix
    #: Virtual label tokens of each row, zero where it has none, (B, 3, H) and (B, 3); None where no row has any.
    head_weight: Tensor | None
    head_bias: Tensor | None
    #: Which rows have virtual label tokens, (B,), boolean.
    owns_head: Tensor

    @classmethod
    def of(cls, prompts: Sequence[Prompt | None]) -> Self | None:
        """Put the prompts of a micro-batch's rows together; None for a row without, and where no row has one."""
        distinct = list({id(prompt): prompt for prompt in prompts if prompt is not None}.values())
        if not distinct:
            return None
        device = distinct[0].vectors.device
        number = {id(prompt): place for place, prompt in enumerate(distinct)}
        # The last place of every stack below stands for no prompt: nothing of it is ever looked at.
        rows = torch.tensor([number.get(id(prompt), len(distinct)) for prompt in prompts], device=device)
        width = [len(prompt.vectors) for prompt in distinct] + [0]
        depth = [prompt.keys.shape[1] for prompt in distinct] + [0]
        places, deep_places = (torch.arange(max(sizes), device=device) for sizes in (width, depth))
        heads = [prompt.head_weight is not None for prompt in distinct] + [False]
        return cls(
            prefix=Prefix(
                vectors=_stacked([prompt.vectors for prompt in distinct], max(width))[rows],
                vectors_mask=(places < torch.tensor(width, device=device)[:, None])[rows],
                keys=_stacked([prompt.keys for prompt in distinct], max(depth))[rows],
                values=_stacked([prompt.values for prompt in distinct], max(depth))[rows],
                mask=(deep_places < torch.tensor(depth, device=device)[:, None])[rows],
            ),
            head_weight=_heads([prompt.head_weight for prompt in distinct], rows),
            head_bias=_heads([prompt.head_bias for prompt in distinct], rows),
            owns_head=torch.tensor(heads, device=device)[rows],
        )


def _stacked(parts: Sequence[Tensor], length: int) -> Tensor:
    """Stack tensors (..., n, H) padded to (..., length, H), and one of zeros behind them."""
    padded = [functional.pad(part, (0, 0, 0, length - part.shape[-2])) for part in parts]
    return torch.stack([*padded, torch.zeros_like(padded[0])])


def _heads(parts: Sequence[Tensor | None], rows: Tensor) -> Tensor | None:
    """Choose each row's part of a head, zeros where it has none; None where none has any."""
    first = next((part for part in parts if part is not None), None)
    if first is None:
        return None
    none = torch.zeros_like(first)
    return torch.stack([*(none if part is None else part for part in parts), none])[rows]


def write_prompt(folder: Path, prompt: Prompt) -> None:
    """Write a prompt, in half precision, into the checkpoint in `folder`, for whose weights it was made.

    Raises:
        WrongModel: the prompt's name or its parts can't be, or there is no checkpoint.

    """
    path = prompt_folder(folder, prompt.name) / PROMPT
    halved = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in prompt.tensors().items()}
    _check(path, halved, prompt.cuts)
    about = {
        "format": _FORMAT,
        "p": str(len(prompt.vectors)),
        "q": str(prompt.keys.shape[1]),
        "encoder": encoder_version(folder),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_sorted(save(halved, about | ({} if prompt.cuts is None else {"cuts": prompt.cuts}))))


def _sorted(file: bytes) -> bytes:
    """Sort the description in a safetensors file: it comes in random order, and versions follow the bytes."""
    size = 8 + int.from_bytes(file[:8], "little")
    header: dict[str, Any] = json.loads(file[8:size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size - 8)
    return len(text).to_bytes(8, "little") + text + file[size:]


def load_prompts(folder: Path, config: dict[str, Any]) -> dict[str, Prompt]:
    """Load every prompt of the checkpoint in `folder`, by name; those that have known templates alone are left out.

    Raises:
        WrongModel: one is broken, or was made for another checkpoint.

    """
    names = [name for name in prompt_names(folder) if (prompt_folder(folder, name) / PROMPT).is_file()]
    encoder = encoder_version(folder) if names else ""
    return {name: load_prompt(folder, name, config, encoder=encoder) for name in names}


def load_prompt(folder: Path, name: str, config: dict[str, Any], *, encoder: str | None = None) -> Prompt:
    """Load a prompt of the checkpoint in `folder`, whose encoder `config` describes, in float32.

    `encoder` is the checkpoint's `encoder_version`, where it is known already.

    Raises:
        WrongModel: it is missing or broken, or was made for another checkpoint.

    """
    path = prompt_folder(folder, name) / PROMPT
    if not path.is_file():
        names = ", ".join(prompt_names(folder)) or "none"
        raise WrongModel(f"{folder} has no {PROMPT} for {name!r}; the prompts there: {names}.")
    try:
        with safe_open(str(path), "pt") as file:
            about: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {part: file.get_tensor(part) for part in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise WrongModel(f"{path} is broken: {error}. Copy it again, or train it again.") from error
    if about.get("format") != _FORMAT:
        raise WrongModel(f"{path} is of format {about.get('format')}; this version runs format {_FORMAT}.")
    if about.get("encoder") != (encoder or encoder_version(folder)):
        raise WrongModel(
            f"{path} was made for another encoder ({about.get('encoder')}) than that of {folder}: "
            "train it again on this checkpoint, or use the checkpoint that it was trained on."
        )
    _check(path, tensors, about.get("cuts"))
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    if tensors["vectors"].shape[1] != hidden or tensors["keys"].shape[::2] != (layers, hidden):
        raise WrongModel(
            f"{path} does not fit an encoder of {layers} layers and {hidden} hidden units. Train it again."
        )
    if (about.get("p"), about.get("q")) != (str(len(tensors["vectors"])), str(tensors["keys"].shape[1])):
        raise WrongModel(f"{path} is broken: it holds other lengths than it says. Copy it again, or train it again.")
    return Prompt(name=name, cuts=about.get("cuts"), **{part: tensor.float() for part, tensor in tensors.items()})


def _check(path: Path, tensors: dict[str, Tensor], cuts: str | None) -> None:
    """Raise WrongModel where tensors are missing, do not fit each other, or hold what is no number."""
    if set(tensors) not in ({*_PARTS}, {*_PARTS, *_HEAD}):
        raise WrongModel(f"{path} holds {', '.join(sorted(tensors))}: a prompt has {', '.join((*_PARTS, *_HEAD))}.")
    shape = tensors["vectors"].shape
    fits = (
        len(shape) == 2
        and tensors["keys"].dim() == 3
        and tensors["keys"].shape == tensors["values"].shape
        and tensors["keys"].shape[2] == shape[1]
        and ("head_weight" not in tensors or tensors["head_weight"].shape == (len(LABELS), shape[1]))
        and ("head_bias" not in tensors or tensors["head_bias"].shape == (len(LABELS),))
    )
    if not fits:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))
        raise WrongModel(f"{path} has parts that do not fit each other: {shapes}. Train it again.")
    if not all(tensor.is_floating_point() and bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise WrongModel(f"{path} holds values that are no numbers. Train it again, with a lower learning rate.")
    if cuts is not None:
        refuse_unknown_cuts(cuts, path, "training.prompt_tune")
