"""Measure parsers on labelled logs: ours, taught from a few lines by each method, beside parsers that learn no labels.

For each system, method, number of shots and seed: the lines worth labelling are chosen from the unlabelled log, their
labels become the shots, the method teaches a checkpoint, and the parser that the worker runs reads the whole log.
Figures are over all lines, as the literature has them, and over the rest, which was not labelled.
"""

import argparse
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from training import report as pages
from training.evaluation.baselines import BASELINES, Baseline, Brain
from training.evaluation.datasets import LabelledLog, label_files, read_logs
from training.evaluation.fusing import Fused, fuse
from training.evaluation.mistakes import mistakes
from training.evaluation.processes import Failure, side_by_side
from training.evaluation.summary import Figures, Summary, summary, tables
from training.evaluation.trials import Conditions, Measured, Trial, figures_of, lines_by_kind, measure
from training.runs import machine
from training.teaching.configuration import METHODS, Configuration, Method
from worker.errors import LogloomError, WrongLabels, WrongSettings
from worker.parsing.checkpoint import checkpoint_folder, checkpoint_version

T = TypeVar("T")

#: What is measured beside ours: Brain once more with the separators that its authors give to some systems.
PEERS: tuple[Baseline, ...] = (*BASELINES, Brain(separators=",:=()[]", name="Brain, brackets too"))
_ROOT = Path(__file__).parents[1]
#: Code that decides no figure, of all that is imported here.
_UNDECIDING = frozenset(
    {"training.evaluate", "training.report", "training.evaluation.summary", "training.evaluation.processes"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What a parser that learns nothing from labels came to on one system."""

    name: str
    system: str
    figures: Figures
    #: Lines by kind of mistake.
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A trial that came to nothing."""

    name: str
    reason: str


def trials_of(
    systems: Sequence[str], methods: Sequence[Method], shots: Sequence[int], seeds: Sequence[int]
) -> list[Trial]:
    """List what is tried, in the order asked for; without shots every method is zero-shot."""
    variants: dict[tuple[Method, int], None] = {}
    for method in methods:
        for count in shots:
            variants["zero-shot" if count == 0 else method, 0 if method == "zero-shot" else count] = None
    return [
        Trial(system=system, method=method, shots=count, seed=seed)
        for method, count in variants
        for seed in seeds
        for system in systems
    ]


def variant_name(trial: Trial) -> str:
    """Name the parser that a trial is one of."""
    return trial.method if trial.method == "zero-shot" else f"{trial.method}, {trial.shots} shots"


def key_of(trial: Trial, log: LabelledLog, conditions: Conditions) -> str:
    """Digest all that decides a trial's figures: code, labels, start, settings. Another one is another trial."""
    decides = [
        code_digest(),
        asdict(trial),
        asdict(conditions.configuration),
        checkpoint_version(conditions.start),
        [conditions.device, conditions.threads, conditions.measures_worker, conditions.is_alone, conditions.seen],
        conditions.ablates,
        [log.messages, log.templates],
    ]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Digest the code that decides figures, as it was when first asked."""
    digest = hashlib.sha256()
    for name, module in sorted(sys.modules.items()):
        if name.startswith(("training.", "worker.parsing.")) and name not in _UNDECIDING and module.__file__:
            digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()


def kept(path: Path, key: str) -> Measured | None:
    """Read what an interrupted evaluation kept of a trial; None where there is nothing, or of another key."""
    try:
        found = Measured.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half written, or by another version: the trial runs again
    return found if found.key == key else None


def peers_of(log: LabelledLog, baselines: Sequence[Baseline] = PEERS) -> list[Peer]:
    """Run the peers on one system."""
    found = []
    for baseline in baselines:
        began = time.perf_counter()
        templates = baseline.templates_of(log.messages)
        seconds = time.perf_counter() - began
        figures = {
            name: value for name, value in figures_of(log, templates).items() if not name.startswith("rest.")
        } | {"lines_per_second": len(log.messages) / seconds}
        kinds = lines_by_kind(mistakes(log.messages, log.templates, templates))
        found.append(Peer(name=baseline.name, system=log.name, figures=figures, kinds=kinds))
    return found


class Evaluation:
    """Runs trials side by side and keeps each that is done, so that an interrupted evaluation goes on."""

    def __init__(self, logs: Sequence[LabelledLog], conditions: Conditions, out: Path, *, jobs: int) -> None:
        self.failed: list[Failed] = []
        self._logs = {log.name: log for log in logs}
        self._conditions = conditions
        self._out = out
        self._jobs = jobs

    def run(self, trials: Sequence[Trial], *, fresh: bool = False) -> list[Measured]:
        """Run the trials that are not kept from before, unless `fresh`; returns all, in the order of `trials`."""
        keys = {trial: key_of(trial, self._logs[trial.system], self._conditions) for trial in trials}
        done: dict[str, Measured] = {}
        if not fresh:
            found = {trial.name: kept(self._path(trial.name), keys[trial]) for trial in trials}
            done = {name: measured for name, measured in found.items() if measured is not None}
            if done:
                print(f"{len(done)} of {len(trials)} trials were done before.", flush=True)
        todo = {trial.name: trial for trial in trials if trial.name not in done}
        calls: dict[str, tuple[Any, ...]] = {
            name: (trial, self._logs[trial.system], self._conditions, keys[trial]) for name, trial in todo.items()
        }
        fused = self._fused([trial for trial in todo.values() if trial.method == "fuse"])
        for name, trial in todo.items():
            if trial.method == "fuse" and (trial.shots, trial.seed) in fused:
                calls[name] += (fused[trial.shots, trial.seed],)
            elif trial.method == "fuse":
                del calls[name]  # its teaching failed, and was told
        for ended in self._told(side_by_side(measure, calls, jobs=self._jobs), len(calls)):
            done[ended.trial.name] = ended
            _write_json(self._path(ended.trial.name), asdict(ended))
        if not self._conditions.keeps_checkpoints:
            for one in fused.values():
                shutil.rmtree(one.checkpoint.parent, ignore_errors=True)
        return [done[trial.name] for trial in trials if trial.name in done]

    def _fused(self, trials: Sequence[Trial]) -> dict[tuple[int, int], Fused]:
        """Teach all systems together for each number of shots and seed that fuse is tried with."""
        firsts = {(trial.shots, trial.seed): trial for trial in reversed(trials)}
        calls = {
            f"fuse-{shots}-{seed}": (trial, list(self._logs.values()), self._conditions)
            for (shots, seed), trial in firsts.items()
        }
        found: dict[tuple[int, int], Fused] = {}
        for ended, key in zip(side_by_side(fuse, calls, jobs=1), firsts, strict=True):  # one at a time: in their order
            if isinstance(ended.outcome, Failure):
                self.failed.append(Failed(name=ended.name, reason=ended.outcome.reason))
                print(
                    f"{ended.name} FAILED: {ended.outcome.reason}\n{ended.outcome.trace}", file=sys.stderr, flush=True
                )
            else:
                found[key] = ended.outcome
                print(f"{ended.name}: all systems taught in {ended.outcome.seconds:.0f} s", flush=True)
        return found

    def _told(self, outcomes: Iterator[Any], total: int) -> Iterator[Measured]:
        """Say of each trial that ends how it ended and what time is left; pass on those that came to something."""
        began = time.monotonic()
        for number, ended in enumerate(outcomes, 1):
            minutes = (time.monotonic() - began) / number * (total - number) / 60
            head, tail = f"[{number}/{total}] {ended.name}:", f"{minutes:.0f} min left"
            if isinstance(ended.outcome, Failure):
                self.failed.append(Failed(name=ended.name, reason=ended.outcome.reason))
                print(ended.outcome.trace, file=sys.stderr)
                print(f"{head} FAILED: {ended.outcome.reason}; {tail}", flush=True)
                continue
            measured = cast("Measured", ended.outcome)
            figures = "  ".join(f"{name} {measured.figures[name]:.3f}" for name in ("GA", "FGA", "PA", "FTA"))
            print(f"{head} {figures}  taught in {measured.figures['teaching_seconds']:.0f} s; {tail}", flush=True)
            yield measured

    def _path(self, name: str) -> Path:
        return self._out / f"{name}.json"


def evaluation_report(
    measured: Sequence[Measured], peers: Sequence[Peer], failed: Sequence[Failed], about: dict[str, object]
) -> dict[str, Any]:
    """Put everything together: the first variant's figures at the top, all variants, peers and trials below."""
    variants = summaries_of(measured)
    others = peer_summaries(peers)
    first = variants[0] if variants else Summary(name="", systems={}, mean={})
    return {
        **first.part(""),
        "parser": first.name,
        "rest": first.part("rest."),
        "normalised": first.part("normalised."),
        "rest_normalised": first.part("rest.normalised."),
        "emitted": first.part("emitted."),
        "settled": first.part("settled."),
        "model_alone": first.part("alone."),
        "stream_alone": first.part("stream."),
        "variants": [asdict(one) for one in variants],
        "peers": [asdict(one) for one in others],
        "peer_mistakes": [{"name": peer.name, "system": peer.system, "kinds": peer.kinds} for peer in peers],
        "failed": [asdict(one) for one in failed],
        **about,
        "runs": [asdict(one) for one in measured],
    }


def summaries_of(measured: Sequence[Measured]) -> list[Summary]:
    """Summarise the trials of each variant, in the order of the trials."""
    names = dict.fromkeys(variant_name(one.trial) for one in measured)
    return [
        summary(
            name,
            ((one.trial.system, one.trial.seed, one.figures) for one in measured if variant_name(one.trial) == name),
        )
        for name in names
    ]


def peer_summaries(peers: Sequence[Peer]) -> list[Summary]:
    """Summarise each peer, in order."""
    names = dict.fromkeys(peer.name for peer in peers)
    return [summary(name, ((peer.system, 0, peer.figures) for peer in peers if peer.name == name)) for name in names]


def commit() -> str:
    """Name the code's commit, with a `+` where files differ from it; `unknown` outside a git checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603,S607 - fixed words, whichever git there is
        return done.stdout.strip()

    try:
        found = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "training", "worker")
    except OSError:
        return "unknown"
    return f"{found}{'+' if changed else ''}" if found else "unknown"


def separated(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Read one value, or several with commas between."""

    def read(text: str) -> list[T]:
        return [kind(part) for part in text.split(",")]

    read.__name__ = kind.__name__  # argparse names it in its complaints
    return read


def at_least(least: int) -> Callable[[str], int]:
    """Read a number that is not below `least`."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return number


def method(text: str) -> Method:
    """Read the name of a method."""
    if text not in METHODS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(METHODS)}")
    return text


def share(text: str) -> float:
    """Read an option that is a share, above 0 and at most 1. Raises ArgumentTypeError for another."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is no share: give a number above 0, at most 1")


def options() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description=__doc__.split("\n\n")[0] if __doc__ else "",
        epilog="--method, --shots, --seed and --only may be repeated, or take several values with commas between. "
        "The first method and number of shots make the figures at the top of the report.",
    )
    add = parser.add_argument
    add("data", nargs="+", metavar="DATA", help="a folder of labelled logs, or a CSV with Content and EventTemplate")
    add("--model", default="base", help="what teaching starts from: base, a checkpoint, a name on the hub")
    add("--method", type=separated(method), action="extend", help=f"{', '.join(METHODS)}; default fine-tune")
    add("--shots", type=separated(at_least(0)), action="extend", help="labelled lines; default 32")
    add("--seed", type=separated(int), action="extend", help="default 1,2,3")
    add("--configuration", type=Path, help="a file that `tune` or an earlier run wrote")
    add("--seen", type=share, default=1.0, help="share of each log, from its beginning, that teaching sees; default 1")
    add("--only", type=separated(str), action="extend", metavar="SYSTEM", help="leave the other systems out")
    add("--peers", action=argparse.BooleanOptionalAction, default=True, help="run Drain3 and Brain beside")
    add("--speed", action=argparse.BooleanOptionalAction, default=True, help="measure the worker's path with its cache")
    add("--ablation", action="store_true", help="without labels: measure the model and the stream each alone too")
    add("--jobs", type=at_least(1), help="trials side by side, which share the cores; default: as many as cores")
    add("--device", default="auto", help="where the parser runs: auto, cpu, cuda or cuda:N")
    add("--out", type=Path, default=Path("runs/evaluate"), help="where finished trials are kept")
    add("--fresh", action="store_true", help="forget trials that were done before")
    add("--keep", action="store_true", help="keep the checkpoints, in OUT/checkpoints")
    add("--report", type=Path, help="the JSON report; default OUT/report.json")
    add("--html", type=Path, help="a page to look at")
    add("--png", type=Path, help="its picture")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, run the trials, write and show the report. Returns the exit code: 1 where a trial failed."""
    parser = options()
    given = parser.parse_args(arguments)
    try:
        return evaluate(given, shlex.join(["python", "-m", "training.evaluate", *(arguments or sys.argv[1:])]))
    except LogloomError as error:
        print(error, file=sys.stderr)
        return 1


def evaluate(given: argparse.Namespace, command: str) -> int:
    """Run what the options ask for.

    Raises:
        LogloomError: the data, the checkpoint or the configuration can't be read, or a package is missing.

    """
    logs = chosen_logs(given.data, given.only)
    refuse_missing({"drain3": given.peers and "--no-peers", "matplotlib": (given.html or given.png) and "no picture"})
    cores = int(str(machine()["cores"]))
    jobs = given.jobs or (min(cores, 4) if torch.cuda.is_available() else cores)
    conditions = Conditions(
        start=checkpoint_folder(given.model),
        configuration=Configuration() if given.configuration is None else Configuration.from_file(given.configuration),
        checkpoints=given.out / "checkpoints",
        device=given.device,
        threads=max(1, cores // jobs),
        keeps_checkpoints=given.keep,
        measures_worker=given.speed,
        is_alone=jobs == 1,
        ablates=given.ablation,
        seen=given.seen,
    )
    trials = trials_of(
        [log.name for log in logs], given.method or ["fine-tune"], given.shots or [32], given.seed or [1, 2, 3]
    )
    given.out.mkdir(parents=True, exist_ok=True)
    # Before the trials, so that nothing runs beside while the peers' speed is taken.
    peers = [peer for log in logs for peer in peers_of(log)] if given.peers else []
    code = commit()  # what is measured is what is there now, not what is there in the end
    evaluation = Evaluation(logs, conditions, given.out, jobs=jobs)
    measured = evaluation.run(trials, fresh=given.fresh)
    about: dict[str, object] = {
        "machine": machine() | {"jobs": jobs, "threads": conditions.threads},
        "commit": code,
        "label_version": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in label_files(given.data)},
        "model": checkpoint_version(conditions.start),
        "configuration": asdict(conditions.configuration),
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    found = evaluation_report(measured, peers, evaluation.failed, about)
    _write_json(given.report or given.out / "report.json", found)
    if given.html or given.png:
        pages.write(found, html=given.html, png=given.png)
    print()
    print(tables([*summaries_of(measured), *peer_summaries(peers)]))
    for failed in evaluation.failed:
        print(f"FAILED: {failed.name}: {failed.reason}")
    return 1 if evaluation.failed else 0


def refuse_missing(needed: Mapping[str, str | bool | None]) -> None:
    """Refuse to begin hours of work that a missing package would end; `needed` says what to ask for instead of it.

    Raises:
        WrongSettings: a package is needed and not there.

    """
    missing = {package: instead for package, instead in needed.items() if instead and find_spec(package) is None}
    if missing:
        asked = ", ".join(f"{package} (or ask for {instead})" for package, instead in missing.items())
        raise WrongSettings(f"The evaluation needs {asked}: install the extras `training` and `bench`.")


def chosen_logs(data: Sequence[str], only: Sequence[str] | None) -> list[LabelledLog]:
    """Read the logs, and leave out what is not asked for.

    Raises:
        WrongLabels: a log can't be read, or one that is asked for is not there.

    """
    logs = read_logs(data)
    names = [log.name for log in logs]
    missing = sorted(set(only or ()) - set(names))
    if missing:
        raise WrongLabels(f"There is no {', '.join(missing)} in the data; it holds {', '.join(names)}.")
    return [log for log in logs if only is None or log.name in only]


def _write_json(path: Path, value: object) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
