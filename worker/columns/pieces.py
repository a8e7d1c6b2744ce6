"""Bytes rendered ahead of time, side by side in one array, so that kernels only copy them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np

from worker.columns.jit import inlined
from worker.columns.layout import I64, U8
from worker.columns.text import PADDING, copy_padded

#: What the kernels of events return instead of the room that they need.
UNKNOWN_TEMPLATE, WRONG_PARAMETER_COUNT = -1, -2

#: What stands before a parameter's name in the name of its attribute.
_PARAMETER = "log.record.parameter."


class Pieces(NamedTuple):
    """Byte strings that are known by their number."""

    #: The pieces, one after the other, then PADDING bytes.
    buffer: U8
    #: Piece i is buffer[edges[i] : edges[i + 1]], (pieces + 1,).
    edges: I64


class Fragments(NamedTuple):
    """The pieces of each template: what precedes its parameters, its confidence and type, then two per parameter.

    A parameter's pieces, what stands in its object and its attribute, are empty where it has no such thing.
    """

    buffer: U8
    edges: I64
    #: The template's first piece, -1 for a row without a template, (rows,).
    first: I64
    #: How many parameters it has, (rows,).
    parameter_count: I64
    #: How many attributes its pieces hold beside those of every template: of named parameters, of a type, (rows,).
    attribute_count: I64


def numbered(count: int) -> Sequence[int]:
    """Give the pieces their numbers. They are NumPy's: for each of Python's own, numba would compile `put` again."""
    return cast("Sequence[int]", np.arange(count))


def parameter_attributes(names: Iterable[str]) -> list[str]:
    """Give each parameter's attribute, none (empty) without a name; of the second of a name on, a number follows it."""
    taken = set[str]()
    attributes = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        if name:
            taken.add(free)
        attributes.append(_PARAMETER + free if name else "")
    return attributes


def lay_out(pieces: Sequence[bytes]) -> Pieces:
    """Put `pieces` side by side."""
    edges = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=edges[1:])
    buffer = np.zeros(int(edges[-1]) + PADDING, np.uint8)
    buffer[: edges[-1]] = np.frombuffer(b"".join(pieces), np.uint8)
    return Pieces(buffer=buffer, edges=edges)


@inlined
def put(target: U8, position: int, buffer: U8, edges: I64, piece: int) -> int:
    """Copy one piece, return the position after it."""
    return copy_padded(target, position, buffer, edges[piece], edges[piece + 1] - edges[piece])


class TemplatePieces:
    """The pieces of every template in the table, by its row there; room of removed ones is used again."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[bytes, ...]] = {}
        self._attribute_counts: dict[int, int] = {}
        self._used = self._edges_used = 0
        self.columns = _empty(rows=64, size=1 << 16, edges=1 << 10)

    def set(self, row: int, pieces: Sequence[bytes], attribute_count: int) -> None:
        """Take `pieces`, and how many attributes they hold, for the template in `row`, whatever was there."""
        self.clear(row)
        self._pieces[row] = tuple(pieces)
        self._attribute_counts[row] = attribute_count
        columns = self.columns
        size = sum(map(len, pieces))
        if (
            row >= columns.first.size
            or self._used + size + PADDING > columns.buffer.size
            or self._edges_used + len(pieces) + 1 > columns.edges.size
        ):
            self._rebuild()
        else:
            self._append(row)

    def clear(self, row: int) -> None:
        """Forget the template in `row`, if there is one."""
        if self._pieces.pop(row, None) is not None:
            del self._attribute_counts[row]
            self.columns.first[row] = -1

    def _append(self, row: int) -> None:
        columns, pieces = self.columns, self._pieces[row]
        columns.first[row] = self._edges_used
        columns.parameter_count[row] = len(pieces) // 2 - 1
        columns.attribute_count[row] = self._attribute_counts[row]
        columns.edges[self._edges_used] = self._used
        for piece in pieces:
            columns.buffer[self._used : self._used + len(piece)] = np.frombuffer(piece, np.uint8)
            self._used += len(piece)
            self._edges_used += 1
            columns.edges[self._edges_used] = self._used
        self._edges_used += 1

    def _rebuild(self) -> None:
        """Lay out the templates that are left, with as much room again."""
        edges = sum(len(pieces) + 1 for pieces in self._pieces.values())
        size = sum(len(piece) for pieces in self._pieces.values() for piece in pieces)
        self.columns = _empty(rows=2 * max(self._pieces) + 2, size=2 * size + (1 << 16), edges=2 * edges + (1 << 10))
        self._used = self._edges_used = 0
        for row in self._pieces:
            self._append(row)


def _empty(*, rows: int, size: int, edges: int) -> Fragments:
    return Fragments(
        buffer=np.zeros(size, np.uint8),
        edges=np.zeros(edges, np.int64),
        first=np.full(rows, -1, np.int64),
        parameter_count=np.zeros(rows, np.int64),
        attribute_count=np.zeros(rows, np.int64),
    )
