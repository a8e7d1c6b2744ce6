"""Record batches against the plain-Python reference, against two other clients, and against hostile bytes."""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder as AiokafkaBuilder
from aiokafka.record.memory_records import MemoryRecords as AiokafkaRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns.reference_records import (
    PlainRecord,
    column_records,
    decode_plain_batch,
    encode_plain_batch,
    encode_plain_headers,
    plain_records,
    seal,
    zigzag,
)
from worker.columns.compression import CODECS, compress
from worker.columns.layout import I64, NONE, Events
from worker.columns.records import (
    MAX_DECOMPRESSED_BYTES,
    EncodedBatch,
    encode_headers,
    is_control,
    read_batch_info,
    read_record_batch,
    write_record_batches,
)
from worker.errors import CorruptRecordBatch, TooLarge

with warnings.catch_warnings():
    # kafka-python reads its own files by a call that Python 3.11 wants replaced.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import codec as kafka_python_codecs
    from kafka.record.memory_records import MemoryRecords as KafkaPythonRecords
    from kafka.record.memory_records import MemoryRecordsBuilder as KafkaPythonBuilder

_MILLISECONDS = st.one_of(st.just(-1), st.integers(1_600_000_000_000, 1_900_000_000_000), st.integers(0, 1 << 62))
_CONTENT = st.one_of(st.binary(max_size=20), st.binary(min_size=60, max_size=300))
_HEADERS = st.lists(
    st.tuples(st.text(max_size=8).map(str.encode), st.one_of(st.none(), st.binary(max_size=90))), max_size=3
).map(tuple)


@st.composite
def _batches(draw: st.DrawFn) -> list[PlainRecord]:
    """Draw the records of one batch: offsets ascend, with gaps as compaction leaves them."""
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 70, 9000]), min_size=1, max_size=12))
    offset = draw(st.sampled_from([0, 17, 1 << 40]))
    plain = []
    for gap in gaps:
        key, value = draw(st.one_of(st.none(), _CONTENT)), draw(st.one_of(st.none(), _CONTENT))
        timestamp, headers = draw(_MILLISECONDS), draw(_HEADERS)
        plain.append(PlainRecord(offset=offset, timestamp=timestamp, key=key, value=value, headers=headers))
        offset += gap
    return plain


def _events(contents: Sequence[bytes | None]) -> Events:
    lengths = [NONE if content is None else len(content) for content in contents]
    starts = np.cumsum([0, *(max(length, 0) for length in lengths)])[:-1]
    buffer = np.array(bytearray(b"".join(content or b"" for content in contents)), np.uint8)
    return Events(buffer, starts.astype(np.int64), np.array(lengths, np.int64))


def _identity(records: int) -> I64:
    return np.arange(records, dtype=np.int64)


def _write(plain: Sequence[PlainRecord], *, compression: str = "none", max_bytes: int = 1 << 20) -> list[EncodedBatch]:
    """Write each record's own value as its event."""
    events = _events([record.value for record in plain])
    rows = _identity(len(plain))
    return write_record_batches(events, column_records(plain), rows, compression=compression, max_bytes=max_bytes)


def _renumbered(plain: Sequence[PlainRecord]) -> list[PlainRecord]:
    """Return what a broker would store of events: no nulls, offsets in sequence."""
    kept = [record for record in plain if record.value is not None]
    return [replace(record, offset=offset) for offset, record in enumerate(kept)]


_EXAMPLES = [
    PlainRecord(offset=0, timestamp=1_700_000_000_000, key=b"key", value=b"first", headers=((b"trace", b"\x00\xff"),)),
    PlainRecord(offset=1, timestamp=1_700_000_000_007, key=None, value=b"second " * 40, headers=((b"none", None),)),
    PlainRecord(offset=2, timestamp=1_699_999_999_000, key=b"", value=b"", headers=()),
    PlainRecord(offset=3, timestamp=1_700_000_000_007, key=b"k" * 200, value="dritte ✓".encode()),
]


@given(plain=_batches())
@settings(max_examples=200)
def test_reading_agrees_with_the_reference(plain: list[PlainRecord]) -> None:
    """Every key, value, header, offset and timestamp comes out as it went in."""
    assert plain_records(read_record_batch(encode_plain_batch(plain))) == plain


