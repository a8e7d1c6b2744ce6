"""Every decoder of envelopes: the compiled reader with bounds checks, and its reference, on the same records."""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np

from tests.columns_of import records_of
from tests.fuzz.target import Target
from worker.codec.envelopes import Envelope
from worker.columns.layout import Records

#: Stands between the records of one input.
SEPARATOR = b"\x1e"
_MOST_RECORDS = 8
#: Kinds that are JSON with other fields, by the input's first byte.
_JSON = ("json", "ecs", "docker", "gelf", "journald", "pino", "zap", "auto")


@cache
def _envelopes(kind: str) -> tuple[Envelope, Envelope]:
    """Return an envelope, and one that reads by the reference alone."""
    plain = Envelope(kind, detection_records=4)
    plain._readers = {}
    return Envelope(kind, detection_records=4), plain


def _opened(envelope: Envelope, records: Records) -> list[object]:
    """Tell everything that opening says; the attributes must be JSON."""
    envelope._votes, envelope._detection = Counter(), None  # as if it were new: `auto` keeps what it found
    opened = envelope.open(records)
    texts = opened.texts
    buffer, attributes = texts.buffer.tobytes(), texts.attributes_buffer.tobytes()
    partial = np.zeros(len(texts.start), np.bool_) if opened.partial is None else opened.partial
    spans = zip(texts.start.tolist(), texts.length.tolist(), strict=True)
    inside = zip(texts.attributes_start.tolist(), texts.attributes_length.tolist(), strict=True)
    columns = (texts.record, texts.timestamp, texts.severity, partial)
    return [
        [buffer[start : start + length] if length >= 0 else None for start, length in spans],
        [json.loads(b"{%b}" % attributes[at : at + size], parse_int=str, parse_float=str) for at, size in inside],
        *(column.tolist() for column in columns),
        opened.dead,
        opened.tombstones,
    ]


def _compare(kind: str, content: bytes) -> None:
    records = records_of(content.split(SEPARATOR)[:_MOST_RECORDS])
    envelope, plain = _envelopes(kind)
    assert _opened(plain, records) == _opened(envelope, records)


def _of(kind: str) -> Callable[[bytes], None]:
    return lambda content: _compare(kind, content)


def _json(content: bytes) -> None:
    _compare(_JSON[content[0] % len(_JSON)] if content else "json", content[1:])


TARGETS = [
    Target(name="envelope-json", read=_json),
    *(Target(name=f"envelope-{kind}", read=_of(kind)) for kind in ("auto", "cri", "msgpack", "otlp", "syslog")),
]
