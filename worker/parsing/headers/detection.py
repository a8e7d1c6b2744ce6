"""Which presets a source's first lines are written in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.parsing.headers.presets import PRESETS
from worker.parsing.headers.program import HeaderFormat
from worker.parsing.headers.reference import fits

#: Lines that detection looks at.
MAX_LINES = 1000
#: Lines that a preset must fit one of to be tried on the others.
_PROBE_LINES = 100
#: Most bytes of a line that are looked at: no header is that long.
_MAX_HEADER_BYTES = 1024
#: A format must explain this share of all lines that no earlier one fits: less is chance.
_LEAST_SHARE = 0.02
#: Formats that a mixed source may have; each costs time on every line that the ones before it don't fit.
_MOST_FORMATS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well a preset fitted."""

    format: HeaderFormat
    #: Of the lines that are not blank, 0 to 1.
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What the first lines of a source look like."""

    #: In the order to try them in on each line; empty if no preset fits.
    formats: tuple[HeaderFormat, ...]
    #: Of the lines that are not blank, how many one of `formats` fits, 0 to 1.
    share: float
    #: Every preset that fitted a line, the likeliest first.
    tried: tuple[Fit, ...]

    @property
    def format(self) -> HeaderFormat | None:
        """The likeliest format."""
        return self.formats[0] if self.formats else None

    def __str__(self) -> str:
        """Say what was found, for people."""
        if not self.formats:
            return "no known header: whole lines are messages"
        names = " or ".join(header_format.name for header_format in self.formats)
        others = [fit for fit in self.tried if fit.format not in self.formats][:3]
        also = ", ".join(f"{fit.format.name} {fit.share:.0%}" for fit in others)
        return f"{names} fits {self.share:.0%} of lines" + (f" (also ran: {also})" if also else "")


def detect(lines: Sequence[bytes], *, candidates: Mapping[str, HeaderFormat] | None = None) -> Detection:
    """Find the presets that the first MAX_LINES of `lines` are written in.

    The likeliest is the one with the most (lines that fit) x (specificity): a narrow format that fits most lines wins
    over a wide one that fits all; lines it leaves over may add further formats. Plainer formats that fit every line
    that the likeliest fits come last, for lines that are yet to come. Lines that nothing fits (continuations, stack
    traces) do no harm.
    """
    looked_at = [line[:_MAX_HEADER_BYTES] for line in lines[:MAX_LINES] if line.strip()]
    if not looked_at:
        return Detection(formats=(), share=0.0, tried=())
    fitted = dict(_fitted_lines(looked_at, PRESETS if candidates is None else candidates))
    tried = sorted(fitted, key=lambda header_format: -len(fitted[header_format]) * header_format.specificity)
    formats: list[HeaderFormat] = []
    left = set(range(len(looked_at)))
    while tried and len(formats) < _MOST_FORMATS:
        best = max(tried, key=lambda header_format: len(fitted[header_format] & left) * header_format.specificity)
        if len(fitted[best] & left) < max(1, _LEAST_SHARE * len(looked_at)):
            break
        formats.append(best)
        left -= fitted[best]
    for found in sorted(tried, key=lambda header_format: -header_format.specificity):
        if formats and len(formats) < _MOST_FORMATS and fitted[found] >= fitted[formats[0]]:
            # The same fields or fewer: syslog fits log4j's lines too, and takes the level for the host.
            plainer = found.specificity < formats[-1].specificity and set(found.fields) <= set(formats[0].fields)
            formats += [found] if plainer else []
    return Detection(
        formats=tuple(formats),
        share=1 - len(left) / len(looked_at),
        tried=tuple(Fit(format=found, share=len(fitted[found]) / len(looked_at)) for found in tried),
    )


def _fitted_lines(
    lines: Sequence[bytes], candidates: Mapping[str, HeaderFormat]
) -> Iterator[tuple[HeaderFormat, set[int]]]:
    """Yield each format that fits lines, with their indices."""
    probe = lines[:: -(-len(lines) // _PROBE_LINES)]
    for header_format in candidates.values():
        if any(fits(header_format, line) for line in probe):
            yield header_format, {index for index, line in enumerate(lines) if fits(header_format, line)}
