"""Words that an encoder is to guess: which ones are masked, and the head that guesses them.

Knows nothing of logs or of training runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.runs import Group
from training.tagging import I64, IGNORED
from worker.parsing.model import Network, Tokens

Flags = npt.NDArray[np.bool_]

#: The first character feature, and its values for tokens that hold a digit or are marks.
_SHAPE, _NO_WORD = 0, (4, 5, 6, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Rows of about one length, as they are and with words masked."""

    rows: list[Tokens]
    #: The rows with the ids and features that the encoder is shown.
    shown: list[Tokens]
    #: Where the encoder is shown the mask alone, (t,) of each row.
    hidden: list[Flags]
    #: The token to guess, IGNORED where there is none, (t,) of each row.
    wanted: list[I64]

    @property
    def guesses(self) -> int:
        """How many tokens are to be guessed."""
        return sum(int((one != IGNORED).sum()) for one in self.wanted)

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return sum(len(row.ids) for row in self.rows)

    def shared(self, group: Group) -> "Masked":
        """Take a process's part."""
        return Masked(
            rows=[*group.share(self.rows)],
            shown=[*group.share(self.shown)],
            hidden=[*group.share(self.hidden)],
            wanted=[*group.share(self.wanted)],
        )


def masked(rows: Sequence[Tokens], share: float, rng: np.random.Generator) -> Masked:
    """Choose a share of each row's words, at least one of several.

    Marks and what holds a digit are no words: nobody can guess a request's number. Of the chosen, 80% are hidden, 10%
    get tokens of other rows with their features, 10% stay.
    """
    is_word = [_in_words(row) for row in rows]
    ids = np.concatenate([row.ids[flags] for row, flags in zip(rows, is_word, strict=True)])
    features = np.concatenate([row.features[flags] for row, flags in zip(rows, is_word, strict=True)])
    batch = Masked(rows=list(rows), shown=[], hidden=[], wanted=[])
    for row, flags in zip(rows, is_word, strict=True):
        words = np.unique(row.word[flags])
        count = max(1, round(share * len(words))) if len(words) > 1 else 0
        chosen = rng.permutation(words)[:count]
        fate = rng.random(count)
        is_chosen = np.isin(row.word, chosen)
        swapped = np.isin(row.word, chosen[(fate >= 0.8) & (fate < 0.9)])
        others = rng.integers(len(ids), size=int(swapped.sum())) if len(ids) else np.zeros(0, np.int64)
        shown = replace(row, ids=row.ids.copy(), features=row.features.copy())
        shown.ids[swapped], shown.features[swapped] = ids[others], features[others]
        batch.shown.append(shown)
        batch.hidden.append(np.isin(row.word, chosen[fate < 0.8]))
        batch.wanted.append(np.where(is_chosen, row.ids, IGNORED))
    return batch


def _in_words(row: Tokens) -> Flags:
    """Tell which tokens lie in words that can be guessed, (t,)."""
    return ~np.isin(row.word, row.word[np.isin(row.features[:, _SHAPE], _NO_WORD)])


class Guesser(nn.Module):
    """A network with a head that guesses masked tokens, tied to the word embeddings."""

    def __init__(self, network: Network, counts: I64) -> None:
        """Guess by how often each token occurs, `counts` (V,), until something better is learned."""
        super().__init__()
        self.network = network
        words = cast("Tensor", cast("Any", network.encoder).get_input_embeddings().weight)
        size = words.shape[1]
        #: What the encoder is shown in place of a hidden token.
        self.mask = nn.Parameter(words.detach().mean(dim=0))
        self.transform = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size))
        # Every token starts with a tenth of an occurrence, so that none is impossible.
        shares = torch.from_numpy(counts).float() + 0.1
        self.bias = nn.Parameter((shares / shares.sum()).log())
        # Small scores at first: hundreds of steps would go by until a random head is no worse than frequency alone.
        nn.init.constant_(cast("nn.LayerNorm", self.transform[2]).weight, 0.1)

    def forward(self, ids: Tensor, features: Tensor, mask: Tensor, hidden: Tensor, wanted: Tensor) -> Tensor:
        """Sum the cross-entropy over the tokens to guess.

        `ids`, `mask`, `hidden`, `wanted` (B, T), `features` (B, T, 5).
        """
        table = cast("Any", self.network.encoder).get_input_embeddings()
        embedded = table(ids) + self.network.features(features + self.network.offsets).sum(dim=2)  # (B, T, H)
        embedded = torch.where(hidden[..., None], self.mask.to(embedded.dtype), embedded)
        encoded = self.network.encoder(inputs_embeds=embedded, attention_mask=mask)
        encoded = encoded if isinstance(encoded, Tensor) else encoded.last_hidden_state  # (B, T, H)
        is_wanted = wanted != IGNORED
        scores = functional.linear(self.transform(encoded[is_wanted]), table.weight, self.bias)  # (guesses, V)
        return functional.cross_entropy(scores.float(), wanted[is_wanted], reduction="sum")
