"""The codecs of record batches."""

import contextlib

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.columns.compression import CODECS, compress, decompress
from worker.columns.layout import U8
from worker.errors import CorruptRecordBatch

_LIMIT = 1 << 20


def _array(content: bytes | bytearray) -> U8:
    return np.array(bytearray(content), np.uint8)


@pytest.mark.parametrize("codec", CODECS)
@given(content=st.binary(max_size=2000), repeats=st.sampled_from([1, 40, 200]))
@settings(max_examples=50)
def test_decompress_returns_what_was_compressed(codec: str, content: bytes, repeats: int) -> None:
    """Every codec gives back every byte, also of sections longer than one block."""
    section = _array(content * repeats)
    assert decompress(_array(compress(section, codec)), CODECS[codec], limit=_LIMIT).tobytes() == section.tobytes()


@pytest.mark.parametrize("codec", CODECS)
def test_decompressed_sections_are_writable(codec: str) -> None:
    """Kernels are compiled for writable arrays only."""
    assert decompress(_array(compress(_array(b"log" * 9), codec)), CODECS[codec], limit=_LIMIT).flags.writeable


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_bomb_is_refused_at_the_limit(codec: str) -> None:
    """A section that decompresses to more than the limit is corrupt; one that just fits is not."""
    bomb = _array(compress(np.zeros(3_000_000, np.uint8), codec))
    assert decompress(bomb, CODECS[codec], limit=3_000_000).size == 3_000_000
    with pytest.raises(CorruptRecordBatch, match="allowed 2999999"):
        decompress(bomb, CODECS[codec], limit=2_999_999)


def test_raw_snappy_is_read() -> None:
    """Librdkafka writes a bare block, without the frame of Java's library."""
    raw = _array(bytes(cramjam.snappy.compress_raw(b"bare block " * 100)))
    assert decompress(raw, CODECS["snappy"], limit=_LIMIT).tobytes() == b"bare block " * 100


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
@given(content=st.binary(max_size=300), data=st.data())
@settings(max_examples=60)
def test_what_no_codec_wrote_is_corrupt_or_within_the_limit(codec: str, content: bytes, data: st.DataObject) -> None:
    """Cut, altered or random streams give CorruptRecordBatch or at most `limit` bytes, and nothing else."""
    stream = bytearray(data.draw(st.sampled_from([content, compress(_array(content * 9), codec)])))
    if stream:
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    with contextlib.suppress(CorruptRecordBatch):
        assert decompress(_array(stream), CODECS[codec], limit=4000).size <= 4000


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_codec_is_corrupt(codec: int) -> None:
    """Three bits can name eight codecs, five exist."""
    with pytest.raises(CorruptRecordBatch, match=f"codec {codec}"):
        decompress(_array(b"x"), codec, limit=_LIMIT)


def test_compress_refuses_an_unknown_codec() -> None:
    """A name outside CODECS is a mistake of the caller."""
    with pytest.raises(ValueError, match="brotli"):
        compress(_array(b"x"), "brotli")
