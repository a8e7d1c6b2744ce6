"""What can be said of configurations without the program that reads them, and of the document that tells of them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.consumers.stream import CONSUMERS, ROOT
from worker.codec.events import event_schema

DOCUMENT = (ROOT / "docs" / "consumers.md").read_text()
FILES = sorted(path for path in CONSUMERS.rglob("*") if path.is_file() and path.suffix != ".pyc")


def load(name: str) -> dict[str, Any]:
    """Read one of the files in YAML."""
    loaded: dict[str, Any] = yaml.safe_load((CONSUMERS / name).read_text())
    return loaded


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(CONSUMERS)) for file in FILES])
def test_the_document_tells_of_every_file(file: Path) -> None:
    """Each is linked, or else nobody finds it."""
    assert f"(../{file.relative_to(ROOT)})" in DOCUMENT


def test_what_the_document_shows_is_in_the_files() -> None:
    """SQL and LogQL in it are parts of files, which other tests run or parse."""
    shown = re.findall(r"^```(?:sql|logql)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    texts = [file.read_text() for file in FILES]
    assert shown
    assert [block for block in shown if not any(block in text for text in texts)] == []


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(CONSUMERS)) for file in FILES])
def test_attributes_are_those_of_events(file: Path) -> None:
    """A name that no event has would find nothing, and say nothing."""
    schema: dict[str, Any] = event_schema()
    attributes = schema["properties"]["attributes"]["properties"]
    named = set(re.findall(r"""(?<=["'!])(?:logloom|log\.record)\.[\w.]+(?=["'%])""", file.read_text()))
    named -= {topic for topic in named if topic.startswith(("logloom.events", "logloom.templates", "logloom.dead"))}
    assert named <= attributes.keys()


def test_labels_of_loki_are_few() -> None:
    """A template's id is metadata and never a label, whoever brings the events: each label value is a stream."""
    vector = load("vector/vector.yaml")["sinks"]["loki"]
    assert vector["labels"].keys() == {"job", "source", "level"}
    assert "template_id" in vector["structured_metadata"]
    (fluent_bit,) = load("fluent-bit/fluent-bit.yaml")["pipeline"]["outputs"]
    labels = dict(one.strip().split("=", 1) for one in fluent_bit["labels"].split(","))
    assert labels.keys() == {"job", "source", "level_number"}
    assert "log.record.template.id" in fluent_bit["structured_metadata"]


def test_vector_is_whole() -> None:
    """What each part reads is there, and so is the program that shapes events."""
    vector = load("vector/vector.yaml")
    there = vector["sources"].keys() | vector["transforms"].keys()
    read = [one for part in ("transforms", "sinks") for each in vector[part].values() for one in each["inputs"]]
    assert set(read) <= there
    assert (CONSUMERS / "vector" / vector["transforms"]["shaped"]["file"]).is_file()
    shaped = (CONSUMERS / "vector" / "shape.vrl").read_text()
    fields = re.findall(r"\{\{ (\w+) \}\}", (CONSUMERS / "vector" / "vector.yaml").read_text())
    assert [name for name in fields if f'"{name}":' not in shaped] == []


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(CONSUMERS)) for file in FILES])
def test_whoever_reads_kafka_reads_committed_records(file: Path) -> None:
    """Events of transactions that were aborted must not be seen; ClickHouse's client does so by itself."""
    text = file.read_text()
    if re.search(r"kafka:9092|KafkaConsumer\(", text) and file.suffix in {".conf", ".yaml", ".py"}:
        assert re.search(r"""isolation[._]level["']?(=|: )"?read_committed""", text)
