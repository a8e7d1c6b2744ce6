"""Labels of tokens, and a network that is looked at in training."""

import numpy as np
from torch import nn

from training.encoder import folding_tokenizer
from training.tagging import IGNORED, looked_at, padded_labels, token_labels
from worker.parsing.model import tokenize


def test_labels_begin_with_the_first_word() -> None:
    """All pieces of a parameter's first word begin it, later words are inside, the rest is constant."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "2000", "##2000", "deadbeef", "at", "a", "b", "##b", "-"]
    tokens = tokenize(folding_tokenizer({token: row for row, token in enumerate(vocabulary)}), ["at ab - b at"])[0]
    assert token_labels(tokens, [(3, 9)]).tolist() == [0, 1, 1, 2, 2, 0]


def test_labels_stand_where_their_tokens_do() -> None:
    """Special tokens and padding are ignored."""
    padded = padded_labels([np.array([0, 1, 2]), np.array([1])], 5)
    assert [[IGNORED, 0, 1, 2, IGNORED], [IGNORED, 1, IGNORED, IGNORED, IGNORED]] == padded.tolist()


def test_what_is_trained_stays_so() -> None:
    """A look that freezes the network leaves it trained as it was, in part."""
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    with looked_at(network):
        network.requires_grad_(False)
    assert [True, False] == [parameter.requires_grad for parameter in network.parameters()]
