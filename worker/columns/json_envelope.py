"""Opens JSON envelopes in place: one pass that validates, then message, time, level and the other members' bytes.

The reference is `JsonEnvelope` in `worker.codec.envelopes.structured`. What is unusual is left to it, row by row:
anything invalid, line ends between tokens, nested messages and times, surrogates without their halves, escapes in
names, repeated names. Nothing is read outside a row's value, whatever its bytes are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import numba
import numpy as np

from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.layout import I64, NO_TIME, U8
from worker.columns.names import Names, find_name, lay_out_names
from worker.columns.text import _CHUNK, _run, utf8_length
from worker.columns.written_times import UNSURE, read_time

#: What `open_json` says of a row: it was not alive, it is done, the reference must open it.
SKIPPED, DONE, UNUSUAL = 0, 1, 2

#: What an attribute's name starts with whose own name is taken, with its quote.
_PREFIX = np.frombuffer(bytearray(b'"envelope.'), np.uint8)
#: Bytes that `open_json` needs for attributes beyond those of the values.
ATTRIBUTES_ROOM = 1024
#: Members of one object, beyond which the reference takes over.
_MAX_MEMBERS = 64
#: Levels of nesting that fit the bits of the stack.
_MAX_DEPTH = 60
#: Kinds of values.
_STRING, _NUMBER, _LITERAL, _NULL, _OBJECT, _ARRAY = range(6)
#: Columns of a field's roles.
_MESSAGE, _TIME, _LEVEL, _LEVEL_HOLDER, _LEVEL_INSIDE, _HEAD, _TAKEN, _ASKS = range(8)
#: Columns of the table of members.
_KEY, _KEY_END, _START, _END, _KIND, _ESCAPE, _COLLIDES, _GONE = range(8)
#: What `_scan` is waiting for.
_VALUE, _VALUE_OR_END, _NAME, _NAME_OR_END, _COMMA_OR_END = range(5)


F = TypeVar("F", bound=Callable[..., object])


def _merged(function: F) -> F:
    """Put `function` into the one kernel that calls it before types are found: a call with arrays costs 5 to 10 ns."""
    return cast("F", numba.njit(inline="always", error_model="numpy")(function))


class FieldTable(NamedTuple):
    """Names that mean something, and what they mean."""

    #: Names of fields; their meaning is a row of `roles`.
    fields: Names
    #: Per name: rank as message, as time, as level, as object that holds a level, as level inside of one (-1 for none
    #: of these), 1 for an object that the reference must look into, 1 for a name that attributes must not take,
    #: 1 for one that only the reference can rename, (names, 8).
    roles: I64
    #: Upper-case words of levels; their meaning is a severity.
    levels: Names
    #: Most paths of one role.
    ranks: int


def field_table(
    *,
    message: Sequence[str],
    timestamp: Sequence[str],
    level: Sequence[str],
    reserved: frozenset[str],
    severity_of_word: Mapping[bytes, int],
) -> FieldTable:
    """Lay out what `open_json` looks for."""
    roles: dict[str, list[int]] = {}

    def role(name: str) -> list[int]:
        return roles.setdefault(name, [-1, -1, -1, -1, -1, 0, 0, 0])

    for column, paths in ((_MESSAGE, message), (_TIME, timestamp), (_LEVEL, level)):
        for rank, path in enumerate(paths):
            if role(path)[column] < 0:
                role(path)[column] = rank
            head, dot, rest = path.partition(".")
            simple = column == _LEVEL and "." not in rest
            if simple and dot and role(head)[_LEVEL_HOLDER] < 0 and role(rest)[_LEVEL_INSIDE] < 0:
                role(head)[_LEVEL_HOLDER] = role(rest)[_LEVEL_INSIDE] = rank
            elif dot:
                role(head)[_HEAD] = 1
    for name in reserved:
        # The reference finds a name where the prefixed one is taken too.
        role(name)[_ASKS if f"envelope.{name}" in reserved else _TAKEN] = 1
    return FieldTable(
        fields=lay_out_names([name.encode() for name in roles], range(len(roles))),
        roles=np.array(list(roles.values()), np.int64).reshape(-1, 8),
        levels=lay_out_names(list(severity_of_word), list(severity_of_word.values())),
        ranks=max(len(message), len(timestamp), len(level), 1),
    )


@kernel
def _hex(buffer: U8, at: int, end: int) -> int:
    """Read four hexadecimal digits, -1 if there are none."""
    if at + 4 > end:
        return -1
    value = 0
    for place in range(at, at + 4):
        byte = int(buffer[place]) - 48
        if byte < 0 or byte > 9:
            byte = ((byte + 48) | 32) - 87
            if byte < 10 or byte > 15:
                return -1
        value = value * 16 + byte
    return value


@kernel
def _string(buffer: U8, at: int, end: int) -> tuple[int, int]:
    """Return where the closing quote of a string is, whose first byte is at `at`, and its first backslash, or -1.

    The quote is -1 for a string that the reference must read: broken, or with surrogates that are no pair.
    """
    escape = -1
    while at < end:
        if at + _CHUNK <= buffer.size:
            run = _run(buffer, at, True)
            at += run
            if run == _CHUNK:
                continue
            if at >= end:
                break
        byte = int(buffer[at])
        if byte == 0x22:
            return at, escape
        if byte == 0x5C:
            if escape < 0:
                escape = at
            if at + 1 >= end:
                break
            letter = int(buffer[at + 1])
            if letter == 0x75:
                code = _hex(buffer, at + 2, end)
                if code < 0:
                    break
                if code >= 0xD800 and code <= 0xDFFF:
                    if code >= 0xDC00 or at + 8 > end or buffer[at + 6] != 0x5C or buffer[at + 7] != 0x75:
                        break
                    low = _hex(buffer, at + 8, end)
                    if low < 0xDC00 or low > 0xDFFF:
                        break
                    at += 6
                at += 6
            elif (
                letter == 0x22
                or letter == 0x5C
                or letter == 0x2F
                or letter == 0x6E
                or letter == 0x74
                or letter == 0x72
                or letter == 0x62
                or letter == 0x66
            ):
                at += 2
            else:
                break
        elif byte >= 0x80:
            length = utf8_length(buffer, at, end)
            if length < 0:
                break
            at += length
        elif byte < 0x20:
            break
        else:
            at += 1
    return -1, escape


@inlined
def _digits(buffer: U8, at: int, end: int) -> int:
    while at < end and buffer[at] >= 48 and buffer[at] <= 57:
        at += 1
    return at


@kernel
def _scalar(buffer: U8, at: int, end: int) -> tuple[int, int]:
    """Return the end and the kind of a number or literal that starts at `at`, -1 if there is none."""
    byte = int(buffer[at])
    if byte == 0x74 or byte == 0x6E:  # true, null
        if at + 4 <= end:
            one, two, three = buffer[at + 1], buffer[at + 2], buffer[at + 3]
            if byte == 0x74 and one == 0x72 and two == 0x75 and three == 0x65:
                return at + 4, _LITERAL
            if byte == 0x6E and one == 0x75 and two == 0x6C and three == 0x6C:
                return at + 4, _NULL
        return -1, 0
    if byte == 0x66:  # false
        if at + 5 <= end and buffer[at + 1] == 0x61 and buffer[at + 2] == 0x6C:
            if buffer[at + 3] == 0x73 and buffer[at + 4] == 0x65:
                return at + 5, _LITERAL
        return -1, 0
    if byte == 0x2D:
        at += 1
    first = at
    at = _digits(buffer, at, end)
    if at == first or (buffer[first] == 48 and at > first + 1):
        return -1, 0
    if at < end and buffer[at] == 0x2E:
        first = at + 1
        at = _digits(buffer, first, end)
        if at == first:
            return -1, 0
    if at < end and (buffer[at] | 32) == 0x65:
        at += 1
        if at < end and (buffer[at] == 0x2B or buffer[at] == 0x2D):
            at += 1
        first = at
        at = _digits(buffer, first, end)
        if at == first:
            return -1, 0
    return at, _NUMBER


@inlined
def _blank(buffer: U8, at: int, end: int) -> int:
    while at < end and (buffer[at] == 0x20 or buffer[at] == 0x09):
        at += 1
    return at


@inlined
def _white(buffer: U8, at: int, end: int) -> int:
    while at < end and (buffer[at] == 0x20 or buffer[at] == 0x09 or buffer[at] == 0x0A or buffer[at] == 0x0D):
        at += 1
    return at


@kernel
def _scan(buffer: U8, at: int, end: int, levels: int, members: I64) -> tuple[int, int]:
    """Read the object whose bracket is at `at`: how many members it has (-1: ask the reference) and the position after.

    `levels`: how deep it may nest, itself included, _MAX_DEPTH at most.
    """
    count = depth = stack = 0  # a bit a level, the innermost lowest: 1 for objects
    waits = _VALUE
    while True:
        at = _blank(buffer, at, end)
        if at >= end:
            return -1, at
        start, kind, escape = at, _STRING, -1
        byte = int(buffer[at])
        if waits == _COMMA_OR_END and byte == 0x2C:
            waits = _NAME if stack & 1 else _VALUE
            at += 1
            continue
        if byte == 0x22 and waits != _COMMA_OR_END:
            quote, escape = _string(buffer, at + 1, end)
            if quote < 0:
                return -1, at
            at = quote + 1
            if waits == _NAME or waits == _NAME_OR_END:
                if depth == 1:
                    if escape >= 0 or count == _MAX_MEMBERS:
                        return -1, at
                    members[count, _KEY], members[count, _KEY_END] = start, quote
                at = _blank(buffer, at, end)
                if at >= end or buffer[at] != 0x3A:
                    return -1, at
                at += 1
                waits = _VALUE
                continue
        elif (byte | 32) == 0x7D:  # } or ]
            if waits == _VALUE or waits == _NAME or byte != (0x7D if stack & 1 else 0x5D):
                return -1, at
            at += 1
            depth -= 1
            kind = _OBJECT if stack & 1 else _ARRAY
            stack >>= 1
            if depth == 0:
                return count, at
            start = members[count, _START]
        elif waits != _VALUE and waits != _VALUE_OR_END:
            return -1, at
        elif (byte | 32) == 0x7B:  # { or [
            if depth == levels:
                return -1, at
            if depth == 1:
                members[count, _START] = at
            depth += 1
            stack = (stack << 1) | (1 if byte == 0x7B else 0)
            waits = _NAME_OR_END if byte == 0x7B else _VALUE_OR_END
            at += 1
            continue
        else:
            at, kind = _scalar(buffer, at, end)
            if at < 0:
                return -1, at
        if depth == 1:
            members[count, _START], members[count, _END] = start, at
            members[count, _KIND], members[count, _ESCAPE] = kind, escape
            members[count, _COLLIDES] = members[count, _GONE] = 0
            count += 1
        waits = _COMMA_OR_END


@kernel
def _repeats(buffer: U8, members: I64, one: int) -> bool:
    """Tell whether an earlier member has the same name."""
    start, length = members[one, _KEY] + 1, members[one, _KEY_END] - members[one, _KEY] - 1
    for other in range(one):
        if members[other, _KEY_END] - members[other, _KEY] - 1 == length:
            own = members[other, _KEY] + 1
            at = 0
            while at < length and buffer[own + at] == buffer[start + at]:
                at += 1
            if at == length:
                return True
    return False


@_merged
def _find_fields(buffer: U8, members: I64, count: int, text: U8, index: I64, roles: I64, found: I64) -> bool:
    """Note which members are message, time and level, and which names are taken; False: ask the reference.

    `found`, (4, ranks), receives the member of each rank as message, time, level and object that holds a level, or -1.
    """
    found[:] = -1
    seen = 0
    for member in range(count):
        start, end = members[member, _KEY] + 1, members[member, _KEY_END]
        length = end - start
        first = int(buffer[start])  # of an empty name, its quote
        bit = 1 << ((length * 7 + first + int(buffer[end - 1]) * 3 + int(buffer[start + (length >> 1)]) * 5) & 63)
        if seen & bit and _repeats(buffer, members, member):
            return False
        seen |= bit
        if length > 7 and (
            # What may be `envelope.`, `logloom.` or `log.record.`
            (first == 0x65 and buffer[start + 8 if length > 8 else start] == 0x2E)
            or (first == 0x6C and (buffer[start + 3] == 0x6C or buffer[start + 4] == 0x72))
        ):
            return False
        place = find_name(text, index, buffer, start, end, False)
        if place < 0:
            continue
        members[member, _COLLIDES] = roles[place, _TAKEN]
        is_object = members[member, _KIND] == _OBJECT
        if roles[place, _ASKS] == 1 or (is_object and roles[place, _HEAD] == 1):
            return False
        for role in range(4):
            if roles[place, role] >= 0 and (role != _LEVEL_HOLDER or is_object):
                found[role, roles[place, role]] = member
    return True


@_merged
def _find_level(
    buffer: U8, members: I64, inner: I64, text: U8, index: I64, roles: I64, words: U8, word_index: I64, found: I64
) -> int:
    """Return the severity of the first level that is one, 0 for none, -1: ask the reference."""
    for rank in range(found.shape[1]):
        table, member = members, found[_LEVEL, rank]
        if member < 0 and found[_LEVEL_HOLDER, rank] >= 0:
            holder = found[_LEVEL_HOLDER, rank]
            table = inner
            count, _ = _scan(buffer, members[holder, _START], members[holder, _END], _MAX_DEPTH, inner)
            if count < 0:
                return -1
            for place in range(count):  # the last of repeated names counts
                name = find_name(text, index, buffer, inner[place, _KEY] + 1, inner[place, _KEY_END], False)
                if name >= 0 and roles[name, _LEVEL_INSIDE] == rank:
                    member = place
        if member < 0:
            continue
        start, end = table[member, _START], table[member, _END]
        if table[member, _KIND] == _STRING:
            if table[member, _ESCAPE] >= 0:
                return -1
            start, end = start + 1, end - 1
        elif table[member, _KIND] != _NUMBER:
            continue
        severity = find_name(words, word_index, buffer, start, end, True)
        if severity > 0:
            return severity
    return 0


@_merged
def _find_time(buffer: U8, members: I64, found: I64, offset: int) -> int:
    """Return the first time that is one, whose member is then gone; NO_TIME for none, UNSURE: ask the reference."""
    for rank in range(found.shape[1]):
        member = found[_TIME, rank]
        if member < 0:
            continue
        start, end = members[member, _START], members[member, _END]
        if members[member, _KIND] == _STRING:
            if members[member, _ESCAPE] >= 0:
                return UNSURE
            start, end = start + 1, end - 1
        elif members[member, _KIND] != _NUMBER:
            continue
        time = read_time(buffer, start, end, offset)
        if time != NO_TIME:
            members[member, _GONE] = 1
            return time
    return NO_TIME


@_merged
def _unescape(buffer: U8, at: int, end: int, target: U8, position: int) -> int:
    """Write what a valid string's bytes mean; return the position after it. Never longer than what is read."""
    while at < end:
        byte = int(buffer[at])
        if byte != 0x5C:
            target[position] = byte
            position += 1
            at += 1
            continue
        letter = int(buffer[at + 1])
        at += 2
        if letter == 0x75:
            code = _hex(buffer, at, end)
            at += 4
            if code >= 0xD800 and code <= 0xDBFF:
                code = 0x10000 + ((code - 0xD800) << 10) + _hex(buffer, at + 2, end) - 0xDC00
                at += 6
            if code < 0x80:
                target[position] = code
                position += 1
            elif code < 0x800:
                target[position] = 0xC0 | (code >> 6)
                target[position + 1] = 0x80 | (code & 63)
                position += 2
            elif code < 0x10000:
                target[position] = 0xE0 | (code >> 12)
                target[position + 1] = 0x80 | ((code >> 6) & 63)
                target[position + 2] = 0x80 | (code & 63)
                position += 3
            else:
                target[position] = 0xF0 | (code >> 18)
                target[position + 1] = 0x80 | ((code >> 12) & 63)
                target[position + 2] = 0x80 | ((code >> 6) & 63)
                target[position + 3] = 0x80 | (code & 63)
                position += 4
            continue
        if letter == 0x6E:
            letter = 0x0A
        elif letter == 0x74:
            letter = 0x09
        elif letter == 0x72:
            letter = 0x0D
        elif letter == 0x62:
            letter = 0x08
        elif letter == 0x66:
            letter = 0x0C
        target[position] = letter
        position += 1
    return position


