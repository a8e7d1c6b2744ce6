"""Which header format the lines of a source have: as declared, or found out from its first lines."""

import asyncio
from collections.abc import Sequence

import structlog

from worker.columns.headers import HeaderSplitter
from worker.columns.layout import Texts
from worker.errors import WrongFormat
from worker.parsing.headers import PRESETS, Detection, HeaderFormat, detect, parse_format

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
    """Knows how the headers of one source are split. With `auto` that changes until enough lines were seen."""

    def __init__(self, declared: Sequence[str], *, zone: str, source: str) -> None:
        """Take presets and declarations in the order in which they are tried, or `auto` or `none` alone.

        Raises WrongFormat.
        """
        self._zone, self._source = zone, source
        self._lines: list[bytes] | None = [] if list(declared) == ["auto"] else None
        self._look_again_at = 1
        self._turn = asyncio.Lock()
        formats = [] if list(declared) in (["auto"], ["none"]) else [_resolve(text) for text in declared]
        self._splitter = HeaderSplitter(formats, zone)

    async def splitter_for(self, texts: Texts) -> HeaderSplitter:
        """Return what splits the headers of `texts`; with `auto` they are looked at first, until enough lines were.

        A look takes up to some tenths of a second, in a thread; calls meanwhile wait for what it finds.
        """
        if self._lines is None:
            return self._splitter
        async with self._turn:
            lines = self._lines
            if lines is not None and self._take(texts, lines):
                self._settle_on(await asyncio.to_thread(detect, lines), len(lines))
                if len(lines) >= _ENOUGH_LINES:
                    self._lines = None
        return self._splitter

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

    def _settle_on(self, detection: Detection, lines: int) -> None:
        found = detection.formats
        if found == self._splitter.formats:
            return
        self._splitter = HeaderSplitter(found, self._zone)
        _log.info(
            "header format found",
            source=self._source,
            format=" or ".join(one.name for one in found) or "none",
            share=round(detection.share, 3),
            lines=lines,
            pin_with=f"header = {[one.name for one in found] or ['none']}",
        )
