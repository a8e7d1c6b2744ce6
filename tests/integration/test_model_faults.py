"""What the whole worker does when its model fails, on a real broker."""

from pathlib import Path

import pytest

from tests.integration import faulty_worker
from tests.integration.test_worker import Place, needs_weights, place
from tests.integration.worker_process import running

__all__ = ["place"]

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]

#: Messages of kinds that no known template is like.
_LINES = [b"%s spoon folded %d napkins" % (word, number) for number, word in enumerate((b"red", b"blue", b"green"), 3)]


def test_one_message_that_the_model_fails_at_stops_nobody(place: Place, tmp_path: Path) -> None:
    """It is a dead letter that says why; the others become events, in halves where the device lacks memory."""
    control = tmp_path / "model"
    control.write_text("poisoned fork")
    settings = {**place.settings(), faulty_worker.VARIABLE: str(control)}
    with running(settings, module=faulty_worker.__name__) as worker:
        place.send([*_LINES, b"a fork is bent"])
        worker.wait_for(4)
        (letter,) = place.read(place.dead, 1)
        assert letter.value == b"a fork is bent"
        told = dict(letter.headers)
        assert told["logloom.reason"] == b"model_failed"
        assert b"fork on purpose" in told["logloom.error"]
        control.write_text("lack 1")
        place.send([b"nine %s chairs" % word for word in (b"tall", b"low, wide", b"(broken)", b"and [ten]")])
        worker.wait_for(8)
        assert worker.metrics()["logloom_model_halvings_total"] > 0
        assert worker.metrics()["logloom_dead_letters_total"] == 1
        assert worker.process.poll() is None
    assert len(place.bodies(7)) == 7


@pytest.mark.parametrize(
    ("fault", "said"), [("raise", "the model fails on purpose"), ("hang", "where each thread stands")]
)
def test_a_model_that_fails_at_everything_stops_the_process(
    place: Place, tmp_path: Path, fault: str, said: str
) -> None:
    """It ends with 1, whatever its threads do, and commits nothing; the next worker does all, each line once."""
    control = tmp_path / "model"
    control.write_text(fault)
    more = {"MODEL__TIMEOUT_SECONDS": "2", "KAFKA__DELIVERY": "exactly-once"}
    settings = {**place.settings(**more), faulty_worker.VARIABLE: str(control)}
    place.send(_LINES)
    with running(settings, module=faulty_worker.__name__, is_ready=False) as worker:
        assert worker.process.wait(120) == 1
        assert said in worker.log
    assert place.committed() == 0
    control.write_text("")
    with running(settings, module=faulty_worker.__name__) as worker:
        worker.wait_for(3)
    assert place.bodies(3) == sorted(line.decode() for line in _LINES)
