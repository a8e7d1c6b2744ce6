"""Pseudonyms: keyed BLAKE2b (RFC 7693) of values, compiled.

A dictionary of Python's for each value would cost more than the whole path of a line. `parsing.redaction.pseudonym` is
the reference.
"""

from typing import Any, cast

import numpy as np

from worker.columns.jit import inlined, kernel
from worker.columns.layout import U8, U64
from worker.parsing.redaction import KINDS, PSEUDONYM_DIGITS

_IV = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
_SIGMA = np.array(
    [
        *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        *(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
        *(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
        *(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
        *(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
        *(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
        *(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
        *(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
        *(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
        *(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    ],
    np.int64,
)
#: The places of words: each literal would be a type of its own, and compile `_mix` again.
_W = cast("tuple[int, ...]", tuple(np.int64(place) for place in range(16)))
_BLOCK = 128
_ROUNDS = 12


@inlined
def _mix(v: U64, a: int, b: int, c: int, d: int, x: Any, y: Any) -> None:
    v[a] = v[a] + v[b] + x
    v[d] ^= v[a]
    v[d] = v[d] >> np.uint64(32) | v[d] << np.uint64(32)
    v[c] = v[c] + v[d]
    v[b] ^= v[c]
    v[b] = v[b] >> np.uint64(24) | v[b] << np.uint64(40)
    v[a] = v[a] + v[b] + y
    v[d] ^= v[a]
    v[d] = v[d] >> np.uint64(16) | v[d] << np.uint64(48)
    v[c] = v[c] + v[d]
    v[b] ^= v[c]
    v[b] = v[b] >> np.uint64(63) | v[b] << np.uint64(1)


@kernel
def _compress(state: U64, v: U64, m: U64, counted: int, is_last: bool) -> None:
    """Take a block of words `m`, (16,), into `state`, (8,); `counted`: bytes up to its end. `v`, (16,), is scratch."""
    for place in range(8):
        v[place] = state[place]
        v[place + 8] = _IV[place]
    v[12] ^= np.uint64(counted)
    if is_last:
        v[14] = ~v[14]
    for number in range(_ROUNDS):
        s = number % 10 * 16
        _mix(v, _W[0], _W[4], _W[8], _W[12], m[_SIGMA[s]], m[_SIGMA[s + 1]])
        _mix(v, _W[1], _W[5], _W[9], _W[13], m[_SIGMA[s + 2]], m[_SIGMA[s + 3]])
        _mix(v, _W[2], _W[6], _W[10], _W[14], m[_SIGMA[s + 4]], m[_SIGMA[s + 5]])
        _mix(v, _W[3], _W[7], _W[11], _W[15], m[_SIGMA[s + 6]], m[_SIGMA[s + 7]])
        _mix(v, _W[0], _W[5], _W[10], _W[15], m[_SIGMA[s + 8]], m[_SIGMA[s + 9]])
        _mix(v, _W[1], _W[6], _W[11], _W[12], m[_SIGMA[s + 10]], m[_SIGMA[s + 11]])
        _mix(v, _W[2], _W[7], _W[8], _W[13], m[_SIGMA[s + 12]], m[_SIGMA[s + 13]])
        _mix(v, _W[3], _W[4], _W[9], _W[14], m[_SIGMA[s + 14]], m[_SIGMA[s + 15]])
    for place in range(8):
        state[place] ^= v[place] ^ v[place + 8]


@kernel
def write_pseudonym(
    target: U8, position: int, keyed: U64, kind: int, buffer: U8, start: int, end: int, state: U64, v: U64, m: U64
) -> int:
    """Write the pseudonym of a value that is not empty; return the position after it.

    `keyed`, (kinds, 8), are the states behind the key's block; `state`, (8,), `v` and `m`, (16,), are scratch.
    """
    for place in range(8):
        state[place] = keyed[kind, place]
    at = start
    counted = _BLOCK
    while True:
        taken = min(end - at, _BLOCK)
        for place in range(16):
            m[place] = 0
        for place in range(taken):
            m[place >> 3] |= np.uint64(buffer[at + place]) << np.uint64(8 * (place & 7))
        at += taken
        counted += taken
        _compress(state, v, m, counted, at == end)
        if at == end:
            break
    for place in range(PSEUDONYM_DIGITS):
        shift = np.uint64(8 * (place >> 1) + (0 if place & 1 else 4))
        nibble = np.int64(state[0] >> shift & np.uint64(15))
        target[position + place] = 0x30 + nibble if nibble < 10 else 0x57 + nibble
    return position + PSEUDONYM_DIGITS


def keyed_states(key: bytes) -> U64:
    """Begin the hash of each kind: its parameters, then the key's block."""
    states = np.zeros((len(KINDS), 8), np.uint64)
    block = np.frombuffer(key.ljust(_BLOCK, b"\0"), np.uint64).copy()
    for kind, name in enumerate(KINDS):
        states[kind] = _IV
        states[kind, 0] ^= np.uint64(0x01010000 | len(key) << 8 | PSEUDONYM_DIGITS // 2)
        states[kind, 6:] ^= np.frombuffer(name.encode().ljust(16, b"\0"), np.uint64)
        _compress(states[kind], np.zeros(16, np.uint64), block, _BLOCK, False)
    return states
