"""The tagger: an encoder that says of each token whether it is constant or in a parameter.

Importing this module imports torch, which takes seconds, so it is imported when a checkpoint is loaded. Knows nothing
of templates.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from worker.errors import TooMuchForDevice, WrongModel
from worker.parsing.bert import Bert, Packing
from worker.parsing.checkpoint import (
    ABOUT,
    CONFIG,
    FEATURE_SIZES,
    LABELS,
    TOKENIZER,
    WEIGHTS,
    About,
    checkpoint_version,
    read_about,
)
from worker.parsing.prompts import Prompt, PromptBatch, load_prompts

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

# Classes of characters, as the feature tables use them.
_LOWER, _UPPER, _DIGIT, _SPACE, _FOREIGN, _PUNCTUATION = 1, 2, 3, 4, 5, 6
_CLASS = np.full(128, _PUNCTUATION, np.int64)
_CLASS[[ord(c) for c in "abcdefghijklmnopqrstuvwxyz"]] = _LOWER
_CLASS[[ord(c) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = _UPPER
_CLASS[[ord(c) for c in "0123456789"]] = _DIGIT
_CLASS[[ord(c) for c in " \t\n\r\v\f"]] = _SPACE
#: Classes of neighbours: those above, then marks that say much about what follows or precedes them; 0 is no neighbour.
_NEIGHBOUR = _CLASS.copy()
for _code, _marks in ((7, "="), (8, ":"), (9, "/\\"), (10, "\"'`"), (11, "([{<"), (12, ")]}>"), (13, "-_.@")):
    _NEIGHBOUR[[ord(c) for c in _marks]] = _code

#: Stands among the codes of characters where a text begins or ends.
_EDGE = -1
#: What torch names in the error of an allocation that the machine has no memory for.
_HOST_ALLOCATOR = "DefaultCPUAllocator"
#: Rows are padded to the next of these (then to multiples of 64), so that a row's width depends on that row alone.
_WIDTHS = (6, 10, 14, 18, 22, 26, 30, 38, 46, 62, 78, 94, 126, 158, 190, 254)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The sub-words of one text, without special tokens; t of them."""

    #: Vocabulary rows, (t,).
    ids: I64
    #: Character features, (t, 5).
    features: I64
    #: Where each stands in the text, half open, in characters, (t,) each.
    start: I64
    end: I64
    #: The word that each belongs to, ascending, (t,).
    word: I64


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory of a device that is no CPU, in bytes."""

    device: str
    #: What tensors hold, and what this process holds for them; the former is part of the latter.
    allocated: int
    reserved: int
    #: What the device has.
    size: int


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Network(nn.Module):
    """Encoder, character features added to its embeddings, one linear layer per token."""

    def __init__(self, encoder: nn.Module, hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = nn.Embedding(sum(FEATURE_SIZES), hidden)
        self.head = nn.Linear(hidden, len(LABELS))
        nn.init.normal_(self.features.weight, std=0.02)
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor([0, *np.cumsum(FEATURE_SIZES)[:-1]]), persistent=False)

    def forward(
        self, ids: Tensor, features: Tensor, mask: Tensor | Packing, prompt: PromptBatch | None = None
    ) -> Tensor:
        """Score the labels of each token.

        `ids` (B, T), `features` (B, T, 5), `mask` (B, T) with 1 for real tokens; returns (B, T, 3). Our own encoder
        takes packed rows too, without a prompt: (N,), (N, 5), and their packing; then (N, 3) is returned.

        Raises:
            WrongModel: a prompt has keys and values, and the encoder is not our own.

        """
        words = cast("Any", self.encoder).get_input_embeddings()(ids)  # (B, T, H)
        shapes = self.features(features + self.offsets).sum(dim=-2)  # (B, T, H)
        hidden = self._encoded(words + shapes, mask, prompt)  # (B, T, H)
        scores = cast("Tensor", self.head(hidden))
        if prompt is None or prompt.head_weight is None or prompt.head_bias is None:
            return scores
        own = hidden @ prompt.head_weight.to(hidden.dtype).transpose(1, 2) + prompt.head_bias[:, None]  # (B, T, 3)
        return torch.where(prompt.owns_head[:, None, None], own.to(scores.dtype), scores)

    def _encoded(self, embedded: Tensor, mask: Tensor | Packing, prompt: PromptBatch | None) -> Tensor:
        """Encode (B, T, H); the tokens keep their places whatever the prompt."""
        if prompt is None or isinstance(mask, Packing):
            encoded = self.encoder(inputs_embeds=embedded, attention_mask=mask)
        elif isinstance(self.encoder, Bert):
            encoded = self.encoder(embedded, mask, prompt.prefix)
        elif prompt.prefix.keys.shape[2]:
            raise WrongModel("keys and values of a prompt need an encoder of type bert with gelu: train it without.")
        else:
            length = embedded.shape[1]
            # Other encoders give every vector a place: behind the tokens they move none of these.
            seen = torch.cat([mask, prompt.prefix.vectors_mask.to(mask.dtype)], dim=1)
            whole = torch.cat([embedded, prompt.prefix.vectors.to(embedded.dtype)], dim=1)
            return cast("Tensor", self.encoder(inputs_embeds=whole, attention_mask=seen).last_hidden_state[:, :length])
        return encoded if isinstance(encoded, Tensor) else cast("Tensor", encoded.last_hidden_state)


def features(codes: I64, start: I64, end: I64) -> I64:
    """Describe the characters of tokens that lie at `start`..`end` of `codes`; (t, 5).

    `codes` are texts with an `_EDGE` before each and behind the last; no token holds one.
    What an uncased, digit-folding vocabulary drops: case and kind, true length, both neighbours, the word around it.
    """
    kind = np.where(codes < 128, _CLASS[np.clip(codes, 0, 127)], _FOREIGN)
    kind[codes == _EDGE] = _SPACE
    totals = np.zeros((7, len(codes) + 1), np.int64)
    for one in range(1, 7):
        np.cumsum(kind == one, out=totals[one, 1:])
    inside = totals[:, end] - totals[:, start]  # (7, t)
    lower, upper, digit, foreign, punctuation = (
        inside[one] > 0 for one in (_LOWER, _UPPER, _DIGIT, _FOREIGN, _PUNCTUATION)
    )
    first_upper = kind[start] == _UPPER
    shape = np.select(
        [
            foreign,
            punctuation,
            digit & ~lower & ~upper,
            digit & upper & ~lower,
            digit,
            upper & ~lower,
            upper & first_upper,
            upper,
        ],
        [8, 7, 4, 6, 5, 2, 1, 3],
        0,
    )
    marks = np.where(codes < 128, _NEIGHBOUR[np.clip(codes, 0, 127)], _FOREIGN)
    marks[codes == _EDGE] = 0
    # The stretch between white space that each token lies in.
    breaks = np.flatnonzero(kind == _SPACE)
    place = np.searchsorted(breaks, start, side="right")
    left, right = breaks[place - 1] + 1, np.maximum(breaks[np.minimum(place, len(breaks) - 1)], end)
    stretch = totals[:, right] - totals[:, left]
    slashes = np.concatenate([[0], np.cumsum((codes == 47) | (codes == 92))])
    dots = np.concatenate([[0], np.cumsum(codes == 46)])
    around = (
        (stretch[_DIGIT] > 0) * 1
        + (slashes[right] > slashes[left]) * 2
        + (dots[right] > dots[left]) * 4
        + ((stretch[_UPPER] > 0) & (stretch[_LOWER] > 0)) * 8
        + (stretch[_PUNCTUATION] > 0) * 16
    )
    return np.stack([shape, np.minimum(end - start, 15), marks[start - 1], marks[end], around], axis=1)


class _Unset(TorchFunctionMode):
    """Draws no random weights: they are read at once, or never looked at.

    Random weights of the base model take a third of a second, and on the device `meta` torch imports its compiler for
    them, which takes a second and 60 MB.
    """

    _DRAWING = frozenset({nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_})

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave a tensor that is to be drawn as it is, and call everything else."""
        del types
        if function in self._DRAWING:
            return args[0] if args else (kwargs or {})["tensor"]
        return function(*args, **(kwargs or {}))


