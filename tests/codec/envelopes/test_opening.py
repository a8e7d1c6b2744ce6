"""Every envelope is opened into the same columns, whatever the bytes are."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.codec.envelopes import KINDS, PRESETS, Detection, Envelope, Fields, OpenedEnvelopes
from worker.columns.layout import NO_TIME, NONE, Records
from worker.errors import WrongSettings

MakeRecords = Callable[..., Records]


class Row(NamedTuple):
    """A row of the opened texts, readable."""

    text: bytes | None
    attributes: dict[str, Any]
    timestamp: int
    severity: int


def _rows(opened: OpenedEnvelopes) -> list[Row]:
    texts = opened.texts
    buffer, attributes = texts.buffer.tobytes(), texts.attributes_buffer.tobytes()
    return [
        Row(
            text=None if length < 0 else buffer[start : start + length],
            attributes=json.loads(b"{%b}" % attributes[fields : fields + fields_length]),
            timestamp=timestamp,
            severity=severity,
        )
        for start, length, fields, fields_length, timestamp, severity in zip(
            texts.start.tolist(),
            texts.length.tolist(),
            texts.attributes_start.tolist(),
            texts.attributes_length.tolist(),
            texts.timestamp.tolist(),
            texts.severity.tolist(),
            strict=True,
        )
    ]


def _ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000_000 + moment.microsecond * 1000


_FILEBEAT = (
    b'{"@timestamp":"2026-11-22T15:00:00.123Z","@metadata":{"beat":"filebeat","type":"_doc","version":"8.14.1"},'
    b'"log":{"offset":48120,"file":{"path":"/var/log/shop/cart.log","inode":"8201"},"level":"warn"},'
    b'"message":"Cart 7711 expired after 30m","input":{"type":"filestream"},"host":{"name":"shop-2"},'
    b'"agent":{"type":"filebeat","version":"8.14.1"},"ecs":{"version":"8.0.0"}}'
)
_NOON = _ns("2026-11-22T12:00:00+00:00")

#: Kind, one record as its shipper writes it, and what it opens to.
_CASES: list[tuple[str, bytes, Row]] = [
    (
        "filebeat",
        _FILEBEAT,
        Row(
            b"Cart 7711 expired after 30m",
            {
                "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.14.1"},
                "log": {"offset": 48120, "file": {"path": "/var/log/shop/cart.log", "inode": "8201"}, "level": "warn"},
                "input": {"type": "filestream"},
                "host": {"name": "shop-2"},
                "agent": {"type": "filebeat", "version": "8.14.1"},
                "ecs": {"version": "8.0.0"},
            },
            _ns("2026-11-22T15:00:00.123+00:00"),
            13,
        ),
    ),
    (
        "ecs",
        b'{"@timestamp":"2026-11-22T12:00:00Z","log.level":"ERROR","message":"no route","log.logger":"net.Router"}',
        Row(b"no route", {"log.level": "ERROR", "log.logger": "net.Router"}, _NOON, 17),
    ),
    (
        "fluent-bit",
        b'{"date":1795348800.25,"stream":"stderr","log":"disk 93% full\\n","kubernetes":{"pod_name":"db-0"}}',
        Row(b"disk 93% full", {"stream": "stderr", "kubernetes": {"pod_name": "db-0"}}, _NOON + 250_000_000, 0),
    ),
    (
        "vector",
        (
            b'{"file":"/var/log/app.log","host":"h1","message":"started","source_type":"file",'
            b'"timestamp":"2026-11-22T12:00:00.000000007Z"}'
        ),
        Row(b"started", {"file": "/var/log/app.log", "host": "h1", "source_type": "file"}, _NOON + 7, 0),
    ),
    (
        "docker",
        b'{"log":"Listening on :8080\\n","stream":"stdout","time":"2026-11-22T12:00:00.000000001Z"}\n',
        Row(b"Listening on :8080", {"stream": "stdout"}, _NOON + 1, 0),
    ),
    (
        "pino",
        b'{"level":50,"time":1795348800123,"pid":12,"hostname":"web","reqId":"r-1","msg":"upstream gone"}',
        Row(
            b"upstream gone",
            {"level": 50, "pid": 12, "hostname": "web", "reqId": "r-1"},
            _NOON + 123_000_000,
            17,
        ),
    ),
    (
        "bunyan",
        b'{"name":"api","hostname":"h","pid":1,"level":30,"msg":"ready","time":"2026-11-22T12:00:00.000Z","v":0}',
        Row(b"ready", {"name": "api", "hostname": "h", "pid": 1, "level": 30, "v": 0}, _NOON, 9),
    ),
    (
        "structlog",
        b'{"user":"eve","event":"login refused","level":"warning","timestamp":"2026-11-22T12:00:00.000000Z"}',
        Row(b"login refused", {"user": "eve", "level": "warning"}, _NOON, 13),
    ),
    (
        "zap",
        b'{"level":"dpanic","ts":1795348800.5,"caller":"srv/main.go:41","msg":"queue full","depth":4096}',
        Row(
            b"queue full",
            {"level": "dpanic", "caller": "srv/main.go:41", "depth": 4096},
            _NOON + 500_000_000,
            18,
        ),
    ),
    (
        "python-json-logger",
        b'{"asctime":"2026-11-22 12:00:00,007","levelname":"INFO","name":"jobs","message":"job 9 done"}',
        Row(b"job 9 done", {"levelname": "INFO", "name": "jobs"}, _NOON + 7_000_000, 9),
    ),
    (
        "gelf",
        b'{"version":"1.1","host":"n1","short_message":"fan 2 stopped","timestamp":1795348800.0,"level":4,"_r":"9"}',
        Row(b"fan 2 stopped", {"version": "1.1", "host": "n1", "level": 4, "_r": "9"}, _NOON, 13),
    ),
    (
        "journald",
        b'{"__REALTIME_TIMESTAMP":"1795348800000001","PRIORITY":"6","_PID":"812","MESSAGE":"Started cron."}',
        Row(b"Started cron.", {"PRIORITY": "6", "_PID": "812"}, _NOON + 1000, 9),
    ),
    (
        "json",
        b'{"severity":"Notice","text":"tank at 20%","n":123456789012345678901234567890,"x":1.10}',
        Row(b"tank at 20%", {"severity": "Notice", "n": 123456789012345678901234567890, "x": 1.10}, NO_TIME, 10),
    ),
    (
        "cri",
        b"2026-11-22T12:00:00.000000009+00:00 stderr F E1122 12:00:00 boom",
        Row(b"E1122 12:00:00 boom", {"stream": "stderr"}, _NOON + 9, 0),
    ),
    (
        "syslog",
        b"<38>Nov 22 12:00:00 gate sshd[4122]: Accepted publickey for ana",
        Row(
            b"Accepted publickey for ana",
            {"syslog.facility": 4, "host.name": "gate", "process.name": "sshd", "process.pid": 4122},
            _NOON,
            9,
        ),
    ),
    (
        "syslog",
        (
            b'<165>1 2026-11-22T13:00:00+01:00 gate.example evntslog - ID47 [m@32473 q="a\\"b\\]c" r="\\n"][e] '
            b"\xef\xbb\xbfReady"
        ),
        Row(
            b"Ready",
            {
                "syslog.facility": 20,
                "host.name": "gate.example",
                "process.name": "evntslog",
                "syslog.msgid": "ID47",
                "syslog.structured_data": {"m@32473": {"q": 'a"b]c', "r": "\\n"}, "e": {}},
            },
            _NOON,
            10,
        ),
    ),
    (  # as rsyslog writes it: the space after the tag of RFC 3164 stands before the message
        "syslog",
        b"<30>1 2026-11-22T12:00:00.000000+00:00 edge-1 dnsmasq 10958 - -  started, version 2.90",
        Row(
            b"started, version 2.90",
            {"syslog.facility": 3, "host.name": "edge-1", "process.name": "dnsmasq", "process.pid": 10958},
            _NOON,
            9,
        ),
    ),
    (
        "otlp",
        (
            b'{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},'
            b'"scopeLogs":[{"scope":{"name":"cart","version":"2"},"logRecords":[{"timeUnixNano":"1795348800000000005",'
            b'"severityNumber":10,"severityText":"NOTICE","body":{"stringValue":"cart 5 empty"},'
            b'"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",'
            b'"attributes":[{"key":"items","value":{"intValue":"0"}}]}]}]}]}'
        ),
        Row(
            b"cart 5 empty",
            {
                "severity_text": "NOTICE",
                "trace_id": "5b8efff798038103d269b633813fc60c",
                "span_id": "eee19b7ec3c1b174",
                "resource": {"service.name": "shop"},
                "scope": {"name": "cart", "version": "2"},
                "items": 0,
            },
            _NOON + 5,
            10,
        ),
    ),
    (
        "msgpack",
        msgpack.packb({"message": "pump on", "level": "debug", "time": msgpack.Timestamp(_NOON // 10**9, 3), "p": 2.5}),
        Row(b"pump on", {"level": "debug", "p": 2.5}, _NOON + 3, 5),
    ),
]


@pytest.mark.parametrize(("kind", "value", "expected"), _CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(_CASES)])
def test_a_real_record_of_each_kind(make_records: MakeRecords, kind: str, value: bytes, expected: Row) -> None:
    """The message becomes the text, time and level are understood, all else stays as attributes."""
    opened = Envelope(kind).open(make_records([value]))
    assert [expected] == _rows(opened)
    assert opened.dead == []


@pytest.mark.parametrize(("kind", "value", "expected"), _CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(_CASES)])
def test_auto_finds_each_kind(make_records: MakeRecords, kind: str, value: bytes, expected: Row) -> None:
    """The same record opens to the same row where nothing is declared, and `auto` says what it found."""
    envelope = Envelope("auto", detection_records=3)
    rows = _rows(envelope.open(make_records([value, value, value, value])))
    found = kind if kind in KINDS else "json"
    assert [expected] * 4 == rows
    assert Detection(kind=found, records=3, share=1.0, pinned=True) == envelope.detection


def test_raw_points_into_the_records(make_records: MakeRecords) -> None:
    """Raw texts are spans of the batch's own buffer, without their line ends, tombstones without a text."""
    records = make_records([b"one", None, b"", b"two\r\n", b"\n"])
    opened = Envelope("raw").open(records)
    assert opened.texts.buffer is records.buffer
    assert [row.text for row in _rows(opened)] == [b"one", None, b"", b"two", b""]
    assert opened.tombstones == 1
    assert opened.dead == []


