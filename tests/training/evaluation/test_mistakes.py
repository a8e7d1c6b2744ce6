"""Kinds of mistakes, on lines over their templates."""

import pytest

from training.evaluation.mistakes import (
    BOTH,
    NO_TEMPLATE,
    OTHER_CUT,
    TOO_NARROW,
    TOO_WIDE,
    WRONG_LABEL,
    Mistake,
    kind_of,
    mistakes,
)


@pytest.mark.parametrize(
    ("kind", "message", "oracle", "predicted"),
    [
        (NO_TEMPLATE, "sent 5 bytes", "sent <*> bytes", None),
        (OTHER_CUT, "sent 5:6 bytes", "sent <*>:<*> bytes", "sent <*> bytes"),
        (OTHER_CUT, "peer a () left", "peer <*> (<*>) left", "peer <*> () left"),
        (TOO_WIDE, "sent 5 bytes", "sent <*> bytes", "sent <*> <*>"),
        (TOO_NARROW, "peer bob left", "peer <*> left", "peer bob left"),
        (BOTH, "peer bob left", "peer <*> left", "peer bob <*>"),
        (WRONG_LABEL, "peer bob left", "user <*> left", "peer <*> left"),
    ],
)
def test_kinds(kind: str, message: str, oracle: str, predicted: str | None) -> None:
    """The kind says which characters are on the wrong side."""
    assert kind == kind_of(message, oracle, predicted)


def test_most_lines_come_first() -> None:
    """Each pair of templates is one mistake with its lines and first message; right and unlabelled lines are none."""
    messages = ["peer bob left", "sent 1 bytes", "sent 2 bytes", "up", "odd", "two  spaces"]
    oracle = ["peer <*> left", "sent <*> bytes", "sent <*> bytes", "up", None, "two spaces"]
    predicted = ["peer <*> left", "sent <*> <*>", "sent <*> <*>", "<*>", "odd", "two  spaces"]
    expected = [
        Mistake(kind=TOO_WIDE, lines=2, message="sent 1 bytes", oracle="sent <*> bytes", predicted="sent <*> <*>"),
        Mistake(kind=TOO_WIDE, lines=1, message="up", oracle="up", predicted="<*>"),
    ]
    assert expected == mistakes(messages, oracle, predicted)
