"""Opens envelopes that are a line, in place: CRI's container logs, syslog of RFC 3164 and RFC 5424.

The references are `CriEnvelope` and `SyslogEnvelope` in `worker.codec.envelopes.lines`; what is unusual is left to
them, row by row. Texts are spans of the records' own buffer.
"""

import numpy as np

from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.json_envelope import DONE, SKIPPED, UNUSUAL
from worker.columns.layout import I64, NO_TIME, U8
from worker.columns.text import write_integer
from worker.columns.timestamps import days_from_civil
from worker.columns.written_times import CHANGING, UNSURE, days_in_month, read_time, two_digits

#: Longest host, tag, process and message id that are read here; bytes that `open_syslog` needs for each row's
#: attributes beyond the names.
_MAX_WORD = 64
ATTRIBUTES_ROOM = 4 * _MAX_WORD + 32
#: Names of attributes in `open_syslog`'s pieces, each as `"name":`.
_FACILITY, _HOST, _PROCESS, _PID, _PROCID, _MSGID = range(6)
_SEVERITIES = np.array([21, 19, 18, 17, 13, 10, 9, 5], np.uint8)
_MONTHS = np.frombuffer(bytearray(b"JanFebMarAprMayJunJulAugSepOctNovDec"), np.uint8)


@inlined
def _line_end(buffer: U8, start: int, end: int) -> int:
    if end > start and buffer[end - 1] == 0x0A:
        end -= 1
    if end > start and buffer[end - 1] == 0x0D:
        end -= 1
    return end


@kernel
def _is_time_word(buffer: U8, start: int, end: int) -> bool:
    """Tell whether a word looks like `2026-11-22T12:00:00Z`; its digits are yet to be read."""
    if end - start < 20 or end - start > 36 or buffer[start + 4] != 0x2D or buffer[start + 10] != 0x54:
        return False
    for at in range(start, end):
        byte = buffer[at]
        # Digits and the colon stand side by side; then + - . T Z
        if (byte < 0x30 or byte > 0x3A) and byte != 0x2B and byte != 0x2D and byte != 0x2E:
            if byte != 0x54 and byte != 0x5A:
                return False
    return True


@kernel
def open_cri(
    buffer: U8,
    value_start: I64,
    value_length: I64,
    status: U8,
    partial: U8,
    is_stderr: U8,
    start: I64,
    length: I64,
    timestamp: I64,
) -> None:
    """Open each row's `<time> <stdout|stderr> <P|F> <text>`; rows whose length is negative are skipped.

    All outputs are (n,).
    """
    for row in range(value_start.size):
        if value_length[row] < 0:
            status[row] = SKIPPED
            continue
        status[row] = UNUSUAL
        at = value_start[row]
        end = _line_end(buffer, at, at + value_length[row])
        first = at
        while at < end and at - first < 36 and buffer[at] != 0x20:
            at += 1
        # After the time: a space, six letters, a space, a letter; and a space before the text, if there is one.
        if at + 9 > end or not _is_time_word(buffer, first, at) or buffer[at] != 0x20 or buffer[at + 7] != 0x20:
            continue
        if at + 9 < end and buffer[at + 9] != 0x20:
            continue
        if buffer[at + 1] != 0x73 or buffer[at + 2] != 0x74 or buffer[at + 3] != 0x64:
            continue
        one, two, three, flag = buffer[at + 4], buffer[at + 5], buffer[at + 6], buffer[at + 8]
        is_error = one == 0x65 and two == 0x72 and three == 0x72
        if not is_error and not (one == 0x6F and two == 0x75 and three == 0x74):
            continue
        if flag != 0x46 and flag != 0x50:
            continue
        time = read_time(buffer, first, at, 0)
        if time == NO_TIME or time == UNSURE:
            continue
        timestamp[row] = time
        is_stderr[row] = 1 if is_error else 0
        partial[row] = 1 if flag == 0x50 else 0
        start[row] = min(at + 10, end)
        length[row] = end - start[row]
        status[row] = DONE


