"""Events as MessagePack, one map a row: the members of the JSON form, in its order, each in its shortest encoding.

What an envelope adds arrives as JSON and is packed row by row in Python: some microseconds a row that has such fields.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import msgpack
import numpy as np
import orjson

from worker.columns.event_times import event_time, write_event_time
from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.json_events import MAX_SEVERITY, SEVERITIES, is_json_integer
from worker.columns.layout import I64, MAX_FIELDS, NO_TIME, NONE, TIER_MODEL, U8, Texts
from worker.columns.pieces import UNKNOWN_TEMPLATE, WRONG_PARAMETER_COUNT, numbered, put
from worker.columns.text import PADDING, copy_padded, write_cut_text, write_text
from worker.columns.types import parameter_type_code
from worker.parsing.templates import Template
from worker.parsing.types import TYPES

# Pieces that hold for a writer's life, by number.
_TIMESTAMP, _LEVEL, _BODY, _VALUE, _START, _END, _RESOURCE = numbered(7)
_FIRST_NUMBER = 7  # by severity number: where a level is written
_FIRST_SEVERITY = _FIRST_NUMBER + MAX_SEVERITY + 1  # by severity number: where none is
_FIRST_TYPE = _FIRST_SEVERITY + MAX_SEVERITY + 1
_FIRST_FIELD = _FIRST_TYPE + len(TYPES)  # by format * MAX_FIELDS + field
# Pieces of one batch.
_OBSERVED, _PROVENANCE, _INDEX, _HIT, _MISS, _TERMINATOR = numbered(6)
# A template's pieces; then, for each parameter, what stands in its map, and, for each, its attribute.
_HEAD, _CONFIDENCE, _FIRST_NAME = range(3)

#: Most bytes of a parameter beside its value and its name: pieces, two integers and the lengths of map and value.
_PARAMETER_ROOM = 160
#: Members of the attributes that are always there, and those of a record's place.
_ATTRIBUTES, _PLACE_ATTRIBUTES = 7, 3


def _pack(*values: object) -> bytes:
    return b"".join(cast("bytes", msgpack.packb(value)) for value in values)


def fixed_pieces(resource: Mapping[str, object], fields: Sequence[Sequence[str]]) -> list[bytes]:
    """Render what holds for a writer's life. `fields`: the names of each format's fields."""
    numbers = [_pack("severity_number", number) for number in range(1, MAX_SEVERITY + 1)]
    names = [_pack("severity_text", SEVERITIES[index // 4]) for index in range(MAX_SEVERITY)]
    return [
        *(_pack(name) for name in ("timestamp", "severity_text", "body", "value", "start", "end")),
        _pack("resource", dict(resource), "attributes"),
        b"",
        *numbers,
        b"",
        *(b"".join(both) for both in zip(names, numbers, strict=True)),
        *(_pack("type", name) for name in TYPES),
        *(_pack(name) if name else b"" for row in fields for name in [*row, *[""] * (MAX_FIELDS - len(row))]),
    ]


def batch_pieces(
    *, source: str, topic: str | None, partition: int, parser_version: str, observed: bytes, terminator: bytes
) -> list[bytes]:
    """Render what holds for one batch. `observed`: the time of observation as RFC 3339."""
    place = b""
    if topic is not None:
        place = _pack("logloom.topic", topic, "logloom.partition", partition, "logloom.offset")
    return [
        _pack("observed_timestamp", observed.decode()),
        _pack("logloom.source", source) + place,
        _pack("logloom.index"),
        *(
            _pack("logloom.parser", parser_version, "logloom.cache", how, "logloom.confidence")
            for how in ("hit", "miss")
        ),
        terminator,
    ]


def template_pieces(template: Template, attribute: str, parameters: Sequence[str]) -> list[bytes]:
    """Render what holds for one template.

    `attribute` is the name under which events carry it, `parameters` those of its parameters, empty for none.
    """
    message_type = b""
    if template.type:
        message_type = _pack(
            "log.record.type", template.type, "log.record.type.confidence", round(template.type_confidence, 4)
        )
    head = _pack(attribute, template.text, "log.record.template.id", template.id, "log.record.parameters")
    return [
        head + cast("bytes", msgpack.Packer().pack_array_header(len(template.names))),
        _pack(round(template.confidence, 4)) + message_type,
        *(_pack("name", name) if name else b"" for name in template.names),
        *(_pack(name) if name else b"" for name in parameters),
    ]


def prepare(texts: Texts) -> tuple[Texts, I64]:
    """Turn the envelopes' JSON members into keys and values of MessagePack; return how many each row has, (n,), too."""
    counts = np.zeros(texts.start.size, np.int64)
    rows = np.flatnonzero(texts.attributes_length > 0).tolist()
    if not rows:
        return texts, counts
    packed = bytearray()
    start = np.zeros(texts.start.size, np.int64)
    length = np.zeros(texts.start.size, np.int64)
    packer = msgpack.Packer()
    for row in rows:
        at = texts.attributes_start[row]
        members = orjson.loads(b"{%b}" % texts.attributes_buffer[at : at + texts.attributes_length[row]].tobytes())
        start[row] = len(packed)
        counts[row] = len(members)
        for name, value in members.items():
            packed += packer.pack(name)
            packed += packer.pack(value)
        length[row] = len(packed) - start[row]
    # An array of its own: one that looks into a bytes object is read-only, another type to the kernel.
    buffer = np.array(packed, np.uint8)
    return texts._replace(attributes_buffer=buffer, attributes_start=start, attributes_length=length), counts


