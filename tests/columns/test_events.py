"""The compiled event writer writes what the reference writes, and strict readers read it."""

import json
from dataclasses import replace
from typing import Any, Literal, NoReturn

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.columns.event_columns import FIELDS, Row, columns, rows, write
from worker.codec.events import ReferenceEventWriter, event_schema
from worker.columns.events import EventWriter
from worker.columns.layout import NO_TIME, TIER_MODEL
from worker.parsing.templates import MAX_PARAMETERS

RESOURCE = {"service.name": "broker", 'odd "näme"': [1, None, {"a": 0.5}]}
VALIDATOR = Draft202012Validator(event_schema())

Format = Literal["json", "msgpack"]


def writer(form: Format = "json") -> EventWriter:
    """Make a compiled writer."""
    return EventWriter(resource=RESOURCE, fields=FIELDS, format=form)


def reference(form: Format = "json") -> ReferenceEventWriter:
    """Make the reference."""
    return ReferenceEventWriter(resource=RESOURCE, fields=FIELDS, format=form)


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise AssertionError(name)


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of members, each of which is there once."""
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def strictly(event: bytes | None) -> dict[str, Any]:
    """Read an event with two strict readers that agree, and check it against the schema."""
    assert event is not None
    value: dict[str, Any] = orjson.loads(event)
    assert value == json.loads(event, parse_constant=refuse_constant, object_pairs_hook=members)
    VALIDATOR.validate(value)
    return value


def only_event(row: Row, **batch: Any) -> dict[str, Any]:
    """Write one row with both writers and read its event."""
    (event,) = write(writer(), [row], **batch)
    assert write(reference(), [row], **batch) == [event]
    return strictly(event)


@pytest.mark.parametrize("form", ["json", "msgpack"])
@settings(max_examples=200, deadline=None)
@given(
    batch=st.lists(rows(), max_size=4), topic=st.sampled_from([None, 'raw "topic"']), end=st.sampled_from([b"", b"\n"])
)
def test_writes_what_the_reference_writes(form: Format, batch: list[Row], topic: str | None, end: bytes) -> None:
    """Any bytes in any column become the same event, byte for byte, as in plain Python."""
    expected = write(reference(form), batch, topic=topic, terminator=end)
    assert expected == write(writer(form), batch, topic=topic, terminator=end)


@settings(max_examples=150, deadline=None)
@given(row=rows())
def test_strict_readers_read_every_event(row: Row) -> None:
    """Events hold to JSON and to the schema, and a parameter's value is the body's slice at its span."""
    (event,) = write(writer(), [row])
    if row.is_dead or not row.has_template:
        assert event is None
        return
    value = strictly(event)
    assert value["body"] == row.message.decode(errors="replace")
    parameters = value["attributes"]["log.record.parameters"]
    assert len(row.spans) == len(parameters)
    for parameter in parameters:
        assert value["body"][parameter["start"] : parameter["end"]] == parameter["value"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"plain",
        b"exactly sixteen.",
        b'say "hi" to C:\\new',
        b"nul \x00 bell \x07 escape \x1b[31m delete \x7f",
        b"tab\tline\nreturn\rback\bfeed\f",
        "emoji \N{GRINNING FACE} and e\u0301 and \u2028 and \ufeff".encode(),
        b"\xff\xfe broken \xe2\x82 cut \xf0\x9f\x98",
        b"surrogates \xed\xa0\xbd\xed\xb8\x80 overlong \xc0\x80",
        b"noncharacters \xef\xbf\xbe \xef\xbf\xbf",
    ],
)
def test_keeps_the_message(message: bytes) -> None:
    """The body is the message, invalid UTF-8 replaced as Python replaces it."""
    event = only_event(Row(message=message, spans=((len(message) // 2, len(message)),)))
    assert message.decode(errors="replace") == event["body"]


@pytest.mark.parametrize("byte", [b"x", b"\x01", b"\xff", b'"'])
def test_writes_a_line_of_a_megabyte(byte: bytes) -> None:
    """The buffer grows for what does not fit, however much escapes add."""
    row = Row(message=byte * (1 << 20), spans=((10, 1 << 20),))
    batch = [Row(message=b"before"), row, Row(message=b"after")]
    assert write(reference(), batch) == write(writer(), batch)


@pytest.mark.parametrize("length", [0, 10, 11, 31, 32, 85, 86, 255, 256, 21_845, 21_846, 65_535, 65_536])
def test_msgpack_strings_have_the_header_that_fits(length: int) -> None:
    """Replaced bytes are three, which may need a longer header than the raw bytes; spans move along."""
    broken = b"\xff" * length
    row = Row(
        message=broken,
        spans=((length // 3, length // 2), (length, length)),
        level=broken,
        format=0,
        fields=(b"1", broken),
    )
    assert write(reference("msgpack"), [row]) == write(writer("msgpack"), [row])


@pytest.mark.parametrize(
    "number", [*(edge + near for edge in (0, 2**7, 2**8, 2**16, 2**32) for near in (-1, 0)), 10**18 - 1]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_msgpack_integers_are_the_shortest(number: int, sign: int) -> None:
    """Integers take the form that a packer would choose."""
    batch = [Row(message=b"x", format=1, fields=(b"%d" % (sign * value),)) for value in (number, number // 2)]
    assert write(reference("msgpack"), batch) == write(writer("msgpack"), batch)


@pytest.mark.parametrize("count", [5, 6, 70_000])
def test_msgpack_counts_attributes(count: int) -> None:
    """Ten attributes are always there; those of envelopes may be many."""
    row = Row(message=b"x", attributes={f"field {number}": number for number in range(count)})
    assert write(reference("msgpack"), [row]) == write(writer("msgpack"), [row])


def test_writes_batches_larger_than_its_buffer() -> None:
    """A batch that needs several buffers comes out whole and in order."""
    batch = [Row(message=b"line %d %b" % (number, b"\x02" * 400), offset=number) for number in range(1500)]
    events = write(writer(), batch)
    assert list(range(1500)) == [strictly(event)["attributes"]["logloom.offset"] for event in events]


@pytest.mark.parametrize("count", [0, 1, MAX_PARAMETERS])
def test_writes_as_many_parameters_as_a_template_may_have(count: int) -> None:
    """No parameter, one, or the most that there may be."""
    message = b" ".join(b"%d" % number for number in range(count))
    starts = [len(b"".join(b"%d " % before for before in range(number))) for number in range(count)]
    row = Row(message=message, spans=tuple((start, start + len(b"%d" % i)) for i, start in enumerate(starts)))
    values = [parameter["value"] for parameter in only_event(row)["attributes"]["log.record.parameters"]]
    assert [str(number) for number in range(count)] == values


def test_named_parameters_are_attributes_too() -> None:
    """Each under its name, a repeated name with a number; without a name a parameter is in the list alone."""
    names = ("size", "", "size", "user")
    row = Row(message=b'1 2 30 "\xff"', spans=((0, 1), (2, 3), (4, 6), (7, 10)), names=names)
    attributes = only_event(row)["attributes"]
    assert {"size": "1", "size_2": "30", "user": '"\ufffd"'} == {
        name.removeprefix("log.record.parameter."): value
        for name, value in attributes.items()
        if name.startswith("log.record.parameter.")
    }
    assert write(reference("msgpack"), [row]) == write(writer("msgpack"), [row])


def test_refuses_a_template_with_more() -> None:
    """A template beyond the limit never reaches the kernel."""
    with pytest.raises(ValueError, match="129 parameters"):
        writer().set_template(
            0, Row(message=b"x" * 200, spans=tuple((i, i) for i in range(MAX_PARAMETERS + 1))).template
        )


def test_a_character_across_a_span_belongs_where_it_starts() -> None:
    """A span that cuts a character in two leaves the body whole."""
    event = only_event(Row(message="a\N{EURO SIGN}b".encode(), spans=((0, 2), (3, 5))))
    first, second = event["attributes"]["log.record.parameters"]
    assert (first["value"], first["start"], first["end"]) == ("a\N{EURO SIGN}", 0, 2)
    assert (second["value"], second["start"], second["end"]) == ("b", 2, 3)


def test_time_is_the_header_s_first() -> None:
    """The header's time beats the envelope's, which beats the record's; without any there is none."""
    row = Row(message=b"x", timestamp=1, precision=9, envelope_timestamp=2_000, record_timestamp=3)
    assert only_event(row)["timestamp"] == "1970-01-01T00:00:00.000000001Z"
    row = replace(row, timestamp=NO_TIME)
    assert only_event(row)["timestamp"] == "1970-01-01T00:00:00.000002Z"
    row = replace(row, envelope_timestamp=NO_TIME)
    assert only_event(row)["timestamp"] == "1970-01-01T00:00:00.003Z"
    row = replace(row, record_timestamp=-1)
    assert "timestamp" not in only_event(row)


