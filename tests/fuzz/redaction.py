"""Redaction of any bytes in any mixture of ways: kernels with bounds checks beside their reference."""

import json
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

import orjson

from tests.columns.event_columns import FIELDS, Row, columns
from tests.fuzz.envelopes import SEPARATOR
from tests.fuzz.target import Target
from worker.codec.redacting import Redactor
from worker.columns.events import EventWriter
from worker.columns.redacting import ColumnRedactor
from worker.parsing.redaction import (
    _FINDERS,
    KINDS,
    Hit,
    Redaction,
    Way,
    find,
    has_form,
    kind_of_name,
    merged,
    pseudonym,
)
from worker.parsing.templates import Template

_KEY = b"sixteen bytes or more"
#: What is done to a kind, by a digit of the input's first byte in base three; zero hashes all.
_WAYS: tuple[Way | None, ...] = ("hash", "mask", None)
_NAMES = ("", "user", "session_id", "client_ip", "email", "card_number", "http.authorization")
_MOST_ROWS = 8
#: Of longer inputs the beginning is taken: the reference is slow where coverage is watched.
_MOST_BYTES = 1 << 14
#: Longer texts are not tried as templates and members.
_MOST_TRIED = 2048


@cache
def _redaction(number: int) -> Redaction:
    ways: dict[str, Way] = {}
    for place, kind in enumerate(KINDS):
        way = _WAYS[number // 3**place % 3]
        if way is not None:
            ways[kind] = way
    return Redaction(ways=ways, key=_KEY)


@lru_cache(8)
def _redactor(number: int) -> ColumnRedactor:
    return ColumnRedactor(_redaction(number), [[name for name, _ in fields] for fields in FIELDS])


def _chosen(content: bytes) -> tuple[int, bytes]:
    return (content[0] if content else 0) % 3 ** len(KINDS), content[1:_MOST_BYTES]


def _check(redaction: Redaction, text: bytes, hits: Iterable[Hit], redacted: bytes) -> None:
    """Walk along what was written: all stays between the values, and for each stands its kind, or its pseudonym."""
    at = after = 0
    for start, end, kind in hits:
        assert at <= start < end <= len(text)
        assert redacted.startswith(text[at:start], after)
        after += start - at
        way = redaction.ways[KINDS[kind]]
        name = KINDS[kind]
        written = f"<{name}>" if way == "mask" else f"<{name}:{pseudonym(_KEY, name, text[start:end])}>"
        assert redacted.startswith(written.encode(), after)
        after += len(written)
        at = end
    assert redacted[after:] == text[at:]


def _text(content: bytes) -> None:
    """Redact a text by itself, as a template's constant, and as a member of an envelope's fields."""
    number, text = _chosen(content)
    redaction, redactor = _redaction(number), _redactor(number)
    redacted = redactor.redacted(text)
    hits = find(text, redaction.wanted)
    _check(redaction, text, hits, redacted)
    assert redaction.rewritten(text, hits) == redacted
    if len(text) <= _MOST_TRIED:
        template = redaction.template(Template.cut(text, []))
        assert template.literals == (redacted,) or b"\0" in text
        _object(redaction, text)


def _object(redaction: Redaction, text: bytes) -> None:
    """Redact the text as a member of an envelope's, with its first word for a name."""
    name, _, value = text.decode(errors="replace").partition(" ")
    redactor = Redactor(redaction, EventWriter(resource={}))
    members = orjson.dumps({"a": {name: [value]}})[1:-1]
    ((_, written),) = json.loads(b"{%b}" % redactor._redacted_members(members))["a"].items()
    kind = kind_of_name(f".a.{name}")
    if kind is not None and redaction.wanted[kind] and has_form(kind, value.encode()):
        assert written == [redaction.written(kind, value.encode()).decode()]
    else:
        assert written == [redaction.redacted(value.encode()).decode()]


def _row(piece: bytes) -> Row:
    """Make a row whose first bytes say where level, fields and message part, and where parameters lie."""
    lead, rest = piece[:8].ljust(8, b"\0"), piece[8:]
    form = lead[0] % 3 - 1
    edges = sorted(byte % (len(rest) + 1) for byte in lead[1 : 2 + (3, 1, 0)[form]])
    *parts, message = [rest[start:end] for start, end in zip([0, *edges], [*edges, len(rest)], strict=True)]
    places = sorted(byte * 7 % (len(message) + 1) for byte in lead[4:8])
    spans = tuple(zip(places[::2], places[1::2], strict=True))
    names = tuple(_NAMES[byte % len(_NAMES)] for byte in lead[4:8:2])
    return Row(message=message, level=parts[0], fields=tuple(parts[1:]), format=form, spans=spans, names=names)


def _named(name: str, start: int, end: int, text: bytes) -> list[Hit]:
    kind = kind_of_name(name)
    return [Hit(start, end, kind)] if kind is not None and has_form(kind, text[start:end]) else []


def _columns(content: bytes) -> None:
    """Redact rows side by side in one buffer: each part is as if it were alone, and each parameter stays inside."""
    number, rest = _chosen(content)
    redaction, redactor = _redaction(number), _redactor(number)
    rows = [_row(piece) for piece in rest.split(SEPARATOR)[:_MOST_ROWS]]
    for index, row in enumerate(rows):
        redactor.set_template(index, row.template)
    seen = columns(rows)
    texts, headers, matches = redactor.redact(seen.texts, seen.headers, seen.matches)
    buffer = texts.buffer.tobytes()

    def compare(text: bytes, named: Sequence[Hit], start: int, length: int) -> None:
        found = [*(hit for find_some in _FINDERS for hit in find_some(text)), *named]
        hits = merged(hit for hit in found if redaction.wanted[hit.kind])
        _check(redaction, text, hits, buffer[start : start + length])

    for index, row in enumerate(rows):
        pairs = zip(row.names or (), row.spans, strict=True)
        hits = [hit for name, span in pairs for hit in _named(name, *span, row.message)]
        message, length = int(headers.message_start[index]), int(headers.message_length[index])
        compare(row.message, hits, message, length)
        compare(row.level, [], int(headers.level_start[index]), int(headers.level_length[index]))
        for place, value in enumerate(row.fields):
            named = _named(FIELDS[row.format][place][0], 0, len(value), value)
            compare(value, named, int(headers.field_start[index, place]), int(headers.field_length[index, place]))
        first = int(matches.first_parameter[index])
        for parameter in range(first, first + int(matches.parameter_count[index])):
            assert message <= int(matches.start[parameter]) <= int(matches.end[parameter]) <= message + length


TARGETS = [Target(name="redact-text", read=_text), Target(name="redact-columns", read=_columns)]
