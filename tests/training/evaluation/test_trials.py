"""One trial: what the method sees, what is measured, and what is left behind."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from tests.training.labelled_logs import store_log
from training.evaluation.datasets import LabelledLog
from training.evaluation.metrics import accuracy
from training.evaluation.trials import (
    Conditions,
    Measured,
    Trial,
    figures_of,
    labelled,
    measure,
    parsed,
    peak_memory_mib,
)
from training.labels import Pair
from training.teaching.configuration import Configuration
from training.teaching.core import Taught
from worker.parsing.checkpoint import KNOWN, prompt_folder
from worker.parsing.known import write_known
from worker.parsing.parser import EncoderParser
from worker.parsing.templates import Template

TRIAL = Trial(system="My Store", method="fine-tune", shots=5, seed=2)


@dataclass(slots=True)
class KnowsItsShots:
    """Teaches a checkpoint nothing but the templates of its shots, and remembers what it was given."""

    seen: list[object] = field(default_factory=list)

    def __call__(
        self,
        name: str,
        log: Sequence[str],
        shots: Sequence[Pair],
        out: Path,
        *,
        start: Path,
        configuration: Configuration,
    ) -> Taught:
        """Write a very small checkpoint."""
        self.seen = [name, tuple(log), list(shots), (configuration.method, configuration.seed)]
        checkpoint = write_small(out / "checkpoint")
        write_known(prompt_folder(checkpoint, name) / KNOWN, [Template.from_text(pair.template) for pair in shots])
        return Taught(checkpoint=checkpoint, prompt=name, seconds=1.5, report={"steps": 0})


def conditions(folder: Path, *, keeps: bool = False) -> Conditions:
    """Measure on one thread of the CPU, without the worker's path."""
    return Conditions(
        start=folder, configuration=Configuration(), checkpoints=folder, device="cpu", measures_worker=False,
        keeps_checkpoints=keeps,
    )  # fmt: skip


def test_a_trial(tmp_path: Path) -> None:
    """The method sees the messages and the chosen lines' labels; figures are over all lines and over the rest."""
    log, teaching = store_log(), KnowsItsShots()
    found = measure(TRIAL, log, conditions(tmp_path), key="k", teaching=teaching)
    name, seen_log, shots, setting = teaching.seen
    assert ("My_Store", log.messages, ("fine-tune", 2)) == (name, seen_log, setting)
    assert isinstance(shots, list)
    assert 5 == len(shots) + found.refused
    assert {log.messages[line] for line in found.labelled} == {pair.message for pair in shots}
    # Three templates cover 36 of 38 labelled lines, and any good choice takes one line of each.
    assert found.figures["PA"] is not None
    assert found.figures["PA"] >= 36 / 38
    assert found.figures["rest.GA"] is not None
    assert 1.5 == found.figures["training_seconds"]
    assert found.figures["lines_per_second"] is None
    assert "lines_per_second: the worker's path was not asked for" in found.notes
    assert ("k", 39, {"steps": 0}) == (found.key, found.lines, found.teaching)
    assert [] == list(tmp_path.iterdir())


def test_teaching_may_see_the_beginning_alone(tmp_path: Path) -> None:
    """Shots and unlabelled lines are of the log's beginning, and the rest is what comes after it."""
    log, teaching = store_log(), KnowsItsShots()
    half = replace(conditions(tmp_path, keeps=True), seen=0.5)
    found = measure(TRIAL, log, half, teaching=teaching)
    assert log.messages[:20] == teaching.seen[1]
    assert max(found.labelled) < 20
    parser = EncoderParser.load(tmp_path / TRIAL.name / "checkpoint", device="cpu")
    later = parsed(parser, log.messages[20:], "My_Store")[0]
    assert accuracy(log.templates[20:], later).as_dict() == {
        name: found.figures[f"rest.{name}"] for name in ("GA", "FGA", "PA", "FTA")
    }


def test_checkpoints_may_be_kept(tmp_path: Path) -> None:
    """The checkpoint stays where it is asked for."""
    measure(TRIAL, store_log(), conditions(tmp_path, keeps=True), teaching=KnowsItsShots())
    assert (tmp_path / TRIAL.name / "checkpoint").is_dir()


def test_a_checkpoint_goes_when_measuring_fails(tmp_path: Path) -> None:
    """A log without a label can't be measured, and leaves nothing."""
    log = LabelledLog(name="Store", messages=("a 1", "b 2"), templates=(None, None))
    with pytest.raises(ValueError, match="no line has an oracle template"):
        measure(TRIAL, log, conditions(tmp_path), teaching=KnowsItsShots())
    assert [] == list(tmp_path.iterdir())


def test_useless_labels_are_no_shots() -> None:
    """A label that is missing or does not match its line is refused."""
    log = LabelledLog(
        name="x", messages=("took 1 ms", "took 2 s", "up"), templates=("took <*> ms", "took <*> ms", None)
    )
    expected = {0: Pair(message="took 1 ms", template="took <*> ms"), 1: None, 2: None}
    assert expected == labelled(log, [0, 1, 2])


def test_the_rest_may_be_empty() -> None:
    """Where every labelled line was a shot, the rest has no figure."""
    log = LabelledLog(name="x", messages=("took 1 ms", "up"), templates=("took <*> ms", "up"))
    found = figures_of(log, ["took <*> ms", "<*>"], frozenset({0, 1}))
    assert (0.5, None, None) == (found["PA"], found["rest.PA"], found["rest.normalised.GA"])


def test_normalised_figures() -> None:
    """A value that was split more finely than its label is right once both are normalised."""
    log = LabelledLog(name="x", messages=("at 1:2",), templates=("at <*>:<*>",))
    found = figures_of(log, ["at <*>"])
    assert (0.0, 1.0) == (found["PA"], found["normalised.PA"])


def test_json_keeps_a_trial(tmp_path: Path) -> None:
    """What is kept of a trial is read back as it was."""
    found = measure(TRIAL, store_log(), conditions(tmp_path), teaching=KnowsItsShots())
    assert found == Measured.from_dict(json.loads(json.dumps(asdict(found))))


def test_memory_is_that_of_this_process() -> None:
    """The peak is at least what an import of torch takes."""
    assert peak_memory_mib() > 50
