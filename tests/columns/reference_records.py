"""The record batch of message format v2 in plain Python, uncompressed: what the kernels are compared with."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np

from worker.columns.layout import NONE, Records

_HEADER = struct.Struct(">qiibIhiqqqhii")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRecord:
    """One record."""

    #: Kafka offset.
    offset: int
    #: Milliseconds since the epoch.
    timestamp: int
    #: None is null.
    key: bytes | None
    value: bytes | None
    #: Names and contents; no content is null.
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def zigzag(number: int) -> bytes:
    """Encode a signed number as Kafka's varint."""
    bits = 2 * number if number >= 0 else -2 * number - 1
    groups = [bits >> shift & 0x7F for shift in range(0, max(bits.bit_length(), 1), 7)]
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def nullable(content: bytes | None) -> bytes:
    """Encode bytes with their length before them."""
    return zigzag(NONE) if content is None else zigzag(len(content)) + content


def encode_plain_headers(headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    """Encode headers, their count first."""
    return zigzag(len(headers)) + b"".join(nullable(name) + nullable(content) for name, content in headers)


def seal(batch: bytes) -> bytes:
    """Put the right checksum into a batch."""
    return batch[:17] + int(google_crc32c.value(batch[21:])).to_bytes(4, "big") + batch[21:]


def encode_plain_batch(
    plain: Sequence[PlainRecord],
    *,
    attributes: int = 0,
    max_timestamp: int | None = None,
    count: int | None = None,
    leader_epoch: int = -1,
) -> bytes:
    """Encode records as one batch; base offset and timestamp are the first record's."""
    first = plain[0]
    section = bytearray()
    for record in plain:
        body = bytes(1) + zigzag(record.timestamp - first.timestamp) + zigzag(record.offset - first.offset)
        body += nullable(record.key) + nullable(record.value) + encode_plain_headers(record.headers)
        section += zigzag(len(body)) + body
    header = _HEADER.pack(
        first.offset,
        _HEADER.size - 12 + len(section),
        leader_epoch,
        2,
        0,
        attributes,
        plain[-1].offset - first.offset,
        first.timestamp,
        max(record.timestamp for record in plain) if max_timestamp is None else max_timestamp,
        -1,
        -1,
        -1,
        len(plain) if count is None else count,
    )
    return seal(header + section)


class _Reader:
    def __init__(self, section: bytes) -> None:
        self.section = section
        self.position = 0

    def take(self, length: int) -> bytes:
        taken = self.section[self.position : self.position + length]
        if length < 0 or len(taken) < length:
            raise ValueError(f"{length} bytes at {self.position} of {len(self.section)}")
        self.position += length
        return taken

    def varint(self) -> int:
        bits = 0
        for shift in range(0, 70, 7):
            (byte,) = self.take(1)
            bits |= (byte & 0x7F) << shift
            if byte < 0x80:
                if bits >> 64:
                    raise ValueError("a varint of more than 64 bits")
                return bits >> 1 ^ -(bits & 1)
        raise ValueError("a varint of more than ten bytes")

    def nullable(self) -> bytes | None:
        length = self.varint()
        return None if length == NONE else self.take(length)


def decode_plain_batch(batch: bytes) -> list[PlainRecord]:
    """Decode an uncompressed batch; believes its header. Raises ValueError where the records section lies."""
    base_offset, _, _, _, _, attributes, last_offset_delta, base, maximum, _, _, _, count = _HEADER.unpack_from(batch)
    outer = _Reader(batch[_HEADER.size :])
    plain: list[PlainRecord] = []
    before = -1
    if count < 0:
        raise ValueError(f"{count} records")
    for _ in range(count):
        reader = _Reader(outer.take(outer.varint()))
        reader.take(1)
        timestamp = (base + reader.varint() + (1 << 63)) % (1 << 64) - (1 << 63)
        delta = reader.varint()
        if not before < delta <= last_offset_delta:
            raise ValueError(f"offset delta {delta} after {before}")
        before = delta
        key, value = reader.nullable(), reader.nullable()
        headers = []
        header_count = reader.varint()
        if header_count < 0:
            raise ValueError(f"{header_count} headers")
        for _ in range(header_count):
            name = reader.nullable()
            if name is None:
                raise ValueError("a header without a name")
            headers.append((name, reader.nullable()))
        if reader.position != len(reader.section):
            raise ValueError("bytes after a record")
        plain.append(
            PlainRecord(
                offset=base_offset + delta,
                timestamp=maximum if attributes & 0x08 else timestamp,
                key=key,
                value=value,
                headers=tuple(headers),
            )
        )
    if outer.position != len(outer.section):
        raise ValueError("bytes after the records")
    return plain


def plain_records(records: Records) -> list[PlainRecord]:
    """Make columns readable."""
    buffer = records.buffer.tobytes()

    def content(start: int, length: int) -> bytes | None:
        return None if length == NONE else buffer[start : start + length]

    plain = []
    for row in range(records.offset.size):
        start, length = int(records.headers_start[row]), int(records.headers_length[row])
        reader = _Reader(buffer[start : start + length])
        headers = [(reader.nullable() or b"", reader.nullable()) for _ in range(reader.varint())]
        assert reader.position == length
        plain.append(
            PlainRecord(
                offset=int(records.offset[row]),
                timestamp=int(records.timestamp[row]),
                key=content(int(records.key_start[row]), int(records.key_length[row])),
                value=content(int(records.value_start[row]), int(records.value_length[row])),
                headers=tuple(headers),
            )
        )
    return plain


def column_records(plain: Sequence[PlainRecord]) -> Records:
    """Make columns of records, their bytes in one buffer."""
    buffer = bytearray()
    columns: list[list[int]] = []

    def place(content: bytes | None) -> list[int]:
        span = [len(buffer), NONE if content is None else len(content)]
        buffer.extend(content or b"")
        return span

    for record in plain:
        key, value = place(record.key), place(record.value)
        columns.append([record.offset, record.timestamp, *key, *value, *place(encode_plain_headers(record.headers))])
    table = np.array(columns, np.int64).reshape(len(plain), 8).T
    return Records(np.array(bytearray(buffer), np.uint8), *(np.ascontiguousarray(column) for column in table))
