"""Which header format the lines of a source have: as declared, or found out from its first lines."""

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from worker.columns.headers import HeaderSplitter
from worker.columns.layout import I64, Headers, Texts
from worker.errors import WrongFormat
from worker.parsing.headers import PRESETS, HeaderFormat, detect, parse_format

_log = structlog.get_logger(__name__)

#: `auto` looks at so many lines before it makes up its mind for good, and again each time that there are twice as many:
#: a look takes time for every line.
_ENOUGH_LINES = 500
#: Longer lines are cut before they are looked at: a header stands at the front.
_LONGEST_PREFIX = 512


def _resolve(declared: str) -> HeaderFormat:
    if "<" not in declared and declared not in PRESETS:
        names = ", ".join(sorted(PRESETS))
        raise WrongFormat(f"{declared!r} is no preset and no format; `auto` and `none` stand alone; presets: {names}")
    return PRESETS[declared] if declared in PRESETS else parse_format(declared)


class HeaderFinder:
    """Splits the headers of one source. With `auto`, `formats` changes until enough lines were seen."""

    def __init__(self, declared: Sequence[str], *, zone: str, source: str) -> None:
        """Take presets and declarations in the order in which they are tried, or `auto` or `none` alone.

        Raises WrongFormat.
        """
        self._zone, self._source = zone, source
        self._lines: list[bytes] | None = [] if list(declared) == ["auto"] else None
        self._look_again_at = 1
        self._turn = asyncio.Lock()
        self._set([] if list(declared) in (["auto"], ["none"]) else [_resolve(text) for text in declared])

    def _set(self, formats: Iterable[HeaderFormat]) -> None:
        #: `Headers.format` points into these.
        self.formats: tuple[HeaderFormat, ...] = tuple(formats)
        self._splitter = HeaderSplitter(self.formats, self._zone)

    async def look(self, texts: Texts) -> None:
        """With `auto`, find out from `texts` what `split` needs to know of them; else, and after enough lines, nothing.

        Finding out takes up to some tenths of a second, in a thread; calls meanwhile wait for what it finds.
        """
        if self._lines is None and not self._turn.locked():
            return
        async with self._turn:
            if self._lines is None or not self._take(texts, self._lines):
                return
            looked_at, self._lines = self._lines, self._lines if len(self._lines) < _ENOUGH_LINES else None
            detection = await asyncio.to_thread(detect, looked_at)
            found = detection.formats
            if found != self.formats:
                self._set(found)
                _log.info(
                    "header format found",
                    source=self._source,
                    format=" or ".join(one.name for one in found) or "none",
                    share=round(detection.share, 3),
                    lines=len(looked_at),
                    pin_with=f"header = {[one.name for one in found] or ['none']}",
                )

    def split(self, texts: Texts, record_time_ms: I64) -> Headers:
        """Split the headers of `texts`; `record_time_ms` (n,) settles timestamps that name no year."""
        return self._splitter.split(texts, record_time_ms)

    def _take(self, texts: Texts, lines: list[bytes]) -> bool:
        """Add lines of `texts` to those that are looked at, and say whether it is time to look."""
        for start, length in zip(texts.start.tolist(), texts.length.tolist(), strict=True):
            if len(lines) >= _ENOUGH_LINES:
                break
            if length > 0:
                lines.append(texts.buffer[start : start + min(length, _LONGEST_PREFIX)].tobytes())
        if len(lines) < self._look_again_at:
            return False
        self._look_again_at = min(2 * len(lines), _ENOUGH_LINES)
        return True
