"""Which dead letters were replayed already. Knows nothing of Kafka: a state is an offset and a text beside it.

A committed offset alone can't say it: a replay with a filter leaves letters behind, and a later one without must take
these and no others.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.errors import LogloomError

#: What brokers take as metadata of a committed offset, less some room (`offset.metadata.max.bytes`, 4,096).
MAX_METADATA = 4_000
_MARK = "logloom+"


class TooScattered(LogloomError):
    """Replayed and remaining dead letters alternate too often to be remembered; replay with fewer filters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What was done with the letters of one partition."""

    #: Every letter from this offset on is new.
    seen_to: int
    #: Offsets below it of letters that no filter wanted yet.
    left: frozenset[int] = frozenset()

    @classmethod
    def read(cls, offset: int, metadata: str) -> "Replayed":
        """Read what was committed. Metadata of another making means: all below `offset` is done."""
        head, _, ranges = metadata.partition(":")
        if not head.startswith(_MARK):
            return cls(seen_to=offset)
        left: set[int] = set()
        for pair in filter(None, ranges.split(",")):
            first, _, last = pair.partition("-")
            left.update(range(offset + int(first), offset + int(last or first) + 1))
        return cls(seen_to=offset + int(head.removeprefix(_MARK)), left=frozenset(left))

    @property
    def offset(self) -> int:
        """Give the offset to commit: of the first letter that is not done."""
        return min(self.left, default=self.seen_to)

    @property
    def metadata(self) -> str:
        """Give the text to commit beside it. Raises TooScattered where the broker would not take it."""
        base = self.offset
        pairs = (f"{first - base}-{last - base}" if last > first else f"{first - base}" for first, last in self._runs())
        text = f"{_MARK}{self.seen_to - base}:{','.join(pairs)}"
        if len(text) > MAX_METADATA:
            raise TooScattered
        return text

    def pending(self, offset: int) -> bool:
        """Say whether the letter at `offset` is still to be replayed."""
        return offset >= self.seen_to or offset in self.left

    def after(self, *, replayed: Iterable[int], left: Iterable[int]) -> "Replayed":
        """Give the state after the letters at `replayed` were put back and those at `left` were not."""
        done, remaining = frozenset(replayed), frozenset(left)
        seen_to = max(self.seen_to, 1 + max(done | remaining, default=-1))
        return Replayed(seen_to=seen_to, left=(self.left | remaining) - done)

    def _runs(self) -> list[tuple[int, int]]:
        """Give first and last of each run of offsets that are left."""
        runs: list[tuple[int, int]] = []
        for offset in sorted(self.left):
            if runs and offset == runs[-1][1] + 1:
                runs[-1] = (runs[-1][0], offset)
            else:
                runs.append((offset, offset))
        return runs
