"""The short form of `python -m tests.fuzz`: seeds, changed seeds and stretched ones, the same in every run."""

from collections.abc import Iterator

import pytest
import structlog

from tests.fuzz.mutation import mutations, stretched
from tests.fuzz.target import MOST_BYTES, SEEDS, Target
from tests.fuzz.targets import TARGETS
from worker.errors import CorruptRecordBatch

#: Changed and stretched seeds of a target; of those that load a network for each input, fewer.
_CHANGED, _STRETCHED, _SLOW = 200, 2, 20


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Leave out what detection logs: here it finds something in every input."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("name", TARGETS)
def test_what_reads_bytes_takes_or_refuses_any(name: str) -> None:
    """Readers end, refuse by errors of their own, and kernels stay inside their columns and agree with references."""
    target = TARGETS[name]
    seeds = target.seeds()
    loads = name.startswith(("checkpoint-", "network-", "settings", "path"))
    for content in (*seeds, *mutations(seeds, _SLOW if loads else _CHANGED), *stretched(seeds, _STRETCHED)):
        target.take(content)


def test_each_folder_of_seeds_is_of_a_target() -> None:
    """A seed that nobody reads proves nothing."""
    assert {folder.name for folder in SEEDS.iterdir()} <= set(TARGETS)


def test_the_same_seed_gives_the_same_inputs() -> None:
    """A failure in one run is one in the next."""
    seeds = TARGETS["envelope-syslog"].seeds()
    assert list(mutations(seeds, 50)) == list(mutations(seeds, 50))
    assert all(len(content) <= MOST_BYTES for content in (*mutations(seeds, 50), *stretched(seeds, 5)))


def test_errors_of_others_are_failures() -> None:
    """Only what a target says it refuses by is taken for a refusal."""

    def broken(content: bytes) -> None:
        raise CorruptRecordBatch if content else KeyError

    target = Target(name="broken", read=broken, refuses=(CorruptRecordBatch,))
    target.take(b"x")
    with pytest.raises(KeyError):
        target.take(b"")
