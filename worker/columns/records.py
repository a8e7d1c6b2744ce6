"""Kafka's record batches, message format v2: bytes to columns and back. Knows nothing of connections.

The format is https://kafka.apache.org/documentation/#recordbatch : a header of 61 bytes in big-endian numbers, then
the records as zigzag varints and bytes, the records section compressed as a whole.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from worker.columns.compression import CODECS, compress, decompress
from worker.columns.jit import copy_bytes, inlined, kernel
from worker.columns.layout import I64, NONE, U8, Events, Records
from worker.errors import CorruptRecordBatch, TooLarge

Bytes = bytes | bytearray | memoryview

#: Base offset, length from here on, leader epoch, magic, CRC, attributes, last offset delta, base timestamp, max
#: timestamp, producer id, producer epoch, base sequence, record count.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
#: Producer id, producer epoch and base sequence stand together.
_PRODUCER: Final = struct.Struct(">qhi")
_LENGTH_END, _MAGIC_AT, _CRC_AT, _ATTRIBUTES_AT, _PRODUCER_AT, _HEADER_SIZE = 12, 16, 17, 21, 43, 61
_CODEC_BITS, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
#: Length, attributes, both deltas, both lengths and the count of headers, a byte each.
_SMALLEST_RECORD = 7
#: Bytes that the records of one batch may decompress to.
MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024

# Rows of the array that the decoder fills, in the order of `Records`.
_OFFSET, _TIMESTAMP, _KEY, _KEY_LENGTH, _VALUE, _VALUE_LENGTH, _HEADERS, _HEADERS_LENGTH, _COLUMNS = range(9)
# Columns of the array of planned batches.
_FIRST, _SECTION_SIZE, _COUNT, _BASE_TIMESTAMP, _MAX_TIMESTAMP, _PLAN_COLUMNS = range(6)
#: What is wrong with a record, by the number that the decoder returns.
_FAULTS = (
    "",
    "its length is cut off or leaves the batch",
    "its timestamp is cut off",
    "its offset is cut off, outside the batch or not above the one before",
    "its key leaves the record",
    "its value leaves the record",
    "its count of headers is cut off or negative",
    "a header leaves the record",
    "bytes are left over at its end",
)
_TRAILING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInfo:
    """What a batch's header says."""

    #: Offset of the first record as it was produced; compaction may have removed that record.
    base_offset: int
    #: Offset of the last record as it was produced; the next batch starts above.
    last_offset: int
    #: Records that are there.
    count: int
    #: The attributes as they stand.
    attributes: int
    #: Milliseconds since the epoch, -1 for none.
    base_timestamp: int
    max_timestamp: int
    #: -1 where the producer is not idempotent, like the two below.
    producer_id: int
    producer_epoch: int
    base_sequence: int

    @property
    def codec(self) -> int:
        """One of the values of CODECS."""
        return self.attributes & _CODEC_BITS

    @property
    def has_log_append_time(self) -> bool:
        """The broker gave all records the time of `max_timestamp`."""
        return bool(self.attributes & _LOG_APPEND_TIME)

    @property
    def is_transactional(self) -> bool:
        """The batch counts once its transaction is committed."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """The batch holds markers of transactions, which no application sees."""
        return bool(self.attributes & _CONTROL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """A record batch that is ready to be produced."""

    #: The whole batch, its header included.
    data: bytearray
    #: Records in it.
    record_count: int

    def set_producer(self, producer_id: int, epoch: int, base_sequence: int, *, is_transactional: bool) -> None:
        """Say who produces the batch, in place, for idempotent and transactional producers."""
        _PRODUCER.pack_into(self.data, _PRODUCER_AT, producer_id, epoch, base_sequence)
        low_attributes = self.data[_ATTRIBUTES_AT + 1] & ~_TRANSACTIONAL
        self.data[_ATTRIBUTES_AT + 1] = low_attributes | (_TRANSACTIONAL if is_transactional else 0)
        _seal(self.data)


def read_batch_info(data: Bytes) -> BatchInfo:
    """Read the header of a batch.

    Raises:
        CorruptRecordBatch: `data` is not exactly one batch of message format v2 by its length and magic.

    """
    if len(data) <= _MAGIC_AT:
        raise CorruptRecordBatch(f"a record batch of {len(data)} bytes is cut off; the header alone has {_HEADER_SIZE}")
    if data[_MAGIC_AT] != 2:
        raise CorruptRecordBatch(
            f"the batch has message format v{data[_MAGIC_AT]}; only v2 is read, which every broker since 0.11 writes: "
            "produce to the topic again with a newer client"
        )
    if len(data) < _HEADER_SIZE:
        raise CorruptRecordBatch(f"a record batch of {len(data)} bytes is cut off; the header alone has {_HEADER_SIZE}")
    fields = _HEADER.unpack_from(data)
    base_offset, length, _, _, _, attributes, last_offset_delta, base_timestamp, max_timestamp = fields[:9]
    producer_id, producer_epoch, base_sequence, count = fields[9:]
    if length + _LENGTH_END != len(data):
        raise CorruptRecordBatch(f"the batch says {length + _LENGTH_END} bytes and has {len(data)}")
    if last_offset_delta < 0 or base_offset < 0 or base_offset + last_offset_delta >= 1 << 63:
        raise CorruptRecordBatch(f"the batch has base offset {base_offset} and last offset delta {last_offset_delta}")
    return BatchInfo(
        base_offset=base_offset,
        last_offset=base_offset + last_offset_delta,
        count=count,
        attributes=attributes,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )


def is_control(data: Bytes) -> bool:
    """Tell whether the batch holds transaction markers.

    Raises:
        CorruptRecordBatch: as `read_batch_info`.

    """
    return read_batch_info(data).is_control


def read_record_batch(
    data: Bytes, *, fetch_offset: int = 0, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> Records:
    """Decode one record batch, leaving out records below `fetch_offset`: a broker sends whole batches.

    Records of control batches are returned as any others; ask `is_control` first.

    Raises:
        CorruptRecordBatch: the checksum does not fit, or any length, count, offset or varint can't be so.

    """
    info = read_batch_info(data)
    stored_crc = int.from_bytes(data[_CRC_AT:_ATTRIBUTES_AT], "big")
    if (crc := _checksum(data)) != stored_crc:
        raise CorruptRecordBatch(f"the batch at offset {info.base_offset} has CRC {crc:08x}, not {stored_crc:08x}")
    if info.count < 0:
        raise CorruptRecordBatch(f"the batch at offset {info.base_offset} says {info.count} records")
    if info.count == 0 and len(data) == _HEADER_SIZE:
        section = np.empty(0, np.uint8)  # what compaction leaves behind has no stream to decompress
    else:
        stored = np.frombuffer(data, np.uint8, offset=_HEADER_SIZE)
        section = decompress(stored, info.codec, limit=max_decompressed_bytes)
    if info.count > section.size // _SMALLEST_RECORD:
        raise CorruptRecordBatch(
            f"the batch at offset {info.base_offset} says {info.count} records in {section.size} bytes"
        )
    columns = np.empty((_COLUMNS, info.count), np.int64)
    time, is_delta = (info.max_timestamp, 0) if info.has_log_append_time else (info.base_timestamp, 1)
    kept, fault, record = _decode(
        section, columns, info.base_offset, info.last_offset, time, is_delta, min(fetch_offset, (1 << 63) - 1)
    )
    if fault == _TRAILING:
        raise CorruptRecordBatch(f"the batch at offset {info.base_offset} has bytes after its {info.count} records")
    if fault:
        raise CorruptRecordBatch(f"record {record} of the batch at offset {info.base_offset}: {_FAULTS[fault]}")
    return Records(section, *columns[:, :kept])


def concatenate(parts: Sequence[Records]) -> Records:
    """Put the records of several batches into one table, in order; `parts` is not empty."""
    if len(parts) == 1:
        return parts[0]
    shifts = np.cumsum([0, *(part.buffer.size for part in parts[:-1])])
    lengths = [part.offset.size for part in parts]
    whole = Records(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    shift = np.repeat(shifts, lengths)
    for start in (whole.key_start, whole.value_start, whole.headers_start):
        np.add(start, shift, out=start)
    return whole


def write_record_batches(
    events: Events, records: Records, rows: I64, *, compression: str, max_bytes: int
) -> list[EncodedBatch]:
    """Encode events as record batches of at most `max_bytes` each, uncompressed, in order.

    Event i takes key, headers and timestamp from row `rows[i]` of `records`; rows with length -1 are left out.
    A section that its codec can't shrink is stored uncompressed.

    Raises:
        TooLarge: records that fit in no batch; its `rows` are the rows of `events`, all of them.
        ValueError: no such compression.
        IndexError: a span leaves its buffer or a row its table.

    """
    if compression not in CODECS:
        raise ValueError(f"no codec {compression!r}; known are {', '.join(CODECS)}")
    body_sizes = np.empty(events.length.size, np.int64)
    plan = np.empty((events.length.size, _PLAN_COLUMNS), np.int64)
    batch_count, fault = _plan(events, records, rows, max_bytes - _HEADER_SIZE, body_sizes, plan)
    if fault == _OUT_OF_BOUNDS:
        raise IndexError("an event, a key or headers leave their buffer, or a row its table")
    if fault == _OVERSIZED:
        oversized = tuple(int(row) for row in np.flatnonzero(body_sizes == _OVERSIZED))
        raise TooLarge(f"events {oversized[:10]} fit in no record batch of {max_bytes} bytes", rows=oversized)
    return [_encode_batch(events, records, rows, compression, body_sizes, plan[batch]) for batch in range(batch_count)]


def encode_headers(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Encode record headers, their count included, as `Records.headers_start` and `headers_length` name them."""
    encoded = bytearray()
    count = 0
    for name, content in headers:
        name_bytes = name.encode()
        encoded += _varint(len(name_bytes)) + name_bytes
        encoded += _varint(NONE) if content is None else _varint(len(content)) + content
        count += 1
    return _varint(count) + bytes(encoded)