@pytest.mark.parametrize("form", ["json", "msgpack"])
@settings(max_examples=100, deadline=None)
@given(
    times=st.lists(
        st.tuples(
            st.integers(-3, 3) | st.sampled_from([-(2**33), 2**33]), st.integers(0, 10**9 - 1), st.integers(0, 9)
        ),
        max_size=12,
    )
)
def test_times_of_the_same_second(form: Format, times: list[tuple[int, int, int]]) -> None:
    """Rows of one second share its text, and each has its own fraction, before 1970 too."""
    batch = [Row(message=b"x", timestamp=second * 10**9 + ns, precision=digits) for second, ns, digits in times]
    assert write(reference(form), batch) == write(writer(form), batch)


@pytest.mark.parametrize(
    ("row", "text", "number"),
    [
        (Row(message=b"x", level=b"warning", severity=13), "warning", 13),
        (Row(message=b"x", level=b"ODD"), "ODD", None),
        (Row(message=b"x", severity=10), "INFO", 10),
        (Row(message=b"x", envelope_severity=24), "FATAL", 24),
        (Row(message=b"x", severity=1, envelope_severity=24), "TRACE", 1),
        (Row(message=b"x"), None, None),
        (Row(message=b"x", severity=25), None, None),
    ],
)
def test_severity(row: Row, text: str | None, number: int | None) -> None:
    """The level stands as written, else as OpenTelemetry names its number."""
    event = only_event(row)
    assert (text, number) == (event.get("severity_text"), event.get("severity_number"))


