"""What a real worker makes of the demo's samples on a real Kafka: the topics that consumers read, and their records."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.integration.worker_process import environment, running
from tests.kafka_broker import KafkaBroker
from worker.cli import cli
from worker.settings import Kafka
from worker.transport.admin import producer

ROOT = Path(__file__).parents[2]
#: The configurations that `docs/consumers.md` speaks of.
CONSUMERS = ROOT / "deploy" / "consumers"
SAMPLES = ROOT / "deploy" / "demo" / "samples"
#: The name of its source and topic, and the envelope; among them are numbers, addresses, stack traces and levels.
SOURCES = {"java-billing": "raw", "json-orders": "json", "nginx-error": "raw"}
#: A raw log that becomes a dead letter.
BROKEN = b'{"msg": "cut'

Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Topics that a worker has written, and what it wrote."""

    kafka: KafkaBroker
    events_topic: str
    templates_topic: str
    dead_letter_topic: str
    #: In the order of the topic, which has one partition.
    events: list[Event]
    announcements: list[dict[str, Any]]

    def counts(self) -> dict[str, int]:
        """Count events by template."""
        counts: dict[str, int] = {}
        for event in self.events:
            template = event["attributes"]["log.record.template.id"]
            counts[template] = counts.get(template, 0) + 1
        return counts

    def write(self, folder: Path) -> None:
        """Lay the files that `logloom tail --all --json` would write into `folder`."""
        write_lines(folder / "events.ndjson", self.events)
        write_lines(folder / "templates.ndjson", self.announcements)


def logs_of_one_record(event: Event) -> list[Event]:
    """Make events of logs that came in one record: two alike, and one that another delivery joined another way."""
    first, second = (event | {"attributes": event["attributes"] | {"logloom.index": index}} for index in range(2))
    return [first, second, second | {"body": "the same place in the record, other lines"}]


def write_lines(file: Path, values: list[dict[str, Any]]) -> None:
    """Write a JSON object per line."""
    file.write_text("".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values), encoding="utf-8")


def write_replaced(folder: Path, events: list[Event]) -> str:
    """Lay files of four events into `folder`, whose templates became one in two steps; return its id."""
    first, second, third = (f"{number:016x}" for number in (1, 2, 3))
    told: list[dict[str, Any]] = [
        {"id": first, "template": "user bob left", "reason": "new", "replaced_by": None},
        {"id": second, "template": "user <*> left", "reason": "settled", "replaced_by": None},
        {"id": first, "reason": "replaced", "replaced_by": second},
        {"id": third, "template": "user <*> <*>", "reason": "settled", "replaced_by": None},
        {"id": second, "reason": "replaced", "replaced_by": third},
    ]
    common = {"source": "app", "parser_version": "base"}
    lines = [one | common | {"time": f"2026-11-23T10:00:0{place}.000Z"} for place, one in enumerate(told)]
    write_lines(folder / "templates.ndjson", lines)
    ids = [first, second, second, third]
    own = [{"logloom.source": "app", "log.record.template.id": template} for template in ids]
    carried = [
        event | {"attributes": event["attributes"] | changed} for event, changed in zip(events, own, strict=False)
    ]
    write_lines(folder / "events.ndjson", carried)
    return third


def told(kafka: KafkaBroker, topic: str) -> list[dict[str, Any]]:
    """Read a topic as an operator does, with `logloom tail`."""
    result = CliRunner().invoke(cli, ["tail", "--all", "--json", "--topic", topic, "--broker", kafka.bootstrap])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@contextmanager
def streamed(kafka: KafkaBroker, folder: Path) -> Iterator[Stream]:
    """Let a worker read the samples, exactly once, and give what it made of them."""
    raw = {source: kafka.new_topic(source) for source in SOURCES}
    events, dead, templates = (kafka.new_topic(name) for name in ("events", "dead", "templates"))
    file = folder / "logloom.toml"
    file.write_text(
        "\n".join(
            f'[sources.{source}]\ntopics = ["{raw[source]}"]\nenvelope = "{envelope}"'
            for source, envelope in SOURCES.items()
        )
    )
    settings = environment(
        kafka,
        topics=None,
        events=events,
        dead=dead,
        group=f"group-{events}",
        CONFIG=str(file),
        OUTPUT__TEMPLATES_TOPIC=templates,
        KAFKA__DELIVERY="exactly-once",
    )
    with running(settings) as worker:
        sent = 0
        with producer(Kafka(bootstrap_servers=(kafka.bootstrap,)), linger_ms=5) as opened:
            for source in SOURCES:
                lines = [*(SAMPLES / f"{source}.log").read_bytes().splitlines()]
                lines += [BROKEN] if source == "json-orders" else []
                for line in lines:
                    opened.send(raw[source], line, key=source.encode())
                sent += len(lines)
            opened.flush()
        worker.wait_for(sent)
        assert worker.terminate() == 0
    yield Stream(
        kafka=kafka,
        events_topic=events,
        templates_topic=templates,
        dead_letter_topic=dead,
        events=told(kafka, events),
        announcements=told(kafka, templates),
    )
