"""Figures of parsing accuracy, against cases counted by hand."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.metrics import Accuracy, Unseen, accuracy, normalised, parameter_f1, unseen_accuracy

TEMPLATES = st.sampled_from(["a", "b <*>", "b  <*>", "c", "d <*>"])


def test_perfect() -> None:
    """A prediction that differs in white space alone is right everywhere."""
    assert Accuracy(ga=1, fga=1, pa=1, fta=1) == accuracy(["a <*>", "b  c", "b c"], ["a  <*>", "b c", "b\tc"])


def test_split_group() -> None:
    """A group that was split: its lines group wrong; the half that kept the template is a right template."""
    # Oracle groups A (3 lines), B (1); predicted A (2), A2 (1), B (1). Right of both: B.
    found = accuracy(["A", "A", "A", "B"], ["A", "A", "A2", "B"])
    assert Accuracy(ga=1 / 4, fga=2 / 5, pa=3 / 4, fta=4 / 5) == found


def test_merged_groups() -> None:
    """Groups that were merged are all wrong, and a template over lines of two oracles is no right template."""
    # Predicted A (3 lines: 2 of A, 1 of B), C (1); oracle A, B, C.
    found = accuracy(["A", "A", "B", "C"], ["A", "A", "A", "C"])
    assert Accuracy(ga=1 / 4, fga=2 / 5, pa=3 / 4, fta=2 / 5) == found


def test_renamed_group() -> None:
    """A group under a wrong template is a right group all the same."""
    found = accuracy(["A", "A", "B"], ["A <*>", "A <*>", "B"])
    assert Accuracy(ga=1, fga=1, pa=1 / 3, fta=1 / 2) == found


def test_swapped_templates() -> None:
    """Groups that carry each other's templates are right groups with wrong templates."""
    assert Accuracy(ga=1, fga=1, pa=0, fta=0) == accuracy(["A", "A", "B"], ["B", "B", "A"])


def test_no_template_is_wrong_everywhere() -> None:
    """Each line without a prediction is a wrong group of its own, even where the oracle's group has one line."""
    # Predicted: A, and two lines alone; oracle: A, B, C.
    found = accuracy(["A", "A", "B", "C"], ["A", "A", None, None])
    assert Accuracy(ga=1 / 2, fga=2 / 6, pa=1 / 2, fta=2 / 6) == found
    assert {"GA": 0.0, "FGA": 0.0, "PA": 0.0, "FTA": 0.0} == accuracy(["A"], [None]).as_dict()


def test_unlabelled_lines_are_dropped() -> None:
    """Lines without an oracle template count nowhere, not in predicted groups either."""
    assert Accuracy(ga=1, fga=1, pa=1, fta=1) == accuracy(["A", None, "B", None], ["A", "A", "B", "X"])


@pytest.mark.parametrize("oracle", [[], [None]])
def test_nothing_to_compare(oracle: list[None]) -> None:
    """Without an oracle there is no figure."""
    with pytest.raises(ValueError, match="no line has an oracle template"):
        accuracy(oracle, oracle)


@settings(max_examples=200)
@given(st.lists(st.tuples(TEMPLATES | st.none(), TEMPLATES | st.none())))
def test_bounds(rows: list[tuple[str | None, str | None]]) -> None:
    """Every figure lies between 0 and 1, as counted line by line, and a perfect prediction has 1 in all."""
    labelled = [row for row in rows if row[0] is not None]
    if not labelled:
        return
    oracle, predicted = zip(*rows, strict=True)
    found = accuracy(oracle, predicted)
    assert all(0 <= figure <= 1 for figure in found.as_dict().values())
    assert plain_accuracy(labelled) == pytest.approx(found.as_dict())
    assert {"GA": 1, "FGA": 1, "PA": 1, "FTA": 1} == accuracy(oracle, oracle).as_dict()


