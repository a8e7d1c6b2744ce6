"""The tagger: sub-words and their places, character features, scores, and what a checkpoint may be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel

from tests.parsing.checkpoints import VOCABULARY, small_tokenizer, write_small
from worker.errors import TooMuchForDevice, WrongModel
from worker.parsing.checkpoint import (
    ABOUT,
    CONFIG,
    CORRECTED,
    FEATURE_SIZES,
    FILES,
    RULES,
    TOKENIZER,
    WEIGHTS,
    About,
    checkpoint_version,
    encoder_version,
)
from worker.parsing.model import (
    Tagger,
    described_network,
    features,
    packed_length,
    packed_rows,
    padded_rows,
    padded_width,
    serving_dtype,
    special_tokens,
    tokenize,
    write_checkpoint,
)

CONFIGURATION = {
    "model_type": "bert", "vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32,
}  # fmt: skip
ABOUT_IT = About(name="tiny", max_tokens=32, origin="a test", cuts=CORRECTED)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Write a checkpoint of a very small encoder with random weights."""
    torch.manual_seed(1)
    write_checkpoint(tmp_path / "one", described_network(CONFIGURATION), CONFIGURATION, small_tokenizer(), ABOUT_IT)
    return tmp_path / "one"


def pieces(text: str) -> list[str]:
    """Cut a text where its tokens stand."""
    tokens = tokenize(small_tokenizer(), [text])[0]
    return [text[start:end] for start, end in zip(tokens.start, tokens.end, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("took 5", ["took", "5"]),
        ("took 123456", ["took", "123456"]),
        ("x 0b12cdef34 y", ["x", "0b12cdef34", "y"]),
        ("g1234567", ["g", "1234567"]),
        ("[12345]", ["[", "12345", "]"]),
        ("é 12345é", ["é", "12345", "é"]),
        ("", []),
        (" \t ", []),
    ],
)
def test_folded_numbers_keep_their_whole_place(text: str, expected: list[str]) -> None:
    """A number folded into one token stands for all its digits."""
    assert expected == pieces(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=200, deadline=None)
def test_tokens_are_ascending_and_inside_any_text(text: str) -> None:
    """Tokens never overlap nor leave the text, and each has features in range."""
    tokens = tokenize(small_tokenizer(), [text])[0]
    edges = np.stack([tokens.start, tokens.end], axis=1).ravel()
    assert (np.diff(edges) >= 0).all()
    assert all(0 <= edge <= len(text) for edge in edges)
    assert (tokens.features >= 0).all()
    assert (tokens.features < np.array(FEATURE_SIZES)).all()
    assert (np.diff(tokens.word) >= 0).all()


def test_features_tell_case_length_neighbours_and_surroundings() -> None:
    """What the vocabulary drops is in the features."""
    text = "Max=0x1F a.b"
    codes = np.array([-1, *(ord(character) for character in text), -1])
    found = features(codes, np.array([1, 4, 5, 10]), np.array([4, 5, 9, 11]))
    assert found.tolist() == [[1, 3, 0, 7, 25], [7, 1, 1, 3, 25], [5, 4, 7, 4, 25], [0, 1, 4, 13, 20]]


@given(st.lists(st.text("aZ1 \t=:/é日\n", max_size=12), max_size=6))
@settings(max_examples=100, deadline=None)
def test_texts_are_cut_alike_alone_and_together(texts: list[str]) -> None:
    """What stands in other texts of a call is nobody's neighbour."""
    together = tokenize(small_tokenizer(), texts)
    for text, found in zip(texts, together, strict=True):
        alone = tokenize(small_tokenizer(), [text])[0]
        for part in ("ids", "features", "start", "end", "word"):
            assert getattr(alone, part).tolist() == getattr(found, part).tolist()


def test_scores_do_not_depend_on_neighbours(checkpoint: Path) -> None:
    """A row has the same scores alone and among others."""
    tagger = Tagger.load(checkpoint, device="cpu", dtype="float32")
    rows = tagger.tokenize(["took 5 s", "a", "b=[c]"])
    alone = [tagger.tag([row])[0] for row in rows]
    together = tagger.tag(rows)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert one.shape[1] == 3


@given(st.integers(1, 2000))
def test_padding_covers_the_row(length: int) -> None:
    """A row's width is at least its length, and the same for the same length."""
    assert length <= padded_width(length) <= length + 63


def test_packed_rows_have_few_sizes() -> None:
    """A kernel is compiled and kept for each size that goes through: these are few, and little of them is filler."""
    sizes = {tokens: packed_length(tokens) for tokens in range(1, 16_385)}
    assert all(tokens <= size <= max(tokens * 9 / 8, tokens + 15) for tokens, size in sizes.items())
    assert len({*sizes.values()}) <= 64


