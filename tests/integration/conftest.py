"""The real servers that integration tests run on, one of each a session."""

import os
from collections.abc import Iterator

import pytest

from tests.kafka_broker import KafkaBroker, NoBroker, start_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """Give a real Apache Kafka; skip with the reason where none can be had, fail if LOGLOOM_REQUIRE_SERVERS=1."""
    try:
        broker = start_broker()
    except NoBroker as exc:
        if os.environ.get("LOGLOOM_REQUIRE_SERVERS") == "1":
            pytest.fail(str(exc))
        pytest.skip(str(exc))
    try:
        yield broker
    finally:
        broker.stop()
