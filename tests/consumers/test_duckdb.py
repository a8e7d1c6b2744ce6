"""The SQL for DuckDB, run on what a real worker wrote to a real Kafka."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.consumers.stream import CONSUMERS, Event, Stream, logs_of_one_record, write_lines, write_replaced
from tests.integration.test_worker import needs_weights

duckdb = pytest.importorskip("duckdb")
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]

FOLDER = CONSUMERS / "duckdb"
QUERIES = sorted(file.stem for file in FOLDER.glob("*.sql") if file.stem != "views")


@pytest.fixture(autouse=True)
def _folder(stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the files of `logloom tail` lie, as the views expect it."""
    stream.write(tmp_path)
    monkeypatch.chdir(tmp_path)


def asked(query: str) -> list[dict[str, Any]]:
    """Ask one of the files, or SQL of a test's own, after the views."""
    file = FOLDER / f"{query}.sql"
    with duckdb.connect() as connection:
        connection.execute((FOLDER / "views.sql").read_text())
        answer = connection.execute(file.read_text() if file.is_file() else query)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def of_day(event: Event, day: int) -> Event:
    """Return an event as it would have been at noon of a day in May, under an offset of its own."""
    attributes = event["attributes"] | {"logloom.offset": event["attributes"]["logloom.offset"] + day * 1_000_000}
    return event | {"timestamp": f"2026-05-{day:02}T12:00:00Z", "attributes": attributes}


@pytest.mark.parametrize("query", [query for query in QUERIES if query not in {"new_templates", "vanished_templates"}])
def test_every_query_answers(query: str) -> None:
    """Each says something of real events; two depend on when these were, and have a test of their own."""
    assert asked(query)


def test_events_by_template(stream: Stream) -> None:
    """They are those in the topic; the parts of a source are of a hundred."""
    counts = Counter(stream.counts())
    assert [row["events"] for row in asked("count_by_template")] == [count for _, count in counts.most_common(20)]
    assert asked("SELECT count(*) AS events FROM events") == [{"events": len(stream.events)}]


def test_a_second_delivery_counts_nothing(stream: Stream) -> None:
    """What at-least-once delivery doubled is left out."""
    once = asked("count_by_template")
    write_lines(Path("events.ndjson"), stream.events + stream.events)
    assert asked("count_by_template") == once


def test_logs_of_one_record_count_each(stream: Stream) -> None:
    """Events of one record have one offset, and are told apart by their place in it, and by what they say."""
    logs = logs_of_one_record(stream.events[0])
    write_lines(Path("events.ndjson"), [*logs, *logs])
    assert asked("SELECT count(*) AS events FROM events") == [{"events": len(logs)}]


def test_without_a_templates_topic(stream: Stream) -> None:
    """An empty file of announcements leaves every event under its own id."""
    Path("templates.ndjson").write_text("")
    assert sorted(row["events"] for row in asked("current_templates")) == sorted(
        count for _, count in Counter(stream.counts()).most_common(20)
    )


def test_numbers_of_parameters(stream: Stream) -> None:
    """Percentiles are those of the values in the topic."""
    numbers: dict[tuple[str, int], list[float]] = {}
    for event in stream.events:
        for place, one in enumerate(event["attributes"]["log.record.parameters"], 1):
            if one["type"] in {"integer", "float"}:
                template = event["attributes"]["log.record.template.id"]
                numbers.setdefault((template, place), []).append(float(one["value"]))
    for row in asked("percentiles"):
        values = numbers[row["template_id"], row["place"]]
        assert (row["numbers"], row["most"]) == (len(values), max(values))
        assert (row["p50"], row["p95"]) == pytest.approx(tuple(np.quantile(values, (0.5, 0.95))))


def test_addresses(stream: Stream) -> None:
    """A port is no part of the address."""
    found = Counter(
        one["value"].rsplit(":", 1)[0] if one["type"] == "ip:port" else one["value"]
        for event in stream.events
        for one in event["attributes"]["log.record.parameters"]
        if one["type"] in {"ip", "ip:port"}
    )
    most = sorted(found.items(), key=lambda one: (-one[1], one[0]))[:20]
    assert [(row["address"], row["events"]) for row in asked("by_address")] == most


def test_what_is_new_and_what_has_vanished(stream: Stream) -> None:
    """A template is new where its first event is of the last day, and has vanished where its last is older."""
    counts = Counter(stream.counts())
    gone, known = (template for template, _ in counts.most_common(2))
    templates = [event["attributes"]["log.record.template.id"] for event in stream.events]
    before = [
        of_day(event, 20) for event, template in zip(stream.events, templates, strict=True) if template in {gone, known}
    ]
    now = [of_day(event, 23) for event, template in zip(stream.events, templates, strict=True) if template != gone]
    write_lines(Path("events.ndjson"), before + now)
    assert {row["template_id"] for row in asked("new_templates")} == counts.keys() - {gone, known}
    assert [(row["template_id"], row["events"]) for row in asked("vanished_templates")] == [(gone, counts[gone])]


def test_replaced_ids_are_followed_to_the_newest(stream: Stream) -> None:
    """Events that carry an old id count for the template that took its place, through as many steps as there were."""
    newest = write_replaced(Path(), stream.events)
    assert [(row["template_id"], row["template"], row["events"], row["ids"]) for row in asked("current_templates")] == [
        (newest, "user <*> <*>", 4, 3)
    ]
    assert asked("vanished_templates") == []
