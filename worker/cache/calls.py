"""Calls to reload, as Redis holds them: a stream for each scope and one for all, with the last call alone in it.

The id of that entry is the time of the call. Whoever was away reads it when it is back, and sees that it is another
one than the last that was heard.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

#: What a call to every scope is made to.
ALL_SCOPES = "*"
#: No entry is older.
_NOTHING_HEARD = "0-0"


def call_key(prefix: str, scope: str) -> str:
    """Name the stream of the calls to a scope, or to all."""
    return f"{prefix}:reload" if scope == ALL_SCOPES else f"{prefix}:{{{quote(scope, safe='')}}}:reload"


@dataclass(slots=True, kw_only=True)
class Calls:
    """What this process has heard of calls, whichever connection it listens by."""

    #: Told of each call that is new, by its scope.
    hear: Callable[[str], None] = lambda _: None
    #: Milliseconds by Redis's clock: calls before, when the process had not begun, are heard already.
    since_ms: int = 0
    _heard: dict[str, str] = field(default_factory=dict)

    def after(self, key: str) -> str:
        """Give the entry behind which new calls stand in a stream."""
        return self._heard.get(key, _NOTHING_HEARD)

    def take(self, key: str, scope: str, entry: str) -> None:
        """Take in the last entry of a stream."""
        is_first = key not in self._heard
        self._heard[key] = entry
        if not is_first or int(entry.partition("-")[0]) >= self.since_ms:
            self.hear(scope)