@_merged
def _write_members(buffer: U8, members: I64, count: int, target: U8, position: int) -> int:
    """Copy the members that are not gone, as they are but for names that are taken; return the position after them."""
    first = position
    run = -1
    for member in range(count + 1):
        breaks = member == count or members[member, _GONE] == 1 or members[member, _COLLIDES] == 1
        if run >= 0 and breaks:  # what stands side by side is copied at once
            length = members[member - 1, _END] - run
            copy_bytes(target, position, buffer, run, length)
            position += length
            run = -1
        if run >= 0 or member == count or members[member, _GONE] == 1:
            continue
        if position > first:
            target[position] = 0x2C
            position += 1
        run = members[member, _KEY]
        if members[member, _COLLIDES] == 1:
            copy_bytes(target, position, _PREFIX, 0, _PREFIX.size)
            position += _PREFIX.size
            run += 1
    return position


@kernel
def open_json(
    buffer: U8,
    value_start: I64,
    value_length: I64,
    text: U8,
    index: I64,
    roles: I64,
    words: U8,
    word_index: I64,
    ranks: int,
    guessed: bool,
    cut_bytes: int,
    offset: int,
    max_depth: int,
    status: U8,
    partial: U8,
    start: I64,
    length: I64,
    attributes_start: I64,
    attributes_length: I64,
    timestamp: I64,
    severity: U8,
    unescaped: U8,
    attributes: U8,
) -> tuple[int, int]:
    """Open each row's value; rows whose length is negative are skipped.

    `text` to `ranks` are those of a FieldTable, `offset` is as `read_time` takes it. Outputs are (n,) but for the last
    two: `unescaped` receives texts that held escapes and needs as many bytes as all values, `attributes` the other
    members, and needs ATTRIBUTES_ROOM more than that. A text's start is in `buffer`, or in `unescaped` after as many
    bytes as `buffer` has. Returns how many bytes of both are used.
    """
    members, inner = np.empty((_MAX_MEMBERS + 1, 8), np.int64), np.empty((_MAX_MEMBERS + 1, 8), np.int64)
    found = np.empty((4, ranks), np.int64)
    levels = min(max_depth, _MAX_DEPTH)
    used = written = 0
    for row in range(value_start.size):
        if value_length[row] < 0:
            status[row] = SKIPPED
            continue
        status[row] = UNUSUAL
        end = value_start[row] + value_length[row]
        at = _white(buffer, value_start[row], end)
        if at >= end or buffer[at] != 0x7B:
            continue
        count, after = _scan(buffer, at, end, levels, members)
        if count < 0 or _white(buffer, after, end) != end:
            continue
        if not _find_fields(buffer, members, count, text, index, roles, found):
            continue
        number = _find_level(buffer, members, inner, text, index, roles, words, word_index, found)
        time = _find_time(buffer, members, found, offset)
        if number < 0 or time == UNSURE or attributes.size - written < value_length[row] + 9 * count + 8:
            continue
        message = -1
        for rank in range(ranks):
            member = found[_MESSAGE, rank]
            if message < 0 and member >= 0 and members[member, _GONE] == 0:
                kind = members[member, _KIND]
                if kind == _STRING or (kind != _NULL and not guessed):
                    message = member
        if message < 0:
            if not guessed:
                continue
            start[row], length[row] = at, after - at
        else:
            if members[message, _KIND] != _STRING:
                continue
            first, last, escape = members[message, _START] + 1, members[message, _END] - 1, members[message, _ESCAPE]
            ended = False
            if escape >= 0 and escape == last - 2 and (buffer[last - 1] == 0x6E or buffer[last - 1] == 0x72):
                ended = buffer[last - 1] == 0x6E
                last -= 2
            elif escape >= 0:
                rest = _unescape(buffer, first, last, unescaped, used)
                if rest > used and unescaped[rest - 1] == 0x0A:
                    ended = True
                    rest -= 1
                if rest > used and unescaped[rest - 1] == 0x0D:
                    rest -= 1
                first, last = buffer.size + used, buffer.size + rest
                used = rest
            start[row], length[row] = first, last - first
            partial[row] = 1 if last - first >= cut_bytes and not ended else 0
            members[message, _GONE] = 1
            attributes_start[row] = written
            written = _write_members(buffer, members, count, attributes, written)
            attributes_length[row] = written - attributes_start[row]
        timestamp[row] = time
        severity[row] = number
        status[row] = DONE
    return used, written
