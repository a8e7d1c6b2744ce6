"""Search the configuration that teaches best, by what was labelled alone: the labelled templates are split into folds.

A trial teaches as its configuration says on all folds but one, and parses the lines of that one, whose templates it
never saw; so for every fold. What counts is the share of these lines whose template comes out exactly as labelled,
each template alike; the validation loss tells equal ones apart. The given configuration is the first trial: the best is
never worse than it on these lines. An interrupted search goes on where it was. Writes into OUT:

  best.json         the best configuration, which fine_tune, prompt_tune, fuse and evaluate take: --configuration
  report.json       every trial, and which parameters matter
  trials.png        the score of each trial, and the best so far
  overfitting.png   losses and exact share over the steps of the best one; the line is where early stopping chose
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.evaluation.processes import Failure, side_by_side
from training.labels import written
from training.runs import Group, RunFolder, distributed, draw_curves, machine, seeded
from training.tagging import looked_at
from training.teaching.commands import argument_parser, chosen_step, read_sources
from training.teaching.configuration import Configuration, Method
from training.teaching.core import Learner, Source
from training.teaching.folds import folds_of, narrowed
from training.teaching.search import SEARCH, Job, Search, is_start, searched
from worker.errors import LogloomError, WrongModel, WrongSettings
from worker.parsing.checkpoint import PIECES, checkpoint_folder
from worker.parsing.model import Tagger
from worker.parsing.parser import EncoderParser
from worker.parsing.templates import encoded

if TYPE_CHECKING:
    import optuna

METHODS: tuple[Method, ...] = ("fine-tune", "prompt-tune", "fuse")
#: What a search writes beside the files of every run.
BEST, TRIALS, OVERFITTING = "best.json", "trials.png", "overfitting.png"

#: How often the run that shows over-fitting looks, at least.
_LOOKS = 12
#: Complete trials from which on importances say more than chance.
_FOR_IMPORTANCES = 8


def tuned(job: Job, *, jobs: int) -> dict[str, object]:
    """Search, in `jobs` processes, and write what came out; returns the report.

    Raises:
        WrongSettings: labels are too few, or the folder has a search of something else.
        WrongModel: the checkpoint is broken, or a process of the search failed.

    """
    began = time.perf_counter()
    search = Search(job)
    search.begin()
    if jobs == 1:
        search.go_on()
    else:
        threads = max(1, torch.get_num_threads() // jobs)
        parts = {str(number): (replace(job, number=number, threads=threads),) for number in range(1, jobs + 1)}
        for ended in side_by_side(searched, parts, jobs=jobs):
            if isinstance(ended.outcome, Failure):
                raise WrongModel(f"process {ended.name} of the search failed: {ended.outcome.reason}")
    report = described_search(search, job) | {"seconds": time.perf_counter() - began}
    best = search.configuration(search.study.best_trial)
    (job.out / BEST).write_text(json.dumps(asdict(best), indent=2) + "\n", encoding="utf-8")
    draw_curves(
        trial_points(search.complete()),
        job.out / TRIALS,
        x="trial",
        left=["validation_loss"],
        right=["exact_share", "best_exact_share"],
    )
    curve, mark = overfitting(job, best)
    draw_curves(
        curve, job.out / OVERFITTING, x="step", left=["loss", "validation_loss"], right=["exact_share"], mark=mark
    )
    return report | {"overfitting": {"curve": curve, "chosen_step": mark}}


def described_search(search: Search, job: Job) -> dict[str, object]:
    """Tell all trials, the best and the first, and which parameters matter."""
    trials = [_described_trial(trial, search, job.configuration) for trial in search.tried()]
    best = search.study.best_trial.number
    return {
        "method": job.configuration.method,
        "sources": {source.name: len(source.shots) for source in job.sources},
        "folds": len(folds_of(job.sources, job.configuration.seed)),
        "configuration": str(job.out / BEST),
        "best": next(trial for trial in trials if trial["trial"] == best),
        "given": next(trial for trial in trials if trial["is_given"] and trial["state"] == "complete"),
        "importances": importances(search),
        "trials": trials,
        "machine": machine(),
    }


def _described_trial(trial: optuna.trial.FrozenTrial, search: Search, given: Configuration) -> dict[str, object]:
    configuration = search.configuration(trial)
    names = (one.name for one in fields(configuration))
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "is_given": is_start(trial),
        **{name: trial.user_attrs.get(name) for name in ("exact", "validation_loss", "folds", "seconds", "reason")},
        "changes": {
            name: getattr(configuration, name) for name in names if getattr(configuration, name) != getattr(given, name)
        },
    }


def importances(search: Search) -> dict[str, float] | None:
    """Tell how much each parameter decides, shares of 1, by functional ANOVA (Hutter et al., 2014).

    None where the trials are too few or all alike, or scikit-learn, which grows the forest, is missing.
    """
    complete = search.complete()
    if len(complete) < _FOR_IMPORTANCES or len({trial.value for trial in complete}) < 2:
        return None
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # noqa: PLC0415 - slow to import

    try:
        # Methods without a forest take where the search looked for what matters.
        return dict(get_param_importances(search.study, evaluator=FanovaImportanceEvaluator(seed=1)))
    except ImportError:
        return None


def trial_points(complete: Sequence[optuna.trial.FrozenTrial]) -> list[dict[str, float]]:
    """Make the points of the picture of a search: each trial, and the best so far."""
    best = np.maximum.accumulate([trial.user_attrs["exact"] for trial in complete])
    return [
        {
            "trial": float(trial.number),
            "validation_loss": trial.user_attrs["validation_loss"],
            "exact_share": trial.user_attrs["exact"],
            "best_exact_share": float(best_so_far),
        }
        for trial, best_so_far in zip(complete, best, strict=True)
    ]


class Watched(Learner):
    """Also tells, at each look, which share of the kept lines is cut exactly."""

    def __init__(self, start: Path, sources: Sequence[Source], configuration: Configuration, group: Group) -> None:
        super().__init__(start, sources, configuration, group)
        #: At each look, each template alike.
        self.exact: list[float] = []

    def _validation_loss(self) -> float:
        loss = super()._validation_loss()
        self.exact.append(self._exact_share())
        return loss

    def _exact_share(self) -> float:
        """Cut the kept lines with the network as it is."""
        about = replace(self._about, cuts=PIECES)
        right = total = 0.0
        with looked_at(self._network):
            parser = EncoderParser(
                Tagger(
                    self._network, self._tokenizer, about, "training", self._group.device, self._dtype,
                    prompts=self._prompts,
                )
            )  # fmt: skip
            for name, lesson in self._kept:
                [cut] = parser.candidates([encoded(lesson.text)], prompt=name if self._prompts else None)
                total += lesson.weight
                if cut is not None and written(lesson.text, cut.spans) == written(lesson.text, lesson.spans):
                    right += lesson.weight
        return right / total


def overfitting(job: Job, configuration: Configuration) -> tuple[list[dict[str, float]], float | None]:
    """Teach with as many templates kept aside as in a fold, all steps; returns the curve, and the best look's step."""
    looked = replace(
        configuration,
        validation=1 / len(folds_of(job.sources, configuration.seed)),
        looks=max(configuration.looks, _LOOKS),
        patience=configuration.steps,  # never stops early
    )
    seeded(configuration.seed)
    with distributed(job.device) as group:
        learner = Watched(job.start, job.sources, looked, group)
        learner.learn()
    looks = [point for point in learner.curve if "validation_loss" in point]
    for point, exact in zip(looks, learner.exact, strict=True):
        point["exact_share"] = exact
    return learner.curve, chosen_step(learner.report)


