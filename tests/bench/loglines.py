"""Log lines for benchmarks: what a block store of our own invention might write, in log4j's usual layout."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from worker.parsing.templates import Template

_TEMPLATES = (
    ("INFO", "store.DataNode", "Receiving chunk chk_{id} src: /{ip}:{port} dest: /{ip}:7060"),
    ("INFO", "store.DataNode", "Received chunk chk_{id} of size {size} from /{ip}"),
    ("INFO", "store.DataNode$Responder", "Responder {small} for chunk chk_{id} terminating"),
    ("INFO", "store.NameSystem", "STORE* addStoredChunk: map updated: {ip}:7060 is added to chk_{id} size {size}"),
    ("INFO", "store.NameSystem", "STORE* NameSystem.allocate: /data/{user}/part-{small}. chk_{id}"),
    ("WARN", "store.DataNode", "Slow flush of chk_{id}: {port} ms on /disk{small}/current"),
    ("INFO", "store.Scanner", "Verification succeeded for chk_{id}"),
    ("ERROR", "store.DataNode", "Got exception while serving chk_{id} to /{ip}: connection reset by peer"),
    ("INFO", "store.Balancer", "Moved {size} bytes from rack{small} to rack{small} in {port} ms, {small} moves left"),
    ("DEBUG", "store.Lease", "Renewed lease of client {user} for {small} files until {port}"),
)  # fmt: skip
#: How often each comes, as in real logs: a few make up most.
_WEIGHTS = (30, 25, 20, 12, 5, 1, 4, 1, 1, 1)
_USERS = ("alice", "bob", "carol", "dave", "etl", "batch", "root", "svc-report")


def block_store(count: int, *, seed: int = 1) -> Iterator[bytes]:
    """Yield `count` lines of ten templates with fresh values, the same for the same seed."""
    rng = random.Random(seed)
    now = datetime(2026, 11, 2, 8, 0, 0, tzinfo=UTC)
    for _ in range(count):
        now += timedelta(milliseconds=rng.randrange(40))
        level, component, text = rng.choices(_TEMPLATES, _WEIGHTS)[0]
        message = text.format_map(_Values(rng))
        stamp = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d}"
        yield f"{stamp} {level} [worker-{rng.randrange(16)}] {component}: {message}".encode()


class _Values(dict[str, object]):
    """Makes a value at each look-up."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    def __missing__(self, key: str) -> object:
        rng = self._rng
        match key:
            case "id":
                return rng.randrange(-(1 << 62), 1 << 62)
            case "ip":
                return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"
            case "port":
                return rng.randrange(1024, 65536)
            case "size":
                return rng.randrange(1, 1 << 27)
            case "small":
                return rng.randrange(64)
            case _:
                return rng.choice(_USERS)


def many_templates(count: int, templates: int, *, seed: int = 2) -> Iterator[bytes]:
    """Yield `count` lines of `templates` distinct templates: what memory must bear."""
    rng = random.Random(seed)
    for number in range(count):
        yield f"{_task(number % templates)} finished in {rng.randrange(9999)} ms with code {rng.randrange(9)}".encode()


def templates_of(count: int) -> list[Template]:
    """Return the templates of what `many_templates` yields."""
    return [Template.from_text(f"{_task(number)} finished in <*> ms with code <*>") for number in range(count)]


_STEMS = ("load", "sync", "merge", "drop", "seal", "scan", "lock", "ship")
_WORDS = tuple(f"{stem}{ending}" for stem in _STEMS for ending in ("er", "ing", "ed", "s"))


def _task(number: int) -> str:
    """Name a task by three words of which there are 32."""
    return " ".join(_WORDS[number // 32**place % 32] for place in range(3))
