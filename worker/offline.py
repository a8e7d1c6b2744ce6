"""The path of a file's lines: the worker's own, without Kafka and without Redis."""

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import quote

import msgpack
import numpy as np
import orjson
import structlog

from worker.cache.misses import Misses
from worker.cache.stored import pack_stored, unpack_stored
from worker.cache.templates import TemplateCache
from worker.codec.envelopes import DeadRow, Envelope
from worker.codec.header_finder import HeaderFinder
from worker.columns.layout import Events, Records, Texts
from worker.errors import WrongSettings
from worker.parsing.checkpoint import taught_fields
from worker.parsing.fields import FieldReader
from worker.parsing.lazy import LazyParser
from worker.parsing.message_types import Typer
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import EncoderParser, checkpoint_version
from worker.parsing.redaction import NO_REDACTION, Redaction
from worker.parsing.stream import Stream
from worker.parsing.templates import Template
from worker.pipeline import SourcePath

_MAX_TEMPLATES = 100_000
_MAX_FINGERPRINTS = 1 << 18
_NO_PARSER = "none"
_LONGEST_NAME = 200

_log = structlog.get_logger(__name__)


class FileParser:
    """Makes an event of every line of a file. What can't become one is written as an event that says why."""

    def __init__(
        self,
        *,
        path: SourcePath,
        envelope: Envelope,
        model: MicroBatcher | None,
        memory: "TemplateFile | None",
        redaction: Redaction = NO_REDACTION,
    ) -> None:
        """With `redaction`, lines that can't become events are told of without their text: nobody could read it."""
        self._path = path
        self._envelope = envelope
        self._model = model
        self._memory = memory
        self._redaction = redaction

    @classmethod
    def open(
        cls,
        *,
        source: str,
        headers: Sequence[str] = ("auto",),
        envelope: str = "auto",
        zone: str = "UTC",
        model: str | None = "base",
        device: str = "auto",
        prompt: str | None = None,
        types: Mapping[str, Sequence[str]] | None = None,
        forget: bool = False,
        fields: Sequence[str] = (),
        redaction: Redaction = NO_REDACTION,
    ) -> Self:
        """Prepare everything but the model, which is loaded at the first miss.

        `types`: the message types to tell apart, each with words for it; an empty table: those that ship; None: none.

        Raises WrongFormat, WrongSettings or WrongModel.
        """
        if model is None and prompt is not None:
            raise WrongSettings(f"the prompt {prompt!r} needs a model: it is part of one")
        version = _NO_PARSER if model is None else checkpoint_version(model, prompt)
        micro_batcher = stream = None
        if model is not None:
            lazy = LazyParser(partial(checkpoint_version, model), lambda: EncoderParser.load(model, device=device))
            micro_batcher = MicroBatcher(lazy, deadline_seconds=0.0)
            stream = Stream(lazy, prompt=prompt)
        cache = TemplateCache(
            max_templates=_MAX_TEMPLATES,
            max_fingerprints=_MAX_FINGERPRINTS,
            typer=None if types is None else Typer.load(types),
        )
        memory = None if forget else TemplateFile(templates_folder() / version / f"{_file_name(source)}.msgpack")
        for template in memory.read() if memory is not None else ():
            cache.add(template)
        path = SourcePath(
            name=source,
            finder=HeaderFinder(headers, zone=zone, source=source),
            misses=Misses(
                cache=cache,
                store=None,
                model=micro_batcher,
                scope=source,
                prompt=prompt,
                redaction=redaction,
                stream=stream,
            ),
            parser_version=version,
            resource={},
            fields=FieldReader.load(fields, taught=taught_fields(model, prompt)) if fields else None,
            redaction=redaction,
        )
        return cls(
            path=path,
            envelope=Envelope(envelope, zone=zone, max_record_bytes=1 << 30),
            model=micro_batcher,
            memory=memory,
            redaction=redaction,
        )

    async def parse(self, records: Records) -> memoryview:
        """Return a JSON line for each line, in order. Good until the next call."""
        opened = self._envelope.open(records)
        texts = opened.texts
        now_ms = np.full(texts.start.size, time.time_ns() // 1_000_000, np.int64)
        rows = await self._path.write(texts, now_ms, terminator=b"\n")
        events = rows.events
        failures = {row: (error.reason, str(error)) for row, error in rows.unparsable.items()}
        failures |= _dead_texts(texts, opened.dead)
        if not failures:
            return events.buffer.data
        return memoryview(self._with_failures(events, texts, records, failures))

    async def close(self) -> None:
        """Keep the templates for the next run, and let the model go."""
        if self._model is not None:
            await self._model.close()
        if self._memory is not None and self._path.misses.counts.learned:
            self._memory.write(self._path.misses.cache.templates())

    def _with_failures(
        self, events: Events, texts: Texts, records: Records, failures: dict[int, tuple[str, str]]
    ) -> bytes:
        """Put lines for the failures between the others."""
        lines: list[bytes] = []
        for row, (start, length) in enumerate(zip(events.start.tolist(), events.length.tolist(), strict=True)):
            if length >= 0:
                lines.append(events.buffer[start : start + length].tobytes())
            elif row in failures:
                reason, error = failures[row]
                value = _value(records, int(texts.record[row]))
                if self._redaction:
                    value, error = b"", self._redaction.redacted(error.encode()).decode()
                lines.append(_failure_line(self._path.name, value, reason, error))
        return b"".join(lines)


class TemplateFile:
    """Templates of one source and parser version, kept between runs.

    It only saves time: a file that can't be read counts as absent, one that can't be written is not written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Template]:
        """Return the templates of earlier runs."""
        try:
            packed = msgpack.unpackb(self._path.read_bytes())
        except (OSError, ValueError, msgpack.UnpackException):
            return []  # it is a cache: the run writes it anew
        if not isinstance(packed, list):
            return []
        templates = (unpack_stored(one) for one in packed if isinstance(one, bytes))
        return [template for template in templates if template is not None]

    def write(self, templates: Sequence[Template]) -> None:
        """Replace the file as a whole; two runs at once leave one or the other."""
        packed = msgpack.packb([pack_stored(template) for template in templates])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
                new = Path(folder, "new")
                new.write_bytes(packed)
                new.replace(self._path)
        except OSError as exc:
            _log.warning("templates are not kept for the next run", file=str(self._path), error=str(exc))


def templates_folder() -> Path:
    """Return where `TemplateFile`s are, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logloom" / "templates"


def _file_name(source: str) -> str:
    """Name a source's file: by its name, where that is short enough for a file."""
    name = quote(source, safe=" ")
    return name if len(name) <= _LONGEST_NAME else hashlib.blake2b(source.encode(), digest_size=16).hexdigest()


def _dead_texts(texts: Texts, dead: Sequence[DeadRow]) -> dict[int, tuple[str, str]]:
    if not dead:
        return {}
    by_record = {letter.record: (letter.reason, letter.error) for letter in dead}
    return {row: by_record[record] for row, record in enumerate(texts.record.tolist()) if record in by_record}


def _value(records: Records, row: int) -> bytes:
    start, length = int(records.value_start[row]), int(records.value_length[row])
    return records.buffer[start : start + length].tobytes()


def _failure_line(source: str, value: bytes, reason: str, error: str) -> bytes:
    attributes = {"logloom.source": source, "logloom.reason": reason, "logloom.error": error}
    return orjson.dumps({"body": value.decode(errors="replace"), "attributes": attributes}) + b"\n"
