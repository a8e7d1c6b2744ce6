"""Declared header formats are taken as they are; `auto` finds them from the first lines and then keeps to them."""

from collections.abc import Sequence

import numpy as np
import pytest
import structlog

from tests.columns_of import texts_of
from worker.codec import header_finder
from worker.codec.header_finder import HeaderFinder
from worker.errors import WrongFormat
from worker.parsing.headers import Detection, detect

LOG4J = b"2026-11-02 15:04:05,123 INFO [main] a.B: took %d ms"
KLOG = b"I1102 15:04:05.123456    7 main.go:12] said %d"


def finder(*declared: str) -> HeaderFinder:
    """Make a finder of one source."""
    return HeaderFinder(declared, zone="UTC", source="test")


def split(found: HeaderFinder, lines: Sequence[bytes | None]) -> list[bytes]:
    """Split lines and return their messages."""
    texts = texts_of(lines)
    headers = found.split(texts, np.zeros(len(lines), np.int64))
    return [
        texts.buffer[start : start + length].tobytes()
        for start, length in zip(headers.message_start, headers.message_length, strict=True)
    ]


def test_none_leaves_lines_whole() -> None:
    """With `none` there is no header, whatever a line looks like."""
    assert split(finder("none"), [LOG4J % 7]) == [LOG4J % 7]


def test_declared_formats_are_tried_in_order() -> None:
    """A preset and a declaration stand side by side; the first that fits a line splits it."""
    found = finder("klog", "[<Level>] <Content>")
    assert split(found, [KLOG % 1, b"[INFO] took 7 ms", b"?"]) == [b"said 1", b"took 7 ms", b"?"]


@pytest.mark.parametrize("declared", [["<Nonsense"], ["no-preset"], ["auto", "klog"]])
def test_a_wrong_format_is_refused(declared: list[str]) -> None:
    """What is no format, and `auto` beside another, is refused at the start."""
    with pytest.raises(WrongFormat):
        finder(*declared)


def test_auto_finds_the_format_in_the_first_batch() -> None:
    """The first lines are split by the format that they themselves show."""
    assert split(finder("auto"), [LOG4J % 1, LOG4J % 2]) == [b"took 1 ms", b"took 2 ms"]


def test_auto_finds_several_formats() -> None:
    """A source that mixes two formats has both split."""
    messages = split(finder("auto"), [LOG4J % 1, KLOG % 2] * 10)
    assert messages == [b"took 1 ms", b"said 2"] * 10


def test_auto_changes_its_mind_while_it_looks() -> None:
    """What a few odd first lines suggest gives way to what many lines show, and the format is told."""
    found = finder("auto")
    with structlog.testing.capture_logs() as logs:
        split(found, [b"plain words"])
        split(found, [LOG4J % number for number in range(50)])
    assert split(found, [LOG4J % 7]) == [b"took 7 ms"]
    assert [(log["event"], log["lines"]) for log in logs] == [("header format found", 51)]
    assert logs[0]["pin_with"] == f"header = {[one.name for one in found.formats]}"


def test_auto_makes_up_its_mind() -> None:
    """After enough lines the format stays, whatever comes."""
    found = finder("auto")
    split(found, [LOG4J % number for number in range(600)])
    formats = found.formats
    split(found, [KLOG % number for number in range(600)])
    assert formats == found.formats


def test_auto_looks_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that come one by one are not all looked at again with each of them."""
    looked_at = []

    def looking(lines: Sequence[bytes]) -> Detection:
        looked_at.append(len(lines))
        return detect(lines)

    monkeypatch.setattr(header_finder, "detect", looking)
    found = finder("auto")
    for number in range(700):
        split(found, [LOG4J % number])
    assert looked_at == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]


def test_auto_needs_lines() -> None:
    """Empty lines and tombstones show nothing."""
    found = finder("auto")
    split(found, [b"", None])
    assert found.formats == ()
    assert split(found, [LOG4J % 1]) == [b"took 1 ms"]
