"""Declared headers, presets and detection: what they read, and what they refuse."""

import pytest

from worker.errors import WrongFormat
from worker.parsing.headers import (
    ATTRIBUTE_OF_NAME,
    MAX_FIELDS,
    PRESETS,
    Header,
    detect,
    format_of,
    parse_format,
    severity_of,
    severity_of_priority,
    split,
)
from worker.parsing.timestamps import NO_TIME, rfc3339

RECORD_NS = 1_793_632_000 * 10**9  # 2026-11-02T15:06:40Z

#: Preset, a line as the software writes it, where its message starts.
EXAMPLES = (
    ("iso", b"2026-11-02T15:04:05Z started", b"started"),
    ("iso-bracketed", b"[2026-11-02 15:04:05.123] started", b"started"),
    ("iso-level", b"2026-11-02 15:04:05,123 INFO waiting for web to stop", b"waiting"),
    ("iso-bracketed-level", b"2026-11-02 15:04:05 [Warning] slow", b"slow"),
    ("iso-both-bracketed", b"[2026-11-02 15:04:05] [INFO   ] Application start", b"Application"),
    ("iso-zone", b"2026-11-02 15:04:05.5 +0100 started", b"started"),
    ("level", b"INFO:     Uvicorn running on http://127.0.0.1:8000", b"Uvicorn"),
    ("log4j", b"2026-11-02 15:04:05,123 WARN  org.foo.Bar: slow", b"slow"),
    ("log4j-hadoop", b"2026-11-02 15:04:05,123 INFO [IPC Server handler 1 on 80] org.foo.Bar: done", b"done"),
    ("log4j-dash", b"2026-11-02 15:04:05,123 INFO  org.foo.Bar - done", b"done"),
    ("log4j-ttcc", b"17   [main] DEBUG org.foo.Bar  - done", b"done"),
    ("logback", b"2026-11-02 15:04:05.123 [http-nio-80-exec-1] INFO  o.foo.Bar - done", b"done"),
    ("logback-clock", b"15:04:05.123 [main] INFO  o.foo.Bar - done", b"done"),
    ("logback-level-first", b"2026-11-02 15:04:05,123 INFO  [main] o.foo.Bar - done", b"done"),
    ("spring-boot", b"2026-11-02T15:04:05.123Z  INFO 17 --- [           main] o.s.b.Foo      : Started", b"Started"),
    ("spring-boot-app", b"2026-11-02T15:04:05.1Z  INFO 17 --- [shop] [  main] o.s.b.Foo      : Started", b"Started"),
    ("jboss", b"2026-11-02 15:04:05,123 INFO  [org.jboss.as] (MSC service thread 1-2) WFLY1: up", b"WFLY1"),
    ("jul", b"Nov 02, 2026 3:04:05 PM org.foo.Main run\nWARNING: slow", b"slow"),
    ("jul-one-line", b"Nov 02, 2026 3:04:05 PM org.foo.Main run SEVERE: broken", b"broken"),
    ("tomcat", b"02-Nov-2026 15:04:05.123 INFO [main] org.apache.Catalina.start Server startup", b"Server"),
    ("hdfs", b"261102 150405 35 INFO dfs.FSNamesystem: BLOCK* added", b"BLOCK*"),
    ("spark", b"26/11/02 15:04:05 INFO executor.Executor: Running task", b"Running"),
    ("flink", b"2026-11-02 15:04:05,123 INFO  org.flink.Foo                [] - Running", b"Running"),
    ("kafka", b"[2026-11-02 15:04:05,123] INFO Loaded logs (kafka.log.LogManager)", b"Loaded logs (kafka.log"),
    ("zookeeper", b"2026-11-02 15:04:05,123 [myid:1] - INFO  [main:Foo@12] - Reading", b"Reading"),
    ("cassandra", b"INFO  [main] 2026-11-02 15:04:05,123 Foo.java:12 - Reading", b"Reading"),
    ("elasticsearch", b"[2026-11-02T15:04:05,123][INFO ][o.e.n.Node            ] [node-1] started", b"started"),
    ("python", b"WARNING:root:slow", b"slow"),
    ("python-dash", b"2026-11-02 15:04:05,123 - shop.cart - ERROR - broken", b"broken"),
    ("python-dash-level", b"2026-11-02 15:04:05,123 - ERROR - broken", b"broken"),
    ("python-flask", b"[2026-11-02 15:04:05,123] ERROR in app: broken", b"broken"),
    ("gunicorn", b"[2026-11-02 15:04:05 +0000] [17] [INFO] Booting worker", b"Booting"),
    ("celery", b"[2026-11-02 15:04:05,123: INFO/MainProcess] Connected", b"Connected"),
    ("loguru", b"2026-11-02 15:04:05.123 | INFO     | app:main:12 - Connected", b"Connected"),
    ("airflow", b"[2026-11-02T15:04:05.123+0000] {job.py:12} INFO - Connected", b"Connected"),
    ("openstack", b"2026-11-02 15:04:05.008 17 INFO nova.api [req-1 - - - - -] GET", b"GET"),
    ("supervisor", b"2026-11-02 15:04:05,123 CRIT Supervisor running", b"Supervisor"),
    ("syslog", b"Nov  2 15:04:05 web1 sshd[17]: session opened", b"session"),
    ("syslog-plain", b"Nov  2 15:04:05 web1 last message repeated 2 times", b"last"),
    ("syslog-iso", b"2026-11-02T15:04:05.123456+01:00 web1 sshd[17]: session opened", b"session"),
    ("journald-unix", b"1793631845.123456 web1 sshd[17]: session opened", b"session"),
    ("journald-full", b"Mon 2026-11-02 15:04:05 UTC web1 sshd[17]: session opened", b"session"),
    ("syslog-spaced", b"Nov  2 15:04:05 mac Browser Helper[17] (com.x.y): opened", b"opened"),
    ("dmesg", b"[    0.000000] Linux version", b"Linux"),
    ("ctime", b"[Mon Nov  2 15:04:05 2026] usb 1-1: new device", b"usb"),
    ("audit", b"type=SYSCALL msg=audit(1793631845.123:45): arch=c000003e", b"arch"),
    ("dpkg", b"2026-11-02 15:04:05 status installed x", b"status"),
    ("epoch", b"1793631845.123 45 10.0.0.7 TCP_MISS/200", b"45 10"),
    ("android", b"11-02 15:04:05.123  17  23 D WindowManager: shown", b"shown"),
    ("windows-cbs", b"2026-11-02 15:04:05, Info                  CBS    Loaded", b"Loaded"),
    ("nginx-access", b'10.0.0.7 - bob [02/Nov/2026:15:04:05 +0100] "GET / HTTP/1.1" 200 1', b'"GET'),
    ("apache-vhost", b'a.org:80 10.0.0.7 - - [02/Nov/2026:15:04:05 +0000] "GET / HTTP/1.1" 200 1', b'"GET'),
    ("nginx-error", b"2026/11/02 15:04:05 [error] 12#34: *5 open() failed", b"open()"),
    ("apache-error", b"[Mon Nov 02 15:04:05.123456 2026] [core:error] [pid 1:tid 2] [client ::1:5] AH1: x", b"AH1"),
    ("apache-error-old", b"[Mon Nov 02 15:04:05 2026] [notice] caught SIGTERM", b"caught"),
    ("redis", b"17:M 02 Nov 2026 15:04:05.123 * Ready", b"Ready"),
    ("redis-old", b"[17] 02 Nov 15:04:05.123 # Server started", b"Server"),
    ("postgresql", b"2026-11-02 15:04:05.123 UTC [17] bob@shop LOG:  checkpoint", b"checkpoint"),
    ("mysql", b"2026-11-02T15:04:05.123456Z 0 [System] [MY-010116] [Server] starting", b"starting"),
    ("mysql-old", b"261102 15:04:05 [Note] starting", b"starting"),
    ("mongodb-legacy", b"2026-11-02T15:04:05.123+0000 I NETWORK  [conn1] end", b"end"),
    ("rabbitmq", b"2026-11-02 15:04:05.123456+00:00 [info] <0.229.0> closing", b"closing"),
    ("clickhouse", b"2026.11.02 15:04:05.123456 [ 1 ] {} <Information> Application: up", b"up"),
    ("envoy", b"[2026-11-02 15:04:05.123][1][info][main] [source/x.cc:1] up", b"up"),
    ("php", b"[02-Nov-2026 15:04:05 UTC] PHP Warning:  x", b"PHP"),
    ("php-fpm", b"[02-Nov-2026 15:04:05] NOTICE: ready", b"ready"),
    ("monolog", b"[2026-11-02T15:04:05.123456+00:00] app.INFO: up", b"up"),
    ("ruby", b"I, [2026-11-02T15:04:05.123456 #17]  INFO -- shop: up", b"up"),
    ("klog", b"W1102 15:04:05.123456      17 node.go:12] slow", b"slow"),
    ("glog", b"E20261102 15:04:05.123456    17 node.cc:12] broken", b"broken"),
    ("go-log", b"2026/11/02 15:04:05 listening", b"listening"),
    ("go-log-file", b"2026/11/02 15:04:05.123456 main.go:12: listening", b"listening"),
    ("go-log-level", b"2026/11/02 15:04:05 [INFO] listening", b"listening"),
    ("gin", b"[GIN] 2026/11/02 - 15:04:05 | 200 |  1ms", b"200"),
    ("zap", b"2026-11-02T15:04:05.123Z\tinfo\traft\tnode/node.go:12\telected", b"elected"),
    ("capnslog", b"2026-11-02 15:04:05.123456 I | etcdmain: up", b"up"),
    ("hclog", b"2026-11-02T15:04:05.123Z [INFO]  agent.server: up", b"up"),
    ("nats", b"[1] 2026/11/02 15:04:05.123456 [INF] up", b"up"),
    ("telegraf", b"2026-11-02T15:04:05Z W! [inputs.x] slow", b"[inputs.x]"),
    ("logrus", b'time="2026-11-02T15:04:05Z" level=info msg="up"', b"msg="),
    ("go-kit", b"ts=2026-11-02T15:04:05.123Z caller=main.go:12 level=info msg=up", b"msg="),
    ("env-logger", b"[2026-11-02T15:04:05Z INFO  app::server] up", b"up"),
    ("tracing", b"2026-11-02T15:04:05.123456Z  INFO app::server: up", b"up"),
    ("serilog", b"[15:04:05 INF] up", b"up"),
    ("serilog-file", b"2026-11-02 15:04:05.123 +00:00 [INF] up", b"up"),
    ("dotnet", b"info: Shop.Cart[14]\n      up", b"up"),
)
#: Two presets fit these alike, or a plainer one says the same.
TWINS = {"supervisor", "dpkg", "tracing", "level", "iso-bracketed-level", "syslog-spaced", "redis-old"}


