"""`logloom reload`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.options import config_option, load_settings
from worker.errors import LogloomError, WrongSettings

if TYPE_CHECKING:
    from worker.settings import Settings

#: A person asks; no batch waits for it.
_TIMEOUT_SECONDS = 10.0


@click.command("reload")
@click.option(
    "--scope", "scopes", multiple=True, help="Only workers of this scope: a source's name, unless it has another."
)
@config_option
def command(*, scopes: tuple[str, ...], config: Path | None) -> None:
    """Ask workers, by Redis, to read settings, checkpoint and prompts again. Without --scope, all workers are asked.

    Each reads its own files and variables, checks them as at its start, and takes them between two batches; what it
    can't take it refuses, says why in its log, counts it in logloom_reloads_total, and goes on as before. One that is
    cut off from Redis hears of it when it is back. A single worker is asked by SIGHUP.

    \b
    Examples:
      logloom reload
      logloom reload --scope sshd --scope nginx
    """  # noqa: D301  click takes the backspace for "keep these lines"
    settings = load_settings(config)
    if settings.redis.url is None:
        raise LogloomError("no Redis: set redis.url (LOGLOOM_REDIS__URL), or send SIGHUP to each worker")
    asyncio.run(_call(settings, scopes))
    click.echo(f"asked the workers of {', '.join(scopes) or 'all scopes'}; logloom_reloads_total tells what they did")


async def _call(settings: "Settings", scopes: tuple[str, ...]) -> None:
    from worker.cache.calls import ALL_SCOPES  # noqa: PLC0415  --help must not wait for Redis's client
    from worker.cache.store import TemplateStore  # noqa: PLC0415  the same

    connection = settings.redis.connection | {"timeout_seconds": _TIMEOUT_SECONDS}
    store = TemplateStore.connect(**connection, parser_version="", max_connections=2)
    try:
        known = {source.scope for source in settings.sources.values()}
        if set(scopes) - known:
            known |= {stored.scope for stored in await store.scopes()}
        if unknown := [scope for scope in scopes if scope not in known]:
            raise WrongSettings(f"no worker reads the scope {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        for scope in scopes or (ALL_SCOPES,):
            await store.call_reload(scope)
    finally:
        await store.close()
