"""What metrics say: rates between two scrapes, shares, sums over workers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from worker.cli.figures import Scrape, figures
from worker.columns.layout import TIER_FINGERPRINT, TIER_INDEX, TIER_MODEL, TIER_STORE
from worker.metrics import Metrics


class Worker:
    """A worker's metrics, as its endpoint gives them at a moment."""

    def __init__(self, *sources: str, started: float = 100.0) -> None:
        self.metrics = Metrics(sources=sources)
        self.metrics.describe_build(parser="base-3")
        self.started = started

    def scrape(self, seconds: float) -> Scrape:
        """Read what it says after so many seconds."""
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        own = [line for line in lines if not line.startswith("process_start_time_seconds")]
        exposition = "\n".join([*own, f"process_start_time_seconds {self.started}", ""])
        return Scrape.read(exposition, seconds=seconds, time=1000.0 + seconds)

    def work(self, source: str, topic: str, records: int, *, missed: int = 0) -> None:
        """Count records that became events, some of them by the model."""
        self.metrics.fetched(source, topic, records=records, size_bytes=1)
        self.metrics.produced(source, events=records, size_bytes=1)
        tiers = [TIER_FINGERPRINT] * (records - missed) + [TIER_MODEL] * missed
        self.metrics.looked_up(source, np.array(tiers, np.uint8))


def test_rates_are_of_two_scrapes() -> None:
    """What came between them, by the seconds between them; what came before counts for nothing."""
    worker = Worker("web")
    worker.work("web", "t", 1000, missed=500)
    before = {"a": worker.scrape(0)}
    worker.work("web", "t", 100, missed=25)
    worker.metrics.dead("web", "unparsable", 4)
    (web,) = figures({"a": worker.scrape(10)}, before).sources
    assert (web.records_per_second, web.events_per_second, web.dead_letters_per_second) == (10.0, 10.0, 0.4)
    assert (web.hit_rate, web.misses_per_second) == (0.75, 2.5)
    assert web.dead_letters == {"unparsable": 4}


def test_shares_of_all_tiers() -> None:
    """Each tier has the share of messages that it answered."""
    worker = Worker("web")
    before = {"a": worker.scrape(0)}
    tiers = [TIER_FINGERPRINT] * 4 + [TIER_INDEX] * 3 + [TIER_STORE] * 2 + [TIER_MODEL]
    worker.metrics.looked_up("web", np.array(tiers, np.uint8))
    (web,) = figures({"a": worker.scrape(2)}, before).sources
    assert [web.share(tier) for tier in ("process", "index", "redis", "model")] == [0.4, 0.3, 0.2, 0.1]


def test_the_first_scrape_has_no_rates() -> None:
    """What is a state is known at once, what is a rate is not."""
    worker = Worker("web")
    worker.work("web", "t", 10)
    worker.metrics.records_in_flight("web", more=7)
    found = figures({"a": worker.scrape(0)})
    (web,) = found.sources
    assert (found.seconds, web.records_per_second, web.hit_rate, web.misses_per_second) == (None, None, None, None)
    assert (web.in_flight, found.workers[0].parser, found.workers[0].redis_errors_per_second) == (7, "base-3", None)


def test_nothing_came() -> None:
    """Shares of nothing are not known."""
    worker = Worker("web")
    (web,) = figures({"a": worker.scrape(2)}, {"a": worker.scrape(0)}).sources
    assert (web.records_per_second, web.hit_rate) == (0.0, None)


def test_workers_add_up() -> None:
    """Rates and states of several workers are those of all of them, however far apart they were asked."""
    one, two = Worker("web"), Worker("web", "db")
    before = {"a": one.scrape(0), "b": two.scrape(1)}
    one.work("web", "t", 10)
    two.work("web", "t", 40)
    one.metrics.lag("t", 0, 5)
    two.metrics.lag("t", 1, 6)
    found = figures({"a": one.scrape(1), "b": two.scrape(5)}, before)
    assert [(source.name, source.records_per_second, source.lag) for source in found.sources] == [
        ("db", 0.0, None),
        ("web", 20.0, 11),
    ]
    assert found.seconds == 4


def test_a_worker_that_comes_later_has_no_rates_yet() -> None:
    """Its counters are not taken for what came since the last look."""
    one, two = Worker("web"), Worker("web")
    before = {"a": one.scrape(0)}
    two.work("web", "t", 1_000_000)
    one.work("web", "t", 2)
    (web,) = figures({"a": one.scrape(2), "b": two.scrape(2)}, before).sources
    assert web.records_per_second == 1.0


