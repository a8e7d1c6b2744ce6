"""Draws dashboard.json from what a Prometheus holds, without Grafana: the same panels, queries and legends.

    python -m deploy.watching.draw --prometheus http://localhost:9090 --minutes 10 dashboard.png

For documents, and for a look at the dashboard where there is no Grafana.
"""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

DASHBOARD = Path(__file__).with_name("dashboard.json")

#: Inches of a column and a row of Grafana's grid, which is 24 wide, and the space between panels.
_COLUMN, _ROW, _GAP = 0.82, 0.36, 0.13
_COLUMNS = 24
#: Room in a panel for its title, its legend and the numbers of its axis, in inches.
_TITLE, _LEGEND, _AXIS = 0.32, 0.42, 0.62
_MOST_LEGENDS = 8
_PAGE, _PANEL, _INK, _FAINT = "#f4f5f5", "#ffffff", "#24292e", "#7b8087"
_COLOURS = (
    "#56a64b",
    "#e0b400",
    "#3274d9",
    "#e02f44",
    "#8f3bb8",
    "#ff780a",
    "#37872d",
    "#1f60c4",
    "#a352cc",
    "#806600",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A series that Prometheus answered."""

    legend: str
    #: Seconds since the epoch, and the value at each.
    times: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A Prometheus, and the time that is looked at."""

    url: str
    start: float
    end: float
    step_seconds: float
    rate_seconds: int

    def lines(self, target: Mapping[str, Any]) -> list[Line]:
        """Ask for the series of a panel's query."""
        found = self._ask("query_range", target["expr"], start=self.start, end=self.end, step=self.step_seconds)
        return [
            Line(
                legend=legend(target.get("legendFormat", ""), one["metric"]),
                times=[float(at) for at, _ in one["values"]],
                values=[float(value) for _, value in one["values"]],
            )
            for one in found
        ]

    def rows(self, target: Mapping[str, Any]) -> list[dict[str, str]]:
        """Ask what a query gives at the end: labels, and `Value`."""
        found = self._ask("query", target["expr"], time=self.end)
        return [{**one["metric"], "Value": one["value"][1]} for one in found]

    def _ask(self, path: str, expression: str, **more: float) -> list[dict[str, Any]]:
        query = filled(expression, rate_seconds=self.rate_seconds, range_seconds=round(self.end - self.start))
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode({'query': query, **more})}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310  an address that the user gave
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def filled(expression: str, *, rate_seconds: int = 60, range_seconds: int = 600) -> str:
    """Put in the place of Grafana's variables what it would: every job and source."""
    for name, value in (
        ("$__rate_interval", f"{rate_seconds}s"),
        ("$__range", f"{range_seconds}s"),
        ("$job", ".*"),
        ("$source", ".*"),
    ):
        expression = expression.replace(name, value)
    return expression


def legend(pattern: str, labels: Mapping[str, str]) -> str:
    """Put labels into a legend such as `{{source}} failed`."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), pattern).strip()


def shown(value: float, unit: str) -> str:
    """Write a value in its unit, short."""
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "bytes":
        return next((f"{value / size:.3g} {name}" for name, size in _BYTES.items() if value >= size), f"{value:.0f} B")
    if unit == "s" and 0 < value < 1:
        return f"{1000 * value:.3g} ms"
    number = next((f"{value / size:.3g}{name}" for name, size in _THOUSANDS.items() if value >= size), f"{value:.3g}")
    return number + _UNITS.get(unit, "")


_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_THOUSANDS = {" M": 1e6, " k": 1e3}
_UNITS = {"cps": "/s", "cpm": "/min", "s": " s"}


def draw(dashboard: Mapping[str, Any], source: Source) -> Figure:
    """Draw all panels where the dashboard puts them."""
    mpl.rcParams.update({"font.size": 8, "font.family": "DejaVu Sans", "text.color": _INK, "axes.edgecolor": "#d8d9da"})
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(_COLUMNS * _COLUMN, height * _ROW), facecolor=_PAGE)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        box = (
            place["x"] * _COLUMN + _GAP / 2,
            (height - place["y"] - place["h"]) * _ROW + _GAP / 2,
            place["w"] * _COLUMN - _GAP,
            place["h"] * _ROW - _GAP,
        )
        _DRAWN[panel["type"]](figure, box, panel, source)
    return figure


_Box = tuple[float, float, float, float]


def _axes(figure: Figure, box: _Box) -> Axes:
    """Make axes at a place given in inches."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = box
    return figure.add_axes((left / width, bottom / height, wide / width, high / height))


def _framed(figure: Figure, box: _Box, title: str) -> Axes:
    """Draw a panel's background and title."""
    frame = _axes(figure, box)
    frame.set(xticks=[], yticks=[], facecolor=_PANEL, xlim=(0, box[2]), ylim=(0, box[3]))
    frame.text(0.1, box[3] - 0.08, title, va="top", fontsize=9, fontweight="bold")
    return frame


def _row(figure: Figure, box: _Box, panel: Mapping[str, Any], _source: Source) -> None:
    axes = _axes(figure, box)
    axes.axis("off")
    axes.text(0, 0.3, panel["title"], fontsize=11, fontweight="bold")