def plain_accuracy(rows: Sequence[tuple[str | None, str | None]]) -> dict[str, float]:
    """Compute the figures as they are defined, with sets of lines."""
    true: dict[str, set[int]] = {}
    cut: dict[str, set[int]] = {}
    for line, (wanted, found) in enumerate(rows):
        true.setdefault(" ".join((wanted or "").split()), set()).add(line)
        cut.setdefault(f"none {line}" if found is None else " ".join(found.split()), set()).add(line)
    named = {name: lines for name, lines in cut.items() if not name.startswith("none ")}
    same = [lines for lines in named.values() if lines in true.values()]
    right = [name for name, lines in named.items() if lines <= true.get(name, set())]
    f1 = [2 * count / (len(cut) + len(true)) for count in (len(same), len(right))]
    pa = sum(len(lines & true.get(name, set())) for name, lines in named.items())
    return {"GA": sum(map(len, same)) / len(rows), "FGA": f1[0], "PA": pa / len(rows), "FTA": f1[1]}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("user <*>  in", "user <*> in"),
        # Behind an equals sign.
        ("uid=0 tty=/dev/x.y euid= rest", "uid=<*> tty=<*> euid= <*>"),
        ("a=b-c", "a=<*>-c"),
        ("a == 5", "a == <*>"),
        # Pieces that hold a wildcard.
        ("blk_<*> of /var/<*>/log", "<*> of <*>"),
        ("task<*>:main", "<*>:main"),
        ("<<*>>", "<*>"),
        # Wildcards that only a mark keeps apart.
        ("<*>:<*>.<*>", "<*>"),
        ("<*><*>##<*>", "<*>"),
        ("(<*>,<*>)", "(<*>)"),
        ("<*> <*>, <*>", "<*> <*> <*>"),
        ("<*>::<*>", "<*>::<*>"),
        # What dresses a wildcard between spaces.
        ("is #<*># or #<*> or \"<*>\" or '<*>' or <*>. or <*>, end", "is <*> or <*> or <*> or <*> or <*> or <*> end"),
        ("(<*>.) <*>.", "(<*>.) <*>."),
    ],
)
def test_normalised(template: str, expected: str) -> None:
    """How finely a value is split no longer shows; where values stand still does."""
    assert expected == normalised(template)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["<*>", "a", "=", " ", "#", ".", '"', "/"]), max_size=12).map("".join))
def test_normalising_keeps_having_parameters(template: str) -> None:
    """Normalising never loses the last parameter, and leaves no wildcards that touch."""
    found = normalised(template)
    assert "<*><*>" not in found
    assert "<*>" in found or "<*>" not in template


def test_parameter_f1() -> None:
    """Spans are counted over distinct lines, and lines whose oracle does not match are left out."""
    messages = ["a 1 b 2", "a 1 b 2", "c 3 d", "e 5", "f 6", "g"]
    oracle = ["a <*> b <*>", "a <*> b <*>", "c <*> d", "x <*>", None, "g"]
    predicted = ["a <*> b 2", "a <*> b 2", "c <*>", "e <*>", "f <*>", "g"]
    # Right: 1 of a; wanted 2 + 1, found 1 + 1.
    assert 2 * 1 / 5 == parameter_f1(messages, oracle, predicted)


def test_parameter_f1_without_predictions() -> None:
    """A missing or wrong template finds nothing."""
    assert 0 == parameter_f1(["a 1", "a 2"], ["a <*>", "a <*>"], [None, "b <*>"])
    assert 1 == parameter_f1(["a", "b"], ["a", "b"], ["a", None])


def test_unseen_accuracy() -> None:
    """Only lines whose oracle template is no shot's count; white space makes no other template."""
    oracle = ["a  <*>", "b", "b", "c", None]
    predicted = ["x", "b", None, "c <*>", "b"]
    assert Unseen(share=1 / 3, rows=3) == unseen_accuracy(oracle, predicted, ["a <*>"])
    assert Unseen(share=None, rows=0) == unseen_accuracy(oracle, predicted, ["a <*>", "b", "c"])
