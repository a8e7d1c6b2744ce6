"""What a benchmark gives: figures with their spread, beside the target, as a table and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One quantity, measured once per repeat."""

    name: str
    unit: str
    #: A value per repeat, in their order.
    values: tuple[float, ...]
    #: What was aimed at, None where there is no target on that side.
    at_least: float | None = None
    at_most: float | None = None
    #: What one must know to read it.
    note: str = ""

    @property
    def median(self) -> float:
        """The value that is quoted: one lucky or unlucky repeat does not move it."""
        return median(self.values)

    @property
    def target(self) -> str:
        """The target as people write it, empty for none."""
        if self.at_least is not None:
            return f">= {_number(self.at_least)}"
        return "" if self.at_most is None else f"<= {_number(self.at_most)}"

    @property
    def is_met(self) -> bool | None:
        """Whether the median meets the target, None without one."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "target": self.target,
            "met": self.is_met,
            "note": self.note,
        }


def table(figures: Iterable[Figure]) -> str:
    """Lay figures out in Markdown, a row each."""
    header = ("what", "median", "min to max", "target", "", "note")
    rows: list[Sequence[str]] = [header, ("---", "---:", "---:", "---:", "---", "---")]
    for figure in figures:
        spread = f"{_number(min(figure.values))} to {_number(max(figure.values))}" if len(figure.values) > 1 else ""
        verdict = {None: "", True: "met", False: "**missed**"}[figure.is_met]
        middle = f"{_number(figure.median)} {figure.unit}"
        rows.append((figure.name, middle, spread, figure.target, verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def _number(value: float) -> str:
    """Write three digits that count, and thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
