"""What must not leave the worker, found in a region of bytes: the compiled form of `parsing/redaction.py`.

Each kind is looked for in a pass of its own, if a first pass saw what it needs; all take time by the region's length.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numba.extending import overload

from worker.columns.jit import inlined, kernel
from worker.columns.layout import I64, U8, U64
from worker.parsing.redaction import (
    CARD,
    DIGEST_LENGTHS,
    EMAIL,
    EMPTY_VALUES,
    IP,
    KEYS,
    LAST_PHRASES,
    LEAST_RANDOM,
    LINE,
    MOST_DOUBTFUL,
    NEVER,
    NO_NAMES,
    PHRASES,
    PREFIXES,
    TOKEN,
    UNITS,
    USER,
)

# What a byte is, as bits.
_DIGIT, _HEX, _WORD, _PIECE, _BASE64, _KEY, _LOCAL, _DOMAIN, _SCHEMED, _BARE, _UPPER, _LOWER, _NAME = (
    cast("int", np.int64(1 << bit)) for bit in range(13)
)
#: Columns of a hit: the row, the span in the buffer, and the index in KINDS. Hits are one array, (hits, 4): kernels
#: would count the references of four in a tuple at each use.
ROW, START, END, KIND = range(4)
#: Stand in a kind's place: of a key that tells nothing, and of a word of a list.
NO_KIND, _LISTED = cast("int", np.int64(-1)), cast("int", np.int64(-2))
#: Phrases that need no mark behind the name.
_SURE = len(PHRASES)
#: FNV-1a, 64 bits.
_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
#: Slots of the table of keys; a power of two.
_SLOTS = 512

_DIGITS = b"0123456789"
_LOWERS = b"abcdefghijklmnopqrstuvwxyz"
_LETTERS = _LOWERS + _LOWERS.upper()
_HIGH = bytes(range(0x80, 0x100))


class Tables(NamedTuple):
    """What kernels look up."""

    #: What each byte is, (256,).
    of_byte: I64
    #: Hashes of keys and of empty values by open addressing, 0 for a free slot; their kinds, (slots,).
    hashes: U64
    kinds: I64
    #: The beginnings of services' keys, one after the other, and where each starts, (bytes,) and (prefixes + 1,).
    prefixes: U8
    prefix_edges: I64
    #: What a user's name follows, the sure ones first, and where each starts, (bytes,) and (phrases + 1,).
    phrases: U8
    phrase_edges: I64


def _of_bytes() -> I64:
    of_byte = np.zeros(256, np.int64)
    for bit, members in (
        (_DIGIT, _DIGITS),
        (_HEX, _DIGITS + b"abcdefABCDEF"),
        (_WORD, _LETTERS + _DIGITS + b"_"),
        (_PIECE, _LETTERS + _DIGITS + b"_-"),
        (_BASE64, _LETTERS + _DIGITS + b"_-+/"),
        (_KEY, _LETTERS + _DIGITS + b"_-."),
        (_LOCAL, _LETTERS + _DIGITS + b"_-.%+" + _HIGH),
        (_DOMAIN, _LETTERS + _DIGITS + b"-." + _HIGH),
        (_SCHEMED, _LETTERS + _DIGITS + b"._~+/=-"),
        (_BARE, bytes(byte for byte in range(0x21, 0x100) if byte not in b",;&\"'()[]{}<>|\\")),
        (_NAME, _LETTERS + _DIGITS + b"_-.$"),
        (_UPPER, _LOWERS.upper()),
        (_LOWER, _LOWERS),
    ):
        for byte in members:
            of_byte[byte] |= bit
    return of_byte


def _hash(text: bytes) -> int:
    value = int(_FNV_START)
    for byte in text:
        value = ((value ^ byte) * int(_FNV_PRIME)) % (1 << 64)
    return value


def tables_of_keys() -> Tables:
    """Give the tables to a kernel."""
    raise NotImplementedError


@overload(tables_of_keys)  # type: ignore[untyped-decorator]  # numba has no types
def _tables_as_constants() -> Callable[[], Tables]:
    of_byte = _of_bytes()
    hashes, kinds = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.int64)
    # All but keys have a mark before them, so that no key is taken for one.
    marked = [
        f"{mark}{word}" for mark, words in zip("\0\1\2", (EMPTY_VALUES, NO_NAMES, UNITS), strict=True) for word in words
    ]
    for text, kind in (*KEYS.items(), *((text, _LISTED) for text in marked)):
        value = _hash(text.encode())
        slot = value % _SLOTS
        while hashes[slot] != 0:
            slot = (slot + 1) % _SLOTS
        hashes[slot], kinds[slot] = value, kind
    prefixes = np.frombuffer(b"".join(PREFIXES), np.uint8).copy()
    edges = np.cumsum([0, *map(len, PREFIXES)]).astype(np.int64)

    phrases = np.frombuffer(b"".join((*PHRASES, *LAST_PHRASES)), np.uint8).copy()
    phrase_edges = np.cumsum([0, *map(len, (*PHRASES, *LAST_PHRASES))]).astype(np.int64)

    def tables() -> Tables:
        return Tables(of_byte, hashes, kinds, prefixes, edges, phrases, phrase_edges)

    return tables


@inlined
def _is(of_byte: I64, buffer: U8, at: int, bit: int) -> bool:
    return bool(of_byte[buffer[at]] & bit)


@inlined
def _begins(of_byte: I64, buffer: U8, first: int, at: int) -> bool:
    """Tell whether a value may begin at `at`."""
    if at == first or not _is(of_byte, buffer, at - 1, _WORD):
        return True
    byte = buffer[at - 1]
    return (byte == 0x6E or byte == 0x72 or byte == 0x74) and at - 2 >= first and buffer[at - 2] == 0x5C


@inlined
def _goes_on(of_byte: I64, buffer: U8, at: int, end: int) -> bool:
    """Tell whether a dot and a digit follow."""
    return at + 1 < end and buffer[at] == 0x2E and _is(of_byte, buffer, at + 1, _DIGIT)


@inlined
def keep(hits: I64, count: int, row: int, start: int, end: int, kind: int) -> int:
    """Put a hit behind the first `count`; return how many there are then."""
    hits[count, ROW] = row
    hits[count, START] = start
    hits[count, END] = end
    hits[count, KIND] = kind
    return count + 1


@kernel
def _find_ipv4(of_byte: I64, buffer: U8, first: int, end: int, row: int, hits: I64, count: int) -> int:
    at = first
    while at < end:
        if not _is(of_byte, buffer, at, _DIGIT):
            at += 1
            continue
        start = at
        goes_on = start - 2 >= first and buffer[start - 1] == 0x2E and _is(of_byte, buffer, start - 2, _DIGIT)
        octets = 0
        after = -1
        while at < end:
            number = 0
            digits = 0
            while at < end and _is(of_byte, buffer, at, _DIGIT):
                digits += 1
                number = min(number * 10 + buffer[at] - 0x30, 1000)
                at += 1
            if octets == 0:
                after = at  # where the next look begins if this is none
            if digits < 1 or digits > 3 or number > 255:
                break
            octets += 1
            if octets == 4 or not _goes_on(of_byte, buffer, at, end):
                break
            at += 1
        if octets == 4 and not goes_on and not _goes_on(of_byte, buffer, at, end):
            count = keep(hits, count, row, start, at, IP)
        else:
            at = after
    return count


@kernel
def _is_ipv6(of_byte: I64, buffer: U8, start: int, end: int) -> bool:
    """Tell whether hexadecimal digits and colons are an address, maybe with a port."""
    groups = 0
    gaps = 0
    colons = 0
    digits = 0
    has_digit = False
    in_octets = True
    at = start
    while at < end:
        if buffer[at] != 0x3A:
            digits += 1
            has_digit = has_digit or _is(of_byte, buffer, at, _DIGIT)
            at += 1
            continue
        if digits > 4:
            return False
        groups += digits > 0
        in_octets = in_octets and digits == 2
        if digits == 0 and at > start:
            return False
        digits = 0
        colons += 1
        at += 1
        if at < end and buffer[at] == 0x3A:
            gaps += 1
            colons += 1
            at += 1
            if at < end and buffer[at] == 0x3A:
                return False
        elif at == start + 1:
            return False  # one colon begins it
    if digits > 5 or not has_digit:
        return False
    groups += digits > 0
    if gaps == 0:
        if in_octets and digits == 2:
            return False  # of hardware, eight of them: a world-wide name
        return digits > 0 and groups >= 8 and groups <= 9
    return gaps == 1 and colons <= 8


@kernel
def _find_ipv6(of_byte: I64, buffer: U8, first: int, end: int, row: int, hits: I64, count: int) -> int:
    at = first
    while at < end:
        if not _is(of_byte, buffer, at, _HEX) and buffer[at] != 0x3A:
            at += 1
            continue
        start = at
        colons = 0
        while at < end and (_is(of_byte, buffer, at, _HEX) or buffer[at] == 0x3A):
            colons += buffer[at] == 0x3A
            at += 1
        if colons < 2 or (at < end and _is(of_byte, buffer, at, _WORD)) or _goes_on(of_byte, buffer, at, end):
            continue
        after = at
        if buffer[start] == 0x3A and buffer[start + 1] != 0x3A:
            start += 1
        elif not _begins(of_byte, buffer, first, start):
            continue
        if buffer[after - 1] == 0x3A and buffer[after - 2] != 0x3A:
            after -= 1
        if _is_ipv6(of_byte, buffer, start, after):
            count = keep(hits, count, row, start, after, IP)
    return count


@inlined
def _look_up(hashes: U64, kinds: I64, value: Any) -> int:
    """Return the kind that goes with a hash, NO_KIND for one that is not in the table."""
    slot = np.int64(value & np.uint64(_SLOTS - 1))
    while hashes[slot] != 0:
        if hashes[slot] == value:
            return int(kinds[slot])
        slot = (slot + 1) & (_SLOTS - 1)
    return NO_KIND


@inlined
def _is_listed(of_byte: I64, hashes: U64, kinds: I64, buffer: U8, start: int, end: int, mark: int) -> bool:
    """Tell whether a short text stands in a list of words: 0 empty values, 1 no names, 2 units."""
    if end - start >= 16:
        return False
    value = (_FNV_START ^ np.uint64(mark)) * _FNV_PRIME
    for at in range(start, end):
        byte = np.uint64(buffer[at] | 0x20 if _is(of_byte, buffer, at, _UPPER) else buffer[at])
        value = (value ^ byte) * _FNV_PRIME
    return _look_up(hashes, kinds, value) == _LISTED


@inlined
def _is_domain(of_byte: I64, hashes: U64, kinds: I64, buffer: U8, start: int, end: int) -> bool:
    if start == end or buffer[start] == 0x2E or buffer[start] == 0x2D:
        return False
    label = end
    while label > start and buffer[label - 1] != 0x2E:
        label -= 1
    if label == start or end - label < 2 or buffer[label] < 0x41:
        return False
    return not _is_listed(of_byte, hashes, kinds, buffer, label, end, 2)


@kernel
def _find_addresses(
    of_byte: I64,
    hashes: U64,
    kinds: I64,
    buffer: U8,
    first: int,
    end: int,
    row: int,
    hits: I64,
    count: int,
    email: bool,
    token: bool,
    user: bool,
) -> int:
    """Find addresses of mail, and users and passwords of URLs."""
    local = first
    authority = -1
    colon = -1
    for at in range(first, end):
        byte = buffer[at]
        if byte == 0x40:
            if authority >= 0 and colon >= 0 and at > colon + 1:
                if user and colon > authority:
                    count = keep(hits, count, row, authority, colon, USER)
                if token:
                    count = keep(hits, count, row, colon + 1, at, TOKEN)
            elif email and local < at:
                after = at + 1
                while after < end and _is(of_byte, buffer, after, _DOMAIN):
                    after += 1
                while after > at + 1 and (buffer[after - 1] == 0x2E or buffer[after - 1] == 0x2D):
                    after -= 1
                if _is_domain(of_byte, hashes, kinds, buffer, at + 1, after):
                    count = keep(hits, count, row, local, after, EMAIL)
            authority = -1
            colon = -1
        elif byte == 0x3A:
            if authority >= 0 and colon < 0:
                colon = at
        elif byte == 0x2F:
            authority = -1
            colon = -1
            if at - 2 >= first and buffer[at - 1] == 0x2F and buffer[at - 2] == 0x3A:
                authority = at + 1
        elif byte <= 0x20 or byte == 0x22 or byte == 0x27 or byte == 0x3C or byte == 0x3E:
            authority = -1
            colon = -1
        if not _is(of_byte, buffer, at, _LOCAL):
            local = at + 1
    return count


@inlined
def _is_issued(digits: int, two: int, four: int) -> bool:
    if two >= 40 and two <= 49:
        return digits == 13 or digits == 16 or digits == 19
    if (two >= 51 and two <= 55) or (four >= 2221 and four <= 2720):
        return digits == 16
    if two == 34 or two == 37:
        return digits == 15
    if two == 30 or two == 36 or two == 38 or two == 39:
        return digits >= 14
    if two == 35 or (two >= 60 and two <= 69):
        return digits >= 16
    return two == 50 or two == 56 or two == 57 or two == 58


@kernel
def _find_cards(of_byte: I64, buffer: U8, first: int, end: int, row: int, hits: I64, count: int) -> int:
    at = first
    while at < end:
        if not _is(of_byte, buffer, at, _DIGIT):
            at += 1
            continue
        start = at
        before = buffer[start - 1] if start > first else np.uint8(0)
        is_later = (before == 0x2E or before == 0x2D) and start - 2 >= first and _is(of_byte, buffer, start - 2, _DIGIT)
        can_begin = _begins(of_byte, buffer, first, start) and not is_later
        digits = 0
        two = 0
        four = 0
        # The sums of digits with those of even places doubled, and with those of odd places.
        even = 0
        odd = 0
        separator = np.uint8(0)
        best = -1
        after = -1
        is_grouped = False
        place = at
        while True:
            while place < end and _is(of_byte, buffer, place, _DIGIT):
                digit = int(buffer[place]) - 0x30
                doubled = 2 * digit - 9 if digit > 4 else 2 * digit
                if digits % 2 == 0:
                    even += doubled
                    odd += digit
                else:
                    even += digit
                    odd += doubled
                if digits < 2:
                    two = two * 10 + digit
                if digits < 4:
                    four = four * 10 + digit
                digits += 1
                place += 1
            if after < 0:
                after = place
                is_grouped = digits == 4
            if not can_begin or digits > 19:
                break
            follows = buffer[place] if place < end else np.uint8(0)
            is_whole = not (place < end and _is(of_byte, buffer, place, _WORD)) and not _goes_on(
                of_byte, buffer, place, end
            )
            total = even if digits % 2 == 0 else odd
            if digits >= 13 and is_whole and total % 10 == 0 and _is_issued(digits, two, four):
                best = place
            if not is_grouped or (follows != 0x20 and follows != 0x2D) or (separator != 0 and separator != follows):
                break
            if place + 1 >= end or not _is(of_byte, buffer, place + 1, _DIGIT):
                break
            separator = follows
            place += 1
        if best >= 0:
            count = keep(hits, count, row, start, best, CARD)
            at = best
        else:
            at = after
    return count


@kernel
def _has_prefix(buffer: U8, start: int, end: int, prefixes: U8, edges: I64) -> bool:
    for number in range(edges.size - 1):
        length = edges[number + 1] - edges[number]
        place = 0
        while place < length and start + place < end and buffer[start + place] == prefixes[edges[number] + place]:
            place += 1
        if place == length:
            return True
    return False


@inlined
def _is_scheme(buffer: U8, start: int, end: int) -> bool:
    """Tell whether it is `Bearer` or `Basic`, in whatever case."""
    if end - start == 6:
        letters = (0x62, 0x65, 0x61, 0x72, 0x65, 0x72)
        for place in range(6):
            if buffer[start + place] | 0x20 != letters[place]:
                return False
        return True
    if end - start == 5:
        word = (0x62, 0x61, 0x73, 0x69, 0x63)
        for place in range(5):
            if buffer[start + place] | 0x20 != word[place]:
                return False
        return True
    return False


@kernel
def _find_pieces(
    of_byte: I64, buffer: U8, first: int, end: int, row: int, hits: I64, count: int, prefixes: U8, edges: I64
) -> int:
    """Find JSON Web Tokens, services' keys, and what follows `Bearer`."""
    at = first
    while at < end:
        if not _is(of_byte, buffer, at, _PIECE):
            at += 1
            continue
        start = at
        is_word = True
        while at < end and _is(of_byte, buffer, at, _PIECE):
            is_word = is_word and not _is(of_byte, buffer, at, _DIGIT | _UPPER)
            at += 1
        after = at
        if after - start >= 10 and buffer[start] == 0x65 and buffer[start + 1] == 0x79 and buffer[start + 2] == 0x4A:
            while at + 1 < end and buffer[at] == 0x2E and _is(of_byte, buffer, at + 1, _PIECE):
                at += 1
                while at < end and _is(of_byte, buffer, at, _PIECE):
                    at += 1
            if at > after:
                count = keep(hits, count, row, start, at, TOKEN)
        if not is_word and after - start >= 20 and _has_prefix(buffer, start, after, prefixes, edges):
            count = keep(hits, count, row, start, after, TOKEN)
        if after + 1 < end and buffer[after] == 0x20 and _is_scheme(buffer, start, after):
            value = after + 2 if buffer[after + 1] == 0x20 else after + 1
            stop = value
            uppers = 0
            is_sure = False
            while stop < end and _is(of_byte, buffer, stop, _SCHEMED):
                is_sure = is_sure or buffer[stop] == 0x3D or _is(of_byte, buffer, stop, _DIGIT)
                uppers += stop > value and _is(of_byte, buffer, stop, _UPPER)
                stop += 1
            if stop - value >= 8 and (is_sure or uppers > 1):
                count = keep(hits, count, row, value, stop, TOKEN)
    return count


