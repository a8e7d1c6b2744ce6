"""Names of parameters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.parsing.checkpoints import VOCABULARY, naming_parts, write_small, write_small_names
from worker.errors import WrongModel
from worker.parsing.checkpoint import NAMES, checkpoint_version, tokenizer_version
from worker.parsing.naming import LEFT, RIGHT, Namer, Place, places, plain_name, widespread
from worker.parsing.networks import F32
from worker.parsing.parser import EncoderParser, named
from worker.parsing.templates import Template
from worker.parsing.types import TYPES


def bias(*scores: float) -> F32:
    """Score the names `one` and `two`, the word before, the two words before."""
    return np.array(scores, np.float32)


def small(folder: Path, threshold: float = 0.0, **chosen: F32) -> Namer:
    """Write a checkpoint with names, and load these."""
    namer = Namer.load(write_small_names(write_small(folder), threshold, **chosen))
    assert namer is not None
    return namer


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("blockSize", "block_size"),
        ("e", "error"),
        ("errMsg", "error"),
        ("fname", "file"),
        ("simpleName", "class"),
        ("num_retries", "retry_count"),
        ("timeout_ms", "timeout"),
        ("self_nodeId", "node_id"),
        ("remoteAddr", "remote_address"),
        ("getSize", "size"),
        ("new_name", "new_name"),
        ("i", ""),
        ("result", ""),
        ("_", ""),
        ("", ""),
    ],
)
def test_names_of_variables_become_plain(name: str, plain: str) -> None:
    """Case, abbreviations, owners and units go; what tells nothing is no name."""
    assert plain == plain_name(name)


def test_rare_names_take_their_longest_widespread_ending() -> None:
    """A name that few programs use is known by its ending, or not at all."""
    names = {"node_id", "id"}
    assert ["node_id", "id", ""] == [widespread(name, names) for name in ("remote_node_id", "rule_id", "rule")]


def test_places_are_read_on_both_sides() -> None:
    """Words are nearest first, other parameters are one word, and values tell their type alone."""
    first, second = places(["Client id ", " sent ", " bytes"], [b"a-1", b"35"])
    message = ("client", "id", "sent", "bytes")
    assert first == Place(
        words=("id", "client", "", "sent"),
        message=message,
        kind=TYPES.index("id"),
        marks=(1, 1),
        copies=("id", "client_id"),
    )
    assert second == Place(
        words=("sent", "<*>", "id", "bytes"),
        message=message,
        kind=TYPES.index("integer"),
        marks=(1, 1),
        copies=("sent", ""),
    )


def test_far_words_give_no_name() -> None:
    """A word beyond some marks, or before another parameter, is not the parameter's name."""
    assert [("", ""), ("", "")] == [place.copies for place in places(["topic ..... ", " ", ""], [b"a", b"b"])]


def test_the_most_probable_name_is_chosen(tmp_path: Path) -> None:
    """Names and the place's own words compete; absent words can't be chosen."""
    with_words, without = places(["topic ", " "], [b"a"])[0], places(["", " "], [b"a"])[0]
    namer = small(tmp_path, names_bias=bias(0, 1, 9, 9))
    assert ["topic", "two"] == namer.names([with_words, without])
    assert [] == namer.names([])


def test_a_word_that_is_a_name_too_counts_twice(tmp_path: Path) -> None:
    """Two ways to one name add up."""
    place = places(["one ", ""], [b"a"])[0]
    (chosen,) = small(tmp_path, names_bias=bias(2, 2.5, 2, -9)).choose([place])
    assert chosen.name == "one"
    assert chosen.probability == pytest.approx(2 * np.exp(2) / (2 * np.exp(2) + np.exp(2.5) + 0), abs=1e-2)


def reading(first: int) -> dict[str, F32]:
    """Make a network that says `one` for the word `a` in the columns from word `first` on, else `two`."""
    parts = naming_parts(names_bias=bias(0, 1, -99, -99))
    width = parts["tokens"].shape[1]
    parts["tokens"][VOCABULARY.index("a")] = 4
    parts["token_scale"][:] = 1
    parts["hidden_weight"][:, first * width : (first + 1) * width] = 1
    parts["span_weight"][:] = 1
    parts["names_weight"][0] = 1
    return parts


def test_words_reach_the_scores(tmp_path: Path) -> None:
    """What stands before a parameter decides, by its tokens' mean and scale."""
    namer = small(tmp_path, 0.0, **reading(0))
    assert ["one", "two", "two"] == namer.names([places([left, ""], [b"7"])[0] for left in ("A ", "b ", "a! b ")])


