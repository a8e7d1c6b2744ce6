"""Lines of a file take the worker's path without Kafka and Redis: one JSON line each, in order."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns_of import records_of
from tests.fakes import RuleParser
from tests.parsing.checkpoints import write_small
from worker.cache.misses import Misses
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import Envelope
from worker.codec.events import event_schema
from worker.codec.header_finder import HeaderFinder
from worker.errors import WrongFormat, WrongModel, WrongSettings
from worker.offline import FileParser, TemplateFile, templates_folder
from worker.parsing.checkpoint import KNOWN, checkpoint_version, prompt_folder
from worker.parsing.known import write_known
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.templates import Template
from worker.pipeline import SourcePath


@asynccontextmanager
async def file_parser(
    *, envelope: str = "raw", unparsable: bytes | None = None, memory: TemplateFile | None = None
) -> AsyncIterator[FileParser]:
    """Assemble a parser of files with a rule-based one in the model's place."""
    parser = RuleParser(unparsable=unparsable)
    model = MicroBatcher(parser, deadline_seconds=0)
    cache = TemplateCache(max_templates=1000, max_fingerprints=1024)
    for template in memory.read() if memory else ():
        cache.add(template)
    path = SourcePath(
        name="file",
        finder=HeaderFinder(["none"], zone="UTC", source="file"),
        misses=Misses(cache=cache, store=None, model=model, scope="file"),
        parser_version=parser.version,
        resource={},
    )
    file = FileParser(path=path, envelope=Envelope(envelope), model=model, memory=memory)
    try:
        yield file
    finally:
        await file.close()


