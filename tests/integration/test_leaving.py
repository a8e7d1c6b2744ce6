"""A worker that fails leaves its group, so that others have its partitions at once; a static member keeps its place."""

from pathlib import Path

import pytest

from tests.integration import faulty_worker
from tests.integration.test_worker import Place, fill, needs_weights, place
from tests.integration.worker_process import DELIVERIES, running
from tests.kafka_broker import KafkaBroker
from tests.redis_server import ForeignRedis, RedisServer

__all__ = ["place"]

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280)]

#: A session longer than any test: a member that is gone has left.
SESSION = {"KAFKA__SESSION_TIMEOUT_MS": "300000", "KAFKA__REQUEST_TIMEOUT_MS": "30000"}


def members(kafka: KafkaBroker, group: str) -> list[str | None]:
    """Ask the broker for a group's members; a static one by its name."""
    return [member["group_instance_id"] for member in kafka.members(group)]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(("static", "left"), [({}, []), ({"KAFKA__GROUP_INSTANCE_ID": "one"}, ["one"])])
def test_a_worker_that_fails_leaves(
    kafka: KafkaBroker,
    redis_server: RedisServer | ForeignRedis,
    place: Place,
    delivery: str,
    static: dict[str, str],
    left: list[str],
) -> None:
    """It is no member any more when its process has ended, and has committed nothing; a static one still is."""
    fill(redis_server, "took <*> ms")
    settings = place.settings(redis=redis_server.url, MODEL__PATH="none", KAFKA__DELIVERY=delivery, **SESSION, **static)
    settings["LOGLOOM_OUTPUT__TOPIC"] = kafka.new_topic("narrow")
    with running(settings) as worker:
        assert len(members(kafka, place.group)) == 1
        place.send([b"took 1 ms"], partition=1)
        assert worker.process.wait(90) == 1
        assert members(kafka, place.group) == left
    assert place.committed() == 0


@needs_weights
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_worker_that_fails_during_a_rebalance_leaves(place: Place, tmp_path: Path, delivery: str) -> None:
    """Another one that joins meanwhile has all partitions long before the session ends, and does what was not done."""
    control = tmp_path / "model"
    control.write_text("hang")
    settings = place.settings(KAFKA__DELIVERY=delivery, **SESSION)
    failing = {**settings, faulty_worker.VARIABLE: str(control), "LOGLOOM_MODEL__TIMEOUT_SECONDS": "20"}
    with running(failing, module=faulty_worker.__name__) as worker:
        place.send([b"red spoon folded 3 napkins"], partition=1)
        worker.wait(lambda: worker.metrics()["logloom_batches_in_flight"] > 0, what="a batch in flight")
        with running(settings, is_ready=False) as other:
            assert worker.process.wait(90) == 1
            assert other.process.poll() is None
            other.wait_until_ready()
            other.wait_for(1)
            assert other.terminate() == 0
    assert len(place.bodies(1)) == 1
