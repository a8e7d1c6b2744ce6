"""Where the next owner of a partition goes on: the committed offset, and what above it is done already.

Lines that may be the head of a stack trace wait while lines of other keys pass them. The committed offset stops at the
first that waits; what passed it is told in the commit's metadata, so that it is not done twice. Knows no Kafka client.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from worker.columns.layout import Records
from worker.errors import DeliveryFailed

#: Stands before our metadata: commits of other programs have none, or their own.
_NAME = "logloom:1:"
_RUN = r"\d{1,18}(?:-\d{1,6})?"
_METADATA = re.compile(rf"{_NAME}(\d{{1,18}}):((?:{_RUN}(?:,{_RUN})*)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """Everything below `offset` is done, and what lies from there below `done`, but for the offsets that wait."""

    offset: int
    #: Not below `offset`.
    done: int
    #: Ascending, from `offset` on, below `done`.
    waiting: tuple[int, ...] = ()

    @classmethod
    def at(cls, offset: int) -> Self:
        """Say that everything below `offset` is done and nothing above it."""
        return cls(offset, offset)

    @property
    def metadata(self) -> str:
        """Tell what is not told by the offset, as text for the commit; empty if that is nothing.

        `logloom:1:DONE:RUNS`: DONE is relative to the offset, the start of a run to the end of the one before.
        """
        if self.done == self.offset:
            return ""
        told, place = list[str](), self.offset
        for first, last in _runs(self.waiting):
            told.append(str(first - place) if first == last else f"{first - place}-{last - first}")
            place = last
        return f"{_NAME}{self.done - self.offset}:{','.join(told)}"

    @classmethod
    def read(cls, offset: int, metadata: str | None) -> Self:
        """Read what a commit says; metadata of other programs says nothing.

        Raises:
            DeliveryFailed: the metadata is ours and broken.

        """
        if not metadata or not metadata.startswith(_NAME):
            return cls.at(offset)
        found = _METADATA.fullmatch(metadata)
        waiting, place = list[int](), offset
        for run in found[2].split(",") if found and found[2] else ():
            start, _, length = run.partition("-")
            first = place + int(start)
            place = first + int(length or 0)
            waiting += range(first, place + 1)
        if found is None or (waiting and waiting[-1] >= offset + int(found[1])):
            raise DeliveryFailed(f"the metadata of the commit at offset {offset} is broken: {metadata[:80]!r}")
        return cls(offset, offset + int(found[1]), tuple(waiting))

    def followed(self, end: int, held: Sequence[int]) -> "Position":
        """Tell where the partition stands once all below `end` was done but for the offsets that are held back."""
        later = [offset for offset in self.waiting if offset >= end]
        return Position(held[0] if held else end, max(end, self.done), (*held, *later))

    def left(self, records: Records) -> Records:
        """Return the rows of `records` that are not done."""
        kept = (records.offset >= self.done) | np.isin(records.offset, self.waiting)
        return records if kept.all() else Records(records.buffer, *(column[kept] for column in records[1:]))


def _runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Find the first and the last of each run of offsets that follow each other."""
    found = list[tuple[int, int]]()
    for offset in offsets:
        if found and offset == found[-1][1] + 1:
            found[-1] = (found[-1][0], offset)
        else:
            found.append((offset, offset))
    return found
