"""Compress and decompress the records section of a record batch: none, gzip, snappy, lz4 and zstd.

Knows nothing of records. Levels are the quickest that each codec has: a worker spends its time on parsing, and log
events shrink some tenfold at any level.
"""

from collections.abc import Callable, Mapping

import cramjam
import numpy as np

from worker.columns.layout import U8
from worker.errors import CorruptRecordBatch

#: Names as Kafka's settings have them, and the number that stands in a batch's attributes.
CODECS: Mapping[str, int] = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

#: What Java's snappy puts before its blocks: a magic, then version 1 and lowest compatible version 1.
_XERIAL_HEADER = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
_XERIAL_MAGIC_LENGTH = 8
#: Uncompressed bytes of a block, as Java's snappy cuts them.
_XERIAL_BLOCK = 32 * 1024
_SMALLEST_OUTPUT = 64 * 1024
#: How cramjam says that the output array was too small, the one error after which a larger one is tried.
_OUTPUT_FULL = "failed to write whole buffer"


def compress(section: U8, codec: str) -> bytes:
    """Compress `section` with one of CODECS.

    Raises:
        ValueError: no such codec.

    """
    match codec:
        case "none":
            return section.tobytes()
        case "gzip":
            return bytes(cramjam.gzip.compress(section.data, level=1))
        case "snappy":
            return _compress_xerial(section)
        case "lz4":
            # Kafka's brokers refuse linked blocks, which are the default elsewhere.
            compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
            compressor.compress(section.tobytes())  # it takes nothing but bytes
            return bytes(compressor.finish())
        case "zstd":
            return bytes(cramjam.zstd.compress(section.data, level=1))
    raise ValueError(f"no codec {codec!r}; known are {', '.join(CODECS)}")


def decompress(compressed: U8, codec: int, *, limit: int) -> U8:
    """Decompress into a fresh writable array of at most `limit` bytes; `codec` is a value of CODECS.

    Raises:
        CorruptRecordBatch: no such codec, not what the codec writes, or more than `limit` bytes.

    """
    try:
        match codec:
            case 0:
                return compressed.copy()
            case 1:
                return _decompress_growing(cramjam.gzip.decompress_into, compressed, limit)
            case 2:
                return _decompress_snappy(compressed, limit)
            case 3:
                return _decompress_growing(cramjam.lz4.decompress_into, compressed, limit)
            case 4:
                return _decompress_growing(cramjam.zstd.decompress_into, compressed, limit)
    except cramjam.DecompressionError as exc:
        raise CorruptRecordBatch(f"the records don't decompress (codec {codec}): {exc}") from exc
    raise CorruptRecordBatch(f"the batch names compression codec {codec}, which Kafka does not have")


def _decompress_growing(decompress_into: Callable[[memoryview, memoryview], int], compressed: U8, limit: int) -> U8:
    """Decompress into a guessed size and more on demand: what a stream says of its own size may be a lie."""
    capacity = min(limit, max(_SMALLEST_OUTPUT, 8 * compressed.size))
    while True:
        output = np.empty(capacity, np.uint8)
        try:
            return output[: decompress_into(compressed.data, output.data)]
        except cramjam.DecompressionError as exc:
            if str(exc) != _OUTPUT_FULL:
                raise
        if capacity == limit:
            raise CorruptRecordBatch(f"{compressed.size} bytes decompress to more than the allowed {limit} bytes")
        capacity = min(limit, 4 * capacity)


def _compress_xerial(section: U8) -> bytes:
    parts = [_XERIAL_HEADER]
    for start in range(0, section.size, _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(section[start : start + _XERIAL_BLOCK].data))
        parts += [len(block).to_bytes(4, "big"), block]
    return b"".join(parts)


def _decompress_snappy(compressed: U8, limit: int) -> U8:
    """Decompress one raw block (librdkafka, Go) or the framing of Java's library."""
    magic = _XERIAL_HEADER[:_XERIAL_MAGIC_LENGTH]
    blocks = _xerial_blocks(compressed) if compressed[: len(magic)].tobytes() == magic else [compressed]
    lengths = [int(cramjam.snappy.decompress_raw_len(block.data)) for block in blocks]
    if sum(lengths) > limit:
        raise CorruptRecordBatch(f"{compressed.size} bytes decompress to {sum(lengths)}, more than the allowed {limit}")
    output = np.empty(sum(lengths), np.uint8)
    end = 0
    for block, length in zip(blocks, lengths, strict=True):
        start, end = end, end + length
        cramjam.snappy.decompress_raw_into(block.data, output[start:end].data)
    return output


def _xerial_blocks(compressed: U8) -> list[U8]:
    blocks = []
    position = len(_XERIAL_HEADER)
    while position < compressed.size:
        start = position + 4
        position = start + int.from_bytes(compressed[position:start].tobytes(), "big")
        if position > compressed.size:
            raise CorruptRecordBatch(f"a snappy block ends at {position} of {compressed.size} bytes")
        blocks.append(compressed[start:position])
    return blocks