def fields_of(name: str, line: bytes) -> dict[str, bytes]:
    """Split `line` by a preset or declaration, return its fields that are there by name."""
    header_format = format_of(name)
    header = split([header_format], line, record_time_ns=RECORD_NS)
    assert header.format == 0
    return {
        field: line[start:end]
        for field, (start, end) in zip(header_format.fields, header.fields, strict=True)
        if end > start
    }


def header_of(declaration: str, line: bytes) -> Header:
    """Split `line` by one declaration."""
    return split([parse_format(declaration)], line, record_time_ns=RECORD_NS)


def test_every_preset_has_an_example() -> None:
    """No preset goes untested."""
    assert sorted(PRESETS) == sorted(name for name, _, _ in EXAMPLES)


@pytest.mark.parametrize(("name", "line", "message"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_preset_reads_its_example(name: str, line: bytes, message: bytes) -> None:
    """A preset finds the message and the time of what its software writes."""
    header = split([PRESETS[name]], line, record_time_ns=RECORD_NS)
    assert header.message == (line.index(message), len(line))
    if header.timestamp != NO_TIME:
        # The zones of the examples are an hour from UTC at most.
        text = rfc3339(header.timestamp, 0)
        assert text[:10] + text[13:] == b"2026-11-02:04:05Z"


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, line, _ in EXAMPLES if name not in TWINS])
def test_detection_finds_the_preset(name: str, line: bytes) -> None:
    """The preset of the software that wrote the lines is the likeliest."""
    detection = detect([line] * 20)
    assert detection.format is PRESETS[name]
    assert detection.share == 1.0


