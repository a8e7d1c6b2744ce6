"""`logloom worker`."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from worker.cli.options import broker_option, config_option, load_settings

if TYPE_CHECKING:
    from worker.logs import LogStream
    from worker.settings import Log, Settings


@click.command(name="worker")
@config_option
@broker_option
def command(config: Path | None, broker: str | None) -> None:
    """Read raw logs from Kafka, write structured events to Kafka.

    Runs until SIGTERM or Ctrl-C; then it finishes what it has begun, commits and exits with 0. Anything that it can't
    go on with ends it with 1, and what was not acknowledged is read again by the next worker.

    SIGHUP has it read its settings, its checkpoint and its prompts again and take them between two batches; what it
    can't take is refused, with the reasons in the log, and it goes on as before. `logloom reload` asks all workers.

    \b
    LOGLOOM_TOPICS=app.raw logloom worker
    logloom worker --config logloom.toml
    """  # noqa: D301  click takes the backspace for "keep these lines"
    asked = list[str]()
    # From the first moment on: by default it would end the process.
    signal.signal(signal.SIGHUP, lambda *_: asked.append("SIGHUP"))
    # The first process of a container is deaf to signals without a handler. Nothing is begun yet that must be finished.
    signal.signal(signal.SIGTERM, lambda *_: end(0))
    settings = load_settings(config, broker, needs_sources=True)

    from worker.app import run  # noqa: PLC0415  --help must not wait for Faust and torch
    from worker.assembly import assemble  # noqa: PLC0415  the same
    from worker.interpreter import favour_hits  # noqa: PLC0415  the same
    from worker.preflight import refuse, tell_raw_topics  # noqa: PLC0415  the same
    from worker.reloading import Reloader  # noqa: PLC0415  the same

    logs = _Logs(settings)

    def read() -> "Settings":
        found = load_settings(config, broker, needs_sources=True)
        logs.mask(found)
        return found

    reloader = Reloader(settings, read=read, check=refuse, taken=logs.follow)
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask("SIGHUP"))
    for by in asked:
        reloader.ask(by)
    refuse(settings)
    tell_raw_topics(settings)
    favour_hits()
    code = run(assemble(settings, reloader))
    # Python gives up its own handlers as it ends, and one more signal would end it with another code.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end(code)


def end(code: int) -> NoReturn:
    """Exit with `code`: at once after a failure, and where a thread hangs.

    Python would wait for such a thread for ever. Taking torch apart takes seconds that whoever comes next waits for.
    """
    if code == 0 and all(thread is threading.current_thread() or thread.daemon for thread in threading.enumerate()):
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Logs:
    """The worker's own logs as its settings say; secrets of former settings stay masked."""

    def __init__(self, settings: "Settings") -> None:
        self._secrets = set(settings.secrets())
        self._handler = self._configured(settings.log)
        self._log = settings.log

    def mask(self, settings: "Settings") -> None:
        """Mask the secrets of settings that are not in force yet."""
        self._secrets |= set(settings.secrets())
        self._handler.mask(self._secrets)

    def follow(self, settings: "Settings") -> None:
        """Write as `settings` say from now on."""
        if settings.log != self._log:
            self._handler.flush_repeats()
            self._handler = self._configured(settings.log)
            self._log = settings.log

    def _configured(self, log: "Log") -> "LogStream":
        from worker.logs import configure  # noqa: PLC0415  --help must not wait for structlog

        return configure(
            level=log.level,
            format=log.format,
            repeats=log.repeats,
            interval_seconds=log.interval_seconds,
            secrets=tuple(self._secrets),
        )