@kernel
def _is_told(buffer: U8, first: int, start: int) -> bool:
    """Tell whether a blank stands before `start`, and before it what calls a token so."""
    for word in (b"secret ", b"session ", b"token ", b"password "):
        place = len(word)
        while place > 0 and start - first >= len(word) and buffer[start - len(word) + place - 1] == word[place - 1]:
            place -= 1
        if place == 0:
            return True
    return False


@kernel
def _find_random(of_byte: I64, buffer: U8, first: int, end: int, row: int, hits: I64, count: int) -> int:
    """Find long runs of hexadecimal digits and of base64."""
    at = first
    while at < end:
        if not _is(of_byte, buffer, at, _BASE64):
            at += 1
            continue
        start = at
        seen = np.int64(0)
        of_all = of_byte[buffer[at]]
        changes = 0
        former = np.int64(0)
        while at < end and _is(of_byte, buffer, at, _BASE64):
            every = of_byte[buffer[at]]
            own = every & (_UPPER | _LOWER | _DIGIT)
            changes += former != 0 and own != 0 and own != former
            former = own
            seen |= own
            of_all &= every
            at += 1
        length = at - start
        if length < LEAST_RANDOM:
            continue
        if of_all & _HEX and seen & (_UPPER | _LOWER) != _UPPER | _LOWER:
            is_digest = False
            for digest in DIGEST_LENGTHS:
                is_digest = is_digest or length == digest
            if not is_digest or _is_told(buffer, first, start):
                count = keep(hits, count, row, start, at, TOKEN)
        elif seen == _UPPER | _LOWER | _DIGIT and 5 * changes >= 2 * (length - 1):
            for _ in range(2):
                if at < end and buffer[at] == 0x3D:
                    at += 1
            count = keep(hits, count, row, start, at, TOKEN)
    return count


