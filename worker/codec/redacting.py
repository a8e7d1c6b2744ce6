"""Redaction of all that goes into an event: columns by the compiled form, envelope fields one by one.

Stands between the template cache and the event writer, so that templates come to be written without values, too.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import orjson

from worker.columns.events import EventWriter
from worker.columns.layout import Headers, Matches, Texts
from worker.columns.redacting import ColumnRedactor
from worker.parsing.redaction import Redaction, has_form, kind_of_name
from worker.parsing.templates import Template

#: Rows whose envelope fields are remembered: those of a container or a host repeat.
_REMEMBERED = 4_096
#: Longer ones are not remembered.
_MOST_REMEMBERED_BYTES = 4_096


class Redactor:
    """Redacts the columns of one source before its writer sees them."""

    def __init__(self, redaction: Redaction, writer: EventWriter, fields: Sequence[Sequence[str]] = ()) -> None:
        """Prepare what holds for all batches. `fields`: the names of each header format's fields."""
        self._redaction = redaction
        self._writer = writer
        self._columns = ColumnRedactor(redaction, fields)
        self._members = lru_cache(_REMEMBERED)(self._redacted_members)

    def set_template(self, row: int, template: Template) -> None:
        """Let `row` of the template table be `template`, and the writer know it without values."""
        self._columns.set_template(row, template)
        self._writer.set_template(row, self._redaction.template(template))

    def clear_template(self, row: int) -> None:
        """Forget the template in `row`, if there is one."""
        self._columns.clear_template(row)
        self._writer.clear_template(row)

    def redact(self, texts: Texts, headers: Headers, matches: Matches) -> tuple[Texts, Headers, Matches]:
        """Return the columns as the writer may see them."""
        return self._columns.redact(self._with_redacted_attributes(texts, matches), headers, matches)

    def _with_redacted_attributes(self, texts: Texts, matches: Matches) -> Texts:
        rows = np.flatnonzero((texts.attributes_length > 0) & (matches.template >= 0) & (texts.length >= 0)).tolist()
        changed: dict[int, bytes] = {}
        buffer = texts.attributes_buffer
        for row in rows:
            at = texts.attributes_start[row]
            members = buffer[at : at + texts.attributes_length[row]].tobytes()
            is_short = len(members) <= _MOST_REMEMBERED_BYTES
            redacted = self._members(members) if is_short else self._redacted_members(members)
            if redacted is not members:
                changed[row] = redacted
        if not changed:
            return texts
        start, length = texts.attributes_start.copy(), texts.attributes_length.copy()
        end = buffer.size
        for row, members in changed.items():
            start[row], length[row] = end, len(members)
            end += len(members)
        buffer = np.concatenate([buffer, np.frombuffer(b"".join(changed.values()), np.uint8)])
        return texts._replace(attributes_buffer=buffer, attributes_start=start, attributes_length=length)

    def _redacted_members(self, members: bytes) -> bytes:
        """Redact JSON members without their braces; those without hits stay as they are written."""
        read = orjson.loads(b"{%b}" % members)
        redacted = self._object("", read)
        return members if redacted == read else orjson.dumps(redacted)[1:-1]

    def _object(self, path: str, members: Mapping[str, object]) -> dict[str, object]:
        """Redact an object, names included; two that are written alike are told apart by a number."""
        redacted: dict[str, object] = {}
        for name, value in members.items():
            written = free = self._text(name)
            number = 1
            while free in redacted:
                number += 1
                free = f"{written}_{number}"
            redacted[free] = self._value(f"{path}.{name}", value)
        return redacted

    def _value(self, path: str, value: object) -> object:
        if isinstance(value, dict):
            return self._object(path, cast("dict[str, object]", value))
        if isinstance(value, list):
            return [self._value(path, one) for one in value]
        if value is None or isinstance(value, bool):
            return value
        text = str(value)
        kind = kind_of_name(path)
        if kind is not None and self._redaction.wanted[kind] and has_form(kind, text.encode()):
            return self._redaction.written(kind, text.encode()).decode()
        redacted = self._text(text)
        return value if redacted == text else redacted

    def _text(self, text: str) -> str:
        return self._columns.redacted(text.encode()).decode()
