"""Fine-tuning: the split, and one very small run from corpus to a checkpoint that parses."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from training.base import Configuration, main, split_packages
from training.corpus.logging_calls import LoggingCall
from worker.parsing.parser import EncoderParser


def call(package: str, *literals: str) -> LoggingCall:
    """Make a logging call of a package."""
    count = len(literals) - 1
    return LoggingCall(
        literals=literals, names=("count",) * count, conversions=("d",) * count, level="info", language="python",
        package=package, version="1", licence="MIT",
    )  # fmt: skip


def test_packages_are_held_out_whole() -> None:
    """No package and no template stands on both sides, and the share is about what was asked for."""
    calls = [call(f"p{i}", f"text {i % 170} of ", "") for i in range(200)]
    learned, held_out = split_packages(calls, 0.2)
    assert not {one.package for one in learned} & {one.package for one in held_out}
    assert not {one.text for one in learned} & {one.text for one in held_out}
    assert 20 <= len(held_out) <= 60


def test_captured_programs_are_held_out() -> None:
    """What the captured logs come from is never learned from, however small the share."""
    learned, held_out = split_packages([call("nginx", "worker ", " up"), call("other", "at ", " up")], 0.0)
    assert ["other"] == [one.package for one in learned]
    assert ["nginx"] == [one.package for one in held_out]


def test_a_run_leaves_a_checkpoint_that_parses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes configuration, curve, checkpoint and report, and prints the report at the end."""
    calls = [call(f"p{i}", f"word {i} sent ", " bytes to peer") for i in range(40)]
    corpus = tmp_path / "calls.jsonl"
    corpus.write_text("".join(json.dumps(asdict(one)) + "\n" for one in calls))
    options = {
        "corpus": corpus, "out": tmp_path / "run", "layers": 1, "vocabulary": 900, "examples": 600, "batch-tokens": 256,
        "measured": 20, "held-out": 0.3, "threads": 1, "max-tokens": 64, "trained-layers": 1,
    }  # fmt: skip
    main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert json.loads((tmp_path / "run" / "configuration.json").read_text()) == asdict(
        Configuration(corpus=str(corpus), layers=1, vocabulary=900, examples=600, batch_tokens=256, measured=20,
                      held_out=0.3, threads=1, max_tokens=64, trained_layers=1)
    )  # fmt: skip
    assert 0 <= report["held_out"]["exact"] <= 1
    assert report["version"] in capsys.readouterr().out
    parser = EncoderParser.load(tmp_path / "run" / "checkpoint", device="cpu")
    assert parser.version == report["version"]
    assert parser.parse([b"sent 5 bytes"])[0] is not None