@pytest.mark.parametrize("records", [3, 200])
def test_a_restarted_worker_counts_from_zero(records: int) -> None:
    """A rate is never negative, and never what an other process counted less."""
    old, new = Worker("web"), Worker("web", started=101.0)
    old.work("web", "t", 100)
    new.work("web", "t", records)
    (web,) = figures({"a": new.scrape(2)}, {"a": old.scrape(0)}).sources
    assert web.records_per_second == records / 2


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), st.booleans())
def test_no_rate_is_negative(counts: list[int], restarts: bool) -> None:
    """Whatever counters do between two looks."""
    scrapes = []
    for number, count in enumerate(counts):
        worker = Worker("web", started=float(number) if restarts else 1.0)
        worker.work("web", "t", count, missed=count // 2)
        scrapes.append({"a": worker.scrape(float(number))})
    for before, now in pairwise(scrapes):
        found = figures(now, before)
        assert all((source.records_per_second or 0.0) >= 0 for source in found.sources)
        assert all(share is None or 0 <= share <= 1 for source in found.sources for share in [source.hit_rate])


def test_lag_goes_to_the_source_of_its_topic() -> None:
    """By the metrics, else as the settings say, else it stands under the topic's name: it is never left out."""
    worker = Worker("web")
    worker.work("web", "known", 1)
    for topic, lag in (("known", 1), ("set", 2), ("strange", 4)):
        worker.metrics.lag(topic, 0, lag)
    found = figures({"a": worker.scrape(0)}, source_of={"set": "web"}.get)
    assert {source.name: source.lag for source in found.sources} == {"web": 3, "strange": 4}


def test_a_silent_worker_is_told_of() -> None:
    """The others' figures stand."""
    worker = Worker("web")
    found = figures({"a": worker.scrape(2), "b": "Connection refused"}, {"a": worker.scrape(0)})
    assert [(one.address, one.reason) for one in found.silent] == [("b", "Connection refused")]
    assert [one.address for one in found.workers] == ["a"]


def test_templates_are_those_of_the_source_s_scope() -> None:
    """Sources that share a scope share its templates; the worker that knows most is believed."""
    one, two = Worker("web", "db"), Worker("web")
    before = {"a": one.scrape(0), "b": two.scrape(0)}
    one.metrics.templates({"shared": 7})
    two.metrics.templates({"shared": 5})
    two.metrics.templates_changed("shared", learned=4)
    found = figures({"a": one.scrape(2), "b": two.scrape(2)}, before, scope_of=lambda _: "shared")
    assert [(source.templates, source.learned_per_second) for source in found.sources] == [(7, 2.0), (7, 2.0)]


def test_another_version_may_have_other_labels() -> None:
    """What is not there is not told; nothing fails."""
    exposition = 'logloom_templates{source="web"} 3\nlogloom_build_info{version="0.0.1"} 1\n'
    (worker,) = figures({"a": Scrape.read(exposition, seconds=0, time=0)}).workers
    assert (worker.version, worker.device, worker.uptime_seconds) == ("", None, None)


def test_a_worker_s_device_and_delivery() -> None:
    """Devices have a memory; transactions are counted only where there are some."""
    plain, exact = Worker("web"), Worker("web")
    exact.metrics = Metrics(sources=["web"], is_exactly_once=True)
    exact.metrics.device_memory("cuda:0", allocated=10, reserved=20, size=80)
    exact.metrics.partitions(6)
    exact.metrics.micro_batch_limits(rows=8, tokens=64)
    one, two = figures({"a": plain.scrape(0), "b": exact.scrape(0)}).workers
    assert (one.device, one.device_bytes, one.is_exactly_once) == (None, None, False)
    assert (two.device, two.device_bytes, two.device_size_bytes) == ("cuda:0", 20, 80)
    assert (two.is_exactly_once, two.partitions) == (True, 6)
    assert (one.has_model, two.has_model) == (False, True)


def test_a_worker_says_what_it_is() -> None:
    """Version, parser, time since its start, memory, processors, and how it does with Redis."""
    worker = Worker("web")
    before = {"a": worker.scrape(0)}
    worker.metrics.redis_failed("find")
    worker.metrics.redis(pending=3, is_away=True)
    (found,) = figures({"a": worker.scrape(4)}, before).workers
    assert (found.parser, found.uptime_seconds, found.redis_errors_per_second) == ("base-3", 904.0, 0.25)
    assert found.is_redis_away
    assert (found.redis_pending, found.version != "", (found.resident_bytes or 0) > 0) == (3, True, True)
    assert (found.processors or 0.0) >= 0


@pytest.mark.parametrize("text", ["<html>", "# TYPE\na b", '{Y="\0}T,1H\\T", =H_,'])
def test_what_is_no_exposition_is_refused(text: str) -> None:
    """One error for all of it."""
    with pytest.raises(ValueError):  # noqa: PT011  the parser's own words
        Scrape.read(text, seconds=0, time=0)
