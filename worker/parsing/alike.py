"""Messages that differ only in their numbers are cut alike: of each kind the model reads one."""

import re
from bisect import bisect_right
from collections.abc import Sequence

from worker.parsing.spans import Span

#: Identifiers, and numbers wherever they stand.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(?=[a-fA-F]{0,63}[0-9])[0-9a-fA-F]{8,64}(?![0-9A-Za-z])"
    r"|[0-9]+"
)


def kind_of(text: str) -> str:
    """Name the kind of a message: its text with one and the same number in the place of each."""
    return _NUMBER.sub("0", text)


def moved(text: str, spans: Sequence[Span], other: str) -> list[Span] | None:
    """Find in `other` what stands in `text` at `spans`, ascending, in characters; both are of one kind.

    None where a span begins or ends within a number: what it would take of another number can't be told.
    """
    ends = [(0, 0), *((found.start(), found.end()) for found in _NUMBER.finditer(text))]
    others = [(0, 0), *((found.start(), found.end()) for found in _NUMBER.finditer(other))]
    starts = [start for start, _ in ends]
    places = list[int]()
    for edge in (edge for span in spans for edge in span):
        number = bisect_right(starts, edge) - 1
        start, end = ends[number]
        if start < edge < end:
            return None
        places.append(others[number][0] if edge == start else others[number][1] + edge - end)
    return list(zip(places[::2], places[1::2], strict=True))
