"""Declared header formats are taken as they are; `auto` finds them from the first lines and then keeps to them."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import structlog

from tests.columns_of import texts_of
from worker.codec import header_finder
from worker.codec.header_finder import HeaderFinder
from worker.errors import WrongFormat
from worker.parsing.headers import Detection, HeaderFormat, detect

LOG4J = b"2026-11-02 15:04:05,123 INFO [main] a.B: took %d ms"
KLOG = b"I1102 15:04:05.123456    7 main.go:12] said %d"


def finder(*declared: str) -> HeaderFinder:
    """Make a finder of one source."""
    return HeaderFinder(declared, zone="UTC", source="test")


async def split(found: HeaderFinder, lines: Sequence[bytes | None]) -> list[bytes]:
    """Split lines and return their messages."""
    texts = texts_of(lines)
    headers = (await found.splitter_for(texts)).split(texts, np.zeros(len(lines), np.int64))
    return [
        texts.buffer[start : start + length].tobytes()
        for start, length in zip(headers.message_start, headers.message_length, strict=True)
    ]


async def formats(found: HeaderFinder) -> tuple[HeaderFormat, ...]:
    """Return what lines are split by so far."""
    return (await found.splitter_for(texts_of([]))).formats


async def test_none_leaves_lines_whole() -> None:
    """With `none` there is no header, whatever a line looks like."""
    assert await split(finder("none"), [LOG4J % 7]) == [LOG4J % 7]


async def test_declared_formats_are_tried_in_order() -> None:
    """A preset and a declaration stand side by side; the first that fits a line splits it."""
    found = finder("klog", "[<Level>] <Content>")
    assert await split(found, [KLOG % 1, b"[INFO] took 7 ms", b"?"]) == [b"said 1", b"took 7 ms", b"?"]


@pytest.mark.parametrize("declared", [["<Nonsense"], ["no-preset"], ["auto", "klog"]])
def test_a_wrong_format_is_refused(declared: list[str]) -> None:
    """What is no format, and `auto` beside another, is refused at the start."""
    with pytest.raises(WrongFormat):
        finder(*declared)


async def test_auto_finds_the_format_in_the_first_batch() -> None:
    """The first lines are split by the format that they themselves show."""
    assert await split(finder("auto"), [LOG4J % 1, LOG4J % 2]) == [b"took 1 ms", b"took 2 ms"]


async def test_auto_finds_several_formats() -> None:
    """A source that mixes two formats has both split."""
    messages = await split(finder("auto"), [LOG4J % 1, KLOG % 2] * 10)
    assert messages == [b"took 1 ms", b"said 2"] * 10


async def test_auto_changes_its_mind_while_it_looks() -> None:
    """What a few odd first lines suggest gives way to what many lines show, and the format is told."""
    found = finder("auto")
    with structlog.testing.capture_logs() as logs:
        await split(found, [b"plain words"])
        await split(found, [LOG4J % number for number in range(50)])
    assert await split(found, [LOG4J % 7]) == [b"took 7 ms"]
    assert [(log["event"], log["lines"]) for log in logs] == [("header format found", 51)]
    assert logs[0]["pin_with"] == f"header = {[one.name for one in await formats(found)]}"


async def test_auto_makes_up_its_mind() -> None:
    """After enough lines the format stays, whatever comes."""
    found = finder("auto")
    await split(found, [LOG4J % number for number in range(600)])
    before = await formats(found)
    await split(found, [KLOG % number for number in range(600)])
    assert before == await formats(found)


async def test_auto_looks_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that come one by one are not all looked at again with each of them."""
    looked_at = []

    def looking(lines: Sequence[bytes]) -> Detection:
        looked_at.append(len(lines))
        return detect(lines)

    monkeypatch.setattr(header_finder, "detect", looking)
    found = finder("auto")
    for number in range(700):
        await split(found, [LOG4J % number])
    assert looked_at == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]


async def test_others_wait_for_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that come while the first ones are looked at are split by what these show, and the loop goes on."""
    is_looking, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def looking(lines: Sequence[bytes]) -> Detection:
        loop.call_soon_threadsafe(is_looking.set)
        assert may_end.wait(60)
        return detect(lines)

    monkeypatch.setattr(header_finder, "detect", looking)
    found = finder("auto")
    first = asyncio.create_task(split(found, [LOG4J % number for number in range(600)]))
    await is_looking.wait()
    second = asyncio.create_task(split(found, [LOG4J % 7]))
    await asyncio.sleep(0)
    assert not second.done()
    may_end.set()
    assert await second == [b"took 7 ms"]
    assert len(await first) == 600


async def test_auto_needs_lines() -> None:
    """Empty lines and tombstones show nothing."""
    found = finder("auto")
    await split(found, [b"", None])
    assert await formats(found) == ()
    assert await split(found, [LOG4J % 1]) == [b"took 1 ms"]
