"""`python -m tests.fuzz`: feed readers of bytes with bytes that no one should write; coverage leads.

`python -m tests.fuzz TARGET FILE` feeds one file again. What failed lies in runs/fuzz/failures/TARGET, with its
traceback; a failure that is understood becomes a seed in tests/fuzz/seeds/TARGET. Exit code 1 where anything failed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")  # before anything imports numba

_ROOT = Path(__file__).parents[2]
_COVERAGE = re.compile(r"cov: (\d+)")
_EXECUTED = re.compile(r"number_of_executed_units: (\d+)")
#: Between two lines of progress.
_PULSE_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    #: Edges of the code that were reached, by the seeds and beyond them.
    seed_coverage: int = 0
    new_coverage: int = 0
    #: Places in the code where something failed.
    failures: tuple[str, ...] = ()
    #: The process ended otherwise than it should; 0 is as it should.
    exit_code: int = 0


def main() -> int:
    """Feed a file, or targets one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="these alone; or a target and a file")
    parser.add_argument("--seconds", type=int, help="for each target (10)")
    parser.add_argument("--runs", type=int, help="inputs of each target, instead of seconds")
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--out", type=Path, default=_ROOT / "runs" / "fuzz", help="report, inputs and failures")
    given = parser.parse_args()
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  --help must not wait for torch

    if given.list:
        click.echo("\n".join(TARGETS))
        return 0
    if len(given.targets) == 2 and given.targets[0] in TARGETS and Path(given.targets[1]).is_file():
        TARGETS[given.targets[0]].feed(Path(given.targets[1]).read_bytes())
        click.echo("taken, or refused as it should be")
        return 0
    if unknown := [name for name in given.targets if name not in TARGETS]:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    limits = [f"-runs={given.runs}"] if given.runs else [f"-max_total_time={given.seconds or 10}"]
    outcomes = []
    for name in given.targets or TARGETS:
        outcomes.append(_fuzzed(name, given.out, limits))
        _report(outcomes, given.out)
    click.echo(_table(outcomes))
    return int(any(one.failures or one.exit_code for one in outcomes))


def _fuzzed(name: str, out: Path, limits: Sequence[str]) -> Outcome:
    """Run one target in a process of its own, and tell how it goes on."""
    outcome = Outcome(target=name)
    began = told = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.guided", name, out / "corpus" / name, out / "failures" / name, *limits],
        cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    counts = threading.Thread(target=_follow_counts, args=(process, outcome))
    counts.start()
    last: deque[str] = deque(maxlen=20)
    for line in process.stderr or ():
        last.append(line)
        if found := _COVERAGE.search(line):
            outcome.seed_coverage = outcome.seed_coverage or int(found[1])
            outcome.new_coverage = int(found[1]) - outcome.seed_coverage
        if found := _EXECUTED.search(line):
            outcome.inputs = max(outcome.inputs, int(found[1]))
        if time.monotonic() - told > _PULSE_SECONDS:
            told = time.monotonic()
            click.echo(f"    {name}: {outcome.inputs:,} inputs, {len(outcome.failures)} failures", err=True)
    outcome.exit_code = process.wait()
    if outcome.exit_code:
        click.echo("".join(last), err=True)
    counts.join()
    outcome.seconds = round(time.monotonic() - began, 1)
    click.echo(
        f"{name}: {outcome.inputs:,} inputs in {outcome.seconds:.0f} s, coverage {outcome.seed_coverage} "
        f"+ {outcome.new_coverage}, {len(outcome.failures)} failures",
        err=True,
    )
    return outcome


def _follow_counts(process: "subprocess.Popen[str]", outcome: Outcome) -> None:
    for line in process.stdout or ():
        if line.startswith("{"):
            told = json.loads(line)
            outcome.inputs, outcome.failures = told["inputs"], tuple(told["failures"])


def _report(outcomes: Sequence[Outcome], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    whole = {
        "inputs": sum(one.inputs for one in outcomes),
        "seconds": round(sum(one.seconds for one in outcomes), 1),
        "failures": sum(len(one.failures) for one in outcomes),
        "targets": [asdict(one) for one in outcomes],
    }
    (out / "report.json").write_text(json.dumps(whole, indent=1) + "\n")


def _table(outcomes: Sequence[Outcome]) -> str:
    rows = [
        f"| {one.target} | {one.inputs:,} | {one.seconds:,.0f} | {one.seed_coverage} + {one.new_coverage} "
        f"| {len(one.failures)}{f' (exit {one.exit_code})' if one.exit_code else ''} |"
        for one in outcomes
    ]
    inputs, seconds = sum(one.inputs for one in outcomes), sum(one.seconds for one in outcomes)
    failures = sum(len(one.failures) for one in outcomes)
    return "\n".join([
        "| target | inputs | seconds | coverage: seeds + new | failures |",
        "|---|---:|---:|---:|---:|",
        *rows,
        f"| all | {inputs:,} | {seconds:,.0f} | | {failures} |",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
