"""The tables for ClickHouse, in ClickHouse's own engine, on what a real worker wrote to a real Kafka.

The engine that comes as a wheel has no Kafka tables. Tables of the kind Null stand in their place, which hand what is
inserted to the materialized views as Kafka tables do.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.consumers import clickhouse
from tests.consumers.stream import CONSUMERS, Stream, logs_of_one_record, write_lines, write_replaced
from tests.integration.test_worker import needs_weights

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.timeout(280),
    needs_weights,
    pytest.mark.skipif(find_spec("chdb") is None, reason="there is no ClickHouse engine (the wheel chdb-core-lite)"),
]

FOLDER = CONSUMERS / "clickhouse"
Rows = list[dict[str, Any]]


def statements(name: str) -> list[str]:
    """Read the statements of one of the files, without comments."""
    text = re.sub(r"^ *--.*\n", "", (FOLDER / name).read_text(), flags=re.MULTILINE)
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def tables() -> list[str]:
    """Return the statements that make the tables, with others in place of Kafka's."""
    queue = re.compile(r"\(raw String\)\nENGINE = Kafka\nSETTINGS.*", re.DOTALL)
    made = [queue.sub("(raw String, _error String) ENGINE = Null", statement) for statement in statements("tables.sql")]
    assert sum("ENGINE = Null" in statement for statement in made) == 2
    return made


def filled(folder: Path, *times: str) -> list[str]:
    """Return the statements that deliver the files of `folder`, once for each of `times`."""
    return [
        f"INSERT INTO logloom.{topic}_queue (raw) "  # noqa: S608  names of our own
        f"SELECT json FROM file('{folder}/{topic}.ndjson', JSONAsString)"
        for _ in times
        for topic in ("events", "templates")
    ]


def run(made: list[str], *queries: str) -> list[Rows]:
    """Run statements, and return the rows of each query."""
    done = subprocess.run(
        [sys.executable, clickhouse.__file__],
        input=json.dumps({"statements": made, "queries": queries}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: list[Rows] = json.loads(done.stdout)
    return answers


def test_every_query_answers(stream: Stream, tmp_path: Path) -> None:
    """Events delivered twice count once, and are what is in the topic."""
    stream.write(tmp_path)
    count, errors, numbers, new, current = run(
        tables() + filled(tmp_path, "first", "again"), *statements("queries.sql")
    )
    expected = Counter(stream.counts())
    assert [int(row["events"]) for row in count] == [events for _, events in expected.most_common(20)]
    wrong = [event for event in stream.events if event.get("severity_number", 0) >= 17]
    assert sum(int(row["events"]) for row in errors) == len(wrong)
    assert {row["template_id"] for row in numbers} <= expected.keys()
    assert new
    assert sum(int(row["events"]) for row in current) <= len(stream.events)


def test_logs_of_one_record_count_each(stream: Stream, tmp_path: Path) -> None:
    """Events of one record have one offset, and are told apart, also when they come again."""
    logs = logs_of_one_record(stream.events[0])
    write_lines(tmp_path / "events.ndjson", logs)
    write_lines(tmp_path / "templates.ndjson", stream.announcements)
    ((row,),) = run(tables() + filled(tmp_path, "first", "again"), "SELECT count() AS events FROM logloom.events FINAL")
    assert int(row["events"]) == len(logs)


def test_an_event_is_whole(stream: Stream, tmp_path: Path) -> None:
    """Each column is what the event says: times, parameters in order, and what has no column under its name."""
    event = next(
        event
        for event in stream.events
        if "timestamp" in event
        and event["attributes"]["log.record.parameters"]
        and "thread.name" in event["attributes"]
    )
    write_lines(tmp_path / "events.ndjson", [event])
    write_lines(tmp_path / "templates.ndjson", stream.announcements)
    ((row,),) = run(tables() + filled(tmp_path, "once"), "SELECT * FROM logloom.events")
    own = event["attributes"]
    assert row["happened_at"].rstrip("0") == event["timestamp"].replace("T", " ").rstrip("Z0")
    assert (row["severity"], row["severity_number"], row["body"]) == (
        event["severity_text"], event["severity_number"], event["body"],
    )  # fmt: skip
    assert (row["source"], row["template_id"], row["template"], row["topic"], int(row["offset"])) == (
        own["logloom.source"], own["log.record.template.id"], own["log.record.template"], own["logloom.topic"],
        own["logloom.offset"],
    )  # fmt: skip
    assert row["parameters"] == [
        {"name": one.get("name", ""), "type": one["type"], "value": one["value"]}
        for one in own["log.record.parameters"]
    ]
    assert row["attributes"]["thread.name"] == own["thread.name"]
    assert not any(name.startswith("logloom.") for name in row["attributes"])


def test_replaced_ids_are_followed_to_the_newest(stream: Stream, tmp_path: Path) -> None:
    """Events that carry an old id count for the template that took its place, through as many steps as there were."""
    newest = write_replaced(tmp_path, stream.events)
    (rows,) = run(tables() + filled(tmp_path, "once"), statements("queries.sql")[-1])
    assert [(row["template_id"], int(row["events"]), int(row["ids"])) for row in rows] == [(newest, 4, 3)]
