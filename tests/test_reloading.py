"""When a worker reloads, and what it does with a reload that can't be."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from worker.errors import WrongSettings
from worker.metrics import RELOADS, Metrics
from worker.reloading import Reloader
from worker.settings import Settings, Source, changed, needs_restart

SOURCE: Mapping[str, Any] = {"name": "shop", "topics": ("raw.shop",)}


def settings(*sources: Mapping[str, Any], **groups: Any) -> Settings:
    """Make settings; by default of one source."""
    return Settings(sources={str(one["name"]): Source(**one) for one in sources or (SOURCE,)}, **groups)


@dataclass(kw_only=True)
class Bench:
    """A reloader and everything around it that a test looks at."""

    #: What is read next.
    found: Settings = field(default_factory=settings)
    #: Raised by each step in turn.
    read_error: Exception | None = None
    replace_error: Exception | None = None
    replaced: list[Settings] = field(default_factory=list)
    taken: list[Settings] = field(default_factory=list)
    checked: list[Settings] = field(default_factory=list)
    #: Cleared, it holds `replace` back.
    may_replace: asyncio.Event = field(default_factory=asyncio.Event)
    is_replacing: asyncio.Event = field(default_factory=asyncio.Event)
    metrics: Metrics = field(default_factory=Metrics)
    reloader: Reloader = field(init=False)

    def __post_init__(self) -> None:
        self.may_replace.set()
        self.reloader = Reloader(settings(), read=self.read, check=self.checked.append, taken=self.taken.append)

    def read(self) -> Settings:
        """Give what is in the files now."""
        if self.read_error is not None:
            raise self.read_error
        return self.found

    async def replace(self, its: Settings) -> None:
        """Put them in force."""
        self.is_replacing.set()
        await self.may_replace.wait()
        if self.replace_error is not None:
            raise self.replace_error
        self.replaced.append(its)

    def outcomes(self) -> tuple[float, ...]:
        """Return how many reloads were done and refused."""
        value = self.metrics.registry.get_sample_value
        return tuple(value("logloom_reloads_total", {"outcome": outcome}) or 0.0 for outcome in RELOADS)

    async def until(self, true: Callable[[], bool]) -> None:
        """Let loop and threads turn until something holds."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - a turn of the loop, not a poll
                await asyncio.sleep(0)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    """Run a reloader until the test is over."""
    task = asyncio.create_task(bench.reloader.run(bench.replace, bench.metrics))
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_settings_come_in_force_when_asked() -> None:
    """They are read, checked, taken and remembered; the log names those that differ."""
    new = settings({**SOURCE, "zone": "Europe/Paris"}, multiline={"seconds": 2.0})
    async with running(Bench(found=new)) as it:
        with structlog.testing.capture_logs() as logs:
            it.reloader.ask("SIGHUP")
            await it.until(lambda: it.outcomes() == (1, 0))
        assert (it.checked, it.replaced, it.taken, it.reloader.settings) == ([new], [new], [new], new)
    (log,) = logs
    assert (log["event"], log["by"]) == ("reloaded", "SIGHUP")
    assert log["settings"] == ["multiline.seconds", "sources.shop.zone"]


@pytest.mark.parametrize("step", ["read_error", "replace_error"])
@pytest.mark.parametrize("error", [WrongSettings("a: wrong\nb: wrong"), MemoryError("not enough"), OSError("away")])
async def test_what_fails_is_refused(step: str, error: Exception) -> None:
    """Whatever goes wrong is one line with all reasons; the settings in force stay, and the next may be right."""
    async with running(Bench()) as it:
        setattr(it, step, error)
        with structlog.testing.capture_logs() as logs:
            it.reloader.ask("SIGHUP")
            await it.until(lambda: it.outcomes() == (0, 1))
        assert (it.replaced, it.taken, it.reloader.settings) == ([], [], settings())
        (log,) = logs
        assert (log["event"], log["log_level"]) == ("reload refused, nothing has changed", "error")
        assert str(error) in log["reason"]
        setattr(it, step, None)
        it.reloader.ask("SIGHUP")
        await it.until(lambda: it.outcomes() == (1, 1))


