"""One real stream of events for all tests of consumers."""

from collections.abc import Iterator

import pytest

from tests.consumers.stream import Stream, streamed
from tests.kafka_broker import KafkaBroker


@pytest.fixture(scope="session")
def stream(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    """Give the topics that a worker wrote, which nobody changes."""
    with streamed(kafka, tmp_path_factory.mktemp("stream")) as written:
        yield written
