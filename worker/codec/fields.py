"""Put fields that were asked for in words into written events.

Only sources with such fields pay for it: their events are read and written again, one by one.
"""

from typing import Literal

import msgpack
import numpy as np
import orjson

from worker.columns.layout import Events
from worker.parsing.fields import FieldReader


def with_fields(
    events: Events,
    reader: FieldReader,
    *,
    format: Literal["json", "msgpack"] = "json",  # noqa: A002  # the setting's name
    terminator: bytes = b"",
) -> Events:
    """Write the events again, with an attribute for each field that one answers; rows without an event stay so."""
    read, write = (orjson.loads, orjson.dumps) if format == "json" else (msgpack.unpackb, msgpack.packb)
    written = bytearray()
    start, length = np.zeros_like(events.start), np.full_like(events.length, -1)
    for row, (first, size) in enumerate(zip(events.start.tolist(), events.length.tolist(), strict=True)):
        start[row] = len(written)
        if size >= 0:
            event = read(events.buffer[first : first + size - len(terminator)].tobytes())
            reader.add(event)
            written += write(event) + terminator
            length[row] = len(written) - start[row]
    return Events(buffer=np.array(written, np.uint8), start=start, length=length)