def test_packed_rows_score_as_padded_ones(checkpoint: Path) -> None:
    """Rows behind one another, of any lengths in any order, have the scores of rows with padding."""
    tagger = Tagger.load(checkpoint, device="cpu", dtype="float32")
    network, special = tagger._network, special_tokens(small_tokenizer())
    rows = tagger.tokenize(["took 5 s", "a", "b=[c]", "d", "e", ""])
    with torch.inference_mode():
        padded = network(*padded_rows(rows, special, 10))
        packed = network(*packed_rows(rows, special))
    lengths = [len(row.ids) + 2 for row in rows]
    assert packed.shape == (packed_length(sum(lengths)), 3)
    for row, part in enumerate(packed[: sum(lengths)].split(lengths)):
        torch.testing.assert_close(part, padded[row, : lengths[row]], atol=1e-5, rtol=1e-5)


def test_the_version_is_of_the_content(checkpoint: Path, tmp_path: Path) -> None:
    """The same files give the same version anywhere, another description gives another one."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in FILES:
        (copy / name).write_bytes((checkpoint / name).read_bytes())
    assert checkpoint_version(checkpoint) == checkpoint_version(copy)
    assert checkpoint_version(copy) == Tagger.load(copy, device="cpu").version
    assert checkpoint_version(copy).startswith("tiny-")
    about = json.loads((copy / ABOUT).read_text())
    (copy / ABOUT).write_text(json.dumps(about | {"origin": "elsewhere"}))
    assert checkpoint_version(checkpoint) != checkpoint_version(copy)


def test_other_rules_are_another_version(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that cuts the same checkpoint's messages otherwise is told apart; soft prompts fit it all the same."""
    before, encoder = checkpoint_version(checkpoint), encoder_version(checkpoint)
    monkeypatch.setattr("worker.parsing.checkpoint.RULES", RULES + 1)
    assert before != checkpoint_version(checkpoint)
    assert before.rpartition("-")[0] == checkpoint_version(checkpoint).rpartition("-")[0]
    assert encoder == encoder_version(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_a_wrong_model(checkpoint: Path, name: str) -> None:
    """Each file is needed, and the error names the one that lacks."""
    (checkpoint / name).unlink()
    with pytest.raises(WrongModel, match=name):
        Tagger.load(checkpoint, device="cpu")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x00\xff" * 40])
def test_a_broken_file_is_a_wrong_model(checkpoint: Path, name: str, content: bytes) -> None:
    """Rubbish in any file is refused, never run."""
    (checkpoint / name).write_bytes(content)
    with pytest.raises(WrongModel, match=name):
        Tagger.load(checkpoint, device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"labels": ["a", "b"]},
        {"feature_sizes": [1]},
        {"max_tokens": 4},
        {"max_tokens": "many"},
        {"cuts": "letters"},
        {"extra": 1},
    ],
)
def test_another_format_is_a_wrong_model(checkpoint: Path, change: dict[str, object]) -> None:
    """What this version can't run is refused with the reason."""
    about = json.loads((checkpoint / ABOUT).read_text())
    (checkpoint / ABOUT).write_text(json.dumps(about | change))
    with pytest.raises(WrongModel, match=ABOUT):
        Tagger.load(checkpoint, device="cpu")


@pytest.mark.parametrize("cuts", ["words", None])
def test_a_checkpoint_of_base_1_is_a_wrong_model(checkpoint: Path, cuts: str | None) -> None:
    """What cuts whole words is refused, said so or not, and the error tells how to make it again."""
    about = {name: value for name, value in json.loads((checkpoint / ABOUT).read_text()).items() if name != "cuts"}
    (checkpoint / ABOUT).write_text(json.dumps(about if cuts is None else about | {"cuts": cuts}))
    with pytest.raises(WrongModel, match=r"'words'.*pieces and corrected.*python -m training\.fine_tune"):
        checkpoint_version(checkpoint)


