"""Columns for tests of event writers: from rows as values, and rows as Hypothesis makes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from hypothesis import strategies as st

from worker.columns.layout import (
    MAX_FIELDS,
    NO_TIME,
    NONE,
    TIER_FINGERPRINT,
    TIER_MODEL,
    Events,
    Headers,
    Matches,
    Records,
    Texts,
)
from worker.parsing.templates import Template

#: Two header formats: three fields, and one.
FIELDS = ((("process.pid", "integer"), ("log.logger", "text"), ('thread "name"', "text")), (("weight", "integer"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one row's columns hold."""

    message: bytes
    #: Byte spans of the parameters in the message.
    spans: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] | None = None
    confidence: float = 0.98
    type: str = ""
    type_confidence: float = 0.0
    has_template: bool = True
    is_dead: bool = False
    tier: int = TIER_FINGERPRINT
    format: int = -1
    fields: tuple[bytes, ...] = ()
    level: bytes = b""
    severity: int = 0
    timestamp: int = NO_TIME
    precision: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    envelope_timestamp: int = NO_TIME
    envelope_severity: int = 0
    offset: int = 0
    place: int = NONE
    record_timestamp: int = -1

    @property
    def template(self) -> Template:
        """The template that the spans cut out of the message."""
        edges = [0, *(edge for span in self.spans for edge in span), len(self.message)]
        return Template(
            literals=tuple(self.message[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)),
            spacious=(True,) * len(self.spans),
            names=self.names or ("",) * len(self.spans),
            confidence=self.confidence,
            type=self.type,
            type_confidence=self.type_confidence,
        )


class Columns(NamedTuple):
    """The arguments of `write`."""

    texts: Texts
    headers: Headers
    matches: Matches
    records: Records | None


class Writer(Protocol):
    """What the compiled writer and the reference have in common."""

    def set_template(self, row: int, template: Template) -> None:
        """Let `row` be `template`."""

    def write(  # the columns
        self,
        texts: Texts,
        headers: Headers,
        matches: Matches,
        records: Records | None,
        *,
        source: str,
        topic: str | None,
        partition: int,
        parser_version: str,
        observed_ns: int,
        terminator: bytes = b"",
    ) -> Events:
        """Write the events."""


def columns(rows: Sequence[Row]) -> Columns:
    """Lay out `rows` as columns; row i has template i; the last message ends where the buffer ends."""
    buffer = bytearray()
    attributes_buffer = bytearray()
    number: dict[str, list[Any]] = {}

    def add(**values: Any) -> None:
        for name, value in values.items():
            number.setdefault(name, []).append(value)

    for index, row in enumerate(rows):
        text_start = len(buffer)
        add(level_start=len(buffer), level_length=len(row.level))
        buffer += row.level
        spans = []
        for value in row.fields:
            spans.append((len(buffer), len(value)))
            buffer += value
        spans += [(0, 0)] * (MAX_FIELDS - len(spans))
        add(field_start=[span[0] for span in spans], field_length=[span[1] for span in spans])
        message_start = len(buffer)
        buffer += row.message
        add(message_start=message_start, message_length=len(row.message), start=text_start)
        add(length=-1 if row.is_dead else len(buffer) - text_start)
        members = json.dumps(row.attributes, ensure_ascii=False, separators=(",", ":")).encode()[1:-1]
        add(attributes_start=len(attributes_buffer), attributes_length=len(members))
        attributes_buffer += members
        add(template=index if row.has_template else -1, parameter_count=len(row.spans))
        add(first_parameter=sum(len(before.spans) for before in rows[:index]))
    starts = number["message_start"] if rows else []
    spans_of_all = [(at + start, at + end) for at, row in zip(starts, rows, strict=True) for start, end in row.spans]

    def integers(name: str) -> Any:
        return np.array(number.get(name, []), np.int64)

    def of(name: str, kind: Any = np.int64) -> Any:
        return np.array([getattr(row, name) for row in rows], kind)

    zeros = np.zeros(len(rows), np.int64)
    texts = Texts(
        buffer=np.array(buffer, np.uint8),
        start=integers("start"),
        length=integers("length"),
        record=np.arange(len(rows), dtype=np.int64),
        place=of("place"),
        attributes_buffer=np.array(attributes_buffer, np.uint8),
        attributes_start=integers("attributes_start"),
        attributes_length=integers("attributes_length"),
        timestamp=of("envelope_timestamp"),
        severity=of("envelope_severity", np.uint8),
    )
    headers = Headers(
        format=of("format"),
        message_start=integers("message_start"),
        message_length=integers("message_length"),
        timestamp=of("timestamp"),
        precision=of("precision", np.uint8),
        severity=of("severity", np.uint8),
        level_start=integers("level_start"),
        level_length=integers("level_length"),
        field_start=integers("field_start").reshape(len(rows), MAX_FIELDS),
        field_length=integers("field_length").reshape(len(rows), MAX_FIELDS),
    )
    matches = Matches(
        template=integers("template"),
        tier=of("tier", np.uint8),
        fingerprint=np.zeros(len(rows), np.uint64),
        first_parameter=integers("first_parameter"),
        parameter_count=integers("parameter_count"),
        start=np.array([span[0] for span in spans_of_all], np.int64),
        end=np.array([span[1] for span in spans_of_all], np.int64),
    )
    records = Records(
        np.zeros(0, np.uint8), of("offset"), of("record_timestamp"), zeros, zeros, zeros, zeros, zeros, zeros
    )
    return Columns(texts=texts, headers=headers, matches=matches, records=records)


