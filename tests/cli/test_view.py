"""Events as lines for people."""

import json
import re
import unicodedata
from typing import Any

import click
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.view import json_of, render
from worker.terminal import printable, printable_lines


def _event(body: Any = "user bob logged in", *parameters: Any, **others: Any) -> dict[str, Any]:
    attributes = {
        "log.record.template": "...",
        "log.record.parameters": list(parameters),
        "logloom.source": "sshd",
        "logloom.cache": "hit",
    }
    event = {"timestamp": "2026-11-22T15:00:00.123456Z", "severity_text": "info", "severity_number": 9, "body": body}
    return event | {"attributes": attributes | others.pop("attributes", {})} | others


def test_plain_line() -> None:
    """Time, level, source, hit or miss, and the message with its parameters marked by name."""
    event = _event("user bob logged in after 3 s", {"start": 5, "end": 8, "name": "user"}, {"start": 25, "end": 26})
    assert render(event, colour=False) == "15:00:00.123 INFO  sshd         hit  user <user=bob> logged in after <3> s"


def test_colours_stand_for_the_marks() -> None:
    """With colours the text is as it was, and a parameter is coloured."""
    line = render(_event("user bob", {"start": 5, "end": 8, "name": "user"}), colour=True)
    assert click.unstyle(line) == "15:00:00.123 INFO  sshd         hit  user bob"
    assert click.style("bob", fg="cyan") in line


def test_a_miss_is_seen() -> None:
    """A miss reads differently from a hit."""
    assert " miss user" in render(_event(attributes={"logloom.cache": "miss"}), colour=False)


def test_level_by_number_or_as_written() -> None:
    """Levels read alike whatever a program calls them; a level without a number stays as it is."""
    levels = [
        (1, "finest", "TRACE"),
        (5, "fine", "DEBUG"),
        (10, "notice", "INFO "),
        (13, "w", "WARN "),
        (17, "E", "ERROR"),
        (24, "crit", "FATAL"),
        (None, "audit!", "audit"),
        (None, None, "-    "),
        ("x", None, "-    "),
    ]
    for number, text, expected in levels:
        assert render(_event(severity_number=number, severity_text=text), colour=False)[13:18] == expected


def test_missing_members_do_no_harm() -> None:
    """What is no event of ours is shown as well as it can be."""
    assert render({}, colour=False) == "             -                  hit  null"
    assert render({"body": {"a": "\x1b"}, "attributes": 3}, colour=False).endswith('hit  {"a":"\\u001b"}')


def test_wrong_spans_are_left_out() -> None:
    """Spans that overlap or lie outside of the body mark nothing."""
    spans = [{"start": 2, "end": 99}, {"start": 3, "end": 1}, "x", {"start": None, "end": 2}, {"start": 0, "end": 4}]
    assert render(_event("user bob", *spans, {"start": 2, "end": 8}), colour=False).endswith("hit  <user> bob")


def test_cut_to_the_width() -> None:
    """A line takes no more columns than there are; wide characters take two."""
    assert render(_event("abcdefgh"), colour=False, width=42) == "15:00:00.123 INFO  sshd         hit  abcd…"
    assert render(_event("漢字漢字"), colour=False, width=42) == "15:00:00.123 INFO  sshd         hit  漢字…"
    assert render(_event("abcde"), colour=False, width=42) == "15:00:00.123 INFO  sshd         hit  abcde"


def test_nothing_moves_the_cursor() -> None:
    """Escape sequences, line ends, bidirectional marks and lone surrogates are shown as escapes."""
    assert printable("a\x1b[2J\r\n\x9b\u202e\ud800\x7f") == "a\\u001b[2J\\r\\n\\u009b\\u202e\\ud800\\u007f"
    assert printable("naïve 漢字 🎉") == "naïve 漢字 🎉"


@given(st.text(), st.text(), st.text(), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_no_text_reaches_the_terminal_raw(
    body: str, source: str, name: str, start: int, end: int, colour: bool
) -> None:
    """Whatever a log holds, a line holds only printable text, and the styles that this module sets."""
    event = _event(
        body,
        {"start": start, "end": end, "name": name},
        attributes={"logloom.source": source},
        severity_text=name,
        severity_number=None,
        timestamp=body,
    )
    line = re.sub(r"\x1b\[\d+m", "", render(event, colour=colour))
    assert not [character for character in line if unicodedata.category(character).startswith(("C", "Zl", "Zp"))]
    line.encode()


def test_lines_stay_lines() -> None:
    """Errors of several lines keep them; each is as harmless as one alone."""
    assert printable_lines("two\x1b[31m\nlines\r") == "two\\u001b[31m\nlines\\r"


@given(st.dictionaries(st.text(), st.text()))
def test_json_that_is_made_printable_means_the_same(event: dict[str, str]) -> None:
    """What JSON leaves unescaped, such as U+009B and delete, is escaped as JSON escapes."""
    line = printable(json_of(event))
    assert line.isprintable()
    assert json.loads(line) == event


def test_what_is_nested_too_deep_is_told() -> None:
    """An event may hold anything: showing it never ends the command."""
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert render({"body": nested}, colour=False).endswith('"(nested too deep to be shown)"')
