"""Words of a message, eight bytes at a time: loads, byte tests inside a 64-bit number, hashes.

A byte test gives a number with the high bit of every byte set that passes. All are exact, whatever the other bytes are
(Knuth, The Art of Computer Programming, section 7.1.3). The hashes are those of `parsing/templates.py`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from worker.columns.jit import inlined, kernel
from worker.columns.layout import U8
from worker.parsing.templates import DIGITS, SPREAD, SPREAD_AGAIN

_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONES = np.uint64(0x0101010101010101)
SPACES = np.uint64(0x2020202020202020)
_TABS = np.uint64(0x0909090909090909)
# Added to a byte under 0x80, they carry into its high bit from '0', ':', 'a' and '{' on.
_FROM_0 = np.uint64(0x5050505050505050)
_ABOVE_9 = np.uint64(0x4646464646464646)
_FROM_A = np.uint64(0x1F1F1F1F1F1F1F1F)
_ABOVE_Z = np.uint64(0x0505050505050505)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SPREAD = np.uint64(SPREAD)
_SPREAD_AGAIN = np.uint64(SPREAD_AGAIN)
_DIGITS = np.uint64(DIGITS)


def _generate_load(_typing: Any, buffer: Any, at: Any) -> Any:
    """Load eight bytes from any address: numba itself reads a byte array only byte by byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [place]), ir.IntType(64).as_pointer())
        return builder.load(address, align=1)

    return types.uint64(buffer, at), generate


def _generate_trailing_zeros(_typing: Any, number: Any) -> Any:  # noqa: ARG001 -- intrinsics read their arguments' names
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


_load = intrinsic(_generate_load)
_trailing_zeros = intrinsic(_generate_trailing_zeros)


@inlined
def signed(number: Any) -> int:
    """Return a number of any width as int64.

    Mixed with signed numbers, uint64 would become a float; and numba compiles a kernel anew for int32.
    """
    return np.int64(number)  # type: ignore[return-value]


@inlined
def load8(buffer: U8, at: int) -> np.uint64:
    """Return the eight bytes from `at` (0 or more), little-endian; those beyond the end of the buffer are zero."""
    if at + 8 <= buffer.size:
        return _load(buffer, at)  # type: ignore[no-any-return]
    chunk = _ZERO
    for i in range(buffer.size - at):
        chunk |= np.uint64(buffer[at + i]) << np.uint64(8 * i)
    return chunk


@inlined
def tail8(buffer: U8, end: int) -> np.uint64:
    """Return the eight bytes before `end`, little-endian; those before the buffer are zero."""
    if end >= 8:
        return load8(buffer, end - 8)
    return _ZERO if end <= 0 else load8(buffer, 0) << np.uint64(8 * (8 - end))


@inlined
def first_byte(marks: np.uint64) -> int:
    """Return the number of the first byte that passed a test, 8 if none did."""
    return signed(_trailing_zeros(marks) >> np.uint64(3))


@inlined
def low_bytes(count: int) -> np.uint64:
    """Return a mask of the first `count` bytes, 0 to 7."""
    return (_ONE << np.uint64(8 * count)) - _ONE


@inlined
def is_byte(chunk: np.uint64, repeated: np.uint64) -> np.uint64:
    """Mark the bytes that equal the one that `repeated` holds eight times."""
    differing = chunk ^ repeated
    return ~(((differing & _LOW) + _LOW) | differing) & _HIGH


@inlined
def is_space(chunk: np.uint64) -> np.uint64:
    """Mark spaces and tabs."""
    return is_byte(chunk, SPACES) | is_byte(chunk, _TABS)


@inlined
def is_digit(chunk: np.uint64) -> np.uint64:
    """Mark the digits 0 to 9."""
    low = chunk & _LOW
    return (low + _FROM_0) & ~(low + _ABOVE_9) & ~chunk & _HIGH


@inlined
def is_letter(chunk: np.uint64) -> np.uint64:
    """Mark ASCII letters and all bytes above 0x7f."""
    low = (chunk | SPACES) & _LOW
    return (((low + _FROM_A) & ~(low + _ABOVE_Z)) | chunk) & _HIGH


@inlined
def repeat(byte: int) -> np.uint64:
    """Return a number that holds `byte` eight times."""
    return np.uint64(byte) * _ONES


@inlined
def _mix_word(mixed: np.uint64, chunk: np.uint64) -> np.uint64:
    mixed = (mixed ^ chunk) * _SPREAD
    return mixed ^ (mixed >> np.uint64(32))


@inlined
def mix(mixed: np.uint64, more: np.uint64) -> np.uint64:
    """Mix one more number into a hash: `parsing.templates.mix`."""
    mixed = (mixed ^ more) * _SPREAD_AGAIN
    return mixed ^ (mixed >> np.uint64(29))


@inlined
def scope_seed(scope: int) -> np.uint64:
    """Return where the hashes of a scope start: `parsing.templates.scope_seed`."""
    mixed = np.uint64(scope + 1) * _SPREAD
    return mixed ^ (mixed >> np.uint64(29))


@kernel
def fingerprint_of(buffer: U8, start: int, end: int, seed: np.uint64) -> np.uint64:
    """Return the fingerprint of the message at buffer[start:end]: `parsing.templates.fingerprint`."""
    mixed = seed
    at = start
    while at < end:
        # One word a turn, none where white space stands at `at`.
        word, digits, length = _ZERO, _ZERO, 0
        while True:
            chunk = load8(buffer, at)
            if end - at < 8:
                if end <= at:
                    break
                kept = low_bytes(end - at)
                chunk = (chunk & kept) | (SPACES & ~kept)
            spaces = is_space(chunk)
            if spaces == _ZERO:
                word = _mix_word(word, chunk)
                digits |= is_digit(chunk)
                length += 8
                at += 8
                continue
            count = first_byte(spaces)
            if count > 0:
                chunk &= low_bytes(count)
                word = _mix_word(word, chunk)
                digits |= is_digit(chunk)
                length += count
            at += count + 1
            break
        if length > 0:
            mixed = mix(mixed, word if digits == _ZERO else _DIGITS)
    return mixed


@kernel
def letters_at(buffer: U8, at: int, end: int) -> tuple[int, np.uint64]:
    """Find the first run of letters at or after `at`; return where it ends and its `word_hash`; -1 if there is none."""
    while at < end:
        count = first_byte(is_letter(load8(buffer, at)))
        at += count
        if count < 8:
            break
    if at >= end:
        return -1, _ZERO
    word = _ZERO
    while at < end:
        chunk = load8(buffer, at)
        count = min(first_byte(~is_letter(chunk) & _HIGH), end - at)
        if count >= 8:
            word = _mix_word(word, chunk)
            at += 8
            continue
        if count > 0:
            word = _mix_word(word, chunk & low_bytes(count))
            at += count
        break
    return at, word


@inlined
def same_bytes(left: U8, left_at: int, right: U8, right_at: int, length: int) -> bool:
    """Tell whether left[left_at : left_at + length] equals right[right_at : right_at + length]."""
    while length >= 8:
        if load8(left, left_at) != load8(right, right_at):
            return False
        left_at += 8
        right_at += 8
        length -= 8
    if length <= 0:
        return True
    return bool(((load8(left, left_at) ^ load8(right, right_at)) & low_bytes(length)) == _ZERO)
