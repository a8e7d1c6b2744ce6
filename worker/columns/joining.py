"""Rows that belong to one text: which rows go on with the row before, and their bytes side by side.

Knows stack traces of Java, Python, Go, Node and .NET by how their lines begin. Rows are looked at in order, each within
its group (a partition's key, or key and stream); rows of length -1 are passed over.
"""

import numpy as np

from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.layout import I64, U8

#: What `plan_joins` says of a row: it is given out as it is, it is part of a text that another row gives out, it gives
#: out a joined text, it is held back.
ALONE, MERGED, JOINED, HELD = 0, 1, 2, 3

#: Beginnings of lines that go on with a trace whatever stands before them.
_ALWAYS = (
    b"Caused by: ",
    b"Suppressed: ",
    b"Traceback (most recent call last)",
    b"During handling of the above exception",
    b"The above exception was the direct cause",
    b"--- End of ",
    b"---> ",
)
#: Beginnings of lines that go on with a trace that has begun.
_INSIDE = (b"at ", b"... ", b"goroutine ", b"created by ", b"exit status ", b"[signal ")
#: Beginnings of lines that start a trace.
_STARTS = (b"panic: ", b"fatal error: ", b"goroutine ", b"Exception in thread ", b"Unhandled exception")


def _table(words: tuple[bytes, ...]) -> U8:
    """Lay words out in rows of their length and their bytes."""
    table = np.zeros((len(words), 48), np.uint8)
    for row, word in enumerate(words):
        table[row, 0] = len(word)
        table[row, 1 : 1 + len(word)] = np.frombuffer(word, np.uint8)
    return table


_ALWAYS_TABLE, _INSIDE_TABLE, _STARTS_TABLE = _table(_ALWAYS), _table(_INSIDE), _table(_STARTS)
#: The state of a group: nothing, the last line was an exception's name, inside a trace.
_PLAIN, _NAMED, _TRACE = 0, 1, 2


@kernel
def _begins(buffer: U8, start: int, end: int, table: U8) -> int:
    """Return the row of the first word of `table` that the line begins with, -1 for none."""
    for row in range(table.shape[0]):
        length = np.int64(table[row, 0])
        if end - start < length or buffer[start] != table[row, 1]:
            continue
        place = 1
        while place < length and buffer[start + place] == table[row, 1 + place]:
            place += 1
        if place == length:
            return row
    return -1


@kernel
def _exception(buffer: U8, start: int, end: int) -> int:
    """Tell a line that is an exception's name, alone or before a colon: 1 without a dot, 2 with one, 0 for others."""
    dotted = 1
    at = start
    while at < end:
        byte = buffer[at]
        if byte == 0x2E:
            dotted = 2
        elif not ((byte | 0x20 >= 0x61 and byte | 0x20 <= 0x7A) or byte == 0x5F or byte == 0x24):
            if not (at > start and byte >= 0x30 and byte <= 0x39):
                break
        at += 1
    if at == start or (at < end and buffer[at] != 0x3A):
        return 0
    return dotted


@kernel
def _is_error_name(buffer: U8, start: int, end: int) -> bool:
    """Tell whether the name that the line begins with ends as exceptions' names do."""
    at = start
    while at < end and buffer[at] != 0x3A:
        at += 1
    # Exception, Error, Throwable, Failure
    last = np.int64(buffer[at - 1]) if at > start else 0
    length = at - start
    if last == 0x6E:
        return length > 9 and buffer[at - 9] == 0x45 and buffer[at - 8] == 0x78 and buffer[at - 7] == 0x63
    if last == 0x72:
        return length > 5 and buffer[at - 5] == 0x45 and buffer[at - 4] == 0x72 and buffer[at - 3] == 0x72
    if last == 0x65:
        if length > 9 and buffer[at - 9] == 0x54 and buffer[at - 8] == 0x68 and buffer[at - 7] == 0x72:
            return True
        return length > 7 and buffer[at - 7] == 0x46 and buffer[at - 6] == 0x61 and buffer[at - 5] == 0x69
    return False


