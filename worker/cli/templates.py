"""`logloom templates`: what was learned, as it is in Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from worker.cli.options import config_option, load_settings
from worker.errors import LogloomError
from worker.terminal import printable

if TYPE_CHECKING:
    from worker.cache.store import TemplateStore
    from worker.parsing.templates import Template
    from worker.settings import Redis, Settings

#: A person asks for all of it; no batch waits for it.
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A template and where it is kept."""

    scope: str
    #: The parser version that made it.
    parser: str
    template: "Template"


_scope_option = click.option(
    "--scope", "scopes", multiple=True, help="Only this scope: a source's name, unless it has a template_scope."
)
_parser_option = click.option("--parser", metavar="VERSION", help="Only templates of this parser version.")


@click.group("templates")
def command() -> None:
    """Templates that workers have learned and share through Redis.

    \b
    Examples:
      logloom templates list connection
      logloom templates show 8d1f0c5e9a3b2277
      logloom templates export templates.jsonl
    """  # noqa: D301  click takes the backspace for "keep these lines"


@command.command("list")
@click.argument("search", required=False)
@_scope_option
@_parser_option
@config_option
def list_command(*, search: str | None, scopes: tuple[str, ...], parser: str | None, config: Path | None) -> None:
    """List templates; those whose text holds SEARCH, upper or lower case alike.

    \b
    Examples:
      logloom templates list
      logloom templates list "session opened" --scope sshd
    """  # noqa: D301  click takes the backspace for "keep these lines"
    count = 0
    for stored in _templates(load_settings(config), scopes, parser):
        if search is None or search.lower() in stored.template.text.lower():
            click.echo(printable(f"{stored.template.id} {stored.scope}: {stored.template.text}"))
            count += 1
    click.echo(f"{count:,} templates", err=True)


@command.command("show")
@click.argument("template_id", metavar="ID")
@_scope_option
@_parser_option
@config_option
def show_command(*, template_id: str, scopes: tuple[str, ...], parser: str | None, config: Path | None) -> None:
    """Show one template: its text, its parameters and how sure the model was. ID may be cut short."""
    found = [
        stored
        for stored in _templates(load_settings(config), scopes, parser)
        if stored.template.id.startswith(template_id.lower())
    ]
    if not found:
        raise LogloomError(f"no template's id begins with {template_id!r}; `logloom templates list` shows them")
    for stored in found:
        template = stored.template
        click.echo(f"id          {template.id}\nscope       {printable(stored.scope)}")
        click.echo(f"parser      {printable(stored.parser)}\ntemplate    {printable(template.text)}")
        click.echo(f"confidence  {template.confidence:.3f}")
        if template.type:
            click.echo(f"type        {printable(template.type)} ({template.type_confidence:.3f})")
        for number, (name, spacious) in enumerate(zip(template.names, template.spacious, strict=True), start=1):
            space = "may hold white space" if spacious else "one word"
            click.echo(f"parameter {number} {printable(name) or '(no name)'}, {space}")


@command.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
@_scope_option
@_parser_option
@config_option
def export_command(*, file: TextIO, scopes: tuple[str, ...], parser: str | None, config: Path | None) -> None:
    """Write templates as JSON lines to FILE, or to standard output.

    \b
    Examples:
      logloom templates export templates.jsonl
      logloom templates export | jq -r .template
    """  # noqa: D301  click takes the backspace for "keep these lines"
    file.writelines(
        printable(json.dumps(_as_json(stored))) + "\n" for stored in _templates(load_settings(config), scopes, parser)
    )


def _as_json(stored: Stored) -> dict[str, Any]:
    template = stored.template
    return {
        "id": template.id,
        "scope": stored.scope,
        "parser": stored.parser,
        "template": template.text,
        "confidence": round(template.confidence, 4),
        "type": template.type or None,
        "type_confidence": round(template.type_confidence, 4),
        "parameters": [
            {"name": name or None, "spacious": spacious}
            for name, spacious in zip(template.names, template.spacious, strict=True)
        ],
    }


def _templates(settings: "Settings", scopes: tuple[str, ...], parser: str | None) -> Iterator[Stored]:
    """Give the templates of every scope and parser version that is wanted, in order of their text.

    Raises LogloomError where there is no Redis, StoreUnavailable where it does not answer.
    """
    if settings.redis.url is None:
        raise LogloomError("no Redis: set redis.url (LOGLOOM_REDIS__URL); without it each worker keeps its own")
    from worker.parsing.message_types import Typer  # noqa: PLC0415  --help must not wait for it

    found = sorted(
        asyncio.run(_load(settings.redis, scopes, parser)),
        key=lambda stored: (stored.scope, stored.parser, stored.template.text),
    )
    shipped = Typer.load()
    asked = {source.scope: source.types for source in settings.sources.values()}
    typers = {scope: None if types is None else shipped.asking(types) for scope, types in asked.items()}
    for stored in found:
        typer = typers.get(stored.scope, shipped)
        yield stored if typer is None else replace(stored, template=typer.typed(stored.template))


async def _load(redis: "Redis", scopes: tuple[str, ...], parser: str | None) -> list[Stored]:
    found = []
    async with _store(redis, "") as store:
        held = await store.scopes()
    for one in held:
        if (not scopes or one.scope in scopes) and parser in {None, one.parser_version}:
            async with _store(redis, one.parser_version) as store:
                found += [
                    Stored(scope=one.scope, parser=one.parser_version, template=template)
                    async for template in store.templates(one.scope)
                ]
    return found


@asynccontextmanager
async def _store(redis: "Redis", parser: str) -> "AsyncIterator[TemplateStore]":
    from worker.cache.store import TemplateStore  # noqa: PLC0415  Redis's client is not needed for --help

    store = TemplateStore.connect(
        str(redis.address),
        tls=redis.tls,
        prefix=redis.prefix,
        parser_version=parser,
        connect_timeout_seconds=redis.connect_timeout_seconds,
        timeout_seconds=_TIMEOUT_SECONDS,
        max_connections=2,
    )
    try:
        yield store
    finally:
        await store.close()
