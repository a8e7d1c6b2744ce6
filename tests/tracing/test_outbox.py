"""How spans reach a collector, over HTTP and TLS, and what becomes of them where it is slow, broken or gone."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.certificates import Authority
from tests.collector import Collector, collecting, tree
from tests.kafka_broker import free_port, wait_until
from tests.test_pipeline import bench, lines
from worker import __version__
from worker.cli import checks
from worker.hops import ending
from worker.metrics import SPANS, Metrics
from worker.settings import Settings, load
from worker.tracing.traces import Traces


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector that takes everything."""
    with collecting() as collector:
        yield collector


def settings(endpoint: str, **more: str) -> Settings:
    """Make settings that trace every batch."""
    tracing = {"ENDPOINT": endpoint, "SHARE": "1", **more}
    return load(environment={"LOGLOOM_TOPICS": "t", **{f"LOGLOOM_TRACING__{name}": of for name, of in tracing.items()}})


def counted(metrics: Metrics) -> Mapping[str, float]:
    """Return what became of spans; outcomes that none had are left out."""
    values = {one: metrics.registry.get_sample_value("logloom_spans_total", {"outcome": one}) or 0.0 for one in SPANS}
    return {outcome: value for outcome, value in values.items() if value}


async def trace(traces: Traces, batches: int = 1) -> None:
    """Make as many traces of a span or two."""
    for number in range(batches):
        with traces.batch("shop", "raw", 0, offset=number), ending():
            pass


async def test_a_collector_gets_whole_traces(collector: Collector) -> None:
    """With what settings say of this worker, and whatever the collector asks for in headers; the end sends the rest."""
    its = settings(
        collector.endpoint, HEADERS="X-Scope-OrgID=7, authorization=Bearer%20s3cret=", SERVICE_NAME="loom",
        RESOURCE="k8s.pod.name=loom-7",
    )  # fmt: skip
    metrics = Metrics()
    traces = Traces.to_collector(its, metrics)
    async with bench(tracing=traces) as it:
        await it.take(lines(b"took 1 ms"))
        await it.drain()
    await traces.close()
    batch = collector.wait_for(lambda span: span.name == "process raw", what="the batch")
    assert (batch.kind, batch.parent, batch.attributes["messaging.consumer.group.name"]) == ("CONSUMER", "", "logloom")
    resource = dict(batch.resource)
    assert resource.pop("service.instance.id")
    assert {"host.name", "process.pid", "telemetry.sdk.name"} <= resource.keys()
    assert {name: resource[name] for name in ("service.name", "service.version", "k8s.pod.name", "logloom.role")} == {
        "service.name": "loom",
        "service.version": __version__,
        "k8s.pod.name": "loom-7",
        "logloom.role": "all",
    }
    assert [(sent["x-scope-orgid"], sent["authorization"]) for sent in collector.headers[:1]] == [
        ("7", "Bearer s3cret=")
    ]
    drawn = tree(collector.of(batch.trace)).splitlines()
    assert [line.split("  ")[0] for line in drawn if not line.startswith(" ")] == ["process raw"]
    assert any(line.startswith("    model ") for line in drawn)
    assert counted(metrics) == {"exported": len(collector.spans)}


async def test_a_dead_collector_holds_nothing_up() -> None:
    """Batches go their way as if it were there; what is lost is counted, and told in the log."""
    metrics = Metrics()
    traces = Traces.to_collector(settings(f"http://127.0.0.1:{free_port()}", TIMEOUT_SECONDS="0.5"), metrics)
    async with bench(tracing=traces) as it:
        for offset in range(20):
            await it.take(lines(b"took 1 ms"), offset=offset)
        await it.drain()
        assert (len(it.events), it.failures) == (20, [])
    began = time.monotonic()
    await traces.close()
    assert time.monotonic() - began < 5
    assert set(counted(metrics)) <= {"failed", "dropped"}
    assert counted(metrics)["failed"] > 0


async def test_spans_that_a_slow_collector_leaves_waiting_are_bounded(collector: Collector) -> None:
    """Beyond what may wait they are dropped; what it took in the end was not."""
    collector.may_answer.clear()
    metrics = Metrics()
    traces = Traces.to_collector(settings(collector.endpoint, MAX_WAITING_SPANS="512"), metrics)
    await trace(traces, 1_000)
    assert counted(metrics) == {"dropped": 488}
    collector.may_answer.set()
    await traces.close()
    assert counted(metrics) == {"dropped": 488, "exported": 512}
    assert len(collector.spans) == 512
    await trace(traces)
    assert counted(metrics)["dropped"] == 489


