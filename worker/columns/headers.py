"""Split headers from messages: the kernel that runs the programs of `worker.parsing.headers`.

The reference is `worker.parsing.headers.reference`; every op does here what it does there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from worker.columns.jit import inlined, kernel
from worker.columns.layout import I64, MAX_FIELDS, NO_TIME, U8, Headers, Texts
from worker.columns.timestamps import civil_from_days, days_from_civil
from worker.parsing.headers.levels import MAX_LEVEL_BYTES, SEVERITY_OF_LETTER, SEVERITY_OF_MARK, SEVERITY_OF_WORD
from worker.parsing.headers.program import (
    LEVEL_SLOT,
    RUN_BYTES,
    RUN_FIRST_BYTES,
    SKIPPED,
    ZONE_NAMED,
    ZONE_OPTIONAL,
    Code,
    HeaderFormat,
    Op,
)
from worker.parsing.timestamps import (
    FIRST_YEAR,
    LAST_YEAR,
    MONTH_OF_NAME,
    MOST_NANOSECONDS,
    NO_OFFSET,
    RECORD_TIME_LIMIT,
    SECOND,
    WEEKDAY_NAMES,
    ZONE_ABBREVIATIONS,
    zone_of,
)

# Numba takes plain integers as constants, not members of an enumeration.
_MESSAGE, _LITERAL, _SPACE, _GAP = int(Code.MESSAGE), int(Code.LITERAL), int(Code.SPACE), int(Code.GAP)
_SCAN, _RUN, _LEVEL, _MARK = int(Code.SCAN), int(Code.RUN), int(Code.LEVEL), int(Code.MARK)
_TRY, _COMMIT, _YEAR, _SHORT_YEAR = int(Code.TRY), int(Code.COMMIT), int(Code.YEAR), int(Code.SHORT_YEAR)
_MONTH, _MONTH_NAME, _WEEKDAY, _DAY = int(Code.MONTH), int(Code.MONTH_NAME), int(Code.WEEKDAY), int(Code.DAY)
_HOUR, _MINUTE, _SECOND, _HALF = int(Code.HOUR), int(Code.MINUTE), int(Code.SECOND), int(Code.HALF)
_FRACTION, _ZONE, _EPOCH = int(Code.FRACTION), int(Code.ZONE), int(Code.EPOCH)
_DATE, _CLOCK, _DATE_END = int(Code.DATE), int(Code.CLOCK), int(Code.DATE_END)

#: Columns of `Program.ops`.
_CODE, _SLOT, _NUMBER, _FIRST, _COUNT, _TABLE, _FEWEST = 0, 1, 2, 3, 4, 5, 6
#: `_resolve`: there is no such date.
_IMPOSSIBLE = NO_TIME + 1
#: Bits of `Program.tables`: the byte ends a run of others; a RUN does not start with it; the byte ends a SCAN whatever
#: follows; it does if white space or the end of the text follows.
_ENDS, _NOT_FIRST, _ENDS_SURELY, _ENDS_BEFORE_WHITE = 1, 2, 4, 8
#: Places in what has been read of a header.
(
    _OF_YEAR,
    _OF_MONTH,
    _OF_DAY,
    _OF_HOUR,
    _OF_MINUTE,
    _OF_SECOND,
    _OF_FRACTION,
    _OF_PRECISION,
    _OF_HALF,
    _OF_OFFSET,
    _OF_EPOCH,
    _OF_HAS_CLOCK,
    _OF_LEVEL_START,
    _OF_LEVEL_LENGTH,
    _OF_SEVERITY,
    _OF_WRITTEN,
) = range(16)
_PIECES = 16
_RECORD_MS_LIMIT = RECORD_TIME_LIMIT // 1_000_000
_NO_ATTEMPT = -1


class Program(NamedTuple):
    """The programs of several formats as arrays, one after the other."""

    #: Rows are ops; columns as named above. FIRST and COUNT span `literals` (LITERAL) or `stops` (SCAN), or are an
    #: offset and the byte without which a TRY is in vain, -1 for none, (ops, 7).
    ops: I64
    #: Index of each format's first op, (formats,).
    entries: I64
    literals: U8
    #: Index of the first op and number of ops of each run that may end a SCAN, (stops, 2).
    stops: I64
    #: 256 entries per table, for SCAN and RUN, (tables * 256,).
    tables: U8


class ZoneTable(NamedTuple):
    """`worker.parsing.timestamps.Zone` as arrays."""

    changes: I64
    offsets: I64


# Levels and names are looked up by the number that they are in base 37: a letter is 1 to 26 in any case,
# a digit 27 to 36.
_LEVEL_SLOTS = 256


def _key(word: bytes) -> int:
    key = 0
    for byte in word:
        key = key * 37 + (byte & 31 if byte >= 65 else byte - 21)
    return key


def _level_table() -> tuple[I64, U8]:
    """Lay the levels out for open addressing: a free slot has the key 0."""
    if MAX_LEVEL_BYTES > 12:
        raise ValueError("the key of a level's word must fit into 63 bits")
    keys, severities = np.zeros(_LEVEL_SLOTS, np.int64), np.zeros(_LEVEL_SLOTS, np.uint8)
    for word, severity in SEVERITY_OF_WORD.items():
        key = _key(word)
        slot = (key ^ key >> 7 ^ key >> 17) % _LEVEL_SLOTS
        while keys[slot]:
            slot = (slot + 1) % _LEVEL_SLOTS
        keys[slot], severities[slot] = key, severity
    return keys, severities


_LEVEL_KEYS, _LEVEL_SEVERITIES = _level_table()
_MARK_SEVERITIES = np.zeros(512, np.uint8)
for _offset, _severities in ((0, SEVERITY_OF_LETTER), (256, SEVERITY_OF_MARK)):
    for _byte, _severity in _severities.items():
        _MARK_SEVERITIES[_offset + _byte] = _severity
_MONTH_KEYS = np.array([_key(name) for name in MONTH_OF_NAME], np.int64)
_WEEKDAY_KEYS = np.array([_key(name) for name in sorted(WEEKDAY_NAMES)], np.int64)
_ZONE_KEYS = np.array([_key(name.encode()) for name in ZONE_ABBREVIATIONS], np.int64)
_ZONE_OFFSETS = np.array(list(ZONE_ABBREVIATIONS.values()), np.int64)


@inlined
def _is_white(byte: int) -> bool:
    return byte == 32 or byte == 9


@inlined
def _is_letter(byte: int) -> bool:
    return 65 <= (byte & 223) <= 90


@inlined
def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


@inlined
def _two(buffer: U8, position: int, end: int) -> int:
    """Return the number that two digits make, -1 if they don't."""
    if position + 2 > end:
        return -1
    tens = buffer[position] - 48
    ones = buffer[position + 1] - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return -1
    return int(tens * 10 + ones)