def described_network(config: dict[str, Any]) -> Network:
    """Make the network of an encoder's description, with random weights.

    Raises:
        WrongModel: no such encoder is known, or its sizes do not fit each other.

    """
    try:
        if config["model_type"] == "bert" and config.get("hidden_act", "gelu") == "gelu":
            return Network(Bert(config), config["hidden_size"])
        from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - takes seconds, and only other encoders need it

        return Network(AutoModel.from_config(AutoConfig.for_model(**config)), config["hidden_size"])
    except Exception as error:  # what an encoder of Transformers raises is up to it
        raise WrongModel(f"{CONFIG} describes no encoder that can be run: {error!r}") from error


def described_shapes(config: dict[str, Any], most_layers: int) -> dict[str, tuple[int, ...]]:
    """Tell the shapes of an encoder's weights by its description, without making them: sizes may be lies.

    Raises:
        WrongModel: no such encoder is known, its sizes do not fit each other, or it has more than `most_layers` layers.

    """
    if config["num_hidden_layers"] > most_layers:
        raise WrongModel(f"{CONFIG} gives {config['num_hidden_layers']} layers, more than {WEIGHTS} has weights.")
    with torch.device("meta"), _Unset():
        return {name: tuple(tensor.shape) for name, tensor in described_network(config).state_dict().items()}


