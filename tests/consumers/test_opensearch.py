"""A real rsyslog hands what a real worker wrote to a real Kafka to a real OpenSearch."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.absent import absent
from tests.consumers.adapted import adapted
from tests.consumers.opensearch_server import OpenSearch
from tests.consumers.rsyslog_server import complaints, require_rsyslog, rsyslog
from tests.consumers.stream import CONSUMERS, Event, Stream, logs_of_one_record
from tests.integration.test_worker import needs_weights
from tests.kafka_broker import wait_until
from tests.maven import NotFetched

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]

FOLDER = CONSUMERS / "opensearch"
#: The data stream.
EVENTS = "logloom.events"


@pytest.fixture(scope="module")
def server() -> Iterator[OpenSearch]:
    """Give an OpenSearch set up as the document says."""
    try:
        opensearch = OpenSearch()
    except NotFetched as exc:
        absent(exc)
    try:
        opensearch.start()
        opensearch.ask("PUT", "/_ingest/pipeline/logloom-events", (FOLDER / "pipeline.json").read_bytes())
        opensearch.ask("PUT", "/_index_template/logloom-events", (FOLDER / "index-template.json").read_bytes())
        yield opensearch
    finally:
        opensearch.stop()


@pytest.fixture(autouse=True)
def _empty(server: OpenSearch) -> Iterator[None]:
    """Leave no events to the next test."""
    yield
    server.ask("DELETE", f"/_data_stream/{EVENTS}")


def create(server: OpenSearch, events: list[Event], *, ids: str = "sink") -> list[int]:
    """Send events as a sink does, under ids of its own, and return the status of each."""
    lines: list[dict[str, Any]] = []
    for number, event in enumerate(events):
        lines += [{"create": {"_id": f"{ids}-{number}"}}, event]
    body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    answer = server.ask("POST", f"/{EVENTS}/_bulk?refresh=true", body, kind="application/x-ndjson")
    return [item["create"]["status"] for item in answer["items"]]


def count(server: OpenSearch, query: dict[str, Any] | None = None) -> int:
    """Count the documents that answer a query; those that are there where it is None."""
    server.ask("POST", f"/{EVENTS}/_refresh")
    body = json.dumps({"query": query or {"match_all": {}}}).encode()
    return int(server.ask("POST", f"/{EVENTS}/_count", body)["count"])


def test_rsyslog_brings_them(server: OpenSearch, stream: Stream, tmp_path: Path) -> None:
    """Every event is a document, and the counts by template are those of the topic."""
    require_rsyslog("imkafka.so")
    require_rsyslog("omelasticsearch.so")
    file = tmp_path / "opensearch.conf"
    (tmp_path / "spool").mkdir()
    changes = {
        "kafka:9092": stream.kafka.bootstrap,
        'topic="logloom.events"': f'topic="{stream.events_topic}"',
        'consumergroup="rsyslog-opensearch"': f'consumergroup="rsyslog-{uuid4().hex[:8]}"',
        "/var/spool/rsyslog": str(tmp_path / "spool"),
        "/var/log/logloom": str(tmp_path),
        "http://opensearch:9200": server.address,
    }
    file.write_text(adapted(CONSUMERS / "rsyslog" / "opensearch.conf", changes))
    assert complaints(file) == ""
    create(server, stream.events[:1])  # the data stream is there from now on
    with rsyslog(file):
        wait_until(lambda: count(server) >= len(stream.events), seconds=90, what="documents")
    assert count(server) == len(stream.events)
    answer = server.ask("POST", f"/{EVENTS}/_search", (FOLDER / "count-by-template.json").read_bytes())
    found = {one["key"]: one["doc_count"] for one in answer["aggregations"]["templates"]["buckets"]}
    assert sorted(found.values()) == sorted(count for _, count in Counter(stream.counts()).most_common(20))
    assert found.items() <= stream.counts().items()


def test_a_second_delivery_makes_no_second_document(server: OpenSearch, stream: Stream) -> None:
    """It is refused as being there, whatever id it was sent under; logs of one record are told apart."""
    logs = logs_of_one_record(stream.events[0])
    assert create(server, logs) == [201] * len(logs)
    assert create(server, logs, ids="again") == [409] * len(logs)
    assert count(server) == len(logs)


def test_what_is_searched_by(server: OpenSearch, stream: Stream) -> None:
    """Source, template, severity and type are fields; all other attributes answer by their names."""
    events = [event for event in stream.events if event["attributes"]["logloom.source"] == "java-billing"]
    assert set(create(server, events)) == {201}
    first = events[0]["attributes"]
    template, text = first["log.record.template.id"], first["log.record.template"]
    alike = [event for event in events if event["attributes"]["log.record.template.id"] == template]
    assert (
        len(alike) == count(server, {"term": {"template_id": template}}) == count(server, {"term": {"template": text}})
    )
    wrong = [event for event in events if event.get("severity_number", 0) >= 17]
    assert len(wrong) == count(server, {"range": {"severity_number": {"gte": 17}}})
    name, value = next((name, value) for name, value in first.items() if name.startswith("log.record.parameter."))
    expected = sum(event["attributes"].get(name) == value for event in events)
    assert 0 < expected == count(server, {"term": {f"attributes.{name}": value}})


def test_without_the_pipeline_they_would_be_refused(server: OpenSearch, stream: Stream) -> None:
    """Names that go on after a dot can't be fields of an index by themselves: this is what the pipeline is for."""
    server.ask("PUT", "/plain")
    attributes = {"log.record.template": "took <*>", "log.record.template.id": "0" * 16}
    with pytest.raises(RuntimeError, match=r"mapper_parsing_exception|illegal_argument_exception"):
        server.ask("POST", "/plain/_doc", json.dumps(stream.events[0] | {"attributes": attributes}).encode())
