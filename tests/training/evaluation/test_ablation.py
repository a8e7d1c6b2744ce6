"""The model and the stream without each other."""

from pathlib import Path

from tests.parsing.checkpoints import write_small
from tests.training.labelled_logs import store_log
from training.evaluation.ablation import ablated, uninformed
from worker.parsing.parser import EncoderParser


def test_the_stream_alone_knows_digits() -> None:
    """Tokens with a digit are cut and certain; all others are equally doubtful."""
    cut = uninformed("took 7 ms, not a4b")
    assert ["7", "a4b"] == [cut.text[start:end] for start, end in cut.spans]
    assert {-3.0, 6.0} == set(cut.odds)


def test_both_are_measured(tmp_path: Path) -> None:
    """A model that knows nothing is worse than a stream that sees what varies."""
    parser = EncoderParser.load(write_small(tmp_path), device="cpu")
    found = ablated(parser, store_log(), diversity=2.0)
    assert {f"{who}.{name}" for who in ("alone", "stream") for name in ("GA", "FGA", "PA", "FTA")} | {
        "alone.distinct_lines_per_second"
    } == set(found)
    assert 1.0 == found["stream.PA"]
    assert found["alone.PA"] is not None
    assert found["alone.PA"] < 1.0
