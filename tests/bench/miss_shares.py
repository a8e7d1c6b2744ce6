"""`python -m tests.bench.miss_shares FILE...`: of a log's lines, how many reach the model, early and later.

Each log is read from the beginning by a worker's path that knows nothing, a hundred lines at a time, as a topic that is
followed comes. What reaches the model are messages, alike ones once.
"""

import argparse
import asyncio
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click

from worker.columns.lines import read_lines
from worker.offline import FileParser

_LINES_AT_ONCE = 100
#: Lines between which shares are told.
_EDGES = (0, 100, 500, 1_000, 1_500, 2_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """What of one log reached the model."""

    name: str
    #: Lines, and messages that the model was asked for, of each batch.
    lines: Sequence[int]
    asked: Sequence[int]

    def shares(self) -> Iterator[tuple[int, float]]:
        """Yield, for each pair of edges, its upper one and the share of the lines in between."""
        ends = [sum(self.lines[: number + 1]) for number in range(len(self.lines))]
        for low, high in pairwise(_EDGES):
            within = [number for number, end in enumerate(ends) if low < end <= high]
            if lines := sum(self.lines[number] for number in within):
                yield high, sum(self.asked[number] for number in within) / lines


def misses_of(path: Path, model: str) -> Misses:
    """Read a log. Raises OSError."""
    parser = FileParser.open(source=path.stem, model=model, forget=True)
    lines = path.read_bytes().splitlines()
    sizes: list[int] = []
    asked: list[int] = []
    assert parser._model is not None, "the checkpoint is one"
    counts = parser._model.counts

    async def read() -> None:
        for first in range(0, len(lines), _LINES_AT_ONCE):
            batch = lines[first : first + _LINES_AT_ONCE]
            before = counts.rows
            for records in read_lines(io.BytesIO(b"\n".join(batch) + b"\n")):
                await parser.parse(records)
            sizes.append(len(batch))
            asked.append(counts.rows - before)
        await parser.close()

    asyncio.run(read())
    return Misses(name=path.stem, lines=sizes, asked=asked)


def main() -> None:
    """Print a row per log, and the means over logs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.miss_shares", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", default="base", help="checkpoint")
    arguments = parser.parse_args()
    found = []
    for path in arguments.files:
        found.append(dict((one := misses_of(path, arguments.model)).shares()))
        told = "  ".join(f"to {high:,}: {share:.4f}" for high, share in found[-1].items())
        click.echo(f"{one.name}: {sum(one.lines):,} lines, {sum(one.asked):,} asked; {told}")
    for high in _EDGES[1:]:
        if shares := [shares[high] for shares in found if high in shares]:
            click.echo(f"mean of {len(shares)} to {high:,}: {sum(shares) / len(shares):.4f}, most {max(shares):.4f}")


if __name__ == "__main__":
    main()