@inlined
def _write_big_endian(target: U8, position: int, code: int, number: int, size: int) -> int:
    """Write a type's code and the lowest `size` bytes of `number`."""
    target[position] = code
    for place in range(size):
        target[position + size - place] = (number >> (8 * place)) & 0xFF
    return position + 1 + size


@kernel
def write_msgpack_integer(target: U8, position: int, number: int) -> int:
    """Write an integer in its shortest form, return the position after it."""
    if -32 <= number < 128:
        target[position] = number & 0xFF
        return position + 1
    if number >= 0:
        if number < 1 << 8:
            return _write_big_endian(target, position, 0xCC, number, 1)
        if number < 1 << 16:
            return _write_big_endian(target, position, 0xCD, number, 2)
        if number < 1 << 32:
            return _write_big_endian(target, position, 0xCE, number, 4)
        return _write_big_endian(target, position, 0xCF, number, 8)
    if number >= -(1 << 7):
        return _write_big_endian(target, position, 0xD0, number, 1)
    if number >= -(1 << 15):
        return _write_big_endian(target, position, 0xD1, number, 2)
    if number >= -(1 << 31):
        return _write_big_endian(target, position, 0xD2, number, 4)
    return _write_big_endian(target, position, 0xD3, number, 8)


@inlined
def _string_header_size(length: int) -> int:
    if length < 32:
        return 1
    if length < 1 << 8:
        return 2
    if length < 1 << 16:
        return 3
    return 5


@kernel
def _write_string_header(target: U8, position: int, length: int) -> int:
    if length < 32:
        target[position] = 0xA0 | length
        return position + 1
    if length < 1 << 8:
        return _write_big_endian(target, position, 0xD9, length, 1)
    if length < 1 << 16:
        return _write_big_endian(target, position, 0xDA, length, 2)
    return _write_big_endian(target, position, 0xDB, length, 4)


@kernel
def _settle_string(target: U8, position: int, reserved: int, length: int) -> int:
    """Write the header of a string whose text stands `reserved` bytes after `position`; move the text if it must.

    Returns by how much it moved: a replaced byte is three, which can take a longer header than was thought.
    """
    moved = _string_header_size(length) - reserved
    if moved > 0:
        for at in range(position + reserved + length - 1, position + reserved - 1, -1):
            target[at + moved] = target[at]
    _write_string_header(target, position, length)
    return moved


