"""`logloom templates`: what was learned, as it is in Redis."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from worker.cli.options import config_option, load_settings
from worker.cli.view import printable
from worker.errors import LogloomError

if TYPE_CHECKING:
    from worker.parsing.templates import Template
    from worker.settings import Settings

#: What events and keys are marked with where no model is loaded.
_NO_PARSER = "none"

_scope_option = click.option(
    "--scope", "scopes", multiple=True, help="Only this scope: a source's name, unless it has a template_scope."
)
_parser_option = click.option(
    "--parser", metavar="VERSION", help="Templates of this parser; else of the one that model.path names."
)


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
    for scope, template in _templates(load_settings(config), scopes, parser):
        if search is None or search.lower() in template.text.lower():
            click.echo(printable(f"{template.id} {scope}: {template.text}"))
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
        (scope, template)
        for scope, template in _templates(load_settings(config), scopes, parser)
        if template.id.startswith(template_id.lower())
    ]
    if not found:
        raise LogloomError(f"no template's id begins with {template_id!r}; `logloom templates list` shows them")
    for scope, template in found:
        click.echo(f"id          {template.id}\nscope       {printable(scope)}\ntemplate    {printable(template.text)}")
        click.echo(f"confidence  {template.confidence:.3f}")
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
        json.dumps(_as_json(scope, template)) + "\n"
        for scope, template in _templates(load_settings(config), scopes, parser)
    )


def _as_json(scope: str, template: "Template") -> dict[str, Any]:
    return {
        "id": template.id,
        "scope": scope,
        "template": template.text,
        "confidence": round(template.confidence, 4),
        "parameters": [
            {"name": name or None, "spacious": spacious}
            for name, spacious in zip(template.names, template.spacious, strict=True)
        ],
    }


def _templates(settings: "Settings", scopes: tuple[str, ...], parser: str | None) -> Iterator[tuple[str, "Template"]]:
    """Give scope and template, by scope and text.

    Raises LogloomError where there is no Redis or no scope to ask for, StoreUnavailable where Redis does not answer.
    """
    if settings.redis.url is None:
        raise LogloomError(
            "no Redis: set redis.url (LOGLOOM_REDIS__URL); without it templates live in the worker alone"
        )
    wanted = scopes or tuple(dict.fromkeys(source.scope for source in settings.sources.values()))
    if not wanted:
        raise LogloomError("no source is configured here: name a scope with --scope")
    version = parser or _parser_version(settings)
    for scope, templates in asyncio.run(_load(settings, wanted, version)).items():
        yield from ((scope, template) for template in sorted(templates, key=lambda template: template.text))


def _parser_version(settings: "Settings") -> str:
    if settings.model.path is None:
        return _NO_PARSER
    from worker.parsing.checkpoint import checkpoint_version  # noqa: PLC0415  not needed for --help

    return checkpoint_version(settings.model.path)


async def _load(settings: "Settings", scopes: tuple[str, ...], version: str) -> dict[str, list["Template"]]:
    from worker.cache.store import TemplateStore  # noqa: PLC0415  Redis's client is not needed for --help

    redis = settings.redis
    store = TemplateStore.connect(
        str(redis.url),
        password=None if redis.password is None else redis.password.get_secret_value(),
        prefix=redis.prefix,
        parser_version=version,
        connect_timeout_seconds=redis.connect_timeout_seconds,
        # A person asks for all of it, no batch waits for it.
        timeout_seconds=max(10.0, redis.timeout_seconds),
        max_connections=1,
        max_pending=0,
    )
    try:
        return {scope: list(await store.load(scope)) for scope in scopes}
    finally:
        await store.close()
