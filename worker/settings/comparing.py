"""Which settings differ, and which of these a running worker can't take."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.settings import fields
from worker.settings.fields import ANY_SOURCE, Path
from worker.settings.mistakes import Mistake
from worker.settings.model import Settings

#: What connections, subscriptions and the HTTP server are made of at the start; a table stands for all in it.
_FIXED: frozenset[Path] = frozenset({
    ("transport",), ("role",), ("topics",), ("topic_pattern",), ("kafka",), ("misses",), ("metrics",),
    ("tracing",),
    ("limits", "max_bytes_in_flight"),
    *(("output", name) for name in ("topic", "dead_letter_topic", "templates_topic")),
    *(("output", name) for name in ("compression", "max_batch_bytes", "linger_ms")),
    *(("sources", ANY_SOURCE, name) for name in ("topics", "topic_pattern")),
})  # fmt: skip


def changed(old: Settings, new: Settings) -> Iterator[Path]:
    """Give the path of each setting that differs; of a source that came or went, that of its table."""
    for name in sorted(old.sources.keys() ^ new.sources.keys()):
        yield ("sources", name)
    common = [name for name in old.sources if name in new.sources]
    for path in fields.settings():
        for concrete in [(path[0], name, path[2]) for name in common] if ANY_SOURCE in path else [path]:
            if _value(old, concrete) != _value(new, concrete):
                yield concrete


def needs_restart(old: Settings, new: Settings) -> Iterator[Mistake]:
    """Give every change that only a new process can take."""
    for path in changed(old, new):
        if len(path) == 2 and path[0] == "sources":
            verb = "is new" if path[1] in new.sources else "is gone"
            yield Mistake(paths=(path,), text=f"{verb}: needs a restart")
        elif {path[:1], _general(path)} & _FIXED:
            yield Mistake(paths=(path,), text="changed: needs a restart")


def _general(path: Path) -> Path:
    return (path[0], ANY_SOURCE, *path[2:]) if path[0] == "sources" else path


def _value(settings: Settings, path: Path) -> Any:
    value: Any = settings
    for part in path:
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value
