"""`logloom dead-letters`: what became no event and why, and a second chance for it."""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.options import broker_option, config_option, load_settings
from worker.cli.replay import Replayed
from worker.cli.view import printable
from worker.errors import LogloomError, Undecodable

if TYPE_CHECKING:
    from worker.codec.dead_letters import DeadLetter
    from worker.settings import Settings

#: Letters that go back in one transaction.
_CHUNK = 500
_PREVIEW = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class _Letter:
    """A dead letter and where it stands in the dead-letter topic."""

    partition: int
    offset: int
    letter: "DeadLetter"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Filter:
    """Which letters are meant; empty is all."""

    reasons: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def wants(self, letter: "DeadLetter") -> bool:
        return (not self.reasons or letter.reason in self.reasons) and (
            not self.sources or letter.source in self.sources
        )


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
    settings = load_settings(config, broker)
    wanted = _Filter(reasons=reasons, sources=sources)
    counts: Counter[str] = Counter()
    for found in _letters(settings, pending=pending):
        if not isinstance(found, _Letter):
            click.echo(f"partition {found.partition} offset {found.offset}: {found.error}", err=True)
        elif wanted.wants(found.letter):
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
    settings = load_settings(config, broker)
    wanted = _Filter(reasons=reasons, sources=sources)
    if dry_run:
        plan = _Plan(wanted=wanted, most=most)
        for found in _letters(settings, pending=True):
            if plan.takes(found):
                click.echo(_as_line(found))
        click.echo(plan.summary("would be sent", topic), err=True)
        return
    plan = _replay(settings, wanted, most, topic)
    click.echo(plan.summary("sent", topic), err=True)


@dataclass(kw_only=True, slots=True)
class _Plan:
    """Decides letter by letter, and counts."""

    wanted: _Filter
    most: int | None
    sent: Counter[str] = field(default_factory=Counter)
    remaining: int = 0

    def takes(self, found: "_Letter | _Foreign") -> "bool":
        full = self.most is not None and self.sent.total() >= self.most
        if full or not isinstance(found, _Letter) or not self.wanted.wants(found.letter):
            self.remaining += 1
            return False
        self.sent[found.letter.topic] += 1
        return True

    def summary(self, done: str, topic: str | None) -> str:
        topics = {topic: self.sent.total()} if topic is not None else self.sent
        to = ", ".join(f"{count:,} to {name}" for name, count in sorted(topics.items()) if count)
        return f"{self.sent.total():,} dead letters {done}{f' ({to})' if to else ''}, {self.remaining:,} remain"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Foreign:
    """A record in the dead-letter topic that is none."""

    partition: int
    offset: int
    error: str


def _group(settings: "Settings") -> str:
    return f"{settings.kafka.group_id}-replay"


def _states(settings: "Settings") -> dict[int, Replayed]:
    """Give what was replayed before, by partition of the dead-letter topic."""
    from worker.transport.admin import Admin  # noqa: PLC0415  kafka-python is not needed for --help

    with Admin(settings.kafka) as admin:
        committed = admin.committed(_group(settings))
    topic = settings.output.dead_letter_topic
    return {
        place.partition: Replayed.read(found.offset, found.metadata or "")
        for place, found in committed.items()
        if place.topic == topic
    }


def _letters(
    settings: "Settings", *, pending: bool, states: Mapping[int, Replayed] | None = None
) -> Iterator["_Letter | _Foreign"]:
    """Give the letters that the topic holds now, partition by partition; with `pending`, those not replayed."""
    from worker.codec.dead_letters import DeadLetter  # noqa: PLC0415  the same
    from worker.transport.admin import Admin, consumer, records_between  # noqa: PLC0415  the same

    known = states if states is not None else _states(settings) if pending else {}
    with Admin(settings.kafka) as admin:
        places = admin.topic_partitions([settings.output.dead_letter_topic])
        begin, end = admin.begin_offsets(places), admin.end_offsets(places)
    starts = {
        place: max(begin[place], known[place.partition].offset) if place.partition in known else begin[place]
        for place in places
    }
    with consumer(settings.kafka) as opened:
        for record in records_between(opened, starts, end):
            state = known.get(record.partition)
            if state is not None and not state.pending(record.offset):
                continue
            at: dict[str, Any] = {"partition": record.partition, "offset": record.offset}
            try:
                letter = DeadLetter.read(value=record.value, key=record.key, headers=record.headers)
            except Undecodable as exc:
                yield _Foreign(**at, error=str(exc))
            else:
                yield _Letter(**at, letter=letter)


