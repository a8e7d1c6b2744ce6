"""A very small checkpoint for tests: random weights, a tokenizer of single characters."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from training.encoder import folding_tokenizer
from worker.parsing.checkpoint import About
from worker.parsing.model import described_network, write_checkpoint

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
    described = About(**{"name": "tiny", "max_tokens": 32, "origin": "a test", **about})
    write_checkpoint(folder, network, config or CONFIGURATION, small_tokenizer(), described)
    return folder
