"""Lines of a file as records."""

import io

from hypothesis import given
from hypothesis import strategies as st

from worker.columns.layout import Records
from worker.columns.lines import read_lines


def _values(records: Records) -> list[bytes]:
    spans = zip(records.value_start.tolist(), records.value_length.tolist(), strict=True)
    return [records.buffer[start : start + length].tobytes() for start, length in spans]


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=30), st.integers(1, 50))
def test_every_line_becomes_one_record(lines: list[bytes], chunk_bytes: int) -> None:
    """Whatever the chunks are, each line is one record and the records count up from zero."""
    stream = io.BytesIO(b"".join(line + b"\n" for line in lines))
    batches = list(read_lines(stream, chunk_bytes=chunk_bytes))
    assert lines == [value for records in batches for value in _values(records)]
    assert list(range(len(lines))) == [int(offset) for records in batches for offset in records.offset]


def test_a_last_line_without_its_end_is_kept() -> None:
    """A file that does not end with a line feed loses nothing."""
    assert [b"a", b"b"] == [v for records in read_lines(io.BytesIO(b"a\nb"), chunk_bytes=2) for v in _values(records)]
