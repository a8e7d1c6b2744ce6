"""Fields asked for in words, put into written events."""

import json
from typing import Literal

import msgpack
import numpy as np
import pytest

from worker.codec.fields import with_fields
from worker.columns.layout import Events
from worker.parsing.fields import FieldReader


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_events_get_their_fields_and_rows_without_events_stay_so(form: Literal["json", "msgpack"]) -> None:
    """The attribute is added, the terminator kept, and a row of length -1 has no event afterwards either."""
    event = {"body": "user=bob left", "attributes": {"log.record.template.id": "1", "log.record.parameters": []}}
    encode = (lambda one: json.dumps(one).encode()) if form == "json" else msgpack.packb
    written = encode(event) + b"\n"
    events = Events(
        buffer=np.frombuffer(written, np.uint8), start=np.array([0, 0]), length=np.array([len(written), -1])
    )
    found = with_fields(events, FieldReader.load(["user"]), format=form, terminator=b"\n")
    assert found.length.tolist() == [len(found.buffer), -1]
    line = found.buffer.tobytes()
    assert line.endswith(b"\n")
    read = json.loads(line) if form == "json" else msgpack.unpackb(line[:-1])
    assert read["attributes"]["log.record.field.user"] == "bob"