@kernel
def _kind_of_key(of_byte: I64, hashes: U64, kinds: I64, buffer: U8, start: int, end: int) -> int:
    """Tell what a value with that key is: by all of the key's words, the last two, or the last."""
    whole = _FNV_START
    two = _FNV_START
    last = _FNV_START
    former = np.int64(0)
    for at in range(start, end):
        own = of_byte[buffer[at]] & (_UPPER | _LOWER | _DIGIT)
        if own == 0:
            former = own
            continue
        if former == 0 or (own == _UPPER and former != _UPPER):
            two = last
            last = _FNV_START
        former = own
        byte = np.uint64(buffer[at] | 0x20 if own == _UPPER else buffer[at])
        whole = (whole ^ byte) * _FNV_PRIME
        two = (two ^ byte) * _FNV_PRIME
        last = (last ^ byte) * _FNV_PRIME
    for value in (whole, two, last):
        kind = _look_up(hashes, kinds, value)
        if kind >= 0:
            return kind
    return NO_KIND


@kernel
def has_form(of_byte: I64, hashes: U64, kinds: I64, buffer: U8, start: int, end: int, kind: int) -> bool:
    """Tell whether a value that is called as `kind` is one."""
    if start >= end or kind == IP:
        return False
    if _is_listed(of_byte, hashes, kinds, buffer, start, end, 0):
        return False
    if kind == EMAIL:
        for at in range(start, end):
            if buffer[at] == 0x40:
                return True
        return False
    if kind == CARD:
        digits = 0
        for at in range(start, end):
            digits += _is(of_byte, buffer, at, _DIGIT)
        return digits >= 12
    return True


