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
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from worker.columns.jit import inlined, kernel
from worker.columns.layout import (
    I64,
    TIER_FINGERPRINT,
    TIER_INDEX,
    TIER_MISS,
    U64,
    Headers,
    Matches,
    Texts,
)
from worker.columns.rivals import RIVALS, find_rivals
from worker.columns.verifying import (
    FIELDS,
    FLAGS,
    HEAD,
    HEAD_MASK,
    ID,
    IS_RIVAL,
    LAST_USED,
    LETTERLESS,
    LITERAL_BYTES,
    LITERALS_START,
    NEXT,
    OWNER,
    PARAMETERS,
    PIECES_START,
    RIVAL_COUNT,
    SCRATCH,
    SPACES_COUNT,
    TAIL,
    TAIL_MASK,
    WALKED,
    Table,
    is_better,
    keep_spans,
    verify,
)
from worker.columns.words import fingerprint_of, letters_at, load8, mix, scope_seed, signed, tail8
from worker.parsing import templates as reference
from worker.parsing.templates import MAX_PARAMETERS, Template

#: Fingerprints in a bucket: one cache line.
_WAYS = 8

_Number = TypeVar("_Number", bound=np.generic)


@inlined
def _can_not_match(rows: I64, row: int, owner: int, length: int, head: int, tail: int) -> bool:
    """Rule out most templates by their rows alone; `head` and `tail` are the first and last bytes of the message."""
    if rows[row, OWNER] != owner or length < rows[row, LITERAL_BYTES]:
        return True
    differing = (head ^ rows[row, HEAD]) & rows[row, HEAD_MASK] | (tail ^ rows[row, TAIL]) & rows[row, TAIL_MASK]
    return bool(differing != 0)


@inlined
def _move_to_front(fingerprints: U64, first: int, behind: int, entry: np.uint64) -> None:
    """Put `entry` in the first place of the bucket at `first`, in exchange for the one in place `behind`."""
    while behind > 0:
        fingerprints[first + behind] = fingerprints[first + behind - 1]
        behind -= 1
    fingerprints[first] = entry


