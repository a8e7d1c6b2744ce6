"""Events out of columns: every row that has a template becomes one. Knows nothing of Kafka but a record's offset."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from worker.columns import json_events, msgpack_events
from worker.columns.layout import I64, MAX_FIELDS, U8, Events, Headers, Matches, Records, Texts
from worker.columns.pieces import UNKNOWN_TEMPLATE, TemplatePieces, lay_out, parameter_attributes
from worker.columns.text import PADDING
from worker.parsing.templates import MAX_PARAMETERS, Template
from worker.parsing.timestamps import rfc3339

#: The buffer starts with this many bytes, and one that has grown beyond the other is not kept for the next batch.
_FIRST_BYTES = 1 << 20
_MOST_KEPT_BYTES = 64 << 20

#: Attributes of a message type: it and its confidence.
_TYPE_ATTRIBUTES = 2

_NO_RECORDS = Records(np.zeros(0, np.uint8), *(np.zeros(0, np.int64) for _ in range(8)))


class _Form(Protocol):
    """What the modules of the two forms have in common."""

    def fixed_pieces(self, resource: Mapping[str, object], fields: Sequence[Sequence[str]]) -> list[bytes]: ...

    def batch_pieces(
        self, *, source: str, topic: str | None, partition: int, parser_version: str, observed: bytes, terminator: bytes
    ) -> list[bytes]: ...

    def template_pieces(self, template: Template, attribute: str, parameters: Sequence[str]) -> list[bytes]: ...

    def prepare(self, texts: Texts) -> tuple[Texts, I64]: ...

    @property
    def write_rows(self) -> Callable[..., tuple[int, int, int]]: ...


class EventWriter:
    """Writes events of one source. Not for two threads at once."""

    def __init__(
        self,
        *,
        resource: Mapping[str, object],
        fields: Sequence[Sequence[tuple[str, str]]] = (),
        format: Literal["json", "msgpack"] = "json",  # noqa: A002  # the setting's name
        template_attribute: str = "log.record.template",
        has_parameter_attributes: bool = True,
    ) -> None:
        """Prepare what holds for all batches.

        `fields`: per header format, the name and the kind ("text" or "integer") of each of its fields. `resource`: what
        the events carry as their resource; any JSON. `has_parameter_attributes`: named parameters are attributes too.
        """
        self._template_attribute = template_attribute
        self._has_parameter_attributes = has_parameter_attributes
        self._form: _Form = msgpack_events if format == "msgpack" else json_events
        self._fixed = lay_out(self._form.fixed_pieces(resource, [[name for name, _ in row] for row in fields]))
        self._field_is_integer = np.zeros(MAX_FIELDS * len(fields), np.uint8)
        for index, row in enumerate(fields):
            for place, (_, kind) in enumerate(row):
                self._field_is_integer[index * MAX_FIELDS + place] = kind == "integer"
        self._templates = TemplatePieces()
        self._buffer: U8 = np.empty(_FIRST_BYTES, np.uint8)
        # Where parameters start and end in what is written, the characters before; the last second's text, and it.
        edges = 2 * MAX_PARAMETERS
        self._scratch = (
            np.zeros(edges, np.int64),
            np.zeros(edges, np.int64),
            np.zeros(PADDING, np.uint8),
            np.zeros(1, np.int64),
        )

    def set_template(self, row: int, template: Template) -> None:
        """Let `row` of the template table be `template` from now on.

        Raises ValueError where it has more than MAX_PARAMETERS.
        """
        if len(template.names) > MAX_PARAMETERS:
            raise ValueError(f"template {template.id} has {len(template.names)} parameters, more than {MAX_PARAMETERS}")
        names = template.names if self._has_parameter_attributes else [""] * len(template.names)
        parameters = parameter_attributes(names)
        self._templates.set(
            row,
            self._form.template_pieces(template, self._template_attribute, parameters),
            attribute_count=sum(map(bool, parameters)) + (_TYPE_ATTRIBUTES if template.type else 0),
        )

    def clear_template(self, row: int) -> None:
        """Forget the template in `row`, if there is one."""
        self._templates.clear(row)

    def write(
        self,
        texts: Texts,
        headers: Headers,
        matches: Matches,
        records: Records | None,
        *,
        source: str,
        topic: str | None,
        partition: int,
        parser_version: str,
        observed_ns: int,
        terminator: bytes = b"",
    ) -> Events:
        """Write an event for each row with a template and a text; the others get length -1.

        The events' buffer is this writer's own: the next call writes over it. Without a `topic` (lines of a file) the
        members topic, partition and offset are left out and `records` may be None. `terminator` follows each event.

        Raises:
            LookupError: a row's template was never set, or was cleared.
            ValueError: a row has not as many parameters as its template, or there is a `topic` without `records`.

        """
        if topic is not None and records is None:
            raise ValueError(f"events of topic {topic} tell their record's offset: records are missing")
        batch = lay_out(
            self._form.batch_pieces(
                source=source,
                topic=topic,
                partition=partition,
                parser_version=parser_version,
                observed=rfc3339(observed_ns, 3),
                terminator=terminator,
            )
        )
        start = np.empty(texts.start.size, np.int64)
        length = np.empty(texts.start.size, np.int64)
        texts, attribute_count = self._form.prepare(texts)
        offsets = _NO_RECORDS if records is None else records
        buffer = self._buffer
        row = position = 0
        while True:
            row, position, room = self._form.write_rows(
                *(buffer, position, row, start, length),
                *texts,
                *headers,
                *(matches.template, matches.tier, *matches[3:]),
                *(offsets.offset, offsets.timestamp),
                *(*self._fixed, *batch, *self._templates.columns, self._field_is_integer, attribute_count),
                *(*self._scratch, topic is not None),
            )
            if room <= 0:
                break
            larger = np.empty(max(position + room, 2 * buffer.size), np.uint8)
            larger[:position] = buffer[:position]
            buffer = larger
        if room == UNKNOWN_TEMPLATE:
            raise LookupError(f"row {row} has template {matches.template[row]}, which was never set or was cleared")
        if room < 0:
            raise ValueError(f"row {row} has {matches.parameter_count[row]} parameters, its template has others")
        if buffer.size <= _MOST_KEPT_BYTES:
            self._buffer = buffer
        return Events(buffer=buffer[:position], start=start, length=length)
