"""What messages that differ only in their numbers share."""

import pytest

from worker.parsing.alike import kind_of, moved
from worker.parsing.spans import Span


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("took 7 ms", "took 1250 ms", True),
        ("id 0e984725-c51c-4bf4-9960-e1c80e27aba0 up", "id 7b1f2c3d-0000-4aaa-8bbb-ffffeeee0001 up", True),
        ("commit 6dcd4ce23d88e2ee", "commit 9fceb02d0ae598e9", True),
        ("took 7 ms", "took seven ms", False),
        ("on cafe", "on 7", False),
    ],
)
def test_messages_that_differ_in_numbers_and_identifiers_alone_are_of_one_kind(
    one: str, other: str, expected: bool
) -> None:
    """Numbers, long hexadecimal numbers and UUIDs may differ; words may not."""
    assert expected == (kind_of(one) == kind_of(other))


@pytest.mark.parametrize(
    ("text", "spans", "other", "expected"),
    [
        ("took 7 ms", [(5, 6)], "took 1250 ms", [(5, 9)]),
        ("a1-b2 c3", [(0, 5), (6, 8)], "a100-b2 c33", [(0, 7), (8, 11)]),
        ("10.0.0.1:80 up", [(0, 8), (9, 11)], "192.168.100.7:9092 up", [(0, 13), (14, 18)]),
        ("7", [], "12", []),
        ("x 7", [(2, 2)], "x 12", [(2, 2)]),
    ],
)
def test_a_cut_moves_to_where_the_same_parts_stand(
    text: str, spans: list[Span], other: str, expected: list[Span]
) -> None:
    """Edges keep their places between the numbers, however long those are."""
    assert expected == moved(text, spans, other)


def test_a_cut_through_a_number_does_not_move() -> None:
    """What a cut takes of one number says nothing about another."""
    assert moved("id 12345", [(3, 5)], "id 9") is None
