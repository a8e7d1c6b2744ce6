"""Whole lines on their way to events, and events on their way to a terminal."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import msgpack
import numpy as np

from tests.columns_of import records_of
from tests.fuzz.envelopes import SEPARATOR
from tests.fuzz.target import Target
from worker.cache.templates import TemplateCache
from worker.cli.tail import decode_event
from worker.cli.view import render
from worker.codec.dead_letters import DeadLetter, Header
from worker.codec.envelopes import Envelope
from worker.codec.header_finder import HeaderFinder
from worker.codec.multiline import Joined, Joiner
from worker.columns.events import EventWriter
from worker.errors import Undecodable
from worker.parsing.templates import Template

_MOST_LINES = 24
_KINDS = ("raw", "auto", "json", "docker", "syslog", "cri")
_HEADERS = ("none", "auto", "syslog", "log4j")


@cache
def _envelope(kind: str) -> Envelope:
    return Envelope(kind)


def _written(joined: Joined, header: str) -> None:
    """Split, cut at the digits, match and write: every text that is left becomes an event that readers can read."""
    texts = joined.texts
    finder = HeaderFinder([header], zone="Europe/Berlin", source="fuzz")
    splitter = asyncio.run(finder.splitter_for(texts))
    headers = splitter.split(texts, joined.records.timestamp[texts.record])
    cache = TemplateCache(max_templates=64, max_fingerprints=64)
    bodies = []
    for row in np.flatnonzero(texts.length >= 0).tolist():
        start = int(headers.message_start[row])
        message = texts.buffer[start : start + int(headers.message_length[row])].tobytes()
        cache.add(Template.cut(message, [found.span() for found in re.finditer(rb"\d+", message)][:100]))
        bodies.append(message.decode(errors="replace"))
    matches = cache.look_up(texts, headers)
    fields = [[(name, "text") for name in found.fields] for found in splitter.formats]
    for format_name in ("json", "msgpack"):
        writer = EventWriter(resource={"a": 1}, fields=fields, format="json" if format_name == "json" else "msgpack")
        cache.attach(writer)
        events = writer.write(
            texts, headers, matches, joined.records, source="fuzz", topic="t", partition=0, parser_version="none",
            observed_ns=0,
        )  # fmt: skip
        written = [
            events.buffer[start : start + length].tobytes()
            for start, length in zip(events.start.tolist(), events.length.tolist(), strict=True)
            if length >= 0
        ]
        read = json.loads if format_name == "json" else msgpack.unpackb
        assert bodies == [read(event)["body"] for event in written]


def _path(content: bytes) -> None:
    """Take two bytes for the envelope and the header, then lines in two batches of one partition."""
    kind, header = _KINDS[content[0] % len(_KINDS)] if content else "raw", "none"
    if len(content) > 1:
        header = _HEADERS[content[1] % len(_HEADERS)]
    lines = content[2:].split(SEPARATOR)[:_MOST_LINES]
    envelope, joiner = _envelope(kind), Joiner()
    envelope._votes, envelope._detection = Counter(), None  # as if it were new: `auto` keeps what it found
    living = covered = 0
    half = len(lines) // 2
    for batch in (lines[:half], lines[half:]):
        records = records_of(batch)
        opened = envelope.open(records)
        living += int((opened.texts.length >= 0).sum())
        joined = joiner.join(opened.texts, records, partition=0, now=0.0, partial=opened.partial)
        covered += int(joined.covers.sum())
        _written(joined, header)
    joined = joiner.flush(0, now=math.inf)
    covered += int(joined.covers.sum())
    assert living == covered
    if len(joined.texts.start):
        _written(joined, header)


def _event(content: bytes) -> None:
    """Show what may stand in the topic of events: nothing of it moves the cursor or changes colours."""
    event = decode_event(content)
    if event is not None:
        assert render(event, colour=False, width=80).isprintable()
        assert render(event, colour=False).isprintable()
        coloured = render(event, colour=True, width=80)
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).isprintable()


def _letter(content: bytes) -> None:
    """Read `name=value` pieces as the headers of a dead letter."""
    headers: list[Header] = []
    for piece in content.split(SEPARATOR)[:32]:
        name, equals, value = piece.partition(b"=")
        headers.append((name.decode(errors="replace"), value if equals else None))
    letter = DeadLetter.read(value=content, key=None, headers=headers)
    assert len(letter.fitted(4096).value or b"") <= len(content)
    letter.replay_headers()


def _made_events() -> Sequence[bytes]:
    event = {
        "timestamp": "2026-11-22T15:43:51.559Z", "severity_text": "WARN", "severity_number": 13, "body": "took 5 s",
        "attributes": {"logloom.source": "a", "log.record.parameters": [{"value": "5", "start": 5, "end": 6}]},
    }  # fmt: skip
    return [json.dumps(event).encode(), msgpack.packb(event)]


TARGETS = [
    Target(name="path", read=_path),
    Target(name="event-view", read=_event, made=_made_events),
    Target(name="dead-letter", read=_letter, refuses=(Undecodable,)),
]
