"""Draw an evaluation: one picture, and one HTML page that needs nothing else. Reads the JSON report alone.

The page shows messages of the logs that were measured: it is an artefact of a run, and as free as they are.
"""

import argparse
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from training.evaluation.mistakes import KINDS
from training.evaluation.summary import COLUMNS, FIGURES, Spread, shown
from worker.parsing.templates import WILDCARD

#: The order that readers look in.
_DRAWN = ("PA", "FTA", "GA", "FGA")
#: Ours in colours, lighter for fewer shots, peers in greys; more than these begin again.
_OURS = {"zero-shot": "#1f6f8b", "fine-tune": "#e07a1f", "prompt-tune": "#5a9e4b", "fuse": "#8e5bb5"}
_PEERS = ("#6b6b6b", "#9a9a9a", "#c6c6c6")
_KIND_COLOURS = ("#c94f5d", "#e07a1f", "#8e5bb5", "#e9c46a", "#6b6b6b", "#c6c6c6")
#: Examples shown of each kind of mistake.
_EXAMPLES = 6
_LONGEST = 300

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #222; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; } .about { color: #666; }
.tiles { display: flex; gap: 1rem; flex-wrap: wrap; margin: 1.2rem 0; }
.tile { background: #f3f6f8; border-radius: 8px; padding: .7rem 1.1rem; } .tile b { display: block; font-size: 1.6rem; }
.wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e4e4e4; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } caption { text-align: left; font-weight: 600; padding: .3rem 0; }
.mistakes td { text-align: left; white-space: normal; vertical-align: top; } .mistakes td:first-child { width: 7rem; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
code i { font-style: normal; color: #1f6f8b; font-weight: 700; } .failed { color: #b00020; }
"""
#: What the columns mean.
_LEGEND = """<p>GA, FGA, PA, FTA over all lines; <i>rest</i>: over the lines that were not labelled; <i>norm</i>: both
sides normalised by LUNAR's rules; <i>unseen</i>: lines whose template was not among the shots; <i>worker</i>: through
the worker's template cache. ± is the standard deviation over seeds.</p>"""


def write(found: Mapping[str, Any], *, html: Path | None = None, png: Path | None = None) -> None:
    """Draw the report of an evaluation as a page, a picture, or both.

    Raises:
        ImportError: matplotlib is missing; it comes with the extra `training`.

    """
    for path in (html, png):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(page(found).encode(errors="replace") if path is html else picture(found, "png"))


def picture(found: Mapping[str, Any], kind: str) -> bytes:
    """Draw bars by system for the four figures, shots against accuracy if there are several, and mistakes by kind.

    `kind` is `png` or `svg`.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    shots = shots_of(found)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "logloom", "font.size": 9, "axes.spines.top": False,
                         "axes.spines.right": False}):  # fmt: skip
        figure = plt.figure(figsize=(14, 11.5), layout="constrained")
        grid = figure.add_gridspec(3, 2)
        for place, name in enumerate(_DRAWN):
            _draw_bars(figure.add_subplot(grid[place // 2, place % 2]), found, name)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
        if len(shots) > 1:
            _draw_shots(figure.add_subplot(grid[2, 0]), shots)
        _draw_mistakes(figure.add_subplot(grid[2, 1:] if len(shots) > 1 else grid[2, :]), found)
        out = io.BytesIO()
        # No date: the same report gives the same file.
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=110, metadata=metadata)
        plt.close(figure)
    return out.getvalue()


def _parsers(found: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Give the summaries of ours and of the peers with their colours."""
    ours = [(one, _colour(found["variants"], place)) for place, one in enumerate(found["variants"])]
    return ours + [(one, _PEERS[place % len(_PEERS)]) for place, one in enumerate(found["peers"])]


def _colour(variants: Sequence[Mapping[str, Any]], place: int) -> str:
    """Give a variant its method's colour, lighter the more variants of the method come behind it by shots."""
    method = _method(variants[place])
    more = sum(_method(one) == method and _shots(one) > _shots(variants[place]) for one in variants)
    white = 1 - 0.65**more
    channels = (int(_OURS[method][at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(value + (255 - value) * white):02x}" for value in channels)


def _method(variant: Mapping[str, Any]) -> str:
    return str(variant["name"]).partition(",")[0]


def _shots(variant: Mapping[str, Any]) -> int:
    found = re.search(r"\d+", variant["name"])
    return int(found[0]) if found else 0


def systems_of(found: Mapping[str, Any]) -> list[str]:
    """List the systems that any parser has figures of, in order of name."""
    return sorted({system for one, _ in _parsers(found) for system in one["systems"]})


def _draw_bars(axes: Any, found: Mapping[str, Any], figure: str) -> None:
    """Draw a figure by system, the mean first; whiskers reach from the worst seed to the best.

    Of each method the variant of most shots is drawn: more bars can't be told apart.
    """
    systems = systems_of(found)
    most = {_method(one): one["name"] for one in sorted(found["variants"], key=_shots)}
    parsers = [(one, colour) for one, colour in _parsers(found) if most.get(_method(one), one["name"]) == one["name"]]
    width = 0.84 / max(1, len(parsers))
    for number, (one, colour) in enumerate(parsers):
        bars = [(0, one["mean"].get(figure)), *(
            (place, one["systems"].get(system, {}).get(figure)) for place, system in enumerate(systems, 1)
        )]  # fmt: skip
        there = [(place, spread) for place, spread in bars if spread is not None]
        axes.bar(
            [place - 0.42 + (number + 0.5) * width + (place > 0) * 0.3 for place, _ in there],
            [spread["mean"] for _, spread in there],
            width * 0.92,
            yerr=[
                [max(0.0, spread["mean"] - spread["min"]) for _, spread in there],
                [max(0.0, spread["max"] - spread["mean"]) for _, spread in there],
            ]
            if any(spread["seeds"] > 1 for _, spread in there)
            else None,
            error_kw={"elinewidth": 0.8, "ecolor": "#333"},
            color=colour,
            label=one["name"],
        )
    axes.set_xticks([0, *(place + 0.3 for place in range(1, len(systems) + 1))], ["mean", *systems])
    axes.get_xticklabels()[0].set_fontweight("bold")
    axes.tick_params(axis="x", length=0, rotation=20 if len(systems) > 6 else 0)
    axes.set(title=figure, ylim=(0, 1.02), xlim=(-0.6, len(systems) + 0.9), axisbelow=True)
    axes.grid(axis="y", color="#e4e4e4")


def shots_of(found: Mapping[str, Any]) -> dict[int, dict[str, dict[str, dict[str, Any]]]]:
    """Give the mean figures by number of shots, then by method, then by figure."""
    shots: dict[int, dict[str, dict[str, dict[str, Any]]]] = {}
    for variant in found["variants"]:
        shots.setdefault(_shots(variant), {})[_method(variant)] = variant["mean"]
    return dict(sorted(shots.items()))


def _draw_shots(axes: Any, shots: Mapping[int, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> None:
    """Draw PA and FTA over the number of shots; every method begins where nothing was taught."""
    counts = list(shots)
    methods = dict.fromkeys(method for by_method in shots.values() for method in by_method if method != "zero-shot")
    nothing = shots.get(0, {}).get("zero-shot")
    for method in methods:
        for figure, line in (("PA", "o-"), ("FTA", "s--")):
            points = [
                (place, shots[count][method][figure]) for place, count in enumerate(counts) if method in shots[count]
            ]
            if nothing is not None:
                points = [(0, nothing[figure]), *points]
            places, spreads = [place for place, _ in points], [spread for _, spread in points]
            colour = _OURS[method]
            axes.plot(places, [spread["mean"] for spread in spreads], line, color=colour, label=f"{method} {figure}")
            axes.fill_between(
                places,
                [spread["min"] for spread in spreads],
                [spread["max"] for spread in spreads],
                color=colour,
                alpha=0.13,
                linewidth=0,
            )
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set(title="mean over systems by labelled lines", xlabel="labelled lines", ylim=(None, 1.02))
    axes.grid(color="#e4e4e4")
    axes.legend(frameon=False, loc="lower right")


def kinds_of(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Give the share of lines by kind of mistake for each system, by the first parser, mean over its seeds."""
    runs = first_runs(found)
    shares: dict[str, dict[str, float]] = {}
    for system in sorted({run["trial"]["system"] for run in runs}):
        of_system = [run for run in runs if run["trial"]["system"] == system]
        shares[system] = {
            kind: sum(run["kinds"].get(kind, 0) / run["lines"] for run in of_system) / len(of_system) for kind in KINDS
        }
    return shares


def first_runs(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the trials of the parser that the report puts first."""
    if not found["runs"]:
        return []
    method, shots = (found["runs"][0]["trial"][name] for name in ("method", "shots"))
    return [run for run in found["runs"] if (run["trial"]["method"], run["trial"]["shots"]) == (method, shots)]


def _draw_mistakes(axes: Any, found: Mapping[str, Any]) -> None:
    """Draw the share of wrong lines by system, cut by kind."""
    shares = kinds_of(found)
    systems = list(shares)[::-1]
    left = [0.0] * len(systems)
    for kind, colour in zip(KINDS, _KIND_COLOURS, strict=True):
        values = [100 * shares[system][kind] for system in systems]
        if any(values):
            axes.barh(systems, values, left=left, color=colour, label=kind, height=0.7)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set(title=f"wrong lines by kind of mistake: {found['parser']}", xlabel="% of lines", axisbelow=True)
    axes.set_xlim(0, max([1.0, *left]) * 1.02)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e4e4")
    if any(left):
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, columnspacing=1)


def page(found: Mapping[str, Any]) -> str:
    """Write the whole page."""
    machine = found["machine"]
    about = " · ".join(
        [
            found["date"],
            f"commit {found['commit']}",
            found["model"],
            f"{machine['processor']}, {machine['cores']} cores, {machine['jobs']} trials side by side",
            machine["gpu"] or machine["device"],
            f"torch {machine['torch']}",
        ]
    )
    svg = picture(found, "svg").decode()
    parts = [
        f"<h1>Parsing accuracy: {escape(found['parser'] or 'peers')}</h1>",
        f"<p class=about>{escape(about)}<br><code>{escape(found['command'])}</code></p>",
        *(f"<p class=failed>Failed: {escape(one['name'])}: {escape(one['reason'])}</p>" for one in found["failed"]),
        _tiles(found),
        svg[svg.index("<svg") :],
        "<h2>Figures</h2>",
        _LEGEND,
        _table("mean over systems", {one["name"]: one["mean"] for one, _ in _parsers(found)}),
        *(_table(one["name"], one["systems"]) for one, _ in _parsers(found)),
        f"<h2>Mistakes of {escape(found['parser'])}</h2>" if found["runs"] else "",
        *_mistakes(found),
        "<h2>Labels</h2>",
        "<table><tr><th>file<th>SHA-256</tr>",
        *(
            f"<tr><td>{escape(name)}<td><code>{escape(digest)}</code></tr>"
            for name, digest in found["label_version"].items()
        ),
        "</table>",
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Logloom: parsing accuracy</title>"
        f"<style>{_STYLE}</style>" + "\n".join(parts) + "</html>\n"
    )


def _tiles(found: Mapping[str, Any]) -> str:
    tiles = [(name, found["mean"].get(name), found["rest"]["mean"].get(name)) for name in FIGURES]
    shown_tiles = [
        f"<div class=tile>{name}<b>{value:.3f}</b>rest {'-' if rest is None else f'{rest:.3f}'}</div>"
        for name, value, rest in tiles
        if value is not None
    ]
    speed = found["mean"].get("lines_per_second")
    if speed is not None:
        shown_tiles.append(f"<div class=tile>worker<b>{speed:,.0f}</b>lines/s, one core</div>")
    return f"<div class=tiles>{''.join(shown_tiles)}</div>"


def _table(caption: str, rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    heads = "".join(f"<th>{escape(head)}" for head, _ in COLUMNS)
    lines = []
    for name, spreads in rows.items():
        cells = "".join(
            f"<td>{shown(Spread(**spreads[figure]) if figure in spreads else None, figure)}" for _, figure in COLUMNS
        )
        lines.append(f"<tr><td>{escape(name)}{cells}</tr>")
    return (
        f"<div class=wide><table><caption>{escape(caption)}</caption><tr><th>{heads}</tr>{''.join(lines)}</table></div>"
    )


def _mistakes(found: Mapping[str, Any]) -> list[str]:
    """Write the mistakes of most lines for each kind, each pair of templates once, with its lines over all seeds."""
    runs = first_runs(found)
    lines, first = Counter[tuple[str, str, str, str | None]](), dict[tuple[str, str, str, str | None], str]()
    for run in runs:
        for one in run["mistakes"]:
            pair = (one["kind"], run["trial"]["system"], one["oracle"], one["predicted"])
            lines[pair] += one["lines"]
            first.setdefault(pair, one["message"])
    seeds = len({run["trial"]["seed"] for run in runs})
    parts = []
    for kind in KINDS:
        worst = [(pair, count) for pair, count in lines.most_common() if pair[0] == kind]
        if not worst:
            continue
        total = sum(run["kinds"].get(kind, 0) for run in runs) / max(1, seeds)
        parts.append(f"<h3>{kind}: {total:,.0f} lines</h3><table class=mistakes>")
        for (_, system, oracle, predicted), count in worst[:_EXAMPLES]:
            texts = {"message": first[kind, system, oracle, predicted], "oracle": oracle, "ours": predicted or "-"}
            cell = "<br>".join(f"{name}: <code>{_marked(text)}</code>" for name, text in texts.items())
            parts.append(f"<tr><td>{escape(system)}<br>{count / seeds:,.1f} lines<td>{cell}</tr>")
        parts.append("</table>")
    return parts


def _marked(text: str) -> str:
    """Escape a text, cut where it is long, and make its wildcards stand out."""
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return re.sub(re.escape(escape(WILDCARD)), f"<i>{escape(WILDCARD)}</i>", escape(cut))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, draw. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description="Draw the JSON report of an evaluation again."
    )
    parser.add_argument("report", type=Path, metavar="FILE.json", help="what `python -m training.evaluate` wrote")
    parser.add_argument("--html", type=Path, help="a page to look at")
    parser.add_argument("--png", type=Path, help="its picture")
    given = parser.parse_args(arguments)
    if given.html is None and given.png is None:
        parser.error("name --html, --png or both")
    try:
        found = json.loads(given.report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"{given.report} can't be read: {error}", file=sys.stderr)
        return 1
    write(found, html=given.html, png=given.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
