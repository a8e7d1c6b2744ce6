"""The evaluation: what is tried, what is kept, and one whole run."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from tests.training.labelled_logs import store_log, write_store_log
from training.evaluate import (
    Failed,
    chosen_logs,
    evaluation_report,
    kept,
    key_of,
    main,
    options,
    peers_of,
    refuse_missing,
    trials_of,
    variant_name,
)
from training.evaluation.baselines import Brain
from training.evaluation.datasets import label_files, read_logs
from training.evaluation.trials import Conditions, Measured, Trial
from training.teaching.configuration import Configuration
from worker.errors import WrongLabels, WrongSettings

LOGHUB = Path(__file__).parents[3] / "shared" / "data" / "loghub-2k"


def test_trials_in_the_order_asked_for() -> None:
    """Each method has each number of shots; without shots every method is zero-shot, once."""
    found = trials_of(["a", "b"], ["fine-tune", "zero-shot", "fuse"], [8, 0], [1])
    assert [
        ("fine-tune, 8 shots", "a"),
        ("fine-tune, 8 shots", "b"),
        ("zero-shot", "a"),
        ("zero-shot", "b"),
        ("fuse, 8 shots", "a"),
        ("fuse, 8 shots", "b"),
    ] == [(variant_name(trial), trial.system) for trial in found]
    assert 12 == len(trials_of(["a", "b"], ["fuse"], [8, 32], [1, 2, 3]))


def measured(system: str, seed: int, accuracy: float, key: str = "") -> Measured:
    """Make a measured trial whose four figures are alike."""
    figures: dict[str, float | None] = dict.fromkeys(("GA", "FGA", "PA", "FTA", "rest.PA", "normalised.PA"), accuracy)
    return Measured(
        trial=Trial(system=system, method="fine-tune", shots=8, seed=seed),
        lines=10,
        figures=figures | {"lines_per_second": 1000.0},
        mistakes=(),
        kinds={},
        key=key,
    )


def test_report() -> None:
    """The first method's figures stand at the top, with the mean over systems; peers and failures beside."""
    peers = peers_of(store_log("a"), [Brain()])
    failed = [Failed(name="b-fine-tune-8-2", reason="broken")]
    found = evaluation_report([measured("a", 1, 1.0), measured("a", 2, 0.5), measured("b", 1, 0.25)], peers, failed, {})
    assert {"GA": 0.5, "FGA": 0.5, "PA": 0.5, "FTA": 0.5, "lines_per_second": 1000.0} == found["mean"]
    assert 0.75 == found["systems"]["a"]["PA"]
    assert (0.5, None) == (found["rest"]["mean"]["PA"], found["rest"]["mean"]["GA"])
    assert 0.25 == found["normalised"]["systems"]["b"]["PA"]
    assert ["Brain"] == [peer["name"] for peer in found["peers"]]
    assert 1 == found["peers"][0]["mean"]["GA"]["mean"]
    assert [{"name": "b-fine-tune-8-2", "reason": "broken"}] == found["failed"]
    assert 3 == len(found["runs"])


def test_kept_trials(tmp_path: Path) -> None:
    """A kept trial is taken if its key is the same; what is missing, broken or of another key runs again."""
    path = tmp_path / "a.json"
    one = measured("a", 1, 0.5, key="k")
    path.write_text(json.dumps(asdict(one)))
    assert one == kept(path, "k")
    assert kept(path, "other") is None
    path.write_text('{"trial"')
    assert kept(path, "k") is None
    assert kept(tmp_path / "none.json", "k") is None


def test_keys(tmp_path: Path) -> None:
    """Another seed, setting, label or start makes another key; where checkpoints are written does not."""
    log, trial = store_log(), Trial(system="Store", method="fuse", shots=8, seed=1)
    conditions = Conditions(
        start=write_small(tmp_path / "start"), configuration=Configuration(), checkpoints=tmp_path / "a"
    )
    others = [
        key_of(replace(trial, seed=2), log, conditions),
        key_of(trial, replace(log, templates=(*log.templates[:-1], "odd one")), conditions),
        key_of(trial, log, replace(conditions, configuration=Configuration(steps=7))),
        key_of(trial, log, replace(conditions, start=write_small(tmp_path / "other", seed=2))),
        key_of(trial, log, replace(conditions, seen=0.5)),
        key_of(trial, log, replace(conditions, ablates=True)),
    ]
    key = key_of(trial, log, conditions)
    assert key == key_of(trial, log, replace(conditions, checkpoints=tmp_path / "b"))
    assert 7 == len({key, *others})


