"""`logloom templates`: what was learned, as it is in Redis, and what operators call it."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from worker.cli.options import broker_option, config_option, load_settings, parser_option, scope_option
from worker.cli.template_changes import COMMANDS
from worker.errors import Unreachable
from worker.terminal import printable

if TYPE_CHECKING:
    from worker.cli.sightings import Sightings
    from worker.cli.stored import Stored
    from worker.settings import Settings

F = TypeVar("F", bound=Callable[..., object])


def _recent_options(command: F) -> F:
    """Add what bounds the reading of events."""
    events = click.option(
        "--events",
        type=click.IntRange(min=1),
        default=10_000,
        show_default=True,
        help="Look at so many events, the last ones of the output topic.",
    )
    seconds = click.option(
        "--seconds",
        type=click.FloatRange(min=0.1),
        default=10.0,
        show_default=True,
        help="Look no longer than this.",
    )
    return events(seconds(command))


@click.group("templates")
def command() -> None:
    """Templates that workers have learned and share through Redis.

    \b
    Examples:
      logloom templates list connection
      logloom templates show 8d1f0c5e
      logloom templates rename 8d1f0c5e user=account 2=port
      logloom templates export templates.jsonl
    """  # noqa: D301  click takes the backspace for "keep these lines"


for change in COMMANDS:
    command.add_command(change)


@command.command("list")
@click.argument("words", nargs=-1)
@click.option("--regex", metavar="EXPRESSION", help="Only those in whose text this regular expression is found.")
@click.option("--parameter", metavar="NAME", help="Only those with a parameter of this name.")
@click.option("--type", "message_type", metavar="TYPE", help="Only those of this message type, such as timeout.")
@click.option("--pinned", "only_pinned", is_flag=True, help="Only those whose parameters' names are pinned.")
@click.option("--rates", is_flag=True, help="Tell how often each was seen of late, the most frequent first.")
@_recent_options
@scope_option
@parser_option
@broker_option
@config_option
def list_command(
    *,
    words: tuple[str, ...],
    regex: str | None,
    parameter: str | None,
    message_type: str | None,
    only_pinned: bool,
    rates: bool,
    events: int,
    seconds: float,
    scopes: tuple[str, ...],
    parser: str | None,
    broker: str | None,
    config: Path | None,
) -> None:
    """List templates; those whose text holds all WORDS, in any order, upper or lower case alike.

    \b
    Examples:
      logloom templates list
      logloom templates list "session opened" user --scope sshd
      logloom templates list --regex '^Failed .* port' --parameter user
      logloom templates list --type timeout --rates
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.cli.sightings import Bounds, look  # noqa: PLC0415  not needed for --help
    from worker.cli.stored import loaded, typed  # noqa: PLC0415  the same

    expression = _compiled(regex)
    settings = load_settings(config, broker)
    found = [
        stored
        for stored in typed(settings, loaded(settings, scopes, parser))
        if all(word.lower() in stored.template.text.lower() for word in words)
        and (expression is None or expression.search(stored.template.text))
        and parameter in {None, *stored.template.names}
        and message_type in {None, stored.template.type}
        and (stored.is_pinned or not only_pinned)
    ]
    seen = look(settings, Bounds(events=events, seconds=seconds)) if rates else None
    if seen is not None:
        found.sort(key=lambda stored: -_times(settings, stored, seen))
    for stored in found:
        share = "" if seen is None else f"{_percent(_times(settings, stored, seen), seen.events):>7} "
        click.echo(printable(f"{share}{stored.template.id} {stored.scope}: {stored.template.text}"))
    click.echo(f"{len(found):,} templates{'' if seen is None else f'; {_looked_at(seen)}'}", err=True)