@kernel
def _one_or_two(buffer: U8, position: int, end: int) -> tuple[int, int]:
    """Return the number that one or two digits after at most one space make, or -1, and the position after it."""
    if position < end and buffer[position] == 32:
        position += 1
    number = _two(buffer, position, end)
    if number >= 0:
        return number, position + 2
    if position < end and _is_digit(buffer[position]):
        return buffer[position] - 48, position + 1
    return -1, position


@kernel
def _letters_key(buffer: U8, position: int, end: int) -> int:
    """Return the key of three letters, 0 if they aren't."""
    if position + 3 > end:
        return 0
    key = 0
    for i in range(position, position + 3):
        if not _is_letter(buffer[i]):
            return 0
        key = key * 37 + (buffer[i] & 31)
    return key


@inlined
def _rank(keys: I64, key: int) -> int:
    for i in range(keys.size):
        if keys[i] == key:
            return i
    return -1


@kernel
def _level_severity(key: int) -> int:
    slot = (key ^ key >> 7 ^ key >> 17) & (_LEVEL_SLOTS - 1)
    while _LEVEL_KEYS[slot] != 0:
        if _LEVEL_KEYS[slot] == key:
            return int(np.int64(_LEVEL_SEVERITIES[slot]))
        slot = (slot + 1) & (_LEVEL_SLOTS - 1)
    return 0


@kernel
def _severity_of(buffer: U8, start: int, end: int) -> int:
    """Return the severity of a word, 0 if it is no known level."""
    if end - start > MAX_LEVEL_BYTES:
        return 0
    key = 0
    for i in range(start, end):
        byte = buffer[i]
        if _is_letter(byte):
            key = key * 37 + (byte & 31)
        elif _is_digit(byte):
            key = key * 37 + (byte - 21)
        else:
            return 0
    return _level_severity(key)


