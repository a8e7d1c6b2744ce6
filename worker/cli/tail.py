"""`logloom tail`: events as they come, for people or as JSON."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from worker.cli.options import broker_option, config_option, load_settings
from worker.cli.view import json_of, render
from worker.terminal import printable


@click.command("tail")
@click.option("--topic", help="Topic of events, instead of the setting output.topic.")
@click.option("--from-beginning", is_flag=True, help="Start with the oldest event; else with the next one.")
@click.option("--max", "most", type=click.IntRange(min=1), help="Stop after so many events.")
@click.option("--all", "until_end", is_flag=True, help="All events that the topic holds now, then stop.")
@click.option("--source", "sources", multiple=True, help="Only events of this source; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="One JSON event per line, as it is in the topic.")
@click.option("--colour/--no-colour", "colour", default=None, help="Colours; else where standard output is a terminal.")
@broker_option
@config_option
def command(
    *,
    topic: str | None,
    from_beginning: bool,
    most: int | None,
    until_end: bool,
    sources: tuple[str, ...],
    as_json: bool,
    colour: bool | None,
    broker: str | None,
    config: Path | None,
) -> None:
    """Show events: time, level, source, hit or miss, and the message with its parameters marked.

    Control characters and escape sequences in logs are shown as escapes and never reach the terminal.

    \b
    Examples:
      logloom tail
      logloom tail --all --source nginx
      logloom tail --json --max 100 | jq .attributes
    """  # noqa: D301  click takes the backspace for "keep these lines"
    settings = load_settings(config, broker)
    stdout = click.get_text_stream("stdout")
    colour = stdout.isatty() if colour is None else colour
    width = shutil.get_terminal_size().columns if stdout.isatty() else None
    shown = 0
    for value in _values(settings, topic or settings.output.topic, from_beginning=from_beginning, until_end=until_end):
        event = decode_event(value)
        if sources and (event is None or event.get("attributes", {}).get("logloom.source") not in sources):
            continue
        if event is None:
            click.echo(f"not an event: {printable(value.decode(errors='replace'))}", err=True)
            continue
        if as_json:
            line = json_of(event)
            # A terminal must not get what JSON leaves unescaped, such as U+009B.
            click.echo((printable(line) if stdout.isatty() else line).encode(errors="replace"))
        else:
            click.echo(render(event, colour=colour, width=width), color=colour)
        shown += 1
        if most is not None and shown >= most:
            break


def decode_event(value: bytes) -> dict[str, Any] | None:
    """Read an event as JSON or msgpack, told apart by its first byte; None for anything else."""
    import msgpack  # noqa: PLC0415  only for this command

    try:
        event = json.loads(value) if value[:1] == b"{" else msgpack.unpackb(value)
    except (ValueError, RecursionError, msgpack.UnpackException):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("attributes", {}), dict):
        return None
    return event


def _values(settings: Any, topic: str, *, from_beginning: bool, until_end: bool) -> Iterator[bytes]:
    """Give the values of `topic`: for ever, or `until_end` all that it holds."""
    from worker.transport.admin import Admin, consumer, records_between  # noqa: PLC0415  not needed for --help

    with Admin(settings.kafka) as admin:
        places = admin.topic_partitions([topic])
        begin, end = admin.begin_offsets(places), admin.end_offsets(places)
    with consumer(settings.kafka) as opened:
        if until_end:
            for record in records_between(opened, begin, end):
                yield record.value or b""
            return
        opened.assign(places)
        for place in places:
            opened.seek(place, begin[place] if from_beginning else end[place])
        while True:
            for records in opened.poll(timeout_ms=500).values():
                for record in records:
                    yield record.value or b""
