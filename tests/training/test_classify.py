"""Message types are taught by keywords and phrases, and measured on labelled templates."""

import csv
import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from training.classify import (
    FOLDER,
    NONE,
    Configuration,
    Keywords,
    Labelled,
    examples,
    macro_f1,
    read_labelled,
    read_words,
    teach_types,
    templates_of,
)
from training.corpus.logging_calls import LoggingCall
from worker.parsing.message_types import SHIPPED, Typer

_MEASURED = ("development", "test", "blind")


def programs(name: str) -> set[str]:
    """List the programs of labelled templates."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return {row["Program"] for row in csv.DictReader(file)}


def call(text: str, level: str = "info", package: str = "p") -> LoggingCall:
    """Make a logging call without variables."""
    return LoggingCall(
        literals=(text,), names=(), conversions=(), level=level, language="go", package=package, version="1",
        licence="MIT",
    )  # fmt: skip


def test_labels_are_types_that_have_words() -> None:
    """Every labelled template has a type of the list that ships, or none; no template stands in two files."""
    files = [read_labelled(name) for name in ("development", "test", "blind", "learned")]
    assert {one.type for file in files for one in file} == {*read_words()}
    texts = [one.template.lower() for file in files for one in file]
    assert len(texts) == len(set(texts))


def test_nothing_measured_is_taught() -> None:
    """What is taught are templates of other programs, and phrases that are none of the measured templates."""
    measured = {one.template.lower() for name in _MEASURED for one in read_labelled(name)}
    assert not measured & {phrase.lower() for phrases in read_words().values() for phrase in phrases}
    assert not programs("learned") & {program for name in _MEASURED for program in programs(name)}


def test_what_ships_was_taught_the_types_that_have_words() -> None:
    """The file, the words and the documentation name the same types."""
    taught = Typer.load(path=SHIPPED).taught
    assert taught == tuple(name for name in read_words() if name != NONE)
    page = (Path(__file__).parents[2] / "docs" / "types.md").read_text(encoding="utf-8")
    assert f"Types that ship: {', '.join(taught)}." in page


def test_what_ships_is_small() -> None:
    """At most three megabytes."""
    assert SHIPPED.stat().st_size <= 3_000_000


@pytest.mark.parametrize(
    ("template", "type_"),
    [("connect to <*> timed out", "timeout"), ("access denied", "permission denied"), ("hello <*>", NONE)],
)
def test_keywords_give_the_first_that_fits(template: str, type_: str) -> None:
    """Patterns are tried in order; what none fits has no type."""
    assert type_ == Keywords().type_of(template)


def test_macro_f1_is_the_mean_over_labels() -> None:
    """A rare label weighs as much as a common one; labels that nobody gave do not count."""
    assert macro_f1(["a", "a", "b"], ["a", "a", "b"]) == 1.0
    assert macro_f1(["a", "a", "b"], ["a", "a", "c"]) == 0.5


def test_templates_are_distinct_and_hold_words() -> None:
    """Case aside; some of the exceptions' texts are taken, too."""
    calls = [
        call("Server started"),
        call("server started"),
        call("<*> 7 <*>"),
        *(call(f"bad {n:03} value", "raise") for n in range(50)),
    ]
    texts = templates_of(calls, 100, random.Random(1))
    assert texts.count("Server started") == 1
    assert 5 < len(texts) < 40


def test_examples_are_drawn_by_type() -> None:
    """As many as asked for, or all there are; another seed draws others."""
    labelled = [Labelled(template=f"late {number}", type="timeout") for number in range(9)]
    drawn = examples(labelled, ["timeout", "retry"], 5, 1)
    assert {"timeout": 5, "retry": 0} == {name: len(texts) for name, texts in drawn.items()}
    assert drawn != examples(labelled, ["timeout", "retry"], 5, 2)


def test_a_run_teaches_and_reports(tmp_path: Path) -> None:
    """It leaves what ships, and figures of all three files; the same seed teaches the same."""
    corpus = tmp_path / "calls.jsonl"
    calls = [
        call(f"{word} {text}", package=f"p{number}")
        for number, word in enumerate("abcdefgh")
        for text in ("server started", "read timed out")
    ]
    corpus.write_text("".join(json.dumps(asdict(one)) + "\n" for one in calls), encoding="utf-8")
    configuration = Configuration(
        corpus=str(corpus), model=str(write_small(tmp_path / "model")), epochs=40, batch=4, width=4, hidden=8,
        direction=8, held_out=0.0, labelled_steps=5,
    )  # fmt: skip
    report = teach_types(configuration, tmp_path / "one")
    assert {"development", "test", "blind"} == set(report["macro_f1"])
    assert report == teach_types(configuration, tmp_path / "two")
    assert (tmp_path / "one" / SHIPPED.name).read_bytes() == (tmp_path / "two" / SHIPPED.name).read_bytes()
