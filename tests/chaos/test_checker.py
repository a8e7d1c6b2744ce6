"""The checker sees what is lost, doubled, out of order, wrong or cut: it is what all figures of faults rest on."""

import pytest

from tests.chaos.checker import Event, Line, Verdict, check

LINES = [
    Line(0, 0, "a", "took 1 ms"),
    Line(0, 1, "b", "error failed 2"),
    Line(0, 2, "a", "took 3 ms"),
    Line(0, 3, "b", "\tat shop.Cart.pay(Cart.java:4)"),
    Line(1, 0, "c", "took 5 ms"),
]
TRACE = Event(0, "b", "error failed 2\n\tat shop.Cart.pay(Cart.java:4)")
RIGHT = [Event(0, "a", "took 1 ms"), Event(0, "a", "took 3 ms"), TRACE, Event(1, "c", "took 5 ms")]


def found(events: list[Event]) -> dict[str, int]:
    """Return what is wrong, by name."""
    told = check(LINES, events).as_dict()
    return {name: count for name, count in told.items() if count and name not in {"lines", "events"}}


def test_all_is_well() -> None:
    """Every line stands in one event; lines of other keys may pass a trace."""
    assert check(LINES, RIGHT) == Verdict(lines=5, events=4, lost=0, doubled=0, disordered=0, wrong=0, cut=0, dead=0)
    assert check(LINES, RIGHT).is_right(is_exactly_once=True)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (RIGHT[1:], {"lost": 1}),
        (RIGHT[:2] + RIGHT[3:], {"lost": 2}),
        ([*RIGHT, TRACE], {"doubled": 2}),
        ([RIGHT[0], *RIGHT], {"doubled": 1}),
        ([RIGHT[1], RIGHT[0], *RIGHT[2:]], {"disordered": 1}),
        ([*RIGHT[:2], RIGHT[0], *RIGHT[1:]], {"doubled": 2}),
        ([Event(0, "b", "took 1 ms"), *RIGHT[1:]], {"lost": 1, "wrong": 1}),
        ([Event(1, "a", "took 1 ms"), *RIGHT[1:]], {"lost": 1, "wrong": 1}),
        ([*RIGHT, Event(0, "a", "took 99 ms")], {"wrong": 1}),
        ([*RIGHT, Event(0, "a", "took 1 ms!")], {"wrong": 1}),
        ([*RIGHT[:2], *(Event(0, "b", text) for text in TRACE.body.split("\n")), RIGHT[3]], {"cut": 1}),
        (
            [*RIGHT[:2], Event(0, "b", "\n".join(reversed(TRACE.body.split("\n")))), RIGHT[3]],
            {"disordered": 1, "cut": 1},
        ),
    ],
)
def test_what_is_wrong_is_counted(events: list[Event], expected: dict[str, int]) -> None:
    """Each kind by itself."""
    assert found(events) == expected


@pytest.mark.parametrize(("is_exactly_once", "is_right"), [(True, False), (False, True)])
def test_what_is_promised_depends_on_the_mode(is_exactly_once: bool, is_right: bool) -> None:
    """Twice is once too often with exactly-once alone; never is always wrong."""
    assert check(LINES, [*RIGHT, TRACE]).is_right(is_exactly_once=is_exactly_once) == is_right
    assert not check(LINES, RIGHT[1:]).is_right(is_exactly_once=is_exactly_once)


def test_a_dead_letter_is_not_lost() -> None:
    """It is where it can be replayed from."""
    told = check(LINES, RIGHT[1:], ["took 1 ms"])
    assert (told.lost, told.dead) == (0, 1)
