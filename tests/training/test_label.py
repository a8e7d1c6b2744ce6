"""The walk through labelling, driven as a person would."""

import io
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.label import (
    Labelling,
    StreamConsole,
    failing_place,
    main,
    matching,
    numbered,
    painted,
    refusal,
    saved,
    suggested,
    toggled,
    word_range,
    words_of,
)
from training.labels import Pair, aligned, read_pairs, written
from training.sampling import Choice, Form, Survey

ROOT = Path(__file__).parents[2]
MESSAGES = ["user bob left after 5 s", "user eve left after 7 s", "disk sda is full", "cache cleared"]
CHOICES = [Choice(index=number, message=message, lines=10 - number) for number, message in enumerate(MESSAGES)]
SUGGESTIONS = ["user bob left after <*> s", "user eve left after <*> s", "disk <*> is full", ""]


def labelled(keys: str, answers: Mapping[str, str] | None = None) -> tuple[dict[str, str], str, list[dict[str, str]]]:
    """Press keys; gives the answers, what was shown, and each state that was saved."""
    shown = io.StringIO()
    states: list[dict[str, str]] = []
    survey = Survey()
    survey.read(MESSAGES)
    walk = Labelling(
        CHOICES,
        SUGGESTIONS,
        forms=survey.forms,
        answers=answers or {},
        save=lambda pairs: states.append(dict(pairs)),
        console=StreamConsole(io.StringIO(keys), shown),
    )
    walk.run()
    return walk.answers, shown.getvalue(), states


def test_enter_accepts_and_each_answer_is_saved() -> None:
    """Enter takes what is shown; a line without a suggestion is its own template."""
    answers, shown, states = labelled("\n\n\n\n")
    assert dict(zip(MESSAGES, [*SUGGESTIONS[:3], "cache cleared"], strict=True)) == answers
    assert [1, 2, 3, 4] == [len(state) for state in states]
    assert "4 of 4 lines are labelled." in shown


def test_a_word_is_toggled_and_the_next_line_profits() -> None:
    """`t` makes a parameter of a word; a later line that the template matches is suggested the same."""
    answers, shown, _ = labelled("t 2\n\n\nq\n")
    assert dict.fromkeys(MESSAGES[:2], "user <*> left after <*> s") == answers
    assert "matches about 2 lines:\n    user ⟨eve⟩ left after ⟨7⟩ s" in shown


def test_words_and_parameters_toggle_both_ways() -> None:
    """`t` makes constants of parameters, and takes several words at once."""
    answers, _, _ = labelled("t 5 2-3\n\nq\n")
    assert {MESSAGES[0]: "user <*> after 5 s"} == answers


@pytest.mark.parametrize(
    ("keys", "reason"), [("t 9", "there are words 1 to 6."), ("t x", "'x' is no number"), ("?", "Enter accepts")]
)
def test_wrong_keys_change_nothing(keys: str, reason: str) -> None:
    """What can't be done is said, and the question stays."""
    answers, shown, _ = labelled(f"{keys}\nq\n")
    assert {} == answers
    assert reason.removesuffix("s") in shown


def test_an_edited_template_must_match() -> None:
    """A template that does not match its line is refused with the place; one that does is shown before it counts."""
    answers, shown, _ = labelled("e\nuser <*> stayed <*>\ne user <*>   left after <*>\n\nq\n")
    assert "  user <*> stayed <*>\n           ^\n  the line goes on with 'left after 5 s'" in shown
    assert {MESSAGES[0]: "user <*> left after <*>"} == answers


def test_skip_and_back() -> None:
    """`s` leaves a line without an answer, `b` goes back to it, at the first line it stays there."""
    answers, shown, _ = labelled("b\ns\nb\n\ns\ns\ns\n")
    assert [MESSAGES[0]] == list(answers)
    assert "1 of 4 lines are labelled." in shown


def test_the_end_of_input_keeps_the_answers() -> None:
    """When the person is gone, what was answered stays."""
    answers, _, states = labelled("\n")
    assert ([answers], [MESSAGES[0]]) == (states, list(answers))


def test_a_later_run_goes_on() -> None:
    """Lines with an answer are not asked again; answers to other lines are kept."""
    answers, shown, _ = labelled("\nq\n", {"other 1": "other <*>", MESSAGES[0]: SUGGESTIONS[0]})
    assert "[1/4]" not in shown
    assert ["other 1", MESSAGES[0], MESSAGES[1]] == list(answers)


def test_all_labelled_asks_nothing() -> None:
    """With every line answered there is nothing to ask."""
    _, shown, _ = labelled("", dict.fromkeys(MESSAGES, "<*>"))
    assert "4 of 4 lines are labelled.\n" == shown


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("disk <*> was full", (9, 9)),
        ("disc <*>", (3, 3)),
        ("disk <*> is fuller", (16, 16)),
        ("disk sda", (8, 8)),
        ("<*> drive <*>", (4, 5)),
    ],
)
def test_the_failing_place_is_found(template: str, expected: tuple[int, int]) -> None:
    """The place is where the template and the line part, in both."""
    assert expected == failing_place("disk sda is full", template)