@inlined
def _is_quote(buffer: U8, at: int) -> bool:
    return bool(buffer[at] == 0x22 or buffer[at] == 0x27)


@inlined
def _skip_blanks(buffer: U8, at: int, end: int) -> int:
    for _ in range(2):
        if at < end and (buffer[at] == 0x20 or buffer[at] == 0x09):
            at += 1
    return at


@kernel
def _delimiter_end(buffer: U8, start: int, at: int, end: int) -> int:
    """Return where the delimiter behind a key ends, -1 where there is none."""
    key_end = at
    if at + 1 < end and buffer[at] == 0x5C and (buffer[at + 1] == 0x22 or buffer[at + 1] == 0x27):
        at += 2
    elif at < end and (buffer[at] == 0x22 or buffer[at] == 0x27):
        at += 1
    at = _skip_blanks(buffer, at, end)
    if at < end and buffer[at] == 0x3D:
        at += 1
        if at < end and (buffer[at] == 0x3D or buffer[at] == 0x3E):
            at += 1
        return _skip_blanks(buffer, at, end)
    if at < end and buffer[at] == 0x3A:
        if at + 1 < end and buffer[at + 1] == 0x3D:
            if not (at + 2 < end and (buffer[at + 2] == 0x3A or buffer[at + 2] == 0x2F)):
                return _skip_blanks(buffer, at + 2, end)
            return _skip_blanks(buffer, at + 1, end)
        if not (at + 1 < end and (buffer[at + 1] == 0x3A or buffer[at + 1] == 0x2F)):
            return _skip_blanks(buffer, at + 1, end)
    is_option = key_end - start >= 2 and buffer[start] == 0x2D and buffer[start + 1] == 0x2D
    if is_option and key_end < end and (buffer[key_end] == 0x20 or buffer[key_end] == 0x09):
        if not (key_end + 1 < end and buffer[key_end + 1] == 0x2D):
            return key_end + 1
    return -1


