"""Fusing for an evaluation: one checkpoint for all systems, and a trial of each that uses it."""

from pathlib import Path

from tests.parsing.checkpoints import write_small
from tests.training.labelled_logs import store_log
from training.evaluation.fusing import fuse
from training.evaluation.trials import Conditions, Trial, measure
from training.teaching.configuration import Configuration
from worker.parsing.checkpoint import encoder_version
from worker.parsing.prompts import prompt_names


def test_all_systems_share_one_checkpoint(tmp_path: Path) -> None:
    """Each system has its prompt on an encoder that all of them taught; its trial changes nothing of that."""
    start = tmp_path / "start"
    write_small(start)
    logs = [store_log("Store"), store_log("Other store")]
    conditions = Conditions(
        start=start,
        configuration=Configuration(steps=2, batch_lessons=4, prompt_length=2, prefix_length=2),
        checkpoints=tmp_path / "checkpoints",
        measures_worker=False,
    )
    trials = [Trial(system=log.name, method="fuse", shots=4, seed=1) for log in logs]
    fused = fuse(trials[0], logs, conditions)
    assert ("Other_store", "Store") == prompt_names(fused.checkpoint)
    before = encoder_version(fused.checkpoint)
    assert before != encoder_version(start)
    for trial, log in zip(trials, logs, strict=True):
        measured = measure(trial, log, conditions, teaching=fused)
        assert 4 == len(measured.labelled)
        assert fused.seconds / 2 == measured.figures["training_seconds"]
    assert before == encoder_version(fused.checkpoint)