async def parsed(file: FileParser, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Parse lines and decode what comes out."""
    out = bytes(await file.parse(records_of(lines)))
    assert out.endswith(b"\n")
    return [json.loads(line) for line in out.split(b"\n")[:-1]]


async def test_every_line_is_an_event() -> None:
    """Events come in the order of the lines and know nothing of topics."""
    async with file_parser() as file:
        events = await parsed(file, [b"took 1 ms", b"", b"sent 2 bytes", b"took 3 ms"])
    schema = jsonschema.Draft202012Validator(event_schema())
    for event in events:
        schema.validate(event)
    assert [event["body"] for event in events] == ["took 1 ms", "", "sent 2 bytes", "took 3 ms"]
    assert events[0]["attributes"]["log.record.template"] == "took <*> ms"
    assert not {"logloom.topic", "logloom.partition", "logloom.offset"} & events[0]["attributes"].keys()


async def test_what_fails_says_why_in_its_place() -> None:
    """A line that can't become an event becomes a line that says why; the others stay where they are."""
    async with file_parser(envelope="json", unparsable=b"boom") as file:
        lines = [b'{"message":"took 1 ms"}', b'{"mess', b'{"message":"boom"}', b'{"message":"took 2 ms"}']
        events = await parsed(file, lines)
    assert [event["body"] for event in events] == ["took 1 ms", '{"mess', '{"message":"boom"}', "took 2 ms"]
    assert [event["attributes"].get("logloom.reason") for event in events] == [
        None, "undecodable", "unparsable", None,
    ]  # fmt: skip


@settings(max_examples=60)
@given(lines=st.lists(st.binary(max_size=20) | st.just(b"boom"), min_size=1, max_size=20))
async def test_whatever_a_file_holds_lines_stay_lines(lines: list[bytes]) -> None:
    """Random bytes give as many strict JSON lines as there were lines, each with its text."""
    async with file_parser(unparsable=b"boom") as file:
        events = await parsed(file, lines)
    stripped = [line.rstrip(b"\r\n") for line in lines]
    bodies = [event["body"] for event in events]
    for line, text, body in zip(lines, stripped, bodies, strict=True):
        assert body in {line.decode(errors="replace"), text.decode(errors="replace")}


async def test_templates_are_kept_between_runs(tmp_path: Path) -> None:
    """A second run knows what the first one learned."""
    memory = TemplateFile(tmp_path / "deep" / "file.msgpack")
    async with file_parser(memory=memory) as file:
        assert (await parsed(file, [b"took 1 ms"]))[0]["attributes"]["logloom.cache"] == "miss"
    async with file_parser(memory=memory) as file:
        assert (await parsed(file, [b"took 2 ms"]))[0]["attributes"]["logloom.cache"] == "hit"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["file.msgpack"]


@pytest.mark.parametrize("held", [b"", b"\xc1", b"\x93\x01\x02", b"\x91\xc4\x01x", b"\x80"])
def test_a_broken_file_counts_as_absent(tmp_path: Path, held: bytes) -> None:
    """What is no list of templates is no error: the run writes it anew."""
    path = tmp_path / "file.msgpack"
    path.write_bytes(held)
    assert TemplateFile(path).read() == []
    TemplateFile(path).write([Template.from_text("took <*> ms")])
    assert [template.text for template in TemplateFile(path).read()] == ["took <*> ms"]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A run whose templates can't be kept says so and does not fail: its events are out already."""
    (tmp_path / "file").write_bytes(b"")
    with structlog.testing.capture_logs() as logs:
        TemplateFile(tmp_path / "file" / "below.msgpack").write([Template.from_text("a")])
    assert [log["event"] for log in logs] == ["templates are not kept for the next run"]


@pytest.mark.parametrize("source", ["a/b", "..", "\u00e9" * 300, "plain name"])
async def test_any_source_has_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Templates are kept under any name, and always below the cache's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = FileParser.open(source=source, model=None)
    assert file._memory is not None
    file._memory.write([Template.from_text("a")])
    await file.close()
    assert [path.parent for path in templates_folder().rglob("*.msgpack")] == [templates_folder() / "none"]


async def test_without_a_model_what_is_known_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `model=None` only kept templates are used; `forget` leaves them alone too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    TemplateFile(templates_folder() / "none" / "app.msgpack").write([Template.from_text("took <*> ms")])
    for forget, expected in ((False, None), (True, "unparsable")):
        file = FileParser.open(source="app", model=None, forget=forget)
        (event,) = await parsed(file, [b"took 1 ms"])
        assert event["attributes"].get("logloom.reason") == expected
        await file.close()


async def test_each_prompt_keeps_its_own_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events name the prompt's version, and the next run finds its templates under it alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_small(tmp_path / "taught")
    for name, template in (("mail", "took <*> s"), ("web", "took 1 <*>")):
        write_known(prompt_folder(folder, name) / KNOWN, [Template.from_text(template)])
    for name, template, cache in (
        ("mail", "took <*> s", "miss"), ("web", "took 1 <*>", "miss"), ("mail", "took <*> s", "hit"),
    ):  # fmt: skip
        file = FileParser.open(source="app", headers=["none"], model=str(folder), device="cpu", prompt=name)
        (event,) = await parsed(file, [b"took 1 s"])
        await file.close()
        found = [event["attributes"][key] for key in ("log.record.template", "logloom.cache", "logloom.parser")]
        assert found == [template, cache, checkpoint_version(folder, name)]
    with pytest.raises(WrongModel, match="mail, web"):
        FileParser.open(source="app", model=str(folder), prompt="no-such")


async def test_templates_that_other_rules_made_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that cuts otherwise asks the model anew, and leaves what an older one kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_small(tmp_path / "taught")
    for rules, cache in ((1, "miss"), (1, "hit"), (2, "miss"), (1, "hit")):
        monkeypatch.setattr("worker.parsing.checkpoint.RULES", rules)
        file = FileParser.open(source="app", headers=["none"], model=str(folder), device="cpu")
        (event,) = await parsed(file, [b"took 1 s"])
        await file.close()
        assert event["attributes"]["logloom.cache"] == cache


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        ({"headers": ["no-preset"]}, WrongFormat),
        ({"headers": ["auto", "syslog"]}, WrongFormat),
        ({"zone": "Nowhere/Town"}, WrongFormat),
        ({"envelope": "parcel"}, WrongSettings),
        ({"model": "/no/such/folder"}, WrongModel),
        ({"prompt": "mail"}, WrongSettings),
    ],
)
def test_mistakes_are_told_before_a_line_is_read(mistake: dict[str, Any], error: type[Exception]) -> None:
    """A wrong option is refused when the parser is made."""
    with pytest.raises(error):
        FileParser.open(**{"source": "app", "model": None, "forget": True, **mistake})
