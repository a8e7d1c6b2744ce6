"""The dashboard: made from its source, asks for nothing that is not there, and is drawn as it is."""

import json
import subprocess
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from deploy.watching import dashboard
from deploy.watching.draw import Source, filled, legend, save, shown
from tests.kafka_broker import free_port, terminate, wait_until
from tests.watching.promtool import metrics_in, promtool, refused
from worker.collectors import Description, UsedTemplate
from worker.metrics import Metrics

BOARD: dict[str, Any] = json.loads(dashboard.FILE.read_text())
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS: list[dict[str, Any]] = [target for panel in PANELS for target in panel["targets"]]
#: What prometheus_client counts of the process.
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def names_of(metric: Description) -> set[str]:
    """Return the names of the series that a metric has."""
    suffixes = ("_bucket", "_sum", "_count") if metric.type == "histogram" else ("",)
    return {metric.name + suffix for suffix in suffixes}


def test_the_file_is_what_its_source_makes() -> None:
    """`python -m deploy.watching.dashboard` was run after the last change."""
    assert dashboard.written() == dashboard.FILE.read_text()


def test_prometheus_takes_every_query() -> None:
    """Each is PromQL once Grafana has filled its variables in."""
    assert refused(filled(target["expr"]) for target in TARGETS) == ""


def test_queries_name_metrics_of_the_worker_alone() -> None:
    """A renamed metric would leave a panel empty."""
    there = {name for metric in Metrics().descriptions for name in names_of(metric)} | PROCESS
    for target in TARGETS:
        assert metrics_in(target["expr"]), target["expr"]
        assert metrics_in(target["expr"]) <= there


def test_queries_keep_to_the_chosen_data_source_and_jobs() -> None:
    """Two deployments in one Prometheus are not added up unless both are chosen."""
    for target in TARGETS:
        assert target["datasource"]["uid"] == "${datasource}"
        assert target["expr"].count("{") == target["expr"].count('{job=~"$job"')
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "job", "source"]


def test_legends_name_labels_that_the_query_keeps() -> None:
    """A label that was summed away would leave the legend empty."""
    labels = {label for metric in Metrics().descriptions for label in metric.labels} | {"instance"}
    for target in TARGETS:
        for label in (part.split("}}")[0] for part in target["legendFormat"].split("{{")[1:]):
            assert label in labels
            is_summed = "sum" in target["expr"] or "max" in target["expr"]
            assert not is_summed or f"by ({label})" in target["expr"]


def test_panels_are_told_apart_and_overlap_nowhere() -> None:
    """Every cell of Grafana's grid belongs to one panel."""
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in taken
                taken.add((x, y))
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_values_are_written_in_their_unit() -> None:
    """Short, as Grafana does."""
    assert [shown(value, unit) for value, unit in ((0.973, "percentunit"), (1536, "cps"), (0.0071, "s"))] == [
        "97.3%", "1.54 k/s", "7.1 ms"
    ]  # fmt: skip
    assert [shown(value, "bytes") for value in (3 << 29, 12)] == ["1.5 GiB", "12 B"]
    assert legend("{{operation}} failed/s", {"operation": "find"}) == "find failed/s"


def counted(registry: CollectorRegistry, count: Callable[[int], None], at: Sequence[float]) -> str:
    """Let `count` be called before each moment, and write in OpenMetrics what a scrape then would have found."""
    found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for number, moment in enumerate(at):
        count(number)
        for family in registry.collect():
            series = found[f"# TYPE {family.name} {family.type}"]
            for sample in family.samples:
                labels = {"job": "logloom", "instance": "worker-1", **sample.labels}
                written = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
                one = f"{sample.name}{{{written}}}"
                series[one].append(f"{one} {sample.value} {moment}")
    lines = (line for head, series in found.items() for line in (head, *chain.from_iterable(series.values())))
    return "\n".join(lines) + "\n# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    """Give a Prometheus that holds ten minutes of a worker that counts everything there is, and when they ended."""
    metrics, folder, end = (
        Metrics(sources=["web"], scopes=["web"], is_exactly_once=True),
        tmp_path_factory.mktemp("p"),
        time.time(),
    )
    metrics.show_templates(lambda: [UsedTemplate("web", "a1", "took <*> ms", messages)])
    messages = 0

    def count(number: int) -> None:
        nonlocal messages
        messages += 500
        metrics.fetched("web", "raw", records=1_000, size_bytes=1)
        metrics.looked_up("web", np.array([1] * 90 + [2] * 5 + [3] * 2 + [4] * 3, np.uint8))
        metrics.produced("web", events=990, size_bytes=1, latency_seconds=np.linspace(0, 1, 50))
        metrics.dead("web", "unparsable", 10)
        metrics.micro_batch(rows=64, tokens=900, seconds=0.5)
        metrics.micro_batch_limits(rows=256, tokens=16_384)
        metrics.device_memory("cuda:0", allocated=1 << 30, reserved=3 << 29, size=1 << 34)
        metrics.templates({"web": number})
        metrics.templates_changed("web", learned=2, received=1, replaced=1)
        metrics.redis_failed("find")
        metrics.transaction("committed")
        metrics.partitions(4)
        metrics.lag("raw", 0, 10 * number)

    text = counted(metrics.registry, count, np.arange(end - 600, end, 10).tolist())
    (folder / "text").write_text(text)
    done = promtool("tsdb", "create-blocks-from", "openmetrics", str(folder / "text"), str(folder / "tsdb"))
    assert done.returncode == 0, done.stderr
    (folder / "prometheus.yml").write_text("")
    address = f"127.0.0.1:{free_port()}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *options], cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(address), seconds=30, what="Prometheus")
        yield f"http://{address}", end
    finally:
        terminate(process)


def answers(address: str) -> bool:
    """Tell whether a Prometheus takes queries."""
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_every_panel_shows_something(prometheus: tuple[str, float]) -> None:
    """Where everything is counted no query is in vain."""
    url, end = prometheus
    source = Source(url=url, start=end - 300, end=end - 10, step_seconds=10, rate_seconds=40)
    for panel in PANELS:
        for target in panel["targets"]:
            if panel["type"] == "table":
                rows = source.rows(target)
                assert [(row["template"], row["text"]) for row in rows] == [("a1", "took <*> ms")]
            else:
                lines = source.lines(target)
                assert lines, target["expr"]
                assert all(line.legend and line.values for line in lines)


def test_all_panels_are_drawn(prometheus: tuple[str, float], tmp_path: Path) -> None:
    """With data, and from a time in which there was none."""
    mpl.use("agg")
    url, end = prometheus
    for name, until in (("full", end - 10), ("empty", end - 7_200)):
        picture = tmp_path / f"{name}.png"
        save(picture, url, start=until - 300, end=until, scrape_seconds=10.0)
        assert picture.read_bytes().startswith(b"\x89PNG")
