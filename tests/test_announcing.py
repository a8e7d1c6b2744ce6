"""What is said of templates: one record each, acknowledged before anyone goes on."""

import asyncio
import json

import pytest

from tests.fakes import FakeProducer
from worker.announcing import Announcer
from worker.errors import DeliveryFailed
from worker.parsing.templates import Template

ONE, OTHER = Template.from_text("user <*> left"), Template.from_text("user bob left")


def announcer(producer: FakeProducer) -> Announcer:
    """Announce the templates of `app` at a fixed time."""
    return Announcer(
        producer=producer.as_producer,
        topic="templates",
        source="app",
        parser_version="base-1",
        clock_ns=lambda: 1_500_000,
    )


async def test_new_templates_and_those_they_replace() -> None:
    """Each has a record under source and id; the new one names what it replaces, the former what took its place."""
    producer = FakeProducer()
    await announcer(producer)([ONE, Template.from_text("ready")], {OTHER.id: ONE.id})
    common = {"source": "app", "parser_version": "base-1", "time": "1970-01-01T00:00:00.001Z"}
    ready = Template.from_text("ready")
    assert [
        {"id": ONE.id, "template": "user <*> left", "parameters": [None], "reason": "settled", "replaces": [OTHER.id],
         "replaced_by": None, **common},
        {"id": ready.id, "template": "ready", "parameters": [], "reason": "new", "replaces": [], "replaced_by": None,
         **common},
        {"id": OTHER.id, "reason": "replaced", "replaces": [], "replaced_by": ONE.id, **common},
    ] == [json.loads(record.value or b"") for record in producer.of("templates")]  # fmt: skip
    assert [f"app:{one.id}".encode() for one in (ONE, ready, OTHER)] == [record.key for record in producer.produced]


async def test_it_waits_for_the_broker() -> None:
    """Nobody goes on before the broker has acknowledged; what it refuses is raised."""
    producer = FakeProducer()
    producer.may_deliver.clear()
    announcing = asyncio.create_task(announcer(producer)([ONE], {}))
    ended, _ = await asyncio.wait([announcing], timeout=0.01)
    assert (set(), 1) == (ended, len(producer.produced))
    producer.may_deliver.set()
    await announcing
    producer.fails = True
    with pytest.raises(DeliveryFailed):
        await announcer(producer)([ONE], {})
