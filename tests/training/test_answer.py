"""Measuring answers to fields asked for in words."""

import json

import pytest

from training.answer import MEANINGS, by_keys, by_looks, same_elsewhere
from training.labelled_fields import FOLDER, Asked, Counted, counted


def asked(line: str, **fields: list[tuple[int, int]]) -> Asked:
    """Make a labelled line without a header."""
    return Asked(line=line, event={"body": line, "attributes": {}}, fields=fields)


def test_no_answer_counts_as_nothing() -> None:
    """An answer too many lowers precision, one too few recall, and any right place is right."""
    lines = [asked("abcd", a=[(0, 1), (2, 3)], b=[], c=[(1, 2)], d=[])]
    assert counted(lines, lambda _: [(2, 3), (0, 1), None, None]) == Counted(precision=0.5, recall=0.5, f1=0.5)


def test_baselines_look_for_values_and_for_keys() -> None:
    """The one knows what an address looks like, the other reads the key."""
    line = asked("user=bob ip 10.0.0.1", user=[(5, 8)], ip=[(12, 20)])
    assert by_looks(line) == [(5, 8), (12, 20)]
    assert by_keys(line) == [(5, 8), None]


def test_examples_come_from_other_lines_of_the_program() -> None:
    """A field is counted where another line of its program is asked for the same and answers."""
    lines = [
        Asked(line=line, event={"body": line, "attributes": {}}, fields=fields, program=program)
        for program, line, fields in (
            ("a", "ip 1", {"ip": [(3, 4)], "user": []}),
            ("a", "from 2", {"client": [(5, 6)]}),
            ("a", "none", {"ip": []}),
            ("b", "ip 3", {"ip": [(3, 4)]}),
        )
    ]
    found = same_elsewhere(lines, {"a": [["ip", "client"]], "b": [["ip"]]})
    assert [(asked.line, {field: [one.line for one, _ in pool] for field, pool in pools.items()})
            for asked, pools in found] == [
        ("ip 1", {"ip": ["from 2"]}), ("from 2", {"client": ["ip 1"]}), ("none", {"ip": ["ip 1", "from 2"]}),
    ]  # fmt: skip


@pytest.mark.parametrize("half", ["development", "test"])
def test_meanings_name_fields_of_their_programs(half: str) -> None:
    """Each word is asked of the program, and has one meaning there."""
    rows = [json.loads(row) for row in (FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()]
    for program, groups in json.loads((FOLDER / MEANINGS).read_text(encoding="utf-8"))[half].items():
        words = [word for group in groups for word in group]
        assert len(words) == len(set(words))
        assert set(words) <= {field for row in rows if row["program"] == program for field in row["fields"]}


@pytest.mark.parametrize("half", ["development", "test"])
def test_labels_lie_in_their_lines(half: str) -> None:
    """Every labelled place is a stretch of its line without white space around it."""
    rows = [json.loads(row) for row in (FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) > 150
    for row in rows:
        for places in row["fields"].values():
            for start, end in places:
                assert row["line"][start:end] == row["line"][start:end].strip() != ""