@kernel
def find_continuations(buffer: U8, start: I64, length: I64, group: I64, groups: int, continues: U8) -> int:
    """Mark rows that go on with the row before them in their group, by the rules of stack traces and indentation.

    `continues`, (n,), receives 0 or 1. Returns how many rows are marked. A group's first row is marked as any other.
    """
    state = np.zeros(groups, np.uint8)
    python = np.zeros(groups, np.uint8)
    go = np.zeros(groups, np.uint8)
    marked = 0
    for row in range(start.size):
        continues[row] = 0
        if length[row] < 0:
            continue
        own = group[row]
        first, end = start[row], start[row] + length[row]
        byte = np.int64(buffer[first]) if first < end else 0
        goes_on = False
        named = False
        if first == end or byte == 0x7D or byte == 0x5D or byte == 0x29:  # an empty line, or one of } ] )
            goes_on = state[own] != _PLAIN
        elif byte == 0x20 or byte == 0x09:
            goes_on = True
        elif (
            byte >= 0x41 or (byte >= 0x2D and byte <= 0x2E) or byte == 0x24
        ):  # no digit: most lines need no closer look
            always = _begins(buffer, first, end, _ALWAYS_TABLE)
            if always >= 0:
                goes_on = True
                if always == 2:  # Python's own heading
                    python[own] = 1
            elif state[own] != _PLAIN and _begins(buffer, first, end, _INSIDE_TABLE) >= 0:
                goes_on = True
                if byte == 0x67:  # goroutine
                    go[own] = 1
            elif state[own] != _PLAIN and go[own] != 0 and buffer[end - 1] == 0x29:  # a function and its arguments
                goes_on = True
            else:
                kind = _exception(buffer, first, end)
                if kind != 0:
                    if python[own] != 0:  # whatever it is called, the name ends Python's trace
                        goes_on = True
                        python[own] = 0
                    elif kind == 2 and _is_error_name(buffer, first, end):
                        # A line that is nothing but exceptions after exceptions is a log of exceptions.
                        goes_on = state[own] != _NAMED
                        named = True
        if goes_on:
            continues[row] = 1
            marked += 1
            state[own] = _NAMED if named else _TRACE
            continue
        python[own] = 0
        started = _begins(buffer, first, end, _STARTS_TABLE) if first < end else -1
        go[own] = 1 if started >= 0 and started < 3 else 0
        state[own] = _TRACE if started >= 0 else (_NAMED if named else _PLAIN)
    return marked


@inlined
def _same(buffer: U8, one: int, other: int, length: int) -> bool:
    at = 0
    while at < length and buffer[one + at] == buffer[other + at]:
        at += 1
    return at >= length  # the length of a null key is -1


@inlined
def _mix(state: int, buffer: U8, start: int, length: int) -> int:
    for at in range(start, start + length):
        state = ((state ^ int(buffer[at])) * 1099511628211) & 0x7FFFFFFFFFFFFFFF
    return state


@kernel
def group_rows(
    buffer: U8, key_start: I64, key_length: I64, streams: U8, stream_start: I64, stream_length: I64, group: I64
) -> int:
    """Give the rows their groups' numbers, by key and stream, from 0 in order of first rows; return how many there are.

    A null key (length -1) differs from an empty one. `group`, (n,), receives the numbers.
    """
    rows = key_start.size
    slots = 16
    while slots < 2 * rows:
        slots *= 2
    table = np.full(slots, -1, np.int64)
    groups = 0
    for row in range(rows):
        key, stream = key_length[row], stream_length[row]
        mixed = _mix(1469598103934665603 + key, buffer, key_start[row], key)
        mixed = _mix(mixed + stream, streams, stream_start[row], stream)
        slot = (mixed ^ (mixed >> 29)) & (slots - 1)
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = row
                group[row] = groups
                groups += 1
                break
            if (
                key_length[other] == key
                and stream_length[other] == stream
                and _same(buffer, key_start[other], key_start[row], key)
                and _same(streams, stream_start[other], stream_start[row], stream)
            ):
                group[row] = group[other]
                break
            slot = (slot + 1) & (slots - 1)
    return groups


@inlined
def _has_line_end(buffer: U8, start: int, length: int) -> bool:
    for at in range(start, start + length):
        if buffer[at] == 0x0A:
            return True
    return False