@kernel
def _value_within(of_byte: I64, buffer: U8, at: int, end: int, whole: int, kind: int) -> tuple[int, int]:
    """Return the span of the value that begins at `at`, of what is before `end`; the text ends at `whole`."""
    if at + 1 < end and buffer[at] == 0x5B:
        if buffer[at + 1] == 0x22 or buffer[at + 1] == 0x27 or buffer[at + 1] == 0x5C:
            at += 1  # the first of a list
    start = at
    if at + 1 < end and buffer[at] == 0x5C and (buffer[at + 1] == 0x22 or buffer[at + 1] == 0x27):
        start = at = at + 2
        while at < end and buffer[at] != 0x5C:
            at += 1
        return start, at
    if at < end and (buffer[at] == 0x22 or buffer[at] == 0x27):
        quote = buffer[at]
        start = at = at + 1
        while at < end and buffer[at] != quote:
            if buffer[at] == 0x5C:
                if at + 1 >= end:
                    break
                at += 1
            at += 1
        return start, at
    if kind != LINE and at < end and buffer[at] == 0x3C:
        start = at = at + 1
        while at < end and buffer[at] > 0x20 and buffer[at] != 0x3C and buffer[at] != 0x3E:
            at += 1
        return start, at
    if kind == LINE:
        while at < end:
            byte = buffer[at]
            if byte == 0x0A or byte == 0x0D or byte == 0x22 or byte == 0x27 or byte == 0x5C:
                break
            at += 1
    else:
        while at < end and _is(of_byte, buffer, at, _BARE):
            at += 1
        if at > start and at < whole and at - start <= MOST_DOUBTFUL and buffer[at - 1] == 0x3D:
            if buffer[at] == 0x3C or buffer[at] == 0x22 or buffer[at] == 0x27:
                return start, start
    while at > start and (buffer[at - 1] == 0x2E or buffer[at - 1] == 0x3A or buffer[at - 1] == 0x20):
        at -= 1
    return start, at


