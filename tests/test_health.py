"""The HTTP server of metrics and health, asked over a real socket."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from worker.errors import BadWorld
from worker.health import Check, HealthServer


@asynccontextmanager
async def _server(
    *,
    started: Mapping[str, Check] | None = None,
    alive: Mapping[str, Check] | None = None,
    ready: Mapping[str, Check] | None = None,
) -> AsyncIterator[str]:
    registry = CollectorRegistry()
    Counter("logloom_things_total", "Things.", registry=registry).inc(3)
    server = HealthServer(
        host="127.0.0.1", port=0, registry=registry, started=started or {}, alive=alive or {}, ready=ready or {}
    )
    await server.start()
    try:
        yield "http://{}:{}".format(*server.address)
    finally:
        await server.stop()


async def _get(url: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_metrics_in_the_format_that_is_asked_for() -> None:
    """Prometheus gets its text format, or OpenMetrics where it accepts that."""
    async with _server() as url:
        status, content_type, body = await _get(f"{url}/metrics")
        assert (status, content_type.split(";")[0]) == (200, "text/plain")
        assert "logloom_things_total 3.0" in body
        _, content_type, body = await _get(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith("# EOF\n")


async def test_a_failing_check_is_named() -> None:
    """Not ready is 503, and the body says which check fails and why; the worker is alive all the same."""
    async with _server(ready={"model": lambda: None, "partitions": lambda: "none assigned yet"}) as url:
        status, _, body = await _get(f"{url}/readyz")
        assert (status, body) == (503, '{"ok": false, "checks": {"model": "ok", "partitions": "none assigned yet"}}')
        assert await _get(f"{url}/healthz") == (200, "application/json; charset=utf-8", '{"ok": true, "checks": {}}')


async def test_checks_are_asked_each_time() -> None:
    """What was wrong and is right now passes."""
    reasons: list[str | None] = ["loading", None]
    async with _server(ready={"model": lambda: reasons.pop(0)}) as url:
        assert [(await _get(f"{url}/readyz"))[0] for _ in range(2)] == [503, 200]


async def test_who_is_not_alive_is_not_ready() -> None:
    """A worker that is about to stop gets no more work."""
    async with _server(alive={"worker": lambda: "delivery failed"}) as url:
        assert [(await _get(f"{url}{path}"))[0] for path in ("/startupz", "/healthz", "/readyz")] == [503, 503, 503]


async def test_who_is_being_set_up_is_alive() -> None:
    """A worker that loads its model is not to be restarted for it, and gets no work yet."""
    async with _server(started={"model": lambda: "loading"}) as url:
        assert [(await _get(f"{url}{path}"))[0] for path in ("/startupz", "/healthz", "/readyz")] == [503, 200, 503]


async def test_who_waits_for_work_has_started() -> None:
    """A worker without partitions is set up."""
    async with _server(ready={"kafka": lambda: "no partitions"}) as url:
        assert [(await _get(f"{url}{path}"))[0] for path in ("/startupz", "/healthz", "/readyz")] == [200, 200, 503]


async def test_a_taken_port_is_told_with_its_setting() -> None:
    """Two servers on one port: the second says which setting to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = HealthServer(host="127.0.0.1", port=port, registry=CollectorRegistry(), started={}, alive={}, ready={})
        with pytest.raises(BadWorld, match=rf"can't listen on 127.0.0.1:{port} .*LOGLOOM_METRICS__PORT"):
            await server.start()


async def test_stop_without_start() -> None:
    """Stopping what never started, or stopping twice, does nothing."""
    server = HealthServer(host="127.0.0.1", port=0, registry=CollectorRegistry(), started={}, alive={}, ready={})
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert server.address == ("127.0.0.1", 0)
