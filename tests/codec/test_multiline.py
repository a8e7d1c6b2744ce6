"""Rows that are one log become one text, and nothing waits longer, or is acknowledged earlier, than it may."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.codec.envelopes import Envelope
from worker.codec.multiline import Joined, Joiner, Limits
from worker.columns.layout import Records

MakeRecords = Callable[..., Records]


def _texts(joined: Joined) -> list[bytes]:
    texts = joined.texts
    buffer = texts.buffer.tobytes()
    return [
        buffer[start : start + length]
        for start, length in zip(texts.start.tolist(), texts.length.tolist(), strict=True)
        if length >= 0
    ]


def _offsets(joined: Joined) -> list[int]:
    offsets: list[int] = joined.records.offset[joined.texts.record[joined.texts.length >= 0]].tolist()
    return offsets


def _join(joiner: Joiner, records: Records, *, now: float = 0.0, is_start: Sequence[bool] | None = None) -> Joined:
    texts = Envelope("raw").open(records).texts
    starts = None if is_start is None else np.array(is_start)
    return joiner.join(texts, records, partition="p", now=now, is_start=starts)


_TRACES = {
    "java": b"""2026-11-22 12:00:00 ERROR Cart - checkout failed
java.lang.IllegalStateException: no price
\tat shop.Cart.total(Cart.java:41)
\tat shop.Cart.main(Cart.java:9)
Caused by: java.io.IOException: refused
\t... 2 more""",
    "python": b"""ERROR:jobs:job 9 failed
Traceback (most recent call last):
  File "jobs.py", line 3, in run
    work()
KeyError: 'nine'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "jobs.py", line 5, in run
    raise JobLost from None
jobs.JobLost""",
    "go": b"""panic: runtime error: index out of range [3] with length 3

goroutine 1 [running]:
main.pick(...)
\t/src/main.go:9
net/http.(*Server).Serve(0xc0001, {0x7f, 0x1})
\t/src/main.go:5 +0x1d
created by main.start
\t/src/main.go:4 +0x11
exit status 2""",
    "node": b"""Error: connect ECONNREFUSED 10.0.0.7:5432
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16) {
  errno: -111
}""",
    "dotnet": b"""Unhandled exception. System.InvalidOperationException: no rows
 ---> System.Data.DataException: closed
   at Shop.Rows.First() in /src/Rows.cs:line 7
   --- End of inner exception stack trace ---
   at Shop.Program.Main() in /src/Program.cs:line 3""",
}


@pytest.mark.parametrize("language", _TRACES)
def test_a_stack_trace_is_one_text(make_records: MakeRecords, language: str) -> None:
    """The lines of a trace join the line that they belong to; the next log starts its own text."""
    lines = _TRACES[language].split(b"\n")
    joined = _join(
        Joiner(limits=Limits(quiet_seconds=math.inf)),
        make_records([b"2026 before", *lines, b"2026 after", b"2026 last"]),
    )
    assert [b"2026 before", _TRACES[language], b"2026 after"] == _texts(joined)
    assert [100, 100 + len(lines), 101 + len(lines)] == _offsets(joined)
    assert [1, len(lines), 1] == joined.covers[joined.texts.length >= 0].tolist()
    assert joined.held_offset == 102 + len(lines)


@pytest.mark.parametrize("language", _TRACES)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_trace_across_batches_is_one_text(make_records: MakeRecords, language: str, cut: int) -> None:
    """What a batch ends with waits for the next one, and the offset of its first line with it."""
    lines = _TRACES[language].split(b"\n")
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf))
    first = _join(joiner, make_records([b"2026 before", *lines[:cut]]))
    assert _texts(first) == [b"2026 before"]
    assert first.held_offset == 101
    second = _join(joiner, make_records([*lines[cut:], b"2026 after"], first_offset=101 + cut), now=0.5)
    assert [_TRACES[language]] == _texts(second)
    assert [100 + len(lines)] == _offsets(second)


def test_plain_lines_stay_as_they_are(make_records: MakeRecords) -> None:
    """Without continuation lines the batch's own bytes are pointed at; only the last row waits."""
    records = make_records([b"ERROR a", b"at noon", b"Info: b", b"kafka.errors.Timeout: x", b"{}"])
    joined = _join(Joiner(limits=Limits(quiet_seconds=math.inf)), records)
    assert _texts(joined) == [b"ERROR a", b"at noon", b"Info: b", b"kafka.errors.Timeout: x"]
    assert joined.texts.buffer is records.buffer
    assert joined.records is records


