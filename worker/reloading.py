"""Reloads: settings, prompts and checkpoint are read again while the worker goes on, and taken all or none.

Asked for by SIGHUP or by a call in Redis. One reload at a time; what is asked for while one runs makes one more,
however often. Knows nothing of what is reloaded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from worker.errors import LogloomError, WrongSettings
from worker.metrics import RELOAD_DONE, RELOAD_REFUSED, Metrics
from worker.settings import Settings, changed, needs_restart
from worker.settings.fields import dotted

_log = structlog.get_logger(__name__)


class Reloader:
    """Reloads when it is asked to."""

    def __init__(
        self,
        settings: Settings,
        *,
        read: Callable[[], Settings],
        check: Callable[[Settings], None],
        taken: Callable[[Settings], None],
    ) -> None:
        """Take `settings` for those in force.

        `read` and `check` do what is done at a start, in a thread; `taken` is told of settings that came in force.
        """
        self.settings = settings
        self._read = read
        self._check = check
        self._taken = taken
        self._asked_by: dict[str, None] = {}
        self._is_asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, by: str) -> None:
        """Ask for a reload, from a signal's handler or any thread; what is asked before `run` is done as it begins."""
        self._asked_by[by] = None
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: nothing runs that could be reloaded
                self._loop.call_soon_threadsafe(self._is_asked.set)

    async def run(self, replace: Callable[[Settings], Awaitable[None]], metrics: Metrics) -> None:
        """Reload for ever, whenever asked.

        `replace` builds what the settings say and puts it in the place of what there is; what it raises changed
        nothing.
        """
        self._loop = asyncio.get_running_loop()
        if self._asked_by:
            self._is_asked.set()
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            by = ", ".join(self._asked_by)
            self._asked_by.clear()
            if by:
                metrics.reloaded(RELOAD_DONE if await self._reload(by, replace) else RELOAD_REFUSED)

    async def _reload(self, by: str, replace: Callable[[Settings], Awaitable[None]]) -> bool:
        began = time.monotonic()
        try:
            settings = await asyncio.to_thread(self._read_anew)
            await replace(settings)
        except LogloomError as exc:
            _log.error("reload refused, nothing has changed", by=by, reason=str(exc))
            return False
        except Exception as exc:  # noqa: BLE001 - the process edge: whatever it is, the worker goes on as before
            reason = f"{type(exc).__name__}: {exc}"
            _log.error("reload refused, nothing has changed", by=by, reason=reason, exc_info=exc)
            return False
        paths = [dotted(path) for path in changed(self.settings, settings)]
        self.settings = settings
        self._taken(settings)
        _log.info("reloaded", by=by, settings=paths, seconds=round(time.monotonic() - began, 3))
        return True

    def _read_anew(self) -> Settings:
        settings = self._read()
        if fixed := [str(one) for one in needs_restart(self.settings, settings)]:
            raise WrongSettings("\n".join(fixed))
        self._check(settings)
        return settings
