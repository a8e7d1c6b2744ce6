"""Labelled messages."""

import random

import pytest

from training.corpus.examples import Examples, example, rendered
from training.corpus.logging_calls import LoggingCall
from training.corpus.values import CLOSE, OPEN, Values


def call(*literals: str, conversion: str = "s") -> LoggingCall:
    """Make a logging call."""
    count = len(literals) - 1
    return LoggingCall(
        literals=literals, names=("size",) * count, conversions=(conversion,) * count, level="info", language="python",
        package="p", version="1", licence="MIT",
    )  # fmt: skip


VALUES = Values(random.Random(3), ["alpha", "beta"], ["it broke"], ["size"])


@pytest.mark.parametrize(
    ("marked", "template"),
    [
        (f"to {OPEN}h{CLOSE}:{OPEN}80{CLOSE} now", "to <*>:<*> now"),
        (f"task-{OPEN}7{CLOSE} done", "task-<*> done"),
        (f"{OPEN}7{CLOSE}ms of {OPEN}a_b{CLOSE}.", "<*> of <*>."),
        (f"with J(id={OPEN}7{CLOSE})", "with J(id=<*>)"),
        (f"empty {OPEN}{CLOSE}.", "empty ."),
        (f"list {OPEN}[a, b]{CLOSE}", "list [<*>]"),
        ("retry 3 of UTF-8", "retry <*> of UTF-<*>"),
    ],
)
def test_marks_become_spans_of_the_convention(marked: str, template: str) -> None:
    """As the published rules have it, without brackets; numbers in constant text are parameters."""
    assert template == example(marked).template


def test_plural_endings_are_no_parameter() -> None:
    """The `s` of `%d item%s` is constant text or absent."""
    assert {rendered(call("item", " left"), VALUES) for _ in range(50)} == {"item left", "items left"}


def test_glued_words_are_no_example() -> None:
    """A text value glued to a word is left out, a number is not."""
    assert rendered(call("", "ing it"), VALUES) is None
    assert rendered(call("", "ms", conversion="d"), VALUES) is not None


def test_examples_repeat_and_fit() -> None:
    """The same seed gives the same examples; spans are ascending and inside their texts."""
    calls = [call("sent ", " bytes to ", ""), call("ready now"), call("lost ", ": ", "")]
    first = list(Examples(calls, ["alpha"], 5).take(300))
    assert first == list(Examples(calls, ["alpha"], 5).take(300))
    for one in first:
        edges = [edge for span in one.spans for edge in span]
        assert edges == sorted(set(edges))
        assert all(0 <= edge <= len(one.text) for edge in edges)
