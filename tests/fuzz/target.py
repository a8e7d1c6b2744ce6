"""What a target is, and what counts as its failure."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import LogloomError

#: Written by hand, a folder a target; inputs that once failed stay there.
SEEDS = Path(__file__).parent / "seeds"
#: Longest inputs, and the longest that the thread may take for one.
MOST_BYTES = 64 * 1024
MOST_SECONDS = 1.0


class TooSlow(Exception):
    """One input took longer than any may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A reader of bytes, which may refuse them by errors of its own alone."""

    name: str
    #: Reads the input. Where there is a plain-Python reference it compares, by assertions.
    read: Callable[[bytes], None]
    #: Sound inputs that are easier made than kept as files.
    made: Callable[[], Sequence[bytes]] = tuple
    #: How it may refuse; nothing: bad input must come out as dead rows.
    refuses: tuple[type[LogloomError], ...] = ()

    def seeds(self) -> list[bytes]:
        """Return all inputs to start from, those made by code first."""
        return [*self.made(), *(path.read_bytes() for path in sorted((SEEDS / self.name).glob("*")))]

    def take(self, content: bytes) -> None:
        """Read `content`; a refusal of its own is as good. Raises whatever went wrong."""
        try:
            self.read(content)
        except self.refuses:
            return

    def feed(self, content: bytes) -> None:
        """Take `content`, and fail where that takes too long.

        Raises:
            TooSlow: twice it took longer than MOST_SECONDS; the first time may have compiled a kernel.
            Exception: whatever else went wrong.

        """
        if self._seconds(content) > MOST_SECONDS and (seconds := self._seconds(content)) > MOST_SECONDS:
            raise TooSlow(f"{self.name}: {len(content)} bytes took {seconds:.1f} s")

    def _seconds(self, content: bytes) -> float:
        began = time.thread_time()
        self.take(content)
        return time.thread_time() - began
