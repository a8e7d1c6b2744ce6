"""Means and spreads over trials, and tables of them for the terminal. Knows nothing of how they were had."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

#: Figures by name; None is one that could not be had.
Figures: TypeAlias = dict[str, float | None]

#: The figures of the literature.
FIGURES = ("GA", "FGA", "PA", "FTA")
#: What stands at the top of the report.
_HEADLINE = (*FIGURES, "lines_per_second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over seeds."""

    mean: float
    min: float
    max: float
    #: Standard deviation of the sample; 0 for one seed.
    sd: float
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one parser: a method with so many shots, or a peer."""

    name: str
    #: By system, in order of name, then by figure; a figure that no seed has is missing.
    systems: dict[str, dict[str, Spread]]
    #: By figure: the unweighted mean over systems, with the spread of that mean over seeds.
    mean: dict[str, Spread]

    def column(self, figure: str) -> dict[str, float]:
        """Give the mean of a figure by system."""
        return {system: found[figure].mean for system, found in self.systems.items() if figure in found}

    def part(self, prefix: str) -> dict[str, Any]:
        """Give the headline figures under `prefix` as plain numbers: the mean, and by system."""

        def plain(found: Mapping[str, Spread]) -> dict[str, float | None]:
            return {name: _mean(found.get(f"{prefix}{name}")) for name in _HEADLINE if not prefix or name in FIGURES}

        return {
            "mean": plain(self.mean),
            "systems": {system: plain(found) for system, found in self.systems.items()},
        }


def _mean(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mean


def spread(values: Sequence[float]) -> Spread:
    """Compute the spread of at least one value."""
    return Spread(
        mean=statistics.fmean(values),
        min=min(values),
        max=max(values),
        sd=statistics.stdev(values) if len(values) > 1 else 0.0,
        seeds=len(values),
    )


def summary(name: str, trials: Iterable[tuple[str, int, Figures]]) -> Summary:
    """Put together the trials of one parser: system, seed and figures of each.

    The mean is over the systems' means. Its spread is over the seeds that have the figure of every system: a seed whose
    trial failed on a hard system would look good.
    """
    by_figure: dict[str, dict[str, dict[int, float]]] = {}
    for system, seed, figures in trials:
        for figure, value in figures.items():
            if value is not None:
                by_figure.setdefault(figure, {}).setdefault(system, {})[seed] = value
    systems: dict[str, dict[str, Spread]] = {}
    mean: dict[str, Spread] = {}
    for figure, found in by_figure.items():
        for system in found:
            systems.setdefault(system, {})[figure] = spread(list(found[system].values()))
        complete = set.intersection(*(set(seeds) for seeds in found.values()))
        middle = statistics.fmean(systems[system][figure].mean for system in found)
        over_seeds = [statistics.fmean(seeds[seed] for seeds in found.values()) for seed in sorted(complete)]
        whole = spread(over_seeds or [middle])
        mean[figure] = Spread(mean=middle, min=whole.min, max=whole.max, sd=whole.sd, seeds=len(over_seeds))
    return Summary(name=name, systems=dict(sorted(systems.items())), mean=mean)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    lines = [
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


#: Columns of the table: what heads each, and its figure.
COLUMNS = (
    *((name, name) for name in FIGURES),
    *((f"{name} rest", f"rest.{name}") for name in ("PA", "FTA")),
    *((f"{name} norm", f"normalised.{name}") for name in ("PA", "FTA")),
    ("PA unseen", "unseen.PA"),
    ("F1 spans", "spans.F1"),
    ("PA emitted", "emitted.PA"),
    ("PA settled", "settled.PA"),
    ("PA model", "alone.PA"),
    ("PA stream", "stream.PA"),
    ("lines/s", "lines_per_second"),
    ("lines/CPU s", "lines_per_cpu_second"),
    ("distinct/s", "distinct_lines_per_second"),
    ("train s", "training_seconds"),
    ("teach CPU s", "teaching_cpu_seconds"),
    ("MiB", "peak_memory_mib"),
)


def shown(found: Spread | None, figure: str) -> str:
    """Write a figure with its deviation: a share with three digits, anything else without a fraction."""
    if found is None:
        return "-"
    if figure.rpartition(".")[2] in {*FIGURES, "F1"}:
        return f"{found.mean:.3f}" + (f"±{found.sd:.3f}" if found.seeds > 1 else "")
    return f"{found.mean:,.0f}" if found.mean >= 20 else f"{found.mean:.1f}"


def tables(summaries: Sequence[Summary]) -> str:
    """Write the means of all parsers below each other, then each parser's systems."""
    heads = [head for head, _ in COLUMNS]

    def row(name: str, found: Mapping[str, Spread]) -> list[str]:
        return [name, *(shown(found.get(figure), figure) for _, figure in COLUMNS)]

    parts = [table(["mean over systems", *heads], [row(one.name, one.mean) for one in summaries])]
    parts += [
        table([one.name, *heads], [row(system, found) for system, found in one.systems.items()]) for one in summaries
    ]
    return "\n\n".join(parts)