@command.command("show")
@click.argument("template_id", metavar="ID")
@click.option("--examples", type=click.IntRange(min=0), default=3, show_default=True, help="Show so many messages.")
@_recent_options
@scope_option
@parser_option
@broker_option
@config_option
def show_command(
    *,
    template_id: str,
    examples: int,
    events: int,
    seconds: float,
    scopes: tuple[str, ...],
    parser: str | None,
    broker: str | None,
    config: Path | None,
) -> None:
    """Show one template: its parameters, how often it was seen of late, and in which messages. ID may be cut short.

    \b
    Examples:
      logloom templates show 8d1f0c5e
      logloom templates show 8d1f0c5e --examples 20 --events 1000000 --seconds 60
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.cli.sightings import Bounds, look  # noqa: PLC0415  not needed for --help
    from worker.cli.stored import by_id, loaded, typed  # noqa: PLC0415  the same

    settings = load_settings(config, broker)
    found = typed(settings, by_id(loaded(settings, scopes, parser), template_id))
    for stored in found:
        _show(stored)
    wanted = {stored.template.id for stored in found}
    try:
        seen = look(settings, Bounds(events=events, seconds=seconds), template_ids=wanted, most=examples)
    except Unreachable as exc:
        click.echo(f"seen        not known: {printable(str(exc))}")
    else:
        _show_sightings(settings, found, seen)


@command.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
@scope_option
@parser_option
@config_option
def export_command(*, file: TextIO, scopes: tuple[str, ...], parser: str | None, config: Path | None) -> None:
    """Write templates as JSON lines to FILE, or to standard output.

    \b
    Examples:
      logloom templates export templates.jsonl
      logloom templates export | jq -r .template
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.cli.stored import as_json, loaded, typed  # noqa: PLC0415  not needed for --help

    settings = load_settings(config)
    found = typed(settings, loaded(settings, scopes, parser))
    file.writelines(printable(json.dumps(as_json(stored))) + "\n" for stored in found)


def _show(stored: "Stored") -> None:
    template = stored.template
    parser = "none: it is pinned, and no parser found it" if stored.parser is None else stored.parser
    click.echo(f"id          {template.id}\nscope       {printable(stored.scope)}")
    click.echo(f"parser      {printable(parser)}\ntemplate    {printable(template.text)}")
    click.echo(f"confidence  {template.confidence:.3f}")
    if template.type:
        click.echo(f"type        {printable(template.type)} ({template.type_confidence:.3f})")
    for number, (name, spacious) in enumerate(zip(template.names, template.spacious, strict=True), start=1):
        space = "may hold white space" if spacious else "one word"
        pinned = ", pinned" if stored.is_pinned else ""
        click.echo(f"parameter {number} {printable(name) or '(no name)'}, {space}{pinned}")


def _show_sightings(settings: "Settings", found: Sequence["Stored"], seen: "Sightings") -> None:
    from worker.cli.view import render  # noqa: PLC0415  not needed for --help

    for scope, template_id in dict.fromkeys(stored.place for stored in found):
        is_of = _is_of(settings, scope)
        times, of_scope = seen.count(template_id, is_of), seen.of(is_of)
        rate = f", {times / seen.seconds:,.1f}/s" if seen.seconds else ""
        share = _percent(times, of_scope)
        click.echo(printable(f"seen        {times:,} times in {of_scope:,} events of {scope} ({share}{rate})"))
    colour = click.get_text_stream("stdout").isatty()
    for event in seen.examples:
        click.echo(f"example     {render(event, colour=colour)}", color=colour)
    click.echo(_looked_at(seen), err=True)


def _looked_at(seen: "Sightings") -> str:
    return f"looked at the last {seen.events:,} events, of {seen.seconds:,.0f} s"


def _times(settings: "Settings", stored: "Stored", seen: "Sightings") -> int:
    return seen.count(stored.template.id, _is_of(settings, stored.scope))


def _is_of(settings: "Settings", scope: str) -> Callable[[str], bool]:
    """Tell sources of a scope from others; one that these settings lack has a scope of its own."""
    scopes = {name: source.scope for name, source in settings.sources.items()}
    return lambda source: scopes.get(source, source) == scope


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _compiled(regex: str | None) -> re.Pattern[str] | None:
    try:
        return None if regex is None else re.compile(regex)
    except re.error as exc:
        raise click.BadParameter(f"{regex!r} is no regular expression: {exc}", param_hint="--regex") from exc
