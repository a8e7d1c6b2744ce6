"""`logloom templates`: what was learned, as it is in Redis, and what operators call it."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from worker.cli.options import broker_option, config_option, load_settings
from worker.errors import LogloomError, Unreachable
from worker.terminal import printable

if TYPE_CHECKING:
    from worker.cli.sightings import Sightings
    from worker.cli.stored import Library, Stored
    from worker.parsing.templates import Template
    from worker.settings import Settings

F = TypeVar("F", bound=Callable[..., object])

#: What a parameter may be called: it becomes part of an attribute's name.
_NAME = re.compile(r"[^\W\d][\w.-]{0,63}")

_scope_option = click.option(
    "--scope", "scopes", multiple=True, help="Only this scope: a source's name, unless it has a template_scope."
)
_parser_option = click.option("--parser", metavar="VERSION", help="Only templates of this parser version.")


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


@command.command("list")
@click.argument("words", nargs=-1)
@click.option("--regex", metavar="EXPRESSION", help="Only those in whose text this regular expression is found.")
@click.option("--parameter", metavar="NAME", help="Only those with a parameter of this name.")
@click.option("--type", "message_type", metavar="TYPE", help="Only those of this message type, such as timeout.")
@click.option("--pinned", "only_pinned", is_flag=True, help="Only those whose parameters' names are pinned.")
@click.option("--rates", is_flag=True, help="Tell how often each was seen of late, the most frequent first.")
@_recent_options
@_scope_option
@_parser_option
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
    from worker.cli.stored import typed  # noqa: PLC0415  the same

    expression = _compiled(regex)
    settings = load_settings(config, broker)
    found = [
        stored
        for stored in typed(settings, _loaded(settings, scopes, parser))
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
@_scope_option
@_parser_option
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
    from worker.cli.stored import typed  # noqa: PLC0415  the same

    settings = load_settings(config, broker)
    found = typed(settings, _by_id(_loaded(settings, scopes, parser), template_id))
    for stored in found:
        _show(stored)
    wanted = {stored.template.id for stored in found}
    try:
        seen = look(settings, Bounds(events=events, seconds=seconds), template_ids=wanted, most=examples)
    except Unreachable as exc:
        click.echo(f"seen        not known: {printable(str(exc))}")
    else:
        _show_sightings(settings, found, seen)


@command.command("rename")
@click.argument("template_id", metavar="ID")
@click.argument("names", nargs=-1, required=True, metavar="PARAMETER=NAME...")
@_scope_option
@config_option
def rename_command(*, template_id: str, names: tuple[str, ...], scopes: tuple[str, ...], config: Path | None) -> None:
    """Give parameters of a template other names, and pin them. PARAMETER is a name or a number, from 1.

    All workers use them from now on, after a reload and under a new checkpoint too. No NAME takes the name away.
    Names in a source's settings (parameter_names) stand before pinned ones.

    \b
    Examples:
      logloom templates rename 8d1f0c5e user=account
      logloom templates rename 8d1f0c5e 1=client.address 2=port 3=
    """  # noqa: D301  click takes the backspace for "keep these lines"
    library = _library(load_settings(config))
    for stored in _one(asyncio.run(library.load(scopes)), template_id):
        _pin(library, stored.scope, replace(stored.template, names=_renamed(stored.template, names)))


@command.command("pin")
@click.argument("template_id", metavar="ID")
@_scope_option
@config_option
def pin_command(*, template_id: str, scopes: tuple[str, ...], config: Path | None) -> None:
    """Let the parameters of a template be called as they are now, whatever parsers find later.

    A pinned template stays: no other takes its place, and a new checkpoint's messages find it.

    \b
    Examples:
      logloom templates pin 8d1f0c5e
    """  # noqa: D301  click takes the backspace for "keep these lines"
    library = _library(load_settings(config))
    for stored in _one(asyncio.run(library.load(scopes)), template_id):
        _pin(library, stored.scope, stored.template)


@command.command("unpin")
@click.argument("template_id", metavar="ID")
@_scope_option
@config_option
def unpin_command(*, template_id: str, scopes: tuple[str, ...], config: Path | None) -> None:
    """Let parsers name the parameters of a template again; workers go back to the names that they learned.

    \b
    Examples:
      logloom templates unpin 8d1f0c5e
    """  # noqa: D301  click takes the backspace for "keep these lines"
    library = _library(load_settings(config))
    for stored in _one(asyncio.run(library.load(scopes)), template_id):
        if not asyncio.run(library.unpin(stored.scope, [stored.template.id])):
            raise LogloomError(f"{stored.template.id} is not pinned in {stored.scope}")
        click.echo(printable(f"unpinned {stored.template.id} {stored.scope}: {stored.template.text}"))


@command.command("remove")
@click.argument("template_ids", nargs=-1, metavar="ID...")
@click.option("--all", "all_of_scope", is_flag=True, help="All templates of the scopes that --scope names.")
@_scope_option
@_parser_option
@config_option
def remove_command(
    *,
    template_ids: tuple[str, ...],
    all_of_scope: bool,
    scopes: tuple[str, ...],
    parser: str | None,
    config: Path | None,
) -> None:
    """Remove templates: workers forget them, and learn anew from what misses then. Pinned ones stay.

    \b
    Examples:
      logloom templates remove 8d1f0c5e 02b8a4e1
      logloom templates remove --all --scope sshd --parser base-2-1f0c6e2b
    """  # noqa: D301  click takes the backspace for "keep these lines"
    if all_of_scope == bool(template_ids) or (all_of_scope and not scopes):
        raise click.UsageError("give IDs, or --all with --scope")
    library = _library(load_settings(config))
    found = asyncio.run(library.load(scopes, parser))
    wanted = found if all_of_scope else [stored for one in template_ids for stored in _by_id(found, one)]
    places: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for stored in wanted:
        if stored.parser is not None:
            places[stored.scope, stored.parser].add(stored.template.id)
    removed = sum(asyncio.run(library.remove(scope, its, sorted(ids))) for (scope, its), ids in places.items())
    click.echo(f"{removed:,} templates removed", err=True)


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
    from worker.cli.stored import as_json, typed  # noqa: PLC0415  not needed for --help

    settings = load_settings(config)
    found = typed(settings, _loaded(settings, scopes, parser))
    file.writelines(printable(json.dumps(as_json(stored))) + "\n" for stored in found)


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--scope", metavar="NAME", help="Put all into this scope, instead of those that the lines name.")
@click.option("--parser", metavar="VERSION", help="Give all to this parser version, instead of those of the lines.")
@click.option("--pin", "is_pinned", is_flag=True, help="Pin all; else those that were.")
@config_option
def import_command(
    *, file: TextIO, scope: str | None, parser: str | None, is_pinned: bool, config: Path | None
) -> None:
    """Read templates as `export` writes them from FILE, or from standard input, and give them to the workers.

    A line needs no more than `template`, and `scope` and `parser` unless options give them. Names that are there
    already stay, but for those that are pinned here. Nothing is written if a line is wrong.

    \b
    Examples:
      logloom templates import templates.jsonl
      echo '{"template": "user <*> left", "names": ["account"]}' | logloom templates import --scope sshd --pin
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.cli.stored import from_json  # noqa: PLC0415  not needed for --help

    library = _library(load_settings(config))
    read, wrong = list["Stored"](), list[str]()
    for number, line in enumerate(file, start=1):
        try:
            if line.strip():
                read.append(from_json(line, scope=scope, parser=parser, is_pinned=is_pinned))
        except ValueError as exc:
            wrong.append(f"line {number}: {exc}")
    if wrong:
        raise LogloomError("\n".join(wrong))
    written, pinned = _import(library, read)
    click.echo(f"{written:,} templates imported, {pinned:,} pinned", err=True)
    if (written, pinned) != _wanted(read):
        raise LogloomError("the others found no room in Redis")


