"""Which templates could match the same message: what makes a fingerprint's guess as good as the whole index."""

import numpy as np
import numpy.typing as npt

from worker.columns.jit import inlined, kernel
from worker.columns.verifying import Table
from worker.columns.words import same_bytes, signed

#: Most better templates that a row remembers. A row with more is looked up in the index whenever it is met.
RIVALS = 4
#: Two templates with more pairs of symbols than this are taken for rivals unseen.
_MOST_PAIRS = 1 << 22
# A template as symbols: bytes, and these for its parameters.
_PARAMETER, _SPACIOUS = 256, 257


@inlined
def is_better(table: Table, left: int, right: int) -> bool:
    """Tell whether the row `left` wins where both match."""
    left_bytes, right_bytes = table.rows[left]["literal_bytes"], table.rows[right]["literal_bytes"]
    if left_bytes != right_bytes:
        return bool(left_bytes > right_bytes)
    return bool(table.rows[left]["id"] < table.rows[right]["id"])


@kernel
def _symbols_of(table: Table, row: int, symbols: npt.NDArray[np.int16]) -> int:
    template = table.rows[row]
    at, literal = 0, np.int64(template["literals_start"])
    for number in range(template["parameters"] + 1):
        piece = table.pieces[template["pieces_start"] + number]
        for _ in range(piece >> 1):
            symbols[at] = table.literals[literal]
            at += 1
            literal += 1
        if number < template["parameters"]:
            symbols[at] = _SPACIOUS if piece & 1 != 0 else _PARAMETER
            at += 1
    return at


@inlined
def _takes(symbol: int, byte: int) -> bool:
    return byte < _PARAMETER and (symbol == _SPACIOUS or (symbol == _PARAMETER and byte != 0x20 and byte != 0x09))


@kernel
def _meet(left: npt.NDArray[np.int16], right: npt.NDArray[np.int16]) -> bool:
    """Tell whether some message matches both, by walking all pairs of places that one message can reach."""
    here = np.zeros(right.size + 2, np.bool_)
    there = np.zeros(right.size + 2, np.bool_)
    here[0] = True
    low = 0
    for i in range(left.size + 1):
        a = left[i] if i < left.size else -1
        next_low = right.size + 1
        for j in range(low, right.size + 1):
            if not here[j]:
                continue
            here[j] = False
            if i == left.size and j == right.size:
                return True
            b = right[j] if j < right.size else -1
            if b >= _PARAMETER or (b >= 0 and _takes(a, b)):
                here[j + 1] = True
            if a >= _PARAMETER or (a >= 0 and _takes(b, a)):
                there[j] = True
                next_low = min(next_low, j)
            if a == b and 0 <= a < _PARAMETER:
                there[j + 1] = True
                next_low = min(next_low, j + 1)
        if next_low > right.size:
            return False
        here[right.size + 1] = False
        here, there, low = there, here, next_low
    return False


@inlined
def _may_meet(table: Table, left: int, right: int) -> bool:
    """Rule out most pairs by their beginnings, their ends and the white space in them."""
    a, b = table.rows[left], table.rows[right]
    if a["letterless"] != b["letterless"]:
        return False
    # Without a spacious parameter, the message holds the white space of the literals and no other.
    if a["spacious"] == 0 and a["spaces"] < b["spaces"]:
        return False
    if b["spacious"] == 0 and b["spaces"] < a["spaces"]:
        return False
    first = min(table.pieces[a["pieces_start"]] >> 1, table.pieces[b["pieces_start"]] >> 1)
    if not same_bytes(table.literals, a["literals_start"], table.literals, b["literals_start"], first):
        return False
    last = min(
        table.pieces[a["pieces_start"] + a["parameters"]] >> 1, table.pieces[b["pieces_start"] + b["parameters"]] >> 1
    )
    a_end = a["literals_start"] + a["literal_bytes"] - last
    return same_bytes(table.literals, a_end, table.literals, b["literals_start"] + b["literal_bytes"] - last, last)


@inlined
def _add_rival(table: Table, row: int, rival: int) -> None:
    count = table.rows[row]["rival_count"]
    if count < 0:
        return
    if count == RIVALS:
        table.rows[row]["rival_count"] = -1
        return
    at = count
    while at > 0 and is_better(table, rival, table.rivals[row, at - 1]):
        table.rivals[row, at] = table.rivals[row, at - 1]
        at -= 1
    table.rivals[row, at] = rival
    table.rows[row]["rival_count"] = count + 1


@kernel
def find_rivals(table: Table, row: int, rows: int) -> None:
    """Compare a new row with all others of its scope among the first `rows`; the worse of two learns of the better."""
    left = np.empty(table.rows[row]["literal_bytes"] + table.rows[row]["parameters"], np.int16)
    _symbols_of(table, row, left)
    right = np.empty(1024, np.int16)
    for other in range(rows):
        if other == row or table.rows[other]["owner"] != table.rows[row]["owner"]:
            continue
        if not _may_meet(table, row, other):
            continue
        size = signed(table.rows[other]["literal_bytes"]) + signed(table.rows[other]["parameters"])
        if left.size * size <= _MOST_PAIRS:
            if size > right.size:
                right = np.empty(2 * size, np.int16)
            _symbols_of(table, other, right)
            if not _meet(left, right[:size]):
                continue
        if is_better(table, row, other):
            _add_rival(table, other, row)
        else:
            _add_rival(table, row, other)