def write(writer: Writer, rows: Sequence[Row], **batch: Any) -> list[bytes | None]:
    """Write `rows` with a writer that has no templates yet; None for a row without an event."""
    for index, row in enumerate(rows):
        if row.has_template:
            writer.set_template(index, row.template)
    facts = {"source": "broker", "topic": "raw.broker", "partition": 3, "parser_version": "base-1"}
    facts["observed_ns"] = 1_795_359_601_004_000_000
    events = writer.write(*columns(rows), **{**facts, **batch})
    return [
        events.buffer[start : start + length].tobytes() if length >= 0 else None
        for start, length in zip(events.start.tolist(), events.length.tolist(), strict=True)
    ]


#: Bytes that need care: escapes, and characters whole, broken and forbidden.
_AWKWARD = (
    *(b'"', b"\\", b"\x00", b"\x1f", b"\t", b"\r", b"\x08", b"\x0c", b"\n", b"\x7f"),
    *(
        b"\xe2\x80\xa8",
        b"\xc3\xa9",
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbf",
        b"\xf4\x90",
        b"\xe2",
        b"\xf0\x9f",
    ),
)
_PIECES = st.one_of(
    st.sampled_from(_AWKWARD),
    st.sampled_from([b"Accepted connection from ", b"10.0.0.7:5121", b"42", b"true", b"/var/log/messages", b" ms"]),
    st.binary(max_size=20),
    st.text(max_size=10).map(lambda text: text.encode("utf-8", "replace")),
)
#: Any bytes, mostly like logs.
BYTES = st.lists(_PIECES, max_size=8).map(b"".join)
_TIMES = st.one_of(
    st.just(NO_TIME), st.integers(NO_TIME + 1, 2**63 - 1), st.integers(0, 2**41).map(lambda n: n * 10**6)
)
_NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(lambda number: b"%d" % number),
    st.sampled_from([b"-0", b"007", b"-", b"0", b"1e3"]),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Make a row of any bytes with any spans."""
    message = draw(BYTES)
    count = draw(st.integers(0, 4))
    edges = sorted(draw(st.lists(st.integers(0, len(message)), min_size=2 * count, max_size=2 * count)))
    return Row(
        message=message,
        spans=tuple(zip(edges[::2], edges[1::2], strict=True)),
        names=tuple(draw(st.lists(st.sampled_from(["", "address", 'an "odd" näme']), min_size=count, max_size=count))),
        confidence=draw(st.floats(0, 1)),
        type=draw(st.sampled_from(["", "timeout", 'an "odd" tÿpe'])),
        type_confidence=draw(st.floats(0, 1)),
        has_template=draw(st.integers(0, 9)) > 0,
        is_dead=draw(st.integers(0, 9)) == 0,
        tier=draw(st.sampled_from([TIER_FINGERPRINT, TIER_MODEL])),
        format=(form := draw(st.integers(-1, 1))),
        fields=tuple(draw(st.lists(BYTES | _NUMBERS, max_size=[3, 1, 0][form]))),
        level=draw(st.sampled_from([b"", b"INFO", b"Warn"]) | BYTES),
        severity=draw(st.integers(0, 25)),
        timestamp=draw(_TIMES),
        precision=draw(st.integers(0, 9)),
        attributes=draw(st.dictionaries(st.sampled_from(["stream", "kubernetes", "log"]), _JSON, max_size=3)),
        envelope_timestamp=draw(_TIMES),
        envelope_severity=draw(st.integers(0, 25)),
        offset=draw(st.integers(0, 2**63 - 1)),
        place=draw(st.just(NONE) | st.integers(0, 2**31 - 1)),
        record_timestamp=draw(st.integers(-1, 2**63 - 1)),
    )
