"""`logloom dead-letters`: what became no event and why, and a second chance for it."""

import asyncio
import base64
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.options import broker_option, config_option, load_settings
from worker.terminal import printable

if TYPE_CHECKING:
    from worker.cli.letters import Buried, Foreign
    from worker.cli.replaying import Plan

_PREVIEW = 120


@click.group("dead-letters")
def command() -> None:
    """Raw logs that could not become events: list them, replay them."""


_reason_option = click.option("--reason", "reasons", multiple=True, help="Only this reason, such as unparsable.")
_source_option = click.option("--source", "sources", multiple=True, help="Only this source.")
_max_option = click.option("--max", "most", type=click.IntRange(min=1), help="Stop after so many.")


@command.command("list")
@_reason_option
@_source_option
@_max_option
@click.option("--pending", is_flag=True, help="Only those that were not replayed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with the whole raw log.")
@broker_option
@config_option
def list_command(
    *,
    reasons: tuple[str, ...],
    sources: tuple[str, ...],
    most: int | None,
    pending: bool,
    as_json: bool,
    broker: str | None,
    config: Path | None,
) -> None:
    """List dead letters: when, why, where from, and how the raw log begins.

    \b
    Examples:
      logloom dead-letters list --reason unparsable
      logloom dead-letters list --json | jq -r .error | sort | uniq -c
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.cli.letters import Foreign, Wanted, letters, replayed  # noqa: PLC0415  not needed for --help

    settings = load_settings(config, broker)
    wanted = Wanted(reasons=reasons, sources=sources)
    counts: Counter[str] = Counter()
    for found in letters(settings, replayed(settings) if pending else {}):
        if isinstance(found, Foreign):
            click.echo(_as_line(found), err=True)
        elif wanted.holds(found.letter):
            click.echo(_as_json(found) if as_json else _as_line(found))
            counts[found.letter.reason] += 1
            if counts.total() == most:
                break
    if not as_json:
        summary = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))
        click.echo(f"{counts.total():,} dead letters{': ' if summary else ''}{summary}", err=True)


@command.command("replay")
@_reason_option
@_source_option
@_max_option
@click.option("--to", "topic", help="Topic to send to, instead of the one that a raw log came from.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@broker_option
@config_option
def replay_command(
    *,
    reasons: tuple[str, ...],
    sources: tuple[str, ...],
    most: int | None,
    topic: str | None,
    dry_run: bool,
    broker: str | None,
    config: Path | None,
) -> None:
    """Send dead letters back to the topic that they came from, as they were: value, key, headers and time.

    Each letter is sent once: sending it and remembering that go into one Kafka transaction, kept with the consumer
    group GROUP-replay. Letters that a filter leaves out remain for later. A letter that dies again is a new one.

    \b
    Examples:
      logloom dead-letters replay --dry-run
      logloom dead-letters replay --reason unparsable --source nginx
      logloom dead-letters replay --to quarantine.raw
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.cli.letters import Wanted, letters, replayed  # noqa: PLC0415  not needed for --help
    from worker.cli.replaying import Plan, replay  # noqa: PLC0415  the same

    settings = load_settings(config, broker)
    plan = Plan(wanted=Wanted(reasons=reasons, sources=sources), most=most, topic=topic)
    if dry_run:
        for found in letters(settings, replayed(settings)):
            if plan.takes(found):
                click.echo(_as_line(found))
    else:
        asyncio.run(replay(settings, plan))
    click.echo(_summary(plan, "would be sent" if dry_run else "sent"), err=True)


def _summary(plan: "Plan", done: str) -> str:
    to = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(plan.taken.items()))
    return f"{plan.taken.total():,} dead letters {done}{f' ({to})' if to else ''}, {plan.remaining:,} remain"


def _as_line(found: "Buried | Foreign") -> str:
    from worker.cli.letters import Foreign  # noqa: PLC0415  not needed for --help

    if isinstance(found, Foreign):
        return f"partition {found.partition} offset {found.offset}: {found.error}"
    letter = found.letter
    place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
    value = (letter.value or b"")[: _PREVIEW + 1].decode(errors="replace")
    preview = value if len(value) <= _PREVIEW else f"{value[:_PREVIEW]}…"
    line = f"{_time(letter.timestamp)} {letter.reason} {letter.source} {place} {letter.error}: {preview}"
    return printable(line)


def _as_json(found: "Buried") -> str:
    letter = found.letter
    fields: dict[str, object] = {
        "time": _time(letter.timestamp),
        "reason": letter.reason,
        "error": letter.error,
        "source": letter.source,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        **_bytes_as("key", letter.key),
        **_bytes_as("value", letter.value),
        "dead_letter_partition": found.partition,
        "dead_letter_offset": found.offset,
    }
    return printable(json.dumps(fields))  # a terminal must not get what JSON leaves unescaped


def _bytes_as(name: str, raw: bytes | None) -> dict[str, str | None]:
    """Give bytes as text where they are UTF-8, else as base64 under a name that says so."""
    if raw is None:
        return {name: None}
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}


def _time(milliseconds: int) -> str:
    """Give RFC 3339; the raw number where it is no date that there can be."""
    if milliseconds < 0:
        return "-"
    try:
        time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