def run(arguments: Sequence[str] | None = None) -> dict[str, object]:
    """Read the options, search, write the run folder; returns the report.

    Raises:
        LogloomError: the search can't be done.

    """
    chosen = _arguments(arguments)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise WrongSettings("tune starts its processes itself: call it without a launcher, with --jobs")
    configuration = Configuration.from_arguments(chosen, chosen.method)
    job = Job(
        out=chosen.out,
        sources=tuple(narrowed(source, configuration.seed) for source in read_sources(chosen)),
        start=checkpoint_folder(chosen.start),
        configuration=configuration,
        device=chosen.device,
        trials=chosen.trials,
        deadline=time.time() + chosen.seconds,
        number=0,
        threads=torch.get_num_threads(),
    )
    folds_of(job.sources, job.configuration.seed)  # refuses before anything is written
    run_folder = RunFolder.open(chosen.out, fresh=chosen.fresh)
    if chosen.fresh:
        for name in (SEARCH, BEST, TRIALS, OVERFITTING):
            (chosen.out / name).unlink(missing_ok=True)
    run_folder.write_configuration(job.configuration)
    report = tuned(job, jobs=chosen.jobs)
    run_folder.write_report(report)
    return report


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser("tune", __doc__ or "")
    parser.add_argument("--method", choices=METHODS, required=True, help="what is tuned")
    parser.add_argument("--trials", type=_count, default=30, help="configurations to try, default 30")
    parser.add_argument(
        "--seconds", type=float, default=600, help="no trial begins later, default 600; one under way is finished"
    )
    parser.add_argument("--jobs", type=_count, default=1, help="trials side by side, each in a process, default 1")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        report = run(arguments)
    except LogloomError as error:
        print(error, file=sys.stderr)
        return 1
    shown = {name: value for name, value in report.items() if name not in {"trials", "overfitting"}}
    print(json.dumps(shown | {"trials": len(list(report["trials"]))}, indent=2, default=str))  # type: ignore[call-overload]
    return 0


if __name__ == "__main__":
    sys.exit(main())
