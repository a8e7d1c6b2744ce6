"""BERT, as far as a tagger needs it. Its weights have the names that Hugging Face gives them.

Transformers has the same network, but takes longer to import than everything else together; a miss waits for that.
Other architectures are taken from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What the tokens of B rows see beside each other: learned vectors. A row sees those where its mask is true."""

    #: Tokens of their own, read by the first layer as they are, without place or normalisation, (B, p, H).
    vectors: Tensor
    vectors_mask: Tensor  #: (B, p), boolean
    #: Keys and values of every layer's attention, as its projections would give them, (B, layers, q, H).
    keys: Tensor
    values: Tensor
    mask: Tensor  #: (B, q), boolean


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How the N tokens of rows stand behind one another without padding, rows of one length together."""

    #: How many rows, and of what length, in the order of the tokens.
    stretches: Sequence[tuple[int, int]]
    #: Each token's place in its row, (N,).
    places: Tensor
    #: How many tokens of no row stand at the end.
    filler: int = 0

    @classmethod
    def of(cls, lengths: Sequence[int], filler: int = 0) -> Self:
        """Describe rows of these lengths; neighbours of one length share a stretch."""
        stretches = [(len([*rows]), length) for length, rows in groupby(lengths)]
        places = [torch.arange(length).repeat(rows) for rows, length in (*stretches, (filler, 1))]
        return cls(stretches=stretches, places=torch.cat(places), filler=filler)


class Bert(nn.Module):
    """Embeddings and encoder of BERT (Devlin et al., 2019), without the pooling layer."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Make the network that `config`, in the terms of Hugging Face, describes.

        Raises:
            ValueError: the heads do not share the hidden size evenly.

        """
        super().__init__()
        if config["hidden_size"] % config["num_attention_heads"]:
            raise ValueError(f"{config['num_attention_heads']} heads can't share {config['hidden_size']} hidden units")
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table of word embeddings."""
        return self.embeddings.word_embeddings

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor | Packing, prefix: Prefix | None = None) -> Tensor:
        """Encode `inputs_embeds` (B, T, H) where `attention_mask` (B, T) is 1; returns (B, T, H).

        Packed rows, (N, H), have their packing in the mask's place, and no prefix; then (N, H) is returned.

        The vectors of `prefix` have no place, and attention has no order, so they may as well stand behind the tokens:
        these keep the places that they have without a prompt.
        """
        if isinstance(attention_mask, Packing):
            return cast("Tensor", self.encoder(self.embeddings(inputs_embeds, attention_mask.places), attention_mask))
        hidden, mask = self.embeddings(inputs_embeds), attention_mask.bool()
        if prefix is None:
            return cast("Tensor", self.encoder(hidden, mask[:, None, None, :]))
        hidden = torch.cat([hidden, prefix.vectors.to(hidden.dtype)], dim=1)  # (B, T + p, H)
        mask = torch.cat([prefix.mask, mask, prefix.vectors_mask], dim=1)  # (B, q + T + p)
        encoded = self.encoder(hidden, mask[:, None, None, :], prefix.keys, prefix.values)
        return cast("Tensor", encoded[:, : inputs_embeds.shape[1]])


class Embeddings(nn.Module):
    """Adds places to words."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        hidden = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], hidden)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], hidden)
        self.token_type_embeddings = nn.Embedding(config.get("type_vocab_size", 2), hidden)
        self.LayerNorm = nn.LayerNorm(hidden, config.get("layer_norm_eps", 1e-12))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, words: Tensor, places: Tensor | None = None) -> Tensor:
        """Add its place to each of `words`, (B, T, H), or (N, H) with `places` (N,)."""
        table = self.position_embeddings.weight
        added = table[: words.shape[1]] if places is None else table[places]  # (T, H) or (N, H)
        return cast("Tensor", self.dropout(self.LayerNorm(words + added + self.token_type_embeddings.weight[0])))


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(
        self, hidden: Tensor, mask: Tensor | Packing, keys: Tensor | None = None, values: Tensor | None = None
    ) -> Tensor:
        """Transform `hidden` (B, T, H), looking where `mask` (B, 1, 1, q + T) is true.

        `keys` and `values` (B, layers, q, H) stand before those of the tokens.
        """
        for number, layer in enumerate(self.layer):
            if keys is None or values is None:
                hidden = layer(hidden, mask)
            else:
                hidden = layer(hidden, mask, keys[:, number], values[:, number])
        return hidden


class Layer(nn.Module):
    """Self-attention and a feed-forward network."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Wide(config)
        self.output = Added(config["intermediate_size"], config)

    def forward(
        self, hidden: Tensor, mask: Tensor | Packing, keys: Tensor | None = None, values: Tensor | None = None
    ) -> Tensor:
        """Transform `hidden` (B, T, H), looking where `mask` (B, 1, 1, q + T) is true; see `Attention`."""
        hidden = self.attention(hidden, mask, keys, values)
        return cast("Tensor", self.output(self.intermediate(hidden), hidden))


