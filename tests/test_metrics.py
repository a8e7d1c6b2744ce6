"""Metrics: what is counted, under which names and labels."""

from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from worker.cache.templates import TemplateCache
from worker.collectors import LATENCY_BUCKETS, Latencies, UsedTemplate
from worker.errors import ModelFailed, TooLarge, TooMuchForDevice, Undecodable, Unparsable
from worker.metrics import (
    ANSWERS,
    ATTEMPTS,
    HIT_TIERS,
    LABELS,
    MOST_TOPICS,
    REASONS,
    REDIS_OPERATIONS,
    RELOADS,
    SPANS,
    TRANSACTIONS,
    Metrics,
    describe,
)
from worker.parsing.templates import Template


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
    metrics.redis(pending=9, is_away=True)
    metrics.templates({"gone": 3})
    metrics.templates({"web": 12})
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
    assert _value(metrics, "redis_unavailable") == 1
    assert [_value(metrics, "templates", scope=scope) for scope in ("web", "gone")] == [12, None]
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


def test_topics_beyond_the_first_share_a_series() -> None:
    """A pattern may match ever new topics: nothing is lost of their counts, and they make no more series."""
    metrics = Metrics()
    for number in range(MOST_TOPICS + 50):
        metrics.fetched("web", f"t{number}", records=2, size_bytes=1)
        metrics.reopened("web", f"t{number}", unpacked=3)
    assert _value(metrics, "records_total", source="web", topic="t0") == 2
    assert _value(metrics, "records_total", source="web", topic="other") == 100
    assert _value(metrics, "unpacked_total", source="web", topic="other") == 150


def test_templates_that_are_used_most_have_a_series_each() -> None:
    """A label shows the template's text as a terminal may show it, and not all of a long one."""
    metrics = Metrics()
    metrics.show_templates(lambda: [UsedTemplate("web", "a1", "user <*>\x1b[2J " + "long " * 100, 7)])
    text = "user <*>\\u001b[2J " + "long " * 100
    assert _value(metrics, "template_messages_total", scope="web", template="a1", text=text[:120]) == 7


def test_templates_that_come_and_go_are_counted() -> None:
    """By scope, and from zero on."""
    metrics = Metrics(scopes=["web"])
    names = ("templates_learned_total", "templates_received_total", "templates_replaced_total")
    assert [_value(metrics, name, scope="web") for name in names] == [0, 0, 0]
    metrics.templates_changed("web", learned=3, replaced=2)
    metrics.templates_changed("web", received=5)
    assert [_value(metrics, name, scope="web") for name in names] == [3, 5, 2]


def test_redis_is_asked_nothing_else() -> None:
    """A word that is no operation makes no series."""
    with pytest.raises(ValueError, match="'typo' is nothing asked of Redis"):
        Metrics().redis_failed("typo")


@pytest.mark.parametrize("is_exactly_once", [True, False])
def test_transactions_have_series_only_where_there_are_any(*, is_exactly_once: bool) -> None:
    """Alerts tell a worker with exactly-once by them."""
    metrics = Metrics(is_exactly_once=is_exactly_once)
    expected = 0 if is_exactly_once else None
    assert [_value(metrics, "transactions_total", outcome=outcome) for outcome in TRANSACTIONS] == [expected] * 2


def test_every_label_says_what_bounds_it() -> None:
    """What the documents say is all there is."""
    assert {label for one in Metrics().descriptions for label in one.labels} == LABELS.keys()


def test_a_flood_makes_no_more_series_than_settings_allow() -> None:
    """Whatever comes in topics, templates and types that were asked for, and however partitions move."""
    sources, scopes, types, top, partitions = ["web", "shop"], ["common"], ["timeout", ""], 10, 24
    metrics = Metrics(sources=sources, scopes=scopes, is_exactly_once=True)
    cache = TemplateCache(max_templates=500, max_fingerprints=64)
    metrics.show_templates(
        lambda: [UsedTemplate("common", one.id, one.text, count) for one, count in cache.most_used(top).items()]
    )
    for number in range(2_000):
        cache.count(np.array([cache.add(Template.from_text(f"kind{number}x <*>"))]))
        metrics.templates({scope: len(cache) for scope in scopes})
        for source in sources:
            topic = f"{source}-{number}"
            metrics.fetched(source, topic, records=1, size_bytes=1, tombstones=1, unpacked=1)
            metrics.reopened(source, topic, unpacked=1)
            metrics.looked_up(source, np.arange(5, dtype=np.uint8))
            metrics.typed(source, dict.fromkeys(types, 1))
            metrics.produced(source, events=1, size_bytes=1, joined=1, latency_seconds=np.array([float(number)]))
            metrics.dead(source, REASONS[number % len(REASONS)])
            metrics.returned(source, 1)
            metrics.records_in_flight(source, more=number)
        metrics.micro_batch(rows=number, tokens=number, seconds=number)
        metrics.device_memory(f"cuda:{number}", allocated=1, reserved=2, size=3)
        metrics.describe_build(parser=f"parser-{number}")
        metrics.templates_changed("common", learned=1, received=1, replaced=1)
        metrics.asked(1, again=number % 2 == 1)
        metrics.answer(is_served=number % 2 == 1)
        metrics.redis_failed(REDIS_OPERATIONS[number % len(REDIS_OPERATIONS)])
    for before, after in pairwise(range(0, 200, partitions)):
        for partition in range(before, after):
            metrics.lag("web-1", partition, 5)
        for partition in range(before - partitions, before):
            metrics.revoked("web-1", partition)
    values = {
        "source": len(sources), "topic": MOST_TOPICS + 1, "reason": len(REASONS), "tier": len(HIT_TIERS),
        "type": len(types), "operation": len(REDIS_OPERATIONS),
        "outcome": max(map(len, (RELOADS, TRANSACTIONS, ANSWERS, SPANS))),
        "scope": len(scopes), "template": top, "text": 1, "device": 1, "version": 1, "parser": 1,
        "attempt": len(ATTEMPTS),
    }  # fmt: skip
    bounds = {
        one.name: one.series * (partitions if "partition" in one.labels else prod(values[name] for name in one.labels))
        for one in metrics.descriptions
    }
    found = dict.fromkeys(bounds, 0)
    for family in metrics.registry.collect():
        kept = [sample for sample in family.samples if sample.name.startswith("logloom_")]
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        if kept:
            found[family.name + suffix] += len(kept)
    assert all(0 < found[name] <= bound for name, bound in bounds.items()), (found, bounds)
    assert found["logloom_template_messages_total"] == top


def test_the_documents_hold_the_tables() -> None:
    """docs/watching.md is what `python -m worker.metrics` prints."""
    assert describe() in (Path(__file__).parents[1] / "docs" / "watching.md").read_text(encoding="utf-8")