@pytest.mark.parametrize(
    ("name", "severity", "fields"),
    [
        ("log4j-hadoop", 9, {"thread.name": b"IPC Server handler 1 on 80", "log.logger": b"org.foo.Bar"}),
        ("spring-boot", 9, {"process.pid": b"17", "thread.name": b"main", "log.logger": b"o.s.b.Foo"}),
        ("syslog", 0, {"host.name": b"web1", "process.executable.name": b"sshd", "process.pid": b"17"}),
        ("klog", 13, {"thread.id": b"17", "code.file.path": b"node.go", "code.line.number": b"12"}),
        ("nginx-access", 0, {"client.address": b"10.0.0.7", "user.name": b"bob"}),
        ("nginx-error", 17, {"process.pid": b"12", "thread.id": b"34", "nginx.connection": b"5"}),
        ("redis", 10, {"process.pid": b"17", "redis.role": b"M"}),
        ("postgresql", 9, {"process.pid": b"17", "user.name": b"bob", "db.namespace": b"shop"}),
        ("elasticsearch", 9, {"log.logger": b"o.e.n.Node", "host.name": b"node-1"}),
        ("mysql", 9, {"thread.id": b"0", "error.code": b"MY-010116", "log.logger": b"Server"}),
        ("jul", 13, {"log.logger": b"org.foo.Main", "code.function.name": b"run"}),
        ("dmesg", 0, {"system.uptime": b"0.000000"}),
    ],
)
def test_preset_names_its_fields(name: str, severity: int, fields: dict[str, bytes]) -> None:
    """Fields carry OpenTelemetry's names, levels its numbers."""
    line = next(line for example, line, _ in EXAMPLES if example == name)
    assert fields == fields_of(name, line)
    assert severity == split([PRESETS[name]], line).severity