@given(plain=_batches())
@settings(max_examples=200)
def test_writing_agrees_with_the_reference_byte_for_byte(plain: list[PlainRecord]) -> None:
    """An uncompressed batch is the batch that the reference writes."""
    stored = _renumbered(plain)
    assert [bytes(batch.data) for batch in _write(plain)] == ([encode_plain_batch(stored)] if stored else [])


@pytest.mark.parametrize("compression", CODECS)
@given(plain=_batches(), max_bytes=st.sampled_from([1 << 20, 900, 1500]))
@settings(max_examples=60)
def test_what_is_written_is_read_back_in_order(compression: str, plain: list[PlainRecord], max_bytes: int) -> None:
    """Split over however many batches, compressed or not, the records stay the same and in order."""
    try:
        batches = _write(plain, compression=compression, max_bytes=max_bytes)
    except TooLarge:
        assert max_bytes < 1 << 20
        return
    read: list[PlainRecord] = []
    for batch in batches:
        info = read_batch_info(batch.data)
        records = plain_records(read_record_batch(batch.data))
        assert info.count == len(records) == batch.record_count
        assert info.last_offset == len(records) - 1
        assert info.max_timestamp == max(record.timestamp for record in records)
        read += [replace(record, offset=len(read) + record.offset) for record in records]
        assert max_bytes >= len(batch.data)
    assert read == _renumbered(plain)


@given(plain=_batches(), data=st.data())
@settings(max_examples=200)
def test_records_below_the_fetch_offset_are_left_out(plain: list[PlainRecord], data: st.DataObject) -> None:
    """A broker sends the whole batch that holds the offset asked for."""
    fetch_offset = data.draw(st.integers(plain[0].offset - 1, plain[-1].offset + 1))
    read = plain_records(read_record_batch(encode_plain_batch(plain), fetch_offset=fetch_offset))
    assert read == [record for record in plain if record.offset >= fetch_offset]


