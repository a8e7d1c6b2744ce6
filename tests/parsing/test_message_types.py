"""Types of messages, asked for in words."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from worker.errors import WrongModel
from worker.parsing.message_types import TOKENS, TokenRows, Typer, write_types
from worker.parsing.networks import F32
from worker.parsing.templates import Template

_WORDS = ("[UNK]", "full", "late", "disk", "time", "out", "lost")


def small_tokenizer() -> Tokenizer:
    """Make a tokenizer of a few words."""
    tokenizer = Tokenizer(WordPiece({word: row for row, word in enumerate(_WORDS)}, unk_token=_WORDS[0]))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def small_parts(sharpness: float = 20.0) -> dict[str, F32]:
    """Make a network whose direction tells which of the tokens there are; `full` and `late` are types."""
    count = len(_WORDS) + 1
    hidden = np.zeros((count, 3 * count), np.float32)
    hidden[:, count : 2 * count] = np.eye(count)
    types = np.zeros((3, count), np.float32)
    types[0, 1] = types[1, 2] = types[2, 0] = sharpness
    return {
        "tokens": np.eye(count, dtype=np.float32),
        "hidden_weight": hidden,
        "hidden_bias": np.zeros(count, np.float32),
        "centre": np.zeros(2 * count, np.float32),
        "direction_weight": np.concatenate([np.eye(count), np.zeros((count, count))], axis=1).astype(np.float32),
        "direction_bias": np.zeros(count, np.float32),
        "types": types,
        "type_bias": np.zeros(3, np.float32),
    }


def small(folder: Path, threshold: float = 0.5, **changed: F32) -> Path:
    """Write a small network."""
    path = folder / "types.safetensors"
    write_types(path, small_parts() | changed, ["full", "late"], threshold, small_tokenizer())
    return path


def type_of(typer: Typer, text: str) -> str:
    """Tell the type of a template."""
    return typer.typed(Template.from_text(text)).type


def test_one_network_is_asked_for_the_types_of_several(tmp_path: Path) -> None:
    """Who asks a loaded network for other types leaves those who asked before alone, and takes no memory again."""
    taught = Typer.load(path=small(tmp_path))
    disks, late = taught.asking({"disk": ["disk full"]}), taught.asking({"late": []})
    assert [type_of(typer, "disk full") for typer in (taught, disks, late)] == ["full", "disk", ""]
    assert [type_of(typer, "late") for typer in (taught, disks, late)] == ["late", "", "late"]
    assert taught.asking(None) is taught
    assert type_of(taught.asking({}), "late") == "late"
    assert disks._parts["tokens"] is late._parts["tokens"]


def test_a_template_gets_the_type_it_is_near_to(tmp_path: Path) -> None:
    """What is nearest to no type has none, and no confidence."""
    typer = Typer.load(path=small(tmp_path))
    assert ["full", "late", ""] == [type_of(typer, text) for text in ("full <*>", "late", "other")]
    assert typer.typed(Template.from_text("other")).type_confidence == 0.0
    assert 0.99 < typer.typed(Template.from_text("late")).type_confidence <= 1.0


def test_a_doubtful_type_is_none(tmp_path: Path) -> None:
    """Below the threshold a message has no type."""
    assert type_of(Typer.load(path=small(tmp_path, threshold=0.99)), "full late") == ""
    assert type_of(Typer.load(path=small(tmp_path, threshold=0.1)), "full late") == "full"


def test_a_type_of_one_s_own_takes_the_place_of_the_nearest(tmp_path: Path) -> None:
    """It stands between its words and the taught type that they come nearest to; the other type is a rival."""
    typer = Typer.load({"disk": ["disk full"]}, small(tmp_path))
    assert ["disk", "disk", ""] == [type_of(typer, text) for text in ("disk full", "full", "late")]


def test_examples_draw_what_is_like_them(tmp_path: Path) -> None:
    """Of a type that is known or not; the nearer, the more."""
    path = small(tmp_path)
    assert type_of(Typer.load({"late": []}, path), "time out") == ""
    assert type_of(Typer.load({"late": ["time out"]}, path), "time out") == "late"
    assert type_of(Typer.load({"full": [], "late": ["time out"]}, path), "time out") == "late"
    shares = [
        Typer.load({"late": [example]}, path).shares("time out")[0] for example in ("time out", "out lost", "lost")
    ]
    assert shares == sorted(shares, reverse=True)


def test_examples_leave_alone_what_is_unlike_them(tmp_path: Path) -> None:
    """Types that ship are never worse for messages that no example is like."""
    path = small(tmp_path)
    without, exemplified = Typer.load({"full": [], "late": []}, path), Typer.load({"full": ["lost"], "late": []}, path)
    assert without.shares("time out").tolist() == exemplified.shares("time out").tolist()


def test_what_others_are_found_first_is_asked_for_alone(tmp_path: Path) -> None:
    """Only types that were asked for are given."""
    typer = Typer.load({"late": []}, small(tmp_path))
    assert ["late", ""] == [type_of(typer, text) for text in ("late", "full")]


def test_the_same_template_keeps_its_identity(tmp_path: Path) -> None:
    """A type is no part of a template's id."""
    template = Template.from_text("full <*>")
    assert template.id == Typer.load(path=small(tmp_path)).typed(template).id