class Tagger:
    """A loaded checkpoint."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        about: About,
        version: str,
        device: torch.device,
        dtype: torch.dtype,
        *,
        prompts: Mapping[str, Prompt] | None = None,
    ) -> None:
        """Serve `network`, with `prompts` by name, on `device`, multiplying in `dtype`."""
        self.about = about
        #: Name and digest of the checkpoint: another one never reads this one's templates.
        self.version = version
        self.device = device
        self._tokenizer = tokenizer
        self._special = special_tokens(tokenizer)
        self._dtype = dtype
        self._network = network.to(device).eval().requires_grad_(False)
        #: A GPU is faster with few large products of attention than with one for each length.
        self._packs = device.type == "cpu" and isinstance(network.encoder, Bert)
        weights = network.head.weight.dtype
        #: The soft prompts that there are, by name.
        self.prompts = {name: prompt.to(device, weights) for name, prompt in (prompts or {}).items()}

    def device_memory(self) -> DeviceMemory | None:
        """Tell what of the device's memory is taken; None on a CPU. Asks torch's allocator, not the driver."""
        if self.device.type != "cuda":
            return None
        return DeviceMemory(
            device=str(self.device),
            allocated=torch.cuda.memory_allocated(self.device),
            reserved=torch.cuda.memory_reserved(self.device),
            size=torch.cuda.get_device_properties(self.device).total_memory,
        )

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto", dtype: str = "auto") -> "Tagger":
        """Load a checkpoint onto `device`; `auto` is CUDA where there is one, else the CPU.

        `dtype` is that of the multiplications: `float32`, `bfloat16`, `float16`, or `auto`: bfloat16 where the hardware
        multiplies it.

        Raises:
            WrongModel: a file is missing or broken, or the parts do not fit each other or this version.

        """
        about, config, tokenizer, weights = read_checkpoint(folder)
        if about.max_tokens > config["max_position_embeddings"]:
            raise WrongModel(f"{folder / ABOUT} gives max_tokens as {about.max_tokens}, {CONFIG} has fewer positions.")
        wanted = described_shapes(config, len(weights))
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if shapes != wanted:
            wrong = sorted(name for name in wanted.keys() | shapes.keys() if shapes.get(name) != wanted.get(name))
            raise WrongModel(
                f"{folder / WEIGHTS} does not fit {CONFIG}: {', '.join(wrong[:5])}. Take both from one checkpoint."
            )
        # The least and the most are no numbers where any is none; asked of each number it takes thirty times as long.
        ranges = [torch.stack(tensor.aminmax()) for tensor in weights.values() if tensor.numel()]
        if not all(bool(torch.isfinite(ends).all()) for ends in ranges):
            raise WrongModel(
                f"{folder / WEIGHTS} holds values that are no numbers. Train it again, or take another one."
            )
        with _Unset():
            network = described_network(config)
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
        prompts = load_prompts(folder, config)
        _check_prompts(folder, network, prompts, config["max_position_embeddings"] - about.max_tokens)
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise WrongModel("there is no CUDA device here: set the model's device to `auto` or `cpu`.")
        precision = serving_dtype(chosen) if dtype == "auto" else _DTYPES[dtype]
        network.to(chosen, precision)
        return cls(network, tokenizer, about, checkpoint_version(folder), chosen, precision, prompts=prompts)

    @property
    def window(self) -> int:
        """Most tokens of a text that go through the network at once."""
        return self.about.max_tokens - 2

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Cut texts into sub-words. The texts must hold no lone surrogates."""
        return tokenize(self._tokenizer, texts)

    def cuts_of(self, prompt: str | None) -> str:
        """Tell how messages are cut under a prompt, one of CUTS."""
        found = None if prompt is None else self.prompts.get(prompt)
        return self.about.cuts if found is None or found.cuts is None else found.cuts

    def width_of(self, length: int) -> int:
        """Tell how many tokens a row of `length` may take in the network."""
        return min(padded_width(length), self.window) + 2

    def tag(self, rows: Sequence[Tokens], *, prompts: Sequence[str | None] | None = None) -> list[F32]:
        """Score the labels of each token of each row, (t, 3) each; neither order nor neighbours enter a row's scores.

        `prompts` names the soft prompt of each row; a name that has none is as None: there are known templates alone.
        Rows without are packed where that is faster; others are padded by their own length.

        Raises:
            TooMuchForDevice: the device has too little memory for this many rows.
            MemoryError: the machine has.

        """
        named = [None if name is None else self.prompts.get(name) for name in prompts or [None] * len(rows)]
        alike: dict[int, list[int]] = defaultdict(list)
        for row, prompt in enumerate(named):
            alike[0 if self._packs and prompt is None else self.width_of(len(rows[row].ids))].append(row)
        found = [np.zeros((0, 3), np.float32)] * len(rows)
        lacking = None
        try:
            for width, members in alike.items():
                chosen = [rows[row] for row in members]
                scores = self._scores(chosen, width, [named[row] for row in members])
                for row, score in zip(members, scores, strict=True):
                    found[row] = score
        except torch.OutOfMemoryError as error:
            lacking = str(error)
        except RuntimeError as error:
            if _HOST_ALLOCATOR in str(error):
                raise MemoryError(str(error)) from error
            raise
        if lacking is not None:
            # Raised here, because in its handler torch's error still holds what was allocated.
            raise TooMuchForDevice(f"the device has too little memory: {lacking}")
        return found

    def _scores(self, rows: Sequence[Tokens], width: int, prompts: Sequence[Prompt | None]) -> list[F32]:
        """Score rows that are padded to `width`, or packed if it is 0."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32),
        ):
            if not width:
                scores = self._network(*packed_rows(rows, self._special)).float().numpy()
                ends = np.cumsum([len(tokens.ids) + 2 for tokens in rows])
                return [row[1:-1] for row in np.split(scores, ends)[:-1]]
            inputs = (part.to(self.device) for part in padded_rows(rows, self._special, width))
            scores = self._network(*inputs, PromptBatch.of(prompts)).float().cpu().numpy()
        return [scores[row, 1 : len(tokens.ids) + 1] for row, tokens in enumerate(rows)]


def _check_prompts(folder: Path, network: Network, prompts: Mapping[str, Prompt], free: int) -> None:
    """Raise WrongModel where an encoder that is not our own can't run a prompt; `free` places are left for vectors."""
    if isinstance(network.encoder, Bert):
        return
    for name, prompt in prompts.items():
        if prompt.keys.shape[1]:
            raise WrongModel(
                f"{folder}: prompt {name} has keys and values, which need an encoder of type bert with gelu. "
                "Train it with vectors alone."
            )
        if len(prompt.vectors) > free:
            raise WrongModel(
                f"{folder}: prompt {name} has {len(prompt.vectors)} vectors, {CONFIG} has {free} places left."
            )


