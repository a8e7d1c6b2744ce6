"""The worker's own logs: structured, on one stream, without repeats and without secrets.

What is logged through structlog and through the standard library (Faust, aiokafka, asyncio) takes the same way.
"""

import io
import json
import logging
import re
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextvars import Context
from dataclasses import dataclass
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from worker.hops import in_work
from worker.terminal import printable, printable_lines

#: Most different lines whose repeats are counted; beyond it the one seen longest ago is forgotten.
_MAX_KEYS = 1_000
_MASK = "***"
_SECRET_NAME = re.compile(r"(.*_)?(password|passwd|secret|token|credentials?|private_key)", re.IGNORECASE)
_ADDRESS_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
#: Faust's and aiokafka's own information tells of each heartbeat and of each fetch.
_CHATTY = ("aiokafka", "faust", "mode", "kafka", "asyncio", "aiohttp", "transformers", "urllib3")
#: For debugging these tell each request, those with SASL's passwords and tokens too; and each step of a compilation.
_NEVER_DEBUGGED = ("aiokafka.conn", "kafka.net", "kafka.protocol", "numba")
#: Fields whose line ends are kept in text.
_OF_SEVERAL_LINES = ("event", "exception", "stack")


@dataclass(kw_only=True, slots=True)
class _Repeats:
    """How often one line came in the current interval."""

    began: float
    logger: str
    level: int
    written: int = 0
    suppressed: int = 0


class LogStream(logging.StreamHandler[TextIO]):
    """Writes records, the same line at most `repeats` times in an interval, then how many were held back."""

    def __init__(
        self, stream: TextIO, *, repeats: int, interval_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(stream)
        self._repeats, self._interval = repeats, interval_seconds
        self._clock = clock
        self._seen: OrderedDict[tuple[str, int, str], _Repeats] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record` unless it is one repeat too many; first tell of lines whose interval has ended."""
        now = self._clock()
        self._close_intervals(now)
        key = (record.name, record.levelno, _event_of(record))
        seen = self._seen.setdefault(key, _Repeats(began=now, logger=record.name, level=record.levelno))
        if seen.written >= self._repeats:
            seen.suppressed += 1
            return
        seen.written += 1
        super().emit(record)
        while len(self._seen) > _MAX_KEYS:
            (_, _, event), oldest = self._seen.popitem(last=False)
            self._tell(event, oldest)

    def mask(self, secrets: Collection[str]) -> None:
        """Mask `secrets` too from now on."""
        if isinstance(self.formatter, _MaskingFormatter):
            self.formatter.mask(secrets)

    def flush_repeats(self) -> None:
        """Tell of everything that was held back, at the end of the process."""
        self._close_intervals(float("inf"))

    def _close_intervals(self, now: float) -> None:
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if now - seen.began < self._interval:
                return
            del self._seen[key]
            self._tell(key[2], seen)

    def _tell(self, event: str, seen: _Repeats) -> None:
        if seen.suppressed:
            fields = {"suppressed": seen.suppressed, "interval_seconds": self._interval}
            level = {"levelno": seen.level, "levelname": logging.getLevelName(seen.level)}
            record = logging.makeLogRecord({"name": seen.logger, "msg": event, **level, **fields})
            # In no context: it tells of lines of many batches, and not of the one in work now.
            Context().run(super().emit, record)


def _event_of(record: logging.LogRecord) -> str:
    """Give what stays the same when a line repeats: structlog's event, or the format without its arguments."""
    return str(record.msg.get("event", "")) if isinstance(record.msg, dict) else str(record.msg)


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["json", "text"] = "json",  # noqa: A002  as the setting is called
    repeats: int = 5,
    interval_seconds: float = 60.0,
    secrets: Collection[str] = (),
    stream: TextIO | None = None,
) -> LogStream:
    """Send all logs of the process to `stream`, standard error by default; give the handler, to flush at the end.

    `secrets` are masked wherever they appear, whatever the field, traceback or library.
    """
    handler = LogStream(stream or sys.stderr, repeats=repeats, interval_seconds=interval_seconds)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.stdlib.ExtraAdder(),
        _name_trace,
        _mask_names,
        _order,
    ]
    handler.setFormatter(
        _MaskingFormatter(
            secrets=secrets,
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(format, handler)],
        )
    )
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _CHATTY:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.DEBUG if level == "debug" else max(logging.WARNING, root.level))
    for name in _NEVER_DEBUGGED:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.NOTSET)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return handler


def _renderers(format_name: str, handler: LogStream) -> list[Processor]:
    if format_name == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    renderer = structlog.dev.ConsoleRenderer(colors=handler.stream.isatty(), exception_formatter=_write_traceback)
    return [_printable_texts, renderer]


def _printable_texts(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Let no text of a log or of a foreign error reach a terminal raw."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable_lines(value) if name in _OF_SEVERAL_LINES else printable(value)
    return event


def _write_traceback(target: TextIO, exc_info: ExcInfo) -> None:
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    target.write(printable_lines(written.getvalue()))


def _name_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the trace and the span within which a line is written, where there is one."""
    if (ids := in_work().ids) is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def _mask_names(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask the values of fields that are called like secrets."""
    for name, value in event.items():
        if isinstance(value, str) and _SECRET_NAME.fullmatch(name):
            event[name] = _MASK
    return event


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put what every line has before what only this one has."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return {**first, **event}


class _MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks secrets in the finished line, whoever wrote it."""

    def __init__(self, *, secrets: Collection[str], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # handed on as they are
        self._secrets: list[str] = []
        self.mask(secrets)

    def mask(self, secrets: Collection[str]) -> None:
        """Mask `secrets` beside those that are masked already."""
        written = {form for secret in secrets if secret for form in (secret, json.dumps(secret)[1:-1])}
        # The longest first: one secret may be part of another.
        self._secrets = sorted({*self._secrets, *written}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, _MASK)
        return _ADDRESS_PASSWORD.sub(rf"\1{_MASK}@", line)


def log_stacks() -> None:
    """Write where each thread stands, for whoever asks later why one of them hung."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = {
        names.get(ident) or str(ident): "".join(traceback.format_stack(frame))
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the only way to see other threads
    }
    structlog.get_logger(__name__).critical("where each thread stands", stacks=stacks)