def test_a_log_of_exceptions_is_not_one_text(make_records: MakeRecords) -> None:
    """An exception's name after a log line belongs to it, one after another is a log of its own."""
    values = [b"request failed", b"a.TimeoutException: 1", b"a.TimeoutException: 2", b"a.TimeoutException: 3", b"2026"]
    expected = [b"request failed\na.TimeoutException: 1", b"a.TimeoutException: 2", b"a.TimeoutException: 3"]
    assert expected == _texts(_join(Joiner(limits=Limits(quiet_seconds=math.inf)), make_records(values)))


def test_declared_starts_decide(make_records: MakeRecords) -> None:
    """Where the caller says which rows start a text, the rules of traces are not asked."""
    values = [b"[1] a", b"plain b", b"  c", b"[2] d", b"e", b"[3]"]
    joined = _join(
        Joiner(limits=Limits(quiet_seconds=math.inf)),
        make_records(values),
        is_start=[True, False, False, True, False, True],
    )
    assert _texts(joined) == [b"[1] a\nplain b\n  c", b"[2] d\ne"]


def test_keys_do_not_mix(make_records: MakeRecords) -> None:
    """Rows join the row before them with the same key; a null key is a key of its own."""
    values = [b"a1", b"b1", b" a2", b"n1", b" b2", b" n2", b"a3", b"b3", b"n3"]
    keys = [b"a", b"b", b"a", None, b"b", None, b"a", b"b", None]
    joined = _join(Joiner(limits=Limits(quiet_seconds=math.inf)), make_records(values, keys=keys))
    assert _texts(joined) == [b"a1\n a2", b"b1\n b2", b"n1\n n2"]
    assert joined.held_offset == 106


def test_a_held_row_keeps_its_key_and_headers(make_records: MakeRecords) -> None:
    """Records that waited carry their own key, value, headers and time into the next batch."""
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf))
    _join(joiner, make_records([b"one"], keys=[b"k"], timestamp_ms=7))
    joined = _join(joiner, make_records([b"two"], keys=[b"k"], first_offset=101))
    records = joined.records
    (row,) = np.flatnonzero(joined.texts.length >= 0)
    record = joined.texts.record[row]
    spans = [
        records.buffer[start[record] : start[record] + length[record]].tobytes()
        for start, length in [
            (records.key_start, records.key_length),
            (records.value_start, records.value_length),
            (records.headers_start, records.headers_length),
        ]
    ]
    assert spans == [b"k", b"one", b"\x00"]
    assert _texts(joined) == [b"one"]
    assert (records.timestamp[record], records.offset[record]) == (7, 100)
    assert joined.held_offset == 101


def test_time_ends_the_waiting(make_records: MakeRecords) -> None:
    """A text waits for its limit from its first row on, then a flush gives it out."""
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf, max_seconds=2.0))
    _join(joiner, make_records([b"a"]), now=10.0)
    early = joiner.flush("p", now=11.9)
    assert (_texts(early), early.held_offset) == ([], 100)
    late = joiner.flush("p", now=12.0)
    assert (_texts(late), late.held_offset) == ([b"a"], None)
    assert _texts(joiner.flush("p", now=99.0)) == []


def test_time_ends_the_waiting_when_a_batch_comes(make_records: MakeRecords) -> None:
    """A key that stays silent is given out with a later batch of other keys, once it is old enough."""
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf, max_seconds=2.0))
    _join(joiner, make_records([b"a"], keys=[b"k"]), now=0.0)
    second = _join(joiner, make_records([b"b"], first_offset=101), now=1.0)
    assert (_texts(second), second.held_offset) == ([], 100)
    third = _join(joiner, make_records([b" c"], first_offset=102), now=2.5)
    assert (_texts(third), third.held_offset) == ([b"a"], 101)
    assert _texts(joiner.flush("p", now=float("inf"))) == [b"b\n c"]


def test_limits_bound_a_text(make_records: MakeRecords) -> None:
    """A text takes no more rows and no more bytes than it may; what comes after starts another."""
    values = [b"a", b" b", b" c", b" d", b"e", b" " + b"x" * 20, b"f"]
    joined = _join(Joiner(limits=Limits(quiet_seconds=math.inf, max_lines=2, max_bytes=10)), make_records(values))
    assert _texts(joined) == [b"a\n b", b" c\n d", b"e", b" " + b"x" * 20]


def test_what_waits_is_bounded(make_records: MakeRecords) -> None:
    """When too many bytes would wait, nothing waits."""
    values = [b"x" * 60, b"y" * 60]
    joined = _join(
        Joiner(limits=Limits(quiet_seconds=math.inf, max_held_bytes=100)), make_records(values, keys=[b"1", b"2"])
    )
    assert values == _texts(joined)
    assert joined.held_offset is None


def test_texts_with_several_lines_stay_alone(make_records: MakeRecords) -> None:
    """A record that brought its own lines is complete."""
    joined = _join(Joiner(limits=Limits(quiet_seconds=math.inf)), make_records([b"a\n b", b" c", b" d\ne", b"f"]))
    assert _texts(joined) == [b"a\n b", b" c", b" d\ne"]


def test_tombstones_and_dead_rows_are_passed_over(make_records: MakeRecords) -> None:
    """Rows without a text neither join nor end a text."""
    joined = _join(Joiner(limits=Limits(quiet_seconds=math.inf)), make_records([b"a", None, b" b", None, b"c", None]))
    assert _texts(joined) == [b"a\n b"]
    assert joined.covers.tolist() == [0, 0, 2, 0, 0, 0]


def test_partial_lines_of_containers_are_joined(make_records: MakeRecords) -> None:
    """CRI's pieces become one line per stream, across batches, before traces are joined."""
    joiner, envelope = Joiner(limits=Limits(quiet_seconds=math.inf)), Envelope("cri")

    def join(values: list[bytes], first_offset: int) -> Joined:
        records = make_records(values, first_offset=first_offset)
        opened = envelope.open(records)
        return joiner.join(opened.texts, records, partition=0, now=0.0, partial=opened.partial)

    time = b"2026-11-22T12:00:00Z"
    first = join([time + b" stdout P one ", time + b" stderr F E: x", time + b" stdout P two "], 100)
    assert (_texts(first), first.held_offset) == ([], 100)
    second = join([time + b" stdout F three", time + b" stderr F   at y", time + b" stdout F z"], 103)
    assert (_texts(second), second.held_offset) == ([b"one two three"], 101)
    assert second.covers[second.texts.length >= 0].tolist() == [3]
    assert _texts(joiner.flush(0, now=1.0)) == [b"E: x\n  at y", b"z"]


def test_without_multiline_only_partial_lines_wait(make_records: MakeRecords) -> None:
    """Traces stay apart where joining them is off, and nothing is held back but pieces."""
    joiner, time = Joiner(limits=Limits(quiet_seconds=math.inf), multiline=False), b"2026-11-22T12:00:00Z"
    records = make_records([b"a", b" b"])
    assert _texts(_join(joiner, records)) == [b"a", b" b"]
    records = make_records([time + b" stdout F a", time + b" stdout F  b", time + b" stdout P c"])
    opened = Envelope("cri").open(records)
    joined = joiner.join(opened.texts, records, partition="p", now=0.0, partial=opened.partial)
    assert (_texts(joined), joined.held_offset) == ([b"a", b" b"], 102)


def test_a_forgotten_partition_gives_nothing_out(make_records: MakeRecords) -> None:
    """After a rebalance the partition's next owner reads what was not acknowledged."""
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf))
    _join(joiner, make_records([b"a"]))
    joiner.forget("p")
    joiner.forget("never seen")
    assert _texts(joiner.flush("p", now=float("inf"))) == []


class _Line(NamedTuple):
    key: bytes | None
    text: bytes | None
    starts: bool


_LINES = st.builds(
    _Line,
    key=st.sampled_from([None, b"", b"a", b"b"]),
    text=st.none() | st.sampled_from([b"", b"x", b" y", b"z\nz"]) | st.binary(max_size=4),
    starts=st.booleans(),
)


