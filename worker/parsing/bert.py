"""BERT, as far as a tagger needs it. Its weights have the names that Hugging Face gives them.

Transformers has the same network, but takes longer to import than everything else together; a miss waits for that.
Other architectures are taken from there.
"""

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional


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

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode `inputs_embeds` (B, T, H) where `attention_mask` (B, T) is 1; returns (B, T, H)."""
        return cast("Tensor", self.encoder(self.embeddings(inputs_embeds), attention_mask.bool()[:, None, None, :]))


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

    def forward(self, words: Tensor) -> Tensor:
        """Add its place to each of `words` (B, T, H)."""
        places = self.position_embeddings.weight[: words.shape[1]]  # (T, H)
        return cast("Tensor", self.dropout(self.LayerNorm(words + places + self.token_type_embeddings.weight[0])))


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Transform `hidden` (B, T, H), looking where `mask` (B, 1, 1, T) is true."""
        for layer in self.layer:
            hidden = layer(hidden, mask)
        return hidden


class Layer(nn.Module):
    """Self-attention and a feed-forward network."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Wide(config)
        self.output = Added(config["intermediate_size"], config)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Transform `hidden` (B, T, H), looking where `mask` (B, 1, 1, T) is true."""
        hidden = self.attention(hidden, mask)
        return cast("Tensor", self.output(self.intermediate(hidden), hidden))


class Attention(nn.Module):
    """Every token looks at every other."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.self = Projections(config)
        self.output = Added(config["hidden_size"], config)
        self.heads: int = config["num_attention_heads"]
        self.dropout: float = config.get("attention_probs_dropout_prob", 0.1)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Transform `hidden` (B, T, H), looking where `mask` (B, 1, 1, T) is true."""
        count, length, size = hidden.shape
        query, key, value = (
            projected.view(count, length, self.heads, size // self.heads).transpose(1, 2)
            for projected in self.self(hidden)
        )  # (B, heads, T, H / heads)
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return cast("Tensor", self.output(attended.transpose(1, 2).reshape(count, length, size), hidden))


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
