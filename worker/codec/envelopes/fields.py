"""Which fields of a structured envelope hold the message, the time and the level. Knows nothing of bytes."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Dotted paths in order of preference; a path names a flat key first (`"log.level"`), then a nested one."""

    #: The first that holds anything is the text.
    message: tuple[str, ...]
    #: The first that holds a readable time is the time.
    timestamp: tuple[str, ...] = ()
    #: The first that holds a known level gives the severity; the field itself stays among the attributes.
    level: tuple[str, ...] = ()
    #: Found, not declared: only a string is a message, and without one the whole record is the text.
    guessed: bool = False
    #: A message of at least so many bytes that lacks its line end goes on in the next record.
    cut_bytes: int = sys.maxsize


#: Names that JSON loggers and log shippers use.
AUTO = Fields(
    message=("message", "msg", "log", "event", "short_message", "body", "text", "MESSAGE", "textPayload", "@message"),
    timestamp=(
        "@timestamp",
        "timestamp",
        "time",
        "ts",
        "date",
        "datetime",
        "asctime",
        "eventTime",
        "t",
        "__REALTIME_TIMESTAMP",
    ),
    level=("log.level", "level", "severity", "levelname", "loglevel", "log_level", "lvl", "severity_text", "PRIORITY"),
    guessed=True,
)

#: Fields of the shippers and loggers that a source can name.
PRESETS: Mapping[str, Fields] = MappingProxyType(
    {
        "auto": AUTO,
        "ecs": Fields(message=("message",), timestamp=("@timestamp",), level=("log.level",)),
        "filebeat": Fields(message=("message",), timestamp=("@timestamp",), level=("log.level",)),
        "fluent-bit": Fields(
            message=("log", "message"), timestamp=("time", "date", "@timestamp"), level=("level", "severity")
        ),
        "fluentd": Fields(message=("log", "message"), timestamp=("time", "@timestamp"), level=("level", "severity")),
        "vector": Fields(message=("message",), timestamp=("timestamp",), level=("level", "severity")),
        "docker": Fields(message=("log",), timestamp=("time",), cut_bytes=16_384),
        "pino": Fields(message=("msg",), timestamp=("time",), level=("level",)),
        "bunyan": Fields(message=("msg",), timestamp=("time",), level=("level",)),
        "structlog": Fields(message=("event",), timestamp=("timestamp",), level=("level",)),
        "zap": Fields(message=("msg", "message"), timestamp=("ts", "timestamp"), level=("level", "severity")),
        "python-json-logger": Fields(
            message=("message",), timestamp=("timestamp", "asctime"), level=("levelname", "level")
        ),
        "gelf": Fields(message=("short_message",), timestamp=("timestamp",), level=("level",)),
        "journald": Fields(message=("MESSAGE",), timestamp=("__REALTIME_TIMESTAMP",), level=("PRIORITY",)),
    }
)