def test_the_message_reaches_the_scores(tmp_path: Path) -> None:
    """So do words anywhere in the message, at all of its parameters."""
    namer = small(tmp_path, 0.0, **reading(LEFT + RIGHT))
    assert ["one", "one"] == namer.names(places(["b ", " b ", " c d e f A"], [b"7", b"8"]))
    assert ["two"] == namer.names(places(["b ", ""], [b"a"]))


def test_the_subject_of_a_message_is_bounded() -> None:
    """A message of many words is read as far as it costs little."""
    constant = " ".join(chr(97 + i // 26) + chr(97 + i % 26) for i in range(200))
    assert 64 == len(places([constant, ""], [b"7"])[0].message)


def test_doubtful_names_are_left_out(tmp_path: Path) -> None:
    """Below the threshold a parameter has no name."""
    (place,) = places(["", ""], [b"7"])
    assert [""] == small(tmp_path / "strict", 0.9, names_bias=bias(1, 0, 0, 0)).names([place])
    assert ["one"] == small(tmp_path / "lax", 0.6, names_bias=bias(1, 0, 0, 0)).names([place])


def test_a_checkpoint_may_have_no_names(tmp_path: Path) -> None:
    """Without the file nothing is loaded."""
    assert Namer.load(write_small(tmp_path)) is None


def test_names_are_part_of_the_version(tmp_path: Path) -> None:
    """Other names reach templates that are kept by version; the same names are the same version."""
    plain = checkpoint_version(write_small(tmp_path))
    versions = []
    for threshold in (0.5, 0.5, 0.6):
        write_small_names(tmp_path, threshold)
        versions.append(checkpoint_version(tmp_path))
    assert versions[0] == versions[1]
    assert len({plain, *versions}) == 3


def test_names_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    """Names go with the tokenizer that they were made for."""
    write_small_names(write_small(tmp_path), 0.5)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(WrongModel, match=r"another tokenizer .* make it again"):
        Namer.load(tmp_path)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    """What is no safetensors file does not load."""
    (write_small(tmp_path) / NAMES).write_bytes(b"no")
    with pytest.raises(WrongModel, match="is broken"):
        Namer.load(tmp_path)


@pytest.mark.parametrize(
    ("about", "chosen", "message"),
    [
        ({"format": 7}, {}, "is of format 7"),
        ({"names": "one"}, {}, "no list of texts"),
        ({"threshold": None}, {}, "None is no threshold"),
        ({"names": ["one"]}, {}, "names_weight"),
        ({}, {"hidden_bias": np.zeros(9, np.float32)}, "hidden_bias|hidden_weight"),
        ({}, {"hidden_bias": np.full(4, np.nan, np.float32)}, "no numbers"),
        ({}, {"special": np.array(1, np.float32)}, "without a shape"),
        ({}, {"more": np.zeros(1, np.float32)}, "holds"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, about: dict[str, Any], chosen: dict[str, F32], message: str
) -> None:
    """Each part of the file is checked before it is used."""
    write_small_names(write_small(tmp_path), 0.5)
    described = {"format": 1, "tokenizer": tokenizer_version(tmp_path), "threshold": 0.5, "names": ["one", "two"]}
    save_file(load_file(tmp_path / NAMES) | chosen, tmp_path / NAMES, {"about": json.dumps(described | about)})
    with pytest.raises(WrongModel, match=message):
        Namer.load(tmp_path)


def test_only_nameless_parameters_are_named(tmp_path: Path) -> None:
    """A name that a template has stays; a value of several lines gets none; messages without a template have none."""
    namer = small(tmp_path, names_bias=bias(9, 0, 0, 0))
    first = Template(literals=(b"a=", b" b ", b""), spacious=(False, False), names=("a", ""))
    lines = Template(literals=(b"failed ", b""), spacious=(True,), names=("",))
    constant = Template(literals=(b"up",), spacious=(), names=())
    found = named(namer, [b"a=1 b 2", b"failed x\ny", b"up", b"?"], [first, lines, constant, None])
    assert [("a", "one"), ("",), (), None] == [made and made.names for made in found]
    assert found[0] == Template(literals=first.literals, spacious=first.spacious, names=("a", "one"))


def test_a_parser_names_by_its_checkpoint(tmp_path: Path) -> None:
    """What a checkpoint with names parses has names, the same in any company."""
    small(tmp_path, names_bias=bias(9, 0, 0, 0))
    parser = EncoderParser.load(tmp_path, device="cpu")
    alone = parser.parse([b"took 12 from 10.0.0.1"])
    together = parser.parse([b"up and running", b"took 12 from 10.0.0.1"])
    assert alone[0] == together[1]
    assert alone[0] is not None
    assert {"one"} >= {*alone[0].names}
