"""Means and spreads, against cases counted by hand."""

import pytest

from training.evaluation.summary import Spread, shown, spread, summary, table, tables


def numbers(found: Spread) -> list[float]:
    """List what a spread holds."""
    return [found.mean, found.min, found.max, found.sd, found.seeds]


def test_spread() -> None:
    """A figure over seeds has its mean, its ends and the deviation of a sample."""
    assert pytest.approx([0.7, 0.5, 0.9, 0.2, 3]) == numbers(spread([0.5, 0.7, 0.9]))
    assert Spread(mean=2, min=2, max=2, sd=0, seeds=1) == spread([2.0])


def test_systems_weigh_alike() -> None:
    """The mean is over systems; its spread is of the seeds' means."""
    figures = [("b", 1, 0.2), ("b", 2, 0.4), ("a", 1, 1.0), ("a", 2, 1.0)]
    found = summary("ours", [(system, seed, {"PA": value}) for system, seed, value in figures])
    assert ["a", "b"] == list(found.systems)
    assert pytest.approx([0.65, 0.6, 0.7, 0.02**0.5 / 2, 2]) == numbers(found.mean["PA"])


def test_a_seed_that_lacks_a_system_makes_no_spread() -> None:
    """A seed that failed on a system counts for the systems it has, not for the spread of the mean."""
    found = summary("ours", [("a", 1, {"PA": 0.5}), ("a", 2, {"PA": 0.7}), ("b", 1, {"PA": 0.1})])
    assert pytest.approx([0.35, 0.3, 0.3, 0, 1]) == numbers(found.mean["PA"])


def test_figures_that_nobody_has_are_missing() -> None:
    """None is no figure: it makes no zero."""
    found = summary("ours", [("a", 1, {"PA": 0.5, "lines_per_second": None})])
    assert {"PA"} == set(found.mean)
    assert {"PA": 0.5, "GA": None, "FGA": None, "FTA": None, "lines_per_second": None} == found.part("")["mean"]
    assert {"a": {"PA": None, "GA": None, "FGA": None, "FTA": None}} == found.part("rest.")["systems"]


def test_table() -> None:
    """Names stand left, figures right."""
    expected = "system    PA\n------------\na        1.0\nlong    0.25"
    assert expected == table(["system", "PA"], [["a", "1.0"], ["long", "0.25"]])


@pytest.mark.parametrize(
    ("expected", "values", "figure"),
    [
        ("0.500", [0.5], "PA"),
        ("0.500±0.141", [0.4, 0.6], "rest.PA"),
        ("1,234,567", [1234567.0], "lines_per_second"),
        ("2.5", [2.5], "training_seconds"),
    ],
)
def test_shown(expected: str, values: list[float], figure: str) -> None:
    """Shares have three digits and their deviation, other figures few."""
    assert expected == shown(spread(values), figure)


def test_tables_name_every_parser() -> None:
    """The first table has a line for each parser; then each has one with its systems."""
    text = tables([summary("ours", [("a", 1, {"PA": 0.5})]), summary("theirs", [("a", 0, {"PA": 0.25})])])
    assert 3 == len(text.split("\n\n"))
    assert "0.500" in text.split("\n\n")[1]
    assert "theirs" in text.split("\n\n")[0]