def _import(library: "Library", read: Sequence["Stored"]) -> tuple[int, int]:
    """Write what was read; returns how many were given to parsers, and how many are pinned now."""
    of_parser: defaultdict[tuple[str, str], list[Template]] = defaultdict(list)
    pins: defaultdict[str, list[Template]] = defaultdict(list)
    for stored in read:
        if stored.parser is not None:
            of_parser[stored.scope, stored.parser].append(stored.template)
        if stored.is_pinned:
            pins[stored.scope].append(stored.template)
    written = sum(asyncio.run(library.add(scope, its, templates)) for (scope, its), templates in of_parser.items())
    return written, sum(asyncio.run(library.pin(scope, templates)) for scope, templates in pins.items())


def _wanted(read: Sequence["Stored"]) -> tuple[int, int]:
    return sum(stored.parser is not None for stored in read), sum(stored.is_pinned for stored in read)


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


def _renamed(template: "Template", assignments: Iterable[str]) -> tuple[str, ...]:
    """Give the parameters' names after `PARAMETER=NAME`s. Raises LogloomError, with all that are wrong."""
    names, wrong = list(template.names), list[str]()
    for assignment in assignments:
        parameter, separator, name = assignment.rpartition("=")
        places = list(_places(template, parameter))
        if not separator:
            wrong.append(f"{assignment!r} is no PARAMETER=NAME")
        elif len(places) != 1:
            several = "several parameters are" if places else "no parameter is"
            known = ", ".join(f"{number} {known}".rstrip() for number, known in enumerate(template.names, start=1))
            wrong.append(f"{several} called {parameter!r} in {template.text!r}; there are {known or 'none'}")
        elif name and not _NAME.fullmatch(name):
            wrong.append(f"{name!r} is no name: a letter or _, then letters, digits, _ . and -; 64 at most")
        else:
            names[places[0]] = name
    if wrong:
        raise LogloomError("\n".join(wrong))
    return tuple(names)