@inlined
def _literal(ops: I64, literals: U8, at: int, buffer: U8, position: int, end: int) -> int:
    length = ops[at, _COUNT]
    if position + length > end:
        return -1
    first = ops[at, _FIRST]
    for i in range(length):
        if buffer[position + i] != literals[first + i]:
            return -1
    return int(position + length)


@inlined
def _run_end(tables: U8, table: int, buffer: U8, position: int, end: int) -> int:
    """Return the first position from `position` on whose byte ends a run by the table, or `end`."""
    # Unsigned, so that numba does not look for a negative index at every byte.
    at, last, first_entry = np.uint64(position), np.uint64(end), np.uint64(table)
    while at < last and tables[first_entry + np.uint64(buffer[at])] & _ENDS == 0:
        at += np.uint64(1)
    return int(np.int64(at))


@inlined
def _scan_end(ops: I64, literals: U8, stops: I64, tables: U8, at: int, buffer: U8, position: int, end: int) -> int:
    """Return where the SCAN op `at` ends from `position` on, -1 if nothing ends it."""
    found = position
    while True:
        for stop in range(ops[at, _FIRST], ops[at, _FIRST] + ops[at, _COUNT]):
            after = found
            for index in range(stops[stop, 0], stops[stop, 0] + stops[stop, 1]):
                if ops[index, _CODE] == _LITERAL:
                    after = _literal(ops, literals, index, buffer, after, end)
                    if after < 0:
                        break
                else:
                    start = after
                    while after < end and _is_white(buffer[after]):
                        after += 1
                    if ops[index, _CODE] == _SPACE and after == start and after < end:
                        after = -1
                        break
            if after >= 0:
                return found
        if found == end or buffer[found] == 10:
            return -1
        if _is_white(buffer[found]):
            if ops[at, _NUMBER] == 1:
                return -1
            # What does not end the field at the first byte of a run of white space does not end it within the run.
            while found < end and _is_white(buffer[found]):
                found += 1
        else:
            found += 1
        found = _run_end(tables, ops[at, _TABLE], buffer, found, end)


@kernel
def _zone(buffer: U8, position: int, end: int, number: int, before: int) -> tuple[int, int]:
    """Read a zone: return the seconds east of UTC (`before` if it says none) and the position after it, or -1."""
    if position < end and (buffer[position] == 43 or buffer[position] == 45):
        hours = _two(buffer, position + 1, end)
        if hours >= 0:
            after = position + 3
            minutes_at = after + 1 if after < end and buffer[after] == 58 else after
            minutes = _two(buffer, minutes_at, end)
            if minutes >= 0:
                after = minutes_at + 2
            else:
                minutes = 0
            if hours <= 23 and minutes <= 59:
                seconds = hours * 3600 + minutes * 60
                return (-seconds if buffer[position] == 45 else seconds), after
    elif number & ZONE_NAMED:
        after = position
        key = 0
        while after < end and after - position < 5 and 65 <= buffer[after] <= 90:
            key = key * 37 + (buffer[after] & 31)
            after += 1
        if after > position:
            known = _rank(_ZONE_KEYS, key)
            return (_ZONE_OFFSETS[known] if known >= 0 else before), after
    elif position < end and (buffer[position] | 32) == 122:
        return 0, position + 1
    return before, (position if number & ZONE_OPTIONAL else -1)


@kernel
def _days_in_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@inlined
def _to_utc(local: int, zone: ZoneTable) -> int:
    low, high = 0, zone.changes.size
    while low < high:
        middle = (low + high) >> 1
        if zone.changes[middle] <= local:
            low = middle + 1
        else:
            high = middle
    return int(local - zone.offsets[low])


@inlined
def _time_on(days: int, second_of_day: int, fraction: int, offset: int, zone: ZoneTable) -> int:
    local = days * 86400 + second_of_day
    utc = _to_utc(local, zone) if offset == NO_OFFSET else local - offset
    return utc * SECOND + fraction


