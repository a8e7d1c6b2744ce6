"""Teaching names of parameters."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from training.corpus.logging_calls import LoggingCall
from training.name import Meanings, made_of, main, measure, safe_threshold, stem
from worker.parsing.checkpoint import WEIGHTS, checkpoint_version
from worker.parsing.naming import Chosen, Namer, places


def calls() -> list[LoggingCall]:
    """Make logging calls of many packages, whose words before a parameter tell its name."""
    return [
        LoggingCall(
            literals=(f"{word} ", f" in run {number} of ", ""), names=(name, "count"), conversions=("s", "d"),
            level="info", language="python", package=f"p{number}", version="1", licence="MIT",
        )
        for number in range(24)
        for word, name in (("a b", "size"), ("c d", "user"))
    ]  # fmt: skip


def test_a_run_teaches_names_and_keeps_the_weights(tmp_path: Path) -> None:
    """Names that the words tell are learned, of packages never seen; the checkpoint is as before but for them."""
    corpus, model, out = tmp_path / "calls.jsonl", write_small(tmp_path / "model"), tmp_path / "run"
    corpus.write_text("".join(json.dumps(asdict(call)) + "\n" for call in calls()))
    options = {
        "model": model, "corpus": corpus, "out": out, "examples": 600, "packages": 2, "width": 8, "hidden": 16,
        "epochs": 8, "batch": 32, "learning-rate": 1e-2, "held-out": 0.3, "measured": 60, "threads": 1, "dropout": 0.0,
    }  # fmt: skip
    main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    report = json.loads((out / "report.json").read_text())
    assert report["held_out"]["no key"]["model, top 1"]["exact"] > 0.5
    assert (model / WEIGHTS).read_bytes() == (out / "checkpoint" / WEIGHTS).read_bytes()
    assert checkpoint_version(model) != checkpoint_version(out / "checkpoint")
    namer = Namer.load(out / "checkpoint")
    assert namer is not None
    assert namer.choose(places(["a b ", " in run 3 of 7"], [b"12"]))[0].name == "size"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("retry_count", "count_retries", True),
        ("host", "server", True),
        ("row", "count", False),
        ("", "", False),
        ("error", "", False),
    ],
)
def test_names_mean_the_same_by_stems_or_by_the_encoder(one: str, other: str, *, is_same: bool) -> None:
    """Order and endings of words do not matter, nor does a synonym; no name means nothing."""
    assert is_same == Meanings().same(one, other)


def test_stems_keep_short_words() -> None:
    """Endings go, unless hardly a word would be left."""
    assert ["retr", "connect", "connect", "bus", "id"] == [
        stem(word) for word in ("retries", "connected", "connection", "bus", "id")
    ]


def test_names_of_words_are_told_from_others() -> None:
    """Every part of a name is a word, or `id`."""
    words = {"block", "size"}
    assert [True, True, False] == [made_of(name, words) for name in ("block_size", "block_id", "blk_size")]


def test_measures_count_shares_of_parameters() -> None:
    """A name may be exact, mean the same, be wrong, or be left out."""
    found = measure(["host", "host", "host", "host"], ["host", "server", "count", ""], Meanings())
    assert (found.exact, found.by_meaning, found.named) == (0.25, 0.5, 0.75)
    assert found.precision == pytest.approx(2 / 3)


def test_the_threshold_leaves_out_what_is_mostly_wrong() -> None:
    """The lowest probability is taken from which on enough names are right."""
    chosen = [Chosen(name=name, probability=share) for name, share in (("a", 0.9), ("b", 0.8), ("a", 0.7), ("b", 0.1))]
    assert safe_threshold(["a", "x", "a", "y"], chosen, Meanings()) == 0.7
