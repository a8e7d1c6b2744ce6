"""Events in plain Python: the reference that the compiled writer is tested against, and where to read what it writes.

An event follows OpenTelemetry's log data model; `event.schema.json` is its JSON Schema.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Literal, cast

import msgpack
import numpy as np

from worker.columns.layout import NO_TIME, NONE, TIER_MODEL, Events, Headers, Matches, Records, Texts
from worker.columns.pieces import parameter_attributes
from worker.parsing.templates import Template
from worker.parsing.timestamps import rfc3339
from worker.parsing.types import parameter_type

#: OpenTelemetry's short names, four severity numbers each, from 1 on.
SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

_LAST_MILLISECOND = ((1 << 63) - 1) // 1_000_000


def event_schema() -> dict[str, object]:
    """Read the JSON Schema of an event."""
    text = files("worker.codec").joinpath("event.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, object]", json.loads(text))


class ReferenceEventWriter:
    """The compiled `EventWriter` again, row by row."""

    def __init__(
        self,
        *,
        resource: Mapping[str, object],
        fields: Sequence[Sequence[tuple[str, str]]] = (),
        format: Literal["json", "msgpack"] = "json",  # noqa: A002  # the setting's name
        template_attribute: str = "log.record.template",
        has_parameter_attributes: bool = True,
    ) -> None:
        """Prepare what holds for all batches; the arguments are those of `EventWriter`."""
        self._resource = dict(resource)
        self._fields = fields
        self._format = format
        self._template_attribute = template_attribute
        self._has_parameter_attributes = has_parameter_attributes
        self._templates: dict[int, Template] = {}

    def set_template(self, row: int, template: Template) -> None:
        """Let `row` of the template table be `template` from now on."""
        self._templates[row] = template

    def clear_template(self, row: int) -> None:
        """Forget the template in `row`, if there is one."""
        self._templates.pop(row, None)

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

        Raises KeyError where a row's template was never set, or was cleared.
        """
        written = bytearray()
        start = np.zeros(len(texts.start), np.int64)
        length = np.full(len(texts.start), -1, np.int64)
        for row in range(len(texts.start)):
            start[row] = len(written)
            if matches.template[row] < 0 or texts.length[row] < 0:
                continue
            event: dict[str, object] = {}
            time = _time(texts, headers, records, row)
            if time is not None:
                event["timestamp"] = time
            event["observed_timestamp"] = rfc3339(observed_ns, 3).decode()
            event.update(_severity(texts, headers, row))
            template = self._templates[int(matches.template[row])]
            body, parameters = _body(texts, headers, matches, template, row)
            event["body"] = body
            event["resource"] = self._resource
            attributes: dict[str, object] = {
                self._template_attribute: template.text,
                "log.record.template.id": template.id,
                "log.record.parameters": parameters,
            }
            if self._has_parameter_attributes:
                names = parameter_attributes(template.names)
                attributes.update({name: one["value"] for name, one in zip(names, parameters, strict=True) if name})
            attributes.update(self._header_fields(texts, headers, row))
            members = _span(texts.attributes_buffer, texts.attributes_start[row], texts.attributes_length[row])
            attributes.update(json.loads(b"{%b}" % members))
            attributes["logloom.source"] = source
            if topic is not None and records is not None:
                attributes["logloom.topic"] = topic
                attributes["logloom.partition"] = partition
                attributes["logloom.offset"] = int(records.offset[texts.record[row]])
                if texts.place[row] != NONE:
                    attributes["logloom.index"] = int(texts.place[row])
            attributes["logloom.parser"] = parser_version
            attributes["logloom.cache"] = "miss" if matches.tier[row] == TIER_MODEL else "hit"
            attributes["logloom.confidence"] = round(template.confidence, 4)
            if template.type:
                attributes["log.record.type"] = template.type
                attributes["log.record.type.confidence"] = round(template.type_confidence, 4)
            event["attributes"] = attributes
            written += self._encode(event) + terminator
            length[row] = len(written) - start[row]
        return Events(buffer=np.array(written, np.uint8), start=start, length=length)

    def _header_fields(self, texts: Texts, headers: Headers, row: int) -> dict[str, object]:
        fields: dict[str, object] = {}
        if headers.format[row] >= 0:
            for place, (name, kind) in enumerate(self._fields[headers.format[row]]):
                if headers.field_length[row, place] > 0:
                    value = _span(texts.buffer, headers.field_start[row, place], headers.field_length[row, place])
                    fields[name] = _integer(value) if kind == "integer" else value.decode(errors="replace")
        return fields

    def _encode(self, event: dict[str, object]) -> bytes:
        if self._format == "msgpack":
            return cast("bytes", msgpack.packb(event))
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _span(buffer: np.ndarray[tuple[int], np.dtype[np.uint8]], start: int, length: int) -> bytes:
    return buffer[start : start + max(length, 0)].tobytes()


def _time(texts: Texts, headers: Headers, records: Records | None, row: int) -> str | None:
    """Return the time that the header gives, else the envelope, else the Kafka record."""
    if headers.timestamp[row] != NO_TIME:
        return rfc3339(int(headers.timestamp[row]), int(headers.precision[row])).decode()
    ns = int(texts.timestamp[row])
    if ns != NO_TIME:
        digits = next(digits for digits in (3, 6, 9) if ns % 10 ** (9 - digits) == 0)
        return rfc3339(ns, digits).decode()
    if records is not None and 0 <= records.timestamp[texts.record[row]] <= _LAST_MILLISECOND:
        return rfc3339(int(records.timestamp[texts.record[row]]) * 1_000_000, 3).decode()
    return None


def _severity(texts: Texts, headers: Headers, row: int) -> dict[str, object]:
    number = int(headers.severity[row] or texts.severity[row])
    level = _span(texts.buffer, headers.level_start[row], headers.level_length[row])
    severity: dict[str, object] = {}
    if level:
        severity["severity_text"] = level.decode(errors="replace")
    elif 0 < number <= 24:
        severity["severity_text"] = SEVERITIES[(number - 1) // 4]
    if 0 < number <= 24:
        severity["severity_number"] = number
    return severity


def _body(
    texts: Texts, headers: Headers, matches: Matches, template: Template, row: int
) -> tuple[str, list[dict[str, object]]]:
    """Return the message as text, and its parameters as spans of that text."""
    message = _span(texts.buffer, headers.message_start[row], headers.message_length[row])
    body = message.decode(errors="replace")
    parameters = []
    for place, name in enumerate(template.names):
        parameter = matches.first_parameter[row] + place
        start, end = (int(column[parameter] - headers.message_start[row]) for column in (matches.start, matches.end))
        # A prefix decodes to as many characters as start in it, even where it ends within one.
        first, last = (len(message[:cut].decode(errors="replace")) for cut in (start, end))
        value = {"value": body[first:last], "type": parameter_type(message[start:end])}
        parameters.append({**value, **({"name": name} if name else {}), "start": first, "end": last})
    return body, parameters


def _integer(value: bytes) -> object:
    """Return the integer that `value` is in JSON's notation with at most 18 digits, else the text."""
    digits = value.removeprefix(b"-")
    if digits.isdigit() and len(digits) <= 18 and (value == b"0" or not digits.startswith(b"0")):
        return int(value)
    return value.decode(errors="replace")
