"""The HTTP server of `/metrics`, `/startupz`, `/healthz` and `/readyz`. Knows nothing of what it reports on.

A check is asked on each request and says what is wrong, or None. That `/healthz` answers at all shows that the event
loop turns.
"""

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from worker.errors import BadWorld

#: What is wrong, in a few words; None is nothing.
Check = Callable[[], str | None]


class HealthServer:
    """Serves metrics and checks from the worker's own event loop."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        started: Mapping[str, Check],
        alive: Mapping[str, Check],
        ready: Mapping[str, Check],
    ) -> None:
        """Port 0 takes a free one.

        A failing check of `started` says that it is still being set up, one of `alive` asks for a restart, one of
        `ready` for patience.
        """
        self._host, self._port = host, port
        self._registry = registry
        self._started, self._alive, self._ready = started, alive, ready
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on, once it has started."""
        if self._runner is None or not self._runner.addresses:
            return self._host, self._port
        host, port, *_ = self._runner.addresses[0]
        return host, port

    async def start(self) -> None:
        """Listen. Raises BadWorld where the address is taken."""
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/startupz", self._startupz)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as exc:
            await runner.cleanup()
            reason = f"can't listen on {self._host}:{self._port} for metrics and health: {exc.strerror}"
            raise BadWorld(f"{reason}; set metrics.port (LOGLOOM_METRICS__PORT)") from exc
        self._runner = runner

    async def stop(self) -> None:
        """Close the socket and end what is being answered; nothing where it has not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _startupz(self, _request: web.Request) -> web.Response:
        return _answer({**self._alive, **self._started})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _answer(self._alive)

    async def _readyz(self, _request: web.Request) -> web.Response:
        # A worker that is to be restarted must get no more work either.
        return _answer({**self._alive, **self._started, **self._ready})


def _answer(checks: Mapping[str, Check]) -> web.Response:
    """Say 200 where every check passes, else 503; the body names each check and what is wrong with it."""
    wrong = {name: check() for name, check in checks.items()}
    passed = all(reason is None for reason in wrong.values())
    body = {"ok": passed, "checks": {name: reason or "ok" for name, reason in wrong.items()}}
    return web.json_response(body, status=200 if passed else 503)