def test_refusals_say_why() -> None:
    """A template is refused that matches everything, is empty, or does not match."""
    assert "keeps no letter" in (refusal("disk 1", "<*>") or "")
    assert "empty" in (refusal("disk 1", " ") or "")
    assert "the line ends before" in (refusal("disk 1", "disk 1 is") or "")
    assert None is refusal("disk 1", "disk <*>")


def test_the_most_literal_earlier_template_is_suggested() -> None:
    """Of templates given before, the one with most text that matches wins over the model's."""
    assert "a <*> c" == suggested("a b c", ["a <*>", "a <*> c", "x <*>"], "a b <*>")
    assert "a b <*>" == suggested("a b c", ["x <*>"], "a b <*>")
    assert "a b c" == suggested("a  b c", [], "no match")


def test_examples_differ_most() -> None:
    """Lines with the most values that were not shown come first; the lines of forms are counted."""
    messages = ["a 1 b 1", "a 1 b 2", "a 2 b 1", "a 3 b 3", "c 1"]
    forms = [
        Form(words=("a",), lines=40, examples=list(enumerate(messages[:4]))),
        Form(words=("c",), lines=9, examples=[(4, "c 1")]),
    ]
    found = matching("a <*> b <*>", "a 1 b 1", forms)
    assert (40, ["a 3 b 3", "a 1 b 2", "a 2 b 1"]) == (found.lines, [message for message, _ in found.examples])


def test_parameters_are_set_off() -> None:
    """Parameters are coloured, or bracketed where there is no colour; control characters are never sent."""
    assert "a \033[1;36mb\033[0m \ufffd" == painted("a b \x1b", [(2, 3)], colored=True)
    assert "1 a  2 ⟨b⟩⟨c⟩" == numbered("a bc", [(2, 3), (3, 4)], colored=False)
    assert "\033[2m1\033[0m a" == numbered("a", [], colored=True)


@given(st.text(alphabet="ab 1=:,", max_size=20), st.integers(1, 5), st.integers(0, 3))
def test_toggling_twice_with_nothing_else_changes_nothing(message: str, first: int, more: int) -> None:
    """A range that is toggled twice is constant again, and every template on the way matches."""
    if first + more > len(words_of(message)):
        with pytest.raises(ValueError, match="words 1 to"):
            toggled(message, (), first, first + more)
        return
    spans = toggled(message, (), first, first + more)
    assert aligned(message, written(message, spans)) is not None
    assert () == toggled(message, spans, first, first + more)


def test_ranges_are_read() -> None:
    """A word or a range of words can be named."""
    assert [(3, 3), (3, 5)] == [word_range("3"), word_range("3-5")]


def test_saving_replaces_the_whole_file(tmp_path: Path) -> None:
    """The file holds all pairs and nothing else is left beside it."""
    path = tmp_path / "pairs.csv"
    path.write_text("old")
    saved(path, {"a 1": "a <*>"})
    assert [Pair(message="a 1", template="a <*>")] == read_pairs(path)
    assert [path] == list(tmp_path.iterdir())


def test_the_command_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes pairs, and a second run asks for what is left."""
    log, out = tmp_path / "app.log", tmp_path / "pairs.csv"
    log.write_text("\n".join(MESSAGES * 3))
    arguments = [str(log), "--model", "none", "--header", "none", "--count", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nq\n"))
    assert 0 == main(arguments)
    assert 1 == len(read_pairs(out))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    assert 0 == main(arguments)
    assert 3 == len(read_pairs(out))
    assert "3 of 3 lines are labelled." in capsys.readouterr().out


def test_the_command_says_what_can_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken file of pairs or a missing log ends the command with a reason."""
    out = tmp_path / "pairs.csv"
    assert 1 == main([str(tmp_path / "missing.log"), "--out", str(out)])
    out.write_text("nonsense\n")
    assert 1 == main([str(tmp_path / "missing.log"), "--out", str(out)])
    assert "Content" in capsys.readouterr().err


def test_a_terminal_edits_the_template_in_place(tmp_path: Path) -> None:
    """On a real terminal `e` offers the template for editing, in colour."""
    log, out = tmp_path / "app.log", tmp_path / "pairs.csv"
    log.write_text("job alpha done\n")
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "training.label",
        str(log),
        "--model",
        "none",
        "--header",
        "none",
        "--out",
        str(out),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment) as process:
        os.close(theirs)
        try:
            expect(ours, "> ")
            os.write(ours, b"e\n")
            assert "job alpha done" in expect(ours, "job alpha done")
            os.write(ours, b"\x17\x17<*> ended\n")  # rubs out two words
            expect(ours, "the line goes on with")
            os.write(ours, b"e job <*> done\n")
            expect(ours, "\033[1;36malpha\033[0m")
            os.write(ours, b"\n")
            expect(ours, "1 of 1 lines are labelled.")
            assert 0 == process.wait(30)
        finally:
            process.kill()
            os.close(ours)
    assert [Pair(message="job alpha done", template="job <*> done")] == read_pairs(out)


def expect(terminal: int, text: str) -> str:
    """Read from a terminal until a text comes; fails after 60 seconds."""
    seen, until = "", time.monotonic() + 60
    while text not in seen:
        readable, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert readable, f"{text!r} did not come in {seen!r}"
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen
