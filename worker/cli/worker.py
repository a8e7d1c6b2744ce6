"""`logloom worker`."""

import logging
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

import click

from worker.cli.options import broker_option, config_option, load_settings

#: Python's own is 5 ms: a batch of hits asks for Python some ten times.
SWITCH_SECONDS = 0.0005


@click.command(name="worker")
@config_option
@broker_option
def command(config: Path | None, broker: str | None) -> None:
    """Read raw logs from Kafka, write structured events to Kafka.

    Runs until SIGTERM or Ctrl-C; then it finishes what it has begun, commits and exits with 0. Anything that it can't
    go on with ends it with 1, and what was not acknowledged is read again by the next worker.

    \b
    LOGLOOM_TOPICS=app.raw logloom worker
    logloom worker --config logloom.toml
    """  # noqa: D301  click takes the backspace for "keep these lines"
    settings = load_settings(config, broker, needs_sources=True)

    from worker.app import run  # noqa: PLC0415  --help must not wait for Faust and torch
    from worker.assembly import assemble  # noqa: PLC0415  the same
    from worker.logs import configure  # noqa: PLC0415  the same
    from worker.preflight import refuse  # noqa: PLC0415  the same

    # A thread that parses or settles keeps the others waiting for so long each time that a kernel lets go of Python.
    sys.setswitchinterval(SWITCH_SECONDS)
    log = settings.log
    configure(
        level=log.level,
        format=log.format,
        repeats=log.repeats,
        interval_seconds=log.interval_seconds,
        secrets=tuple(settings.secrets()),
    )
    refuse(settings)
    end(run(assemble(settings)))


def end(code: int) -> NoReturn:
    """Exit with `code`, at once where a thread hangs: Python itself would wait for it for ever."""
    if all(thread is threading.current_thread() or thread.daemon for thread in threading.enumerate()):
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
