"""The figures of `logloom status` as tables. Nothing that a worker, a log or Redis says reaches the terminal raw."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.cli.figures import TIERS, Figures, SourceFigures, WorkerFigures
from worker.cli.newest import NewTemplate
from worker.terminal import printable

_Row = TypeVar("_Row")

_NONE = "-"
#: Columns of a terminal that everything fits into; a narrower one gets less.
WIDE = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that is seen at a moment."""

    time: datetime
    figures: Figures
    #: The oldest first.
    newest: Sequence[NewTemplate]
    #: Why new templates can't be told; None where they can.
    note: str | None


@dataclass(frozen=True, slots=True)
class _Column(Generic[_Row]):
    heading: str
    cell: Callable[[_Row], str]
    #: Whether a narrow terminal does without.
    is_detail: bool = False
    #: Whether it holds text, not a number.
    is_text: bool = False


def drawn(look: Look, width: int) -> Group:
    """Draw what is seen for a terminal of `width` columns."""
    return Group(*_parts(look, is_wide=width >= WIDE))


def _parts(look: Look, *, is_wide: bool) -> Iterator[RenderableType]:
    figures = look.figures
    yield Text.assemble(
        (_count(len(figures.workers), "worker"), "bold"),
        (f", {len(figures.silent)} not answering" if figures.silent else "", "bold red"),
        (f"   {look.time:%Y-%m-%d %H:%M:%S} UTC", "dim"),
        ("" if figures.seconds is None else f"   rates over {figures.seconds:.1f} s", "dim"),
    )
    if figures.sources:
        yield _table(_SOURCES, figures.sources, is_wide=is_wide)
        yield from (
            Text(printable(f"dead letters of {source.name}: {_reasons(source)}"), style="yellow")
            for source in figures.sources
            if source.dead_letters
        )
    if figures.workers:
        yield _table(_WORKERS, figures.workers, is_wide=is_wide)
    for silent in figures.silent:
        yield Text(printable(f"{silent.address} does not answer: {silent.reason}"), style="red")
    yield Text("\ntemplates, the newest last", style="bold")
    if look.note is not None and not look.newest:
        yield Text(f"not known here: {printable(look.note)}", style="dim")
    if look.newest:
        yield _newest(look.newest)


def _table(columns: Sequence[_Column[_Row]], rows: Iterable[_Row], *, is_wide: bool) -> Table:
    table = Table(box=None, padding=(1, 2, 0, 0), pad_edge=False, header_style="bold")
    shown = [column for column in columns if is_wide or not column.is_detail]
    for column in shown:
        table.add_column(
            column.heading,
            justify="left" if column.is_text else "right",
            overflow="fold" if column.is_text else "ellipsis",
            vertical="bottom",
        )
    table.padding = (0, 2, 0, 0)
    for row in rows:
        # Texts, not strings: nothing in them is markup.
        table.add_row(*(Text(printable(column.cell(row))) for column in shown))
    return table


def _newest(templates: Sequence[NewTemplate]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column()  # the only one that gets narrower
    for template in templates:
        text = Text(printable(template.text), no_wrap=True, overflow="ellipsis")
        if template.replaces:
            text.append(f"  in the place of {template.replaces}", style="dim")
        at = (template.time or "")[11:19]
        table.add_row(Text(printable(at), style="dim"), Text(printable(template.source), style="magenta"), text)
    return table


def _reasons(source: SourceFigures) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in source.dead_letters.items())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _whole(number: float | None) -> str:
    return _NONE if number is None else f"{number:,.0f}"


def _rate(rate: float | None) -> str:
    return _whole(rate) if rate is None or rate >= 100 or rate == 0 else f"{rate:.1f}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"


def _size(size_bytes: float | None) -> str:
    return _NONE if size_bytes is None else f"{size_bytes / (1 << 20):,.0f} MiB"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _share(tier: str, source: SourceFigures) -> str:
    return _percent(source.share(tier))


def _device(worker: WorkerFigures) -> str:
    if worker.device is None:
        return "CPU" if worker.has_model else "no model" if worker.parser else _NONE
    return f"{worker.device} {_size(worker.device_bytes)} of {_size(worker.device_size_bytes)}"


def _redis(worker: WorkerFigures) -> str:
    waiting = f", {worker.redis_pending:,} waiting" if worker.redis_pending else ""
    if worker.is_redis_away:
        return f"away{waiting}"
    return (
        f"{_rate(worker.redis_errors_per_second)} errors/s{waiting}"
        if worker.redis_errors_per_second
        else f"no errors{waiting}"
    )


_SOURCES: tuple[_Column[SourceFigures], ...] = (
    _Column("source", lambda source: source.name, is_text=True),
    _Column("records\n/s", lambda source: _rate(source.records_per_second)),
    _Column("events\n/s", lambda source: _rate(source.events_per_second), is_detail=True),
    _Column("lag", lambda source: _whole(source.lag)),
    _Column("hits", lambda source: _percent(source.hit_rate)),
    *(_Column(tier, partial(_share, tier), is_detail=True) for tier in TIERS),
    _Column("misses\n/s", lambda source: _rate(source.misses_per_second)),
    _Column("dead\n/s", lambda source: _rate(source.dead_letters_per_second)),
    _Column("in\nflight", lambda source: _whole(source.in_flight)),
    _Column("templates", lambda source: _whole(source.templates), is_detail=True),
    _Column("new\n/s", lambda source: _rate(source.learned_per_second), is_detail=True),
)
_WORKERS: tuple[_Column[WorkerFigures], ...] = (
    _Column("worker", lambda worker: worker.address, is_text=True),
    _Column("up", lambda worker: _span(worker.uptime_seconds), is_detail=True),
    _Column(
        "processors", lambda worker: _NONE if worker.processors is None else f"{worker.processors:.2f}", is_detail=True
    ),
    _Column("memory", lambda worker: _size(worker.resident_bytes)),
    _Column("partitions", lambda worker: _whole(worker.partitions), is_detail=True),
    _Column("device", _device, is_text=True),
    _Column("Redis", _redis, is_text=True),
    _Column("delivery", lambda worker: "exactly once" if worker.is_exactly_once else "at least once", is_text=True),
    _Column("version", lambda worker: worker.version, is_text=True, is_detail=True),
    _Column("parser", lambda worker: worker.parser or "(starting)", is_text=True),
)
