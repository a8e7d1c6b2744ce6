"""What a running worker exposes: in the form that Prometheus asks for, and no more series than settings allow."""

import re
import urllib.request
from pathlib import Path

import pytest

from tests.integration.test_worker import Place, needs_weights, place
from tests.integration.worker_process import running
from tests.redis_server import ForeignRedis, RedisServer
from tests.watching.promtool import promtool
from worker.metrics import MOST_TOPICS, Metrics

__all__ = ["place"]

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280)]


@needs_weights
def test_a_worker_exposes_what_is_documented(
    place: Place, redis_server: RedisServer | ForeignRedis, tmp_path: Path
) -> None:
    """Every metric is there under its name after one batch of hits, misses and dead letters, and promtool is content.

    A worker on a CPU has no device's memory to tell of.
    """
    file = tmp_path / "logloom.toml"
    file.write_text("[limits]\nmax_line_bytes = 1024\n[metrics]\ntop_templates = 3\n")
    settings = place.settings(
        redis=redis_server.url, KAFKA__DELIVERY="exactly-once", CONFIG=str(file), MODEL__DEVICE="cpu"
    )
    with running(settings) as worker:
        place.send([b"x" * 2_000, None, *(b"user %d left after %d s" % (number, number) for number in range(50))])
        place.send([b"%s of kind %d" % (word, 4) for word in (b"sunk", b"lost", b"gone", b"cold", b"warm")])
        worker.wait_for(57)
        worker.wait(lambda: worker.metrics()["logloom_templates"] > 0, what="gauges that are read now and then")
        text = worker.scrape()
    found = set(re.findall(r"^(logloom_\w+?)(?:_bucket|_sum|_count)?(?:\{.*\})? ", text, re.MULTILINE))
    expected = {one.name for one in Metrics().descriptions if "device" not in one.labels}
    assert found == expected
    for line in (
        f"logloom_partitions {place.partitions}.0",
        "logloom_redis_unavailable 0.0",
        "logloom_micro_batch_rows_limit 256.0",
    ):
        assert line in text.splitlines()
    pattern = r'^logloom_template_messages_total\{scope="default",template="\w{16}",text="(.*)"\} ([\d.]+)'
    top = re.findall(pattern, text, re.MULTILINE)
    assert 0 < len(top) <= 3
    assert ("user <*> left after <*> s", "50.0") in top
    done = promtool("check", "metrics", given=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_topics_of_a_pattern_are_bounded(place: Place) -> None:
    """However many topics a pattern finds, a source has so many series and no more, and all records count."""
    topics = [place.kafka.create_topic(f"{place.raw}.many-{number}") for number in range(MOST_TOPICS + 5)]
    file_settings = place.settings(topics=None, MODEL__PATH="none") | {
        "LOGLOOM_SOURCES__MANY__TOPIC_PATTERN": re.escape(place.raw) + r"\.many-.*"
    }
    with running(file_settings) as worker:
        for topic in topics:
            place.send([b"took 5 ms"], topic=topic)
        worker.wait_for(len(topics))
        series = re.findall(r'^logloom_records_total\{.*topic="(.*)"\} ([\d.]+)', worker.scrape(), re.MULTILINE)
    assert len(series) == MOST_TOPICS + 1
    assert dict(series)["other"] == "5.0"


def test_openmetrics_is_spoken_too(place: Place) -> None:
    """Whoever asks for OpenMetrics gets it, ended as its specification says."""
    with running(place.settings(MODEL__PATH="none")) as worker:
        request = urllib.request.Request(
            f"http://127.0.0.1:{worker._port}/metrics",
            headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  the same
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert answer.read().endswith(b"# EOF\n")