@given(content=st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_are_refused(content: bytes) -> None:
    """Bytes that are no batch are corrupt, never a crash."""
    with pytest.raises(CorruptRecordBatch):
        read_record_batch(content)


@given(section=st.binary(max_size=60), count=st.integers(-1, 4), last_offset_delta=st.integers(0, 3))
@settings(max_examples=300)
def test_random_sections_read_as_the_reference_reads_them(section: bytes, count: int, last_offset_delta: int) -> None:
    """Behind a sound header and checksum, any bytes give what the reference gives, or both refuse."""
    _compare_with_reference(_batch_of(section, count=count, last_offset_delta=last_offset_delta))


@given(plain=_batches(), data=st.data())
@settings(max_examples=300)
def test_altered_batches_read_as_the_reference_reads_them(plain: list[PlainRecord], data: st.DataObject) -> None:
    """Whatever byte lies, with the checksum made to fit, kernels and reference agree on what is read or refused."""
    batch = bytearray(encode_plain_batch(plain))
    for _ in range(data.draw(st.integers(1, 3))):
        batch[data.draw(st.integers(61, len(batch) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    _compare_with_reference(seal(bytes(batch)))


def _batch_of(section: bytes, *, count: int, last_offset_delta: int = 0, attributes: int = 0) -> bytes:
    """Put a section behind a header that fits it."""
    header = bytearray(encode_plain_batch(_EXAMPLES[:1], attributes=attributes, count=count)[:61])
    header[8:12] = (len(section) + 49).to_bytes(4, "big")
    header[23:27] = last_offset_delta.to_bytes(4, "big")
    return seal(bytes(header) + section)


def _compare_with_reference(batch: bytes) -> None:
    try:
        expected = decode_plain_batch(batch)
    except ValueError:
        with pytest.raises(CorruptRecordBatch):
            read_record_batch(batch)
    else:
        assert plain_records(read_record_batch(batch)) == expected


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
@given(data=st.data())
@settings(max_examples=100)
def test_altered_compressed_batches_are_corrupt_or_read(compression: str, data: st.DataObject) -> None:
    """Damage under compression raises CorruptRecordBatch or yields records, and nothing else."""
    batch = bytearray(
        _write([replace(_EXAMPLES[1], offset=offset) for offset in range(20)], compression=compression)[0].data
    )
    for _ in range(data.draw(st.integers(1, 3))):
        batch[data.draw(st.integers(57, len(batch) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptRecordBatch):
        read_record_batch(seal(bytes(batch)), max_decompressed_bytes=1 << 20)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (b"", "says 1 records in 0 bytes"),
        (zigzag(100) + bytes(8), "record 0.*its length is cut off or leaves the batch"),
        (zigzag(-1) + bytes(8), "its length is cut off or leaves the batch"),
        (b"\xff" * 20, "its length is cut off or leaves the batch"),
        (zigzag(0) + bytes(8), "its timestamp is cut off"),
        (zigzag(7) + bytes(2) + zigzag(1) + bytes(4), "its offset is"),
        (zigzag(8) + bytes(3) + zigzag(1000) + bytes(3), "its key leaves the record"),
        (zigzag(8) + bytes(3) + zigzag(-2) + bytes(4), "its key leaves the record"),
        (zigzag(8) + bytes(4) + zigzag(1000) + bytes(2), "its value leaves the record"),
        (zigzag(6) + bytes(5) + zigzag(-1), "its count of headers is cut off or negative"),
        (zigzag(8) + bytes(5) + zigzag(2) + bytes(2), "a header leaves the record"),
        (zigzag(8) + bytes(5) + zigzag(1) + zigzag(-1) + bytes(1), "a header leaves the record"),
        (zigzag(8) + bytes(8), "bytes are left over at its end"),
        (zigzag(6) + bytes(6) + b"?", "bytes after its 1 records"),
    ],
)
def test_a_lying_record_is_named(section: bytes, message: str) -> None:
    """The error says which record lies about what."""
    with pytest.raises(CorruptRecordBatch, match=message):
        read_record_batch(_batch_of(section, count=1))


def test_offsets_must_ascend() -> None:
    """Two records at one offset would break the bookkeeping of commits."""
    with pytest.raises(CorruptRecordBatch, match=r"record 1.*its offset is"):
        read_record_batch(_batch_of((zigzag(6) + bytes(6)) * 2, count=2, last_offset_delta=1))


@pytest.mark.parametrize("magic", [0, 1, 3, 255])
def test_other_message_formats_are_refused(magic: int) -> None:
    """Batches of v0 and v1 are named as such."""
    batch = bytearray(encode_plain_batch(_EXAMPLES))
    batch[16] = magic
    with pytest.raises(CorruptRecordBatch, match=f"message format v{magic}; only v2"):
        read_record_batch(bytes(batch))


@pytest.mark.parametrize("length", [0, 11, 17, 60])
def test_a_batch_cut_inside_its_header_is_corrupt(length: int) -> None:
    """A header needs all of its 61 bytes."""
    with pytest.raises(CorruptRecordBatch, match=f"{length} bytes is cut off"):
        read_record_batch(encode_plain_batch(_EXAMPLES)[:length])


def test_a_wrong_length_is_corrupt() -> None:
    """Neither a cut batch nor two batches in a row pass for one."""
    batch = encode_plain_batch(_EXAMPLES)
    for wrong in (batch[:-1], batch + batch):
        with pytest.raises(CorruptRecordBatch, match=f"says {len(batch)} bytes and has {len(wrong)}"):
            read_record_batch(wrong)


def test_every_flipped_bit_behind_the_checksum_is_found() -> None:
    """The checksum covers everything from the attributes on."""
    batch = encode_plain_batch(_EXAMPLES[:1])
    for position in range(21, len(batch)):
        flipped = batch[:position] + bytes([batch[position] ^ 1]) + batch[position + 1 :]
        with pytest.raises(CorruptRecordBatch, match="has CRC"):
            read_record_batch(flipped)


def test_log_append_time_overrides_each_timestamp() -> None:
    """With attribute bit 3 all records have the broker's time."""
    batch = encode_plain_batch(_EXAMPLES, attributes=0x08, max_timestamp=1_800_000_000_000)
    assert read_record_batch(batch).timestamp.tolist() == [1_800_000_000_000] * 4


def test_a_batch_that_compaction_emptied_has_no_records() -> None:
    """A broker may keep a header without records, whatever codec it names."""
    assert read_record_batch(_batch_of(b"", count=0, attributes=CODECS["zstd"])).offset.size == 0


def test_a_decompression_bomb_is_refused() -> None:
    """The size that records may decompress to is bounded."""
    section = np.zeros(1 << 20, np.uint8)
    bomb = _batch_of(compress(section, "zstd"), count=1, attributes=CODECS["zstd"])
    with pytest.raises(CorruptRecordBatch, match="more than the allowed 1000"):
        read_record_batch(bomb, max_decompressed_bytes=1000)


def test_the_header_tells_control_and_transactional_batches() -> None:
    """What a consumer must know before it shows records stands in the attributes."""
    marker = encode_plain_batch(_EXAMPLES[:1], attributes=0x30 | CODECS["lz4"])
    info = read_batch_info(marker)
    assert (info.is_control, info.is_transactional, info.codec, info.has_log_append_time) == (True, True, 3, False)
    assert is_control(marker)
    assert not is_control(encode_plain_batch(_EXAMPLES))


def test_set_producer_marks_the_batch_and_redoes_the_checksum() -> None:
    """Producer id, epoch, sequence and the transactional bit can be set, and set again, after encoding."""
    (batch,) = _write(_EXAMPLES, compression="lz4")
    assert read_batch_info(batch.data).producer_id == -1
    for is_transactional in (True, False):
        batch.set_producer(1 << 40, 3, 77, is_transactional=is_transactional)
        info = read_batch_info(batch.data)
        assert (info.producer_id, info.producer_epoch, info.base_sequence) == (1 << 40, 3, 77)
        assert info.is_transactional is is_transactional
        assert plain_records(read_record_batch(batch.data)) == _EXAMPLES


def test_events_take_key_headers_and_timestamp_of_their_row() -> None:
    """Several events may come from one record, some records give none, and rows without an event are left out."""
    events = _events([b"a", None, b"b", b"c"])
    rows = np.array([3, 0, 3, 1], np.int64)
    batches = write_record_batches(events, column_records(_EXAMPLES), rows, compression="none", max_bytes=4096)
    assert [plain_records(read_record_batch(batch.data)) for batch in batches] == [
        [
            replace(_EXAMPLES[3], offset=0, value=b"a"),
            replace(_EXAMPLES[3], offset=1, value=b"b"),
            replace(_EXAMPLES[1], offset=2, value=b"c"),
        ]
    ]


def test_a_batch_is_filled_to_the_last_byte() -> None:
    """Splitting wastes no room: one byte less makes one batch more."""
    (whole,) = _write(_EXAMPLES)
    assert len(_write(_EXAMPLES, max_bytes=len(whole.data))) == 1
    assert len(_write(_EXAMPLES, max_bytes=len(whole.data) - 1)) == 2


def test_all_rows_that_are_too_large_are_named() -> None:
    """The caller learns of every record that fits in no batch at once."""
    events = _events([b"x" * 200, b"small", None, b"y" * 100])
    with pytest.raises(TooLarge, match="100 bytes") as caught:
        write_record_batches(
            events, column_records([_EXAMPLES[2]]), np.zeros(4, np.int64), compression="none", max_bytes=100
        )
    assert caught.value.rows == (0, 3)


def test_nothing_to_write_makes_no_batch() -> None:
    """Without events there is no batch."""
    assert (
        write_record_batches(
            _events([None, None]), column_records(_EXAMPLES), np.zeros(2, np.int64), compression="zstd", max_bytes=4096
        )
        == []
    )


def test_what_a_codec_cannot_shrink_is_stored_uncompressed() -> None:
    """A compressed batch is never larger than the bound on the uncompressed one."""
    (batch,) = _write([replace(_EXAMPLES[2], value=b"tiny")], compression="gzip")
    assert read_batch_info(batch.data).codec == CODECS["none"]


@pytest.mark.parametrize(
    ("events", "rows"),
    [
        (Events(np.zeros(4, np.uint8), np.array([2]), np.array([3])), [0]),
        (Events(np.zeros(4, np.uint8), np.array([-1]), np.array([1])), [0]),
        (Events(np.zeros(4, np.uint8), np.array([0]), np.array([1])), [4]),
        (Events(np.zeros(4, np.uint8), np.array([0]), np.array([1])), [-1]),
        (Events(np.zeros(4, np.uint8), np.array([0]), np.array([1])), []),
    ],
)
def test_spans_outside_their_buffers_are_refused(events: Events, rows: list[int]) -> None:
    """A wrong column fails instead of reading memory that is not its own."""
    with pytest.raises(IndexError):
        write_record_batches(
            events, column_records(_EXAMPLES), np.array(rows, np.int64), compression="none", max_bytes=4096
        )


def test_an_unknown_compression_is_refused() -> None:
    """A codec outside CODECS is a mistake of the caller."""
    with pytest.raises(ValueError, match="brotli"):
        _write(_EXAMPLES, compression="brotli")


@given(headers=_HEADERS)
@settings(max_examples=100)
def test_encode_headers_agrees_with_the_reference(headers: tuple[tuple[bytes, bytes | None], ...]) -> None:
    """Dead letters carry headers of their own."""
    assert encode_headers((name.decode(), content) for name, content in headers) == encode_plain_headers(headers)


def _pairs(headers: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[bytes, bytes | None], ...]:
    return tuple((name.encode(), content) for name, content in headers)


@pytest.mark.parametrize("compression", CODECS)
def test_aiokafka_reads_what_is_written(compression: str) -> None:
    """Aiokafka's own reader, checksum included, sees the same records."""
    (batch,) = _write(_EXAMPLES * 30, compression=compression)
    reader = AiokafkaRecords(bytes(batch.data)).next_batch()
    assert reader.validate_crc()
    read = [
        PlainRecord(offset=r.offset, timestamp=r.timestamp, key=r.key, value=r.value, headers=_pairs(r.headers))
        for r in reader
    ]
    assert read == _renumbered(_EXAMPLES * 30)


@pytest.mark.parametrize("compression", CODECS)
def test_what_aiokafka_writes_is_read(compression: str) -> None:
    """Batches of aiokafka's builder read as they were built."""
    builder = AiokafkaBuilder(2, CODECS[compression], 0, -1, -1, 0, 1 << 20)
    plain = _renumbered(_EXAMPLES * 30)
    for r in plain:
        headers = [(name.decode(), content) for name, content in r.headers]
        builder.append(r.offset, r.timestamp, r.key, r.value, headers)
    assert plain_records(read_record_batch(bytes(builder.build()))) == plain


# kafka-python takes every codec but gzip from a wheel of its own.
_KAFKA_PYTHON_CODECS = [
    pytest.param(
        codec,
        marks=pytest.mark.skipif(
            codec != "none" and not getattr(kafka_python_codecs, f"has_{codec}")(),
            reason=f"kafka-python finds no library for {codec}",
        ),
    )
    for codec in CODECS
]


@pytest.mark.parametrize("compression", _KAFKA_PYTHON_CODECS)
def test_kafka_python_reads_what_is_written(compression: str) -> None:
    """Kafka-python's reader, checksum included, sees the same records."""
    (batch,) = _write(_EXAMPLES * 30, compression=compression)
    reader = KafkaPythonRecords(bytes(batch.data)).next_batch()
    assert reader.validate_crc()
    read = [
        PlainRecord(offset=r.offset, timestamp=r.timestamp, key=r.key, value=r.value, headers=_pairs(r.headers))
        for r in reader
    ]
    assert read == _renumbered(_EXAMPLES * 30)


@pytest.mark.parametrize("compression", _KAFKA_PYTHON_CODECS)
def test_what_kafka_python_writes_is_read(compression: str) -> None:
    """Batches of kafka-python's builder, gaps between offsets included, read as they were built."""
    builder = KafkaPythonBuilder(2, CODECS[compression], 1 << 20)
    plain = [replace(record, offset=2 * offset) for offset, record in enumerate(_EXAMPLES * 30)]
    for r in plain:
        builder.append(r.timestamp, r.key, r.value, [(name.decode(), content) for name, content in r.headers])
        builder.skip(1)
    builder.close()
    assert plain_records(read_record_batch(bytes(builder.buffer()))) == plain


def test_a_bomb_is_refused_without_a_setting() -> None:
    """Some kilobytes that decompress to more than any batch may hold are corrupt, before a record is read."""
    bomb = compress(np.zeros(MAX_DECOMPRESSED_BYTES + 1, np.uint8), "zstd")
    batch = bytearray(_batch_of(bomb, count=1, attributes=CODECS["zstd"]))
    assert len(batch) < 1 << 16
    with pytest.raises(CorruptRecordBatch, match=f"more than the allowed {MAX_DECOMPRESSED_BYTES} bytes"):
        read_record_batch(seal(bytes(batch)))
