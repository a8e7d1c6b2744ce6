"""Redaction in a whole worker, on a real Apache Kafka and a real Redis: nothing redacted is in what it writes."""

from pathlib import Path

import pytest

from tests.integration.test_worker import fill, new_place
from tests.integration.worker_process import running
from tests.kafka_broker import KafkaBroker
from tests.redis_server import ForeignRedis, RedisServer
from worker.parsing.redaction import pseudonym

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280)]

_KEY = b"0123456789abcdef"


@pytest.fixture
def templates(empty_redis: RedisServer | ForeignRedis) -> RedisServer | ForeignRedis:
    """Give a Redis that holds templates that were learned without redaction."""
    fill(empty_redis, "user=<*> from <*>", "mailed bob@example.com in <*> ms")
    return empty_redis


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_no_value_reaches_the_events(
    kafka: KafkaBroker, templates: RedisServer | ForeignRedis, tmp_path: Path, form: str
) -> None:
    """Two workers one after the other write the same pseudonyms; a dead letter is the record as it was."""
    place = new_place(kafka)
    (tmp_path / "key").write_bytes(_KEY + b"\n")
    settings = place.settings(
        redis=templates.url,
        MODEL__PATH="none",
        OUTPUT__FORMAT=form,
        REDACT__IP="hash",
        REDACT__USER="hash",
        REDACT__EMAIL="mask",
        REDACT__KEY_FILE=str(tmp_path / "key"),
    )
    lines = [
        b"user=alice from 10.9.8.7",
        b"mailed bob@example.com in 12 ms",
        b'{"message":"user=alice from 10.9.8.7","client":{"ip":"10.9.8.7"},"user":"alice"}',
    ]
    for _ in range(2):
        place.send([*lines, b"no template for 10.9.8.7"])
        with running(settings) as worker:
            worker.wait_for(len(lines) + 1, seconds=120)  # the first may compile kernels
            assert worker.terminate() == 0
            assert _KEY.decode() not in worker.log
            assert worker.log.count("values are redacted in events alone") == 1
    values = [record.value for record in place.read(place.events, 2 * len(lines))]
    for value in values:
        assert not [secret for secret in (b"alice", b"bob@", b"10.9.8.7") if secret in value]
    address = f"<ip:{pseudonym(_KEY, 'ip', b'10.9.8.7')}>".encode()
    user = f"<user:{pseudonym(_KEY, 'user', b'alice')}>".encode()
    assert sum(b"user=" + user + b" from " + address in value for value in values) == 4
    assert sum(b"mailed <email> in <*> ms" in value for value in values) == 2
    assert {record.value for record in place.read(place.dead, 2)} == {b"no template for 10.9.8.7"}
