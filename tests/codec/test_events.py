"""The reference of events, and the schema that is published."""

import json
from typing import Any

import msgpack
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from tests.columns.event_columns import FIELDS, Row, rows, write
from worker.codec.events import ReferenceEventWriter, event_schema
from worker.columns.layout import TIER_MODEL
from worker.parsing.types import TYPES

MESSAGE = b"Accepted connection from 10.0.0.7:5121"


def reference(**settings: Any) -> ReferenceEventWriter:
    """Make the reference."""
    return ReferenceEventWriter(resource={"service.name": "broker"}, fields=FIELDS, **settings)


def test_writes_an_event() -> None:
    """Members stand in the order that is documented, nothing is between them."""
    row = Row(
        message=MESSAGE,
        spans=((25, 38),),
        names=("address",),
        format=0,
        fields=(b"412", b"kafka.network.SocketServer", b""),
        level=b"INFO",
        severity=9,
        timestamp=1_795_359_600_123_000_000,
        precision=3,
        attributes={"stream": "stderr"},
        offset=17,
    )
    expected = (
        '{"timestamp":"2026-11-22T15:00:00.123Z","observed_timestamp":"2026-11-22T15:00:01.004Z",'
        '"severity_text":"INFO","severity_number":9,"body":"Accepted connection from 10.0.0.7:5121",'
        '"resource":{"service.name":"broker"},"attributes":{"log.record.template":"Accepted connection from <*>",'
        f'"log.record.template.id":"{row.template.id}","log.record.parameters":[{{"value":"10.0.0.7:5121",'
        '"type":"ip:port","name":"address","start":25,"end":38}],'
        '"log.record.parameter.address":"10.0.0.7:5121","process.pid":412,'
        '"log.logger":"kafka.network.SocketServer","stream":"stderr","logloom.source":"broker",'
        '"logloom.topic":"raw.broker","logloom.partition":3,"logloom.offset":17,"logloom.parser":"base-1",'
        '"logloom.cache":"hit","logloom.confidence":0.98}}'
    )
    assert [expected.encode()] == write(reference(), [row])
    assert [msgpack.packb(json.loads(expected))] == write(reference(format="msgpack"), [row])


def test_leaves_out_what_is_not_there() -> None:
    """A bare line of a file has no time, severity, parameters or place."""
    (event,) = write(reference(), [Row(message=b"ready", tier=TIER_MODEL)], topic=None, terminator=b"\n")
    assert event is not None
    value = json.loads(event)
    assert list(value) == ["observed_timestamp", "body", "resource", "attributes"]
    assert value["attributes"] == {
        "log.record.template": "ready",
        "log.record.template.id": Row(message=b"ready").template.id,
        "log.record.parameters": [],
        "logloom.source": "broker",
        "logloom.parser": "base-1",
        "logloom.cache": "miss",
        "logloom.confidence": 0.98,
    }
    assert event.endswith(b"}\n")


def test_rows_without_a_template_or_a_text_are_no_events() -> None:
    """Misses and tombstones are left out."""
    batch = [Row(message=b"a", has_template=False), Row(message=b"b", is_dead=True), Row(message=b"c")]
    assert write(reference(), batch)[:2] == [None, None]


@settings(max_examples=100, deadline=None)
@given(row=rows())
def test_a_value_is_the_slice_at_its_span(row: Row) -> None:
    """Spans count the body's characters, whatever the bytes were."""
    for event in write(reference(format="msgpack"), [row]):
        if event is not None:
            value = msgpack.unpackb(event)
            for parameter in value["attributes"]["log.record.parameters"]:
                assert value["body"][parameter["start"] : parameter["end"]] == parameter["value"]


def test_the_schema_is_a_schema() -> None:
    """The published file is valid JSON Schema and knows every type of parameter."""
    schema: Any = event_schema()
    Draft202012Validator.check_schema(schema)
    assert list(TYPES) == schema["$defs"]["parameter"]["properties"]["type"]["enum"]


def test_the_schema_refuses_what_is_no_event() -> None:
    """Unknown members, half a place and wrong types don't pass."""
    (event,) = write(reference(), [Row(message=b"ready")])
    assert event is not None
    value = json.loads(event)
    validator = Draft202012Validator(event_schema())
    assert validator.is_valid(value)
    without_offset = {name: member for name, member in value["attributes"].items() if name != "logloom.offset"}
    with_index = value["attributes"] | {"logloom.index": 0}
    assert validator.is_valid({**value, "attributes": with_index})
    for change in ({"level": "INFO"}, {"body": 1}, {"timestamp": "yesterday"}, {"attributes": without_offset}):
        assert not validator.is_valid({**value, **change})
