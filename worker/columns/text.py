"""Writing bytes of logs as text, for kernels: UTF-8 that any reader accepts, escaped for JSON or as it is.

Invalid UTF-8 becomes U+FFFD as in the Unicode standard, section 3.9 ("substitution of maximal subparts"), which is also
what `bytes.decode(errors="replace")` does. Chunks of 16 bytes are looked at and copied at once: every `target` here
needs PADDING bytes of room after what is written.
"""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.layout import I64, U8

#: Room that a target needs after what is written to it, and a source of `copy_padded` after what is read.
PADDING = 32

_CHUNK = 16


def _generate_plain_run(least: int, *, specials: bytes) -> Callable[..., Any]:
    """Make the code that counts the bytes, of 16, before the first that is in `specials` or not in least..0x7f."""

    def plain_run(_typing: Any, buffer: Any, position: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            start = context.cast(builder, arguments[1], signature.args[1], types.intp)
            first = builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [start])
            vector = ir.VectorType(ir.IntType(8), _CHUNK)
            chunk = builder.load(builder.bitcast(first, vector.as_pointer()), align=1)
            # Signed: bytes from 0x80 on are negative, so below every `least`.
            stops = builder.icmp_signed("<", chunk, vector([least] * _CHUNK))
            for special in specials:
                stops = builder.or_(stops, builder.icmp_signed("==", chunk, vector([special] * _CHUNK)))
            mask = builder.zext(builder.bitcast(stops, ir.IntType(_CHUNK)), ir.IntType(64))
            end = builder.or_(mask, ir.Constant(ir.IntType(64), 1 << _CHUNK))
            return builder.cttz(end, ir.Constant(ir.IntType(1), 1))

        return types.int64(buffer, position), generate

    return plain_run


_json_run = intrinsic(_generate_plain_run(0x20, specials=b'"\\'))
_ascii_run = intrinsic(_generate_plain_run(0, specials=b""))

_CHECKED = bool(numba.config.BOUNDSCHECK)


@inlined
def _run(source: U8, position: int, escaped: bool) -> int:
    """Count the bytes from `position` on, at most 16, that can be copied; 16 bytes must be there."""
    if _CHECKED and (position < 0 or position + _CHUNK > source.size):
        raise IndexError("a chunk out of bounds")
    return _json_run(source, position) if escaped else _ascii_run(source, position)  # type: ignore[no-any-return]


@inlined
def copy_padded(target: U8, position: int, source: U8, start: int, length: int) -> int:
    """Copy a short span whose source has PADDING bytes more; return the position after it.

    Thirty-two bytes at once, wanted or not, cost less than asking memcpy for a few.
    """
    if length <= PADDING:
        copy_bytes(target, position, source, start, PADDING)
    else:
        copy_bytes(target, position, source, start, length)
    return position + length


@inlined
def copy_plain(target: U8, position: int, source: U8, start: int, end: int, escaped: bool) -> int:
    """Copy bytes up to `end` or the first that can't stand as it is; return where in `source` it stopped."""
    at = start
    while at < end and at + _CHUNK <= source.size:
        copy_bytes(target, position + at - start, source, at, _CHUNK)
        run = _run(source, at, escaped)
        at += run
        if run < _CHUNK:
            return min(at, end)
    while at < end:  # the last bytes of the buffer
        byte = source[at]
        if byte >= 0x80 or (escaped and (byte < 0x20 or byte == 0x22 or byte == 0x5C)):
            return at
        target[position + at - start] = byte
        at += 1
    return end


@inlined
def utf8_length(source: U8, at: int, end: int) -> int:
    """Return the length of the character that starts at `at`; negative, that of the part to replace if there is none.

    Unicode standard, table 3-7: the second byte decides about overlong forms, surrogates and what is over U+10FFFF.
    """
    first = source[at]
    if first < 0x80:
        return 1
    if first < 0xC2 or first > 0xF4:
        return -1
    least, most = 0x80, 0xBF
    if first < 0xE0:
        needed = 2
    elif first < 0xF0:
        needed = 3
        if first == 0xE0:
            least = 0xA0
        elif first == 0xED:
            most = 0x9F
    else:
        needed = 4
        if first == 0xF0:
            least = 0x90
        elif first == 0xF4:
            most = 0x8F
    if at + 1 >= end or source[at + 1] < least or source[at + 1] > most:
        return -1
    for place in range(2, needed):
        if at + place >= end or source[at + place] & 0xC0 != 0x80:
            return -place
    return needed


