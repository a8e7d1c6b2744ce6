"""What operators change of templates: names, pins, which there are. Commands of `logloom templates`."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from worker.cli.options import config_option, load_settings, parser_option, scope_option
from worker.errors import LogloomError
from worker.terminal import printable

if TYPE_CHECKING:
    from worker.cli.stored import Library, Stored
    from worker.parsing.templates import Template
    from worker.settings import Settings

#: What a parameter may be called: it becomes part of an attribute's name.
_NAME = re.compile(r"[^\W\d][\w.-]{0,63}")


@click.command("rename")
@click.argument("template_id", metavar="ID")
@click.argument("names", nargs=-1, required=True, metavar="PARAMETER=NAME...")
@scope_option
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
    for stored in _one(library, scopes, template_id):
        _pin(library, stored.scope, replace(stored.template, names=_renamed(stored.template, names)))


@click.command("pin")
@click.argument("template_id", metavar="ID")
@scope_option
@config_option
def pin_command(*, template_id: str, scopes: tuple[str, ...], config: Path | None) -> None:
    """Let the parameters of a template be called as they are now, whatever parsers find later.

    A pinned template stays: no other takes its place, and a new checkpoint's messages find it.

    \b
    Examples:
      logloom templates pin 8d1f0c5e
    """  # noqa: D301  click takes the backspace for "keep these lines"
    library = _library(load_settings(config))
    for stored in _one(library, scopes, template_id):
        _pin(library, stored.scope, stored.template)


@click.command("unpin")
@click.argument("template_id", metavar="ID")
@scope_option
@config_option
def unpin_command(*, template_id: str, scopes: tuple[str, ...], config: Path | None) -> None:
    """Let parsers name the parameters of a template again; workers go back to the names that they learned.

    \b
    Examples:
      logloom templates unpin 8d1f0c5e
    """  # noqa: D301  click takes the backspace for "keep these lines"
    library = _library(load_settings(config))
    for stored in _one(library, scopes, template_id):
        if not asyncio.run(library.unpin(stored.scope, [stored.template.id])):
            raise LogloomError(f"{stored.template.id} is not pinned in {stored.scope}")
        click.echo(printable(f"unpinned {stored.template.id} {stored.scope}: {stored.template.text}"))


@click.command("remove")
@click.argument("template_ids", nargs=-1, metavar="ID...")
@click.option("--all", "all_of_scope", is_flag=True, help="All templates of the scopes that --scope names.")
@scope_option
@parser_option
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
    from worker.cli.stored import by_id  # noqa: PLC0415  not needed for --help

    if all_of_scope == bool(template_ids) or (all_of_scope and not scopes):
        raise click.UsageError("give IDs, or --all with --scope")
    library = _library(load_settings(config))
    found = asyncio.run(library.load(scopes, parser))
    wanted = found if all_of_scope else [stored for one in template_ids for stored in by_id(found, one)]
    places: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for stored in wanted:
        if stored.parser is not None:
            places[stored.scope, stored.parser].add(stored.template.id)
    removed = sum(asyncio.run(library.remove(scope, its, sorted(ids))) for (scope, its), ids in places.items())
    click.echo(f"{removed:,} templates removed", err=True)


@click.command("import")
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


def _one(library: "Library", scopes: Sequence[str], template_id: str) -> "list[Stored]":
    """Find the one template whose id begins so, in each scope that has it; several ids are refused."""
    from worker.cli.stored import by_id  # noqa: PLC0415  not needed for --help

    chosen = {stored.place: stored for stored in by_id(asyncio.run(library.load(scopes)), template_id)}
    if len({template_id for _, template_id in chosen}) > 1:
        several = ", ".join(sorted({stored.template.id for stored in chosen.values()}))
        raise LogloomError(f"several templates' ids begin with {template_id!r}: {several}")
    return list(chosen.values())


def _library(settings: "Settings") -> "Library":
    from worker.cli.stored import Library  # noqa: PLC0415  Redis's client is not needed for --help

    return Library(settings.redis)


COMMANDS = (rename_command, pin_command, unpin_command, remove_command, import_command)