def _places(template: "Template", parameter: str) -> Iterator[int]:
    """Find the parameters of a name, or of a number from 1."""
    for place, name in enumerate(template.names):
        if parameter and parameter in {name, str(place + 1)}:
            yield place


def _pin(library: "Library", scope: str, template: "Template") -> None:
    if not asyncio.run(library.pin(scope, [template])):
        raise LogloomError(f"{scope} has no room for more pinned templates")
    names = ", ".join(name or "(no name)" for name in template.names) or "no parameters"
    click.echo(printable(f"pinned {template.id} {scope}: {template.text}: {names}"))


def _library(settings: "Settings") -> "Library":
    from worker.cli.stored import Library  # noqa: PLC0415  Redis's client is not needed for --help

    return Library(settings.redis)


def _loaded(settings: "Settings", scopes: tuple[str, ...], parser: str | None) -> "list[Stored]":
    return asyncio.run(_library(settings).load(scopes, parser))


def _by_id(found: Iterable["Stored"], template_id: str) -> "list[Stored]":
    """Choose the templates whose id begins so. Raises LogloomError where there is none."""
    chosen = [stored for stored in found if stored.template.id.startswith(template_id.lower())]
    if not chosen:
        raise LogloomError(f"no template's id begins with {template_id!r}; `logloom templates list` shows them")
    return chosen


def _one(found: Iterable["Stored"], template_id: str) -> "list[Stored]":
    """Choose the one template whose id begins so, in each scope that has it; several ids are refused."""
    chosen = {stored.place: stored for stored in _by_id(found, template_id)}
    if len({template_id for _, template_id in chosen}) > 1:
        several = ", ".join(sorted({stored.template.id for stored in chosen.values()}))
        raise LogloomError(f"several templates' ids begin with {template_id!r}: {several}")
    return list(chosen.values())
