"""The compiled types of parameters against their reference."""

import re
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.columns.types import automaton, parameter_type_code
from worker.parsing.types import RULES, TYPES, parameter_type

PIECES = [
    "1",
    "25",
    "256",
    "0x",
    "a",
    "ff",
    "F",
    "T",
    "Z",
    ":",
    "::",
    ".",
    "-",
    "/",
    "//",
    "ms",
    "s",
    "KB",
    " ",
    "Nov",
    "µ",
]
values = (
    st.binary(max_size=20)
    | st.text("0123456789abcdefABCDEF:.-", max_size=40).map(str.encode)
    | st.lists(st.sampled_from([*PIECES, "log", "com", "true", "[", "]", "_", "P", "10.0.0.1"]), max_size=9).map(
        lambda pieces: "".join(pieces).encode()
    )
    | st.sampled_from(RULES).flatmap(lambda rule: st.from_regex(rule[1].encode("latin-1"), fullmatch=True))
)


def code(value: bytes) -> str:
    """Ask the kernel, with the value in the middle of other bytes."""
    return TYPES[parameter_type_code(np.frombuffer(b"7" + value + b"x", np.uint8).copy(), 1, 1 + len(value))]


@settings(max_examples=500, deadline=None)  # the first example compiles the kernel
@given(values)
@example(b"")
def test_the_kernel_agrees_with_the_reference(value: bytes) -> None:
    """Whatever the bytes are, the automaton finds the type that the rules give."""
    assert parameter_type(value) == code(value)


def test_a_long_value_is_read_once() -> None:
    """A megabyte that stays an id to its end takes time by its length alone."""
    value = np.full(1_000_000, ord("a"), np.uint8)
    parameter_type_code(value, 0, 10)
    started = time.perf_counter()
    kind = TYPES[parameter_type_code(value, 0, len(value))]
    assert kind == "hex"
    assert time.perf_counter() - started < 1


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([("a{2,3}|b+", "[ab]*c?"), ("(?:ab|a)?b{2}", "[-x^]|\\x41\\."), ("", "(?:a*b){1,2}")]),
    st.text("abcx^-A.", max_size=6),
)
def test_an_automaton_is_its_patterns(patterns: tuple[str, str], text: str) -> None:
    """Each piece of pattern syntax means what it means to `re`."""
    built = automaton(patterns)
    state = 0
    for byte in text.encode():
        state = int(built.step[state << 7 | int(built.byte_class[byte])])
    expected = next((number for number, pattern in enumerate(patterns) if re.fullmatch(pattern, text)), len(patterns))
    assert expected == built.rule[state]


def test_too_many_classes_are_refused() -> None:
    """A pattern that tells more than 128 bytes apart is refused instead of read past a row."""
    with pytest.raises(ValueError, match="classes of bytes"):
        automaton(("|".join(f"\\x{byte:02x}{'a' * byte}" for byte in range(130)),))