@pytest.mark.parametrize(
    ("declaration", "line", "message"),
    [
        (
            "<Date> <Time> <Pid> <Level> <Component>: <Content>",
            b"081109 203518 143 INFO dfs.Foo: Receiving",
            b"Receiving",
        ),
        ("<Date> <Time> <Level> <Component>: <Content>", b"17/06/09 20:10:40 INFO a.b: Registered", b"Registered"),
        (r"\[<Time>\] \[<Level>\] <Content>", b"[Sun Dec 04 04:47:44 2005] [notice] up", b"up"),
        (
            r"<Month> <Date> <Time> <Level> <Component>(\[<PID>\])?: <Content>",
            b"Nov  2 15:04:05 host su(pam)[19]: in",
            b"in",
        ),
        (
            r"<Month> <Date> <Time> <Level> <Component>(\[<PID>\])?: <Content>",
            b"Nov  2 15:04:05 host kernel: in",
            b"in",
        ),
        (r"<Date> <Day> <Time> <Component> sshd\[<Pid>\]: <Content>", b"Nov 02 15:04:05 lab sshd[17]: in", b"in"),
        (
            r"<Date> <Time> - <Level>  \[<Node>:<Component>@<Id>\] - <Content>",
            b"2015-07-29 17:41:44,747 - INFO  [a:b@7] - in",
            b"in",
        ),
        (
            r"<Date> <Time>, <Level>                  <Component>    <Content>",
            b"2016-09-28 04:30:30, Info      CBS    in",
            b"in",
        ),
        (r"<Time>\|<Component>\|<Pid>\|<Content>", b"20171223-22:15:29:606|Step|30002312|in", b"in"),
        ("<a:text>x(y)z<message>", b"axx(y)zm", b"m"),
        (r"<a:word>\n<message>", b"a\nm", b"m"),
        (r"<a:word>\s+<b:word>\s*=<message>", b"a \t b  =m", b"m"),
    ],
)
def test_declaration_reads_a_line(declaration: str, line: bytes, message: bytes) -> None:
    """Declarations in the field's usual style, types left out, read the lines that they were made for."""
    header = header_of(declaration, line)
    assert header.format == 0
    assert header.message == (len(line) - len(message), len(line))


def test_usual_names_become_attribute_names() -> None:
    """Usual names become OpenTelemetry's, others stay as they are."""
    header_format = parse_format("<Pid> <Thread> <Component> <Node> <Flag> <message>")
    assert header_format.fields == ("process.pid", "thread.name", "log.logger", "host.name", "Flag")
    assert ATTRIBUTE_OF_NAME["client"] == "client.address"


@pytest.mark.parametrize(
    ("declaration", "why"),
    [
        ("<level> <a>", "character 12: ends without the message"),
        ("", "character 1: ends without the message"),
        ("<message> <a>", "character 10: nothing may follow the message"),
        ("<a:colour> <message>", "character 1: no type 'colour'; there are text, word, name, int"),
        ("<t:%Q%X> <message>", "character 1: no directive '%X'.*there are %Y"),
        ("<a b> <message>", "character 1: '<a b>' is no field"),
        ("<a <message>", "character 1: `<` without its `>`"),
        ("x)? <message>", r"character 2: `\)\?` closes nothing"),
        ("(a(b)?c)? <message>", "character 3: an optional piece within another"),
        ("()? <message>", "character 2: an optional piece holds at least one thing"),
        ("(<message>)?", "character 2: <message> is the message"),
        ("<message:int>", "character 1: <message:int> is the message"),
        ("(<Time> )?<message>", "character 2: <Time> in an optional piece needs its shape"),
        ("<a><b> <message>", "a field of text or a word needs something after it"),
        ("<a><message>", "a field of text or a word needs something after it"),
        ("<a> <a> <message>", "character 5: a second field 'a'"),
        ("".join(f"<f{i}> " for i in range(MAX_FIELDS + 1)) + "<message>", "more than 12 fields"),
        ("log4k", "no header preset is named 'log4k'; there are airflow"),
    ],
)
def test_mistakes_are_told_with_their_place(declaration: str, why: str) -> None:
    """A declaration that can't be compiled says where and what may stand there."""
    compile_text = format_of if declaration.isalnum() else parse_format
    with pytest.raises(WrongFormat, match=why):
        compile_text(declaration)