def test_tokens_are_bounded() -> None:
    """Parameters have a row of their own, words of several are taken apart, long templates are cut."""
    rows = TokenRows(small_tokenizer())
    assert [3, len(_WORDS), 4, 5] == rows.of("disk<*>time out")
    assert [len(_WORDS)] == rows.of("<*>")
    assert TOKENS == len(rows.of("disk " * 200))
    assert [len(_WORDS), *[4] * 2] == rows.of("<*> time time")


@pytest.mark.parametrize(
    "text", ["disk_full, time-out!", "disk\u2192full late", "late\u2026 out", "time\tout \u00fcber"]
)
def test_words_are_cut_as_the_tokenizer_cuts(text: str) -> None:
    """One by one or all at once, the first time or later."""
    tokenizer = small_tokenizer()
    rows = TokenRows(tokenizer)
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    assert [expected, expected] == [rows.of(text), rows.of(text)]


def test_what_is_broken_is_refused(tmp_path: Path) -> None:
    """No file, another format, parts that are missing, do not fit or hold no numbers."""
    with pytest.raises(WrongModel, match="is broken"):
        Typer.load(path=tmp_path / "absent")
    path = small(tmp_path)
    save_file(load_file(path), path, {"about": json.dumps({"format": 2})})
    with pytest.raises(WrongModel, match="of format 2"):
        Typer.load(path=path)
    with pytest.raises(WrongModel, match="do not fit each other"):
        small(tmp_path, type_bias=np.zeros(2, np.float32))
    with pytest.raises(WrongModel, match="no numbers"):
        small(tmp_path, hidden_bias=np.full(len(_WORDS) + 1, np.nan, np.float32))
    with pytest.raises(WrongModel, match="types have tokens"):
        small(tmp_path, other=np.zeros(1, np.float32))


def test_a_file_repeats_to_the_byte(tmp_path: Path) -> None:
    """The same network gives the same bytes."""
    first = small(tmp_path).read_bytes()
    assert first == small(tmp_path).read_bytes()


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ([1], "describes itself by no object"),
        ({"format": 1}, "holds no tokenizer"),
        ({"format": 1, "tokenizer": 7}, "holds no tokenizer"),
        ({"format": 1, "tokenizer": small_tokenizer().to_str(), "types": "full"}, "types are no list of texts"),
        ({"format": 1, "tokenizer": small_tokenizer().to_str(), "types": [7]}, "types are no list of texts"),
    ],
)
def test_a_description_of_any_shape_is_refused(tmp_path: Path, about: object, told: str) -> None:
    """A file that says of itself what can't be is refused with what is wrong."""
    path = tmp_path / "types.safetensors"
    save_file({"tokens": np.ones(1, np.float32)}, path, {"about": json.dumps(about)})
    with pytest.raises(WrongModel, match=told):
        Typer.load(path=path)


@pytest.mark.parametrize("threshold", [None, "0.5", True, float("nan")])
def test_a_threshold_that_is_no_number_is_refused(tmp_path: Path, threshold: object) -> None:
    """A network that can't say how sure it must be says nothing."""
    path = tmp_path / "types.safetensors"
    write_types(path, small_parts(), ["full", "late"], threshold, small_tokenizer())  # type: ignore[arg-type]
    with pytest.raises(WrongModel, match="is no threshold"):
        Typer.load(path=path)
