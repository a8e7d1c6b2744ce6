"""The compiled readers open every record as the plain-Python decoders do, or leave it to them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from worker.codec.envelopes import AUTO, PRESETS, Envelope, Fields
from worker.codec.envelopes.compiled import CriReader, JsonReader, SyslogReader
from worker.codec.envelopes.structured import JsonEnvelope
from worker.codec.envelopes.values import time_of
from worker.columns.layout import Records
from worker.columns.names import find_name, lay_out_names
from worker.columns.written_times import UNSURE, read_time
from worker.parsing.timestamps import Zone

MakeRecords = Callable[..., Records]


def _opened(envelope: Envelope, records: Records) -> list[Any]:
    """Everything that opening says, with attributes as JSON whose numbers stay as written."""
    opened = envelope.open(records)
    texts = opened.texts
    buffer, attributes = texts.buffer.tobytes(), texts.attributes_buffer.tobytes()
    partial = np.zeros(len(texts.start), np.bool_) if opened.partial is None else opened.partial
    rows = [
        (
            buffer[start : start + length] if length >= 0 else None,
            json.loads(b"{%b}" % attributes[first : first + size], parse_int=str, parse_float=str),
        )
        for start, length, first, size in zip(
            texts.start.tolist(),
            texts.length.tolist(),
            texts.attributes_start.tolist(),
            texts.attributes_length.tolist(),
            strict=True,
        )
    ]
    columns = (texts.record, texts.timestamp, texts.severity, partial)
    return [rows, *(column.tolist() for column in columns), opened.dead, opened.tombstones]


def _assert_same(records: Records, kind: str, **options: Any) -> None:
    plain = Envelope(kind, **options)
    plain._readers = {}
    assert _opened(plain, records) == _opened(Envelope(kind, **options), records)


_KEYS = st.sampled_from(
    ["message", "msg", "log", "level", "severity", "time", "@timestamp", "ts", "a", "b", "thread.name", "log.level", "",
     "logloom.offset", "log.record.template", "log.recorder", "envelope.a", "é", "k\n", "original", "event"]
)  # fmt: skip
_TIMES = st.sampled_from(
    ["2026-11-22T12:00:00Z", "2026-11-22 12:00:00,123456789123", "2026-02-29T00:00:00Z", "2026-11-22T23:59:60+01:30",
     "2026-11-22t12:00:00.5 -0100", "1677-12-31T00:00:00Z", "1678-01-01T00:00:00Z", "2261-12-31T23:59:59+23",
     "1795348800", "1795348800123.5", "99999999", "12", "now", "9223372036.9", "9223372036854775808", "1e12", ""]
)  # fmt: skip
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 70)
    | st.sampled_from([1795348800, 1795348800.25, 1795348800123, 1795348800123456, 1795348800123456789, 10**30, 1e300])
    | st.sampled_from(["info", "WARN", "Error", "30", "7", "07", "a\nb\n", "x\r\n", "\\", '"', "é😀\x00", "a\r", "\n"])
    | _TIMES
    | st.text(max_size=20)
)
_OBJECTS = st.recursive(
    st.dictionaries(_KEYS, _SCALARS, max_size=7),
    lambda inner: st.dictionaries(_KEYS, _SCALARS | inner | st.lists(_SCALARS | inner, max_size=3), max_size=5),
    max_leaves=4,
)


def _written(options: tuple[dict[str, Any], bool, int]) -> bytes:
    record, is_ascii, style = options
    separators = ((",", ":"), (", ", ": "), (" ,\t", " : "), (",\n", ":"))[style]
    return json.dumps(record, ensure_ascii=is_ascii, separators=separators).encode()


_JSON = st.tuples(_OBJECTS, st.booleans(), st.sampled_from([0, 0, 0, 1, 2, 3])).map(_written)


def _damaged(value: bytes, at: int, piece: bytes, removed: int) -> bytes:
    at %= len(value) + 1
    return value[:at] + piece + value[at + removed :]


_DAMAGED = st.builds(
    _damaged,
    _JSON,
    st.integers(0, 300),
    st.sampled_from([b"", b" ", b"\n", b'"', b"\\", b"\\u", b"\\ud83d", b"\\ude00", b"\xff", b"\xc3\xa9",
                     b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"1.", b"e+", b"true",
                     b"\x00", b"\t", b'"a":1,', b'"a":1,"a":2,'])
    | st.binary(max_size=3),
    st.integers(0, 2),
)  # fmt: skip
_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("json", {}),
    ("json", {"reserved": frozenset({"thread.name", "a", "envelope.a", "original"})}),
    ("filebeat", {}),
    ("docker", {"max_depth": 3}),
    ("json", {"zone": "Europe/Berlin"}),
    ("json", {"fields": Fields(message=("event.original", "msg"), timestamp=("event.ts", "ts"), level=("a.level",))}),
    ("json", {"fields": replace(PRESETS["docker"], cut_bytes=4)}),
    ("json", {"fields": replace(AUTO, level=("log.level", "log.severity", "event.level"))}),
]  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(_JSON | _DAMAGED, min_size=1, max_size=4), options=st.sampled_from(_OPTIONS))
@example(values=[b'{"msg":"' + b"x" * 40 + b'\\n","a":[{"b":[[]]},{}]}'], options=_OPTIONS[0])
@example(values=[b'{"msg":"a\\\\n"}', b'{"msg":"\\n"}', b'{"msg":"\\r\\n"}', b'{"msg":"\\n\\r"}'], options=_OPTIONS[0])
def test_json(make_records: MakeRecords, values: Sequence[bytes], options: tuple[str, dict[str, Any]]) -> None:
    """Objects of every shape, whole and damaged, open alike."""
    kind, arguments = options
    _assert_same(make_records(values), kind, **arguments)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_any_bytes(make_records: MakeRecords, values: Sequence[bytes]) -> None:
    """Bytes that are no envelope at all open alike."""
    for kind in ("json", "cri", "syslog"):
        _assert_same(make_records(values), kind)


_LINES = st.sampled_from(
    [
        b"2026-11-22T12:00:00.000000009+00:00 stderr F E1122 boom",
        b"2026-11-22T12:00:00Z stdout P a\r\n",
        b"2026-11-22T12:00:00Z stdout F",
        b"2026-11-22T12:00:00Z stdout F:x y",
        b"<38>Nov 22 12:00:00 gate sshd[4122]: Accepted publickey",
        b"<38>Nov  2 12:00:00 su: x",
        b"<38>Dec 31 23:59:60 fe80::1 a/b[x-1]: m\n",
        b"<0>Feb 29 00:00:00 - -[0]: m",
        b"<191>2026-11-22T12:00:00.5+01:00 h t: m",
        b"<13>2026-11-22T12:00:00 h t[012]: m",
        b"<13>1 2026-11-22T12:00:00.5Z h app 12 ID47 - m",
        b"<13>1 - - - - - - \xef\xbb\xbfm",
        b"<13>1 1795348800 h a 0 i -",
        b'<13>1 2026-11-22T12:00:00Z h a p i [x y="z"] m',
        b"<13>12 2026-11-22T12:00:00Z h a p i - m",
    ]
)
_DAMAGED_LINES = st.builds(
    _damaged,
    _LINES,
    st.integers(0, 80),
    st.sampled_from([b"", b" ", b":", b"[", b"]", b"-", b"0", b"9", b"Z", b"T", b",", b'"', b"\\", b"\xe9", b"z"]),
    st.integers(0, 3),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(_LINES | _DAMAGED_LINES, min_size=1, max_size=6),
    time_ms=st.sampled_from([-1, 0, 1_790_000_000_000, 1_798_761_599_999, 1_798_761_600_000, 1_709_200_000_000, 2**62]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Etc/GMT+5"]),
    reserved=st.sampled_from([frozenset(), frozenset({"stream", "host.name", "envelope.host.name"})]),
)
def test_lines(
    make_records: MakeRecords, values: Sequence[bytes], time_ms: int, zone: str, reserved: frozenset[str]
) -> None:
    """CRI and syslog lines, whole and damaged, open alike."""
    for kind in ("cri", "syslog"):
        _assert_same(make_records(values, timestamp_ms=time_ms), kind, zone=zone, reserved=reserved)


def test_usual_lines_need_no_python(make_records: MakeRecords) -> None:
    """What container runtimes and syslog daemons write is read by the compiled readers alone."""
    cri = make_records([b"2026-11-22T12:00:00.000000009+00:00 stderr F x", b"2026-11-22T12:00:00.1Z stdout P y"])
    assert CriReader(frozenset()).open(cri, cri.value_length >= 0).left.tolist() == []
    syslog = make_records(
        [
            b"<38>Nov 22 12:00:00 gate sshd[4122]: Accepted",
            b"<13>2026-11-22T12:00:00.000001+00:00 web app: m",
            b"<165>1 2026-11-22T13:00:00+01:00 gate.example evntslog 77 ID47 - Ready",
        ]
    )
    utc = Zone(name="UTC", changes=(), offsets=(0,))
    assert SyslogReader(utc, frozenset()).open(syslog, syslog.value_length >= 0).left.tolist() == []


def test_usual_json_needs_no_python(make_records: MakeRecords) -> None:
    """What shippers write is read by the compiled reader alone."""
    values = [
        b'{"@timestamp":"2026-11-22T15:00:00.123Z","log":{"level":"warn"},"message":"a \\"b\\"","host":{"name":"h"}}',
        b'{"message": "x", "levelname": "INFO", "asctime": "2026-11-22 12:00:00,007", "n": [1, 2.5e3, null]}',
        b'{"msg":"caf\xc3\xa9 \\u00e9 \\ud83d\\ude00","level":30,"time":1795348800123}',
        b' {"msg":""} \n',
    ]
    records = make_records(values)
    decoder = Envelope("json")._decoders["json"]
    assert isinstance(decoder, JsonEnvelope)
    assert JsonReader(decoder.structure).open(records, records.value_length >= 0).left.tolist() == []


def test_a_text_without_escapes_is_not_copied(make_records: MakeRecords) -> None:
    """Texts point into the batch where the message stands there as it is."""
    records = make_records([b'{"msg":"plain"}', b'{"msg":"line\\n"}'])
    assert Envelope("json").open(records).texts.buffer is records.buffer


@settings(max_examples=200, deadline=None)
@given(text=_TIMES | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d([.,]\d{1,12})?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?"),
       hours=st.integers(-12, 14))  # fmt: skip
def test_times(text: str, hours: int) -> None:
    """A time is read as the reference reads it, or left to it."""
    written = text.encode()
    buffer = np.frombuffer(bytearray(b"??" + written + b"0"), np.uint8)
    expected = time_of(text, Zone(name="fixed", changes=(), offsets=(hours * 3600,)))
    actual = read_time(buffer, 2, 2 + len(written), hours * 3600)
    assert actual in {expected, UNSURE}


@pytest.mark.parametrize(("name", "meaning"), [(b"info", 9), (b"Inf", 8), (b"nfo", -1), (b"", -1), (b"infos", -1)])
def test_names(name: bytes, meaning: int) -> None:
    """A name is found whole, in any case where that is asked for."""
    names = lay_out_names([b"INFO", b"INF", b"I"], [9, 8, 7])
    buffer = np.frombuffer(bytearray(b"x" + name + b"o"), np.uint8)
    assert meaning == find_name(names.text, names.entries, buffer, 1, 1 + len(name), True)
