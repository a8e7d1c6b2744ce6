"""A very small checkpoint for tests: random weights, a tokenizer of single characters."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from training.encoder import folding_tokenizer
from worker.parsing.checkpoint import CORRECTED, About
from worker.parsing.model import described_network, write_checkpoint
from worker.parsing.naming import COPIES, LEFT, RIGHT, write_names
from worker.parsing.networks import F32, MARKS
from worker.parsing.types import TYPES

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.:/-_=[]()'\","
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "2000",
    "##2000",
    "deadbeef",
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
    "took",
]
CONFIGURATION: dict[str, Any] = {
    "model_type": "bert", "vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64,
}  # fmt: skip
#: An encoder that Transformers makes.
OTHER_CONFIGURATION = CONFIGURATION | {"hidden_act": "relu"}


def small_tokenizer() -> Tokenizer:
    """Make a tokenizer of single characters."""
    return folding_tokenizer({token: row for row, token in enumerate(VOCABULARY)})


def write_small(folder: Path, *, seed: int = 1, config: dict[str, Any] | None = None, **about: Any) -> Path:
    """Write a checkpoint of a very small encoder with random weights."""
    torch.manual_seed(seed)
    network = described_network(config or CONFIGURATION)
    described = About(**{"name": "tiny", "max_tokens": 32, "origin": "a test", "cuts": CORRECTED, **about})
    write_checkpoint(folder, network, config or CONFIGURATION, small_tokenizer(), described)
    return folder


def naming_parts(**chosen: F32) -> dict[str, F32]:
    """Make a small naming network of zeros for two names, but for what is `chosen`."""
    word, kind, mark, hidden, span = 3, 2, 2, 4, 5
    shapes: dict[str, tuple[int, ...]] = {
        "tokens": (len(VOCABULARY), word),
        "token_scale": (word,),
        "special": (2, word),
        "kinds": (len(TYPES), kind),
        "marks": (2 * MARKS, mark),
        "hidden_weight": (hidden, (LEFT + RIGHT + 1) * word + kind + 2 * mark),
        "hidden_bias": (hidden,),
        "span_weight": (span, hidden),
        "span_bias": (span,),
        "names_weight": (2 + COPIES, span),
        "names_bias": (2 + COPIES,),
    }
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()} | chosen


def write_small_names(folder: Path, threshold: float = 0.0, **chosen: F32) -> Path:
    """Add the names `one` and `two` to a very small checkpoint."""
    write_names(folder, naming_parts(**chosen), ["one", "two"], threshold)
    return folder
