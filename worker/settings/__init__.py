"""Settings: the only part of Logloom that reads the environment."""

from worker.settings.comparing import changed, needs_restart
from worker.settings.describing import Shown, describe, shown
from worker.settings.model import (
    Cache,
    Kafka,
    Limits,
    Log,
    Metrics,
    Model,
    Multiline,
    Output,
    Redis,
    Settings,
    Source,
    Tracing,
)
from worker.settings.reading import load, read

__all__ = [
    "Cache",
    "Kafka",
    "Limits",
    "Log",
    "Metrics",
    "Model",
    "Multiline",
    "Output",
    "Redis",
    "Settings",
    "Shown",
    "Source",
    "Tracing",
    "changed",
    "describe",
    "load",
    "needs_restart",
    "read",
    "shown",
]
