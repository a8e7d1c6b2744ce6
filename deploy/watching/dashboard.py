"""Writes dashboard.json beside itself, for Grafana 11 and newer: `python -m deploy.watching.dashboard`.

A panel is one call below, in the order in which it is seen. All queries keep to the chosen data source, jobs and
sources. What a metric means is in docs/watching.md.
"""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FILE = Path(__file__).with_name("dashboard.json")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")

DOCS = "https://github.com/logloom/logloom/blob/main/docs"

#: What a query may hold: all of the chosen workers, or what the chosen sources have there.
JOB = 'job=~"$job"'
SOURCE = f'{JOB}, source=~"$source"'
RATE = "[$__rate_interval]"

_Panel = TypeVar("_Panel", stat.Panel, table.Panel, timeseries.Panel)


def rate(metric: str, *by: str, labels: str = SOURCE) -> str:
    """Ask how much `metric` grows a second, summed `by` labels."""
    summed = f"sum by ({', '.join(by)}) " if by else "sum"
    return f"{summed}(rate({metric}{{{labels}}}{RATE}))"


def mean(histogram: str) -> str:
    """Ask for the mean of what a histogram of the model has seen lately."""
    return f"({rate(f'{histogram}_sum', labels=JOB)} / {rate(f'{histogram}_count', labels=JOB)})"


