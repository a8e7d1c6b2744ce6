"""Texts without what must not leave the worker: values are found, written anew, and spans moved along.

The compiled form of what `parsing/redaction.py` defines, for the columns between the look-up and the event writer.
"""

from collections.abc import Sequence

import numpy as np

from worker.columns.finding import END, KIND, NO_KIND, ROW, START, find, has_form, keep, most_hits, tables_of_keys
from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.layout import I64, MAX_FIELDS, U8, U64, Headers, Matches, Texts
from worker.columns.pseudonyms import keyed_states, write_pseudonym
from worker.parsing.redaction import KINDS, PSEUDONYM_DIGITS, Hit, Redaction, kind_of_name, merged
from worker.parsing.templates import MAX_PARAMETERS, Template

#: Room for hits at first, and how many bytes of it are kept for the next batch.
_FIRST_HITS, _MOST_KEPT_BYTES = 1 << 12, 1 << 23


@kernel
def _find_rows(
    buffer: U8,
    text_length: I64,
    message_start: I64,
    message_length: I64,
    level_start: I64,
    level_length: I64,
    field_start: I64,
    field_length: I64,
    header_format: I64,
    template: I64,
    first_parameter: I64,
    parameter_count: I64,
    parameter_start: I64,
    parameter_end: I64,
    field_kind: I64,
    named: I64,
    name_kind: I64,
    wanted: U8,
    hits: I64,
    row: int,
    count: int,
) -> tuple[int, int, int]:
    """Find the values of the rows from `row` on: in messages, levels and header fields, and by names.

    Returns the row that comes next, the hits so far, and 0 at the end or how many more hits may need room.
    """
    tables = tables_of_keys()
    of_byte, hashes, kinds = tables.of_byte, tables.hashes, tables.kinds
    while row < text_length.size:
        if text_length[row] < 0 or template[row] < 0:
            row += 1
            continue
        size = message_length[row] + max(level_length[row], 0)
        header = header_format[row]
        if header >= 0:
            for field in range(MAX_FIELDS):
                size += max(field_length[row, field], 0)
        room = most_hits(size) + MAX_PARAMETERS + MAX_FIELDS
        if count + room > hits.shape[0]:
            return row, count, room
        start = message_start[row]
        count = find(buffer, start, start + message_length[row], row, wanted, hits, count)
        if level_length[row] > 0:
            start = level_start[row]
            count = find(buffer, start, start + level_length[row], row, wanted, hits, count)
        if header >= 0:
            for field in range(MAX_FIELDS):
                if field_length[row, field] <= 0:
                    continue
                start = field_start[row, field]
                end = start + field_length[row, field]
                count = find(buffer, start, end, row, wanted, hits, count)
                kind = field_kind[header * MAX_FIELDS + field]
                if kind >= 0 and wanted[kind] and has_form(of_byte, hashes, kinds, buffer, start, end, kind):
                    count = keep(hits, count, row, start, end, kind)
        names = named[template[row]] if template[row] < named.size else NO_KIND
        if names >= 0:
            first = first_parameter[row]
            for number in range(parameter_count[row]):
                kind = name_kind[names * MAX_PARAMETERS + number]
                start = parameter_start[first + number]
                end = parameter_end[first + number]
                if kind >= 0 and wanted[kind] and has_form(of_byte, hashes, kinds, buffer, start, end, kind):
                    count = keep(hits, count, row, start, end, kind)
        row += 1
    return row, count, 0


@kernel
def _merge(hits: I64, count: int) -> int:
    """Make one of hits that overlap, of the longest's kind; they are sorted by row and start. Return how many stay."""
    kept = 0
    longest = 0
    for number in range(count):
        length = hits[number, END] - hits[number, START]
        if kept > 0 and hits[number, ROW] == hits[kept - 1, ROW] and hits[number, START] < hits[kept - 1, END]:
            if length > longest:
                longest = length
                hits[kept - 1, KIND] = hits[number, KIND]
            hits[kept - 1, END] = max(hits[kept - 1, END], hits[number, END])
            continue
        longest = length
        kept = keep(hits, kept, hits[number, ROW], hits[number, START], hits[number, END], hits[number, KIND])
    return kept


#: `<`, the longest kind, `:`, a pseudonym, `>`.
_LONGEST_WRITTEN = 3 + max(map(len, KINDS)) + PSEUDONYM_DIGITS


@inlined
def _last_before(hits: I64, first: int, last: int, at: int) -> int:
    """Return the last of the hits first .. last - 1 that begins before `at`, or first - 1."""
    low = first
    high = last
    while low < high:
        middle = (low + high) >> 1
        if hits[middle, START] < at:
            low = middle + 1
        else:
            high = middle
    return low - 1


@inlined
def _place(hits: I64, new_start: I64, new_end: I64, first: int, last: int, at: int, shift: int, is_end: bool) -> int:
    """Return where `at` is now; what lay inside of a hit is at its beginning, or its end."""
    number = _last_before(hits, first, last, at)
    if number < first:
        return at + shift
    if at < hits[number, END]:
        return int(new_end[number] if is_end else new_start[number])
    return int(new_end[number] + at - hits[number, END])