@kernel
def _write_string(target: U8, position: int, source: U8, start: int, end: int) -> int:
    """Write a span as a string, invalid UTF-8 replaced."""
    reserved = _string_header_size(end - start)
    after, _, _ = write_text(target, position + reserved, source, start, end, end, False)
    return after + _settle_string(target, position, reserved, after - position - reserved)


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
    template_attributes: I64,
    field_is_integer: U8,
    attribute_count: I64,
    edge: I64,
    edge_characters: I64,
    clock: U8,
    clock_second: I64,
    with_offset: bool,
) -> tuple[int, int, int]:
    """Write the events of the rows from `row` on; `texts` is what `prepare` made of them.

    Returns the row that comes next, the position after its predecessors, and 0 at the end, the bytes of room that the
    row needs where `target` has fewer, or an error of `pieces`. The arrays
    are those of `Texts`, `Headers`, `Matches`, `Records`, `Pieces` and `Fragments`, one by one: out of tuples, numba
    would count references at each use.
    """
    clock_second[0] = NO_TIME  # no time's second: the clock holds nothing yet
    batch_room = fixed.size + batch.size + PADDING + 256
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
        members = _ATTRIBUTES + template_attributes[template] + attribute_count[row]
        if with_offset:
            members += _PLACE_ATTRIBUTES if text_place[row] == NONE else _PLACE_ATTRIBUTES + 1
        if header >= 0:
            for field in range(MAX_FIELDS):
                if field_length[row, field] > 0:
                    text += field_length[row, field]
                    members += 1
        pieces = template_edges[piece + _FIRST_NAME + 2 * count] - template_edges[piece]
        # A replaced byte is three.
        room = batch_room + 3 * text + pieces + _PARAMETER_ROOM * count + max(attributes_length[row], 0)
        if position + room > target.size:
            return row, position, room

        record = text_record[row]
        ns, digits = event_time(
            header_time[row],
            int(header_digits[row]),
            envelope_time[row],
            record_time[record] if 0 <= record < record_time.size else -1,
        )
        severity = int(header_severity[row])
        if severity == 0:
            severity = int(envelope_severity[row])
        if severity > MAX_SEVERITY:
            severity = 0
        level_size = level_length[row]

        opening = position
        position += 1
        map_size = 4
        if ns != NO_TIME:
            map_size += 1
            position = put(target, position, fixed, fixed_edges, _TIMESTAMP)
            after = write_event_time(target, position + 1, ns, digits, clock, clock_second)
            target[position] = 0xA0 | (after - position - 1)
            position = after
        position = put(target, position, batch, batch_edges, _OBSERVED)
        if level_size > 0:
            map_size += 2 if severity > 0 else 1
            start = level_start[row]
            position = put(target, position, fixed, fixed_edges, _LEVEL)
            position = _write_string(target, position, source, start, start + level_size)
            position = put(target, position, fixed, fixed_edges, _FIRST_NUMBER + severity)
        else:
            map_size += 2 if severity > 0 else 0
            position = put(target, position, fixed, fixed_edges, _FIRST_SEVERITY + severity)
        target[opening] = 0x80 | map_size

        position = put(target, position, fixed, fixed_edges, _BODY)
        start = message_start[row]
        end = start + message_length[row]
        reserved = _string_header_size(end - start)
        body = position
        position = write_cut_text(
            target,
            position + reserved,
            source,
            start,
            end,
            parameter_start,
            parameter_end,
            first,
            count,
            edge,
            edge_characters,
            False,
        )
        moved = _settle_string(target, body, reserved, position - body - reserved)
        position = put(target, position + moved, fixed, fixed_edges, _RESOURCE)

        if members < 16:
            target[position] = 0x80 | members
            position += 1
        elif members < 1 << 16:
            position = _write_big_endian(target, position, 0xDE, members, 2)
        else:
            position = _write_big_endian(target, position, 0xDF, members, 4)
        position = put(target, position, templates, template_edges, piece + _HEAD)
        for parameter in range(count):
            name = piece + _FIRST_NAME + parameter
            target[position] = 0x85 if template_edges[name + 1] > template_edges[name] else 0x84
            position = put(target, position + 1, fixed, fixed_edges, _VALUE)
            written = edge[2 * parameter] + moved
            length = edge[2 * parameter + 1] + moved - written
            position = _write_string_header(target, position, length)
            position = copy_padded(target, position, target, written, length)
            value_start = min(max(parameter_start[first + parameter], start), end)
            value_end = min(max(parameter_end[first + parameter], value_start), end)
            kind = parameter_type_code(source, value_start, value_end)
            position = put(target, position, fixed, fixed_edges, _FIRST_TYPE + kind)
            position = put(target, position, templates, template_edges, name)
            position = put(target, position, fixed, fixed_edges, _START)
            position = write_msgpack_integer(target, position, edge_characters[2 * parameter])
            position = put(target, position, fixed, fixed_edges, _END)
            position = write_msgpack_integer(target, position, edge_characters[2 * parameter + 1])
        for parameter in range(count):
            name = piece + _FIRST_NAME + count + parameter
            if template_edges[name + 1] > template_edges[name]:
                position = put(target, position, templates, template_edges, name)
                written = edge[2 * parameter] + moved
                length = edge[2 * parameter + 1] + moved - written
                position = _write_string_header(target, position, length)
                position = copy_padded(target, position, target, written, length)

        if header >= 0:
            for field in range(MAX_FIELDS):
                length = field_length[row, field]
                if length <= 0:
                    continue
                start = field_start[row, field]
                place = header * MAX_FIELDS + field
                position = put(target, position, fixed, fixed_edges, _FIRST_FIELD + place)
                if field_is_integer[place] != 0 and is_json_integer(source, start, length):
                    number = 0
                    for at in range(start, start + length):
                        if source[at] != 0x2D:
                            number = number * 10 + (source[at] - 0x30)
                    number = -number if source[start] == 0x2D else number
                    position = write_msgpack_integer(target, position, number)
                else:
                    position = _write_string(target, position, source, start, start + length)

        length = attributes_length[row]
        if length > 0:
            copy_bytes(target, position, attributes, attributes_start[row], length)
            position += length

        position = put(target, position, batch, batch_edges, _PROVENANCE)
        if with_offset:
            position = write_msgpack_integer(target, position, offset[record])
            if text_place[row] != NONE:
                position = put(target, position, batch, batch_edges, _INDEX)
                position = write_msgpack_integer(target, position, text_place[row])
        position = put(target, position, batch, batch_edges, _MISS if tier[row] == TIER_MODEL else _HIT)
        position = put(target, position, templates, template_edges, piece + _CONFIDENCE)
        position = put(target, position, batch, batch_edges, _TERMINATOR)
        event_length[row] = position - event_start[row]
        row += 1
    return row, position, 0