def _stat(figure: Figure, box: _Box, panel: Mapping[str, Any], source: Source) -> None:
    frame, unit = _framed(figure, box, panel["title"]), panel["fieldConfig"]["defaults"].get("unit", "")
    (line,) = source.lines(panel["targets"][0]) or [Line(legend="", times=(), values=())]
    known = [value for value in line.values if value == value]  # noqa: PLR0124  NaN is not itself
    text = shown(known[-1], unit) if known else "No data"
    frame.text(box[2] / 2, box[3] * 0.5, text, ha="center", va="center", fontsize=20, color=_COLOURS[0])
    course = _axes(figure, (box[0], box[1], box[2], box[3] * 0.28))
    course.axis("off")
    course.fill_between(line.times, line.values, color=_COLOURS[0], alpha=0.25, linewidth=0)
    course.set(xlim=(source.start, source.end), ylim=(0, None))


def _timeseries(figure: Figure, box: _Box, panel: Mapping[str, Any], source: Source) -> None:
    _framed(figure, box, panel["title"])
    defaults = panel["fieldConfig"]["defaults"]
    inner = (box[0] + _AXIS, box[1] + _LEGEND, box[2] - _AXIS - 0.15, box[3] - _LEGEND - _TITLE)
    axes = _axes(figure, inner)
    drawn = [line for target in panel["targets"] for line in source.lines(target) if line.legend]
    stacking = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    _stack(axes, drawn) if stacking else _plot(axes, drawn)
    unit = defaults.get("unit", "")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: time.strftime("%H:%M:%S", time.gmtime(at))))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axes.grid(color="#e9eaeb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, length=0, labelsize=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    top = defaults.get("max")
    axes.set(xlim=(source.start, source.end), facecolor=_PANEL)
    axes.set_ylim(0, top if top is not None else max(axes.get_ylim()[1], 1e-9))
    if drawn:
        handles, names = axes.get_legend_handles_labels()
        axes.legend(
            handles[:_MOST_LEGENDS],
            names[:_MOST_LEGENDS],
            loc="upper left",
            bbox_to_anchor=(-_AXIS / inner[2], -0.2 / inner[3]),
            ncols=_MOST_LEGENDS,
            fontsize=6.5,
            frameon=False,
            handlelength=0.9,
            handletextpad=0.4,
            columnspacing=1.0,
        )
    else:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color=_FAINT, fontsize=11)


def _plot(axes: Axes, drawn: Sequence[Line]) -> None:
    for place, line in enumerate(drawn):
        colour = _COLOURS[place % len(_COLOURS)]
        axes.plot(line.times, line.values, color=colour, linewidth=1.1, label=line.legend)
        axes.fill_between(line.times, line.values, color=colour, alpha=0.07, linewidth=0)


def _stack(axes: Axes, drawn: Sequence[Line]) -> None:
    times = sorted({at for line in drawn for at in line.times})
    below = [0.0] * len(times)
    for place, line in enumerate(drawn):
        known = dict(zip(line.times, line.values, strict=True))
        above = [start + max(known.get(at, 0.0), 0.0) for at, start in zip(times, below, strict=True)]
        colour = _COLOURS[place % len(_COLOURS)]
        axes.fill_between(times, below, above, color=colour, alpha=0.45, linewidth=0, label=line.legend)
        axes.plot(times, above, color=colour, linewidth=0.9)
        below = [value if value == value else 0.0 for value in above]  # noqa: PLR0124  NaN is not itself


def _table(figure: Figure, box: _Box, panel: Mapping[str, Any], source: Source) -> None:
    frame = _framed(figure, box, panel["title"])
    columns = panel["transformations"][0]["options"]["renameByName"]
    rows = sorted(source.rows(panel["targets"][0]), key=lambda row: -float(row["Value"]))
    top, height = box[3] - _TITLE - 0.1, (box[3] - _TITLE - 0.15) / (len(rows) + 1 or 1)
    places = _places(box[2], [*columns])
    for number, row in enumerate([columns, *rows]):
        for name, left in places.items():
            text = row.get(name, "")
            text = f"{float(text):,.0f}" if name == "Value" and number else text
            frame.text(left, top - min(height, 0.2) * number, text, fontsize=7, va="top", family="DejaVu Sans Mono")


def _places(width: float, names: Sequence[str]) -> dict[str, float]:
    """Put columns of a table beside each other; the last gets what is left."""
    return {name: 0.12 + place * min(width / 8, 1.25) for place, name in enumerate(names)}


_DRAWN: Mapping[str, Callable[[Figure, _Box, Mapping[str, Any], Source], None]] = {
    "row": _row,
    "stat": _stat,
    "timeseries": _timeseries,
    "table": _table,
}


@click.command()
@click.option("--prometheus", default="http://localhost:9090", show_default=True, help="Where Prometheus answers.")
@click.option("--minutes", default=10.0, show_default=True, help="How far to look back.")
@click.option("--scrape-seconds", default=15.0, show_default=True, help="How often workers are scraped.")
@click.argument("png", type=click.Path(dir_okay=False, path_type=Path))
def main(prometheus: str, minutes: float, scrape_seconds: float, png: Path) -> None:
    """Draw the dashboard into a picture."""
    save(png, prometheus, time.time() - minutes * 60, time.time(), scrape_seconds)


def save(png: Path, prometheus: str, start: float, end: float, scrape_seconds: float) -> None:
    """Draw the time from `start` to `end`, in seconds since the epoch, into a picture."""
    step = max((end - start) / 300, scrape_seconds)
    rate = round(max(step + scrape_seconds, 4 * scrape_seconds))
    source = Source(url=prometheus.rstrip("/"), start=start, end=end, step_seconds=step, rate_seconds=rate)
    figure = draw(json.loads(DASHBOARD.read_text()), source)
    figure.savefig(png, dpi=100, facecolor=_PAGE)
    plt.close(figure)


if __name__ == "__main__":
    mpl.use("agg")
    main()
