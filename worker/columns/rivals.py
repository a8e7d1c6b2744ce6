"""Which templates could match the same message: what makes a fingerprint's guess as good as the whole index."""

import numpy as np

from worker.columns.jit import inlined, kernel
from worker.columns.layout import I64, U8
from worker.columns.verifying import (
    FLAGS,
    HEAD,
    HEAD_MASK,
    IS_RIVAL,
    LETTERLESS,
    LITERAL_BYTES,
    LITERALS_START,
    OWNER,
    PARAMETERS,
    PIECES_START,
    RIVAL_COUNT,
    SPACES_COUNT,
    TAIL,
    TAIL_MASK,
    is_better,
)

#: Most better templates that a row remembers. A row with more is looked up in the index whenever it is met.
RIVALS = 4
#: Two templates with more pairs of symbols than this are taken for rivals unseen.
_MOST_PAIRS = 1 << 18
# A template as symbols: bytes, these for its parameters, and the end.
_PARAMETER, _SPACIOUS, _END = 256, 257, -1


@kernel
def _symbols_of(rows: I64, row: int, pieces: I64, literals: U8, symbols: I64) -> int:
    """Write a template as symbols, the end included; return how many."""
    at, literal = 0, rows[row, LITERALS_START]
    for number in range(rows[row, PARAMETERS] + 1):
        piece = pieces[rows[row, PIECES_START] + number]
        for _ in range(piece >> 1):
            symbols[at] = literals[literal]
            at += 1
            literal += 1
        symbols[at] = _SPACIOUS if piece & 1 != 0 else _PARAMETER
        at += 1
    symbols[at - 1] = _END
    return at


@inlined
def _takes(symbol: int, byte: int) -> bool:
    if byte < 0 or byte >= _PARAMETER:
        return False
    return symbol == _SPACIOUS or (symbol == _PARAMETER and byte != 0x20 and byte != 0x09)


@kernel
def _meet(left: I64, left_size: int, right: I64, right_size: int, reached: I64) -> bool:
    """Tell whether some message matches both, by walking all pairs of places that one message can reach.

    `reached` is scratch of right_size + 1 places: the last place of `left`, + 1, with which each of `right` is reached.
    """
    reached[: right_size + 1] = 0
    reached[0] = 1
    low = 0
    for i in range(left_size):
        a = left[i]
        # Whether left's next place is reached with right's place j, told before it may be written.
        diagonal = False
        next_low = right_size
        for j in range(low, right_size):
            here = reached[j] == i + 1
            up = diagonal
            diagonal = False
            if here:
                b = right[j]
                if a == _END and b == _END:
                    return True
                if b >= _PARAMETER or _takes(a, b):
                    reached[j + 1] = i + 1
                up = up or a >= _PARAMETER or _takes(b, a)
                diagonal = a == b and 0 <= a < _PARAMETER
            if up:
                reached[j] = i + 2
                next_low = min(next_low, j)
        if next_low == right_size:
            return False
        low = next_low
    return False


@inlined
def _may_meet(rows: I64, left: int, right: int) -> bool:
    """Rule out most pairs by their beginnings, their ends and the white space in them."""
    if (rows[left, HEAD] ^ rows[right, HEAD]) & rows[left, HEAD_MASK] & rows[right, HEAD_MASK] != 0:
        return False
    if (rows[left, TAIL] ^ rows[right, TAIL]) & rows[left, TAIL_MASK] & rows[right, TAIL_MASK] != 0:
        return False
    if (rows[left, FLAGS] ^ rows[right, FLAGS]) & LETTERLESS != 0:
        return False
    spaces, others = rows[left, SPACES_COUNT], rows[right, SPACES_COUNT]
    return bool(spaces == others or spaces < 0 or others < 0)


@inlined
def _add_rival(rows: I64, rivals: I64, row: int, rival: int) -> None:
    at = rows[row, RIVAL_COUNT]
    if at < 0 or at == RIVALS:
        rows[row, RIVAL_COUNT] = -1
        return
    rows[row, RIVAL_COUNT] = at + 1
    rows[rival, FLAGS] |= IS_RIVAL
    while at > 0 and is_better(rows, rival, rivals[row, at - 1]):
        rivals[row, at] = rivals[row, at - 1]
        at -= 1
    rivals[row, at] = rival


@kernel
def find_rivals(rows: I64, rivals: I64, pieces: I64, literals: U8, row: int, count: int) -> None:
    """Compare a new row with all others of its scope among the first `count`; the worse of two learns of the better."""
    left = np.empty(rows[row, LITERAL_BYTES] + rows[row, PARAMETERS] + 2, np.int64)
    right, reached = np.empty(256, np.int64), np.empty(256, np.int64)
    left_size = _symbols_of(rows, row, pieces, literals, left)
    # Nearly all rows are told by their first cache line.
    for other in range(count):
        if other == row or rows[other, OWNER] != rows[row, OWNER] or not _may_meet(rows, row, other):
            continue
        size = rows[other, LITERAL_BYTES] + rows[other, PARAMETERS] + 2
        if left_size * size <= _MOST_PAIRS:
            if size > right.size:
                right, reached = np.empty(2 * size, np.int64), np.empty(2 * size, np.int64)
            right_size = _symbols_of(rows, other, pieces, literals, right)
            if not _meet(left, left_size, right, right_size, reached):
                continue
        better, worse = (row, other) if is_better(rows, row, other) else (other, row)
        _add_rival(rows, rivals, worse, better)