@kernel
def _value_of_key(of_byte: I64, hashes: U64, kinds: I64, buffer: U8, at: int, end: int, kind: int) -> tuple[int, int]:
    """Return the span of the value that begins at `at`, an empty one if it turns out to be none."""
    if kind == EMAIL or kind == CARD:
        value_start, value_end = _value_within(of_byte, buffer, at, min(end, at + MOST_DOUBTFUL), end, kind)
        if not has_form(of_byte, hashes, kinds, buffer, value_start, value_end, kind):
            return at, at
    return _value_within(of_byte, buffer, at, end, end, kind)


@kernel
def _find_keyed(
    of_byte: I64,
    hashes: U64,
    kinds: I64,
    buffer: U8,
    first: int,
    end: int,
    row: int,
    hits: I64,
    count: int,
    wanted: U8,
) -> int:
    """Find what stands behind a key."""
    at = first
    start = first
    key_end = -1
    while at < end:
        if not _is(of_byte, buffer, at, _KEY):
            at += 1
            continue
        former = start
        is_second = key_end >= 0 and at == key_end + 1 and buffer[key_end] == 0x20
        start = at
        while at < end and _is(of_byte, buffer, at, _KEY):
            at += 1
        key_end = at
        begin = _delimiter_end(buffer, start, at, end)
        is_quoted = begin < 0 and at + 1 < end and buffer[at] == 0x20 and _is_quote(buffer, at + 1)
        if is_quoted:
            begin = at + 1
        if begin < 0:
            continue
        kind = _kind_of_key(of_byte, hashes, kinds, buffer, start, at)
        if is_second:
            both = _kind_of_key(of_byte, hashes, kinds, buffer, former, at)
            if kind < 0 or both == NEVER:
                kind = both
        if kind < 0 or kind == NEVER:
            continue
        if is_quoted and kind != USER:
            is_password = at - start > 1 and buffer[start] | 0x20 == 0x70 and buffer[start + 1] | 0x20 == 0x61
            if kind != TOKEN or not is_password:
                continue
        if begin < end and buffer[begin] == 0x2F and at - start == 3:
            if buffer[start] == 0x50 and buffer[start + 1] == 0x57 and buffer[start + 2] == 0x44:
                continue  # the working directory
        value_start, value_end = _value_of_key(of_byte, hashes, kinds, buffer, begin, end, kind)
        kind = TOKEN if kind == LINE else kind
        if has_form(of_byte, hashes, kinds, buffer, value_start, value_end, kind):
            if wanted[kind]:
                count = keep(hits, count, row, value_start, value_end, kind)
            at = value_end
    return count


