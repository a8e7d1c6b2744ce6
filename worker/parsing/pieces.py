"""Pieces of a message that may answer a question: values, parts of values, quotations, reasons. Knows no template."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

from worker.parsing.spans import Span

_CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?"
_DAY = r"(?:\d{4}[-/.]\d{2}[-/.]\d{2}|\d{1,2}[/ -][A-Z][a-z]{2}[/ -]\d{4})"
_CTIME = rf"(?:[A-Z][a-z]{{2}},? )?(?:[A-Z][a-z]{{2}} [ \d]?\d|[ \d]?\d [A-Z][a-z]{{2}}(?: \d{{4}})?) {_CLOCK}"
_ZONE = r"(?: ?(?:Z\b|UTC\b|GMT\b|[+\-]\d{2}:?\d{2}\b))?"
_UNIT = (
    r"(?:[KMGTkmgt]i?)?(?:B|[Bb]ytes?)(?:/s(?:ec)?)?|[nuµm]?s(?:ecs?)?|seconds?|minutes?|hours?|days?|"
    r"milliseconds?|millis|mins?|hrs?|[hmd]|%"
)

#: Where values stand, by rule; group 1 is the value. Rules overlap: what is asked for decides among them.
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("timestamp", rf"((?:{_DAY}[T :]{_CLOCK}|{_CTIME}(?: \d{{4}})?){_ZONE})"),
        ("date", rf"(?<![\w.])({_DAY})(?!\d)"),
        ("clock", rf"(?<![\d:])({_CLOCK})(?![\d:]*\d)"),
        ("measure", rf"(?<![\w.])([+-]?\d+(?:,\d{{3}})*(?:\.\d+)? ?(?:{_UNIT}))(?![\w/])"),
        ("number", r"(?<![\w.,])([+-]?\d+(?:,\d{3})*(?:\.\d+)?)(?![\w.,]*\w)"),
        ("digits", r"(?<=\b[A-Za-z])(\d+)\b"),
        ("url", r"\b([a-z][a-z0-9+:\-]*://[^\s\"'<>,;)\]]+)"),
        ("port", r"(?<=[\w\])]:)(\d{2,5})(?![\w.:]*\w)"),
        ("address", r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?![\w.]*\w)"),
        ("mail", r"([\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+)"),
        ("name", r"(?<![\w.$])([\w$]+(?:[.:\\]+[\w$]+)*(?:Error|Exception|Failure|Fault|Timeout|Interrupt|Panic))\b"),
        ("quoted", r"(?<!\w)[\"'`]([^\"'`\n]+)[\"'`]"),
        ("round", r"\(([^()\n]+)\)"),
        ("square", r"\[([^\[\]\n]+)\]"),
        ("angle", r"<([^<>\s]+)>"),
        ("curly", r"\{([^{}\n]+)\}"),
        ("value", r"[\w.\-]=([^\s,;\"'(\[{<)\]}]+(?: (?:s|ms|kB|MB|kb|B|bytes)\b)?)"),
        ("colon", r"\w[\])}\"']?: ?(?=(\S[^,;\n]*[^,;.\s]))"),
        ("phrase", r"(?:^|[^\w\s]|: )\s*([^\W\d][^,;:()\[\]{}<>\"'|=\n]*[^\s,;:()\[\]{}<>\"'|=.])"),
        ("words", r"\b([A-Z][\w.\-]*(?: [A-Z][\w.\-]*)+)"),
        ("tail", r"(?=(?:: +|, )(\S[^\n]*?)[.\s]*$)"),
        ("between", r"(?=[:,\"'] (\S[^\n]*?) (?:for|in|at|from|to|on|with|after|because|while)\b)"),
        ("whole", r"^\s*(\S[^\n]*\S)\s*$"),
        ("place", r"([^\s()]+?)(?=(?::\d+)+\b)"),
        ("last", r"(?<=[.:])([A-Za-z_]\w*)(?=\()"),
        ("call", r"([A-Za-z_][\w.$]*)(?=\()"),
        ("visible", r"(?<!\S)[\"'(\[{<]*([^\s\"'(\[{<](?:\S*[^\s\"')\]}>,;:.!?])?)"),
        ("piece", r"([^\s\"'()\[\]{}<>,;=|]*[^\s\"'()\[\]{}<>,;=|.:!?])"),
        ("part", r"([\w.%~+\-]*[\w%])"),
        ("dotless", r"(\w+)"),
    )
)
_PATTERNS = dict(_RULES)
#: The names of the rules; `parameter` is for what a template cuts.
RULES = tuple(dict.fromkeys(["parameter", *_PATTERNS]))
#: Rules whose values are never answered by a part: half an address or a number without its unit is no answer.
_WHOLE = frozenset({"measure", "clock", "address", "number"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a text, by the rules that found it."""

    #: In characters, half open.
    start: int
    end: int
    rules: frozenset[str]

    @classmethod
    def all(cls, text: str, parameters: tuple[Span, ...] = ()) -> list[Self]:
        """Find the pieces of `text`, each once, in order of place; `parameters` are pieces too."""
        found: dict[Span, set[str]] = {}
        for span in parameters:
            if span[0] < span[1]:
                found.setdefault(span, set()).add("parameter")
        whole = set[Span]()
        for name, span in _spans(text):
            found.setdefault(span, set()).add(name)
            if name in _WHOLE:
                whole.add(span)
        inside = {place: span for span in sorted(whole) for place in range(*span)}
        return [
            cls(start=start, end=end, rules=frozenset(found[start, end]))
            for start, end in sorted(found)
            if not _is_part(start, end, inside.get(start))
        ]


def _is_part(start: int, end: int, whole: Span | None) -> bool:
    return whole is not None and whole != (start, end) and whole[0] <= start and end <= whole[1]


def _spans(text: str) -> Iterator[tuple[str, Span]]:
    for name, pattern in _RULES:
        for match in pattern.finditer(text):
            yield name, match.span(1)


def places(value: str, span: Span) -> Iterator[tuple[str, int]]:
    """Yield the rules that find `span` in `value`, and the number of the match that does."""
    for name, pattern in _RULES:
        for count, match in enumerate(pattern.finditer(value)):
            if match.span(1) == span:
                yield name, count


def nth(value: str, rule: str, count: int) -> Span | None:
    """Find the match number `count` of a rule in `value`; None where there are fewer."""
    found = next(islice(_PATTERNS[rule].finditer(value), count, None), None)
    return None if found is None else found.span(1)
