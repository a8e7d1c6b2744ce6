"""The compiled redaction against its plain-Python reference, and the spans that move along."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns.event_columns import FIELDS, Columns, Row, columns, rows
from worker.columns.events import EventWriter
from worker.columns.pseudonyms import keyed_states, write_pseudonym
from worker.columns.redacting import ColumnRedactor
from worker.parsing.redaction import KINDS, Redaction, Way, has_form, kind_of_name

_KEY = b"sixteen bytes or more"
HASHED = Redaction(ways=dict.fromkeys(KINDS, "hash"), key=_KEY)

_PARTS = (
    b"10.0.0.1", b"1.2.3.4.5", b"256", b"fe80::1", b"2001:db8:0:0:0:0:0:1", b"::", b":443", b":", b".", b"\\n", b"@",
    b"bob", b"a.de", b"example.com", b"://", b"/", b"4111 1111 1111 1111", b"4111-1111", b"378282246310005",
    b"5555555555554444", b"-", b" ", b"  ", b"eyJhbGciOiJI.eyJzdWIiOiIx.abc", b"Bearer ", b"basic ", b"dXNlcjpwYXNz",
    b"AKIAIOSFODNN7EXAMPLE", b"0123456789abcdef", b"Qm9vYmFyMTIzNDU2Nzg5MGFiY2RlZ", b"e3b0c44298fc1c14", b"user", b"=",
    b'"', b"'", b"\\", b"password", b"apiKey", b"x_Token", b"email", b"card_number", b"Cookie", b"--", b"null", b",",
    b"\n", b"\t", b"\xc3\xa9", b"\xff", b"<", b">", b"=<", b"(", b"Z9", b"a", b"1", b"\x00", b"_",
)  # fmt: skip
#: Bytes that hold values, whole and broken, as often as not.
LINES = st.lists(st.sampled_from(_PARTS) | st.binary(max_size=6), max_size=14).map(b"".join)
_WAYS: st.SearchStrategy[dict[str, Way]] = st.dictionaries(st.sampled_from(KINDS), st.sampled_from(["mask", "hash"]))


@cache
def _redactor() -> ColumnRedactor:
    return ColumnRedactor(HASHED)


@settings(max_examples=1000)
@given(line=LINES)
def test_the_compiled_form_finds_what_the_reference_finds(line: bytes) -> None:
    """A text by itself is written as the reference writes it, hashes included."""
    assert HASHED.redacted(line) == _redactor().redacted(line)


@given(line=LINES, ways=_WAYS)
def test_each_kind_has_its_way(line: bytes, ways: dict[str, Way]) -> None:
    """What is masked, hashed and kept is as asked for."""
    redaction = Redaction(ways=ways, key=_KEY)
    assert redaction.redacted(line) == ColumnRedactor(redaction).redacted(line)


@given(value=st.binary(min_size=1, max_size=600), key=st.binary(min_size=16, max_size=64))
def test_pseudonyms_are_blake2b(value: bytes, key: bytes) -> None:
    """The compiled hash is hashlib's, for values of any number of blocks."""
    buffer, target = np.frombuffer(bytearray(value), np.uint8), np.zeros(16, np.uint8)
    scratch = (np.empty(8, np.uint64), np.empty(16, np.uint64), np.empty(16, np.uint64))
    for kind, name in enumerate(KINDS):
        write_pseudonym(target, 0, keyed_states(key), kind, buffer, 0, len(value), *scratch)
        expected = hashlib.blake2b(value, digest_size=8, key=key, person=name.encode()).hexdigest()
        assert target.tobytes().decode() == expected


def events_of(some: Sequence[Row], redaction: Redaction | None) -> tuple[list[dict[str, Any] | None], Columns]:
    """Write the events of rows, redacted or not; return the columns that the writer saw, too."""
    names = [[name for name, _ in fields] for fields in FIELDS]
    writer = EventWriter(resource={}, fields=FIELDS)
    seen = columns(some)
    if redaction is not None:
        redactor = ColumnRedactor(redaction, names)
        for index, row in enumerate(some):
            redactor.set_template(index, row.template)
        seen = Columns(*redactor.redact(seen.texts, seen.headers, seen.matches), seen.records)
    for index, row in enumerate(some):
        writer.set_template(index, row.template)
    events = writer.write(
        *seen, source="s", topic="t", partition=0, parser_version="p", observed_ns=1_795_359_601_004_000_000
    )
    spans = zip(events.start.tolist(), events.length.tolist(), strict=True)
    return [json.loads(events.buffer[at : at + size].tobytes()) if size >= 0 else None for at, size in spans], seen


@st.composite
def _rows(draw: st.DrawFn) -> Row:
    """Make a row whose message, level and fields hold values."""
    row = draw(rows())
    message = draw(LINES)
    count = draw(st.integers(0, 4))
    edges = sorted(draw(st.lists(st.integers(0, len(message)), min_size=2 * count, max_size=2 * count)))
    names = draw(
        st.lists(st.sampled_from(["", "user", "session_id", "client_ip", "email"]), min_size=count, max_size=count)
    )
    fields = tuple(draw(LINES) for _ in row.fields)
    return replace(
        row, message=message, spans=tuple(zip(edges[::2], edges[1::2], strict=True)), names=tuple(names), fields=fields
    )


