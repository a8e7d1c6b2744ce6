"""`logloom status`."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.options import config_option, load_settings
from worker.errors import LogloomError
from worker.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from worker.cli.figures import SourceFigures
    from worker.cli.newest import Watch
    from worker.cli.scraping import Endpoint
    from worker.cli.status_view import Look
    from worker.settings import Settings

#: Columns of what goes into a file or a pipe.
_FILE_COLUMNS = 200


@click.command("status")
@click.option(
    "--workers",
    multiple=True,
    metavar="HOST:PORT,...",
    help="Metrics endpoints; a name of several addresses is as many workers. Else that of a worker here.",
)
@click.option("--once", is_flag=True, help="One table, and the end; so it is too where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
@click.option(
    "--interval",
    "seconds",
    type=click.FloatRange(0.1, 3600.0),
    default=2.0,
    show_default=True,
    help="Seconds between two looks, which rates are made of.",
)
@config_option
def command(*, workers: tuple[str, ...], once: bool, as_json: bool, seconds: float, config: Path | None) -> None:
    """Show what workers do: rates, lag, hits, misses and dead letters of each source, the workers, new templates.

    It reads the metrics of each worker every few seconds, until Ctrl-C. With --once, with --json and without a terminal
    it looks twice and ends with 0, or with 1 if no worker answers.

    \b
    Examples:
      logloom status
      logloom status --workers 10.0.3.7:9464,10.0.3.8:9464
      logloom status --json | jq '.sources[] | {name, lag, hit_rate}'
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from rich.console import Console  # noqa: PLC0415  not needed for --help

    from worker.cli.newest import watching  # noqa: PLC0415  the same
    from worker.cli.scraping import endpoints_of  # noqa: PLC0415  the same
    from worker.cli.status_view import drawn  # noqa: PLC0415  the same

    settings = load_settings(config)
    endpoints = endpoints_of(workers, host=settings.metrics.host, port=settings.metrics.port)
    console = Console()
    with asyncio.Runner() as runner, watching(settings, runner) as watch:
        looks = _looks(settings, endpoints, watch, runner, seconds)
        if console.is_terminal and not once and not as_json:
            _show(console, looks)
            return
        look = next(looks)
        if look.figures.workers:
            look = next(looks)
    if as_json:
        click.echo(printable(json.dumps(_as_json(look))))
    else:
        console = console if console.is_terminal else Console(width=_FILE_COLUMNS)
        console.print(drawn(look, console.width))
    if not look.figures.workers:
        raise click.exceptions.Exit(1)


def _looks(
    settings: "Settings",
    endpoints: Sequence["Endpoint"],
    watch: "Watch",
    runner: asyncio.Runner,
    seconds: float,
) -> Iterator["Look"]:
    """Look for ever, every `seconds`."""
    from worker.cli.figures import Scrape, figures  # noqa: PLC0415  not needed for --help
    from worker.cli.newest import MOST, NewTemplate  # noqa: PLC0415  the same
    from worker.cli.scraping import scrape  # noqa: PLC0415  the same
    from worker.cli.status_view import Look  # noqa: PLC0415  the same

    def source_of(topic: str) -> str | None:
        source = settings.source_of(topic)
        return None if source is None else source.name

    def scope_of(name: str) -> str:
        source = settings.sources.get(name)
        return name if source is None else source.scope

    before: dict[str, Scrape | str] = {}
    newest: deque[NewTemplate] = deque(maxlen=MOST)
    while True:
        began = time.monotonic()
        now = runner.run(scrape(endpoints))
        note = None
        try:
            newest.extend(watch.poll())
        except LogloomError as exc:
            note = str(exc)
        yield Look(
            time=datetime.now(UTC),
            figures=figures(now, before, source_of=source_of, scope_of=scope_of),
            newest=tuple(newest),
            note=note,
        )
        before |= {address: one for address, one in now.items() if isinstance(one, Scrape)}
        time.sleep(max(0.0, began + seconds - time.monotonic()))


def _show(console: "Console", looks: Iterator["Look"]) -> None:
    """Draw over the terminal until Ctrl-C."""
    from rich.live import Live  # noqa: PLC0415  not needed for --help

    from worker.cli.status_view import drawn  # noqa: PLC0415  the same

    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for look in looks:
                live.update(drawn(look, console.width), refresh=True)
    except KeyboardInterrupt:
        return


def _as_json(look: "Look") -> dict[str, Any]:
    return {
        "time": look.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": look.figures.seconds,
        "sources": [_source_as_json(source) for source in look.figures.sources],
        "workers": [asdict(worker) for worker in look.figures.workers],
        "silent": [asdict(worker) for worker in look.figures.silent],
        "new_templates": [asdict(template) for template in look.newest],
        "new_templates_note": look.note,
    }


def _source_as_json(source: "SourceFigures") -> dict[str, Any]:
    from worker.cli.figures import TIERS  # noqa: PLC0415  not needed for --help

    return asdict(source) | {
        "misses_per_second": source.misses_per_second,
        "hit_rate": source.hit_rate,
        "shares": {tier: source.share(tier) for tier in TIERS},
    }