@kernel
def _phrase_before(of_byte: I64, buffer: U8, first: int, end: int, phrases: U8, edges: I64) -> int:
    """Return which phrase ends at `end`, the first of them that does, or -1."""
    for number in range(edges.size - 1):
        length = edges[number + 1] - edges[number]
        if end - first < length:
            continue
        if end - first > length and _is(of_byte, buffer, end - length - 1, _UPPER | _LOWER):
            continue
        place = length
        while place > 0:
            byte = buffer[end - length + place - 1]
            if of_byte[byte] & _UPPER:
                byte = byte | np.uint8(0x20)
            if byte != phrases[edges[number] + place - 1]:
                break
            place -= 1
        if place == 0:
            return number
    return -1


@inlined
def _says(buffer: U8, at: int, end: int, text: bytes) -> bool:
    """Tell whether `text` stands at `at`."""
    place = 0
    while place < len(text) and at + place < end and buffer[at + place] == text[place]:
        place += 1
    return place == len(text)


@kernel
def _is_user(
    of_byte: I64, buffer: U8, first: int, start: int, stop: int, after: int, end: int, phrases: U8, edges: I64
) -> bool:
    """Tell whether what stands around a name, start .. stop, says that it is a user's; dots end it at `after`."""
    before = buffer[start - 1] if start > first else np.uint8(0)
    of_sudo = _says(buffer, stop, end, b" : TTY=") or _says(buffer, stop, end, b" : PWD=")
    of_sudo = (
        of_sudo or _says(buffer, stop, end, b" : command not allowed") or _says(buffer, stop, end, b" : user NOT in")
    )
    if of_sudo or _says(buffer, stop, end, b"(uid="):
        return start == first or before == 0x20
    if before == 0x27 and _says(buffer, stop, end, b"'@'"):
        return True
    if before != 0x20:
        return False
    if start - 3 >= first and buffer[start - 2] == 0x2D and buffer[start - 3] == 0x20:
        if stop + 5 < end and _says(buffer, stop, end, b" [") and buffer[stop + 4] == 0x2F:
            is_day = _is(of_byte, buffer, stop + 2, _DIGIT) and _is(of_byte, buffer, stop + 3, _DIGIT)
            if is_day and _is(of_byte, buffer, stop + 5, _UPPER):
                return True
    if start - 2 < first or buffer[start - 2] | 0x20 != 0x72:
        return False  # all phrases end with `r`
    phrase = _phrase_before(of_byte, buffer, first, start - 1, phrases, edges)
    if phrase < 0:
        return False
    if phrase < _SURE or after == end:
        return True
    byte = buffer[after]
    if byte == 0x28 or byte == 0x29 or byte == 0x3A or byte == 0x3B or byte == 0x2C:
        return True
    return bool(byte == 0x0D or byte == 0x0A)


