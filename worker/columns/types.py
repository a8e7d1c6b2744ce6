"""The compiled form of `parsing/types.py`: its rules as one deterministic automaton over bytes.

The rules' syntax trees become a Glushkov automaton (a position per byte set, sets of positions as bits of an integer)
and that becomes a table by the subset construction. Aho, Sethi, Ullman, Compilers, section 3.9.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from worker.columns.jit import kernel
from worker.columns.layout import U8
from worker.parsing.types import RULES, TYPES

U16 = npt.NDArray[np.uint16]


class _Fragment(NamedTuple):
    """A part of a pattern: does it fit nothing, and the positions that it starts and ends with."""

    nullable: bool
    first: int
    last: int


@dataclass(slots=True, kw_only=True)
class _Positions:
    """Reads patterns into positions. Syntax: see `parsing/types.py`."""

    #: Per position, the bytes that it takes, as bits.
    takes: list[int] = field(default_factory=list)
    #: Per position, the positions that may come next, as bits.
    follow: list[int] = field(default_factory=list)

    def add(self, takes: int) -> _Fragment:
        """Add a position that takes one of the bytes in `takes`."""
        self.takes.append(takes)
        self.follow.append(0)
        bit = 1 << (len(self.takes) - 1)
        return _Fragment(nullable=False, first=bit, last=bit)

    def link(self, last: int, first: int) -> None:
        """Let every position of `first` come after every one of `last`."""
        while last:
            bit = last & -last
            self.follow[bit.bit_length() - 1] |= first
            last ^= bit

    def alternatives(self, pattern: str, at: int) -> tuple[_Fragment, int]:
        """Read what stands at `at`, up to a closing parenthesis or the end; return it and where it ends."""
        whole, at = self.sequence(pattern, at)
        while at < len(pattern) and pattern[at] == "|":
            other, at = self.sequence(pattern, at + 1)
            whole = _Fragment(whole.nullable or other.nullable, whole.first | other.first, whole.last | other.last)
        return whole, at

    def sequence(self, pattern: str, at: int) -> tuple[_Fragment, int]:
        """Read parts, each with its repetition."""
        whole = _Fragment(nullable=True, first=0, last=0)
        while at < len(pattern) and pattern[at] not in "|)":
            part_start = at
            part, at = self.part(pattern, at)
            least, most, after = _repetition(pattern, at)
            copies = [part]
            while len(copies) < max(least, most or 0):
                copies.append(self.part(pattern, part_start)[0])
            if most is None:
                self.link(copies[-1].last, copies[-1].first)
            for number, copy in enumerate(copies):
                whole = self.join(whole, copy, optional=number >= least)
            at = after
        return whole, at

    def join(self, left: _Fragment, right: _Fragment, *, optional: bool) -> _Fragment:
        """Put `right` after `left`."""
        self.link(left.last, right.first)
        nullable = optional or right.nullable
        return _Fragment(
            nullable=left.nullable and nullable,
            first=left.first | right.first if left.nullable else left.first,
            last=left.last | right.last if nullable else right.last,
        )

    def part(self, pattern: str, at: int) -> tuple[_Fragment, int]:
        """Read one byte, class or group."""
        if pattern.startswith("(?:", at):
            group, at = self.alternatives(pattern, at + 3)
            return group, at + 1
        if pattern[at] == "[":
            takes, at = _byte_class(pattern, at + 1)
        else:
            byte, at = _byte(pattern, at)
            takes = 1 << byte
        return self.add(takes), at


def _byte(pattern: str, at: int) -> tuple[int, int]:
    if pattern.startswith("\\x", at):
        return int(pattern[at + 2 : at + 4], 16), at + 4
    if pattern[at] == "\\":
        at += 1
    return ord(pattern[at]), at + 1


def _byte_class(pattern: str, at: int) -> tuple[int, int]:
    takes = 0
    while pattern[at] != "]":
        low, at = _byte(pattern, at)
        high = low
        if pattern[at] == "-":
            high, at = _byte(pattern, at + 1)
        takes |= (1 << (high + 1)) - (1 << low)
    return takes, at + 1


def _repetition(pattern: str, at: int) -> tuple[int, int | None, int]:
    """Return the least and the most times (None: no limit), and where the repetition's sign ends."""
    if at < len(pattern) and pattern[at] in "?*+":
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[pattern[at]]
        return least, most, at + 1
    if at < len(pattern) and pattern[at] == "{":
        end = pattern.index("}", at)
        low, comma, high = pattern[at + 1 : end].partition(",")
        return int(low), (int(high) if high else None) if comma else int(low), end + 1
    return 1, 1, at


class Automaton(NamedTuple):
    """Reads bytes; its state after the last one tells which rule fits."""

    #: Class of each byte, (256,).
    byte_class: U8
    #: Next state, by state << 7 | class; state 0 is the start, state 1 has no way on, (states * 128,).
    step: U16
    #: Number of the first pattern that fits what led to the state, or how many there are, (states,).
    rule: U8