def test_a_record_over_the_limit_is_dead(make_records: MakeRecords) -> None:
    """A value larger than the limit becomes a dead row that gives both sizes."""
    opened = Envelope("raw", max_record_bytes=4).open(make_records([b"12345", b"1234"]))
    assert [row.text for row in _rows(opened)] == [None, b"1234"]
    assert [(d.record, d.reason, d.error) for d in opened.dead] == [(0, "too_large", "5 bytes, the limit is 4")]


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        ("json", b'{"msg":', "not JSON: Expecting value: line 1 column 8 (char 7)"),
        ("json", b"[1]", "JSON, but no object"),
        ("json", b'{"a":' * 65 + b"1" + b"}" * 65, "JSON nested deeper than 64 levels"),
        ("ecs", b'{"msg":"x"}', "has no field `message`"),
        ("msgpack", b"\xc1", "not msgpack: FormatError"),
        ("msgpack", b"\x01", "msgpack, but neither a map nor a shape of Fluentd or Fluent Bit"),
        ("msgpack", b"\x80\x80", "not msgpack: 2 objects in one record"),
        ("msgpack", b"\x91" * 80 + b"\x01", "not msgpack: nested deeper than 64 levels"),
        ("cri", b"stdout F x", "not CRI: no `<time> <stdout|stderr> <P|F> <text>`"),
        ("syslog", b"hello", "not syslog: neither `<PRI>` nor a time at its start"),
        ("syslog", b"<192>hello", "not syslog: priority 192 is over 191"),
        ("syslog", b"<1>1 yesterday h a p i - m", "not RFC 5424: 'yesterday' is no time"),
        ("otlp", b'{"resourceSpans":[]}', "not OTLP: no list `resourceLogs`"),
        ("otlp", b'{"resourceLogs":[1]}', "not OTLP: `resourceLogs` is no list of objects"),
    ],
)
def test_what_does_not_fit_is_dead_in_the_decoders_words(
    make_records: MakeRecords, kind: str, value: bytes, error: str
) -> None:
    """A record that is not what its source declares becomes a dead row that says what is wrong."""
    opened = Envelope(kind).open(make_records([value]))
    assert [("undecodable", error)] == [(dead.reason, dead.error) for dead in opened.dead]
    assert [row.text for row in _rows(opened)] == [None]


