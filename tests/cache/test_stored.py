"""Templates as bytes in Redis."""

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.cache.stored import MAX_STORED_BYTES, pack_stored, unpack_stored
from worker.parsing.templates import Template


@st.composite
def _templates(draw: st.DrawFn) -> Template:
    inner = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
    has_parameters = bool(inner) or draw(st.booleans())
    literals = (draw(st.binary(max_size=9)), *inner, draw(st.binary(max_size=9))) if has_parameters else (b"constant",)
    parameters = len(literals) - 1
    return Template(
        literals=literals,
        spacious=tuple(draw(st.lists(st.booleans(), min_size=parameters, max_size=parameters))),
        names=tuple(draw(st.lists(st.text(max_size=9), min_size=parameters, max_size=parameters))),
        confidence=draw(st.floats(0, 1)),
    )


@given(template=_templates())
@settings(max_examples=200)
def test_a_template_survives_packing(template: Template) -> None:
    """All fields come back, bytes that are no UTF-8 too."""
    assert unpack_stored(pack_stored(template)) == template


@given(template=_templates())
@settings(max_examples=50)
def test_byte_strings_written_as_text_are_read(template: Template) -> None:
    """Redis' own packer knows one type for byte strings and text."""
    fields = [template.literals, template.spacious, template.names, template.confidence]
    packed = msgpack.packb(fields, use_bin_type=False)
    assert unpack_stored(packed) == template


@given(packed=st.binary(max_size=60))
@settings(max_examples=300)
def test_random_bytes_raise_nothing(packed: bytes) -> None:
    """Whatever stands in Redis gives a sound template or None."""
    template = unpack_stored(packed)
    assert template is None or unpack_stored(pack_stored(template)) == template


@pytest.mark.parametrize(
    "fields",
    [
        None,
        7,
        b"text",
        [],
        [[b"a"], [], []],
        [[b"a"], [], [], 0.5, 1],
        [[], [], [], 0.5],
        [[b"a", b"b"], [], [], 0.5],
        [[b"a", b"b"], [True], [], 0.5],
        [[b"a", b"b"], [1], [b""], 0.5],
        [[b"a", b"", b"b"], [True, True], [b"", b""], 0.5],
        [[b"a", 3], [True], [b""], 0.5],
        [[b"a", b"b"], [True], [b"\xff"], 0.5],
        [[b"a", b"b"], [True], [b""], 1.5],
        [[b"a", b"b"], [True], [b""], float("nan")],
        [[b"a", b"b"], [True], [b""], b"sure"],
        [[b"a"] * 130, [True] * 129, [b""] * 129, 0.5],
        [[b"a" * (MAX_STORED_BYTES + 1)], [], [], 0.5],
    ],
)
def test_wrong_shapes_are_poison(fields: Any) -> None:
    """A value that `pack_stored` can't have written is None."""
    assert unpack_stored(msgpack.packb(fields)) is None


def test_pickled_bytes_are_poison() -> None:
    """Nothing in Redis is ever executed: a pickle is just a wrong value."""
    assert unpack_stored(b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.") is None