@kernel
def _nearest_day(record_ms: int, second_of_day: int, fraction: int, offset: int, zone: ZoneTable) -> int:
    record_ns = record_ms * 1_000_000
    today = record_ms // 86_400_000
    nearest = NO_TIME
    for days in range(today - 2, today + 3):
        time = _time_on(days, second_of_day, fraction, offset, zone)
        if nearest == NO_TIME or abs(time - record_ns) < abs(nearest - record_ns):
            nearest = time
    return nearest


@kernel
def _nearest_year(
    record_ms: int, month: int, day: int, second_of_day: int, fraction: int, offset: int, zone: ZoneTable
) -> int:
    this_year, _, _ = civil_from_days(record_ms // 86_400_000)
    leap_day = month == 2 and day == 29
    record_ns = record_ms * 1_000_000
    reach = 8 if leap_day else 1
    nearest = NO_TIME
    for year in range(this_year - reach, min(this_year + reach, LAST_YEAR) + 1):
        if day <= _days_in_month(year, month):
            time = _time_on(days_from_civil(year, month, day), second_of_day, fraction, offset, zone)
            if nearest == NO_TIME or abs(time - record_ns) < abs(nearest - record_ns):
                nearest = time
    return nearest


@kernel
def _resolve(
    year: int,
    month: int,
    day: int,
    hour: int,
    second_of_hour: int,
    fraction: int,
    half: int,
    offset: int,
    has_clock: int,
    zone: ZoneTable,
    record_ms: int,
) -> int:
    """Return nanoseconds since the epoch, NO_TIME if the pieces make no time, _IMPOSSIBLE if there is no such date."""
    if half != 0:
        hour = hour % 12 + (12 if half == 2 else 0)
    second_of_day = hour * 3600 + second_of_hour
    has_record_time = 0 <= record_ms < _RECORD_MS_LIMIT
    if month == 0 or day == 0:
        if month + day + year == 0 and has_clock != 0 and has_record_time:
            return _nearest_day(record_ms, second_of_day, fraction, offset, zone)
        return NO_TIME
    if day > _days_in_month(year if year > 0 else 2000, month):
        return _IMPOSSIBLE
    if year > 0:
        return _time_on(days_from_civil(year, month, day), second_of_day, fraction, offset, zone)
    if not has_record_time:
        return NO_TIME
    return _nearest_year(record_ms, month, day, second_of_day, fraction, offset, zone)


@inlined
def _read_time(state: I64, code: int, number: int, buffer: U8, position: int, end: int) -> int:
    """Read a piece of a time into `state`, return the position after it, -1 if it does not fit."""
    if code == _DATE:
        if position + 10 <= end and buffer[position + 4] == number and buffer[position + 7] == number:
            state[_OF_YEAR] = _two(buffer, position, end) * 100
            low_year = _two(buffer, position + 2, end)
            state[_OF_MONTH] = _two(buffer, position + 5, end)
            state[_OF_DAY] = _two(buffer, position + 8, end)
            if state[_OF_YEAR] >= 0 and low_year >= 0 and 1 <= state[_OF_MONTH] <= 12 and 1 <= state[_OF_DAY] <= 31:
                state[_OF_YEAR] += low_year
                position = position + 10 if FIRST_YEAR <= state[_OF_YEAR] <= LAST_YEAR else -1
            else:
                position = -1
        else:
            position = -1
    elif code == _CLOCK:
        if position + 8 <= end and buffer[position + 2] == number and buffer[position + 5] == number:
            state[_OF_HOUR] = _two(buffer, position, end)
            state[_OF_MINUTE] = _two(buffer, position + 3, end)
            state[_OF_SECOND] = _two(buffer, position + 6, end)
            state[_OF_HAS_CLOCK] = 1
            fits = 0 <= state[_OF_HOUR] <= 23 and 0 <= state[_OF_MINUTE] <= 59 and 0 <= state[_OF_SECOND] <= 60
            position = position + 8 if fits else -1
        else:
            position = -1
    elif code == _DATE_END:
        fits = position < end and ((buffer[position] | 32) == 116 or buffer[position] == 32)
        position = position + 1 if fits else -1
    elif code == _FRACTION:
        after = position
        if number == 1 and position < end and (buffer[position] == 46 or buffer[position] == 44):
            after += 1
        digits_at = after
        count = 0
        if number == 0 or after > position:
            while after < end and after - digits_at < 9 and _is_digit(buffer[after]):
                count = count * 10 + (buffer[after] - 48)
                after += 1
        if after > digits_at:
            state[_OF_PRECISION] = after - digits_at
            for _ in range(9 - (after - digits_at)):
                count *= 10
            state[_OF_FRACTION] = count
            position = after
        elif number == 0:
            position = -1
    elif code == _ZONE:
        state[_OF_OFFSET], position = _zone(buffer, position, end, number, state[_OF_OFFSET])
    elif code == _YEAR:
        high_year = _two(buffer, position, end)
        low_year = _two(buffer, position + 2, end)
        state[_OF_YEAR] = high_year * 100 + low_year
        fits = high_year >= 0 and low_year >= 0 and FIRST_YEAR <= state[_OF_YEAR] <= LAST_YEAR
        position = position + 4 if fits else -1
    elif code == _SHORT_YEAR:
        state[_OF_YEAR] = _two(buffer, position, end)
        position = position + 2 if state[_OF_YEAR] >= 0 else -1
        state[_OF_YEAR] += 1900 if state[_OF_YEAR] >= 69 else 2000
    elif code == _MONTH:
        state[_OF_MONTH] = _two(buffer, position, end)
        position = position + 2 if 1 <= state[_OF_MONTH] <= 12 else -1
    elif code == _MONTH_NAME or code == _WEEKDAY:
        key = _letters_key(buffer, position, end)
        if code == _MONTH_NAME:
            rank = _rank(_MONTH_KEYS, key)
            state[_OF_MONTH] = rank + 1
        else:
            rank = _rank(_WEEKDAY_KEYS, key)
        if rank >= 0:
            position += 3
            while number == 1 and position < end and _is_letter(buffer[position]):
                position += 1
        else:
            position = -1
    elif code == _DAY:
        if number == 0:
            state[_OF_DAY] = _two(buffer, position, end)
            position += 2
        else:
            state[_OF_DAY], position = _one_or_two(buffer, position, end)
        if state[_OF_DAY] < 1 or state[_OF_DAY] > 31:
            position = -1
    elif code == _HOUR:
        state[_OF_HAS_CLOCK] = 1
        if number == 0:
            state[_OF_HOUR] = _two(buffer, position, end)
            position += 2
        else:
            state[_OF_HOUR], position = _one_or_two(buffer, position, end)
        fits = 1 <= state[_OF_HOUR] <= 12 if number == 2 else 0 <= state[_OF_HOUR] <= 23
        if not fits:
            position = -1
    elif code == _MINUTE:
        state[_OF_MINUTE] = _two(buffer, position, end)
        position = position + 2 if 0 <= state[_OF_MINUTE] <= 59 else -1
    elif code == _SECOND:
        state[_OF_SECOND] = _two(buffer, position, end)
        position = position + 2 if 0 <= state[_OF_SECOND] <= 60 else -1
    elif code == _HALF:
        fits = False
        if position + 2 <= end and (buffer[position + 1] | 32) == 109:
            letter = buffer[position] | 32
            fits = letter == 97 or letter == 112
            state[_OF_HALF] = 2 if letter == 112 else 1
        position = position + 2 if fits else -1
    else:  # _EPOCH
        after = position
        count = 0
        while after < end and after - position < 18 and _is_digit(buffer[after]):
            count = count * 10 + (buffer[after] - 48)
            after += 1
        if after - position == 18 and after < end and _is_digit(buffer[after]):
            # A nineteenth digit fits into 64 bits only after less than this.
            count = count * 10 + (buffer[after] - 48) if count < 922337203685477580 else MOST_NANOSECONDS
            after += 1
        length = after - position
        digits = number
        if number < 0:
            digits = 0 if length <= 11 else 3 if length <= 14 else 6 if length <= 17 else 9
        unit = 1
        for _ in range(9 - digits):
            unit *= 10
        if length >= 9 and count <= (MOST_NANOSECONDS - SECOND) // unit:
            state[_OF_FRACTION] = count * unit % SECOND
            state[_OF_EPOCH] = count * unit - state[_OF_FRACTION]
            state[_OF_PRECISION] = digits
            position = after
        else:
            position = -1
    return position


@kernel
def _split_headers(program: Program, zone: ZoneTable, texts: Texts, record_ms: I64, headers: Headers) -> None:
    """Fill `headers`, whose arrays may hold anything; `field_start` of a field that is none stays as it is."""
    buffer = texts.buffer
    ops, literals, stops, tables = program.ops, program.literals, program.stops, program.tables
    entries = program.entries
    text_start, text_length = texts.start, texts.length
    field_start, field_length = headers.field_start, headers.field_length
    today, this_year, this_month = -1, 0, 0
    # In memory rather than in variables: that many would be moved about at every op.
    state, before_attempt = np.zeros(_PIECES, np.int64), np.zeros(_PIECES, np.int64)
    try_position = 0
    for row in range(text_length.size):
        headers.format[row] = -1
        headers.message_start[row] = 0
        headers.message_length[row] = 0
        headers.timestamp[row] = NO_TIME
        headers.precision[row] = 0
        headers.severity[row] = 0
        headers.level_start[row] = 0
        headers.level_length[row] = 0
        for slot in range(MAX_FIELDS):
            field_length[row, slot] = 0
        if text_length[row] < 0:
            continue
        start = text_start[row]
        end = start + text_length[row]
        while end > start and (buffer[end - 1] == 10 or buffer[end - 1] == 13):
            end -= 1
        headers.message_start[row] = start
        headers.message_length[row] = end - start
        for format_row in range(entries.size):
            index = entries[format_row]
            position = start
            for piece in range(_PIECES):
                state[piece] = 0
            state[_OF_OFFSET] = NO_OFFSET
            state[_OF_EPOCH] = NO_TIME
            try_target = _NO_ATTEMPT
            while True:
                at = index
                code = ops[at, _CODE]
                number = ops[at, _NUMBER]
                index += 1
                if code == _MESSAGE:
                    break
                if code == _LITERAL:
                    position = _literal(ops, literals, at, buffer, position, end)
                elif code == _SPACE or code == _GAP:
                    before = position
                    while position < end and _is_white(buffer[position]):
                        position += 1
                    if code == _SPACE and position == before and position < end:
                        position = -1
                elif code == _SCAN or code == _RUN:
                    before = position
                    table = ops[at, _TABLE]
                    if code == _SCAN:
                        position = _run_end(tables, table, buffer, before, end)
                        known = False
                        if position < end:
                            ends = tables[table + buffer[position]]
                            known = ends & _ENDS_SURELY != 0 or (
                                ends & _ENDS_BEFORE_WHITE != 0
                                and (position + 1 == end or _is_white(buffer[position + 1]))
                            )
                        if not known:
                            position = _scan_end(ops, literals, stops, tables, at, buffer, position, end)
                        if position - before < ops[at, _FEWEST]:
                            position = -1
                    elif position < end and tables[table + buffer[position]] & _NOT_FIRST == 0:
                        position = _run_end(tables, table, buffer, position + 1, end)
                    else:
                        position = -1
                    slot = ops[at, _SLOT]
                    if position >= 0 and slot != SKIPPED:
                        if slot == LEVEL_SLOT:
                            state[_OF_LEVEL_START], state[_OF_LEVEL_LENGTH] = before, position - before
                            state[_OF_SEVERITY] = _severity_of(buffer, before, position)
                        elif not (position - before == 1 and buffer[before] == 45):
                            field_start[row, slot] = before
                            field_length[row, slot] = position - before
                            state[_OF_WRITTEN] |= 1 << slot
                elif code == _LEVEL:
                    state[_OF_LEVEL_START] = position
                    key, cases = 0, 0
                    while position < end and position - state[_OF_LEVEL_START] <= MAX_LEVEL_BYTES:
                        byte = buffer[position]
                        if _is_letter(byte):
                            cases |= 1 if byte < 97 else 2
                            key = key * 37 + (byte & 31)
                        elif _is_digit(byte):
                            key = key * 37 + (byte - 21)
                        else:
                            break
                        position += 1
                    state[_OF_LEVEL_LENGTH] = position - state[_OF_LEVEL_START]
                    state[_OF_SEVERITY] = 0
                    if 2 <= state[_OF_LEVEL_LENGTH] <= MAX_LEVEL_BYTES and (number == 1 or cases != 3):
                        state[_OF_SEVERITY] = _level_severity(key)
                    if state[_OF_SEVERITY] == 0:
                        position = -1
                elif code == _MARK:
                    state[_OF_SEVERITY] = 0
                    if position < end:
                        state[_OF_SEVERITY] = int(np.int64(_MARK_SEVERITIES[number * 256 + buffer[position]]))
                        state[_OF_LEVEL_START], state[_OF_LEVEL_LENGTH] = position, 1
                    position = position + 1 if state[_OF_SEVERITY] != 0 else -1
                elif code == _TRY:
                    guarded = position + ops[at, _FIRST]
                    if ops[at, _COUNT] >= 0 and (guarded >= end or buffer[guarded] != ops[at, _COUNT]):
                        index = number
                    else:
                        try_target, try_position = number, position
                        for piece in range(_PIECES):
                            before_attempt[piece] = state[piece]
                elif code == _COMMIT:
                    try_target = _NO_ATTEMPT
                    index = number
                else:
                    position = _read_time(state, code, number, buffer, position, end)
                if position < 0:
                    if try_target == _NO_ATTEMPT:
                        break
                    index, position = try_target, try_position
                    try_target = _NO_ATTEMPT
                    dropped = state[_OF_WRITTEN] ^ before_attempt[_OF_WRITTEN]
                    for piece in range(_PIECES):
                        state[piece] = before_attempt[piece]
                    if dropped != 0:
                        for slot in range(MAX_FIELDS):
                            if dropped >> slot & 1:
                                field_length[row, slot] = 0
            timestamp = NO_TIME
            if position >= 0:
                likely_year = state[_OF_YEAR]
                if state[_OF_YEAR] == 0 and state[_OF_MONTH] > 0 and 0 <= record_ms[row] < _RECORD_MS_LIMIT:
                    if record_ms[row] // 86_400_000 != today:
                        today = record_ms[row] // 86_400_000
                        this_year, this_month, _ = civil_from_days(today)
                    # Less than half a year away: no other year is nearer.
                    if abs(state[_OF_MONTH] - this_month) <= 4:
                        likely_year = this_year
                if state[_OF_EPOCH] != NO_TIME:
                    timestamp = state[_OF_EPOCH] + state[_OF_FRACTION]
                elif (
                    likely_year > 0 and state[_OF_MONTH] > 0 and 0 < state[_OF_DAY] <= 28 and state[_OF_HALF] == 0
                ):  # what nearly every line has
                    second_of_day = state[_OF_HOUR] * 3600 + state[_OF_MINUTE] * 60 + state[_OF_SECOND]
                    timestamp = _time_on(
                        days_from_civil(likely_year, state[_OF_MONTH], state[_OF_DAY]),
                        second_of_day,
                        state[_OF_FRACTION],
                        state[_OF_OFFSET],
                        zone,
                    )
                else:
                    timestamp = _resolve(
                        state[_OF_YEAR],
                        state[_OF_MONTH],
                        state[_OF_DAY],
                        state[_OF_HOUR],
                        state[_OF_MINUTE] * 60 + state[_OF_SECOND],
                        state[_OF_FRACTION],
                        state[_OF_HALF],
                        state[_OF_OFFSET],
                        state[_OF_HAS_CLOCK],
                        zone,
                        record_ms[row],
                    )
            if position < 0 or timestamp == _IMPOSSIBLE:
                if state[_OF_WRITTEN] != 0:
                    for slot in range(MAX_FIELDS):
                        field_length[row, slot] = 0
                continue
            headers.format[row] = format_row
            headers.message_start[row] = position
            headers.message_length[row] = end - position
            headers.timestamp[row] = timestamp
            headers.precision[row] = state[_OF_PRECISION] if timestamp != NO_TIME else 0
            headers.severity[row] = state[_OF_SEVERITY]
            headers.level_start[row] = state[_OF_LEVEL_START]
            headers.level_length[row] = state[_OF_LEVEL_LENGTH]
            break


class HeaderSplitter:
    """Splits the headers of a source's texts by formats that are tried in order."""

    def __init__(self, formats: Sequence[HeaderFormat], zone: str) -> None:
        """Lay out the programs of `formats`; `zone` is the IANA name of the zone of times that name none.

        Raises:
            WrongFormat: there is no such zone.
        """
        self.formats = tuple(formats)
        source_zone = zone_of(zone)
        self._program = _lay_out(self.formats)
        self._zone = ZoneTable(
            changes=np.array(source_zone.changes, np.int64), offsets=np.array(source_zone.offsets, np.int64)
        )

    def split(self, texts: Texts, record_time_ms: I64) -> Headers:
        """Split each text; a row of length NONE stays empty. `record_time_ms`: (n,), negative for none."""
        rows = texts.length.size
        headers = Headers(
            format=np.empty(rows, np.int64),
            message_start=np.empty(rows, np.int64),
            message_length=np.empty(rows, np.int64),
            timestamp=np.empty(rows, np.int64),
            precision=np.empty(rows, np.uint8),
            severity=np.empty(rows, np.uint8),
            level_start=np.empty(rows, np.int64),
            level_length=np.empty(rows, np.int64),
            field_start=np.empty((rows, MAX_FIELDS), np.int64),
            field_length=np.empty((rows, MAX_FIELDS), np.int64),
        )
        _split_headers(self._program, self._zone, texts, record_time_ms, headers)
        return headers


def _lay_out(formats: Sequence[HeaderFormat]) -> Program:
    rows: list[tuple[int, ...]] = []
    entries: list[int] = []
    literals = bytearray()
    stops: list[tuple[int, int]] = []
    tables: dict[bytes, int] = {}
    for header_format in formats:
        base = len(rows)
        entries.append(base)
        for op in header_format.ops:
            number = op.number + base if op.code in {Code.TRY, Code.COMMIT} else op.number
            first, count = 0, 0
            if op.code is Code.LITERAL:
                first, count = len(literals), len(op.literal)
                literals += op.literal
            elif op.code is Code.TRY:
                first, count = _guard(header_format.ops[len(rows) - base + 1 :])
            elif op.code is Code.SCAN:
                first, count = len(stops), len(op.stops)
                stops += [(index + base, length) for index, length in op.stops]
            table = tables.setdefault(_table(op, header_format.ops), len(tables) * 256)
            rows.append((int(op.code), op.slot, number, first, count, table, op.fewest))
    return Program(
        ops=np.array(rows, np.int64).reshape(-1, _FEWEST + 1),
        entries=np.array(entries, np.int64),
        literals=np.frombuffer(bytes(literals), np.uint8).copy(),
        stops=np.array(stops, np.int64).reshape(-1, 2),
        tables=np.frombuffer(b"".join(tables), np.uint8).copy(),
    )


_WIDTHS = {
    Code.YEAR: 4,
    Code.SHORT_YEAR: 2,
    Code.MONTH: 2,
    Code.MONTH_NAME: 3,
    Code.WEEKDAY: 3,
    Code.DAY: 2,
    Code.HOUR: 2,
    Code.MINUTE: 2,
    Code.SECOND: 2,
}


def _guard(ops: Sequence[Op]) -> tuple[int, int]:
    """Return an offset and the byte that what `ops` read must have there, -1 for any.

    It saves setting out on an attempt that can't succeed: the usual shapes of a time are many.
    """
    offset = 0
    for op in ops:
        if op.code is Code.LITERAL:
            return offset, op.literal[0]
        if op.code is Code.DATE:
            return offset + 4, op.number
        if op.code is Code.CLOCK:
            return offset + 2, op.number
        if op.code not in _WIDTHS or op.number:
            break
        offset += _WIDTHS[op.code]
    return 0, -1


def _table(op: Op, ops: Sequence[Op]) -> bytes:
    """Return 256 entries that say what a SCAN or RUN does with a byte."""
    table = bytearray(256)
    if op.code is Code.SCAN:
        for byte in op.attention:
            table[byte] |= _ENDS
        for first, count in op.stops:
            stop = ops[first : first + count]
            if count == 1 and stop[0].code is Code.SPACE:
                table[32] |= _ENDS_SURELY
                table[9] |= _ENDS_SURELY
            elif len(stop[0].literal) == 1 and count == 1:
                table[stop[0].literal[0]] |= _ENDS_SURELY
            elif len(stop[0].literal) == 1 and count == 2 and stop[1].code is Code.SPACE:
                table[stop[0].literal[0]] |= _ENDS_BEFORE_WHITE
    if op.code is Code.RUN:
        for byte in range(256):
            table[byte] |= 0 if byte in RUN_BYTES[op.number] else _ENDS
            table[byte] |= 0 if byte in RUN_FIRST_BYTES[op.number] else _NOT_FIRST
    return bytes(table)
