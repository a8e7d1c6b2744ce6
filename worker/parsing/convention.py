"""What a label of a log message leaves variable: the corrections that published labels went through, on spans.

Code writes `task-%d`, `%s:%d`, `%dms` and `/tmp/%s`; how finely the labels of such a message are cut is settled by the
rules of Khan et al., *Guidelines for Assessing the Accuracy of Log Message Template Identification Techniques* (ICSE
2022): absolute paths, numbers, truth values and a few names are variable wherever they stand, a token that holds a
variable and no slash is variable as a whole, and variables that touch or have only a dot between them are one.
"""

import re
from collections.abc import Sequence

from worker.parsing.spans import Span, balanced, trimmed
from worker.parsing.templates import WILDCARD

#: Stands for a parameter in a skeleton.
_VARIABLE = "\0"
#: What a path ends at, and what any other token ends at.
_PATH_EDGES = r"\s,!;:=|\"'\[\](){}"
_EDGES = _PATH_EDGES + r".\-+@#$%&"
_RULES = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (rf"(?<![^{_PATH_EDGES}])(?:/[^/{_PATH_EDGES}]+)+/?(?![^{_PATH_EDGES}])", 0),
        (rf"(?<![^{_EDGES}])(?:true|false|null|root|admin)(?![^{_EDGES}])", re.IGNORECASE),
        (rf"(?<![^{_EDGES}])\d+(?![^{_EDGES}])", re.ASCII),
        (rf"(?<![^{_EDGES}])[^/{_EDGES}{_VARIABLE}]*{_VARIABLE}[^/{_EDGES}]*(?![^{_EDGES}])", 0),
        (rf"{_VARIABLE}(?:\.?{_VARIABLE})+", 0),
    )
)
_ADDRESS_AND_PORT = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})", re.ASCII)
#: What stands before a value that is missing. Brackets that touch a word are part of it, as in `close()`.
_NOTHING = re.compile(
    r"((?<![\w)\]}\"'`])[(\[{<\"'](?=(?:(?<=\()\)|(?<=\[)\]|(?<=\{)\}|(?<=<)>|(?<=\")\"|(?<=')')(?![\w\"'`]))"
    r"|(?<=\w): ?(?=,))"
)


def labelled(text: str, spans: Sequence[Span]) -> list[Span]:
    """Write parameters as a label would: without the brackets, quotes and closing marks around them, then corrected."""
    whole = (part for start, end in spans for part in balanced(text, start, end))
    kept = corrected(text, [span for start, end in whole if (span := trimmed(text, start, end))])
    return [part for start, end in kept for part in _address_and_port(text, start, end)]


def _address_and_port(text: str, start: int, end: int) -> list[Span]:
    """Split a value that is an IPv4 address with a port, unless it is quoted; programs write `%s:%d` more often."""
    found = _ADDRESS_AND_PORT.fullmatch(text, start, end)
    if found is None or text[start - 1 : start] in {'"', "'"}:
        return [(start, end)]
    return [found.span(1), found.span(2)]


def corrected(text: str, spans: Sequence[Span]) -> list[Span]:
    """Apply the rules, in the order of the paper, to the parameters of a message; spans ascending, in characters.

    What stands inside a parameter is never looked at. Text with the mark that stands for one is left as it is.
    """
    if _VARIABLE in text:
        return list(spans)
    skeleton, edges = _skeleton(text, spans)
    for rule in _RULES:
        shorter, kept, place = "", list[Span](), 0
        for found in rule.finditer(skeleton):
            start, end = found.span()
            shorter += skeleton[place:start] + _VARIABLE
            kept += [*edges[place:start], (edges[start][0], edges[end - 1][1])]
            place = end
        skeleton, edges = shorter + skeleton[place:], kept + edges[place:]
    return [edge for character, edge in zip(skeleton, edges, strict=True) if character == _VARIABLE]


def with_empty(text: str, spans: Sequence[Span]) -> list[Span]:
    """Add an empty parameter where a value is missing: between brackets, between quotes, between a colon and a comma.

    `text` is one line. None is added that touches another parameter. A key with an equals sign alone may be all that a
    program ever writes: that the stream must tell.
    """
    inside = [
        found.end(1)
        for found in _NOTHING.finditer(text)
        if all(right < found.end(1) or found.end(1) < left for left, right in spans)
    ]
    return sorted([*spans, *((place, place) for place in inside)])


def corrected_template(template: str) -> str:
    """Apply the rules to a template as people write it, or to a call's format; runs of white space become one blank."""
    text = " ".join(template.split())
    spans = corrected(text, [found.span() for found in re.finditer(re.escape(WILDCARD), text)])
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return WILDCARD.join(text[edges[at] : edges[at + 1]] for at in range(0, len(edges), 2))


def _skeleton(text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """Put one mark in the place of each parameter; returns the skeleton and where each of its characters stands."""
    skeleton, edges, place = "", list[Span](), 0
    for start, end in spans:
        skeleton += text[place:start] + _VARIABLE
        edges += [*((at, at + 1) for at in range(place, start)), (start, end)]
        place = end
    return skeleton + text[place:], edges + [(at, at + 1) for at in range(place, len(text))]