def test_options_repeat_and_list() -> None:
    """Options may be repeated, hold several values, and stand before the data."""
    found = options().parse_args(
        ["--shots", "8,16", "--shots", "32", "--method", "fuse,zero-shot", "--seed", "4", "DATA"]
    )
    assert ([8, 16, 32], ["fuse", "zero-shot"], [4], ["DATA"]) == (found.shots, found.method, found.seed, found.data)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--method", "magic"], "'magic' is none of"),
        (["--shots", "-1"], "-1 is below 0"),
        (["--seen", "0"], "'0' is no share"),
        (["--seen", "half"], "'half' is no share"),
    ],
)
def test_wrong_options(wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is refused with what is allowed."""
    with pytest.raises(SystemExit):
        options().parse_args(["DATA", *wrong])
    assert said in capsys.readouterr().err


def test_systems_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A system that the data lacks is refused with those there are; a missing folder ends the command."""
    write_store_log(tmp_path)
    assert ["Store"] == [log.name for log in chosen_logs([str(tmp_path)], None)]
    with pytest.raises(WrongLabels, match="There is no Shop in the data; it holds Store"):
        chosen_logs([str(tmp_path)], ["Shop"])
    assert 1 == main([str(tmp_path / "none")])
    assert "does not exist" in capsys.readouterr().err


def test_missing_packages_are_told_first() -> None:
    """A package that is needed and not there is named, with what to do without it; one that is not needed is not."""
    refuse_missing({"torch": "nothing", "no_such_package": None})
    with pytest.raises(WrongSettings, match=r"no_such_package \(or ask for --no-such\)"):
        refuse_missing({"no_such_package": "--no-such"})


def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command measures the base checkpoint beside the peers, writes its report, and goes on where it was."""
    data, out = write_store_log(tmp_path), tmp_path / "out"
    command = [
        str(data), "--method", "zero-shot", "--seed", "1", "--no-speed", "--jobs", "1", "--device", "cpu", "--ablation",
        "--out", str(out), "--report", str(tmp_path / "report.json"), "--html", str(tmp_path / "page.html"),
    ]  # fmt: skip
    assert 0 == main(command)
    assert "Store-zero-shot-0-1: GA" in capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["mean"] == found["systems"]["Store"]
    assert found["mean"]["GA"] > 0.5
    assert found["stream_alone"]["mean"]["PA"] is not None
    assert found["model_alone"]["mean"] == found["model_alone"]["systems"]["Store"]
    assert ["Drain3", "Brain", "Brain, brackets too"] == [peer["name"] for peer in found["peers"]]
    assert {"Store.csv"} == set(found["label_version"])
    assert [] == list((out / "checkpoints").iterdir())
    assert "Store" in (tmp_path / "page.html").read_text()
    assert 0 == main(command)
    assert "1 of 1 trials were done before" in capsys.readouterr().out
    again = json.loads((tmp_path / "report.json").read_text())
    assert found["runs"] == again["runs"]


def test_a_failed_trial_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that fails is in the report and makes the exit code 1."""
    data, out = tmp_path / "Odd.csv", tmp_path / "out"
    data.write_text("Content,EventTemplate\nup,\n")
    assert 1 == main([str(data), "--method", "zero-shot", "--seed", "1", "--no-peers", "--no-speed", "--out", str(out)])
    assert "FAILED: Odd-zero-shot-0-1: ValueError: no line has an oracle template" in capsys.readouterr().out
    assert ["Odd-zero-shot-0-1"] == [one["name"] for one in json.loads((out / "report.json").read_text())["failed"]]


@pytest.mark.skipif(not LOGHUB.is_dir(), reason="the Loghub samples are not here; they may not be distributed")
def test_a_published_log_is_read() -> None:
    """A system of Loghub has its name, two thousand lines, and peers with figures."""
    log = read_logs([LOGHUB / "Apache"])[0]
    assert ("Apache", 2000) == (log.name, len(log.messages))
    assert 1 == len(label_files([LOGHUB / "Apache"]))
    assert [peer.figures["GA"] for peer in peers_of(log, [Brain()])] == [1.0]