def test_header_fields_are_integers_where_they_can_be() -> None:
    """A field of kind integer that JSON can't hold, or readers would round, stays text."""
    texts = [b"0", b"-17", b"999999999999999999", b"1000000000000000000", b"007", b"-", b"-0", b"1.5", b"12a"]
    events = [only_event(Row(message=b"x", format=1, fields=(text,))) for text in texts]
    expected = [0, -17, 999999999999999999, "1000000000000000000", "007", "-", "-0", "1.5", "12a"]
    assert expected == [event["attributes"]["weight"] for event in events]


def test_only_the_model_is_a_miss() -> None:
    """Whatever the cache answered is a hit."""
    caches = [
        only_event(Row(message=b"x", tier=tier))["attributes"]["logloom.cache"] for tier in range(1, TIER_MODEL + 1)
    ]
    assert caches == ["hit", "hit", "hit", "miss"]


def test_a_message_type_stands_with_its_confidence() -> None:
    """A template's type stands in the event; without one both attributes are absent."""
    attributes = only_event(Row(message=b"x", type='disk "error"', type_confidence=0.912345))["attributes"]
    assert ('disk "error"', 0.9123) == (attributes["log.record.type"], attributes["log.record.type.confidence"])
    assert {"log.record.type", "log.record.type.confidence"}.isdisjoint(only_event(Row(message=b"x"))["attributes"])


