"""What training commands share: folders, progress, curves, batches, energy, and two processes that train one model."""

import argparse
import io
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.training.two_processes import in_two_processes
from training.runs import (
    Group,
    Progress,
    RunFolder,
    add_options,
    by_length,
    distributed,
    draw_curves,
    joules,
    machine,
    options_of,
    rate_groups,
    rate_scale,
    seeded,
)
from training.runs import _processor_meters as processor_meters
from worker.errors import WrongSettings

ALONE = Group(rank=0, size=1, device=torch.device("cpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Some run's configuration."""

    seed: int
    data: Path


def test_a_run_folder_holds_configuration_and_report(tmp_path: Path) -> None:
    """Both are JSON, with paths as text."""
    run = RunFolder.open(tmp_path / "run")
    run.write_configuration(Options(seed=1, data=Path("x.log")))
    run.write_report({"loss": 0.5})
    assert {"seed": 1, "data": "x.log"} == json.loads((tmp_path / "run" / "configuration.json").read_text())
    assert {"loss": 0.5} == json.loads(run.report.read_text())


def test_options_are_those_that_differ() -> None:
    """What is written can be read again; what is as it was, or left out, is not written."""
    parser, plain = argparse.ArgumentParser(), Options(seed=1, data=Path("x.log"))
    add_options(parser, plain, {"seed": "of all"})
    assert {"seed": 1} == vars(parser.parse_args([]))
    written = options_of(Options(seed=5, data=Path("y.log")), plain, without=("data",))
    assert ("--seed 5", {"seed": 5}) == (written, vars(parser.parse_args(written.split())))


def test_norms_and_biases_do_not_decay() -> None:
    """Weights do; all have the same rate."""
    layer = nn.Linear(2, 2)
    decays, stays = rate_groups(list(layer.parameters()), 0.1)
    assert {"params": [layer.weight], "lr": 0.1, "weight_decay": 0.01} == decays
    assert {"params": [layer.bias], "lr": 0.1, "weight_decay": 0.0} == stays


def test_a_finished_run_is_not_written_over(tmp_path: Path) -> None:
    """A folder with a report is refused, and told to be fresh loses report and checkpoint."""
    run = RunFolder.open(tmp_path)
    RunFolder.open(tmp_path)
    run.write_report({})
    run.checkpoint.mkdir()
    with pytest.raises(WrongSettings, match="holds the report of an earlier run"):
        RunFolder.open(tmp_path)
    RunFolder.open(tmp_path, fresh=True)
    assert [] == list(tmp_path.iterdir())


def test_progress_tells_now_and_then() -> None:
    """A line comes no sooner than asked for, and always at the end; nobody is told where nobody listens."""
    notes, times = io.StringIO(), iter([0.0, 1.0, 6.0, 7.0, 8.0])
    progress = Progress(40, "messages", notes=notes, every_seconds=5, clock=lambda: next(times))
    for done in (10, 20, 30, 40):
        progress.tell(done, loss=0.51234)
    assert [
        "20/40 messages, loss 0.5123, 6 s left",
        "40/40 messages, loss 0.5123, 0 s left",
    ] == notes.getvalue().splitlines()
    Progress(1, "steps", notes=None).tell(1)


def test_curves_become_a_picture(tmp_path: Path) -> None:
    """Losses and shares are drawn, with gaps where a point lacks a figure, and without any point too."""
    points = [{"seen": 0.0, "loss": 2.0}, {"seen": 5.0, "loss": 1.0, "exact": 0.5}]
    draw_curves(points, tmp_path / "a.png", x="seen", left=["loss"], right=["exact"], mark=5)
    draw_curves([], tmp_path / "b.png", x="seen", left=["loss"])
    assert [b"\x89PNG"] * 2 == [(tmp_path / name).read_bytes()[:4] for name in ("a.png", "b.png")]


def test_without_matplotlib_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that only trains says so and goes on."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    draw_curves([], tmp_path / "a.png", x="seen", left=["loss"])
    assert "is not drawn" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_the_rate_rises_and_falls() -> None:
    """It starts near nothing, is full after the warm-up and ends at 2%."""
    assert [0.01, 0.02] == pytest.approx([rate_scale(0, 0.1), rate_scale(1, 0.1)])
    assert 0.97 < rate_scale(0.1, 0.1) <= 1
    assert pytest.approx(1) == rate_scale(0, 0)


@given(st.lists(st.integers(2, 60)), st.integers(1, 200))
def test_batches_hold_every_row_once(lengths: list[int], most_tokens: int) -> None:
    """Padded batches stay below the bound unless they have one row."""
    batches = by_length(lengths, most_tokens, random.Random(1))
    assert list(range(len(lengths))) == sorted(row for batch in batches for row in batch)
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= most_tokens for batch in batches)


def test_a_seed_fixes_every_generator() -> None:
    """Python, NumPy and torch draw the same numbers again."""

    def drawn() -> list[float]:
        seeded(7)
        return [random.random(), float(np.random.random()), float(torch.rand(1))]  # noqa: NPY002 - it is tested

    assert drawn() == drawn()


def test_the_machine_is_described() -> None:
    """The report says what the run ran on."""
    about = machine(torch.device("cpu"))
    assert ("cpu", None, torch.__version__) == (about["device"], about["gpu"], about["torch"])
    assert about["cores"]


def test_energy_is_read_where_the_processor_tells(tmp_path: Path) -> None:
    """Counters are joules with the place where they start again; a folder without them tells nothing."""
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "energy_uj").write_text("2500000\n")
    (package / "max_energy_range_uj").write_text("10000000\n")
    assert {"intel-rapl:0": (2.5, 10.0)} == processor_meters(tmp_path)
    assert {} == processor_meters(tmp_path / "none")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [({"a": (8.0, 10.0)}, {"a": (1.0, 10.0)}, 3.0), ({"a": (5.0, 0.0)}, {"a": (25.0, 0.0)}, 20.0), ({}, {}, None)],
)
def test_energy_is_what_the_counters_moved(
    before: dict[str, tuple[float, float]],
    after: dict[str, tuple[float, float]],
    expected: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A counter that started again from zero is understood; where nothing tells there is no figure."""
    readings = iter([before, after])
    monkeypatch.setattr("training.runs._meters", lambda: next(readings))
    with joules() as energy:
        pass
    assert expected == energy.joules


def test_a_process_without_a_launcher_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first, has all of a batch, and averages with nobody."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed("cpu") as group:
        assert ALONE == group
    assert [1, 2, 3] == group.share([1, 2, 3])
    assert 2.5 == group.mean(2.5)
    assert group.is_first


def test_the_parts_of_a_batch_are_the_batch() -> None:
    """Every row is in one process's share, and a share may be empty."""
    parts = [Group(rank=rank, size=3, device=torch.device("cpu")).share("ab") for rank in range(3)]
    assert ["a", "b", ""] == parts


def train(group: Group) -> dict[str, list[float]]:
    """Train a small network, one layer of it idle, on seeded rows; the second step has a single row."""
    seeded(3 + group.rank)
    network = nn.ModuleDict({"first": nn.Linear(4, 8), "idle": nn.Linear(2, 2), "last": nn.Linear(8, 1)})
    group.same_weights(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05, weight_decay=0.1)
    generator = torch.Generator().manual_seed(5)
    for count in (5, 1, 5, 4):
        rows = torch.randn(count, 4, generator=generator)
        part = group.share([*rows])
        if part:
            hidden = torch.tanh(network["first"](torch.stack([*part])))
            network["last"](hidden).pow(2).mean().backward()
        group.mean_gradients(network, weight=len(part))
        optimizer.step()
        optimizer.zero_grad()
    return {name: tensor.flatten().tolist() for name, tensor in network.state_dict().items()}


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Started by torchrun, two processes that share each batch end with the weights of one that has it whole."""
    out = tmp_path / "weights.json"
    in_two_processes(__file__, str(out))
    expected, actual = train(ALONE), json.loads(out.read_text())
    assert expected.keys() == actual.keys()
    for name, values in expected.items():
        assert values == pytest.approx(actual[name], abs=1e-5)


if __name__ == "__main__":
    with distributed("cpu") as launched:
        weights = train(launched)
        assert launched.rank + 1 / 2 == launched.rank + launched.mean(float(launched.rank))
        launched.wait()
        if launched.is_first:
            Path(sys.argv[1]).write_text(json.dumps(weights))
