"""A broker behind a proxy, for all tests here."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.chaos.world import ProxiedBroker, started
from tests.kafka_broker import JavaBroker, KafkaBroker


def pytest_runtest_logfinish() -> None:
    """Close the sockets that kafka-python leaves to the garbage collector, so that no later test is blamed.

    Their errors hold them, and pytest holds those, as part of what was logged, until the test is over.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="package")
def broker(kafka: KafkaBroker) -> Iterator[ProxiedBroker]:
    """Give a broker of one's own, to be killed; skip where only somebody else's can be had."""
    if not isinstance(kafka, JavaBroker):
        pytest.skip("faults need a broker on this machine's Java")
    with started(ProxiedBroker()) as broker:
        yield broker
