"""The kernel that writes RFC 3339 and the reference agree."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.columns.timestamps import MAX_TIMESTAMP_BYTES, write_timestamp
from worker.parsing.timestamps import rfc3339


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 9))
def test_kernel_writes_what_the_reference_writes(ns: int, precision: int) -> None:
    """Every 64-bit time at every precision comes out the same from the kernel and from the reference."""
    target = np.zeros(MAX_TIMESTAMP_BYTES + 3, np.uint8)
    end = write_timestamp(target, 3, ns, precision)
    assert rfc3339(ns, precision) == target[3:end].tobytes()
    assert not target[:3].any()
    assert not target[end:].any()


def test_precision_is_clamped() -> None:
    """A precision outside 0 to 9 counts as the nearest of them."""
    target = np.zeros(MAX_TIMESTAMP_BYTES, np.uint8)
    assert target[: write_timestamp(target, 0, 5, -1)].tobytes() == b"1970-01-01T00:00:00Z"
    assert target[: write_timestamp(target, 0, 5, 12)].tobytes() == b"1970-01-01T00:00:00.000000005Z"
