"""`python -m training.tune` writes the configuration that did best on what was labelled, and shows how it got there."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parsing.checkpoints import write_small
from training.fine_tune import __doc__ as fine_tune_about
from training.labels import Pair, write_pairs
from training.teaching.commands import argument_parser
from training.teaching.configuration import Configuration
from training.teaching.folds import Score
from training.tune import main

LABELLED = {
    "took 12 ms": "took <*> ms",
    "took 9 ms": "took <*> ms",
    "user bob": "user <*>",
    "ready": "ready",
    "bye a.b": "bye <*>",
}
PICTURE = b"\x89PNG"


class Command:
    """The command on a small source, with a very small checkpoint and few steps."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "run"
        self.log = folder / "app.log"
        self.pairs = folder / "pairs.csv"
        self.start = write_small(folder / "start")
        self.log.write_text("took 3 ms\nuser eve\nnoise 1\n")
        write_pairs(self.pairs, [Pair(message=message, template=text) for message, text in LABELLED.items()])

    def run(self, *options: str, method: str = "fine-tune") -> int:
        """Run it; returns the exit code."""
        source = ("app", str(self.log), str(self.pairs))
        return main([
            "--source", *source, "--header", "none", "--model", str(self.start), "--out", str(self.out),
            "--method", method, "--device", "cpu", "--batch-lessons", "2", *options,
        ])  # fmt: skip

    def report(self) -> Any:
        """Read the report."""
        return json.loads((self.out / "report.json").read_text())


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Make the files of a small source."""
    return Command(tmp_path)


@pytest.mark.parametrize("method", ["fine-tune", "prompt-tune", "fuse"])
def test_the_best_configuration_is_one_that_the_other_commands_take(
    command: Command, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is read back as what did best, never worse than what was given; the report goes to standard output."""
    assert 0 == command.run("--trials", "2", "--steps", "2", method=method)
    arguments = argument_parser("fine_tune", fine_tune_about or "").parse_args(
        ["--source", "app", "x", "y", "--out", "z", "--configuration", str(command.out / "best.json")]
    )
    best = Configuration.from_arguments(arguments, "fine-tune" if method == "fine-tune" else "fuse")
    report = command.report()
    changed = {name: getattr(best, name) for name in report["best"]["changes"]}
    assert report["best"]["changes"] == changed
    assert report["best"]["exact"] >= report["given"]["exact"]
    assert method == Configuration.from_file(command.out / "best.json").method == report["method"]
    assert ["complete", 0] == [report["given"]["state"], report["given"]["trial"]]
    assert 2 == len(report["trials"]) == json.loads(capsys.readouterr().out)["trials"]
    assert (
        PICTURE == (command.out / "trials.png").read_bytes()[:4] == (command.out / "overfitting.png").read_bytes()[:4]
    )
    assert not [left for left in command.out.iterdir() if left.is_dir()]


def test_over_fitting_is_looked_at_all_along(command: Command) -> None:
    """Every look has losses and the exact share, to the last step; the chosen step is that of the lowest loss."""
    assert 0 == command.run("--trials", "1", "--steps", "15")
    shown = command.report()["overfitting"]
    looks = [point for point in shown["curve"] if "validation_loss" in point]
    assert [float(step) for step in range(1, 16)] == [point["step"] for point in looks]
    assert all(0 <= point["exact_share"] <= 1 for point in looks)
    assert min(looks, key=lambda point: point["validation_loss"])["step"] == shown["chosen_step"]


def test_an_interrupted_search_goes_on(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a report is gone on with, one with a report refused, and a fresh one begun anew."""
    assert 0 == command.run("--trials", "1", "--steps", "1")
    first = command.report()["trials"][0]
    assert 1 == command.run("--trials", "2", "--steps", "1")
    assert "holds the report of an earlier run" in capsys.readouterr().err
    (command.out / "report.json").unlink()
    assert 0 == command.run("--trials", "2", "--steps", "1")
    assert first == command.report()["trials"][0]
    assert 2 == len(command.report()["trials"])
    assert 0 == command.run("--trials", "1", "--steps", "1", "--fresh")
    assert 1 == len(command.report()["trials"])


def test_enough_trials_tell_what_matters(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the number of steps alone decides, it matters most; the best is found."""
    monkeypatch.setattr(
        "training.teaching.search.measured",
        lambda *called: Score(exact=1 - 1 / called[2].steps, loss=1 / called[2].steps),
    )
    assert 0 == command.run("--trials", "40", "--steps", "8", method="prompt-tune")
    report = command.report()
    assert 12 < report["best"]["changes"]["steps"] <= 16
    assert "pruned" in {trial["state"] for trial in report["trials"]}
    importances = report["importances"]
    pytest.importorskip("sklearn", reason="optuna needs scikit-learn to tell what matters")
    assert "steps" == max(importances, key=importances.__getitem__)


@pytest.mark.slow
def test_trials_run_side_by_side(command: Command) -> None:
    """Processes share one search: the given configuration is tried once, and no trial is lost."""
    assert 0 == command.run("--trials", "2", "--steps", "1", "--jobs", "2", method="prompt-tune")
    trials = command.report()["trials"]
    assert len(trials) in {2, 3}  # both may see one trial and begin another
    assert 1 == sum(trial["is_given"] for trial in trials)
    assert list(range(len(trials))) == [trial["trial"] for trial in trials]


def test_too_few_labelled_templates_are_refused(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is told, and nothing is written."""
    write_pairs(command.pairs, [Pair(message="ready", template="ready")])
    assert 1 == command.run()
    assert "app has 1 labelled templates: 4 are the fewest" in capsys.readouterr().err
    assert not command.out.exists()


def test_what_is_not_there_is_told(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing log is no traceback."""
    command.log.unlink()
    assert 1 == command.run()
    assert "app.log can't be read" in capsys.readouterr().err


def test_a_launcher_of_processes_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two searches would write one folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert 1 == command.run()
    assert "call it without a launcher" in capsys.readouterr().err