@kernel
def _word_end(buffer: U8, at: int, end: int) -> int:
    """Return the end of a word that needs no escape in JSON and ends with a space, -1 where it is none such."""
    first = at
    while at < end and buffer[at] != 0x20:
        if buffer[at] < 0x21 or buffer[at] > 0x7E or buffer[at] == 0x22 or buffer[at] == 0x5C:
            return -1
        at += 1
    return at if at < end and at > first and at - first <= _MAX_WORD else -1


@kernel
def _write_field(
    target: U8, position: int, names: U8, edges: I64, name: int, buffer: U8, start: int, end: int, is_number: bool
) -> int:
    """Write a comma and a member whose value is a word or a number; nothing for the word `-`."""
    if end <= start or (end - start == 1 and buffer[start] == 0x2D):
        return position
    target[position] = 0x2C
    position += 1
    length = edges[name + 1] - edges[name]
    copy_bytes(target, position, names, edges[name], length)
    position += length
    if not is_number:
        target[position] = 0x22
        position += 1
    copy_bytes(target, position, buffer, start, end - start)
    position += end - start
    if not is_number:
        target[position] = 0x22
        position += 1
    return position


@kernel
def _is_pid(buffer: U8, start: int, end: int) -> bool:
    """Tell a process number that is written as JSON writes numbers."""
    if end - start > 18 or end <= start or buffer[start] < 0x31:
        return False
    for at in range(start, end):
        if buffer[at] < 0x30 or buffer[at] > 0x39:
            return False
    return True


@kernel
def _rfc3164_time(buffer: U8, at: int, end: int, record_ms: int, offset: int) -> int:
    """Read `Nov 22 12:00:00 ` as the time nearest to the record's; NO_TIME or UNSURE where it is none."""
    if end - at < 16 or offset == CHANGING or record_ms < 0 or record_ms >= 9_000_000_000_000:
        return UNSURE
    month = 0
    while month < 12 and (
        buffer[at] != _MONTHS[3 * month]
        or buffer[at + 1] != _MONTHS[3 * month + 1]
        or buffer[at + 2] != _MONTHS[3 * month + 2]
    ):
        month += 1
    if month == 12 or buffer[at + 3] != 0x20 or buffer[at + 6] != 0x20 or buffer[at + 9] != 0x3A:
        return UNSURE
    if buffer[at + 12] != 0x3A or buffer[at + 15] != 0x20:
        return UNSURE
    day = int(buffer[at + 5]) - 48
    if buffer[at + 4] != 0x20:
        day = two_digits(buffer, at + 4)
    hour, minute, second = two_digits(buffer, at + 7), two_digits(buffer, at + 10), two_digits(buffer, at + 13)
    month += 1
    if day < 1 or day > 28 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        if day < 29 or day > days_in_month(2001, month) or hour < 0 or minute < 0 or second < 0:
            return UNSURE  # February 29 is the reference's
        if hour > 23 or minute > 59 or second > 60:
            return UNSURE
    nearest = NO_TIME
    record_ns = record_ms * 1_000_000
    this_year = 1970 + record_ms // 31_556_952_000  # a day early or late at its ends: the neighbours are tried too
    for year in range(this_year - 2, this_year + 3):
        seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
        time = seconds * 1_000_000_000
        if nearest == NO_TIME or abs(time - record_ns) < abs(nearest - record_ns):
            nearest = time
    return nearest