def test_several_texts_of_one_record_keep_their_order(make_records: MakeRecords) -> None:
    """A record with several log records gives a row for each, one with none a row without a text."""
    two = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}},{"body":{"intValue":"7"}}]}]}]}'
    opened = Envelope("otlp").open(make_records([two, b'{"resourceLogs":[]}', two]))
    assert [row.text for row in _rows(opened)] == [b"a", b"7", None, b"a", b"7"]
    assert opened.texts.record.tolist() == [0, 0, 1, 2, 2]
    assert opened.texts.place.tolist() == [0, 1, NONE, 0, 1]


def test_otlp_bodies_and_attributes_of_every_shape(make_records: MakeRecords) -> None:
    """Structured bodies become JSON text, and an attribute that is named like a field keeps both."""
    value = json.dumps(
        {
            "resourceLogs": [
                {
                    "schemaUrl": "https://opentelemetry.io/schemas/1.21.0",
                    "scopeLogs": [
                        {
                            "logRecords": [
                                {
                                    "observedTimeUnixNano": str(_NOON),
                                    "body": {
                                        "kvlistValue": {
                                            "values": [
                                                {"key": "a", "value": {"arrayValue": {"values": [{"boolValue": True}]}}}
                                            ]
                                        }
                                    },
                                    "attributes": [
                                        {"key": "resource", "value": {"doubleValue": 0.5}},
                                        {"key": "raw", "value": {"bytesValue": "AAE="}},
                                        {"key": "none", "value": {}},
                                        {"key": "id", "value": {"intValue": "007"}},
                                    ],
                                }
                            ]
                        }
                    ],
                }
            ]
        }
    ).encode()
    expected = Row(
        b'{"a":[true]}',
        {
            "observed_time_unix_nano": str(_NOON),
            "resource": {"schema_url": "https://opentelemetry.io/schemas/1.21.0"},
            "envelope.resource": 0.5,
            "raw": "AAE=",
            "none": None,
            "id": "007",
        },
        _NOON,
        0,
    )
    assert [expected] == _rows(Envelope("otlp").open(make_records([value])))


