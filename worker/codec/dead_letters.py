"""A raw log that can't become an event, as a record of the dead-letter topic. Knows nothing of Kafka clients.

Value and key are the record's own bytes; why and where from stands in headers beside the record's own, so that a
replay finds exactly what was there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from worker.errors import Undecodable

_PREFIX = "logloom."
_NAMES = ("reason", "error", "source", "topic", "partition", "offset", "timestamp", "size")
#: What a record takes beside its value, key and headers, and each header beside its name and value, at most.
_OVERHEAD_BYTES, _HEADER_OVERHEAD_BYTES = 128, 10

#: A Kafka header; a null value is None.
Header = tuple[str, bytes | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One raw log, why it is dead and where it came from."""

    #: The record's value; None is null.
    value: bytes | None
    #: The record's key; None is null.
    key: bytes | None
    #: The record's own headers, in their order, repeated names included.
    headers: Sequence[Header] = ()
    #: `undecodable`, `too_large`, `unparsable`, `model_failed`, `model_memory`.
    reason: str
    #: What was wrong, for people.
    error: str
    #: Name of the source.
    source: str
    topic: str
    partition: int
    offset: int
    #: The record's own time, milliseconds since the epoch, -1 for none.
    timestamp: int
    #: Bytes that the record's value had, where not all of them are in `value`; None: it is whole.
    cut_from: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the record's value."""
        return len(self.value or b"") if self.cut_from is None else self.cut_from

    def fitted(self, max_bytes: int) -> "DeadLetter":
        """Return a letter whose record takes at most `max_bytes`: this one, or its beginning.

        Of a value that is too long the beginning is kept; where that does not do, key and headers go too.
        """
        own = sum(
            len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD_BYTES for name, value in self.kafka_headers()
        )
        room = max_bytes - _OVERHEAD_BYTES - own - len(self.key or b"")
        if not self.value or len(self.value) <= room:
            return self
        if room <= 0 and (self.headers or self.key):
            short = replace(self, headers=[], key=None, value=self.value[:-1], cut_from=self.size)
            return short.fitted(max_bytes)
        return replace(self, value=self.value[: max(room, 0)], cut_from=self.size)

    def kafka_headers(self) -> list[Header]:
        """Return the headers to produce with: the record's own, then Logloom's."""
        return [*self.headers, *((_PREFIX + name, str(getattr(self, name)).encode()) for name in _NAMES)]

    @classmethod
    def read(cls, *, value: bytes | None, key: bytes | None, headers: Iterable[Header]) -> "DeadLetter":
        """Read a record of the dead-letter topic back. Raises Undecodable where it is no dead letter.

        Only the last header of each of Logloom's names is Logloom's: the record may have brought such names itself,
        when it was a dead letter that was replayed and failed again.
        """
        own = list(headers)
        found: dict[str, str] = {}
        for name in _NAMES:
            place = next((i for i in range(len(own) - 1, -1, -1) if own[i][0] == _PREFIX + name), None)
            if place is None:
                raise Undecodable(f"no dead letter: it has no header `{_PREFIX}{name}`")
            found[name] = (own.pop(place)[1] or b"").decode(errors="replace")
        try:
            partition, offset, timestamp, size = (
                int(found[name]) for name in ("partition", "offset", "timestamp", "size")
            )
        except ValueError as error:
            raise Undecodable(f"no dead letter: {error}") from error
        return cls(
            value=value,
            key=key,
            headers=own,
            reason=found["reason"],
            error=found["error"],
            source=found["source"],
            topic=found["topic"],
            partition=partition,
            offset=offset,
            timestamp=timestamp,
            cut_from=None if size == len(value or b"") else size,
        )

    def replay_headers(self) -> list[Header]:
        """Return the headers to put the raw log back with: its own, without those of earlier deaths."""
        taken = {_PREFIX + name for name in _NAMES}
        return [header for header in self.headers if header[0] not in taken]