@inlined
def _write_escape(target: U8, position: int, byte: int) -> int:
    """Write a control character, quote or backslash as JSON escapes it."""
    target[position] = 0x5C
    if byte == 0x22 or byte == 0x5C:
        letter = byte
    elif byte == 0x0A:
        letter = 0x6E
    elif byte == 0x09:
        letter = 0x74
    elif byte == 0x0D:
        letter = 0x72
    elif byte == 0x08:
        letter = 0x62
    elif byte == 0x0C:
        letter = 0x66
    else:
        target[position + 1] = 0x75
        target[position + 2] = 0x30
        target[position + 3] = 0x30
        target[position + 4] = 0x30 + (byte >> 4)
        low = byte & 15
        target[position + 5] = 0x30 + low if low < 10 else 0x57 + low
        return position + 6
    target[position + 1] = letter
    return position + 2


@kernel
def write_text(
    target: U8, position: int, source: U8, start: int, until: int, end: int, escaped: bool
) -> tuple[int, int, int]:
    """Write the characters that start before `until`, of text that ends at `end`.

    Returns the position after what is written, the byte of `source` that comes next (past `until` where a character
    lies across it) and the number of characters. `escaped`: for a JSON string, six bytes a byte at most; else UTF-8,
    three bytes a byte at most.
    """
    at = start
    characters = 0
    while at < until:
        stop = copy_plain(target, position, source, at, until, escaped)
        position += stop - at
        characters += stop - at
        at = stop
        # Bytes that need care seldom come alone: stay here until one does not.
        while at < until:
            byte = source[at]
            if byte >= 0x80:
                length = utf8_length(source, at, end)
                if length > 0:
                    for place in range(length):
                        target[position + place] = source[at + place]
                    position += length
                    at += length
                else:
                    target[position] = 0xEF
                    target[position + 1] = 0xBF
                    target[position + 2] = 0xBD
                    position += 3
                    at -= length
            elif escaped and (byte < 0x20 or byte == 0x22 or byte == 0x5C):
                position = _write_escape(target, position, byte)
                at += 1
            else:
                break
            characters += 1
    return position, at, characters


@inlined
def write_integer(target: U8, position: int, number: int) -> int:
    """Write an integer (but not the least one of 64 bits) in decimal, return the position after it."""
    if number < 0:
        target[position] = 0x2D
        position += 1
        number = -number
    digits = 1
    rest = number // 10
    while rest > 0:
        rest //= 10
        digits += 1
    for place in range(digits - 1, -1, -1):
        rest = number // 10
        target[position + place] = 0x30 + number - rest * 10
        number = rest
    return position + digits


@inlined
def write_cut_text(
    target: U8,
    position: int,
    source: U8,
    start: int,
    end: int,
    cut_start: I64,
    cut_end: I64,
    first: int,
    count: int,
    edge: I64,
    edge_characters: I64,
    escaped: bool,
) -> int:
    """Write text from `start` to `end` and find where the spans first .. first + count lie in what is written.

    The spans are ascending and disjoint. A character belongs to the span that its first byte lies in. `edge` and
    `edge_characters`, (2 * count,) or more, receive where each span starts and ends in `target`, and the number of
    characters before that. Returns the position after the text.
    """
    at = copy_plain(target, position, source, start, end, escaped)
    plain_end = at
    out = position + at - start
    characters = at - start
    for parameter in range(count):
        for side in range(2):
            cut = cut_start[first + parameter] if side == 0 else cut_end[first + parameter]
            cut = min(max(cut, start), end)
            place = 2 * parameter + side
            if cut <= plain_end:
                edge[place] = position + cut - start
                edge_characters[place] = cut - start
            else:
                if cut > at:
                    out, at, more = write_text(target, out, source, at, cut, end, escaped)
                    characters += more
                edge[place] = out
                edge_characters[place] = characters
    if at < end:
        out, at, more = write_text(target, out, source, at, end, end, escaped)
    return out