_EVENT_TIME = msgpack.ExtType(0, (_NOON // 10**9).to_bytes(4, "big") + (8).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([_EVENT_TIME, {"log": "a"}], [Row(b"a", {}, _NOON + 8, 0)]),
        ([[_EVENT_TIME, {"m": 1}], {"log": "a"}], [Row(b"a", {"m": 1}, _NOON + 8, 0)]),
        (["app", _NOON // 10**9, {"log": "a"}], [Row(b"a", {"tag": "app"}, _NOON, 0)]),
        (["app", _NOON // 10**9, {"log": "a"}, {"chunk": "x"}], [Row(b"a", {"tag": "app"}, _NOON, 0)]),
        (
            ["app", [[_EVENT_TIME, {"log": "a"}], [_NOON // 10**9, {"log": "b", "tag": "own"}]]],
            [Row(b"a", {"tag": "app"}, _NOON + 8, 0), Row(b"b", {"tag": "own"}, _NOON, 0)],
        ),
        (
            ["app", msgpack.packb([_EVENT_TIME, {"log": "a"}]) + msgpack.packb([_EVENT_TIME, {"log": "b"}]), {}],
            [Row(b"a", {"tag": "app"}, _NOON + 8, 0), Row(b"b", {"tag": "app"}, _NOON + 8, 0)],
        ),
        (
            {"log": "a", b"\xff": b"\xfe", "nan": float("nan"), "at": _EVENT_TIME, 7: [None]},
            [
                Row(
                    b"a",
                    {"\ufffd": "\ufffd", "nan": "nan", "at": "2026-11-22T12:00:00.000000008Z", "7": [None]},
                    NO_TIME,
                    0,
                )
            ],
        ),
    ],
)
def test_msgpack_shapes(make_records: MakeRecords, shape: object, expected: list[Row]) -> None:
    """Maps, Fluent Bit's pairs and the three modes of Fluentd's forward protocol are read."""
    opened = Envelope("msgpack").open(make_records([msgpack.packb(shape)]))
    assert expected == _rows(opened)
    assert opened.dead == []


def test_fields_that_would_collide_are_prefixed(make_records: MakeRecords) -> None:
    """Logloom's own names and names that are taken get a prefix, also where that name is taken."""
    value = (
        b'{"msg":"x","logloom.offset":1,"log.record.template":2,"thread.name":3,"envelope.logloom.offset":4,'
        b'"thread":5,"thread":6}'
    )
    opened = Envelope("json", reserved=frozenset({"thread.name"})).open(make_records([value]))
    expected = {
        "envelope.logloom.offset": 1,
        "envelope.log.record.template": 2,
        "envelope.thread.name": 3,
        "envelope.envelope.logloom.offset": 4,
        "thread": 6,
    }
    assert expected == _rows(opened)[0].attributes


def test_json_that_loggers_get_wrong_is_read(make_records: MakeRecords) -> None:
    """Lone surrogates, NaN, raw control characters, invalid UTF-8 and a byte order mark do not kill a raw log."""
    values = [
        b'{"msg":"a\\ud800b \\ud83d\\ude00 \\\\ud800"}',
        b'{"msg":"x","ratio":NaN,"top":-Infinity}',
        b'{"msg":"a\tb"}',
        b'{"msg":"caf\xe9"}',
        b'\xef\xbb\xbf{"msg":"x"}',
    ]
    expected = [
        (b"a\xef\xbf\xbdb \xf0\x9f\x98\x80 \\ud800", {}),
        (b"x", {"ratio": "NaN", "top": "-Infinity"}),
        (b"a\tb", {}),
        (b"caf\xef\xbf\xbd", {}),
        (b"x", {}),
    ]
    assert expected == [(row.text, row.attributes) for row in _rows(Envelope("json").open(make_records(values)))]


def test_an_array_of_objects_is_several_texts(make_records: MakeRecords) -> None:
    """Shippers that batch write an array."""
    opened = Envelope("vector").open(make_records([b'[{"message":"a"},{"message":"b","n":1}]']))
    assert [(row.text, row.attributes) for row in _rows(opened)] == [(b"a", {}), (b"b", {"n": 1})]


def test_an_object_without_a_message_is_its_own_text(make_records: MakeRecords) -> None:
    """Where fields are guessed, an object that holds no message is text as it stands."""
    value = b'{"level":"error","time":1795348800,"event":{"kind":"metric"}} '
    expected = Row(value.strip(), {}, _NOON, 17)
    assert [expected] == _rows(Envelope("json").open(make_records([value])))


def test_declared_paths(make_records: MakeRecords) -> None:
    """Dotted paths find flat keys first and nested ones next; a message that is no string becomes JSON text."""
    fields = Fields(message=("event.original", "data"), timestamp=("event.created",), level=("meta.sev",))
    values = [
        b'{"event":{"original":"a","created":"2026-11-22T12:00:00Z","id":1},"meta":{"sev":"err"}}',
        b'{"event.original":"b","event":{"original":"c"}}',
        b'{"data":{"k":[1,2.50]},"event":{"created":"soon"}}',
    ]
    expected = [
        Row(b"a", {"event": {"id": 1}, "meta": {"sev": "err"}}, _NOON, 17),
        Row(b"b", {"event": {"original": "c"}}, NO_TIME, 0),
        Row(b'{"k":[1,2.50]}', {"event": {"created": "soon"}}, NO_TIME, 0),
    ]
    assert expected == _rows(Envelope("json", fields=fields).open(make_records(values)))


@pytest.mark.parametrize(
    ("value", "text", "host", "tag"),
    [
        (b"<13>Nov 22 12:00:00 su: to root", b"to root", None, "su"),
        (b"<13>Nov 22 12:00:00 fe80::1 su: to root", b"to root", "fe80::1", "su"),
        (b"<13>Nov 22 12:00:00 web plain words", b"plain words", "web", None),
        (b"<13>Nov  2 12:00:00 web app[x-1]: m", b"m", "web", "app"),
        (b"<13>Nov 22 2026 12:00:00.250: web app: m\n", b"m", "web", "app"),
        (b"<13>2026-11-22T12:00:00.000001+00:00 web app: m", b"m", "web", "app"),
        (b"Nov 22 12:00:00 web app: m", b"m", "web", "app"),
        (b"<13>just words: here", b"just words: here", None, None),
        (b"<13>", b"", None, None),
    ],
)
def test_lenient_rfc_3164(
    make_records: MakeRecords, value: bytes, text: bytes, host: str | None, tag: str | None
) -> None:
    """Time, host and tag may be missing or take the forms that real devices send."""
    row = _rows(Envelope("syslog").open(make_records([value])))[0]
    assert (text, host, tag) == (row.text, row.attributes.get("host.name"), row.attributes.get("process.name"))


@pytest.mark.parametrize(
    ("record_time", "written", "expected"),
    [
        ("2027-01-01T00:00:05+00:00", b"Dec 31 23:59:59", "2026-12-31T23:59:59+00:00"),
        ("2026-12-31T23:59:58+00:00", b"Jan  1 00:00:01", "2027-01-01T00:00:01+00:00"),
        ("2024-03-01T00:00:00+00:00", b"Feb 29 10:00:00", "2024-02-29T10:00:00+00:00"),
    ],
)
def test_a_year_that_is_not_written_is_the_nearest(
    make_records: MakeRecords, record_time: str, written: bytes, expected: str
) -> None:
    """RFC 3164 writes no year: the one that brings the time next to the record's own is meant."""
    records = make_records([b"<13>%b h a: m" % written], timestamp_ms=_ns(record_time) // 1_000_000)
    assert _ns(expected) == _rows(Envelope("syslog").open(records))[0].timestamp


def test_times_without_a_zone_are_in_the_sources_zone(make_records: MakeRecords) -> None:
    """A source in Berlin writes local times, with summer time by the date."""
    values = [b'{"msg":"x","time":"2026-07-01 12:00:00"}', b'{"msg":"x","time":"2026-11-22 13:00:00"}']
    rows = _rows(Envelope("json", zone="Europe/Berlin").open(make_records(values)))
    assert [_ns("2026-07-01T10:00:00+00:00"), _NOON] == [row.timestamp for row in rows]


@pytest.mark.parametrize(("encoding", "text"), [("utf-16", "Grüße"), ("latin-1", "Grüße"), ("shift_jis", "ログ")])
def test_other_encodings_are_transcoded(make_records: MakeRecords, encoding: str, text: str) -> None:
    """Texts and fields are UTF-8 whatever the source writes."""
    raw = make_records([text.encode(encoding), None])
    wrapped = make_records([json.dumps({"msg": text, "a": text}, ensure_ascii=False).encode(encoding)])
    assert [text.encode(), None] == [row.text for row in _rows(Envelope("raw", encoding=encoding).open(raw))]
    expected = [Row(text.encode(), {"a": text}, NO_TIME, 0)]
    assert expected == _rows(Envelope("json", encoding=encoding).open(wrapped))


def test_partial_lines_are_marked(make_records: MakeRecords) -> None:
    """CRI says that a line goes on; Docker cuts at 16 KiB and leaves the line end off."""
    cri = [b"2026-11-22T12:00:00Z stdout P a", b"2026-11-22T12:00:00Z stdout F b", b"2026-11-22T12:00:00Z stdout F"]
    opened = Envelope("cri").open(make_records(cri))
    assert opened.partial is not None
    assert opened.partial.tolist() == [True, False, False]
    docker = [json.dumps({"log": log}).encode() for log in ("x" * 16_384, "x" * 16_384 + "\n", "x")]
    opened = Envelope("docker").open(make_records(docker))
    assert opened.partial is not None
    assert opened.partial.tolist() == [True, False, False]


def test_auto_reads_a_mixed_source(make_records: MakeRecords) -> None:
    """Under `auto` a record that does not fit is opened as what it is, and text is never dead."""
    values = [_FILEBEAT, b"plain", b'{"broken', b"<13>x", b"\xffcaf\xe9 latin", b"\x00\x01\x02\x03", b"[2026] INFO hi"]
    envelope = Envelope("auto")
    opened = envelope.open(make_records(values))
    expected = [b"Cart 7711 expired after 30m", b"plain", b'{"broken', b"x", b"\xffcaf\xe9 latin", None]
    assert [*expected, b"[2026] INFO hi"] == [row.text for row in _rows(opened)]
    assert [dead.record for dead in opened.dead] == [5]


def test_auto_is_raw_without_structure_and_zero_copy(make_records: MakeRecords) -> None:
    """Few structured records among plain text leave the source raw."""
    records = make_records([b"plain"] * 19 + [b'{"msg":"x"}'])
    envelope = Envelope("auto")
    assert envelope.detection is None
    assert envelope.open(records).texts.buffer is records.buffer
    assert Detection(kind="raw", records=20, share=0.95, pinned=False) == envelope.detection


def test_auto_stays_with_what_it_pinned(make_records: MakeRecords) -> None:
    """After enough records the kind is fixed."""
    envelope = Envelope("auto", detection_records=4)
    envelope.open(make_records([b"plain"] * 4))
    envelope.open(make_records([_FILEBEAT] * 9))
    assert Detection(kind="raw", records=4, share=1.0, pinned=True) == envelope.detection


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "xml"}, "envelope 'xml' is none of auto, raw, "),
        ({"encoding": "utf-99"}, "encoding 'utf-99' is not known"),
        ({"encoding": "hex"}, "encoding 'hex' is not known"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    """A kind or an encoding that does not exist is told at once, with the value."""
    with pytest.raises(WrongSettings, match=message):
        Envelope(**options)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["message", "msg", "log", "time", "level", "@timestamp", "logloom.x", "resourceLogs"])
_VALUES = (
    st.none()
    | st.binary(max_size=60)
    | st.dictionaries(_NAMES | st.text(max_size=5), _JSON, max_size=6).map(lambda record: json.dumps(record).encode())
    | st.dictionaries(_NAMES | st.text(max_size=5), _JSON, max_size=6).map(
        lambda record: msgpack.packb(json.loads(json.dumps(record), parse_int=float))
    )
    | st.sampled_from([case[1] for case in _CASES]).flatmap(
        lambda value: st.integers(0, len(value)).flatmap(
            lambda at: st.binary(max_size=3).map(lambda piece: value[:at] + piece + value[at + len(piece) :])
        )
    )
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(_VALUES, max_size=6), kind=st.sampled_from([*KINDS, *PRESETS]))
def test_every_record_is_accounted_for(make_records: MakeRecords, values: Sequence[bytes | None], kind: str) -> None:
    """Whatever the bytes are: each record has rows, a dead row or is a tombstone, and attributes are valid JSON."""
    opened = Envelope(kind, max_record_bytes=200).open(make_records(values))
    rows = _rows(opened)
    dead = [letter.record for letter in opened.dead]
    silent = {record for record, row in zip(opened.texts.record.tolist(), rows, strict=True) if row.text is None}
    tombstones = {record for record, value in enumerate(values) if value is None}
    assert set(range(len(values))) == set(opened.texts.record.tolist())
    assert len(tombstones) == opened.tombstones
    assert sorted(set(dead)) == dead
    assert silent >= set(dead) | tombstones
    if kind not in {"otlp", "msgpack", "auto"}:  # these may hold no log at all
        assert silent == set(dead) | tombstones


@pytest.mark.parametrize("depth", [1, 2, 400])
def test_a_key_that_is_a_map_is_refused(make_records: MakeRecords, depth: int) -> None:
    """Written as text, the key of a key of a key would take twice the bytes with each level."""
    value = b"\x81" * depth + b"\x81\x01\x02" + b"\x03" * depth
    (dead,) = Envelope("msgpack").open(make_records([value])).dead
    assert ("undecodable", "not msgpack: a key is a map or an array") == (dead.reason, dead.error)


@pytest.mark.parametrize("unit", [b"iut", b"[", b"[a", b"\\", b'a="', b"] [a"])
def test_structured_data_of_any_length_is_opened(make_records: MakeRecords, unit: bytes) -> None:
    """No structured data, however odd, makes its reader go back and forth over it."""
    data = unit * ((1 << 20) // len(unit))
    opened = Envelope("syslog", max_record_bytes=1 << 21).open(make_records([b"<34>1 - h a 1 - [a " + data + b"] x"]))
    assert (1, 0) == (len(opened.texts.start), opened.tombstones)