@kernel
def _rewrite(
    target: U8,
    position: int,
    buffer: U8,
    text_start: I64,
    text_length: I64,
    message_start: I64,
    message_length: I64,
    level_start: I64,
    level_length: I64,
    field_start: I64,
    field_length: I64,
    first_parameter: I64,
    parameter_count: I64,
    parameter_start: I64,
    parameter_end: I64,
    hits: I64,
    count: int,
    new_start: I64,
    new_end: I64,
    is_hashed: U8,
    names: U8,
    name_edges: I64,
    keyed: U64,
) -> int:
    """Write the texts of rows with hits from `position` on, and move their spans there; return where they end."""
    state = np.empty(8, np.uint64)
    v = np.empty(16, np.uint64)
    m = np.empty(16, np.uint64)
    first = 0
    while first < count:
        row = hits[first, ROW]
        last = first
        base = min(text_start[row], hits[first, START])
        stop = text_start[row] + text_length[row]
        shift = position - base
        at = base
        while last < count and hits[last, ROW] == row:
            start, end, kind = hits[last, START], hits[last, END], hits[last, KIND]
            copy_bytes(target, position, buffer, at, start - at)
            position += start - at
            new_start[last] = position
            target[position] = 0x3C
            length = name_edges[kind + 1] - name_edges[kind]
            copy_bytes(target, position + 1, names, name_edges[kind], length)
            position += length + 1
            if is_hashed[kind]:
                target[position] = 0x3A
                position += 1
                position = write_pseudonym(target, position, keyed, kind, buffer, start, end, state, v, m)
            target[position] = 0x3E
            position += 1
            new_end[last] = position
            at = end
            last += 1
        stop = max(stop, at)
        copy_bytes(target, position, buffer, at, stop - at)
        position += stop - at

        count_of_row = parameter_count[row]
        claimed = first - 1
        for parameter in range(first_parameter[row], first_parameter[row] + count_of_row):
            start, end = parameter_start[parameter], parameter_end[parameter]
            own = _last_before(hits, first, last, start)
            # Of several parameters in one value the first holds what is written for it.
            is_claimed = own >= first and own <= claimed
            parameter_start[parameter] = _place(hits, new_start, new_end, first, last, start, shift, is_claimed)
            parameter_end[parameter] = max(
                _place(hits, new_start, new_end, first, last, end, shift, True), parameter_start[parameter]
            )
            claimed = max(claimed, _last_before(hits, first, last, end))
        start, end = message_start[row], message_start[row] + message_length[row]
        message_start[row] = _place(hits, new_start, new_end, first, last, start, shift, False)
        message_length[row] = _place(hits, new_start, new_end, first, last, end, shift, True) - message_start[row]
        if level_length[row] > 0:
            start, end = level_start[row], level_start[row] + level_length[row]
            level_start[row] = _place(hits, new_start, new_end, first, last, start, shift, False)
            level_length[row] = _place(hits, new_start, new_end, first, last, end, shift, True) - level_start[row]
        for field in range(MAX_FIELDS):
            if field_length[row, field] > 0:
                start, end = field_start[row, field], field_start[row, field] + field_length[row, field]
                field_start[row, field] = _place(hits, new_start, new_end, first, last, start, shift, False)
                field_length[row, field] = (
                    _place(hits, new_start, new_end, first, last, end, shift, True) - field_start[row, field]
                )
        text_start[row] = base + shift
        text_length[row] = position - text_start[row]
        first = last
    return position


def kinds_of_names(names: Sequence[str]) -> list[int]:
    """Tell per name what it says of its value, -1 for nothing."""
    kinds = (kind_of_name(name) for name in names)
    return [-1 if kind is None else kind for kind in kinds]


