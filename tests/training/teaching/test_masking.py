"""Which words are masked, and the head that guesses them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.encoder import folding_tokenizer
from training.runs import Group
from training.tagging import IGNORED
from training.teaching.masking import Guesser, masked
from worker.parsing.model import Tokens, described_network, tokenize

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "2000", "##2000", "deadbeef", *"abcdefgh=:/[]-."]
VOCABULARY += [f"##{letter}" for letter in "abcdefgh"]
TOKENIZER = folding_tokenizer({token: row for row, token in enumerate(VOCABULARY)})
LINES = st.lists(st.text(alphabet="abcdefgh =:/[]-.12", min_size=1, max_size=40), min_size=1, max_size=6)


def tokens_of(*texts: str) -> list[Tokens]:
    """Cut texts, leaving out those without a token."""
    return [row for row in tokenize(TOKENIZER, texts) if len(row.ids)]


@settings(max_examples=150)
@given(LINES, st.floats(0.05, 1), st.integers(0, 1000))
def test_whole_words_without_digits_are_masked(texts: list[str], share: float, seed: int) -> None:
    """A word is to be guessed with all of its tokens or not at all; marks, digits and all else stay as they are."""
    rows = tokens_of(*texts)
    if not rows:
        return
    batch = masked(rows, share, np.random.default_rng(seed))
    for row, shown, hidden, wanted in zip(batch.rows, batch.shown, batch.hidden, batch.wanted, strict=True):
        is_wanted = wanted != IGNORED
        assert row.ids[is_wanted].tolist() == wanted[is_wanted].tolist()
        assert not (hidden & ~is_wanted).any()
        assert row.ids[~is_wanted].tolist() == shown.ids[~is_wanted].tolist()
        assert row.features[~is_wanted].tolist() == shown.features[~is_wanted].tolist()
        assert not set(row.word[is_wanted]) & set(row.word[~is_wanted])
        assert not np.isin(row.features[is_wanted, 0], (4, 5, 6, 7)).any()


def test_the_share_of_words_is_masked() -> None:
    """Of many words the share is to be guessed; of these 80% are hidden, 10% swapped, 10% stay."""
    rows = tokens_of(*["ab cd ef gh ba dc fe hg ac bd"] * 400)
    batch = masked(rows, 0.3, np.random.default_rng(1))
    assert 400 * 3 * 2 == batch.guesses
    assert 400 * 10 * 2 == batch.tokens
    hidden = np.concatenate(batch.hidden)
    wanted = np.concatenate(batch.wanted) != IGNORED
    changed = np.concatenate([row.ids for row in batch.rows]) != np.concatenate([row.ids for row in batch.shown])
    assert pytest.approx(0.8, abs=0.03) == hidden.sum() / wanted.sum()
    # Some are swapped for what stood there.
    assert 0.05 < changed.sum() / wanted.sum() < 0.11


def test_a_row_of_one_word_is_left_alone() -> None:
    """There is nothing to guess it from."""
    batch = masked(tokens_of("[ab] 12"), 1.0, np.random.default_rng(1))
    assert 0 == batch.guesses


def test_processes_share_a_batch() -> None:
    """Their parts are the whole, row by row."""
    batch = masked(tokens_of("ab cd", "ef gh", "ab ef gh"), 0.5, np.random.default_rng(1))
    parts = [batch.shared(Group(rank=rank, size=2, device=torch.device("cpu"))) for rank in range(2)]
    assert [2, 1] == [len(part.rows) for part in parts]
    assert batch.guesses == sum(part.guesses for part in parts)
    assert batch.tokens == sum(part.tokens for part in parts)


def guesser() -> Guesser:
    """Make a small network with its guessing head."""
    torch.manual_seed(1)
    network = described_network(
        {
            "model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1,
            "intermediate_size": 16, "vocab_size": len(VOCABULARY), "max_position_embeddings": 32,
        }
    )  # fmt: skip
    return Guesser(network, np.ones(len(VOCABULARY), np.int64)).eval()


def test_what_is_hidden_does_not_tell() -> None:
    """The id and the character features of a hidden token change nothing; those of a shown one do."""
    head = guesser()
    ids, wanted = torch.full((1, 6), 8), torch.tensor([[IGNORED, 9, IGNORED, IGNORED, IGNORED, IGNORED]])
    features, mask = torch.zeros(1, 6, 5, dtype=torch.int64), torch.ones(1, 6, dtype=torch.int64)
    hidden = torch.tensor([[False, True, False, False, False, False]])

    def loss(place: int) -> float:
        other_ids, other_features = ids.clone(), features.clone()
        other_ids[0, place], other_features[0, place] = 12, 3
        return float(head(other_ids, other_features, mask, hidden, wanted).item())

    before = head(ids, features, mask, hidden, wanted).item()
    assert before == loss(1)
    assert before != loss(2)


def test_the_head_starts_near_the_frequencies() -> None:
    """Untrained, it guesses about as well as who knows how often each token occurs."""
    head = guesser()
    ids = torch.full((4, 6), 8)
    features, mask = torch.zeros(4, 6, 5, dtype=torch.int64), torch.ones(4, 6, dtype=torch.int64)
    summed = head(ids, features, mask, torch.ones(4, 6, dtype=torch.bool), ids).item()
    assert pytest.approx(np.log(len(VOCABULARY)), rel=0.1) == summed / 24
