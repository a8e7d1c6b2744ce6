"""Where a parameter begins and ends in a message: rules on character spans. Knows nothing of models.

A value is a whole word as a reader sees it (`task-7`, `/var/log/a.log`, `10.0.0.7:5121`, `12ms`), without the brackets,
quotes and closing punctuation around it. What labels make of it, `convention` says.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

#: Half open, in characters.
Span = tuple[int, int]

_OPENING = {")": "(", "]": "[", "}": "{", ">": "<", '"': '"', "'": "'", "`": "`"}
_CLOSING = {opening: closing for closing, opening in _OPENING.items()}
_MARKS = re.compile(r"[()\[\]{}\"]")
_TRAILING = ".,;:!?"
#: Each trim looks through the span once, so a message of brackets alone must not earn more.
_MOST_TRIMS = 32
_LEADING = ",;!?#@"
#: A slash before an address is how Java prints one, not part of it.
_JAVA_ADDRESS = re.compile(r"/(?=\d{1,3}(?:\.\d{1,3}){3})")
#: What belongs to the same word when it touches a parameter.
_ATTACHED = frozenset("_-./\\@$")
#: What joins two parameters into one when it is all that stands between them.
_JOINTS = frozenset([*":._-/@,x\\+", "://", "..", "::"])

# Each is bounded on both sides by what can't be part of a word, so that a search is linear in the message.
_LEFT = r"(?<![\w\-./\\@+%&])(?<!\d:)(?<!::)"
_RIGHT = r"(?![\w\-/\\@])(?![.:]\w)"
_UNMISTAKABLE = re.compile(
    "|".join(
        [
            # Dates and times: no message is about one moment for ever.
            _LEFT + r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?" + r"(?![\w\-])",
            _LEFT + r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?" + _RIGHT,
            # IPv4, with port or prefix length.
            r"(?<![\w\-.])\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d{1,5})?(?![\w\-/])(?!\.\w)",
            # UUIDs; 0x numbers; hex of eight digits or more that holds a digit and a letter.
            r"(?<![\w\-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w\-])",
            r"(?<!\w)0[xX][0-9a-fA-F]{1,64}(?!\w)",
            r"(?<![\w\-./])(?=[a-fA-F]{0,63}[0-9])(?=[0-9]{0,63}[a-fA-F])[0-9a-fA-F]{8,64}" + _RIGHT,
            # Absolute paths that hold a digit.
            r"(?<![\w\-./<\\:])/(?=[^\s\d\"'\]\[(){}<>,;=]{0,200}\d)[\w\-.]{1,100}(?:/[\w\-.]{1,100}){1,20}(?=$|[\s\"'\]\[(){}<>,;:])",
            # Numbers that stand alone.
            _LEFT + r"[-+]?\d{1,40}(?:[.,]\d{1,40}){0,12}" + _RIGHT,
        ]
    )
)


def unmistakable(text: str) -> list[Span]:
    """Find what is a value wherever it stands: addresses, UUIDs, long hex, times, lone numbers, paths with digits.

    Each with the rest of its word: of `http://10.0.0.1/x` all.
    """
    found = (widened(text, *match.span()) for match in _UNMISTAKABLE.finditer(text))
    return merged(text, (span for start, end in found if (span := trimmed(text, start, end))))


def attaches(text: str, place: int) -> bool:
    """Tell whether the character at `place` belongs to the same word as what touches it."""
    character = text[place]
    if character == "-" and text[place + 1 : place + 2] == ">":
        return False  # an arrow stands between two words
    return character.isalnum() or character in _ATTACHED or (character == ":" and text[place + 1 : place + 3] == "//")


def trimmed(text: str, start: int, end: int) -> Span | None:
    """Take white space, closing punctuation and brackets or quotes that have no partner inside off a span's edges.

    A pair that encloses the whole span goes too. None if nothing is left.
    """
    for _ in range(_MOST_TRIMS):
        if start >= end:
            return None
        first, last = text[start], text[end - 1]
        if last.isspace() or last in _TRAILING:
            # IPv6 may end with two colons.
            if last == ":" and end - start > 2 and text[end - 2] == ":":
                return start, end
            end -= 1
        elif (
            first.isspace()
            or first in _LEADING
            or (first == ":" and text[start : start + 2] != "::")
            or _JAVA_ADDRESS.match(text, start, end)
        ):
            start += 1
        elif (closing := _CLOSING.get(first)) and (
            end - start == 1 or _partner(text, start, end, closing) in {-1, end - 1}
        ):
            end -= last == closing and end - start > 1
            start += 1
        elif (opening := _OPENING.get(last)) and text.count(last, start, end) > text.count(opening, start, end) - (
            opening == last
        ):
            if opening == last and text.count(last, start, end) % 2 == 0:
                return start, end
            end -= 1
        else:
            return start, end
    return (start, end) if start < end else None


def _partner(text: str, start: int, end: int, closing: str) -> int:
    """Find where the bracket or quote at `start` closes within the span; -1 if it does not."""
    opening = text[start]
    if opening == closing:
        return text.find(closing, start + 1, end)
    depth = 0
    for place in range(start, end):
        depth += (text[place] == opening) - (text[place] == closing)
        if depth == 0:
            return place
    return -1


def balanced(text: str, start: int, end: int) -> list[Span]:
    """Split a span where a bracket or a double quote in it has its partner outside: a parameter crosses no bracket.

    Where only the closing bracket is missing and it comes next, the span takes it in: `main(A.java:7` and `)`.
    """
    if not _MARKS.search(text, start, end):
        return [(start, end)]
    opened, alone = list[int](), list[int]()
    for found in _MARKS.finditer(text, start, end):
        mark, place = found[0], found.start()
        partner = _OPENING.get(mark)
        if opened and text[opened[-1]] == partner:
            opened.pop()
        elif mark in _CLOSING:
            opened.append(place)
        else:
            alone.append(place)
    while opened and text[end : end + 1] == _CLOSING[text[opened[-1]]] and text[end] != '"':
        opened.pop()
        end += 1
    edges = [start - 1, *sorted(alone + opened), end]
    return [(left + 1, right) for left, right in pairwise(edges) if left + 1 < right]


def merged(text: str, spans: Iterable[Span]) -> list[Span]:
    """Sort spans and make one of those that overlap, touch, or have only a joint such as `:` or `.` between them."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and (start <= joined[-1][1] or text[joined[-1][1] : start] in _JOINTS):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def widened(text: str, start: int, end: int) -> Span:
    """Stretch a span over the word characters that touch it: `task-` of `task-7`, `ms` of `12ms`."""
    while start > 0 and attaches(text, start - 1):
        start -= 1
    while end < len(text) and attaches(text, end):
        end += 1
    return start, end


def with_missed(text: str, spans: Sequence[Span], missed: Iterable[Span]) -> list[Span]:
    """Add those of `missed` that touch none of `spans`, and merge what a joint alone separates."""
    free = [(start, end) for start, end in missed if not any(start < right and left < end for left, right in spans)]
    return merged(text, [*spans, *free])


def first_line(text: str) -> int:
    """Tell where the lines after the first that holds a letter begin; the text's end where nothing follows."""
    place = 0
    for line in text.splitlines(keepends=True):
        place += len(line)
        if any(character.isalpha() for character in line):
            break
    while text[place : place + 1] in {"\r", "\n"}:
        place += 1
    return len(text) if text[place:].isspace() else place


def later_lines(text: str) -> list[Span]:
    """Find the parameter that all lines after the first are, if there are any."""
    end = first_line(text)
    return [(end, len(text.rstrip()))] if end < len(text) else []