class ColumnRedactor:
    """Redacts the texts of a source, and knows which of its templates' parameters are to be redacted by their names."""

    def __init__(self, redaction: Redaction, fields: Sequence[Sequence[str]] = ()) -> None:
        """Prepare what holds for all batches. `fields`: the names of each header format's fields."""
        self._redaction = redaction
        self._wanted = np.array(redaction.wanted, np.uint8)
        self._is_hashed = np.array([redaction.ways.get(kind) == "hash" for kind in KINDS], np.uint8)
        self._names = np.frombuffer("".join(KINDS).encode(), np.uint8).copy()
        self._name_edges = np.cumsum([0, *map(len, KINDS)]).astype(np.int64)
        self._keyed = keyed_states(redaction.key)
        self._field_kinds = np.full(MAX_FIELDS * max(len(fields), 1), -1, np.int64)
        for number, names in enumerate(fields):
            self._field_kinds[number * MAX_FIELDS : number * MAX_FIELDS + len(names)] = kinds_of_names(names)
        # By row of the template table, the place of its names' kinds; only templates with such names have one.
        self._named = np.full(64, -1, np.int64)
        self._name_kinds = np.full(MAX_PARAMETERS, -1, np.int64)
        self._places = 0
        self._free: list[int] = []
        self._hits = _empty_hits(_FIRST_HITS)

    def set_template(self, row: int, template: Template) -> None:
        """Let `row` of the template table be `template` from now on."""
        self.clear_template(row)
        kinds = kinds_of_names(template.names)
        if max(kinds, default=-1) < 0:
            return
        if row >= self._named.size:
            self._named = np.concatenate([self._named, np.full(row + 1, -1, np.int64)])
        if not self._free:
            if (self._places + 1) * MAX_PARAMETERS > self._name_kinds.size:
                self._name_kinds = np.concatenate([self._name_kinds, np.full_like(self._name_kinds, -1)])
            self._free.append(self._places)
            self._places += 1
        place = self._free.pop()
        self._named[row] = place
        self._name_kinds[place * MAX_PARAMETERS : (place + 1) * MAX_PARAMETERS] = -1
        self._name_kinds[place * MAX_PARAMETERS : place * MAX_PARAMETERS + len(kinds)] = kinds

    def clear_template(self, row: int) -> None:
        """Forget the template in `row`, if there is one."""
        if row < self._named.size and self._named[row] >= 0:
            self._free.append(int(self._named[row]))
            self._named[row] = -1

    def redact(self, texts: Texts, headers: Headers, matches: Matches) -> tuple[Texts, Headers, Matches]:
        """Write the texts of rows with hits anew and move their spans along; other rows keep their bytes.

        A parameter that lies in a value, or a part of it, grows to what is written for it; of several in one value the
        first does, the others are empty behind it. Attributes are not looked at.
        """
        hits, count = self._find(texts, headers, matches)
        if count == 0:
            return texts, headers, matches
        order = np.lexsort((hits[:count, START], hits[:count, ROW]))
        hits = hits[order]
        if self._hits.nbytes > _MOST_KEPT_BYTES:
            self._hits = _empty_hits(_FIRST_HITS)
        count = _merge(hits, count)
        return self._rewrite(texts, headers, matches, hits, count)

    def redacted(self, text: bytes) -> bytes:
        """Write a text by itself again without what is found in it; one without hits is itself."""
        room = most_hits(len(text))
        if room > self._hits.shape[0]:
            self._hits = _empty_hits(room)
        buffer = np.frombuffer(bytearray(text), np.uint8)
        count = find(buffer, 0, buffer.size, 0, self._wanted, self._hits, 0)
        if count == 0:
            return text
        spans = self._hits[:count, START:].tolist()
        return self._redaction.rewritten(text, merged(Hit(*span) for span in spans))

    def _find(self, texts: Texts, headers: Headers, matches: Matches) -> tuple[I64, int]:
        row = count = 0
        while True:
            row, count, room = _find_rows(
                texts.buffer,
                texts.length,
                *(headers.message_start, headers.message_length, headers.level_start, headers.level_length),
                *(headers.field_start, headers.field_length, headers.format),
                *(matches.template, matches.first_parameter, matches.parameter_count, matches.start, matches.end),
                *(self._field_kinds, self._named, self._name_kinds),
                self._wanted,
                self._hits,
                row,
                count,
            )
            if room == 0:
                return self._hits, count
            larger = _empty_hits(max(count + room, 2 * count))
            larger[:count] = self._hits[:count]
            self._hits = larger

    def _rewrite(
        self, texts: Texts, headers: Headers, matches: Matches, hits: I64, count: int
    ) -> tuple[Texts, Headers, Matches]:
        rows = np.unique(hits[:count, ROW])
        size = int(texts.length[rows].sum()) + count * _LONGEST_WRITTEN
        size += int((hits[:count, END] - hits[:count, START]).sum())
        buffer = np.empty(texts.buffer.size + size, np.uint8)
        buffer[: texts.buffer.size] = texts.buffer
        texts = texts._replace(buffer=buffer, start=texts.start.copy(), length=texts.length.copy())
        headers = headers._replace(
            message_start=headers.message_start.copy(),
            message_length=headers.message_length.copy(),
            level_start=headers.level_start.copy(),
            level_length=headers.level_length.copy(),
            field_start=headers.field_start.copy(),
            field_length=headers.field_length.copy(),
        )
        matches = matches._replace(start=matches.start.copy(), end=matches.end.copy())
        _rewrite(
            buffer,
            buffer.size - size,
            buffer,
            *(texts.start, texts.length),
            *(headers.message_start, headers.message_length, headers.level_start, headers.level_length),
            *(headers.field_start, headers.field_length),
            *(matches.first_parameter, matches.parameter_count, matches.start, matches.end),
            hits,
            count,
            np.empty(count, np.int64),
            np.empty(count, np.int64),
            self._is_hashed,
            self._names,
            self._name_edges,
            self._keyed,
        )
        return texts, headers, matches


def _empty_hits(size: int) -> I64:
    return np.empty((size, 4), np.int64)
