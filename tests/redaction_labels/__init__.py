"""Labelled log lines: what of that which must not leave is hidden, and what is hidden without need.

`dev.txt` and `test.txt` say where they come from. `python -m tests.redaction_labels dev` tells the figures.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from worker.parsing.redaction import KINDS, Hit, find

_MARK = re.compile("«(" + "|".join(KINDS) + "):([^»]*)»")


class Labelled(NamedTuple):
    """A line and the values in it that must not leave."""

    text: bytes
    values: tuple[Hit, ...]


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was found of one kind."""

    #: Values that are marked; those that are hidden from end to end; those that are hidden under their own kind.
    marked: int = 0
    hidden: int = 0
    as_marked: int = 0
    #: What was found; what of it holds nothing that is marked.
    found: int = 0
    needless: int = 0

    @property
    def recall(self) -> float:
        """Share of the values that are hidden."""
        return self.hidden / self.marked

    @property
    def precision(self) -> float:
        """Share of what is hidden that holds a value."""
        return 1 - self.needless / self.found


def read(part: str) -> list[Labelled]:
    """Read the lines of `dev` or `test`."""
    lines = (Path(__file__).parent / f"{part}.txt").read_text("utf-8").splitlines()
    return [labelled(line) for line in lines if line and not line.startswith("#")]


def labelled(line: str) -> Labelled:
    """Take the marks out of a line."""
    text, values, at = b"", [], 0
    for mark in _MARK.finditer(line):
        text += line[at : mark.start()].encode()
        value = mark[2].encode()
        values.append(Hit(len(text), len(text) + len(value), KINDS.index(mark[1])))
        text += value
        at = mark.end()
    return Labelled(text + line[at:].encode(), tuple(values))


def count(lines: Sequence[Labelled]) -> dict[str, Counts]:
    """Count by kind: recall by that of the mark, precision by that which was found."""
    counts = {kind: Counts() for kind in KINDS}
    for text, values in lines:
        hits = find(text)
        for value in values:
            own = counts[KINDS[value.kind]]
            covering = [hit for hit in hits if hit.start <= value.start and value.end <= hit.end]
            own.marked += 1
            own.hidden += bool(covering)
            own.as_marked += any(hit.kind == value.kind for hit in covering)
        for hit in hits:
            own = counts[KINDS[hit.kind]]
            own.found += 1
            own.needless += not any(value.start < hit.end and hit.start < value.end for value in values)
    return counts


def mistakes(lines: Sequence[Labelled]) -> Iterator[str]:
    """Show what is not hidden, with `-`, and what is hidden without need, with `+`."""
    for text, values in lines:
        hits = find(text)
        for value in values:
            if not any(hit.start <= value.start and value.end <= hit.end for hit in hits):
                yield f"- {KINDS[value.kind]} {text[value.start : value.end].decode()!r}: {text.decode()}"
        for hit in hits:
            if not any(value.start < hit.end and hit.start < value.end for value in values):
                yield f"+ {KINDS[hit.kind]} {text[hit.start : hit.end].decode(errors='replace')!r}: {text.decode()}"