@pytest.mark.parametrize("change", [{"hidden_size": 32}, {"num_hidden_layers": 2}, {"vocab_size": 8}])
def test_parts_of_different_checkpoints_are_a_wrong_model(checkpoint: Path, change: dict[str, object]) -> None:
    """Weights and tokenizer must fit the configuration."""
    config = json.loads((checkpoint / CONFIG).read_text())
    (checkpoint / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(WrongModel, match=f"{WEIGHTS}|{TOKENIZER}"):
        Tagger.load(checkpoint, device="cpu")


def test_positions_must_cover_the_window(checkpoint: Path) -> None:
    """A window longer than the encoder's positions is refused when loading, not when a long message comes."""
    about = json.loads((checkpoint / ABOUT).read_text())
    (checkpoint / ABOUT).write_text(json.dumps(about | {"max_tokens": 64}))
    with pytest.raises(WrongModel, match="max_tokens"):
        Tagger.load(checkpoint, device="cpu")


def test_weights_that_are_no_numbers_are_a_wrong_model(checkpoint: Path) -> None:
    """A run that diverged is refused."""
    tagger = Tagger.load(checkpoint, device="cpu")
    network = tagger._network
    network.head.weight.data[0, 0] = float("nan")
    write_checkpoint(checkpoint, network, CONFIGURATION, small_tokenizer(), ABOUT_IT)
    with pytest.raises(WrongModel, match="no numbers"):
        Tagger.load(checkpoint, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_a_wrong_model(checkpoint: Path) -> None:
    """Asking for CUDA without one names the setting to change."""
    with pytest.raises(WrongModel, match="CUDA"):
        Tagger.load(checkpoint, device="cuda")


def test_memory_that_lacks_is_told_apart(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's own error becomes one of ours, so that a caller can halve its rows."""
    tagger = Tagger.load(checkpoint, device="cpu")

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(tagger, "_network", refuse)
    with pytest.raises(TooMuchForDevice, match="too much"):
        tagger.tag(tagger.tokenize(["took 5"]))


def test_the_machines_own_memory_is_told_apart(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch can't allocate on the machine itself is MemoryError: no fewer rows cure that."""
    tagger = Tagger.load(checkpoint, device="cpu")
    monkeypatch.setattr(tagger, "_network", lambda *_: torch.empty(1 << 55))
    with pytest.raises(MemoryError, match="can't allocate"):
        tagger.tag(tagger.tokenize(["took 5"]))


def test_the_precision_serves_the_processor() -> None:
    """A CPU gets bfloat16 only where it multiplies it."""
    capable = torch.cpu.get_capabilities()
    expected = torch.bfloat16 if capable.get("avx512_bf16") or capable.get("amx_bf16") else torch.float32
    assert expected == serving_dtype(torch.device("cpu"))


def test_bert_is_that_of_transformers() -> None:
    """The same weights give the same hidden states as in Transformers, padding or not."""
    ours = described_network(CONFIGURATION).encoder.eval()
    theirs = AutoModel.from_config(AutoConfig.for_model(**CONFIGURATION), add_pooling_layer=False).eval()
    theirs.load_state_dict(ours.state_dict())
    embedded, mask = torch.randn(3, 7, 16), torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    with torch.inference_mode():
        expected = theirs(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        actual = ours(inputs_embeds=embedded, attention_mask=mask)
    torch.testing.assert_close(actual[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"model_type": "distilbert", "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 32}, {"hidden_act": "relu"}],
)
def test_other_encoders_come_from_transformers(tmp_path: Path, change: dict[str, object]) -> None:
    """An encoder that is not plain BERT is made by Transformers, saved and loaded alike."""
    config = CONFIGURATION | change
    write_checkpoint(tmp_path, described_network(config), config, small_tokenizer(), ABOUT_IT)
    tagger = Tagger.load(tmp_path, device="cpu")
    assert tagger.tag(tagger.tokenize(["took 5"]))[0].shape == (2, 3)


@pytest.mark.parametrize(
    "change", [{"model_type": "no-such"}, {"num_attention_heads": 3}, {"intermediate_size": "wide"}]
)
def test_an_encoder_that_cannot_be_is_a_wrong_model(checkpoint: Path, change: dict[str, object]) -> None:
    """A description of no encoder, or of an impossible one, is refused when loading."""
    (checkpoint / CONFIG).write_text(json.dumps(CONFIGURATION | change))
    with pytest.raises(WrongModel, match="config"):
        Tagger.load(checkpoint, device="cpu")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "describes no encoder"),
        (json.dumps(CONFIGURATION | {"vocab_size": 10**12}), "does not fit"),
        (json.dumps(CONFIGURATION | {"intermediate_size": 10**13}), "does not fit"),
        (json.dumps(CONFIGURATION | {"num_hidden_layers": 10**9}), "more than model.safetensors has weights"),
        (json.dumps(CONFIGURATION | {"num_attention_heads": 0}), "describes no encoder that can be run"),
    ],
)
def test_sizes_that_are_lies_take_no_memory(tmp_path: Path, text: str, told: str) -> None:
    """A description is compared with the weights before anything of its sizes is made."""
    folder = write_small(tmp_path)
    (folder / CONFIG).write_text(text)
    with pytest.raises(WrongModel, match=told):
        Tagger.load(folder)
