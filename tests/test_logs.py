"""The worker's own logs: one stream, no repeats, no secrets."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from worker.logs import LogStream, configure


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Keep what a test configures from the next one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_own_and_foreign_logs_look_alike() -> None:
    """Structlog's lines and the standard library's have the same members, in the same order."""
    stream = io.StringIO()
    configure(stream=stream)
    structlog.get_logger("worker.app").warning("batch slow", seconds=3)
    logging.getLogger("aiokafka.consumer").warning("fetch of %s failed", "t")
    own, foreign = _lines(stream)
    assert list(own) == ["timestamp", "level", "logger", "event", "seconds"]
    assert (own["event"], own["seconds"], own["logger"]) == ("batch slow", 3, "worker.app")
    assert list(foreign) == ["timestamp", "level", "logger", "event"]
    assert (foreign["event"], foreign["level"]) == ("fetch of t failed", "warning")


def test_what_tells_requests_byte_by_byte_is_never_debugged() -> None:
    """The bytes of SASL hold passwords and tokens; at other levels these loggers are as quiet as their libraries."""
    stream = io.StringIO()
    connection = logging.getLogger("aiokafka.conn")
    for level in ("debug", "info"):
        configure(level=level, stream=stream)
        connection.debug("Request: %s", "SaslAuthenticateRequest(...)")
    connection.info("Authenticated")
    assert stream.getvalue() == ""
    configure(level="debug", stream=stream)
    connection.info("Authenticated")
    assert [line["event"] for line in _lines(stream)] == ["Authenticated"]


def test_level_and_chatty_libraries() -> None:
    """Below the level nothing is written, and of libraries only warnings."""
    stream = io.StringIO()
    configure(level="info", stream=stream)
    structlog.get_logger("worker").debug("detail")
    structlog.get_logger("worker").info("started")
    logging.getLogger("faust.worker").info("banner")
    logging.getLogger("faust.worker").error("crashed")
    assert [line["event"] for line in _lines(stream)] == ["started", "crashed"]


def test_repeats_are_held_back_and_counted() -> None:
    """The first few of a line are written, the others counted and told at the end."""
    stream = io.StringIO()
    handler = configure(repeats=2, stream=stream)
    for attempt in range(5):
        structlog.get_logger("worker").warning("redis away", attempt=attempt)
    structlog.get_logger("worker").warning("another")
    handler.flush_repeats()
    lines = _lines(stream)
    assert [line.get("attempt") for line in lines if line["event"] == "redis away"] == [0, 1, None]
    summary = lines[-1]
    assert (summary["event"], summary["suppressed"], summary["level"], summary["logger"]) == (
        "redis away",
        3,
        "warning",
        "worker",
    )


def _record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("l", logging.WARNING, "f", 1, message, arguments, None)


def test_an_interval_ends_when_the_next_line_comes() -> None:
    """After the interval the count is written with whatever line comes next, and counting starts anew."""
    now = [0.0]
    stream = io.StringIO()
    handler = LogStream(stream, repeats=1, interval_seconds=10, clock=lambda: now[0])
    handler.setFormatter(logging.Formatter("%(message)s %(suppressed)s", defaults={"suppressed": "-"}))
    for number in range(3):
        handler.emit(_record("failed %d", number))
    now[0] = 11.0
    handler.emit(_record("fine"))
    handler.emit(_record("failed %d", 9))
    assert stream.getvalue().splitlines() == ["failed 0 -", "failed %d 2", "fine -", "failed 9 -"]


def test_counted_lines_are_bounded() -> None:
    """A flood of different lines does not grow memory, and loses no count."""
    stream = io.StringIO()
    handler = LogStream(stream, repeats=1, interval_seconds=10, clock=lambda: 0.0)
    handler.setFormatter(logging.Formatter("%(message)s %(suppressed)s", defaults={"suppressed": "-"}))
    handler.emit(_record("first"))
    handler.emit(_record("first"))
    for number in range(1_500):
        handler.emit(_record(f"line {number}"))
    assert len(handler._seen) == 1_000
    assert "first 1" in stream.getvalue().splitlines()


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_masked_wherever_they_are(form: Any) -> None:
    """A secret is masked as a field, in a text, in an address, in a traceback and in a library's line."""
    stream = io.StringIO()
    configure(format=form, secrets=['hun"ter2'], stream=stream)
    log = structlog.get_logger("worker")
    log.info("connecting", password="x9x9", url="redis://u:p9p9@h/0", text='it is hun"ter2')  # noqa: S106  no secret
    logging.getLogger("aiokafka").warning("login with %s failed", 'hun"ter2')
    log.error("failed", exc_info=ValueError('wrong: hun"ter2'))
    written = stream.getvalue()
    assert not [secret for secret in ("ter2", "x9x9", "p9p9") if secret in written]
    assert written.count("***") == 5
    assert "ValueError" in written


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_text_reaches_the_terminal_raw(form: Any) -> None:
    """Escape sequences in fields, in names, in a library's line and in a traceback are shown as escapes."""
    hostile = "\x1b]0;title\x07\x9b2J\u202e\x7f"
    stream = io.StringIO()
    configure(format=form, stream=stream)
    log = structlog.get_logger("worker")
    log.info(hostile, source=hostile, lines=[hostile])
    logging.getLogger("aiokafka").warning("no topic %s", hostile)
    log.error("failed", exc_info=ValueError(f"wrong: {hostile}"))
    assert not [character for character in stream.getvalue() if not character.isprintable() and character != "\n"]
