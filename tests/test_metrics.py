"""Metrics: what is counted, under which names and labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from worker.errors import ModelFailed, TooLarge, TooMuchForDevice, Undecodable, Unparsable
from worker.metrics import LATENCY_BUCKETS, REASONS, Latencies, Metrics


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"logloom_{name}", labels)


def test_a_batch_is_counted_by_source_and_topic() -> None:
    """Records, bytes and tombstones add up over batches."""
    metrics = Metrics()
    metrics.fetched("web", "t", records=10, size_bytes=100, tombstones=2)
    metrics.fetched("web", "t", records=5, size_bytes=50)
    names = ("batches_total", "records_total", "record_bytes_total", "tombstones_total")
    assert [_value(metrics, name, source="web", topic="t") for name in names] == [2, 15, 150, 2]


def test_hits_by_tier_and_misses() -> None:
    """Tiers that answered are hits; what went on to the model, or found nothing, is a miss."""
    metrics = Metrics()
    metrics.looked_up("web", np.array([0, 1, 1, 1, 2, 3, 3, 4], np.uint8))
    hits = [_value(metrics, "hits_total", source="web", tier=tier) for tier in ("fingerprint", "index", "store")]
    assert hits == [3, 1, 2]
    assert _value(metrics, "misses_total", source="web") == 2


def test_messages_by_type() -> None:
    """A message of no type counts as none."""
    metrics = Metrics()
    metrics.typed("web", {"timeout": 2, "": 3})
    assert _value(metrics, "typed_total", source="web", type="timeout") == 2
    assert _value(metrics, "typed_total", source="web", type="none") == 3


def test_events_and_dead_letters() -> None:
    """Events count by source, dead letters by source and reason."""
    metrics = Metrics()
    metrics.produced("web", events=7, size_bytes=70)
    metrics.dead("web", "unparsable", 3)
    assert _value(metrics, "events_total", source="web") == 7
    assert _value(metrics, "event_bytes_total", source="web") == 70
    assert _value(metrics, "dead_letters_total", source="web", reason="unparsable") == 3


def test_reasons_are_those_of_the_error_tree() -> None:
    """Every reason of a dead letter has its series, and no other can be made."""
    assert sorted(REASONS) == sorted(
        error.reason for error in (Undecodable, TooLarge, Unparsable, ModelFailed, TooMuchForDevice)
    )
    with pytest.raises(ValueError, match="'typo' is no reason"):
        Metrics().dead("web", "typo")


def test_series_of_a_source_start_at_zero() -> None:
    """A source's counters are there before the first batch, so that a rate sees the first increase."""
    metrics = Metrics(sources=["web"])
    assert _value(metrics, "events_total", source="web") == 0
    assert _value(metrics, "dead_letters_total", source="web", reason="too_large") == 0
    assert _value(metrics, "hits_total", source="web", tier="index") == 0


def test_lag_goes_with_its_partition() -> None:
    """A revoked partition has no lag here any more; revoking what was never measured does nothing."""
    metrics = Metrics()
    metrics.lag("t", 0, 12)
    metrics.lag("t", 1, 3)
    metrics.revoked("t", 0)
    metrics.revoked("t", 7)
    assert [_value(metrics, "lag_records", topic="t", partition=p) for p in ("0", "1")] == [None, 3]


def test_gauges_and_model() -> None:
    """Micro-batches, Redis and build have their figures."""
    metrics = Metrics()
    metrics.micro_batch(rows=3, tokens=90, seconds=0.02)
    metrics.halved()
    metrics.batch_done(0.3)
    metrics.in_flight(4)
    metrics.tasks(20)
    metrics.redis_failed("publish")
    metrics.redis_pending(9)
    metrics.templates("web", 12)
    metrics.describe_build(parser="base-1")
    assert _value(metrics, "micro_batch_rows_sum") == 3
    assert _value(metrics, "micro_batch_tokens_sum") == 90
    assert _value(metrics, "model_seconds_count") == 1
    assert _value(metrics, "model_halvings_total") == 1
    assert _value(metrics, "batch_seconds_count") == 1
    assert _value(metrics, "batches_in_flight") == 4
    assert _value(metrics, "tasks") == 20
    assert _value(metrics, "redis_errors_total", operation="publish") == 1
    assert _value(metrics, "redis_pending_templates") == 9
    assert _value(metrics, "templates", source="web") == 12
    assert b'parser="base-1"' in generate_latest(metrics.registry)


def test_each_worker_has_its_own_registry() -> None:
    """Two workers in one process don't count into each other."""
    first, second = Metrics(), Metrics()
    first.in_flight(3)
    assert _value(second, "batches_in_flight") == 0


@given(st.lists(arrays(np.float64, st.integers(0, 30), elements=st.floats(0, 100, allow_nan=False)), max_size=4))
def test_latencies_count_as_a_plain_histogram_does(batches: list[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> None:
    """A batch at once gives what one value after the other gives."""
    registry = CollectorRegistry()
    latencies = Latencies("latency", "Latency.", registry)
    plain = Histogram("plain", "The same.", registry=registry, buckets=LATENCY_BUCKETS)
    for batch in batches:
        latencies.observe("s", batch)
        for value in batch:
            plain.observe(value)
    if not batches:
        return
    for bound in [*map(str, map(float, LATENCY_BUCKETS)), "+Inf"]:
        expected = registry.get_sample_value("plain_bucket", {"le": bound})
        assert registry.get_sample_value("latency_bucket", {"le": bound, "source": "s"}) == expected
    assert registry.get_sample_value("latency_sum", {"source": "s"}) == pytest.approx(
        registry.get_sample_value("plain_sum")
    )


def test_latency_below_zero_counts_as_zero() -> None:
    """A producer's clock that runs ahead does not spoil the sum."""
    metrics = Metrics()
    metrics.produced("web", events=2, size_bytes=1, latency_seconds=np.array([-5.0, 0.5]))
    assert _value(metrics, "latency_seconds_sum", source="web") == 0.5
    assert _value(metrics, "latency_seconds_bucket", source="web", le="0.001") == 1
