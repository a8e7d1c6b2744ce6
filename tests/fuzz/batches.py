"""Kafka's record batches: as they are, with length and checksum made to fit, compressed, and whole fetch responses."""

from collections.abc import Sequence

import numpy as np

from tests.columns.reference_records import (
    PlainRecord,
    decode_plain_batch,
    encode_plain_batch,
    plain_records,
    seal,
    zigzag,
)
from tests.fuzz.target import Target
from worker.columns.compression import CODECS, compress
from worker.columns.records import read_batch_info, read_record_batch
from worker.errors import CorruptRecordBatch
from worker.transport.batches import FetchedBatch, read_records, split_batches

_HEADER_SIZE, _LENGTH_END, _MAGIC_AT = 61, 12, 16
_CODEC = 0x07
#: What bombs may grow to here; the real limit is tested by itself.
_LIMIT = 1 << 20

_RECORDS = [
    PlainRecord(offset=7, timestamp=1_700_000_000_000, key=b"key", value=b"first", headers=((b"trace", b"\x00\xff"),)),
    PlainRecord(offset=8, timestamp=1_700_000_000_007, key=None, value=b"second " * 30, headers=((b"none", None),)),
    PlainRecord(offset=11, timestamp=1_699_999_999_000, key=b"", value=None),
]


def _fitted(content: bytes) -> bytes:
    """Make length, magic and checksum those of a batch of message format v2."""
    batch = bytearray(content.ljust(_HEADER_SIZE, b"\0"))
    batch[8:_LENGTH_END] = (len(batch) - _LENGTH_END).to_bytes(4, "big")
    batch[_MAGIC_AT] = 2
    return seal(bytes(batch))


def _raw(content: bytes) -> None:
    read_record_batch(content, max_decompressed_bytes=_LIMIT)


def _sound(content: bytes) -> None:
    """Read what is sound but for its fields and records, as the reference does."""
    batch = _fitted(content)
    try:
        info = read_batch_info(batch)
        expected = decode_plain_batch(batch) if info.codec == 0 else None
    except ValueError:
        expected = []
        try:
            read_record_batch(batch)
        except CorruptRecordBatch:
            return
        raise AssertionError("the reference refuses what the kernel reads") from None
    found = plain_records(read_record_batch(batch, max_decompressed_bytes=_LIMIT))
    assert expected is None or expected == found


def _compressed(content: bytes) -> None:
    """Take the first byte for the codec, the second for the count of records, and the rest for the stream."""
    codec, count, stream = *content[:2].ljust(2, b"\0"), content[2:]
    header = bytearray(encode_plain_batch(_RECORDS, attributes=codec & _CODEC, count=count)[:_HEADER_SIZE])
    records = read_record_batch(_fitted(bytes(header) + stream), max_decompressed_bytes=_LIMIT)
    plain_records(records)


def _response(content: bytes) -> None:
    list(split_batches(content))
    read_records(FetchedBatch(topic="t", partition=0, data=content, fetch_offset=8, next_offset=12))


def _batches() -> list[bytes]:
    lies = [zigzag(1 << 62), zigzag(-2), b"\xff" * 9 + b"\x02", b"\x80" * 10]
    whole = encode_plain_batch(_RECORDS)
    return [
        whole,
        whole[:80],
        encode_plain_batch(_RECORDS, count=2),
        encode_plain_batch(_RECORDS, count=2**31 - 1),
        encode_plain_batch(_RECORDS, attributes=0x08),
        encode_plain_batch(_RECORDS[:1]),
        *(whole[:_HEADER_SIZE] + lie + whole[_HEADER_SIZE + 1 :] for lie in lies),
    ]


def _section() -> bytes:
    return encode_plain_batch(_RECORDS)[_HEADER_SIZE:]


def _streams() -> list[bytes]:
    """Compress sound sections and bombs by every codec."""
    contents = [_section(), bytes(64), bytes(2 * _LIMIT)]
    return [
        bytes([number, len(_RECORDS)]) + compress(np.array(bytearray(content), np.uint8), codec)
        for codec, number in CODECS.items()
        for content in contents[: 3 if number else 1]
    ]


def _responses() -> Sequence[bytes]:
    whole = encode_plain_batch(_RECORDS)
    later = encode_plain_batch([PlainRecord(offset=12, timestamp=0, key=b"k", value=b"v")])
    return [whole, whole + later, whole + later[:30], (5).to_bytes(8, "big") + b"\xff\xff\xff\xff" + bytes(60)]


_REFUSES = (CorruptRecordBatch,)
TARGETS = [
    Target(name="batch-raw", read=_raw, made=_batches, refuses=_REFUSES),
    Target(name="batch-sound", read=_sound, made=_batches, refuses=_REFUSES),
    Target(name="batch-compressed", read=_compressed, made=_streams, refuses=_REFUSES),
    Target(name="batch-response", read=_response, made=_responses, refuses=_REFUSES),
]
