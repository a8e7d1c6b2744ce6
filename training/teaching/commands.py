"""What the commands `fine_tune`, `prompt_tune` and `fuse` share: sources from files, a run folder, its report."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from training.labels import read_pairs
from training.runs import CHECKPOINT, RunFolder, draw_curves, machine
from training.sample import read_messages
from training.teaching.configuration import Configuration, Method
from training.teaching.core import Source, lost_prompts, refuse_doubled, teach_sources
from worker.errors import LogloomError, WrongSettings
from worker.parsing.checkpoint import BASE

_LOSSES = ("loss", "validation_loss")


def run(method: Method, about: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command that teaches by `method`; returns the exit code."""
    parser = argument_parser(method.replace("-", "_"), about)
    parser.add_argument(
        "--drop-prompts", action="store_true",
        help="go on where soft prompts of other sources will not fit the new weights; their known templates stay",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    try:
        configuration = Configuration.from_arguments(chosen, method)
        sources = read_sources(chosen)
        report = taught(
            sources, chosen.out, chosen.start, configuration,
            device=chosen.device, fresh=chosen.fresh, drops_prompts=chosen.drop_prompts,
        )  # fmt: skip
    except LogloomError as error:
        print(error, file=sys.stderr)
        return 1
    if report is not None:
        print(json.dumps({name: value for name, value in report.items() if name != "curve"}, indent=2, default=str))
    return 0


def taught(
    sources: Sequence[Source],
    out: Path,
    start: str,
    configuration: Configuration,
    *,
    device: str,
    fresh: bool,
    drops_prompts: bool,
) -> dict[str, object] | None:
    """Teach `sources` and write the run folder `out`; returns the report, None in processes that are not the first.

    Raises:
        WrongModel, WrongSettings: as `teach_sources`; the run folder is that of `start`, or of an earlier run; soft
            prompts of other sources would be lost, and `drops_prompts` is not set.

    """
    if Path(start).resolve() == (out / CHECKPOINT).resolve():
        raise WrongSettings(f"{start} can't be started from and written at once: name another run folder")
    lost = lost_prompts(sources, start, configuration)
    names = ", ".join(lost)
    if lost and not drops_prompts:
        raise WrongSettings(
            f"{configuration.method} changes the encoder, and {start} has soft prompts that fit it as it is: {names}. "
            "Teach these sources too (--source), or use prompt_tune, which leaves the encoder as it is, or go on "
            "without them (--drop-prompts): the known templates of these sources stay."
        )
    is_first = int(os.environ.get("RANK", "0")) == 0  # a launcher of several processes numbers them
    if is_first:
        run_folder = RunFolder.open(out, fresh=fresh)
        run_folder.write_configuration(configuration)
        if lost:
            print(f"soft prompts that fit the old weights alone and are dropped: {names}", file=sys.stderr)
    found = teach_sources(sources, out, start=start, configuration=configuration, device=device, notes=is_first)
    if not is_first:
        return None
    report: dict[str, object] = {
        "checkpoint": str(found[0].checkpoint),
        "prompts": [one.prompt for one in found],
        "lost_prompts": lost,
        "seconds": found[0].seconds,
        "machine": machine(None if device == "auto" else torch.device(device)),
        **found[0].report,
    }
    curve = found[0].report.get("curve")
    if isinstance(curve, list) and curve:
        draw_curves(curve, run_folder.curve, x="step", left=_LOSSES, mark=chosen_step(found[0].report))
    run_folder.write_report(report)
    return report


def chosen_step(report: dict[str, object]) -> float | None:
    """Find the step that early stopping chose; None where nothing was kept to stop by."""
    curve, best = report.get("curve"), report.get("validation_loss")
    points = curve if isinstance(curve, list) else []
    return next(
        (float(point["step"]) for point in points if best is not None and point.get("validation_loss") == best), None
    )


def argument_parser(name: str, about: str) -> argparse.ArgumentParser:
    """Make the options that the command `training.NAME` shares with the others that learn from sources."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", nargs=3, action="append", required=True, metavar=("NAME", "LOG", "PAIRS"),
        help="a source: its name, its unlabelled log (gz too), its labelled lines (CSV or JSON Lines); may be repeated",
    )  # fmt: skip
    parser.add_argument("--licence", default="not stated", help="licence of the logs, for the checkpoint's card")
    parser.add_argument("--header", default="auto", help="header format of the logs, `auto` or `none`")
    parser.add_argument(
        "--model", dest="start", default=BASE, help="checkpoint to start from: `base`, a folder, a hub's name"
    )
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--fresh", action="store_true", help="replace an earlier run in that folder")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    Configuration.add_arguments(parser)
    return parser


def read_sources(chosen: argparse.Namespace) -> list[Source]:
    """Read the sources that were named on the command line.

    Raises:
        WrongLabels: labelled lines can't be read, or a template does not fit its line.
        WrongSettings: two sources have one name, or a log can't be read.

    """
    refuse_doubled([name for name, _, _ in chosen.source])
    return [
        Source(
            name=name, log=_read_log(Path(log), chosen.header), shots=read_pairs(Path(pairs)), licence=chosen.licence
        )
        for name, log, pairs in chosen.source
    ]


def _read_log(path: Path, header: str) -> list[str]:
    try:
        return [message for message in read_messages([path], header=header) if message]
    except OSError as error:
        raise WrongSettings(f"{path} can't be read: {error.strerror or error}.") from error