@kernel
def _find_users(
    of_byte: I64,
    hashes: U64,
    kinds: I64,
    buffer: U8,
    first: int,
    end: int,
    row: int,
    hits: I64,
    count: int,
    token: bool,
    user: bool,
    phrases: U8,
    edges: I64,
) -> int:
    """Find users by what stands around them, and what `-u` has behind one."""
    at = first
    while at < end:
        if not _is(of_byte, buffer, at, _NAME):
            at += 1
            continue
        start = at
        stop = at
        has_word = False
        while at < end and _is(of_byte, buffer, at, _NAME):
            has_word = has_word or _is(of_byte, buffer, at, _WORD)
            at += 1
            if buffer[at - 1] != 0x2E:
                stop = at
        if start - 3 >= first and _says(buffer, start - 3, end, b"-u ") and at < end and buffer[at] == 0x3A:
            password = at + 1
            while password < end and buffer[password] > 0x20 and not _is_quote(buffer, password):
                password += 1
            if password > at + 1 and (start - 3 == first or buffer[start - 4] <= 0x20):
                if user:
                    count = keep(hits, count, row, start, at, USER)
                if token:
                    count = keep(hits, count, row, at + 1, password, TOKEN)
                at = password
                continue
        if not user or not has_word or not _is_user(of_byte, buffer, first, start, stop, at, end, phrases, edges):
            continue
        if not _is_listed(of_byte, hashes, kinds, buffer, start, stop, 1):
            count = keep(hits, count, row, start, stop, USER)
    return count


@inlined
def most_hits(size: int) -> int:
    """Return a number that `find` never exceeds in regions of `size` bytes together.

    Of each kind a value takes some bytes: IPv4 8 with what parts it from the next, IPv6 4, mail 5, a URL's two 7, that
    of a key 5, a card 14, tokens 11 and 33, a user by what stands around it 4.
    """
    return size + (size >> 1) + 8


@kernel
def find(buffer: U8, first: int, end: int, row: int, wanted: U8, hits: I64, count: int) -> int:
    """Find the values in buffer[first:end], each kind's in ascending order; return how many hits there are then."""
    tables = tables_of_keys()
    of_byte = tables.of_byte
    dots = digits = colons = 0
    piece = base64 = 0
    at_signs = False
    delimiters = False
    long_pieces = long_runs = False
    users = False
    for at in range(first, end):
        byte = buffer[at]
        own = of_byte[byte]
        digits += (own & _DIGIT) != 0
        if own & _PIECE:
            piece += 1
            long_pieces = long_pieces or piece >= 10
            if byte == 0x2D and piece > 1 and buffer[at - 1] == 0x2D:
                delimiters = True
        else:
            if (piece == 5 or piece == 6) and buffer[at - piece] | 0x20 == 0x62:
                long_pieces = True
            piece = 0
            before = buffer[at - 1] if at > first else np.uint8(0)
            if byte == 0x20:
                users = users or before | 0x20 == 0x72 or before == 0x75
            elif byte == 0x2E:
                dots += 1
            elif byte == 0x3A:
                colons += 1
                users = users or before == 0x20
            elif byte == 0x3D:
                delimiters = True
            elif byte == 0x40:
                at_signs = True
                users = users or before == 0x27
            elif byte == 0x22 or byte == 0x27:
                delimiters = delimiters or before == 0x20
            elif byte == 0x5B:
                users = users or before == 0x20
            elif byte == 0x28:
                users = users or (at + 1 < end and buffer[at + 1] == 0x75)
        base64 = base64 + 1 if own & _BASE64 else 0
        long_runs = long_runs or base64 >= LEAST_RANDOM
    if wanted[IP]:
        if dots >= 3 and digits >= 4:
            count = _find_ipv4(of_byte, buffer, first, end, row, hits, count)
        if colons >= 2:
            count = _find_ipv6(of_byte, buffer, first, end, row, hits, count)
    if at_signs and (wanted[EMAIL] or wanted[TOKEN] or wanted[USER]):
        email, token, user = wanted[EMAIL] != 0, wanted[TOKEN] != 0, wanted[USER] != 0
        count = _find_addresses(
            of_byte, tables.hashes, tables.kinds, buffer, first, end, row, hits, count, email, token, user
        )
    if wanted[TOKEN]:
        if long_pieces:
            count = _find_pieces(of_byte, buffer, first, end, row, hits, count, tables.prefixes, tables.prefix_edges)
        if long_runs:
            count = _find_random(of_byte, buffer, first, end, row, hits, count)
    if wanted[CARD] and digits >= 13:
        count = _find_cards(of_byte, buffer, first, end, row, hits, count)
    if users and (wanted[USER] or wanted[TOKEN]):
        token, user = wanted[TOKEN] != 0, wanted[USER] != 0
        phrases, phrase_edges = tables.phrases, tables.phrase_edges
        count = _find_users(
            of_byte,
            tables.hashes,
            tables.kinds,
            buffer,
            first,
            end,
            row,
            hits,
            count,
            token,
            user,
            phrases,
            phrase_edges,
        )
    if delimiters or colons > 0:
        count = _find_keyed(of_byte, tables.hashes, tables.kinds, buffer, first, end, row, hits, count, wanted)
    return count
