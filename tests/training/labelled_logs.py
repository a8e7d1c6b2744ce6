"""A labelled log of our own invention, for tests of the evaluation."""

from collections.abc import Iterator
from pathlib import Path

from training.evaluation.datasets import LabelledLog
from training.labels import Pair, write_pairs


def pairs() -> Iterator[Pair]:
    """Make lines of five templates."""
    for number in range(12):
        yield Pair(message=f"stored object {number * 7} in 4{number} ms", template="stored object <*> in <*> ms")
        yield Pair(message=f"peer node-{number} joined", template="peer <*> joined")
        yield Pair(message=f"lease {1000 + number} was lost: retrying", template="lease <*> was lost: retrying")
    yield Pair(message="cache is full", template="cache is full")
    yield Pair(message="shutting down", template="shutting down")


def store_log(name: str = "Store") -> LabelledLog:
    """Make a log whose last line has no label."""
    made = list(pairs())
    return LabelledLog(
        name=name,
        messages=(*(pair.message for pair in made), "odd one"),
        templates=(*(pair.template for pair in made), None),
    )


def write_store_log(folder: Path, name: str = "Store") -> Path:
    """Write the labelled lines as CSV."""
    path = folder / f"{name}.csv"
    write_pairs(path, pairs())
    return path
