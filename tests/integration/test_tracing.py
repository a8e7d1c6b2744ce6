"""Traces of workers on a real broker, as a collector gets them, and the workers' own logs beside them."""

import json

import pytest

from tests.collector import collecting
from tests.integration.test_tiers import Tiers, redis, tiers
from tests.integration.test_worker import needs_weights
from tests.integration.worker_process import WorkerProcess, running

__all__ = ["redis", "tiers"]

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]


def traces_in(worker: WorkerProcess) -> dict[str, set[str]]:
    """Return what a worker has logged within traces, by their ids."""
    found: dict[str, set[str]] = {}
    for logged in map(json.loads, worker.log.splitlines()):
        if "trace_id" in logged:
            found.setdefault(logged["trace_id"], set()).add(logged["event"])
    return found


def test_a_batch_is_followed_from_its_fetch_through_both_tiers_to_its_commit(tiers: Tiers) -> None:
    """What a matcher can't answer is in one trace with the parser that does, through Kafka; the logs name it."""
    place = tiers.place
    with collecting() as collector:

        def settings(role: str, share: str) -> dict[str, str]:
            named = {"ENDPOINT": collector.endpoint, "SHARE": share, "SERVICE_NAME": role}
            traced = {f"TRACING__{name}": value for name, value in named.items()}
            return tiers.settings(role, KAFKA__DELIVERY="exactly-once", **traced)

        with running(settings("parse", share="0")) as parser, running(settings("match", share="1")) as matcher:
            place.send([b"2026-11-22 15:43:%02d,830 INFO user %d left" % (number, number) for number in range(50)])
            matcher.wait_for(50)
            matcher.wait(lambda: matcher.metrics()['logloom_spans_total{outcome="exported"}'] > 0, what="spans")
            assert (matcher.terminate(), parser.terminate()) == (0, 0)
            logged = traces_in(matcher)
    batch = next(span for span in collector.spans if span.name == f"process {place.raw}")
    below = [span.name for span in collector.of(batch.trace) if span.parent == batch.span]
    assert below == [
        *("wait", "decode", "open envelopes", "join lines", "split headers", "look up", "misses", "write events"),
        *("write record batches", f"send {place.events}", "commit"),
    ]
    assert batch.attributes["messaging.consumer.group.name"] == place.group
    of_trace = {(span.resource["service.name"], span.name): span for span in collector.of(batch.trace)}
    # A transaction is open for 100 ms.
    assert 10 < of_trace["match", "commit"].milliseconds < batch.milliseconds
    asked, answered = of_trace["match", f"send {tiers.misses}"], of_trace["parse", f"process {tiers.misses}"]
    assert (asked.kind, answered.kind, answered.parent) == ("PRODUCER", "CONSUMER", asked.span)
    assert of_trace["match", "model"].span == asked.parent
    assert of_trace["parse", "redis answers"].parent == answered.span
    assert of_trace["parse", "micro-batch"].parent == of_trace["parse", "model"].span
    assert {"redis find", "redis publish"} <= {name for role, name in of_trace if role == "parse"}
    # Of itself the parser traces nothing.
    traces = {
        role: {one.trace for one in collector.spans if one.resource["service.name"] == role} for role, _ in of_trace
    }
    assert traces["parse"] <= traces["match"]
    assert logged.keys() <= traces["match"]
    assert any("header format found" in events for events in logged.values())