def decode_headers(records: Records, row: int) -> list[tuple[str, bytes | None]]:
    """Return the headers of one record. For dead letters: events keep them as encoded."""
    position = int(records.headers_start[row])
    end = position + int(records.headers_length[row])

    def number() -> int:
        nonlocal position
        value, position = _read_varint(records.buffer, position, end)
        return int(value)

    def taken(length: int) -> bytes | None:
        nonlocal position
        position += max(length, 0)
        return None if length < 0 else records.buffer[position - length : position].tobytes()

    if position == end:
        return []
    return [((taken(number()) or b"").decode(errors="replace"), taken(number())) for _ in range(number())]


def _varint(number: int) -> bytes:
    zigzag = number << 1 if number >= 0 else (-number << 1) - 1
    encoded = bytearray()
    while zigzag > 0x7F:
        encoded.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


def _checksum(data: Bytes) -> int:
    # As an array: the library refuses views of bytes, and a slice would copy.
    return int(google_crc32c.value(np.frombuffer(data, np.uint8, offset=_ATTRIBUTES_AT)))


def _seal(data: bytearray) -> None:
    data[_CRC_AT:_ATTRIBUTES_AT] = _checksum(data).to_bytes(4, "big")


def _encode_batch(
    events: Events, records: Records, rows: I64, compression: str, body_sizes: I64, planned: I64
) -> EncodedBatch:
    first, section_size, count, base_timestamp, max_timestamp = (int(number) for number in planned)
    data = bytearray(_HEADER_SIZE + section_size)
    section: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8)[_HEADER_SIZE:]
    _encode(events, records, rows, body_sizes, section, first, count, base_timestamp)
    codec = CODECS[compression]
    if codec:
        compressed = compress(section, compression)
        if len(compressed) < section_size:
            data = bytearray(_HEADER_SIZE)
            data += compressed
        else:
            codec = CODECS["none"]
    _HEADER.pack_into(
        data, 0,
        0, len(data) - _LENGTH_END, -1, 2, 0, codec,
        count - 1, base_timestamp, max_timestamp,
        -1, -1, -1, count,
    )  # fmt: skip
    _seal(data)
    return EncodedBatch(data=data, record_count=count)


