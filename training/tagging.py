"""What every training of a tagger shares: the label of each token, and how a network in training is looked at."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from torch import nn

from worker.parsing.checkpoint import BEGIN, CONSTANT, INSIDE
from worker.parsing.model import Tokens

I64 = npt.NDArray[np.int64]

#: Label of tokens that teach nothing: special ones and padding.
IGNORED = -100


def token_labels(tokens: Tokens, spans: Sequence[tuple[int, int]]) -> I64:
    """Label each token by the span that it lies in, (t,)."""
    labels = np.full(len(tokens.ids), CONSTANT, np.int64)
    for start, end in spans:
        inside = np.flatnonzero((tokens.start < end) & (tokens.end > start))
        labels[inside] = INSIDE
        # All pieces of the first word begin the parameter: a word has one label.
        if len(inside):
            labels[inside[tokens.word[inside] == tokens.word[inside[0]]]] = BEGIN
    return labels


def padded_labels(labels: Sequence[I64], width: int) -> I64:
    """Put what is wanted of each row's tokens, (t,) each, where `padded_rows` puts the tokens: (B, `width`)."""
    padded = np.full((len(labels), width), IGNORED, np.int64)
    for row, wanted in enumerate(labels):
        padded[row, 1 : len(wanted) + 1] = wanted
    return padded


@contextmanager
def looked_at(network: nn.Module) -> Iterator[None]:
    """Let a `Tagger` serve a network in training, which freezes it: afterwards the same is trained as before."""
    trained = [parameter.requires_grad for parameter in network.parameters()]
    yield
    for parameter, is_trained in zip(network.parameters(), trained, strict=True):
        parameter.requires_grad_(is_trained)
