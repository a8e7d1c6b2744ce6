"""Templates as arrays, and whether a message matches one: the compiled form of `Template.match`."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.columns.jit import inlined, kernel
from worker.columns.layout import I32, I64, U8, U64
from worker.columns.words import SPACES, first_byte, is_byte, is_space, load8, repeat, same_bytes, signed

#: A template's row, one cache line.
ROW = np.dtype(
    [
        ("id", np.uint64),
        # Its literals, one after the other, in `Table.literals`.
        ("literals_start", np.int64),
        # Its pieces in `Table.pieces`: one more than parameters.
        ("pieces_start", np.int64),
        # Number of the last call of `look_up` that found it.
        ("last_used", np.int64),
        # Number of the last message for which the chain that this row heads was walked.
        ("walked", np.int64),
        # All its literals together: no shorter message matches.
        ("literal_bytes", np.int32),
        # Its scope + 1; 0 is a free row.
        ("owner", np.int32),
        # Next row of the chain + 1; 0 ends it.
        ("next", np.int32),
        # How many better templates match some of its messages; -1 is more than `Table.rivals` holds.
        ("rival_count", np.int32),
        # White space in its literals.
        ("spaces", np.int32),
        ("parameters", np.int16),
        # No literal holds an ASCII letter.
        ("letterless", np.uint8),
        # Some parameter may hold white space.
        ("spacious", np.uint8),
    ]
)


class Table(NamedTuple):
    """Templates as the kernels see them."""

    #: Per row one ROW, (capacity,).
    rows: npt.NDArray[np.void]
    #: Better templates that match some of the row's messages, best first, (capacity, RIVALS).
    rivals: I32
    #: Bytes of all literals.
    literals: U8
    #: Length of a literal << 1 | may the parameter after it hold white space, pieces of a row together.
    pieces: I32
    #: First row + 1 of each chain of the index, by hash of the anchor word, best templates first, (power of two,).
    heads: I32
    #: Upper half of a fingerprint << 32 | row + 1; eight to a bucket, last used first; 0 is empty, (power of two,).
    fingerprints: U64
    #: Number of the call of `look_up`, number of the message, (2,).
    clock: I64


@inlined
def _seek(buffer: U8, at: int, end: int, repeated: np.uint64, bounded: bool) -> int:
    """Return the first place of a byte (given eight times), or of white space if bounded; `end` if there is none."""
    while at < end:
        chunk = load8(buffer, at)
        marks = is_byte(chunk, repeated)
        if bounded:
            marks |= is_space(chunk)
        if marks != np.uint64(0):
            return min(at + first_byte(marks), end)
        at += 8
    return end


@kernel
def _find(buffer: U8, at: int, end: int, literals: U8, literal_start: int, literal_length: int, bounded: bool) -> int:
    """Find a literal (one byte or more) that ends by `end`; return place << 1, or -1 if there is none.

    If bounded, white space before it ends the search: the return is its place << 1 | 1.
    """
    end -= literal_length - 1
    first = literals[literal_start]
    repeated = repeat(first)
    while True:
        at = _seek(buffer, at, end, repeated, bounded)
        if at >= end:
            return -1
        byte = buffer[at]
        if byte == first and same_bytes(buffer, at, literals, literal_start, literal_length):
            return at << 1
        if bounded and (byte == 0x20 or byte == 0x09):
            return at << 1 | 1
        at += 1


@inlined
def _holds_ascii_letter(buffer: U8, start: int, end: int) -> bool:
    for at in range(start, end):
        if 97 <= buffer[at] | 0x20 <= 122:
            return True
    return False


@kernel
def verify(
    table: Table, row: int, buffer: U8, start: int, end: int, span_start: I64, span_end: I64, into: int, memory: I64
) -> bool:
    """Tell whether buffer[start:end] matches a row; write its parameters' spans from `into` on.

    `memory` is scratch of MAX_PARAMETERS places. What stands in the spans after False is rubbish.
    """
    template = table.rows[row]
    parameters = signed(template["parameters"])
    literal_bytes = signed(template["literal_bytes"])
    if end - start < literal_bytes:
        return False
    literal = signed(template["literals_start"])
    pieces = signed(template["pieces_start"])
    length = signed(table.pieces[pieces] >> 1)
    if not same_bytes(buffer, start, table.literals, literal, length):
        return False
    if parameters == 0:
        return end - start == length
    stop = end - signed(table.pieces[pieces + parameters] >> 1)
    if not same_bytes(buffer, stop, table.literals, literal + literal_bytes - (end - stop), end - stop):
        return False
    if template["letterless"] != 0 and _holds_ascii_letter(buffer, start, end):
        return False
    position = start + length
    literal += length
    # The last spacious parameter so far, and the literal after it: see `Template._spans`.
    roaming, roaming_literal = -1, 0
    number = 0
    while number < parameters:
        spacious = table.pieces[pieces + number] & 1 != 0
        length = signed(table.pieces[pieces + number + 1] >> 1)
        if spacious:
            if roaming < 0:
                memory[:parameters] = -1
            roaming, roaming_literal = number, literal
        span_start[into + number] = position
        if number == parameters - 1:
            found = stop << 1
            if not spacious:
                if roaming >= 0 and memory[number] >> 1 >= position:
                    found = memory[number]
                else:
                    space = _seek(buffer, position, stop, SPACES, True)
                    if space < stop:
                        found = space << 1 | 1
        elif roaming >= 0 and not spacious and memory[number] >> 1 >= position:
            found = memory[number]
        else:
            found = _find(buffer, position, stop, table.literals, literal, length, not spacious)
            if found < 0:
                return False
        if found & 1 != 0:
            if roaming < 0:
                return False
            memory[number] = found
            number, literal = roaming, roaming_literal
            length = signed(table.pieces[pieces + number + 1] >> 1)
            found = _find(buffer, span_end[into + number] + 1, stop, table.literals, literal, length, False)
            if found < 0:
                return False
        elif roaming >= 0:
            memory[number] = found
        span_end[into + number] = found >> 1
        position = (found >> 1) + length
        literal += length
        number += 1
    return True