@settings(max_examples=300)
@given(some=st.lists(_rows(), max_size=4))
def test_rows_are_redacted_in_all_their_texts(some: list[Row]) -> None:
    """Bodies, levels and fields are the reference's; each parameter is where it says it is."""
    events, seen = events_of(some, HASHED)
    before, _ = events_of(some, None)
    for row, event, former in zip(some, events, before, strict=True):
        if event is None or former is None:
            assert event is former
            continue
        attributes = event["attributes"]
        for one in attributes["log.record.parameters"]:
            assert one["value"] == event["body"][one["start"] : one["end"]]
        if HASHED.redacted(row.message) == row.message and not any(
            _is_named(row, place) for place in range(len(row.spans))
        ):
            assert event["body"] == former["body"]
            assert attributes["log.record.parameters"] == former["attributes"]["log.record.parameters"]
        elif not any(row.names or ()):
            assert event["body"] == HASHED.redacted(row.message).decode(errors="replace")
        if row.level:
            assert event["severity_text"] == HASHED.redacted(row.level).decode(errors="replace")
        for (name, _), value in zip(FIELDS[row.format] if row.format >= 0 else (), row.fields, strict=False):
            if value:
                assert str(attributes[name]) == HASHED.redacted(value).decode(errors="replace")
    assert len(seen.texts.start) == len(some)


def _is_named(row: Row, place: int) -> bool:
    kind = kind_of_name((row.names or ())[place])
    start, end = row.spans[place]
    return kind is not None and has_form(kind, row.message[start:end])


@settings(max_examples=300)
@given(message=LINES, data=st.data())
def test_parameters_with_a_name_are_redacted_whole(message: bytes, data: st.DataObject) -> None:
    """A parameter that is called a user or a token leaves as its kind, whatever it holds, unless that tells nothing."""
    start = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(start, len(message)))
    name = data.draw(st.sampled_from(["user", "user_2", "api_key", "http.authorization", "status"]))
    row = Row(message=message, spans=((start, end),), names=(name,))
    (event,), _ = events_of([row], HASHED)
    assert event is not None
    value = event["attributes"]["log.record.parameters"][0]["value"]
    if _is_named(row, 0):
        assert value.startswith("<")
        assert value.endswith(">")
        assert message[start:end].decode(errors="replace") != value


@pytest.mark.parametrize(
    ("message", "spans", "body", "values"),
    [
        (b"from 10.0.0.7 now", ((5, 13),), "from <ip> now", ["<ip>"]),
        (b"from 10.0.0.7 now", ((5, 9), (10, 13)), "from <ip> now", ["<ip>", ""]),
        (b"from 10.0.0.7 now", ((12, 13),), "from <ip> now", ["<ip>"]),
        (b"from 10.0.0.7 now", ((0, 17),), "from <ip> now", ["from <ip> now"]),
        (b"from 10.0.0.7 now", ((0, 7), (14, 17)), "from <ip> now", ["from <ip>", "now"]),
        (b"10.0.0.7 10.0.0.8 x", ((0, 8), (9, 17)), "<ip> <ip> x", ["<ip>", "<ip>"]),
        (b"\xc3\xa9 10.0.0.7 \xff x", ((12, 13),), "\xe9 <ip> \ufffd x", ["\ufffd"]),
    ],
)
def test_parameters_in_values(message: bytes, spans: tuple[tuple[int, int], ...], body: str, values: list[str]) -> None:
    """A parameter grows to what is written for the value that it is a part of; of several the first has it."""
    masked = Redaction(ways={"ip": "mask"})
    (event,), _ = events_of([Row(message=message, spans=spans)], masked)
    assert event is not None
    assert (event["body"], [one["value"] for one in event["attributes"]["log.record.parameters"]]) == (body, values)


def test_rows_without_values_keep_their_bytes() -> None:
    """Columns without a hit are given back as they are, not copied."""
    seen = columns([Row(message=b"took 12 ms", spans=((5, 7),))])
    same = _redactor().redact(seen.texts, seen.headers, seen.matches)
    assert all(one is other for one, other in zip(same, seen, strict=False))


def test_templates_come_and_go() -> None:
    """Names hold for the template that is in a row now."""
    redactor = ColumnRedactor(HASHED)
    row = Row(message=b"hello bob", spans=((6, 9),), names=("user",))
    for index in (0, 200, 70):
        redactor.set_template(index, row.template)
    redactor.clear_template(200)
    redactor.set_template(70, replace(row, names=("status",)).template)
    seen = columns([row] * 3)
    matches = seen.matches._replace(template=np.array([0, 200, 70]))
    texts, headers, _ = redactor.redact(seen.texts, seen.headers, matches)
    spans = zip(headers.message_start.tolist(), headers.message_length.tolist(), strict=True)
    bodies = [texts.buffer[at : at + size].tobytes() for at, size in spans]
    assert [body.startswith(b"hello <user:") for body in bodies] == [True, False, False]