@kernel
def plan_joins(
    buffer: U8,
    start: I64,
    length: I64,
    group: I64,
    groups: int,
    continues: U8,
    partial: U8,
    expired: U8,
    hold: bool,
    max_lines: int,
    max_bytes: int,
    plan: I64,
    role: U8,
) -> tuple[int, int]:
    """Put rows together to texts, in their order within each group.

    A row joins the text before it if that text's last row is `partial`, or if it `continues` and neither the text nor
    the row holds a line end already; never beyond `max_lines` rows and `max_bytes` bytes. The last text of a group may
    still go on: with `hold`, or if its last row is partial, its rows are held back, unless one of them has `expired`.
    `plan`, (3, n), receives the row that each row's text starts with and, at that row, the text's bytes and its number
    of rows; `role`, (n,), what becomes of each row: ALONE, MERGED, JOINED (at the text's last row) or HELD. Returns the
    bytes of the joined texts that are given out, and the bytes of those that are held back.
    """
    head, size, rows_of = plan[0], plan[1], plan[2]
    current = np.full(groups, -1, np.int64)
    last = np.full(groups, -1, np.int64)
    for row in range(start.size):
        role[row] = ALONE
        head[row] = row
        size[row] = length[row]
        rows_of[row] = 1
        if length[row] < 0:
            continue
        own = group[row]
        first = current[own]
        joins = False
        if first >= 0:
            within = partial[last[own]] != 0
            added = length[row] if within else length[row] + 1
            if rows_of[first] < max_lines and size[first] + added <= max_bytes:
                joins = within or (
                    continues[row] != 0
                    and not _has_line_end(buffer, start[row], length[row])
                    and (rows_of[first] > 1 or not _has_line_end(buffer, start[first], length[first]))
                )
            if joins:
                head[row] = first
                size[first] += added
                rows_of[first] += 1
                role[last[own]] = MERGED
                role[row] = JOINED
        if not joins:
            current[own] = row
        last[own] = row
    # What is still open waits; a text that has waited long enough does not.
    for own in range(groups):
        first = current[own]
        if first < 0 or not (hold or partial[last[own]] != 0):
            continue
        if rows_of[first] == 1 and partial[first] == 0 and _has_line_end(buffer, start[first], length[first]):
            continue  # it came with its own lines: nothing joins it
        if expired[first] == 0:
            role[first] = HELD
    joined = held = 0
    for row in range(start.size):
        if length[row] >= 0 and role[head[row]] == HELD:
            role[row] = HELD
            held += length[row]
        elif role[row] == JOINED:
            joined += size[head[row]]
    return joined, held


@kernel
def write_joined(
    buffer: U8, start: I64, length: I64, partial: U8, head: I64, size: I64, role: U8, position: int, out_start: I64
) -> None:
    """Write the planned texts one after the other from `position` on; `out_start` receives where, at their last rows.

    `buffer` holds the rows' bytes too. A line end stands between rows, none after a row that is partial.
    """
    cursor = np.full(start.size, -1, np.int64)
    follows = np.zeros(start.size, np.uint8)
    for row in range(start.size):
        first = head[row]
        if length[row] < 0 or role[row] == HELD or (role[row] == ALONE):
            continue
        if cursor[first] < 0:
            cursor[first] = position
            position += size[first]
        elif follows[first] == 0:
            buffer[cursor[first]] = 0x0A
            cursor[first] += 1
        copy_bytes(buffer, cursor[first], buffer, start[row], length[row])
        cursor[first] += length[row]
        follows[first] = partial[row]
        if role[row] == JOINED:
            out_start[row] = cursor[first] - size[first]


@kernel
def gather(target: U8, position: int, buffer: U8, start: I64, length: I64, rows: I64, out_start: I64) -> int:
    """Copy the spans of `rows` side by side to `position`; `out_start` receives where. Returns the position after."""
    for place in range(rows.size):
        row = rows[place]
        out_start[place] = position
        if length[row] > 0:
            copy_bytes(target, position, buffer, start[row], length[row])
            position += length[row]
    return position
