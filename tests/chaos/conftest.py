"""A broker behind a proxy, for all tests here."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.chaos.world import ProxiedBroker
from tests.kafka_broker import JavaBroker, KafkaBroker


@pytest.fixture(scope="package")
def broker(kafka: KafkaBroker) -> Iterator[ProxiedBroker]:
    """Give a broker of one's own, to be killed; skip where only somebody else's can be had."""
    if not isinstance(kafka, JavaBroker):
        pytest.skip("faults need a broker on this machine's Java")
    broker = ProxiedBroker()
    try:
        broker.start()
        broker.proxy.start()
        yield broker
    finally:
        broker.proxy.stop()
        broker.stop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # as above, before a later test is blamed
            gc.collect()
