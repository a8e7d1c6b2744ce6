"""Looking up short names in kernels: fields of envelopes and words of levels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from worker.columns.jit import inlined, kernel
from worker.columns.layout import I64, U8

_SLOTS = 256


class Names(NamedTuple):
    """Distinct names, found by hash; given to kernels as two arrays."""

    #: The names, one after the other.
    text: U8
    #: The first name of each hash, then four numbers per name: next of the same hash, start, length, meaning.
    entries: I64


def lay_out_names(names: Sequence[bytes], meanings: Sequence[int]) -> Names:
    """Lay out distinct names and what each means, a number from 0 on."""
    index = np.full(_SLOTS + 4 * len(names), -1, np.int64)
    start = 0
    for place, (name, meaning) in enumerate(zip(names, meanings, strict=True)):
        slot = _slot(len(name), name[0] if name else 0, name[-1] if name else 0)
        entry = _SLOTS + 4 * place
        index[entry : entry + 4] = index[slot], start, len(name), meaning
        index[slot] = entry
        start += len(name)
    return Names(text=np.frombuffer(bytearray(b"".join(names)) or bytearray(1), np.uint8), entries=index)


def _slot(length: int, first: int, last: int) -> int:
    return (length * 37 + (first | 32) * 5 + (last | 32)) & (_SLOTS - 1)


@inlined
def find_name(text: U8, entries: I64, buffer: U8, start: int, end: int, folded: bool) -> int:
    """Return what a name means, -1 where it is none or empty; `folded`: in any case, for upper-case names."""
    if end <= start:
        return -1
    entry = entries[((end - start) * 37 + (int(buffer[start]) | 32) * 5 + (int(buffer[end - 1]) | 32)) & (_SLOTS - 1)]
    # Most names are no one's hash, which is found out without the cost of a call.
    return -1 if entry < 0 else _compare(text, entries, entry, buffer, start, end - start, folded)


@kernel
def _compare(text: U8, entries: I64, entry: int, buffer: U8, start: int, length: int, folded: bool) -> int:
    while entry >= 0:
        if entries[entry + 2] == length:
            own = entries[entry + 1]
            at = 0
            while at < length:
                byte = buffer[start + at]
                if folded and byte >= 97 and byte <= 122:
                    byte -= 32
                if text[own + at] != byte:
                    break
                at += 1
            if at == length:
                return int(entries[entry + 3])
        entry = entries[entry]
    return -1