class Attention(nn.Module):
    """Every token looks at every other."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.self = Projections(config)
        self.output = Added(config["hidden_size"], config)
        self.heads: int = config["num_attention_heads"]
        self.dropout: float = config.get("attention_probs_dropout_prob", 0.1)

    def forward(
        self, hidden: Tensor, mask: Tensor | Packing, keys: Tensor | None = None, values: Tensor | None = None
    ) -> Tensor:
        """Transform `hidden` (B, T, H), looking where `mask` (B, 1, 1, q + T) is true.

        `keys` and `values` (B, q, H) stand before those of the tokens, and ask nothing (Li & Liang, 2021).
        """
        query, key, value = self.self(hidden)  # (B, T, H)
        if isinstance(mask, Packing):
            return cast("Tensor", self.output(self._packed(query, key, value, mask), hidden))
        if keys is not None and values is not None:
            key = torch.cat([keys.to(key.dtype), key], dim=1)  # (B, q + T, H)
            value = torch.cat([values.to(value.dtype), value], dim=1)  # (B, q + T, H)
        return cast("Tensor", self.output(self._attended(query, key, value, mask), hidden))

    def _packed(self, query: Tensor, key: Tensor, value: Tensor, packing: Packing) -> Tensor:
        """Let the tokens of each row, of (N, H), look at those of the same row, and the filler at nothing."""
        sizes = [*(rows * length for rows, length in packing.stretches), packing.filler]
        stretches = zip(*(torch.split(part, sizes) for part in (query, key, value)), strict=True)
        attended = [
            self._attended(*(part.view(*shape, -1) for part in parts)).flatten(0, 1)  # (rows * length, H)
            for shape, parts in zip(packing.stretches, stretches)  # noqa: B905 - the filler has no shape
        ]
        return torch.cat([*attended, value[len(value) - packing.filler :]])

    def _attended(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let the tokens of `query` (B, T, H) look at `key` and `value` (B, q + T, H)."""
        attended = functional.scaled_dot_product_attention(
            self._split(query),
            self._split(key),
            self._split(value),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, heads, T, H / heads)
        return attended.transpose(1, 2).reshape(query.shape)

    def _split(self, projected: Tensor) -> Tensor:
        """Share (B, T, H) among the heads, (B, heads, T, H / heads)."""
        count, length, size = projected.shape
        return projected.view(count, length, self.heads, size // self.heads).transpose(1, 2)


class Projections(nn.Module):
    """What a token asks, offers and says."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        hidden = config["hidden_size"]
        self.query, self.key, self.value = (
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, hidden),
        )

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project `hidden` (B, T, H) three times."""
        return self.query(hidden), self.key(hidden), self.value(hidden)


class Wide(nn.Module):
    """The wide half of the feed-forward network."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(config["hidden_size"], config["intermediate_size"])

    def forward(self, hidden: Tensor) -> Tensor:
        """Project `hidden` (B, T, H) to (B, T, intermediate size)."""
        return functional.gelu(self.dense(hidden))


class Added(nn.Module):
    """A projection to the hidden size, added to what went in before, and normalised."""

    def __init__(self, size: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(size, config["hidden_size"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], config.get("layer_norm_eps", 1e-12))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, found: Tensor, before: Tensor) -> Tensor:
        """Project `found` (B, T, size) and add `before` (B, T, H)."""
        return cast("Tensor", self.LayerNorm(self.dropout(self.dense(found)) + before))