def test_files_have_no_topic() -> None:
    """Lines of a file come without records, topic, partition and offset."""
    compiled = writer()
    compiled.set_template(0, Row(message=b"x").template)
    texts, headers, matches, _ = columns([Row(message=b"x")])
    events = compiled.write(
        texts,
        headers,
        matches,
        None,
        source="stdin",
        topic=None,
        partition=0,
        parser_version="base-1",
        observed_ns=0,
        terminator=b"\n",
    )
    written = events.buffer.tobytes()
    assert written.endswith(b"}}\n")
    names = set(strictly(written)["attributes"])
    assert names == {
        "log.record.template",
        "log.record.template.id",
        "log.record.parameters",
        "logloom.source",
        "logloom.parser",
        "logloom.cache",
        "logloom.confidence",
    }


def test_the_template_s_attribute_has_the_name_that_was_set() -> None:
    """Settings may name the attribute otherwise."""
    compiled = EventWriter(resource={}, template_attribute="my.template")
    (event,) = write(compiled, [Row(message=b"a 1", spans=((2, 3),))])
    assert strictly(event)["attributes"]["my.template"] == "a <*>"


@pytest.mark.parametrize("form", ["json", "msgpack"])
@settings(max_examples=100, deadline=None)
@given(batch=st.lists(rows(), max_size=3))
def test_named_parameters_need_no_attributes(form: Format, batch: list[Row]) -> None:
    """Where settings say so, a name stands in the list of parameters alone."""
    expected, given_up = (
        write(made(resource={}, fields=FIELDS, format=form, has_parameter_attributes=False), batch)
        for made in (ReferenceEventWriter, EventWriter)
    )
    assert expected == given_up
    assert not any(event and b"log.record.parameter." in event for event in given_up)


def test_an_unknown_template_is_an_error() -> None:
    """A row whose template was never set, or was cleared, is a mistake of the caller."""
    compiled = writer()
    write(compiled, [Row(message=b"x")])
    compiled.clear_template(0)
    compiled.clear_template(0)
    batch = columns([Row(message=b"x")])
    with pytest.raises(LookupError, match="row 0 has template 0"):
        write_columns(compiled, batch)
    far = batch._replace(matches=batch.matches._replace(template=np.array([10**9])))
    with pytest.raises(LookupError, match="row 0 has template 1000000000"):
        write_columns(compiled, far)


def test_a_wrong_number_of_parameters_is_an_error() -> None:
    """Spans that belong to another template are a mistake of the caller."""
    compiled = writer()
    compiled.set_template(0, Row(message=b"x").template)
    with pytest.raises(ValueError, match="row 0 has 1 parameters"):
        write_columns(compiled, columns([Row(message=b"x", spans=((0, 1),))]))


def test_a_topic_without_records_is_an_error() -> None:
    """An event that names its topic names its offset, too."""
    with pytest.raises(ValueError, match="topic t "):
        write_columns(writer(), columns([Row(message=b"x")])._replace(records=None))


def write_columns(compiled: EventWriter, batch: Any) -> None:
    """Write columns as they are."""
    compiled.write(*batch, source="s", topic="t", partition=0, parser_version="p", observed_ns=0)


def test_spans_outside_the_message_read_nothing_else() -> None:
    """Spans that leave the message, or run backwards, are cut to it."""
    batch = columns([Row(message=b"abc", spans=((0, 1), (1, 2))), Row(message=b"secret")])
    compiled = writer()
    compiled.set_template(0, Row(message=b"abc", spans=((0, 1), (1, 2))).template)
    compiled.set_template(1, Row(message=b"secret").template)
    wild = batch.matches._replace(start=np.array([-5, 900]), end=np.array([1000, -900]))
    write_columns(compiled, batch._replace(matches=wild))


def test_many_templates_come_and_go() -> None:
    """Rows of the template table are used again, and the room of what was there."""
    compiled = writer()
    for number in range(3000):
        compiled.set_template(number % 100, Row(message=b"template %d %b" % (number, b"x" * 200)).template)
        if number % 3 == 0:
            compiled.clear_template((number + 50) % 100)
    row = Row(message=b"a %s b" % (b"y" * 100), spans=((2, 102),), names=("letters",))
    (event,) = write(compiled, [row])
    assert write(reference(), [row]) == [event]
    assert compiled._templates.columns.buffer.size < 1 << 20


def test_an_empty_batch_has_no_events() -> None:
    """No rows, no events."""
    assert write(writer(), []) == []
