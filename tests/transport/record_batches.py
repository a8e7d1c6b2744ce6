"""Record batches for tests, made by aiokafka's own encoder."""

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

#: Bits of a batch's attributes.
TRANSACTIONAL, CONTROL = 0x10, 0x20


def encode(
    base_offset: int,
    values: Sequence[bytes | None],
    *,
    keys: Sequence[bytes | None] = (),
    compression: int = 0,
    producer_id: int = -1,
    attributes: int = 0,
    last_offset: int | None = None,
) -> bytes:
    """Return a batch of `values` from `base_offset` on; `last_offset` is as if compaction had removed the last ones."""
    builder = DefaultRecordBatchBuilder(
        2, compression, int(bool(attributes & TRANSACTIONAL)), producer_id, 0, 0, 1 << 30
    )
    for delta, value in enumerate(values):
        builder.append(delta, 1_700_000_000_000 + delta, keys[delta] if keys else b"key", value, [])
    data = bytearray(builder.build())
    data[:8] = base_offset.to_bytes(8, "big")
    data[22] |= attributes
    if last_offset is not None:
        data[23:27] = (last_offset - base_offset).to_bytes(4, "big")
    seal(data)
    return bytes(data)


def control(base_offset: int, producer_id: int, *, is_commit: bool) -> bytes:
    """Return the batch that ends a transaction."""
    key = (0).to_bytes(2, "big") + int(is_commit).to_bytes(2, "big")
    return encode(base_offset, [bytes(6)], keys=[key], producer_id=producer_id, attributes=TRANSACTIONAL | CONTROL)


def seal(data: bytearray) -> None:
    """Make the checksum fit."""
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
