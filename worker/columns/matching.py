"""The templates of a worker in process, and the look-up of a batch's messages among them.

Two ways lead to a template. A fingerprint, where its words were met before; else the index: every template is filed
under one of its anchor words, and the words of the message lead to the few that can match. Either way the match is the
proof, and both find the same: the best of all templates that match. A row knows the better templates that match some
of its messages (`rivals.py`), so what a fingerprint finds is checked against these alone, and no fingerprint ever needs
to be forgotten. Not for several threads at once.
"""

from collections.abc import Iterator
from dataclasses import replace
from operator import or_
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from worker.columns.jit import inlined, kernel
from worker.columns.layout import (
    I64,
    MAX_PARAMETERS,
    TIER_FINGERPRINT,
    TIER_INDEX,
    TIER_MISS,
    U8,
    Headers,
    Matches,
    Texts,
)
from worker.columns.rivals import RIVALS, find_rivals, is_better
from worker.columns.verifying import ROW, Table, verify
from worker.columns.words import fingerprint_of, letters_at, mix, scope_seed, signed
from worker.parsing import templates
from worker.parsing.templates import Template

#: Fingerprints in a bucket: one cache line.
_WAYS = 8

_Number = TypeVar("_Number", bound=np.generic)


class _Scratch(NamedTuple):
    """Room for the spans of templates that are only tried, MAX_PARAMETERS places each."""

    span_start: I64
    span_end: I64
    memory: I64


@inlined
def _keep_spans(table: Table, row: int, scratch: _Scratch, found: Matches, into: int) -> None:
    for number in range(table.rows[row]["parameters"]):
        found.start[into + number] = scratch.span_start[number]
        found.end[into + number] = scratch.span_end[number]


