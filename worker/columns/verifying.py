"""Templates as arrays, and whether a message matches one: the compiled form of `Template.match`.

Kernels that call each other take arrays one by one: out of a tuple, each use of one would count its references.
"""

from typing import NamedTuple

from worker.columns.jit import inlined, kernel
from worker.columns.layout import I32, I64, U8, U64
from worker.columns.words import SPACES, first_byte, is_byte, is_space, load8, repeat, same_bytes
from worker.parsing.templates import MAX_PARAMETERS

#: Fields of a template's row in `Table.rows`. The id with its highest bit turned, so that signed numbers sort like ids.
ID = 0
#: All its literals together: no shorter message matches.
LITERAL_BYTES = 1
#: Its scope + 1; 0 is a free row.
OWNER = 2
#: The first literal's first eight bytes and the last one's last eight, each with a mask of the bytes that there are.
HEAD, HEAD_MASK, TAIL, TAIL_MASK = 3, 4, 5, 6
#: Next row of the chain + 1; 0 ends it.
NEXT = 7
#: Where its literals lie in `Table.literals`, one after the other, and its pieces in `Table.pieces`.
LITERALS_START, PIECES_START = 8, 9
#: How many parameters it has; its pieces are one more.
PARAMETERS = 10
#: Sum of LETTERLESS (no literal holds a letter) and IS_RIVAL (some row of `Table.rivals` may hold it).
FLAGS = 11
LETTERLESS, IS_RIVAL = 1, 2
#: White space in all its messages: that of its literals; -1 if a parameter may hold some.
SPACES_COUNT = 12
#: Number of the last call of `look_up` that found it.
LAST_USED = 13
#: Number of the last message for which the chain that this row heads was walked.
WALKED = 14
#: How many better templates match some of its messages; -1 is more than `Table.rivals` holds.
RIVAL_COUNT = 15
FIELDS = 16


class Table(NamedTuple):
    """Templates as the kernels see them."""

    #: A row for each template, (capacity, FIELDS).
    rows: I64
    #: Better templates that match some of the row's messages, best first, (capacity, RIVALS).
    rivals: I64
    #: Bytes of all literals.
    literals: U8
    #: Length of a literal << 1 | may the parameter after it hold white space; the pieces of a row together.
    pieces: I64
    #: First row + 1 of each chain of the index, by hash of the anchor word, best templates first, (power of two,).
    heads: I32
    #: Upper half of a fingerprint << 32 | row + 1; eight to a bucket, last used first; 0 is empty, (power of two,).
    fingerprints: U64
    #: Number of the call of `look_up`, number of the message, (2,).
    clock: I64


#: Places of scratch that `verify` needs: spans' starts, their ends, and what it remembers.
SCRATCH = 3 * MAX_PARAMETERS
_ENDS, _MEMORY = MAX_PARAMETERS, 2 * MAX_PARAMETERS


@inlined
def is_better(rows: I64, left: int, right: int) -> bool:
    """Tell whether the row `left` wins where both match."""
    if rows[left, LITERAL_BYTES] != rows[right, LITERAL_BYTES]:
        return bool(rows[left, LITERAL_BYTES] > rows[right, LITERAL_BYTES])
    return bool(rows[left, ID] < rows[right, ID])


@inlined
def keep_spans(scratch: I64, count: int, span_start: I64, span_end: I64, into: int) -> None:
    """Copy the first `count` spans that `verify` left in `scratch` into columns, from `into` on."""
    for number in range(count):
        span_start[into + number] = scratch[number]
        span_end[into + number] = scratch[_ENDS + number]


@inlined
def _find(buffer: U8, at: int, end: int, literals: U8, literal_start: int, length: int, bounded: bool) -> int:
    """Find a literal of `length` bytes that ends by `end`; return place << 1, or -1 if there is none.

    If bounded, white space before it ends the search: the return is its place << 1 | 1. A literal of no bytes stands
    for the end.
    """
    last = end - max(length, 1) + 1
    first = SPACES if length == 0 else repeat(literals[literal_start])
    while at < last:
        chunk = load8(buffer, at)
        marks = is_byte(chunk, first)
        if bounded:
            marks |= is_space(chunk)
        at += first_byte(marks)
        if marks == 0:
            continue
        if at >= last:
            break
        if length > 0 and same_bytes(buffer, at, literals, literal_start, length):
            return at << 1
        if bounded and (buffer[at] == 0x20 or buffer[at] == 0x09):
            return at << 1 | 1
        at += 1
    return end << 1 if length == 0 else -1


@inlined
def _holds_letter(buffer: U8, start: int, end: int) -> bool:
    """Look for a letter as `worker.parsing.templates.has_letter` does."""
    for at in range(start, end):
        if 97 <= buffer[at] | 0x20 <= 122 or (buffer[at] >= 0xC3 and buffer[at] != 0xE2):
            return True
    return False


@kernel
def verify(rows: I64, row: int, pieces: I64, literals: U8, buffer: U8, start: int, end: int, scratch: I64) -> bool:
    """Tell whether buffer[start:end] matches a row; leave its parameters' spans in `scratch` (SCRATCH places)."""
    literal_bytes = rows[row, LITERAL_BYTES]
    if end - start < literal_bytes:
        return False
    literal = rows[row, LITERALS_START]
    piece = rows[row, PIECES_START]
    parameters = rows[row, PARAMETERS]
    length = pieces[piece] >> 1
    if not same_bytes(buffer, start, literals, literal, length):
        return False
    if parameters == 0:
        return bool(end - start == length)
    stop = end - (pieces[piece + parameters] >> 1)
    if not same_bytes(buffer, stop, literals, literal + literal_bytes - (end - stop), end - stop):
        return False
    if rows[row, FLAGS] & LETTERLESS != 0 and _holds_letter(buffer, start, end):
        return False
    number = 0
    position = start + length
    literal += length
    # Where the search starts: behind `position` if a spacious parameter has to grow.
    search = position
    scratch[0] = position
    # The last spacious parameter so far, and the literal after it: see `Template._spans`.
    roaming, roaming_literal = -1, literal
    while number < parameters:
        spacious = pieces[piece + number] & 1 != 0
        # After the last parameter stands what was compared already, not something to be found.
        length = pieces[piece + number + 1] >> 1 if number < parameters - 1 else 0
        if spacious and roaming != number:
            if roaming < 0:
                scratch[_MEMORY : _MEMORY + parameters] = -1
            roaming, roaming_literal = number, literal
        if roaming >= 0 and roaming != number and scratch[_MEMORY + number] >> 1 >= position:
            found = scratch[_MEMORY + number]
        elif spacious and length == 0:
            found = stop << 1
        else:
            found = _find(buffer, search, stop, literals, literal, length, not spacious)
            if found < 0:
                return False
            scratch[_MEMORY + number] = found
        if found & 1 != 0:
            if roaming < 0:
                return False
            number, literal = roaming, roaming_literal
            search = scratch[_ENDS + number] + 1
            continue
        scratch[_ENDS + number] = found >> 1
        position = search = (found >> 1) + length
        literal += length
        number += 1
        if number < parameters:
            scratch[number] = position
    return True
