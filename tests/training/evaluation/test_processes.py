"""Calls side by side: each in its own process, failures told."""

import math
import multiprocessing
import os
import signal
from collections.abc import Generator

from training.evaluation.processes import Failure, side_by_side


def test_each_call_ends_by_itself() -> None:
    """What a call returns and what it raises are told under its name; the others go on."""
    found = {ended.name: ended.outcome for ended in side_by_side(math.sqrt, {"four": (4,), "less": (-1,)}, jobs=2)}
    failure = found.pop("less")
    assert isinstance(failure, Failure)
    assert "ValueError: math domain error" == failure.reason
    assert "Traceback" in failure.trace
    assert {"four": 2.0} == found


def test_a_process_that_dies_is_one_failure() -> None:
    """A process that ends without a word is a failure with its exit code."""
    outcomes = [ended.outcome for ended in side_by_side(os._exit, {"gone": (3,)}, jobs=1)]
    assert [Failure(reason="the process ended with exit code 3 before it was done")] == outcomes


def test_nothing_is_left_running() -> None:
    """Whoever stops listening ends the processes that still run."""
    outcomes = side_by_side(_pause, {"quick": (False,), "endless": (True,)}, jobs=2)
    assert "quick" == next(outcomes).name
    assert isinstance(outcomes, Generator)
    outcomes.close()
    assert [] == multiprocessing.active_children()


def _pause(for_ever: bool) -> None:
    if for_ever:
        signal.pause()