def test_line_that_does_not_fit_is_all_message() -> None:
    """A stack trace's line keeps its indentation, and loses only its end of line."""
    assert header_of("<level> <message>", b"    at a.b.C\r\n") == Header(format=None, message=(0, 12))


def test_message_may_be_empty() -> None:
    """A line that ends where its message would begin has an empty message, white space at its end or not."""
    assert header_of("<level>: <message>", b"INFO:").message == (5, 5)
    assert header_of("<level>: <message>", b"INFO: \n").message == (6, 6)


def test_dash_is_no_value() -> None:
    """A field of one dash is none, as access logs and syslog have it."""
    assert header_of("<a:word> <b> <message>", b"- x m").fields == ((0, 0), (2, 3))


def test_optional_piece_that_fails_leaves_nothing() -> None:
    """What an optional piece had read before it failed is dropped, a level and a time too."""
    header = header_of("<a:word>( <level> <t:%H:%M:%S> <b:word>!)? <message>", b"a INFO 10:00:00 b m")
    assert header == Header(format=0, message=(2, 19), fields=((0, 1), (0, 0)))


def test_mixed_case_is_a_level_only_between_marks() -> None:
    """A message may start with a word like Error; in brackets the word is a level."""
    assert header_of("<level> <message>", b"Error while reading").format is None
    assert header_of(r"\[<level>\] <message>", b"[Error] while reading").severity == 17


def test_level_field_takes_any_word() -> None:
    """A level in the usual style may be any word; what is no known level has no severity."""
    header = header_of("<Level> <message>", b"plain x")
    assert (header.level, header.severity) == ((0, 5), 0)
    assert header_of("<Level> <message>", b"warn x").severity == 13


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        (b"trace", 1), (b"DEBUG", 5), (b"Info", 9), (b"NOTICE", 10), (b"warning", 13), (b"ERR", 17), (b"SEVERE", 17),
        (b"CRIT", 18), (b"alert", 19), (b"FATAL", 21), (b"CRITICAL", 21), (b"emerg", 21), (b"W", 13), (b"LOG", 9),
        (b"DEBUG3", 5), (b"plain", 0), (b"", 0), (b"INF O", 0),
    ],
)  # fmt: skip
def test_level_becomes_severity(word: bytes, severity: int) -> None:
    """Levels of many systems become OpenTelemetry's severity numbers."""
    assert severity == severity_of(word)


def test_syslog_priority_becomes_severity() -> None:
    """Syslog's severities become OpenTelemetry's, others none."""
    assert [severity_of_priority(priority) for priority in range(-1, 9)] == [0, 21, 19, 18, 17, 13, 10, 9, 5, 0]


def test_detection_says_what_it_found() -> None:
    """Detection names the formats, the share they fit and what else was close."""
    line = next(line for name, line, _ in EXAMPLES if name == "log4j")
    text = str(detect([line] * 9 + [b"    at a.b.C"]))
    assert text.startswith("log4j or tracing or iso-level or iso fits 90% of lines")


def test_detection_combines_formats_of_a_mixed_source() -> None:
    """Two formats that each fit a part are tried one after the other."""
    kinds = {name: line for name, line, _ in EXAMPLES}
    detection = detect([kinds["log4j"], kinds["klog"]] * 10)
    assert {"log4j", "klog"} <= {header_format.name for header_format in detection.formats}
    assert detection.share == 1.0


def test_detection_finds_nothing_in_plain_text() -> None:
    """Lines without a header, and no lines at all, have no format."""
    for lines in ([b"once upon a time", b"  there was a log", b""], [], [b"\n"]):
        detection = detect(lines)
        assert detection.format is None
        assert detection.share == 0.0
        assert str(detection) == "no known header: whole lines are messages"


def test_wide_format_wins_where_the_narrow_one_fits_by_chance() -> None:
    """A first word with a colon in some messages is no logger."""
    lines = [b"2026-11-02 15:04:05 INFO Connected: yes"] + [b"2026-11-02 15:04:05 INFO waiting for work"] * 9
    detection = detect(lines)
    assert detection.format is PRESETS["iso-level"]


@pytest.mark.parametrize("declaration", ["\udcff<message>", "<time:%Y\udcc3> <message>", "a \ud800 <Content>"])
def test_a_declaration_that_is_no_utf8_is_refused(declaration: str) -> None:
    """A variable of the environment may hold any bytes."""
    with pytest.raises(WrongFormat, match="no UTF-8"):
        parse_format(declaration)