def quantile(share: float, histogram: str, labels: str = SOURCE) -> str:
    """Ask for a quantile of what a histogram has seen lately."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le', labels=labels)})"


MESSAGES = f"({rate('logloom_hits_total')} + {rate('logloom_misses_total')})"


def _placed(panel: _Panel, title: str, help_text: str, unit: str, width: int, height: int) -> _Panel:
    """Give a panel its title and its size; a row is 24 wide."""
    panel.title(title).description(help_text).datasource(PROMETHEUS).unit(unit).span(width).height(height)
    return panel


def _query(expression: str, legend: str, place: int = 0) -> prometheus.Dataquery:
    """Make a query of PromQL, the one in `place` of its panel."""
    query = prometheus.Dataquery().expr(expression).legend_format(legend)
    return query.ref_id(chr(ord("A") + place)).datasource(PROMETHEUS)


def lines(
    title: str,
    help_text: str,
    unit: str,
    queries: dict[str, str],
    *,
    width: int = 8,
    is_stacked: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """Make a panel of lines over time, by legend; `most` is the end of its axis."""
    panel = _placed(timeseries.Panel(), title, help_text, unit, width, 8).min(0)
    for place, (legend, query) in enumerate(queries.items()):
        panel.with_target(_query(query, legend, place))
    panel.draw_style(GraphDrawStyle.LINE).line_width(1).show_points(VisibilityMode.NEVER)
    panel.fill_opacity(40 if is_stacked else 8)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    if is_stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return panel if most is None else panel.max(most)


def number(title: str, help_text: str, unit: str, query: str) -> stat.Panel:
    """Make a panel of one figure, with its course behind it."""
    panel = _placed(stat.Panel(), title, help_text, unit, 4, 4).with_target(_query(query, title))
    return panel.graph_mode(BigValueGraphMode.AREA).reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def ranking(title: str, help_text: str, query: str, columns: dict[str, str], *, width: int) -> table.Panel:
    """Make a table of what a query gives over the whole time shown; `columns` are its labels and their headings."""
    panel = _placed(table.Panel(), title, help_text, "short", width, 8)
    panel.with_target(_query(query, title).format(PromQueryFormat.TABLE).instant())
    order = {
        "indexByName": {name: place for place, name in enumerate(columns)},
        "renameByName": columns,
        "excludeByName": {"Time": True},
    }
    return panel.with_transformation(DataTransformerConfig(id_val="organize", options=order))


def glance() -> list[stat.Panel]:
    """Make the figures that tell whether all is well."""
    workers = f"count(max by (instance) (logloom_build_info{{{JOB}}}))"
    lag = f"sum(logloom_lag_records{{{JOB}}})"
    hits = f"{rate('logloom_hits_total')} / {MESSAGES}"
    slowest = quantile(0.99, "logloom_latency_seconds")
    dead = f"60 * {rate('logloom_dead_letters_total')}"
    return [
        number("Workers", "Workers that are scraped.", "none", workers),
        number("Records", "Records read a second.", "cps", rate("logloom_records_total")),
        number("Lag", "Records that wait in Kafka.", "short", lag),
        number("Hits", "Messages whose template the cache knew.", "percentunit", hits),
        number("Latency, 99%", "From the record's timestamp to its event.", "s", slowest),
        number("Dead letters", "Raw logs that became no event, a minute.", "cpm", dead),
    ]


def throughput() -> list[timeseries.Panel]:
    """Make what tells how much goes through, and how quickly."""
    return [
        lines(
            "Records by source",
            "Records read a second.",
            "cps",
            {"{{source}}": rate("logloom_records_total", "source")},
        ),
        lines(
            "Lag by topic",
            "Records between what is done and the end of the topic.",
            "short",
            {"{{topic}}": f"sum by (topic) (logloom_lag_records{{{JOB}}})"},
        ),
        lines(
            "Latency",
            "From the record's timestamp, which its producer sets, to the event that the broker acknowledged.",
            "s",
            {f"{share:.0%}": quantile(share, "logloom_latency_seconds") for share in (0.5, 0.95, 0.99)},
        ),
        lines(
            "Dead letters by reason",
            "Raw logs that became no event, a minute.",
            "cpm",
            {"{{reason}}": f"60 * {rate('logloom_dead_letters_total', 'reason')}"},
            width=6,
            is_stacked=True,
        ),
        lines(
            "In flight",
            "Raw logs that are neither in an acknowledged event nor dead, and messages that the model is to read.",
            "short",
            {
                "{{source}}": f"sum by (source) (logloom_records_in_flight{{{SOURCE}}})",
                "waiting for the model": f"sum(logloom_misses_waiting{{{JOB}}})",
            },
            width=6,
        ),
        lines(
            "Partitions by worker",
            "A worker without any has nothing to do.",
            "none",
            {"{{instance}}": f"sum by (instance) (logloom_partitions{{{JOB}}})"},
            width=6,
            is_stacked=True,
        ),
        lines(
            "Transactions",
            "Kafka transactions a second by what became of them. Only with exactly-once.",
            "cps",
            {"{{outcome}}": rate("logloom_transactions_total", "outcome", labels=JOB)},
            width=6,
        ),
    ]


def templates() -> list[timeseries.Panel | table.Panel]:
    """Make what tells how the cache does."""
    return [
        lines(
            "Hits by tier",
            "How the templates of messages were found: by fingerprint, in the index, in Redis, or by the model (miss).",
            "percentunit",
            {
                "{{tier}}": f"{rate('logloom_hits_total', 'tier')} / on () group_left () {MESSAGES}",
                "miss": f"{rate('logloom_misses_total')} / {MESSAGES}",
            },
            is_stacked=True,
            most=1,
        ),
        lines(
            "Misses by source",
            "Messages a second that went on to the model.",
            "cps",
            {"{{source}}": rate("logloom_misses_total", "source")},
        ),
        lines(
            "New templates",
            "Templates a minute that the model gave, and that others took the place of.",
            "cpm",
            {
                "learned": f"60 * {rate('logloom_templates_learned_total', labels=JOB)}",
                "replaced": f"60 * {rate('logloom_templates_replaced_total', labels=JOB)}",
            },
        ),
        ranking(
            "Top templates",
            "Messages over the time shown, of templates that were used most of late.",
            f"topk(15, sum by (scope, template, text) (increase(logloom_template_messages_total{{{JOB}}}[$__range])))",
            {"Value": "messages", "scope": "scope", "template": "id", "text": "template"},
            width=16,
        ),
        lines(
            "Templates in memory",
            "By scope, of the worker that has most: each holds all of its scopes. And those that wait for Redis.",
            "short",
            {
                "{{scope}}": f"max by (scope) (logloom_templates{{{JOB}}})",
                "waiting for Redis": f"sum(logloom_redis_pending_templates{{{JOB}}})",
            },
        ),
    ]


def model() -> list[timeseries.Panel]:
    """Make what tells how the model and the processes do."""
    return [
        lines(
            "Micro-batch fill",
            "Mean size of a micro-batch, as part of the most that it may hold. It closes early at its deadline.",
            "percentunit",
            {
                kind: f"{mean(f'logloom_micro_batch_{kind}')} / max(logloom_micro_batch_{kind}_limit{{{JOB}}})"
                for kind in ("rows", "tokens")
            },
        ),
        lines(
            "Model at work",
            "Part of the time that the model reads a micro-batch, which is what it uses of its device.",
            "percentunit",
            {"{{instance}}": rate("logloom_model_seconds_sum", "instance", labels=JOB)},
            most=1,
        ),
        lines(
            "Time of a micro-batch",
            "Of the model's answer to all of its messages.",
            "s",
            {f"{share:.0%}": quantile(share, "logloom_model_seconds", JOB) for share in (0.5, 0.9, 0.99)},
        ),
        lines(
            "Memory",
            "Of the process, and of the model's device where that is a GPU.",
            "bytes",
            {
                "{{instance}} process": f"process_resident_memory_bytes{{{JOB}}}",
                "{{instance}} {{device}} tensors": f"logloom_device_memory_allocated_bytes{{{JOB}}}",
                "{{instance}} {{device}} held": f"logloom_device_memory_reserved_bytes{{{JOB}}}",
                "{{instance}} {{device}} size": f"logloom_device_memory_size_bytes{{{JOB}}}",
            },
            width=6,
        ),
        lines(
            "Processors",
            "Processor seconds a second.",
            "none",
            {"{{instance}}": rate("process_cpu_seconds_total", "instance", labels=JOB)},
            width=6,
        ),
        lines(
            "Redis",
            "Failed calls a second by what was asked; unavailable is 1 while it does not answer.",
            "short",
            {
                "{{operation}}": rate("logloom_redis_errors_total", "operation", labels=JOB),
                "unavailable": f"max(logloom_redis_unavailable{{{JOB}}})",
            },
            width=6,
        ),
        lines(
            "Parser workers",
            "Messages that wait for an answer of workers with the role `parse`, and how many are answered a second.",
            "short",
            {
                "waiting": f"sum(logloom_awaited_messages{{{JOB}}})",
                "{{outcome}}/s": rate("logloom_answers_total", "outcome", labels=JOB),
            },
            width=6,
        ),
    ]


def _chosen(name: str, query: str) -> dashboard.QueryVariable:
    """Let whoever looks choose among the values of a label."""
    every = VariableOption(text="All", value="$__all")
    variable = dashboard.QueryVariable(name).datasource(PROMETHEUS).query(query).current(every)
    variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*").sort(VariableSort.ALPHABETICAL_ASC)


def build() -> dashboard.Dashboard:
    """Make the dashboard."""
    whole = (
        dashboard.Dashboard("Logloom")
        .uid("logloom")
        .description("Raw logs in Kafka become structured events. Made by deploy/watching/dashboard.py.")
        .tags(["logloom"])
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("What the metrics mean").url(f"{DOCS}/watching.md"))
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("data source"))
        .with_variable(_chosen("job", "label_values(logloom_build_info, job)"))
        .with_variable(_chosen("source", "label_values(logloom_events_total{" + JOB + "}, source)"))
    )
    rows: dict[str, Sequence[stat.Panel | table.Panel | timeseries.Panel]] = {
        "At a glance": glance(),
        "Throughput": throughput(),
        "Templates": templates(),
        "Model and process": model(),
    }
    ids = count(1)
    for title, panels in rows.items():
        whole.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            whole.with_panel(panel.id(next(ids)))
    return whole


def written() -> str:
    """Give the dashboard as the file holds it."""
    return JSONEncoder(sort_keys=True, indent=1).encode(build().build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(written())