# Marks in body sizes, and what _plan returns.
_OVERSIZED, _OUT_OF_BOUNDS = -2, -3
#: Clears what an arithmetic shift by seven smears over the upper bits.
_SHIFTED_BY_SEVEN = (1 << 57) - 1
_ALL_BUT_SIGN = (1 << 63) - 1


@inlined
def _read_varint(buffer: U8, position: int, end: int) -> tuple[int, int]:
    """Read a zigzag varint of at most 64 bits: its value and the position after it, which is -1 if it can't be one."""
    bits = 0
    shift = 0
    while position < end and shift < 64:
        byte = int(buffer[position])
        position += 1
        if shift == 63 and byte > 1:
            break
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            return ((bits >> 1) & _ALL_BUT_SIGN) ^ -(bits & 1), position
        shift += 7
    return 0, -1


@kernel
def _decode(
    section: U8, columns: I64, base_offset: int, last_offset: int, time: int, is_delta: int, fetch_offset: int
) -> tuple[int, int, int]:
    """Fill `columns` (9, records) with the records from `fetch_offset` on.

    Returns how many these are, the fault (0 for none) and the record that has it.
    """
    kept = 0
    position = 0
    offset_before = base_offset - 1
    for record in range(columns.shape[1]):
        length, position = _read_varint(section, position, section.size)
        if position < 0 or length < 0 or length > section.size - position:
            return 0, 1, record
        end = position + length
        # The attributes byte is unused; where it is missing, the timestamp starts past the end and fails.
        delta, position = _read_varint(section, position + 1, end)
        if position < 0:
            return 0, 2, record
        offset_delta, position = _read_varint(section, position, end)
        if position < 0 or offset_delta < 0 or offset_delta > last_offset - base_offset:
            return 0, 3, record
        offset = base_offset + offset_delta
        if offset <= offset_before:
            return 0, 3, record
        offset_before = offset
        key_length, key = _read_varint(section, position, end)
        if key < 0 or key_length < NONE or key_length > end - key:
            return 0, 4, record
        position = key + max(key_length, 0)
        value_length, value = _read_varint(section, position, end)
        if value < 0 or value_length < NONE or value_length > end - value:
            return 0, 5, record
        headers = value + max(value_length, 0)
        header_count, position = _read_varint(section, headers, end)
        if position < 0 or header_count < 0:
            return 0, 6, record
        while header_count > 0:
            length, position = _read_varint(section, position, end)
            if position < 0 or length < 0 or length > end - position:
                return 0, 7, record
            length, position = _read_varint(section, position + length, end)
            if position < 0 or length < NONE or length > end - position:
                return 0, 7, record
            position += max(length, 0)
            header_count -= 1
        if position != end:
            return 0, 8, record
        if offset >= fetch_offset:
            columns[_OFFSET, kept] = offset
            columns[_TIMESTAMP, kept] = time + delta * is_delta
            columns[_KEY, kept] = key
            columns[_KEY_LENGTH, kept] = key_length
            columns[_VALUE, kept] = value
            columns[_VALUE_LENGTH, kept] = value_length
            columns[_HEADERS, kept] = headers
            columns[_HEADERS_LENGTH, kept] = end - headers
            kept += 1
    if position != section.size:
        return 0, _TRAILING, 0
    return kept, 0, 0


