"""Settings: the only part of Logloom that reads the environment."""

from worker.settings.describing import describe, shown
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
)
from worker.settings.reading import load

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
    "Source",
    "describe",
    "load",
    "shown",
]