async def test_what_needs_a_restart_is_refused_by_name() -> None:
    """Nothing is checked or built then, and every such setting is named."""
    new = settings({**SOURCE, "topics": ("other",)}, kafka={"group_id": "g"}, log={"level": "debug"})
    async with running(Bench(found=new)) as it:
        with structlog.testing.capture_logs() as logs:
            it.reloader.ask("SIGHUP")
            await it.until(lambda: it.outcomes() == (0, 1))
        assert (it.checked, it.replaced) == ([], [])
    assert logs[0]["reason"].splitlines() == [
        "kafka.group_id (LOGLOOM_KAFKA__GROUP_ID): changed: needs a restart",
        "sources.shop.topics (LOGLOOM_SOURCES__SHOP__TOPICS): changed: needs a restart",
    ]


async def test_what_is_asked_for_during_a_reload_makes_one_more() -> None:
    """A storm of signals is one reload while none runs, and one more after the one that does."""
    async with running(Bench()) as it:
        it.may_replace.clear()
        it.reloader.ask("SIGHUP")
        await it.until(it.is_replacing.is_set)
        for _ in range(1_000):
            it.reloader.ask("SIGHUP")
        it.may_replace.set()
        await it.until(lambda: it.outcomes() == (2, 0))
        it.reloader.ask("SIGHUP")
        await it.until(lambda: it.outcomes() == (3, 0))


async def test_what_is_asked_for_before_the_start_is_done_after_it() -> None:
    """A signal while the worker starts is not lost: what it has read may be older."""
    bench = Bench()
    bench.reloader.ask("SIGHUP")
    async with running(bench) as it:
        await it.until(lambda: it.outcomes() == (1, 0))


async def test_threads_and_signals_may_ask() -> None:
    """Whoever asks, the loop wakes up."""
    async with running(Bench()) as it:
        former = signal.signal(signal.SIGHUP, lambda *_: it.reloader.ask("SIGHUP"))
        try:
            signal.raise_signal(signal.SIGHUP)
            await it.until(lambda: it.outcomes() == (1, 0))
        finally:
            signal.signal(signal.SIGHUP, former)
        thread = threading.Thread(target=it.reloader.ask, args=("thread",))
        thread.start()
        await it.until(lambda: it.outcomes() == (2, 0))
        thread.join()


async def test_a_stop_ends_a_reload() -> None:
    """One that is asked for during it, or after it, hurts nobody."""
    async with running(Bench()) as it:
        it.may_replace.clear()
        it.reloader.ask("SIGHUP")
        await it.until(it.is_replacing.is_set)
        it.reloader.ask("SIGHUP")
    it.reloader.ask("SIGHUP")
    assert it.replaced == []


def test_a_call_after_the_loop_has_ended_is_nothing() -> None:
    """A signal may come while the process ends."""
    bench: list[Bench] = []

    async def run() -> None:
        bench.append(Bench())
        async with running(bench[0]):
            await asyncio.sleep(0)

    asyncio.run(run())
    bench[0].reloader.ask("SIGHUP")
    assert bench[0].outcomes() == (0, 0)


def test_only_what_connections_are_made_of_needs_a_restart() -> None:
    """Everything else can be taken by a running worker."""
    old = settings()
    new = settings(
        {**SOURCE, "envelope": "json", "header": ("none",), "prompt": "p", "types": {"slow": ()}, "fields": ("user",)},
        redis={"url": "redis://r"},
        model={"path": "/m"},
        cache={"max_templates": 5},
        stream={"enabled": False},
        limits={"max_line_bytes": 100},
        log={"level": "debug"},
        output={"format": "msgpack"},
    )
    assert len(list(changed(old, new))) == 12
    assert list(needs_restart(old, new)) == []


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ({"kafka": {"sasl_password": "s"}}, "kafka.sasl_password"),
        ({"metrics": {"port": 1}}, "metrics.port"),
        ({"transport": "faust"}, "transport"),
        ({"output": {"topic": "t"}}, "output.topic"),
        ({"output": {"compression": "zstd"}}, "output.compression"),
        ({"limits": {"max_bytes_in_flight": 1 << 21}}, "limits.max_bytes_in_flight"),
    ],
)
def test_connections_stay(groups: dict[str, Any], named: str) -> None:
    """What broker, topics and the HTTP server are reached by is made once, at the start."""
    (mistake,) = needs_restart(settings(), settings(**groups))
    assert str(mistake).startswith(f"{named} (")


def test_sources_stay() -> None:
    """A source that comes or goes is a subscription that changes."""
    told = [str(one) for one in needs_restart(settings(), settings({**SOURCE, "name": "web"}))]
    assert told == [
        "sources.shop (LOGLOOM_SOURCES__SHOP): is gone: needs a restart",
        "sources.web (LOGLOOM_SOURCES__WEB): is new: needs a restart",
    ]