@kernel
def _by_fingerprint(
    table: Table,
    fingerprint: np.uint64,
    owner: int,
    buffer: U8,
    start: int,
    end: int,
    found: Matches,
    into: int,
    scratch: _Scratch,
) -> int:
    """Return the row for a message that its fingerprint leads to, its spans written; -1 leaves it to the index."""
    first = signed(fingerprint & np.uint64(table.fingerprints.size // _WAYS - 1)) * _WAYS
    for way in range(_WAYS):
        entry = table.fingerprints[first + way]
        if entry == np.uint64(0):
            break
        if (entry ^ fingerprint) >> np.uint64(32) != np.uint64(0):
            continue
        row = signed(entry & np.uint64(0xFFFFFFFF)) - 1
        if table.rows[row]["owner"] != owner:
            continue
        if not verify(table, row, buffer, start, end, found.start, found.end, into, scratch.memory):
            continue
        for behind in range(way, 0, -1):
            table.fingerprints[first + behind] = table.fingerprints[first + behind - 1]
        table.fingerprints[first] = entry
        rivals = table.rows[row]["rival_count"]
        for number in range(rivals):
            rival = signed(table.rivals[row, number])
            if verify(table, rival, buffer, start, end, scratch.span_start, scratch.span_end, 0, scratch.memory):
                _keep_spans(table, rival, scratch, found, into)
                return rival
        return row if rivals >= 0 else -1
    return -1


@kernel
def _walk(
    table: Table,
    anchor: np.uint64,
    owner: int,
    best: int,
    buffer: U8,
    start: int,
    end: int,
    found: Matches,
    into: int,
    scratch: _Scratch,
) -> int:
    """Try the templates of one chain that are better than `best`; return the best now, its spans written."""
    row = signed(table.heads[signed(anchor & np.uint64(table.heads.size - 1))]) - 1
    # A word that comes again leads to nothing new: a line that repeats one word stays linear.
    if row < 0 or table.rows[row]["walked"] == table.clock[1]:
        return best
    table.rows[row]["walked"] = table.clock[1]
    while row >= 0 and (best < 0 or is_better(table, row, best)):
        if table.rows[row]["owner"] == owner and verify(
            table, row, buffer, start, end, scratch.span_start, scratch.span_end, 0, scratch.memory
        ):
            _keep_spans(table, row, scratch, found, into)
            return row
        row = signed(table.rows[row]["next"]) - 1
    return best


@kernel
def _by_index(
    table: Table, scope: int, buffer: U8, start: int, end: int, found: Matches, into: int, scratch: _Scratch
) -> int:
    """Return the best row for a message, its spans written, or -1."""
    table.clock[1] += 1
    seed = scope_seed(scope)
    owner = scope + 1
    best = _walk(table, seed, owner, -1, buffer, start, end, found, into, scratch)
    at = start
    while True:
        at, word = letters_at(buffer, at, end)
        if at < 0:
            return best
        best = _walk(table, mix(seed, word), owner, best, buffer, start, end, found, into, scratch)


@inlined
def _learn(table: Table, fingerprint: np.uint64, row: int) -> None:
    """Put a row in the first place of the fingerprint's bucket; the place that was used longest ago falls out."""
    first = signed(fingerprint & np.uint64(table.fingerprints.size // _WAYS - 1)) * _WAYS
    entry = (fingerprint & np.uint64(0xFFFFFFFF00000000)) | np.uint64(row + 1)
    behind = 0
    while behind < _WAYS - 1 and table.fingerprints[first + behind] != entry:
        behind += 1
    while behind > 0:
        table.fingerprints[first + behind] = table.fingerprints[first + behind - 1]
        behind -= 1
    table.fingerprints[first] = entry


@kernel
def _look_up(
    table: Table,
    texts: Texts,
    headers: Headers,
    scope: int,
    kept: Matches,
    tier: int,
    found: Matches,
    n: int,
    first_row: int,
    parameters: int,
) -> tuple[int, int]:
    """Look up rows from `first_row` on until the room for parameters may not do.

    `kept` holds what an earlier look-up found, or no rows; `tier` replaces the tier of what is found now, if not 0.
    Return the row that comes next and the parameters written so far.
    """
    scratch = _Scratch(
        np.empty(MAX_PARAMETERS, np.int64), np.empty(MAX_PARAMETERS, np.int64), np.empty(MAX_PARAMETERS, np.int64)
    )
    seed = scope_seed(scope)
    for i in range(first_row, n):
        if parameters + MAX_PARAMETERS > found.start.size:
            return i, parameters
        found.first_parameter[i] = parameters
        found.parameter_count[i] = 0
        found.template[i] = -1
        found.tier[i] = TIER_MISS
        found.fingerprint[i] = 0
        if texts.length[i] < 0:
            continue
        if kept.template.size > 0 and kept.template[i] >= 0:
            for number in range(kept.parameter_count[i]):
                found.start[parameters + number] = kept.start[kept.first_parameter[i] + number]
                found.end[parameters + number] = kept.end[kept.first_parameter[i] + number]
            found.parameter_count[i] = kept.parameter_count[i]
            found.template[i] = kept.template[i]
            found.tier[i] = kept.tier[i]
            found.fingerprint[i] = kept.fingerprint[i]
            parameters += kept.parameter_count[i]
            continue
        start = headers.message_start[i]
        end = start + headers.message_length[i]
        fingerprint = fingerprint_of(texts.buffer, start, end, seed)
        found.fingerprint[i] = fingerprint
        way = TIER_FINGERPRINT
        row = _by_fingerprint(table, fingerprint, scope + 1, texts.buffer, start, end, found, parameters, scratch)
        if row < 0:
            way = TIER_INDEX
            row = _by_index(table, scope, texts.buffer, start, end, found, parameters, scratch)
            if row < 0:
                continue
            _learn(table, fingerprint, row)
        table.rows[row]["last_used"] = table.clock[0]
        found.template[i] = row
        found.tier[i] = tier if tier != 0 else way
        found.parameter_count[i] = table.rows[row]["parameters"]
        parameters += found.parameter_count[i]
    return n, parameters


def _matches(rows: int, parameters: int) -> Matches:
    return Matches(
        template=np.empty(rows, np.int64),
        tier=np.empty(rows, np.uint8),
        fingerprint=np.empty(rows, np.uint64),
        first_parameter=np.empty(rows, np.int64),
        parameter_count=np.empty(rows, np.int64),
        start=np.empty(parameters, np.int64),
        end=np.empty(parameters, np.int64),
    )


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()


def _grown(array: npt.NDArray[_Number], used: int, more: int) -> npt.NDArray[_Number]:
    """Return `array`, or a longer one that starts with its first `used` places, with room for `more`."""
    if used + more <= array.size:
        return array
    longer = np.zeros(2 * (used + more), array.dtype)
    longer[:used] = array[:used]
    return longer


class TemplateTable:
    """At most `capacity` templates in numbered rows, and the fingerprints of the messages they were found for.

    A scope, 0 or more, keeps the templates of one source apart from those of others. A row stays a template's until
    it is removed or evicted; then a later template may get it. Who still holds `Matches` must not let go of their rows:
    `evict` takes the tick from which on rows are in use.
    """

    def __init__(self, *, capacity: int, fingerprint_capacity: int) -> None:
        # Untouched pages of zeros cost no memory.
        self._table = Table(
            rows=np.zeros(capacity, ROW),
            rivals=np.zeros((capacity, RIVALS), np.int32),
            literals=np.zeros(1 << 12, np.uint8),
            pieces=np.zeros(1 << 10, np.int32),
            heads=np.zeros(_power_of_two(8 * capacity), np.int32),
            fingerprints=np.zeros(max(_power_of_two(fingerprint_capacity), _WAYS), np.uint64),
            clock=np.zeros(2, np.int64),
        )
        self._templates: list[Template | None] = []
        self._slots: list[int] = []
        self._row_of: dict[tuple[int, str], int] = {}
        self._rows_of: dict[int, dict[int, None]] = {}
        self._free: list[int] = []
        self._literals_used = 0
        self._pieces_used = 0
        self._literals_live = 0

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def free(self) -> int:
        """How many templates fit before some must be evicted."""
        return len(self._table.rows) - len(self)

    @property
    def tick(self) -> int:
        """The number of calls of `look_up` so far."""
        return int(self._table.clock[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, those included that were never touched."""
        return sum(array.nbytes for array in self._table)

    def row_of(self, template_id: str, scope: int) -> int | None:
        """Return the row of a template, None if it is not here."""
        return self._row_of.get((scope, template_id))

    def template(self, row: int) -> Template:
        """Return the template of a row.

        Raises:
            KeyError: the row is free.

        """
        template = self._templates[row] if 0 <= row < len(self._templates) else None
        if template is None:
            raise KeyError(row)
        return template

    def rows(self, scope: int) -> Iterator[int]:
        """Return the rows of a scope, in the order of their templates' arrival."""
        return iter(tuple(self._rows_of.get(scope, ())))

    def add(self, template: Template, scope: int) -> int:
        """Add a template and return its row.

        Where its id is there already, the two become one: a parameter may hold white space if either's may, new names
        and the new confidence replace the old. Takes time by the templates of the scope (some 10 ns each).

        Raises:
            ValueError: the template has more than MAX_PARAMETERS parameters or an empty literal inside, or the table is
                full: evict first.

        """
        row = self._row_of.get((scope, template.id))
        if row is not None:
            known = self.template(row)
            merged = replace(
                template,
                spacious=tuple(map(or_, known.spacious, template.spacious)),
                names=tuple(new or old for old, new in zip(known.names, template.names, strict=True)),
            )
            if merged.spacious != known.spacious:
                last_used = self._table.rows[row]["last_used"]
                self._unfile(row)
                self._file(row, merged, scope)
                self._table.rows[row]["last_used"] = last_used
            self._templates[row] = merged
            return row
        _check(template)
        if self._free:
            row = self._free.pop()
        elif len(self._templates) < len(self._table.rows):
            row = len(self._templates)
            self._templates.append(None)
            self._slots.append(0)
        else:
            msg = f"the table holds {len(self)} templates, as many as it may: evict some"
            raise ValueError(msg)
        self._row_of[scope, template.id] = row
        self._rows_of.setdefault(scope, {})[row] = None
        self._templates[row] = template
        self._file(row, template, scope)
        return row

    def remove(self, row: int) -> None:
        """Forget the template of a row, which a later one may then get.

        Raises:
            KeyError: the row is free.

        """
        template = self.template(row)
        scope = int(self._table.rows[row]["owner"]) - 1
        self._unfile(row)
        self._table.rows[row]["owner"] = 0
        self._templates[row] = None
        del self._row_of[scope, template.id], self._rows_of[scope][row]
        self._free.append(row)

    def evict(self, count: int, *, before: int | None = None) -> list[int]:
        """Remove up to `count` templates, those that were found longest ago, and return their rows.

        Of templates that were added or found since the tick `before`, none goes; by default since the latest look-up.
        """
        before = self.tick if before is None else before
        rows = np.fromiter(self._row_of.values(), np.int64, len(self))
        last_used = self._table.rows["last_used"][rows]
        order = np.argsort(last_used, kind="stable")
        evicted = [int(rows[place]) for place in order[:count] if last_used[place] < before]
        for row in evicted:
            self.remove(row)
        return evicted

    def look_up(
        self, texts: Texts, headers: Headers, scope: int, *, only: Matches | None = None, tier: int | None = None
    ) -> Matches:
        """Find the template of each message and the spans of its parameters.

        With `only`, an earlier answer for the same rows, what it found is kept and its misses alone are looked up.
        `tier` is noted for what is found now, instead of the way it was found. Rows of `texts` with length -1 are
        misses with fingerprint 0 and tier TIER_MISS.

        Raises:
            ValueError: `only` has another number of rows.

        """
        n = len(texts.length)
        if only is not None and len(only.template) != n:
            msg = f"the earlier matches have {len(only.template)} rows, the texts have {n}"
            raise ValueError(msg)
        self._table.clock[0] += 1
        kept = only if only is not None else _matches(0, 0)
        found = _matches(n, 4 * n + MAX_PARAMETERS)
        row = parameters = 0
        while True:
            row, parameters = _look_up(self._table, texts, headers, scope, kept, tier or 0, found, n, row, parameters)
            if row == n:
                return found._replace(start=found.start[:parameters], end=found.end[:parameters])
            found = found._replace(
                start=_grown(found.start, parameters, found.start.size),
                end=_grown(found.end, parameters, found.end.size),
            )

    def _file(self, row: int, template: Template, scope: int) -> None:
        """Write a template's row, file it in the index and tell its rivals."""
        blob = b"".join(template.literals)
        pieces = len(template.literals)
        if self._literals_used - self._literals_live > self._literals_live + (1 << 16):
            self._compact()
        literals = _grown(self._table.literals, self._literals_used, len(blob))
        self._table = self._table._replace(
            literals=literals, pieces=_grown(self._table.pieces, self._pieces_used, pieces)
        )
        self._write(row, template)
        self._literals_live += len(blob)
        entry = self._table.rows[row]
        entry["id"] = int(template.id, 16)
        entry["literal_bytes"] = len(blob)
        entry["owner"] = scope + 1
        entry["rival_count"] = 0
        entry["spaces"] = blob.count(b" ") + blob.count(b"\t")
        entry["parameters"] = len(template.spacious)
        entry["letterless"] = template.letterless
        entry["spacious"] = any(template.spacious)
        entry["last_used"] = self.tick
        self._chain(row, self._slot(template, scope))
        find_rivals(self._table, row, len(self._templates))

    def _write(self, row: int, template: Template) -> None:
        """Write a template's literals and pieces behind those that are there."""
        blob = b"".join(template.literals)
        entry = self._table.rows[row]
        entry["literals_start"], entry["pieces_start"] = self._literals_used, self._pieces_used
        self._table.literals[self._literals_used : self._literals_used + len(blob)] = np.frombuffer(blob, np.uint8)
        pieces = [
            len(literal) << 1 | spacious
            for literal, spacious in zip(template.literals, (*template.spacious, False), strict=True)
        ]
        self._table.pieces[self._pieces_used : self._pieces_used + len(pieces)] = pieces
        self._literals_used += len(blob)
        self._pieces_used += len(pieces)

    def _compact(self) -> None:
        """Move the literals and pieces that are still in use to the front."""
        self._literals_used = self._pieces_used = 0
        for row in self._row_of.values():
            if self._table.rows[row]["owner"] != 0:
                self._write(row, self.template(row))

    def _unfile(self, row: int) -> None:
        """Take a template out of the index and from its rivals."""
        entry = self._table.rows[row]
        self._literals_live -= int(entry["literal_bytes"])
        before = 0
        at = int(self._table.heads[self._slots[row]])
        while at - 1 != row:
            before, at = at, int(self._table.rows[at - 1]["next"])
        if before:
            self._table.rows[before - 1]["next"] = entry["next"]
        else:
            self._table.heads[self._slots[row]] = entry["next"]
        counts = self._table.rows["rival_count"][: len(self._templates)]
        rivals = self._table.rivals[: len(self._templates)]
        for other in np.flatnonzero(((rivals == row) & (np.arange(RIVALS) < counts[:, None])).any(axis=1)):
            left = [rival for rival in rivals[other, : counts[other]] if rival != row]
            rivals[other, : len(left)] = left
            counts[other] = len(left)

    def _chain(self, row: int, slot: int) -> None:
        """Put a row into the chain of a slot, after the better ones."""
        rank = self._rank(row)
        before = 0
        at = int(self._table.heads[slot])
        while at and self._rank(at - 1) < rank:
            before, at = at, int(self._table.rows[at - 1]["next"])
        self._table.rows[row]["next"] = at
        if before:
            self._table.rows[before - 1]["next"] = row + 1
        else:
            self._table.heads[slot] = row + 1
        self._slots[row] = slot

    def _rank(self, row: int) -> tuple[int, int]:
        entry = self._table.rows[row]
        return -int(entry["literal_bytes"]), int(entry["id"])

    def _slot(self, template: Template, scope: int) -> int:
        """Choose the slot of the template's anchor with the shortest chain, then of the longest."""
        seed = templates.scope_seed(scope)
        slots = [
            templates.mix(seed, templates.word_hash(anchor)) & (self._table.heads.size - 1)
            for anchor in sorted(template.anchors, key=len, reverse=True)
        ]
        return min(slots or [seed & (self._table.heads.size - 1)], key=self._chain_length)

    def _chain_length(self, slot: int) -> int:
        length = 0
        at = int(self._table.heads[slot])
        while at:
            length, at = length + 1, int(self._table.rows[at - 1]["next"])
        return length


def _check(template: Template) -> None:
    """Refuse what the kernels can't hold."""
    if len(template.spacious) > MAX_PARAMETERS:
        msg = f"{len(template.spacious)} parameters: a template may have {MAX_PARAMETERS}"
        raise ValueError(msg)
    if not all(template.literals[1:-1]):
        msg = f"an empty literal between two parameters: {template.text}"
        raise ValueError(msg)
    if len(template.literals) != len(template.spacious) + 1 or len(template.names) != len(template.spacious):
        msg = f"{len(template.literals)} literals around {len(template.spacious)} parameters: {template.text}"
        raise ValueError(msg)