def automaton(patterns: tuple[str, ...]) -> Automaton:
    """Compile `patterns`, byte values as Latin-1, in the order of their precedence.

    Raises ValueError where they need more than 128 byte classes or 65,536 states.
    """
    positions = _Positions()
    fragments = [positions.alternatives(pattern, 0)[0] for pattern in patterns]
    byte_class, takers = _byte_classes(positions.takes)
    if len(takers) > 128:
        msg = f"{len(takers)} classes of bytes: a state's row has 128"
        raise ValueError(msg)
    # One more position, never taken, stands for the start.
    start = 1 << len(positions.takes)
    firsts = 0
    for fragment in fragments:
        firsts |= fragment.first
    follow = [*positions.follow, firsts]
    numbers = {start: 0, 0: 1}
    states = [start, 0]
    rows: list[list[int]] = []
    for state in states:
        reach = 0
        left = state
        while left:
            bit = left & -left
            reach |= follow[bit.bit_length() - 1]
            left ^= bit
        row = []
        for taker in takers:
            to = reach & taker
            number = numbers.get(to)
            if number is None:
                number = numbers[to] = len(states)
                states.append(to)
            row.append(number)
        rows.append(row)
    if len(states) > 65_536:
        msg = f"{len(states)} states: a step has 16 bits"
        raise ValueError(msg)
    ends = [fragment.last | (start if fragment.nullable else 0) for fragment in fragments]
    rule = [next((number for number, end in enumerate(ends) if state & end), len(patterns)) for state in states]
    return _minimal(byte_class, np.array(rows), np.array(rule, np.uint8))


def _minimal(byte_class: U8, rows: npt.NDArray[np.int64], rule: U8) -> Automaton:
    """Join the states that no continuation tells apart (Moore's refinement); the first two stay where they are."""
    # A row of blocks is compared by a 64-bit sum with fixed random weights.
    weights = np.random.default_rng(0).integers(1 << 63, size=rows.shape[1] + 1, dtype=np.uint64) | np.uint64(1)
    block = rule.astype(np.uint64)
    count = 0
    while True:
        signature = block * weights[-1] + (block[rows] * weights[:-1]).sum(axis=1, dtype=np.uint64)
        _, first, refined = np.unique(signature, return_index=True, return_inverse=True)
        if len(first) == count:
            break
        block, count = refined.astype(np.uint64), len(first)
    # The blocks in the order in which their first states were found keep the start at 0 and the dead end at 1.
    order = np.argsort(first)
    number = np.empty(count, np.int64)
    number[order] = np.arange(count)
    step = np.ones((count, 128), np.uint16)
    step[:, : rows.shape[1]] = number[refined[rows[first[order]]]]
    return Automaton(byte_class=byte_class, step=step.reshape(-1), rule=rule[first[order]])


def _byte_classes(takes: list[int]) -> tuple[U8, list[int]]:
    """Return the class of each byte, and per class the positions that take its bytes."""
    takers_by_set: dict[int, int] = {}
    for position, byte_set in enumerate(takes):
        takers_by_set[byte_set] = takers_by_set.get(byte_set, 0) | 1 << position
    classes: dict[int, int] = {}
    byte_class = np.empty(256, np.uint8)
    for byte in range(256):
        taker = 0
        for byte_set, positions in takers_by_set.items():
            if byte_set >> byte & 1:
                taker |= positions
        byte_class[byte] = classes.setdefault(taker, len(classes))
    return byte_class, list(classes)


def _tables() -> Automaton:
    """Give the automaton of the rules to a kernel, whose `rule` holds codes of types."""
    raise NotImplementedError


@overload(_tables)  # type: ignore[untyped-decorator]  # numba has no types
def _tables_as_constants() -> Callable[[], Automaton]:
    # Built when a kernel is compiled, and kept inside its machine code: a start from the disk cache builds nothing.
    built = automaton(tuple(pattern for _, pattern in RULES))
    codes = np.array([TYPES.index(kind) for kind in (*(kind for kind, _ in RULES), "text")], np.uint8)
    byte_class, step, code = built.byte_class, built.step, codes[built.rule]

    def tables() -> Automaton:
        return Automaton(byte_class, step, code)

    return tables


@kernel
def parameter_type_code(buffer: U8, start: int, end: int) -> int:
    """Return the index in TYPES of the value at buffer[start:end], as `parsing.types.parameter_type` decides it."""
    tables = _tables()
    state = np.int64(0)
    for at in range(start, end):
        state = np.int64(tables.step[(state << 7) | np.int64(tables.byte_class[buffer[at]])])
        if state == 1:
            break
    return int(tables.rule[state])