def _replay(settings: "Settings", wanted: _Filter, most: int | None, topic: str | None) -> _Plan:
    """Send what `wanted` means. Raises DeliveryFailed and Unreachable; what was sent before is remembered."""
    from worker.transport.admin import Admin, producer  # noqa: PLC0415  the same

    with Admin(settings.kafka) as admin:
        partitions = admin.partitions()
    plan = _Plan(wanted=wanted, most=most)
    chunk: list[_Letter | _Foreign] = []
    options = {"transactional_id": _group(settings), "linger_ms": 20, "max_block_ms": 30_000}
    with producer(settings.kafka, **options) as opened:
        # Fences whoever replays at the same time; only then is what it committed the last word.
        opened.init_transactions()
        states = _states(settings)
        for found in _letters(settings, pending=True, states=states):
            chunk.append(found)
            if len(chunk) == _CHUNK:
                _send(opened, settings, chunk, plan, states, partitions, topic)
                chunk = []
        if chunk:
            _send(opened, settings, chunk, plan, states, partitions, topic)
    return plan


def _send(
    opened: Any,
    settings: "Settings",
    chunk: list["_Letter | _Foreign"],
    plan: _Plan,
    states: dict[int, Replayed],
    partitions: Mapping[str, int],
    topic: str | None,
) -> None:
    """Send one chunk and remember it, both or neither."""
    from kafka import OffsetAndMetadata, TopicPartition  # noqa: PLC0415  the same

    from worker.transport.admin import Deliveries  # noqa: PLC0415  the same

    deliveries = Deliveries()
    taken = [found for found in chunk if plan.takes(found) and isinstance(found, _Letter)]
    after = dict(states)
    for partition in {found.partition for found in chunk}:
        replayed = [found.offset for found in taken if found.partition == partition]
        every = {found.offset for found in chunk if found.partition == partition}
        state = after.get(partition, Replayed(seen_to=0))
        after[partition] = state.after(replayed=replayed, left=every.difference(replayed))
    offsets = {
        TopicPartition(settings.output.dead_letter_topic, partition): OffsetAndMetadata(state.offset, state.metadata)
        for partition, state in after.items()
    }
    opened.begin_transaction()
    try:
        for found in taken:
            deliveries.sent(_send_letter(opened, found.letter, topic, partitions))
        opened.flush()
        deliveries.check()
        opened.send_offsets_to_transaction(offsets, _group(settings))
        opened.commit_transaction()
    except BaseException:
        # An open transaction would hold up every consumer that reads committed records only.
        opened.abort_transaction()
        raise
    states.update(after)


def _send_letter(opened: Any, letter: "DeadLetter", topic: str | None, partitions: Mapping[str, int]) -> object:
    target = topic or letter.topic
    if target not in partitions:
        raise LogloomError(f"the broker has no topic {target!r}; create it, or give another with --to")
    same_place = topic is None and letter.partition < partitions[target]
    return opened.send(
        target,
        value=letter.value,
        key=letter.key,
        headers=letter.replay_headers(),
        partition=letter.partition if same_place else None,
        timestamp_ms=letter.timestamp if letter.timestamp >= 0 else None,
    )


def _as_line(found: "_Letter | _Foreign") -> str:
    if isinstance(found, _Foreign):
        return f"partition {found.partition} offset {found.offset}: {found.error}"
    letter = found.letter
    place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
    value = (letter.value or b"")[: _PREVIEW + 1].decode(errors="replace")
    preview = value if len(value) <= _PREVIEW else f"{value[:_PREVIEW]}…"
    line = f"{_time(letter.timestamp)} {letter.reason} {letter.source} {place} {letter.error}: {preview}"
    return printable(line)


def _as_json(found: _Letter) -> str:
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
    return json.dumps(fields)


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
