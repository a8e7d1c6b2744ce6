"""Teaching fields by a few labelled lines."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from training.prompt_fields import main, read_examples
from worker.errors import WrongSettings
from worker.parsing.checkpoint import checkpoint_version, prompt_names, taught_fields
from worker.parsing.field_prompts import read_field_prompts
from worker.parsing.fields import SHIPPED, FieldReader


def write_examples(path: Path, *rows: Mapping[str, object]) -> Path:
    """Write examples, a line each."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def event(body: str) -> dict[str, object]:
    """Make an event without a header and without parameters."""
    return {"body": body, "attributes": {"log.record.template.id": body}}


def test_examples_teach_what_words_do_not_say(tmp_path: Path) -> None:
    """A field whose words mean nothing is found after examples of it, and the worker loads what was learned."""
    lines = {"lot QX-17 of bay 3 sealed by m9": "QX-17", "lot AB-2 of bay 11 sealed by m4": "AB-2"}
    examples = write_examples(
        tmp_path / "app.jsonl",
        *({"line": line, "fields": {"gizmo": text, "email": None}} for line, text in lines.items()),
    )
    model, out = write_small(tmp_path / "model"), tmp_path / "run"
    assert main(["--source", "app", str(examples), "--out", str(out), "--model", str(model)]) == 0
    checkpoint = out / "checkpoint"
    assert prompt_names(checkpoint) == ("app",)
    taught = taught_fields(checkpoint, "app")
    body = "lot ZW-5 of bay 7 sealed by m2"
    (before,), (after, email) = (
        FieldReader.load(["gizmo"]).answers(event(body)),
        FieldReader.load(["gizmo", "email"], taught=taught).answers(event(body)),
    )
    assert (before and before.text) != "ZW-5"
    assert (after and after.text, email) == ("ZW-5", None)
    assert json.loads((out / "report.json").read_text())["app"]["gizmo"] == {"examples": 2, "out_of_reach": []}


def test_fields_stay_beside_what_a_checkpoint_knows(tmp_path: Path) -> None:
    """A second run adds its fields to the first one's, and the checkpoint's own version stays."""
    model = write_small(tmp_path / "model")
    for number, field in enumerate(["gizmo", "bay"]):
        line = {"line": "lot QX-17 of bay 3", "fields": {field: "QX-17" if field == "gizmo" else 3}}
        examples, out = write_examples(tmp_path / f"{field}.jsonl", line), tmp_path / f"run{number}"
        assert main(["--source", "app", str(examples), "--out", str(out), "--model", str(model), "--steps", "2"]) == 0
        assert checkpoint_version(out / "checkpoint") == checkpoint_version(model)
        model = out / "checkpoint"
    taught = taught_fields(model, "app")
    assert taught is not None
    assert set(read_field_prompts(taught, SHIPPED, 96)) == {"gizmo", "bay"}


def test_wrong_examples_are_named_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is told with its line, and nothing is written."""
    path = write_examples(
        tmp_path / "app.jsonl",
        {"line": "a b", "fields": {"user": "c"}},
        {"line": "a b", "fields": {"user": [[1, 9]]}},
        {"line": "a b", "fields": {}},
        {"text": "a b"},
    )
    with pytest.raises(WrongSettings, match=r"line 1: user: 'c' does not stand.*line 2: .*line 3: .*line 4: 'line'"):
        read_examples(path)
    assert main(["--source", "app", str(path), "--out", str(tmp_path / "run")]) == 1
    assert "line 4" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_answer_is_a_text_or_places(tmp_path: Path) -> None:
    """A text stands where it is a whole word; places are taken as they are; null is no answer."""
    path = write_examples(
        tmp_path / "app.jsonl", {"line": "try 3 of 13", "fields": {"try": 3, "most": [[9, 11]], "user": None}}
    )
    assert read_examples(path) == [("try 3 of 13", {"try": [(4, 5)], "most": [(9, 11)], "user": []})]
