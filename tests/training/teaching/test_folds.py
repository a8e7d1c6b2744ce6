"""Labelled templates are split so that what is measured was never taught, and scored each template alike."""

import math
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from training.labels import Pair, aligned
from training.teaching.core import Source
from training.teaching.folds import KeptLine, Score, folds_of, narrowed, score_of
from training.teaching.lessons import shot_templates
from worker.errors import WrongSettings
from worker.parsing.checkpoint import KNOWN, prompt_folder
from worker.parsing.known import write_known
from worker.parsing.parser import EncoderParser

SHOTS = [
    Pair(message="user bob left", template="user <*> left"),
    Pair(message="user eve left", template="user <*> left"),
    Pair(message="took 12 ms", template="took <*> ms"),
    Pair(message="disk full: sda", template="disk full: <*>"),
    Pair(message="ready", template="ready"),
    Pair(message="retry 1 of 3", template="retry <*> of <*>"),
    Pair(message="bye", template="bye"),
]
SOURCE = Source(name="app", log=["took 7 ms", "took 8 ms", "user al left", "noise", "ready"], shots=SHOTS)


def kept_line(message: str, template: str, weight: float = 1.0) -> KeptLine:
    """Make a kept line of the source `app`."""
    spans = aligned(message, template) or ()
    return KeptLine(source="app", message=message, template=template, spans=spans, weight=weight)


def test_every_template_is_kept_once_and_never_taught_then() -> None:
    """Six templates make three folds; no label and no line of a kept template is taught."""
    folds = folds_of([SOURCE], seed=1)
    kept = [{line.template for line in fold.kept} for fold in folds]
    assert [2, 2, 2] == [len(templates) for templates in kept]
    assert {pair.template for pair in SHOTS} == set.union(*kept)
    for fold, templates in zip(folds, kept, strict=True):
        [taught] = fold.taught
        assert not templates & {pair.template for pair in taught.shots}
        assert not {line.message for line in fold.kept} & set(taught.log)
        assert "noise" not in taught.log


def test_lines_of_a_kept_template_weigh_one_together() -> None:
    """Labelled lines and lines of the log that the template matches count alike, and every template as much."""
    lines = [line for fold in folds_of([SOURCE], seed=1) for line in fold.kept]
    took = [line for line in lines if line.template == "took <*> ms"]
    assert {"took 12 ms", "took 7 ms", "took 8 ms"} == {line.message for line in took}
    assert {((5, 7),), ((5, 6),)} == {line.spans for line in took}
    assert math.isclose(6, sum(line.weight for line in lines))


def test_few_templates_make_two_folds() -> None:
    """Four templates leave two to learn from."""
    few = Source(name="app", log=(), shots=SHOTS[:5])
    assert [2, 2] == [len(fold.kept) - any("user" in line.message for line in fold.kept) for fold in folds_of([few], 1)]


def test_fewer_than_four_templates_are_refused() -> None:
    """The message names the source and says what to do."""
    with pytest.raises(WrongSettings, match=r"app has 3 labelled templates: 4 are the fewest.*Label more lines"):
        folds_of([Source(name="app", log=(), shots=SHOTS[:4])], seed=1)


def test_narrowing_leaves_what_labelled_templates_match() -> None:
    """Other lines, labelled ones and their repetitions go; the folds stay."""
    left = narrowed(SOURCE, seed=1)
    assert ["took 7 ms", "took 8 ms", "user al left"] == sorted(left.log)
    assert sorted(pair.message for pair in SHOTS) == sorted(pair.message for pair in left.shots)
    assert [fold.kept for fold in folds_of([SOURCE], 1)] == [fold.kept for fold in folds_of([left], 1)]


def test_the_score_is_the_weighed_share_of_exact_templates(tmp_path: Path) -> None:
    """A template that is known is exact; one that differs in a place counts nothing."""
    folder = write_small(tmp_path)
    write_known(prompt_folder(folder, "app") / KNOWN, shot_templates(SHOTS))
    kept = [kept_line("user bob left", "user <*> left", 1.0), kept_line("took 12 ms", "took <*> <*>", 3.0)]
    score = score_of(EncoderParser.load(folder, device="cpu"), kept)
    assert math.isclose(0.25, score.exact)
    assert 0 < score.loss < 10


def test_the_loss_decides_between_equal_shares_alone() -> None:
    """A lower loss never outweighs a line."""
    better, worse, other = Score(exact=0.5, loss=0.1), Score(exact=0.5, loss=9.0), Score(exact=0.499, loss=0.0)
    assert [better, worse, other] == sorted([other, worse, better], key=lambda score: -score.value)
    assert math.isclose(0.5 - 1e-4, Score(exact=0.5, loss=math.inf).value)
