"""What kernels are built with."""

import numpy as np
import pytest

from worker.columns.jit import copy_bytes, kernel
from worker.columns.layout import U8


@kernel
def _copy(target: U8, target_start: int, source: U8, source_start: int, length: int) -> None:
    copy_bytes(target, target_start, source, source_start, length)


def test_copy_bytes_copies_the_span_and_nothing_else() -> None:
    """Only the named span of the target changes."""
    source = np.arange(20).astype(np.uint8)
    target = np.zeros(10, np.uint8)
    _copy(target, 2, source, 5, 3)
    assert target.tolist() == [0, 0, 5, 6, 7, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("target_start", "source_start", "length"), [(8, 0, 3), (0, 18, 3), (-1, 0, 1), (0, -1, 1), (0, 0, -1)]
)
def test_copy_bytes_refuses_a_span_outside_while_bounds_are_checked(
    target_start: int, source_start: int, length: int
) -> None:
    """Under NUMBA_BOUNDSCHECK a span that leaves its array raises instead of writing elsewhere."""
    with pytest.raises(IndexError):
        _copy(np.zeros(10, np.uint8), target_start, np.zeros(20, np.uint8), source_start, length)