@kernel
def _look_up(
    table: Table,
    texts: Texts,
    headers: Headers,
    scope: int,
    kept: Matches,
    tier: int,
    found: Matches,
    first_row: int,
    parameters: int,
) -> tuple[int, int]:
    """Look up rows from `first_row` on until the room for parameters may not do.

    `kept` holds what an earlier look-up found, or no rows; `tier` replaces the tier of what is found now, if not 0.
    Return the row that comes next and the parameters written so far.
    """
    rows, rivals, literals, pieces = table.rows, table.rivals, table.literals, table.pieces
    heads, fingerprints, clock = table.heads, table.fingerprints, table.clock
    buffer, lengths = texts.buffer, texts.length
    message_start, message_length = headers.message_start, headers.message_length
    templates, tiers, hashes = found.template, found.tier, found.fingerprint
    first_parameter, parameter_count, span_start, span_end = (
        found.first_parameter,
        found.parameter_count,
        found.start,
        found.end,
    )
    scratch = np.empty(SCRATCH, np.int64)
    owner = scope + 1
    seed = scope_seed(scope)
    for i in range(first_row, lengths.size):
        if parameters + MAX_PARAMETERS > span_start.size:
            return i, parameters
        first_parameter[i] = parameters
        parameter_count[i] = 0
        templates[i] = -1
        tiers[i] = TIER_MISS
        hashes[i] = 0
        if lengths[i] < 0:
            continue
        if kept.template.size > 0 and kept.template[i] >= 0:
            count = kept.parameter_count[i]
            for number in range(count):
                span_start[parameters + number] = kept.start[kept.first_parameter[i] + number]
                span_end[parameters + number] = kept.end[kept.first_parameter[i] + number]
            parameter_count[i] = count
            templates[i] = kept.template[i]
            tiers[i] = kept.tier[i]
            hashes[i] = kept.fingerprint[i]
            parameters += count
            continue

        start = message_start[i]
        end = start + message_length[i]
        fingerprint = fingerprint_of(buffer, start, end, seed)
        hashes[i] = fingerprint
        bucket = signed(fingerprint & np.uint64(fingerprints.size // _WAYS - 1)) * _WAYS
        best = -1
        way = TIER_FINGERPRINT
        for place in range(_WAYS):
            entry = fingerprints[bucket + place]
            if (entry ^ fingerprint) >> np.uint64(32) != 0 or entry == 0:
                continue
            row = signed(entry & np.uint64(0xFFFFFFFF)) - 1
            if rows[row, OWNER] != owner or not verify(rows, row, pieces, literals, buffer, start, end, scratch):
                continue
            keep_spans(scratch, rows[row, PARAMETERS], span_start, span_end, parameters)
            if place > 0:
                _move_to_front(fingerprints, bucket, place, entry)
            best = row
            # Every better template that matches is among these, unless they are too many to be remembered.
            for number in range(rows[row, RIVAL_COUNT]):
                rival = rivals[row, number]
                if verify(rows, rival, pieces, literals, buffer, start, end, scratch):
                    keep_spans(scratch, rows[rival, PARAMETERS], span_start, span_end, parameters)
                    best = rival
                    break
            if rows[row, RIVAL_COUNT] < 0:
                best = -1
            break

        if best < 0:
            way = TIER_INDEX
            clock[1] += 1
            head, tail = signed(load8(buffer, start)), signed(tail8(buffer, end))
            # First the templates without an anchor, then those of each word.
            anchor, at = seed, start
            while at >= 0:
                row = signed(heads[signed(anchor & np.uint64(heads.size - 1))]) - 1
                # A word that comes again leads to nothing new: a line that repeats one word stays linear.
                if row >= 0 and rows[row, WALKED] != clock[1]:
                    rows[row, WALKED] = clock[1]
                    while row >= 0 and (best < 0 or is_better(rows, row, best)):
                        if not _can_not_match(rows, row, owner, end - start, head, tail) and verify(
                            rows, row, pieces, literals, buffer, start, end, scratch
                        ):
                            keep_spans(scratch, rows[row, PARAMETERS], span_start, span_end, parameters)
                            best = row
                        row = rows[row, NEXT] - 1
                at, word = letters_at(buffer, at, end)
                anchor = mix(seed, word)
            if best < 0:
                continue
            entry = (fingerprint & np.uint64(0xFFFFFFFF00000000)) | np.uint64(best + 1)
            place = 0
            while place < _WAYS - 1 and fingerprints[bucket + place] != entry:
                place += 1
            _move_to_front(fingerprints, bucket, place, entry)

        rows[best, LAST_USED] = clock[0]
        templates[i] = best
        tiers[i] = tier if tier != 0 else way
        parameter_count[i] = rows[best, PARAMETERS]
        parameters += rows[best, PARAMETERS]
    return lengths.size, parameters


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
            rows=np.zeros((capacity, FIELDS), np.int64),
            rivals=np.zeros((capacity, RIVALS), np.int64),
            literals=np.zeros(1 << 12, np.uint8),
            pieces=np.zeros(1 << 10, np.int64),
            heads=np.zeros(1 << 12, np.int32),
            fingerprints=np.zeros(max(_power_of_two(fingerprint_capacity), _WAYS), np.uint64),
            clock=np.zeros(2, np.int64),
        )
        self._templates: list[Template | None] = []
        # The hash of the anchor that a row is filed under.
        self._anchors: list[int] = []
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
            ValueError: the template has more than MAX_PARAMETERS parameters or an empty literal inside, the scope is
                negative, or the table is full: evict first.

        """
        _check(template, scope)
        row = self._row_of.get((scope, template.id))
        if row is not None:
            known = self.template(row)
            merged = replace(
                template,
                spacious=tuple(map(or_, known.spacious, template.spacious)),
                names=tuple(new or old for old, new in zip(known.names, template.names, strict=True)),
            )
            if merged.spacious != known.spacious:
                last_used = self._table.rows[row, LAST_USED]
                self._unfile(row)
                self._file(row, merged, scope)
                self._table.rows[row, LAST_USED] = last_used
            self._templates[row] = merged
            return row
        if self._free:
            row = self._free.pop()
        elif len(self._templates) < len(self._table.rows):
            row = len(self._templates)
            self._templates.append(None)
            self._anchors.append(0)
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
        self.hide(row)
        self.release(row)

    def hide(self, row: int) -> None:
        """Let no message find the template of a row any more; the row stays its own until it is released.

        Raises:
            KeyError: the row is free.

        """
        template = self.template(row)
        scope = int(self._table.rows[row, OWNER]) - 1
        self._unfile(row)
        del self._row_of[scope, template.id], self._rows_of[scope][row]

    def release(self, row: int) -> None:
        """Let a later template get a hidden row."""
        self._templates[row] = None
        self._free.append(row)

    def without_hidden(self, matches: Matches) -> Matches:
        """Make misses of the rows of `matches` whose templates are hidden."""
        is_hidden = (matches.template >= 0) & (self._table.rows[matches.template, OWNER] == 0)
        return matches._replace(template=np.where(is_hidden, -1, matches.template)) if is_hidden.any() else matches

    def evict(self, count: int, *, before: int | None = None) -> list[int]:
        """Remove up to `count` templates, those that were found longest ago, and return their rows.

        Of templates that were added or found since the tick `before`, none goes; by default since the latest look-up.
        """
        before = self.tick if before is None else before
        rows = np.fromiter(self._row_of.values(), np.int64, len(self))
        last_used = self._table.rows[rows, LAST_USED]
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
            row, parameters = _look_up(self._table, texts, headers, scope, kept, tier or 0, found, row, parameters)
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
        if 8 * len(self) > self._table.heads.size:
            self._spread()
        literals = _grown(self._table.literals, self._literals_used, len(blob))
        self._table = self._table._replace(
            literals=literals, pieces=_grown(self._table.pieces, self._pieces_used, pieces)
        )
        self._write(row, template)
        self._literals_live += len(blob)
        head, tail = template.literals[0][:8], template.literals[-1][-8:]
        entry = self._table.rows[row]
        entry[ID] = int(template.id, 16) - (1 << 63)
        entry[LITERAL_BYTES] = len(blob)
        entry[OWNER] = scope + 1
        entry[HEAD], entry[HEAD_MASK] = _eight(head.ljust(8, b"\0")), _eight((b"\xff" * len(head)).ljust(8, b"\0"))
        entry[TAIL], entry[TAIL_MASK] = _eight(tail.rjust(8, b"\0")), _eight((b"\xff" * len(tail)).rjust(8, b"\0"))
        entry[PARAMETERS] = len(template.spacious)
        entry[FLAGS] = LETTERLESS if template.letterless else 0
        entry[SPACES_COUNT] = -1 if any(template.spacious) else blob.count(b" ") + blob.count(b"\t")
        entry[LAST_USED] = self.tick
        entry[RIVAL_COUNT] = 0
        self._anchors[row] = self._anchor(template, scope)
        self._chain(row)
        table = self._table
        find_rivals(table.rows, table.rivals, table.pieces, table.literals, row, len(self._templates))

    def _write(self, row: int, template: Template) -> None:
        """Write a template's literals and pieces behind those that are there."""
        blob = b"".join(template.literals)
        entry = self._table.rows[row]
        entry[LITERALS_START], entry[PIECES_START] = self._literals_used, self._pieces_used
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
            if self._table.rows[row, OWNER] != 0:
                self._write(row, self.template(row))

    def _unfile(self, row: int) -> None:
        """Take a template out of the index and from its rivals."""
        entry = self._table.rows[row]
        entry[OWNER] = 0
        self._literals_live -= int(entry[LITERAL_BYTES])
        before = 0
        slot = self._slot(self._anchors[row])
        at = int(self._table.heads[slot])
        while at - 1 != row:
            before, at = at, int(self._table.rows[at - 1, NEXT])
        if before:
            self._table.rows[before - 1, NEXT] = entry[NEXT]
        else:
            self._table.heads[slot] = entry[NEXT]
        if entry[FLAGS] & IS_RIVAL:
            counts = self._table.rows[: len(self._templates), RIVAL_COUNT]
            rivals = self._table.rivals[: len(self._templates)]
            for other in np.flatnonzero(((rivals == row) & (np.arange(RIVALS) < counts[:, None])).any(axis=1)):
                left = [rival for rival in rivals[other, : counts[other]] if rival != row]
                rivals[other, : len(left)] = left
                counts[other] = len(left)

    def _spread(self) -> None:
        """Give the index four times the chains, so that few words of a message meet other words' templates."""
        self._table = self._table._replace(heads=np.zeros(4 * self._table.heads.size, np.int32))
        for row in self._row_of.values():
            if self._table.rows[row, OWNER] != 0:
                self._chain(row)

    def _chain(self, row: int) -> None:
        """Put a row into the chain of its anchor, after the better ones."""
        slot = self._slot(self._anchors[row])
        rank = self._rank(row)
        before = 0
        at = int(self._table.heads[slot])
        while at and self._rank(at - 1) < rank:
            before, at = at, int(self._table.rows[at - 1, NEXT])
        self._table.rows[row, NEXT] = at
        if before:
            self._table.rows[before - 1, NEXT] = row + 1
        else:
            self._table.heads[slot] = row + 1

    def _rank(self, row: int) -> tuple[int, int]:
        entry = self._table.rows[row]
        return -int(entry[LITERAL_BYTES]), int(entry[ID])

    def _slot(self, anchor: int) -> int:
        return anchor & (self._table.heads.size - 1)

    def _anchor(self, template: Template, scope: int) -> int:
        """Choose the hash of the template's anchor with the shortest chain, then of the longest."""
        seed = reference.scope_seed(scope)
        anchors = [
            reference.mix(seed, reference.word_hash(anchor))
            for anchor in sorted(template.anchors, key=len, reverse=True)
        ]
        return min(anchors or [seed], key=self._chain_length)

    def _chain_length(self, anchor: int) -> int:
        length = 0
        at = int(self._table.heads[self._slot(anchor)])
        while at:
            length, at = length + 1, int(self._table.rows[at - 1, NEXT])
        return length


def _eight(eight: bytes) -> int:
    return int.from_bytes(eight, "little", signed=True)


def _check(template: Template, scope: int) -> None:
    """Refuse what the kernels can't hold."""
    if scope < 0:
        msg = f"scope {scope}: scopes count from 0"
        raise ValueError(msg)
    if len(template.spacious) > MAX_PARAMETERS:
        msg = f"{len(template.spacious)} parameters: a template may have {MAX_PARAMETERS}"
        raise ValueError(msg)
    if not all(template.literals[1:-1]):
        msg = f"an empty literal between two parameters: {template.text}"
        raise ValueError(msg)
    if len(template.literals) != len(template.spacious) + 1 or len(template.names) != len(template.spacious):
        msg = f"{len(template.literals)} literals around {len(template.spacious)} parameters: {template.text}"
        raise ValueError(msg)
