"""The search for a configuration: what is varied, its trials, and its memory in the run folder.

optuna proposes and remembers; a trial teaches and measures on every fold.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from training.runs import Progress
from training.teaching.configuration import ORDERS, Configuration
from training.teaching.core import Source, teach_sources
from training.teaching.folds import Fold, Score, folds_of, score_of
from worker.errors import WrongModel, WrongSettings
from worker.parsing.checkpoint import checkpoint_version
from worker.parsing.model import read_config
from worker.parsing.parser import EncoderParser

if TYPE_CHECKING:
    import optuna

#: optuna's journal in the run folder.
SEARCH = "search.log"
#: Bytes of the vectors and of the keys and values of a prompt, at most, where the search may choose.
_MOST_VECTOR_BYTES, _MOST_PREFIX_BYTES = 25_000, 75_000
_LENGTHS = (0, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process of a search needs to know."""

    out: Path
    #: As `narrowed` leaves them.
    sources: tuple[Source, ...]
    start: Path
    configuration: Configuration
    device: str
    #: Trials of the whole search, also those of an interrupted one and of other processes.
    trials: int
    #: When the last trial may begin, by `time.time`: the processes share it.
    deadline: float
    number: int
    threads: int


def distributions(start: Configuration, encoder: Mapping[str, Any]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Tell what is searched around `start` for an encoder of this description: only what the method uses."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: PLC0415 - slow

    rates = {"head_learning_rate": start.head_learning_rate}
    found: dict[str, optuna.distributions.BaseDistribution] = {
        "steps": IntDistribution(max(1, start.steps // 2), 2 * start.steps, log=True),
        "label_smoothing": FloatDistribution(0, min(1, max(0.1, 2 * start.label_smoothing))),
        "swapped": FloatDistribution(0, max(0.9, start.swapped)),
        "lines_per_template": IntDistribution(
            min(5, start.lines_per_template), max(80, 2 * start.lines_per_template), log=True
        ),
    }
    if start.method in {"fine-tune", "fuse"}:
        rates["learning_rate"] = start.learning_rate
        depth = encoder["num_hidden_layers"]
        few = max(1, depth // 3)
        parts = dict.fromkeys([_part(start), "all", f"last {few}", f"last {depth - few}", "lora 4", "lora 16"])
        found["trained"] = CategoricalDistribution([part for part in parts if part != "last 0"])
    if start.method in {"prompt-tune", "fuse"}:
        rates["prompt_learning_rate"] = start.prompt_learning_rate
        vector = 2 * encoder["hidden_size"]  # bytes: prompts are kept in half precision
        most = _MOST_VECTOR_BYTES // vector
        found["prompt_length"] = CategoricalDistribution(_lengths(start.prompt_length, most))
        # Other encoders than our own take no keys and values.
        if encoder["model_type"] == "bert" and encoder.get("hidden_act", "gelu") == "gelu":
            most = _MOST_PREFIX_BYTES // (2 * encoder["num_hidden_layers"] * vector)
            found["prefix_length"] = CategoricalDistribution(_lengths(start.prefix_length, most))
    if start.method == "fuse":
        found["order"] = CategoricalDistribution(ORDERS)
    # A rate of zero freezes what it is for, and stays.
    return found | {
        name: FloatDistribution(rate / 5, min(1, rate * 5), log=True)
        for name, rate in sorted(rates.items())
        if rate > 0
    }


def _part(configuration: Configuration) -> str:
    """Name what of the encoder is trained."""
    if configuration.lora_rank:
        return f"lora {configuration.lora_rank}"
    return f"last {configuration.layers}" if configuration.layers else "all"


def _lengths(start: int, most: int) -> list[int]:
    return sorted({start, *(length for length in _LENGTHS if length <= most)})


def parameters_of(configuration: Configuration, names: Sequence[str]) -> dict[str, Any]:
    """Write a configuration as a point of the search."""
    return {name: _part(configuration) if name == "trained" else getattr(configuration, name) for name in names}


def configuration_of(start: Configuration, parameters: Mapping[str, Any]) -> Configuration:
    """Read a point of the search; figures that no one needs are rounded away."""
    values: dict[str, Any] = {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in parameters.items()
    }
    kind, _, size = str(values.pop("trained", _part(start))).partition(" ")
    return replace(
        start,
        layers=int(size) if kind == "last" else 0,
        lora_rank=int(size) if kind == "lora" else 0,
        **values,
    )


def measured(fold: Fold, job: Job, configuration: Configuration, folder: Path) -> Score:
    """Teach what a fold teaches, into `folder`, and parse its kept lines; the folder is removed.

    Raises:
        WrongModel: the training diverged.

    """
    try:
        taught = teach_sources(
            fold.taught,
            folder,
            start=job.start,
            # Neighbours in the log would hide what was learned.
            configuration=replace(configuration, settles=False),
            device=job.device,
        )
        parser = EncoderParser.load(taught[0].checkpoint, device=job.device)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return score_of(parser, fold.kept)


class Search:
    """Goes through trials, and remembers them in the run folder: an interrupted search goes on."""

    def __init__(self, job: Job) -> None:
        """Open the search in the job's folder.

        Raises:
            WrongSettings: the folder has a search of something else, or labels are too few.

        """
        self._job = job
        self._folds = folds_of(job.sources, job.configuration.seed)
        self._distributions = distributions(job.configuration, read_config(job.start))
        self.study = opened(job.out, seed=job.configuration.seed + 1000 * job.number, trials=job.trials)
        about = described(job)
        if self.study.user_attrs.setdefault("about", about) != about:
            raise WrongSettings(
                f"{job.out} has an unfinished search with other lines, another checkpoint or another configuration: "
                "name another folder, or give --fresh."
            )
        self.study.set_user_attr("about", about)

    def begin(self) -> None:
        """Forget what an interruption left half done, and put the given configuration first; for one process alone."""
        from optuna.trial import TrialState  # noqa: PLC0415 - slow to import

        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
        waiting_or_done = self.study.get_trials(states=(TrialState.WAITING, TrialState.COMPLETE))
        if not any(is_start(trial) for trial in waiting_or_done):
            point = parameters_of(self._job.configuration, list(self._distributions))
            self.study.enqueue_trial(point, user_attrs={"is_start": True})

    def go_on(self) -> None:
        """Try until there are trials enough or the time is over; the first is always tried.

        Raises:
            WrongModel: the given configuration itself can't be taught.

        """
        progress = Progress(self._job.trials, "trials", every_seconds=0)
        while len(done := self.tried()) < self._job.trials and (not done or time.time() < self._job.deadline):
            trial = self.study.ask(self._distributions)
            self._try(trial)
            best = max((one.user_attrs["exact"] for one in self.complete()), default=math.nan)
            progress.tell(len(self.tried()), exact_share=trial.user_attrs.get("exact", math.nan), best=best)

    def tried(self) -> list[optuna.trial.FrozenTrial]:
        """Give the trials that are under way or came to an end, interrupted ones not among them."""
        from optuna.trial import TrialState  # noqa: PLC0415 - slow to import

        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state in {TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED}
            or "reason" in trial.user_attrs
        ]

    def complete(self) -> list[optuna.trial.FrozenTrial]:
        """Give the trials that were measured on all folds."""
        from optuna.trial import TrialState  # noqa: PLC0415 - slow to import

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def configuration(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> Configuration:
        """Tell the configuration of a trial."""
        given = self._job.configuration
        return given if is_start(trial) else configuration_of(given, trial.params)

    def _try(self, trial: optuna.Trial) -> None:
        """Measure a configuration fold by fold; stop where others did better on the same folds."""
        from optuna.trial import TrialState  # noqa: PLC0415 - slow to import

        began, scores = time.perf_counter(), list[Score]()
        state: TrialState | None = None
        for number, fold in enumerate(self._folds):
            try:
                folder = self._job.out / f"trial-{trial.number}"
                scores.append(measured(fold, self._job, self.configuration(trial), folder))
            except WrongModel as error:
                if is_start(trial):
                    raise
                trial.set_user_attr("reason", str(error))
                state = TrialState.FAIL
                break
            trial.report(Score.mean(scores).value, number)
            if number + 1 < len(self._folds) and not is_start(trial) and trial.should_prune():
                state = TrialState.PRUNED
                break
        if scores:
            trial.set_user_attr("folds", [asdict(score) for score in scores])
            trial.set_user_attr("exact", Score.mean(scores).exact)
            trial.set_user_attr("validation_loss", Score.mean(scores).loss)
        trial.set_user_attr("seconds", time.perf_counter() - began)
        self.study.tell(trial, None if state else Score.mean(scores).value, state=state)


def is_start(trial: optuna.Trial | optuna.trial.FrozenTrial) -> bool:
    """Tell whether a trial is that of the given configuration."""
    return bool(trial.user_attrs.get("is_start"))


def opened(out: Path, *, seed: int, trials: int) -> optuna.Study:
    """Open the study in a run folder, or make it.

    Raises:
        WrongSettings: optuna is missing.

    """
    try:
        import optuna  # noqa: PLC0415 - slow to import, and only here
        from optuna.storages import JournalStorage  # noqa: PLC0415 - the same
        from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415 - the same
    except ImportError as error:
        raise WrongSettings("tune needs optuna: pip install 'logloom[training]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out / SEARCH))),
        study_name="tune",
        direction="maximize",
        load_if_exists=True,
    )
    # A search that goes on must not draw again what it drew at first.
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials), n_startup_trials=min(10, max(3, trials // 4))
    )
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    return study


def described(job: Job) -> str:
    """Digest what a search is about."""
    about = [checkpoint_version(job.start), asdict(job.configuration), [asdict(source) for source in job.sources]]
    return hashlib.blake2b(json.dumps(about).encode(), digest_size=8).hexdigest()


def searched(job: Job) -> int:
    """Take part in a search as one of several processes; returns the process's number."""
    torch.set_num_threads(job.threads)
    Search(job).go_on()
    return job.number
