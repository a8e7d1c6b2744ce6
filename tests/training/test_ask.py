"""Teaching the network that answers fields asked for in words."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from tests.parsing.checkpoints import write_small
from training.ask import AskingNetwork, Configuration, main, stacked
from training.corpus.logging_calls import LoggingCall
from worker.parsing.asking import EXACT, FACTS, SIDES, Asker, header_slot, scored


def calls() -> list[LoggingCall]:
    """Make logging calls of many packages."""
    return [
        LoggingCall(
            literals=("user ", f" left run {number} after ", ""), names=("user", "attempts"), conversions=("s", "d"),
            level="info", language="python", package=f"p{number}", version="1", licence="MIT",
        )
        for number in range(24)
    ]  # fmt: skip


def test_a_run_writes_a_network_that_the_worker_loads(tmp_path: Path) -> None:
    """The command ends with a report and a file that scores slots."""
    corpus, model, out = tmp_path / "calls.jsonl", write_small(tmp_path / "model"), tmp_path / "run"
    corpus.write_text("".join(json.dumps(asdict(call)) + "\n" for call in calls()))
    options = {
        "model": model, "corpus": corpus, "out": out, "examples": 60, "width": 8, "hidden": 16, "space": 8, "joint": 4,
        "epochs": 1, "batch": 16, "measured": 20, "held-out": 0.3, "threads": 1, "networks": 2,
    }  # fmt: skip
    main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    assert 0 <= json.loads((out / "report.json").read_text())["held_out"]["f1"] <= 1
    scores = Asker.load(out / "fields.safetensors").scores([header_slot("process.pid", "7")], ["pid", "user"])
    assert scores.shape == (2, 1)


def test_the_worker_runs_the_same_network() -> None:
    """NumPy and torch score alike, the mean of all networks."""
    configuration = Configuration(width=6, hidden=8, space=4, joint=3)
    torch.manual_seed(1)
    networks = [AskingNetwork(configuration).eval() for _ in range(2)]
    rng = np.random.default_rng(1)
    sides, facts = rng.normal(size=(5, SIDES, 6)).astype(np.float32), rng.random((5, FACTS)).astype(np.float32)
    queries, exact = rng.normal(size=(2, 3, 6)).astype(np.float32), rng.random((2, 5, EXACT)).astype(np.float32)
    read = [torch.from_numpy(one) for one in (sides[None], facts[None], np.zeros(2, np.int64), queries, exact)]
    with torch.inference_mode():
        wanted = torch.stack([network(*read) for network in networks]).mean(dim=0)
    np.testing.assert_allclose(
        wanted.numpy(), scored(stacked(networks), sides, facts, queries, exact), rtol=1e-4, atol=1e-5
    )
