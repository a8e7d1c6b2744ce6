"""Events as JSON, one object a row: the pieces that are rendered ahead of time, and the kernel that joins them.

The layout is that of `worker/DESIGN.md`; the reference is `worker.codec.events`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import orjson

from worker.columns.event_times import event_time, write_event_time
from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.layout import I64, MAX_FIELDS, NO_TIME, NONE, TIER_MODEL, U8, Texts
from worker.columns.pieces import UNKNOWN_TEMPLATE, WRONG_PARAMETER_COUNT, numbered, put
from worker.columns.text import PADDING, copy_padded, write_cut_text, write_integer, write_text
from worker.columns.types import parameter_type_code
from worker.parsing.templates import Template
from worker.parsing.types import TYPES

#: OpenTelemetry's short names, four numbers each, from 1 on.
SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
MAX_SEVERITY = 4 * len(SEVERITIES)

# Pieces that hold for a writer's life, by number.
_TIMESTAMP, _LEVEL, _BODY, _VALUE, _NEXT_VALUE, _END, _PARAMETERS_END, _NO_PARAMETERS, _RESOURCE = numbered(9)
_FIRST_LEVEL_END = 9  # by severity number: what follows a level as written
_FIRST_SEVERITY = _FIRST_LEVEL_END + MAX_SEVERITY + 1  # by severity number: where no level is written
_FIRST_TYPE = _FIRST_SEVERITY + MAX_SEVERITY + 1
_FIRST_FIELD = _FIRST_TYPE + len(TYPES)  # by format * MAX_FIELDS + field
# Pieces of one batch.
_TIMED, _UNTIMED, _PROVENANCE, _INDEX, _HIT, _MISS, _CLOSE = numbered(7)
# A template's pieces; then, for each parameter, what stands in its object, and, for each, its attribute.
_HEAD, _CONFIDENCE, _FIRST_NAME = range(3)

#: Most bytes of a parameter beside its value and its name: pieces and two integers.
_PARAMETER_ROOM = 160


def _text(text: str) -> bytes:
    return orjson.dumps(text)


def fixed_pieces(resource: Mapping[str, object], fields: Sequence[Sequence[str]]) -> list[bytes]:
    """Render what holds for a writer's life. `fields`: the names of each format's fields."""
    numbers = [b'"severity_number":%d' % number for number in range(1, MAX_SEVERITY + 1)]
    names = [_text(SEVERITIES[index // 4]) for index in range(MAX_SEVERITY)]
    return [
        b'{"timestamp":"',
        b',"severity_text":"',
        b',"body":"',
        b'{"value":"',
        b'},{"value":"',
        b',"end":',
        b"}]",
        b"]",
        b'","resource":' + orjson.dumps(dict(resource)) + b',"attributes":{',
        b'"',
        *(b'",' + number for number in numbers),
        b"",
        *(b',"severity_text":%b,%b' % both for both in zip(names, numbers, strict=True)),
        *(b'","type":"%b"' % name.encode() for name in TYPES),
        *(b",%b:" % _text(name) if name else b"" for row in fields for name in [*row, *[""] * (MAX_FIELDS - len(row))]),
    ]


def batch_pieces(
    *, source: str, topic: str | None, partition: int, parser_version: str, observed: bytes, terminator: bytes
) -> list[bytes]:
    """Render what holds for one batch. `observed`: the time of observation as RFC 3339."""
    place = b""
    if topic is not None:
        place = b',"logloom.topic":%b,"logloom.partition":%d,"logloom.offset":' % (_text(topic), partition)
    parser = b',"logloom.parser":%b' % _text(parser_version)
    return [
        b'","observed_timestamp":"%b"' % observed,
        b'{"observed_timestamp":"%b"' % observed,
        b',"logloom.source":' + _text(source) + place,
        b',"logloom.index":',
        parser + b',"logloom.cache":"hit","logloom.confidence":',
        parser + b',"logloom.cache":"miss","logloom.confidence":',
        b"}}" + terminator,
    ]


def template_pieces(template: Template, attribute: str, parameters: Sequence[str]) -> list[bytes]:
    """Render what holds for one template.

    `attribute` is the name under which events carry it, `parameters` those of its parameters, empty for none.
    """
    return [
        b'%b:%b,"log.record.template.id":"%b","log.record.parameters":['
        % (_text(attribute), _text(template.text), template.id.encode()),
        orjson.dumps(round(template.confidence, 4)) + _message_type(template),
        *(b',"name":%b,"start":' % _text(name) if name else b',"start":' for name in template.names),
        *(b',%b:"' % _text(name) if name else b"" for name in parameters),
    ]


def _message_type(template: Template) -> bytes:
    if not template.type:
        return b""
    confidence = orjson.dumps(round(template.type_confidence, 4))
    return b',"log.record.type":%b,"log.record.type.confidence":%b' % (_text(template.type), confidence)


def prepare(texts: Texts) -> tuple[Texts, I64]:
    """Return `texts` as they are: JSON members are copied, not counted."""
    return texts, np.zeros(0, np.int64)


@inlined
def is_json_integer(source: U8, start: int, length: int) -> bool:
    """Tell whether the span can stand as a JSON number: at most 18 digits, no leading zero."""
    at, end = start, start + length
    if source[at] == 0x2D:
        at += 1
    digits = end - at
    if digits < 1 or digits > 18 or (source[at] == 0x30 and length > 1):
        return False
    while at < end:
        if source[at] < 0x30 or source[at] > 0x39:
            return False
        at += 1
    return True


@kernel
def write_rows(
    target: U8,
    position: int,
    row: int,
    event_start: I64,
    event_length: I64,
    source: U8,
    text_start: I64,
    text_length: I64,
    text_record: I64,
    text_place: I64,
    attributes: U8,
    attributes_start: I64,
    attributes_length: I64,
    envelope_time: I64,
    envelope_severity: U8,
    header_format: I64,
    message_start: I64,
    message_length: I64,
    header_time: I64,
    header_digits: U8,
    header_severity: U8,
    level_start: I64,
    level_length: I64,
    field_start: I64,
    field_length: I64,
    row_template: I64,
    tier: U8,
    first_parameter: I64,
    parameter_count: I64,
    parameter_start: I64,
    parameter_end: I64,
    offset: I64,
    record_time: I64,
    fixed: U8,
    fixed_edges: I64,
    batch: U8,
    batch_edges: I64,
    templates: U8,
    template_edges: I64,
    template_first: I64,
    template_parameters: I64,
    template_attributes: I64,  # noqa: ARG001  # only MessagePack counts
    field_is_integer: U8,
    attribute_count: I64,  # noqa: ARG001  # only MessagePack counts
    edge: I64,
    edge_characters: I64,
    clock: U8,
    clock_second: I64,
    with_offset: bool,
) -> tuple[int, int, int]:
    """Write the events of the rows from `row` on.

    Returns the row that comes next, the position after its predecessors, and 0 at the end, the bytes of room that the
    row needs where `target` has fewer, or an error of `pieces`. The arrays
    are those of `Texts`, `Headers`, `Matches`, `Records`, `Pieces` and `Fragments`, one by one: out of tuples, numba
    would count references at each use.
    """
    clock_second[0] = NO_TIME  # no time's second: the clock holds nothing yet
    batch_room = fixed.size + batch.size + PADDING + 160
    while row < text_start.size:
        template = row_template[row]
        event_start[row] = position
        event_length[row] = -1
        if template < 0 or text_length[row] < 0:
            row += 1
            continue
        if template >= template_first.size or template_first[template] < 0:
            return row, position, UNKNOWN_TEMPLATE
        count = template_parameters[template]
        if parameter_count[row] != count:
            return row, position, WRONG_PARAMETER_COUNT
        piece = template_first[template]
        first = first_parameter[row]
        header = header_format[row]
        text = max(message_length[row], 0) + max(level_length[row], 0)
        for parameter in range(first, first + count):
            text += 2 * max(parameter_end[parameter] - parameter_start[parameter], 0)
        if header >= 0:
            for field in range(MAX_FIELDS):
                text += max(field_length[row, field], 0)
        pieces = template_edges[piece + _FIRST_NAME + 2 * count] - template_edges[piece]
        # An escape is six bytes for one.
        room = batch_room + 6 * text + pieces + _PARAMETER_ROOM * count + max(attributes_length[row], 0)
        if position + room > target.size:
            return row, position, room

        record = text_record[row]
        ns, digits = event_time(
            header_time[row],
            int(header_digits[row]),
            envelope_time[row],
            record_time[record] if 0 <= record < record_time.size else -1,
        )
        if ns != NO_TIME:
            position = put(target, position, fixed, fixed_edges, _TIMESTAMP)
            position = write_event_time(target, position, ns, digits, clock, clock_second)
            position = put(target, position, batch, batch_edges, _TIMED)
        else:
            position = put(target, position, batch, batch_edges, _UNTIMED)

        severity = int(header_severity[row])
        if severity == 0:
            severity = int(envelope_severity[row])
        if severity > MAX_SEVERITY:
            severity = 0
        if level_length[row] > 0:
            start = level_start[row]
            end = start + level_length[row]
            position = put(target, position, fixed, fixed_edges, _LEVEL)
            position, _, _ = write_text(target, position, source, start, end, end, True)
            position = put(target, position, fixed, fixed_edges, _FIRST_LEVEL_END + severity)
        else:
            position = put(target, position, fixed, fixed_edges, _FIRST_SEVERITY + severity)

        position = put(target, position, fixed, fixed_edges, _BODY)
        start = message_start[row]
        end = start + message_length[row]
        position = write_cut_text(
            target,
            position,
            source,
            start,
            end,
            parameter_start,
            parameter_end,
            first,
            count,
            edge,
            edge_characters,
            True,
        )
        position = put(target, position, fixed, fixed_edges, _RESOURCE)

        position = put(target, position, templates, template_edges, piece + _HEAD)
        for parameter in range(count):
            position = put(target, position, fixed, fixed_edges, _VALUE if parameter == 0 else _NEXT_VALUE)
            written = edge[2 * parameter]
            position = copy_padded(target, position, target, written, edge[2 * parameter + 1] - written)
            value_start = min(max(parameter_start[first + parameter], start), end)
            value_end = min(max(parameter_end[first + parameter], value_start), end)
            kind = parameter_type_code(source, value_start, value_end)
            position = put(target, position, fixed, fixed_edges, _FIRST_TYPE + kind)
            position = put(target, position, templates, template_edges, piece + _FIRST_NAME + parameter)
            position = write_integer(target, position, edge_characters[2 * parameter])
            position = put(target, position, fixed, fixed_edges, _END)
            position = write_integer(target, position, edge_characters[2 * parameter + 1])
        position = put(target, position, fixed, fixed_edges, _PARAMETERS_END if count > 0 else _NO_PARAMETERS)
        for parameter in range(count):
            name = piece + _FIRST_NAME + count + parameter
            if template_edges[name + 1] > template_edges[name]:
                position = put(target, position, templates, template_edges, name)
                written = edge[2 * parameter]
                position = copy_padded(target, position, target, written, edge[2 * parameter + 1] - written)
                target[position] = 0x22
                position += 1

        if header >= 0:
            for field in range(MAX_FIELDS):
                length = field_length[row, field]
                if length <= 0:
                    continue
                start = field_start[row, field]
                place = header * MAX_FIELDS + field
                position = put(target, position, fixed, fixed_edges, _FIRST_FIELD + place)
                if field_is_integer[place] != 0 and is_json_integer(source, start, length):
                    copy_bytes(target, position, source, start, length)
                    position += length
                else:
                    target[position] = 0x22
                    position, _, _ = write_text(
                        target, position + 1, source, start, start + length, start + length, True
                    )
                    target[position] = 0x22
                    position += 1

        length = attributes_length[row]
        if length > 0:
            target[position] = 0x2C
            copy_bytes(target, position + 1, attributes, attributes_start[row], length)
            position += length + 1

        position = put(target, position, batch, batch_edges, _PROVENANCE)
        if with_offset:
            position = write_integer(target, position, offset[record])
            if text_place[row] != NONE:
                position = put(target, position, batch, batch_edges, _INDEX)
                position = write_integer(target, position, text_place[row])
        position = put(target, position, batch, batch_edges, _MISS if tier[row] == TIER_MODEL else _HIT)
        position = put(target, position, templates, template_edges, piece + _CONFIDENCE)
        position = put(target, position, batch, batch_edges, _CLOSE)
        event_length[row] = position - event_start[row]
        row += 1
    return row, position, 0