@kernel
def open_syslog(
    buffer: U8,
    value_start: I64,
    value_length: I64,
    record_ms: I64,
    offset: int,
    names: U8,
    edges: I64,
    status: U8,
    start: I64,
    length: I64,
    attributes_start: I64,
    attributes_length: I64,
    timestamp: I64,
    severity: U8,
    attributes: U8,
) -> int:
    """Open each row's syslog line; rows whose length is negative are skipped.

    `names`, `edges`: the attributes' names as `"name":`; `offset` is that of times without a zone, as `read_time` takes
    it. Outputs are (n,), but `attributes` needs ATTRIBUTES_ROOM bytes and those of all names for each row. Returns how
    many of them are used.
    """
    written = 0
    for row in range(value_start.size):
        if value_length[row] < 0:
            status[row] = SKIPPED
            continue
        status[row] = UNUSUAL
        at = value_start[row]
        end = at + value_length[row]
        while end > at and (buffer[end - 1] == 0x0A or buffer[end - 1] == 0x0D or buffer[end - 1] == 0):
            end -= 1
        first = at + 1
        priority = 0
        if at >= end or buffer[at] != 0x3C:
            continue
        at += 1
        while at < end and at - first < 3 and buffer[at] >= 0x30 and buffer[at] <= 0x39:
            priority = priority * 10 + int(buffer[at]) - 48
            at += 1
        if at == first or at + 3 > end or buffer[at] != 0x3E or priority > 191:
            continue
        at += 1
        position = written
        facility = edges[_FACILITY + 1] - edges[_FACILITY]
        copy_bytes(attributes, position, names, edges[_FACILITY], facility)
        position = write_integer(attributes, position + facility, priority >> 3)
        if buffer[at] == 0x31 and buffer[at + 1] == 0x20:
            at += 2
            after = _word_end(buffer, at, end)
            if after < 0 or after - at > 48:
                continue
            time = NO_TIME
            if after != at + 1 or buffer[at] != 0x2D:
                time = read_time(buffer, at, after, offset)
                if time == NO_TIME or time == UNSURE:
                    continue
            at = after + 1
            for field in range(4):  # host, application, process, message id
                after = _word_end(buffer, at, end)
                if after < 0 or (field == 2 and buffer[at] == 0x30):
                    after = -1
                    break
                name = field + 1 if field < 2 else field + 2
                is_pid = field == 2 and _is_pid(buffer, at, after)
                if is_pid:
                    name = _PID
                position = _write_field(attributes, position, names, edges, name, buffer, at, after, is_pid)
                at = after + 1
            # Structured data is the reference's.
            if after < 0 or at >= end or buffer[at] != 0x2D or (at + 1 < end and buffer[at + 1] != 0x20):
                continue
            at = min(at + 2, end)
            if at + 3 <= end and buffer[at] == 0xEF and buffer[at + 1] == 0xBB and buffer[at + 2] == 0xBF:
                at += 3
            if at < end and buffer[at] == 0x20:
                at += 1
        else:
            if end - at > 4 and buffer[at + 4] == 0x2D:
                after = _word_end(buffer, at, end)
                if after < 0 or not _is_time_word(buffer, at, after):
                    continue
                time = read_time(buffer, at, after, offset)
                at = after + 1
            else:
                time = _rfc3164_time(buffer, at, end, record_ms[row], offset)
                at += 16
            if time == NO_TIME or time == UNSURE:
                continue
            after = _word_end(buffer, at, end)
            if after < 0:
                continue
            if buffer[after - 1] != 0x3A:  # what ends with a colon is the tag already
                position = _write_field(attributes, position, names, edges, _HOST, buffer, at, after, False)
                at = after + 1
                after = _word_end(buffer, at, end)
                if after < 0 or buffer[after - 1] != 0x3A:
                    continue
            bracket = at
            while bracket < after - 1 and buffer[bracket] != 0x5B and buffer[bracket] != 0x3A:
                bracket += 1
            if bracket == at:
                continue
            position = _write_field(attributes, position, names, edges, _PROCESS, buffer, at, bracket, False)
            if bracket < after - 1:
                if buffer[bracket] != 0x5B or buffer[after - 2] != 0x5D or buffer[bracket + 1] == 0x30:
                    continue
                at = bracket + 1
                while at < after - 2 and buffer[at] != 0x5D:
                    at += 1
                if at != after - 2:
                    continue
                is_pid = _is_pid(buffer, bracket + 1, at)
                name = _PID if is_pid else _PROCID
                position = _write_field(attributes, position, names, edges, name, buffer, bracket + 1, at, is_pid)
            at = after + 1
        start[row], length[row] = at, end - at
        attributes_start[row] = written
        attributes_length[row] = position - written
        written = position
        timestamp[row] = time
        severity[row] = _SEVERITIES[priority & 7]
        status[row] = DONE
    return written
