"""Messages with fields asked for in words."""

import random

import pytest

from training.corpus.asked import AskedExamples, parts, question
from training.corpus.logging_calls import LoggingCall


def stream(seed: int) -> AskedExamples:
    """Make messages of one logging call."""
    call = LoggingCall(
        literals=("user ", " left after ", " ms"), names=("user", "elapsed"), conversions=("s", "d"), level="info",
        language="python", package="p", version="1", licence="MIT",
    )  # fmt: skip
    return AskedExamples([call], ["apple", "river", "stone"], seed)


def test_the_stream_repeats_and_its_answers_lie_in_the_text() -> None:
    """The same seed gives the same messages; every answer is a stretch of the text with a name of its own."""
    found = list(stream(1).take(200))
    assert found == list(stream(1).take(200))
    for example in found:
        names = [name for _, name in example.answers]
        assert len(names) == len(set(names))
        assert all(0 <= start < end <= len(example.text) for (start, end), _ in example.answers)


@pytest.mark.parametrize(
    ("name", "value", "behind", "asked"),
    [
        ("client_address", "10.0.0.1:80", "", {"client address": "10.0.0.1", "client port": "80"}),
        ("error", "OSError: disk full", "", {"error type": "OSError", "error message": "disk full"}),
        ("duration", "12", " ms later", {"duration": "12 ms"}),
        ("path", "'/var/a.log'", "", {"path": "/var/a.log"}),
        ("file", "app.py:7", "", {"file": "app.py", "line": "7"}),
        (
            "when",
            "2026-01-02 03:04:05",
            "",
            {"date": "2026-01-02", "time": "03:04:05", "timestamp": "2026-01-02 03:04:05"},
        ),
    ],
)  # fmt: skip
def test_a_value_is_asked_for_by_its_parts(name: str, value: str, behind: str, asked: dict[str, str]) -> None:
    """What a value holds can be asked for; quotes are no part of it, its unit is."""
    text = f"x {value}{behind}"
    assert asked == {what: text[start:end] for (start, end), what in parts(name, 2, value, behind)}


def test_questions_are_asked_in_words() -> None:
    """A name in code becomes words, and words that stand for each other take turns."""
    rng = random.Random(1)
    asked = {question("duration", "12 ms", rng) for _ in range(100)}
    assert {"duration", "latency", "elapsed time"} <= asked
    assert all(question("retry_count", "3", rng) != "retry_count" for _ in range(10))
