"""Fuse for an evaluation: one checkpoint that all systems teach together, with a prompt for each, and its trials.

Fuse is about many sources on one encoder, so that a trial of one system can't teach it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from training.evaluation.datasets import LabelledLog
from training.evaluation.trials import Conditions, Trial, labelled, prompt_name, usable
from training.labels import Pair
from training.runs import RunFolder
from training.sampling import chosen
from training.teaching.configuration import Configuration
from training.teaching.core import Source, Taught, teach_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """A checkpoint that is there already; called in the place of `teaching.teach`, it hands out a system's part."""

    checkpoint: Path
    #: Time of the training, of all systems together.
    seconds: float
    systems: int
    report: dict[str, object]

    def __call__(
        self,
        name: str,
        log: Sequence[str],  # noqa: ARG002 - the signature of `teach`
        shots: Sequence[Pair],  # noqa: ARG002 - the same
        out: Path,  # noqa: ARG002 - the same
        *,
        start: Path,  # noqa: ARG002 - the same
        configuration: Configuration,  # noqa: ARG002 - the same
    ) -> Taught:
        """Return the system's prompt; its share of the time is that of one among equals."""
        seconds = self.seconds / self.systems
        return Taught(checkpoint=self.checkpoint, prompt=name, seconds=seconds, report=self.report)


def fuse(trial: Trial, logs: Sequence[LabelledLog], conditions: Conditions) -> Fused:
    """Teach all `logs` with the trial's shots and seed. The checkpoint stays, for its trials."""
    torch.set_num_threads(conditions.threads)
    sources = [
        Source(
            name=prompt_name(log.name),
            log=seen,
            shots=usable(labelled(log, chosen(seen, trial.shots, seed=trial.seed))),
        )
        for log in logs
        for seen in [log.messages[: conditions.seen_lines(log)]]
    ]
    run = RunFolder.open(conditions.checkpoints / f"fuse-{trial.shots}-{trial.seed}", fresh=True)
    configuration = replace(conditions.configuration, method="fuse", seed=trial.seed)
    taught = teach_sources(sources, run.path, start=conditions.start, configuration=configuration)[0]
    return Fused(
        checkpoint=taught.checkpoint,
        seconds=taught.seconds,
        systems=len(sources),
        report={name: value for name, value in taught.report.items() if name != "curve"},
    )