async def test_a_collector_that_hangs_does_not_hold_up_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for so long, while other work goes on; what is lost is counted and told."""
    monkeypatch.setattr("worker.tracing.traces.FLUSH_SECONDS", 0.2)
    collector.may_answer.clear()
    metrics = Metrics()
    traces = Traces.to_collector(settings(collector.endpoint, TIMEOUT_SECONDS="60"), metrics)
    await trace(traces, 3)
    with capture_logs() as logs:
        closing = asyncio.create_task(traces.close())
        turns = 0
        while not closing.done():
            await asyncio.sleep(0)
            turns += 1
    assert turns > 10
    assert counted(metrics) == {"dropped": 3}
    assert [(log["log_level"], log["spans"]) for log in logs] == [("warning", 3)]
    assert all(
        thread.daemon for thread in threading.enumerate() if thread.name in {"last spans", "OtelBatchSpanRecord"}
    )


async def test_what_a_collector_refuses_has_failed(collector: Collector) -> None:
    """It is not sent again, and counts as failed."""
    collector.status = 400
    metrics = Metrics()
    traces = Traces.to_collector(settings(collector.endpoint), metrics)
    await trace(traces, 2)
    await traces.close()
    assert counted(metrics) == {"failed": 2}


@pytest.mark.parametrize("shows", ["its own", "none", "no authority"])
async def test_tls(shows: str, tmp_path: Path) -> None:
    """A collector's certificate is checked; `logloom check` says what is wrong with it."""
    authority = Authority(tmp_path)
    certificate = authority.issue("collector", "localhost")
    with collecting(certificate=certificate) as collector:
        more = {"SSL_CA_LOCATION": str(authority.file)} if shows == "its own" else {}
        if shows == "none":
            collector.endpoint = collector.endpoint.replace("https", "http")
        its, metrics = settings(collector.endpoint, TIMEOUT_SECONDS="1", **more), Metrics()
        traces = Traces.to_collector(its, metrics)
        await trace(traces)
        (finding,) = await asyncio.to_thread(lambda: list(checks._tracing(its.tracing)))
        await traces.close()
    outcome, verdict = ("exported", "ok") if shows == "its own" else ("failed", "fail")
    assert (counted(metrics), finding.verdict) == ({outcome: 1}, verdict)
    if shows == "no authority":
        assert "certificate verify failed" in finding.text


@pytest.mark.parametrize(
    ("status", "verdict", "text"),
    [
        (200, "ok", "answers within"),
        (401, "fail", "refuses the headers: 401 Unauthorized"),
        (503, "fail", "takes no traces: 503 Service Unavailable"),
    ],
)
def test_a_collector_is_tried(status: int, verdict: str, text: str, collector: Collector) -> None:
    """`logloom check` sends a request without spans."""
    collector.status = status
    (finding,) = checks._tracing(settings(collector.endpoint).tracing)
    assert finding.verdict == verdict
    assert text in finding.text
    assert collector.spans == []


def test_a_collector_that_is_not_there_is_told_of(collector: Collector) -> None:
    """And one whose headers go over the network as they are, and a wrong path; none is no finding."""
    nowhere = settings(f"http://127.0.0.1:{free_port()}", HEADERS="api-key=s3cret99").tracing
    warned, failed = checks._tracing(nowhere)
    assert (warned.verdict, warned.text) == ("warn", "the headers go over the network as they are")
    assert (failed.verdict, "Connection refused" in failed.text, "s3cret99" in str(failed)) == ("fail", True, False)
    (wrong,) = checks._tracing(settings(f"{collector.endpoint}/otlp").tracing)
    assert (wrong.verdict, wrong.text.endswith("/otlp/v1/traces takes no traces: 404 Not Found")) == ("fail", True)
    assert list(checks._tracing(load(environment={"LOGLOOM_TOPICS": "t"}).tracing)) == []


def test_the_address_may_be_whole_or_not() -> None:
    """`/v1/traces` is added where it is missing."""
    for endpoint in ("https://host/otlp", "https://host/otlp/", "https://host/otlp/v1/traces"):
        assert settings(endpoint).tracing.url == "https://host/otlp/v1/traces"


async def test_a_run_of_the_collector_by_hand_draws_trees() -> None:
    """What `python -m tests.collector` prints of a trace: each span below its parent, failed ones marked."""
    spans: list[Any] = []
    with collecting() as collector:
        traces = Traces.to_collector(settings(collector.endpoint), Metrics())
        with pytest.raises(MemoryError), traces.batch("shop", "raw", 0, offset=5, since_ns=1), ending():
            raise MemoryError
        traces._provider.shutdown()
        wait_until(lambda: len(collector.spans) == 2, seconds=30, what="spans")
        spans += collector.spans
    first, second = tree(spans).splitlines()
    assert first.startswith("process raw ")
    assert first.endswith("kafka.offset=5, source=shop  FAILED")
    assert second.startswith("  wait ")