def serving_dtype(device: torch.device) -> torch.dtype:
    """Choose bfloat16 where the hardware multiplies it (2.5 times as fast on a CPU that does), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Other processors emulate bfloat16, which is slower than float32.
    capable = torch.cpu.get_capabilities()
    return torch.bfloat16 if capable.get("avx512_bf16") or capable.get("amx_bf16") else torch.float32


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Cut texts into sub-words with their character features. The texts must hold no lone surrogates."""
    found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    codes = np.frombuffer("\n".join(["", *texts, ""]).encode("utf-32-le"), np.uint32).astype(np.int64)
    first = np.cumsum([1, *(len(text) + 1 for text in texts)])  # of each text among the codes
    codes[first - 1] = _EDGE
    counts = [len(one.ids) for one in found]
    base = np.repeat(first[:-1], counts)
    spans = np.array([span for one in found for span in one.offsets], np.int64).reshape(-1, 2) + base[:, None]
    start, end = unfolded(codes, spans)
    shapes, start, end = features(codes, start, end), start - base, end - base
    edges = np.cumsum([0, *counts])
    return [
        Tokens(
            ids=np.array(one.ids, np.int64),
            features=shapes[left:right],
            start=start[left:right],
            end=end[left:right],
            word=np.array(one.word_ids, np.int64),
        )
        for one, left, right in zip(found, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def unfolded(codes: I64, spans: I64) -> tuple[I64, I64]:
    """Stretch each token left over the letters and digits that no token covers.

    Where the tokenizer folds `12345` into one token, it gives the place of the last digit alone.
    """
    start, end = np.ascontiguousarray(spans[:, 0]), np.ascontiguousarray(spans[:, 1])
    if len(start):
        ascii_kind = _CLASS[np.minimum(codes, 127)]
        wordless = np.where((codes < 128) & (ascii_kind <= _DIGIT), -1, np.arange(len(codes)))
        last_wordless = np.concatenate([[-1], np.maximum.accumulate(wordless)])  # before each place
        floor = np.maximum(last_wordless[start] + 1, np.concatenate([[0], end[:-1]]))
        start = np.minimum(start, floor)
    return start, end


def special_tokens(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Look up the tokens that begin, end and pad a row.

    Raises:
        WrongModel: the tokenizer has no such tokens.

    """
    first, last, padding = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
    if first is None or last is None or padding is None:
        raise WrongModel("the tokenizer lacks [CLS], [SEP] or [PAD].")
    return first, last, padding


def padded_width(length: int) -> int:
    """Tell the width that a row of `length` tokens is padded to."""
    return next((width for width in _WIDTHS if width >= length), -(-length // 64) * 64)


def padded_rows(rows: Sequence[Tokens], special: tuple[int, int, int], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Put rows between the special tokens and pad them: ids (B, T), features (B, T, 5), mask (B, T)."""
    first, last, padding = special
    ids = np.full((len(rows), width), padding, np.int64)
    shapes = np.zeros((len(rows), width, len(FEATURE_SIZES)), np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for row, tokens in enumerate(rows):
        count = len(tokens.ids)
        ids[row, 0], ids[row, count + 1] = first, last
        ids[row, 1 : count + 1] = tokens.ids
        shapes[row, 1 : count + 1] = tokens.features
        mask[row, : count + 2] = 1
    return torch.from_numpy(ids), torch.from_numpy(shapes), torch.from_numpy(mask)


def packed_rows(rows: Sequence[Tokens], special: tuple[int, int, int]) -> tuple[Tensor, Tensor, Packing]:
    """Put rows between the special tokens and behind one another, and filler to the end: ids (N,), features (N, 5)."""
    first, last, padding = special
    lengths = [len(tokens.ids) + 2 for tokens in rows]
    filler = packed_length(sum(lengths)) - sum(lengths)
    edge = np.zeros((1, len(FEATURE_SIZES)), np.int64)
    ids = [part for tokens in rows for part in ([first], tokens.ids, [last])]
    shapes = [part for tokens in rows for part in (edge, tokens.features, edge)]
    return (
        torch.from_numpy(np.concatenate([*ids, np.full(filler, padding)])),
        torch.from_numpy(np.concatenate([*shapes, edge.repeat(filler, axis=0)])),
        Packing.of(lengths, filler),
    )


def packed_length(tokens: int) -> int:
    """Round up what goes through the network at once: to a multiple of 16, and to one of eight sizes an octave.

    oneDNN compiles its products for each size, and keeps them: a thousand sizes took a gigabyte, and a third more time.
    """
    step = 1 << max(tokens.bit_length() - 4, 4)
    return -(-tokens // step) * step


def read_checkpoint(folder: Path) -> tuple[About, dict[str, Any], Tokenizer, dict[str, Tensor]]:
    """Read the four files of a checkpoint.

    Raises:
        WrongModel: one is missing, broken, or of another format version.

    """
    about = read_about(folder)
    config = read_config(folder)
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the Rust library raises bare Exceptions
        raise WrongModel(f"{folder / TOKENIZER} is no tokenizer: {error}") from error
    if tokenizer.get_vocab_size() > config["vocab_size"]:
        raise WrongModel(
            f"{folder / TOKENIZER} has {tokenizer.get_vocab_size()} tokens, {CONFIG} only {config['vocab_size']}."
        )
    try:
        weights = load_file(str(folder / WEIGHTS))
    except (SafetensorError, OSError) as error:
        raise WrongModel(f"{folder / WEIGHTS} is broken: {error}") from error
    return about, config, tokenizer, weights


def read_config(folder: Path) -> dict[str, Any]:
    """Read the description of the encoder.

    Raises:
        WrongModel: it is no JSON object, or lacks a size.

    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        sizes = [config[name] for name in ("hidden_size", "vocab_size", "max_position_embeddings", "num_hidden_layers")]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WrongModel(f"{folder / CONFIG} describes no encoder: {error!r}") from error
    if "model_type" not in config or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise WrongModel(f"{folder / CONFIG} describes no encoder: it needs a model_type and sizes above zero.")
    return cast("dict[str, Any]", config)


def write_checkpoint(
    folder: Path, network: Network, config: dict[str, Any], tokenizer: Tokenizer, about: About
) -> None:
    """Write a checkpoint; weights in half precision, which the labels do not feel."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).write_text(json.dumps(asdict(about), indent=2) + "\n", encoding="utf-8")
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / TOKENIZER), pretty=False)
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in network.state_dict().items()
    }
    save_file(weights, str(folder / WEIGHTS), {"format": "pt"})
