"""Envelope fields without values: by form in any text, names included, and by what a field is called."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.columns.event_columns import Row, columns
from worker.codec.redacting import Redactor
from worker.columns.events import EventWriter
from worker.parsing.redaction import KINDS, Redaction, Way

MASKED: Mapping[str, Way] = dict.fromkeys(KINDS, "mask")


def redacted(attributes: Mapping[str, Any], ways: Mapping[str, Way] = MASKED) -> dict[str, Any]:
    """Write the event of a row with these envelope fields, and read them there."""
    writer = EventWriter(resource={})
    redactor = Redactor(Redaction(ways=ways), writer)
    row = Row(message=b"hello", attributes=attributes)
    redactor.set_template(0, row.template)
    seen = columns([row, row])
    redactor.set_template(1, row.template)
    events = writer.write(
        *redactor.redact(seen.texts, seen.headers, seen.matches),
        seen.records,
        source="s",
        topic="t",
        partition=0,
        parser_version="p",
        observed_ns=0,
    )
    spans = zip(events.start.tolist(), events.length.tolist(), strict=True)
    first, second = (json.loads(events.buffer[at : at + size].tobytes())["attributes"] for at, size in spans)
    assert first | {"logloom.offset": 0} == second | {"logloom.offset": 0}
    return {name: value for name, value in first.items() if not name.startswith(("log.", "logloom."))}


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"note": "from 10.0.0.7"}, {"note": "from <ip>"}),
        ({"note": "line\n10.0.0.7\ttab bob@example.com"}, {"note": "line\n<ip>\ttab <email>"}),
        ({"a": [{"b": ["x", "bob@example.com"]}]}, {"a": [{"b": ["x", "<email>"]}]}),
        ({"user": {"name": "bob", "id": 7, "a": ["x"]}}, {"user": {"name": "<user>", "id": "<user>", "a": ["x"]}}),
        ({"user": {"full": {"deep": "bob"}}, "uid": 0}, {"user": {"full": {"deep": "bob"}}, "uid": "<user>"}),
        ({"req": {"authorization": "x", "Cookie": "y"}}, {"req": {"authorization": "<token>", "Cookie": "<token>"}}),
        ({"10.0.0.7": 1, "10.0.0.8": 2}, {"<ip>": 1, "<ip>_2": 2}),
        ({"card": 4111111111111111, "n": 12}, {"card": "<card_number>", "n": 12}),
        (dict.fromkeys(("password", "token"), None), {"password": None, "token": None}),
        ({"token": "", "session": True, "secret": "none"}, {"token": "", "session": True, "secret": "none"}),
        ({"big": 2**63, "f": 0.1, "u": "é\u2028"}, {"big": 2**63, "f": 0.1, "u": "é\u2028"}),
    ],
)  # fmt: skip
def test_fields_are_redacted(attributes: dict[str, Any], written: dict[str, Any]) -> None:
    """Texts at any depth are looked at, and numbers that are called as a value is."""
    assert written == redacted(attributes)


def test_fields_that_are_kept() -> None:
    """Kinds that are not asked for stay, whatever they are called."""
    attributes = {"user": "bob", "ip": "10.0.0.7"}
    assert redacted(attributes, {"token": "mask"}) == attributes
