"""Choose the lines of a log that are worth labelling, and write them with the model's suggestions to a file of pairs.

Correct the column EventTemplate in the file, or let `python -m training.label` ask for one line after the other.
"""

import argparse
import gzip
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from training.labels import Pair, write_pairs, written
from training.sampling import Choice, Survey
from worker.errors import LogloomError
from worker.parsing.headers import HeaderFormat, detect, format_of, split
from worker.parsing.spans import unmistakable
from worker.parsing.templates import decoded, encoded

#: Lines that a header is found from.
_FIRST_LINES = 1000
#: Seconds between two signs of progress.
_PROGRESS_SECONDS = 1.0
#: What goes on with the message before it, as stack traces do.
_CONTINUATION = re.compile(rb"\s|Caused by: |Traceback ")
_UNPRINTABLE = "\ufffd"


def read_messages(paths: Sequence[Path], *, header: str = "auto", notes: TextIO = sys.stderr) -> Iterator[str]:
    """Yield the message of each line of logs, plain or gzip, in order.

    A line that goes on with the message before it gives an empty message, so that numbers stay those of lines. `header`
    is `auto`, `none`, the name of a preset or a declaration; what `auto` found is written to `notes`. Bytes that are no
    UTF-8 come as surrogates.

    Raises:
        OSError: a log can't be read.
        WrongFormat: there is no such header format.

    """
    for path in paths:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first = list(islice(file, _FIRST_LINES))
            formats: Sequence[HeaderFormat] = ()
            if header == "auto":
                detection = detect([line.rstrip(b"\r\n") for line in first])
                formats = detection.formats
                print(f"{path}: {detection}", file=notes)
            elif header != "none":
                formats = (format_of(header),)
            for line in chain(first, file):
                yield message_of(line, formats)


def message_of(line: bytes, formats: Sequence[HeaderFormat]) -> str:
    """Cut the message out of a line; empty for a line that goes on with the message before it."""
    if not formats:
        return decoded(line.rstrip(b"\r\n"))
    found = split(formats, line)
    if found.format is None and _CONTINUATION.match(line):
        return ""
    return decoded(line[slice(*found.message)])


def watched(messages: Iterable[str], notes: TextIO = sys.stderr) -> Iterator[str]:
    """Pass messages on, and tell now and then how many there were."""
    began = told = time.monotonic()
    for number, message in enumerate(messages):
        if number % 4096 == 0 and (now := time.monotonic()) - told > _PROGRESS_SECONDS:
            told = now
            print(f"\r{number:,} lines read, {number / (now - began):,.0f} lines/s", end="", file=notes, flush=True)
        yield message
    if told != began:
        print(file=notes)


def suggestions(messages: Sequence[str], model: str) -> list[str]:
    """Let the model make the template of each message, empty where it finds none; `none` for rules without a model.

    Raises:
        WrongModel: there is no such model, or it is broken.

    """
    if model == "none":
        return [written(message, unmistakable(message)) for message in messages]
    from worker.parsing.parser import EncoderParser  # noqa: PLC0415 - without a model nobody waits for it

    parser = EncoderParser.load(model)
    found = parser.parse([encoded(message) for message in messages])
    return [template.text if template else "" for template in found]


def printable(text: str) -> str:
    """Replace what a terminal could take for a command, one character for each."""
    return "".join(character if character.isprintable() else _UNPRINTABLE for character in text)


def table(choices: Sequence[Choice], templates: Sequence[str], width: int = 110) -> str:
    """Show each chosen line: its number, how many lines it stands for, the suggested template."""
    rows = [
        f"{choice.index + 1:>10}  {choice.lines:>10,}  {printable(template or choice.message)[:width]}"
        for choice, template in zip(choices, templates, strict=True)
    ]
    return "\n".join([f"{'line':>10}  {'stands for':>10}  suggested template", *rows])


def surveyed(paths: Sequence[Path], *, header: str, seed: int) -> Survey:
    """Read logs once.

    Raises:
        OSError: a log can't be read.
        WrongFormat: there is no such header format.

    """
    survey = Survey(seed=seed)
    survey.read(watched(read_messages(paths, header=header)))
    return survey


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what this command shares with `training.label`."""
    parser.add_argument("--count", type=int, default=32, help="lines to label")
    parser.add_argument("--seed", type=int, default=1, help="another seed chooses other lines, as good")
    parser.add_argument(
        "--header", default="auto", metavar="FORMAT", help="auto, none, a preset's name, or a declared format"
    )
    parser.add_argument("--model", default="base", help="what suggests templates: base, a checkpoint, a name, or none")
    parser.add_argument("--out", type=Path, default=Path("pairs.csv"), help="the file of pairs, .csv or .jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, choose, write the pairs, show them. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.sample", description=__doc__.split("\n\n")[0] if __doc__ else "",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="a log, plain or .gz; lines as they come")
    add_options(parser)
    parser.add_argument("--force", action="store_true", help="replace a file of pairs that is there")
    chosen = parser.parse_args(arguments)
    if chosen.out.exists() and not chosen.force:
        print(f"{chosen.out} is there already: name another --out, or --force to replace it.", file=sys.stderr)
        return 1
    try:
        survey = surveyed(chosen.logs, header=chosen.header, seed=chosen.seed)
        choices = survey.chosen(chosen.count)
        templates = suggestions([choice.message for choice in choices], chosen.model)
        write_pairs(
            chosen.out,
            [
                Pair(message=choice.message, template=template)
                for choice, template in zip(choices, templates, strict=True)
            ],
        )
    except (OSError, LogloomError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(choices, templates))
    print(f"{len(choices)} of {survey.lines:,} lines are in {chosen.out}: correct the templates there.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