def _reference(lines: Sequence[_Line], max_lines: int) -> list[tuple[int, bytes]]:
    """Join by declared starts, a dictionary per key: offsets of last rows and texts."""
    done: list[list[tuple[int, bytes]]] = []
    current: dict[bytes | None, list[tuple[int, bytes]]] = {}
    for offset, line in enumerate(lines, 100):
        if line.text is None:
            continue
        text = line.text.removesuffix(b"\n").removesuffix(b"\r")
        before = current.get(line.key)
        single = b"\n" not in text and before is not None and (len(before) > 1 or b"\n" not in before[0][1])
        if before is not None and not line.starts and single and len(before) < max_lines:
            before.append((offset, text))
        else:
            current[line.key] = [(offset, text)]
            done.append(current[line.key])
    return sorted((rows[-1][0], b"\n".join(text for _, text in rows)) for rows in done)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    batches=st.lists(st.lists(_LINES, min_size=1, max_size=6), min_size=1, max_size=4),
    max_lines=st.sampled_from([2, 99]),
)
def test_batches_join_as_one_stream(make_records: MakeRecords, batches: list[list[_Line]], max_lines: int) -> None:
    """However a stream is cut into batches, the texts are those of the whole; none is acknowledged while it waits."""
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf, max_lines=max_lines))
    given_out: list[tuple[int, bytes]] = []
    offset, covered = 100, 0
    for batch in batches:
        records = make_records([line.text for line in batch], keys=[line.key for line in batch], first_offset=offset)
        joined = _join(joiner, records, is_start=[line.starts for line in batch])
        offset += len(batch)
        given_out += zip(_offsets(joined), _texts(joined), strict=True)
        covered += int(joined.covers.sum())
        assert joined.held_offset is None or joined.held_offset < offset
    joined = joiner.flush("p", now=float("inf"))
    given_out += zip(_offsets(joined), _texts(joined), strict=True)
    covered += int(joined.covers.sum())
    assert joined.held_offset is None
    lines = [line for batch in batches for line in batch]
    assert _reference(lines, max_lines) == sorted(given_out)
    assert sum(line.text is not None for line in lines) == covered


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(
        st.lists(
            st.sampled_from(
                [b"Traceback (most recent call last):", b"x.AError: ", b"panic: ", b"goroutine ", b"at ", b"a.B", b" ",
                 b"}", b")", b"Error", b"2026 ", b"\xff", b":", b"..."]
            ),
            max_size=4,
        ).map(b"".join),
        max_size=12,
    ),
    cut=st.integers(0, 12),
)  # fmt: skip
def test_no_byte_is_lost_by_rules(make_records: MakeRecords, values: list[bytes], cut: int) -> None:
    """Whatever the rules say of lines, all texts together are all lines in their order."""
    joiner = Joiner(limits=Limits(quiet_seconds=math.inf))
    given_out = []
    for part, first_offset in ((values[:cut], 0), (values[cut:], cut)):
        given_out += _texts(_join(joiner, make_records(part, first_offset=first_offset)))
    given_out += _texts(joiner.flush("p", now=float("inf")))
    assert values == [line for text in given_out for line in text.split(b"\n")]


def test_a_line_that_needs_no_trace_does_not_wait_where_nothing_was_joined(make_records: MakeRecords) -> None:
    """In a partition without stack traces an event is given out with its own batch."""
    joined = _join(Joiner(), make_records([b"started", b"listening on 8080"]))
    assert ([b"started", b"listening on 8080"], None) == (_texts(joined), joined.held_offset)


def test_a_line_that_speaks_of_an_error_waits_for_its_trace(make_records: MakeRecords) -> None:
    """The first stack trace of a partition is whole, though nothing was joined there before."""
    assert [] == _texts(_join(Joiner(), make_records([b"request failed"])))


def test_lines_with_keys_of_their_own_do_not_wait(make_records: MakeRecords) -> None:
    """Where most records have another key, keys name no streams, and no line waits for one that would follow it."""
    lines = [b"error %d" % number for number in range(100)]
    joined = _join(Joiner(), make_records(lines, keys=[b"%d" % number for number in range(100)]))
    assert (joined.held_offset, _texts(joined)) == (None, lines)
    joined = _join(Joiner(), make_records(lines, keys=[b"%d" % (number % 3) for number in range(100)]))
    assert (joined.held_offset, len(_texts(joined))) == (197, 97)
