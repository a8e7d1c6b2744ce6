"""What every test shares: a real Kafka and a real Redis, one a session, and kernels that run with bounds checks.

A kernel's read outside a column fails so instead of passing.
"""

import os
from collections.abc import Iterator

import hypothesis
import numba
import pytest

from tests.absent import absent
from tests.kafka_broker import KafkaBroker, NoBroker, start_broker

os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
# pytest's warning filters name one of numba's classes, which imports numba before this file sets the variable.
numba.config.reload_config()

# The first example of a property may compile a kernel, which takes seconds.
hypothesis.settings.register_profile("kernels", deadline=None)
hypothesis.settings.load_profile("kernels")

pytest_plugins = ("tests.redis_server",)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """Give a real Apache Kafka; skip with the reason where none can be had, fail if LOGLOOM_REQUIRE_SERVERS=1."""
    try:
        broker = start_broker()
    except NoBroker as exc:
        absent(exc)
    try:
        yield broker
    finally:
        broker.stop()
