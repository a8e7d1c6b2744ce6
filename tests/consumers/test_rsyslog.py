"""A real rsyslog lays what a real worker wrote to a real Kafka into files."""

from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from tests.consumers.adapted import adapted
from tests.consumers.rsyslog_server import complaints, require_rsyslog, rsyslog
from tests.consumers.stream import CONSUMERS, SOURCES, Stream
from tests.integration.test_worker import needs_weights
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]


def lines(folder: Path) -> Counter[str]:
    """Count the lines of each file."""
    return Counter({file.name: file.read_bytes().count(b"\n") for file in folder.glob("*.log")})


def test_a_file_per_source_and_errors_apart(stream: Stream, tmp_path: Path) -> None:
    """Every event is one line of its source's file, whatever control characters it holds; errors stand apart too."""
    require_rsyslog("imkafka.so")
    (tmp_path / "logs").mkdir()
    (tmp_path / "spool").mkdir()
    file = tmp_path / "events.conf"
    changes = {
        "kafka:9092": stream.kafka.bootstrap,
        '"logloom.events"': f'"{stream.events_topic}"',
        'consumergroup="rsyslog"': f'consumergroup="rsyslog-{uuid4().hex[:8]}"',
        "/var/spool/rsyslog": str(tmp_path / "spool"),
        "/var/log/logloom": str(tmp_path / "logs"),
    }
    file.write_text(adapted(CONSUMERS / "rsyslog" / "events.conf", changes))
    assert complaints(file) == ""
    expected = Counter(f"{event['attributes']['logloom.source']}.log" for event in stream.events)
    expected += Counter(
        f"{event['attributes']['logloom.source']}.errors.log"
        for event in stream.events
        if event.get("severity_number", 0) >= 17
    )
    with rsyslog(file):
        wait_until(lambda: lines(tmp_path / "logs").total() >= expected.total(), seconds=60, what="lines")
    assert lines(tmp_path / "logs") == expected
    assert {f"{source}.log" for source in SOURCES} < expected.keys()
    first = next(event for event in stream.events if event["attributes"]["logloom.source"] == "java-billing")
    line = (tmp_path / "logs" / "java-billing.log").read_text().splitlines()[0]
    own = first["attributes"]
    assert line == f"{first['timestamp']} {first['severity_text']} {own['log.record.template.id']} {first['body']}"
