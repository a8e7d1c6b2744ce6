"""Pieces of messages that may answer a question."""

import pytest

from worker.parsing.pieces import Piece, nth, places


@pytest.mark.parametrize(
    ("text", "value", "rule"),
    [
        ("connect to 10.0.0.1:80 failed", "10.0.0.1", "place"),
        ("connect to 10.0.0.1:80 failed", "80", "port"),
        ("done in 12 ms", "12 ms", "measure"),
        ("user=bob left", "bob", "value"),
        ("java.io.IOException: broken pipe", "java.io.IOException", "name"),
        ("java.io.IOException: broken pipe", "broken pipe", "tail"),
        ('open "a b.txt" failed', "a b.txt", "quoted"),
        ("at 2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z", "timestamp"),
        ("at 2026-01-02T03:04:05.678Z", "2026-01-02", "date"),
        ("paid by Müller Ltd", "Müller Ltd", "words"),
    ],
)
def test_a_value_is_found_by_its_rule(text: str, value: str, rule: str) -> None:
    """Each rule finds the values that it is there for."""
    found = {text[piece.start : piece.end]: piece.rules for piece in Piece.all(text)}
    assert rule in found.get(value, frozenset())


def test_parameters_are_pieces() -> None:
    """What a template cuts is a piece, whatever it looks like; an empty parameter is none."""
    pieces = Piece.all("a-b -c", ((1, 4), (6, 6)))
    assert [(piece.start, piece.end) for piece in pieces if "parameter" in piece.rules] == [(1, 4)]


def test_a_piece_of_a_value_is_found_again_in_another_value() -> None:
    """The rule and the number of its match name the same part of every value."""
    rule, count = next(iter(places("10.0.0.1:80", (9, 11))))
    assert nth("10.22.33.44:8080", rule, count) == (12, 16)
    assert nth("nothing", rule, count) is None
