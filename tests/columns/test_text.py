"""Kernels that write text, against Python's own decoder and JSON writer."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns.event_columns import BYTES
from worker.columns.jit import kernel
from worker.columns.layout import U8
from worker.columns.text import PADDING, write_integer, write_text


@kernel
def integer(target: U8, number: int) -> int:
    """Write an integer from Python's side."""
    return write_integer(target, 0, number)


def written(text: bytes, *, until: int | None = None, escaped: bool) -> tuple[bytes, int]:
    """Write `text` and return what was written and how many characters."""
    source = np.array(bytearray(text), np.uint8)
    target = np.zeros(6 * len(text) + PADDING, np.uint8)
    last = len(text) if until is None else until
    position, at, characters = write_text(target, 0, source, 0, last, len(text), escaped)
    assert at >= last
    return target[:position].tobytes(), characters


def in_json(text: str) -> bytes:
    """Write text as Python's JSON writer does."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


@settings(max_examples=300, deadline=None)
@given(text=BYTES, data=st.data())
def test_writes_what_python_writes(text: bytes, data: st.DataObject) -> None:
    """Any bytes come out as Python decodes them, escaped as Python escapes them, up to any byte."""
    until = data.draw(st.integers(0, len(text)))
    characters = text.decode(errors="replace")[: len(text[:until].decode(errors="replace"))]
    assert (in_json(characters), len(characters)) == written(text, until=until, escaped=True)
    assert (characters.encode(), len(characters)) == written(text, until=until, escaped=False)


@pytest.mark.parametrize("escaped", [True, False])
def test_replaces_every_kind_of_broken_utf8(escaped: bool) -> None:  # pytest gives it by name
    """Every pair of bytes, and every four bytes at the edges of Unicode's table of valid sequences, as in Python."""
    edges = bytes.fromhex("00417f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff")
    pairs = b"A".join(bytes(pair) for pair in product(range(256), repeat=2))
    fours = b"A".join(bytes(four) for four in product(edges, repeat=4))
    for text in (pairs, fours):
        characters = text.decode(errors="replace")
        expected = in_json(characters) if escaped else characters.encode()
        assert (expected, len(characters)) == written(text, escaped=escaped)


def test_keeps_every_character_of_unicode() -> None:
    """No valid character is changed, noncharacters and separators of lines included."""
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    assert (characters.encode(), len(characters)) == written(characters.encode(), escaped=False)
    assert in_json(characters) == written(characters.encode(), escaped=True)[0]


@pytest.mark.parametrize("size", range(50))
def test_looks_at_every_byte_of_a_chunk(size: int) -> None:
    """A byte that needs care is found wherever it stands, in chunks of sixteen and after them."""
    for place in range(size):
        text = b"x" * place + b'"' + b"x" * (size - place - 1)
        assert in_json(text.decode()) == written(text, escaped=True)[0]


@given(number=st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-1000, 1000))
@settings(max_examples=200, deadline=None)
def test_writes_integers(number: int) -> None:
    """Integers come out in decimal."""
    target = np.zeros(20, np.uint8)
    assert b"%d" % number == target[: integer(target, number)].tobytes()