@inlined
def _varint_size(number: int) -> int:
    bits = (number << 1) ^ (number >> 63)
    size = 1
    while bits & ~0x7F:
        bits = (bits >> 7) & _SHIFTED_BY_SEVEN
        size += 1
    return size


@inlined
def _write_varint(target: U8, position: int, number: int) -> int:
    bits = (number << 1) ^ (number >> 63)
    while bits & ~0x7F:
        target[position] = (bits & 0x7F) | 0x80
        position += 1
        bits = (bits >> 7) & _SHIFTED_BY_SEVEN
    target[position] = bits
    return position + 1


@inlined
def _leaves(buffer: U8, start: int, length: int) -> bool:
    return length > 0 and (start < 0 or start > buffer.size - length)


@kernel
def _plan(events: Events, records: Records, rows: I64, budget: int, body_sizes: I64, plan: I64) -> tuple[int, int]:
    """Fill the size of each record's body (events,) and a row of `plan` (events, 5) for each batch.

    A body is what follows a record's length; its size depends on the batch, through the offset and timestamp deltas.
    Returns the number of batches and the fault: 0, _OVERSIZED (marked in `body_sizes`) or _OUT_OF_BOUNDS.
    """
    batches = 0
    fault = 0
    section_size = 0
    count = 0
    base_timestamp = np.int64(0)
    if rows.size < events.length.size or events.start.size < events.length.size:
        return 0, _OUT_OF_BOUNDS
    for event in range(events.length.size):
        length = events.length[event]
        body_sizes[event] = 0
        if length < 0:
            continue
        row = rows[event]
        if row < 0 or row >= records.offset.size or _leaves(events.buffer, events.start[event], length):
            return 0, _OUT_OF_BOUNDS
        key_length = records.key_length[row]
        headers_length = records.headers_length[row]
        if _leaves(records.buffer, records.key_start[row], key_length):
            return 0, _OUT_OF_BOUNDS
        if _leaves(records.buffer, records.headers_start[row], headers_length):
            return 0, _OUT_OF_BOUNDS
        timestamp = records.timestamp[row]
        # The attributes, the key, the value and the headers, of which one byte at least says that there are none.
        fixed = 1 + _varint_size(max(key_length, NONE)) + max(key_length, 0)
        fixed += _varint_size(length) + length + max(headers_length, 1)
        if count > 0:
            body = fixed + _varint_size(timestamp - base_timestamp) + _varint_size(count)
            if section_size + _varint_size(body) + body > budget:
                count = 0
        if count == 0:
            body = fixed + 2
            if _varint_size(body) + body > budget:
                body_sizes[event] = _OVERSIZED
                fault = _OVERSIZED
                continue
            base_timestamp = timestamp
            section_size = 0
            plan[batches, _FIRST] = event
            plan[batches, _BASE_TIMESTAMP] = base_timestamp
            plan[batches, _MAX_TIMESTAMP] = timestamp
            batches += 1
        count += 1
        section_size += _varint_size(body) + body
        body_sizes[event] = body
        plan[batches - 1, _SECTION_SIZE] = section_size
        plan[batches - 1, _COUNT] = count
        plan[batches - 1, _MAX_TIMESTAMP] = max(plan[batches - 1, _MAX_TIMESTAMP], timestamp)
    return batches, fault


@kernel
def _encode(
    events: Events,
    records: Records,
    rows: I64,
    body_sizes: I64,
    section: U8,
    first: int,
    count: int,
    base_timestamp: int,
) -> None:
    """Write `count` records, those of the events from row `first` on, into `section`, whose size `_plan` gave."""
    position = 0
    written = 0
    event = first
    while written < count:
        length = events.length[event]
        if length >= 0:
            row = rows[event]
            position = _write_varint(section, position, body_sizes[event])
            section[position] = 0  # attributes of the record, unused
            position = _write_varint(section, position + 1, records.timestamp[row] - base_timestamp)
            position = _write_varint(section, position, written)
            key_length = records.key_length[row]
            position = _write_varint(section, position, max(key_length, NONE))
            if key_length > 0:
                copy_bytes(section, position, records.buffer, records.key_start[row], key_length)
                position += key_length
            position = _write_varint(section, position, length)
            if length > 0:
                copy_bytes(section, position, events.buffer, events.start[event], length)
                position += length
            headers_length = records.headers_length[row]
            if headers_length > 0:
                copy_bytes(section, position, records.buffer, records.headers_start[row], headers_length)
                position += headers_length
            else:
                section[position] = 0
                position += 1
            written += 1
        event += 1
