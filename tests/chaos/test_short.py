"""The short form of `python -m tests.chaos`: some faults, on real servers, with real workers."""

import pytest

from tests.chaos.__main__ import run
from tests.chaos.faults import FAULTS
from tests.chaos.world import ProxiedBroker

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(280),
    # kafka-python, which feeds and checks, leaves a socket to the garbage collector when a killed broker refuses.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize(
    ("name", "delivery"),
    [
        ("kill", "exactly-once"),
        ("broker-cut", "exactly-once"),
        ("broker-killed", "at-least-once"),
        ("reload", "exactly-once"),
    ],
)
def test_faults_break_no_promise(broker: ProxiedBroker, name: str, delivery: str) -> None:
    """Nothing is lost, doubled beyond what is promised, out of order, or wrong."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    trial = run(broker, fault, delivery=delivery, seed=7, lines=5_000, rate=1_000)
    assert trial.is_right, trial
    assert trial.verdict.lines >= 5_000
