"""Labelled lines: a message and its template, read from files, checked, and aligned. Knows nothing of models.

Two kinds of files: CSV with the columns Content and EventTemplate (or message and template; more columns are left
alone), and JSON Lines with the same names.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import WrongLabels
from worker.parsing.spans import Span
from worker.parsing.templates import WILDCARD, Template, decoded, encoded

#: Columns that may hold the message, and the template.
MESSAGE_COLUMNS = ("Content", "message")
TEMPLATE_COLUMNS = ("EventTemplate", "template")
#: Suffixes of files that are JSON Lines; all others are CSV.
JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})

#: How many wrong lines an error shows.
_MOST_SHOWN = 20
_SPACE = " "
_WHITE = re.compile(r"\s+")
#: What a template is made of: wildcards that touch, white space, words.
_PIECE = re.compile(r"((?:<\*>)+)|(\s+)|(?:(?!<\*>)\S)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One labelled line."""

    #: The message as it stands in the log.
    message: str
    #: Its template, `<*>` for each parameter.
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a file of labels, as it stands there."""

    #: Line of the file that it begins on, from 1.
    line: int
    message: str
    template: str
    #: Why it can't be read, empty where it can.
    broken: str = ""


def collapsed(text: str) -> str:
    """Make one space of each run of white space."""
    return _WHITE.sub(_SPACE, text)


def written(message: str, spans: Sequence[Span]) -> str:
    """Write the template that ascending `spans` cut from a message, white space collapsed; touching spans are one."""
    parts, place = list[str](), 0
    for start, end in spans:
        if start > place or not parts or parts[-1] != WILDCARD:
            parts += [message[place:start], WILDCARD]
        place = end
    return collapsed("".join([*parts, message[place:]]))


def text_of(template: Template) -> str:
    """Write a template as labels write it, its bytes kept: `Template.text` replaces what is no UTF-8."""
    return WILDCARD.join(map(decoded, template.literals))


def aligned(message: str, template: str) -> tuple[Span, ...] | None:
    """Find the characters of `message` that each `<*>` of `template` stands for; None where it does not match.

    White space in the template stands for one or more white space characters; a parameter may be empty; wildcards that
    touch are one. Where several alignments fit, the one with the fewest parameters that hold white space is taken, and
    of those the one whose parameters are shortest, from left to right. `written` gives back the template.

    Time grows with the template times the message, 64 characters at a step, and with the number of parameters that
    hold white space.
    """
    return _Alignment(message, template).spans()


class _Alignment:
    """Positions in a message as bits of one number: bit i is the position i characters before the message's end.

    `_layers[budget][number]` holds the positions from which the pieces `number`... match what is left of the message
    with at most `budget` parameters that hold white space.
    """

    def __init__(self, message: str, template: str) -> None:
        self._message = message
        self._pieces = [
            WILDCARD if found[1] else _SPACE if found[2] else found[0] for found in _PIECE.finditer(template)
        ]
        self._white = self._mask("".join("1" if character.isspace() else "0" for character in message))
        self._other = self._all_before(1) - 1 - self._white
        self._words = {
            word: self._mask(self._marks(word)) for word in set(self._pieces) if word not in {WILDCARD, _SPACE}
        }
        self._layers: list[list[int]] = []

    def spans(self) -> tuple[Span, ...] | None:
        """Find the spans of the parameters, None where the template does not match."""
        below = [0] * (len(self._pieces) + 1)
        while not self._holds(below[0], 0):
            layer = self._layer(below)
            if layer == below:  # more parameters with white space help no more
                return None
            self._layers.append(layer)
            below = layer
        return tuple(self._walk())

    @staticmethod
    def _mask(marks: str | bytearray) -> int:
        """Turn a 0 or 1 for each character into positions."""
        return int(marks or "0", 2) << 1

    def _marks(self, word: str) -> bytearray:
        """Mark each place of the message where a word begins."""
        marks = bytearray(b"0") * len(self._message)
        place = self._message.find(word)
        while place >= 0:
            marks[place] = ord("1")
            place = self._message.find(word, place + 1)
        return marks

    def _all_before(self, positions: int) -> int:
        """Give every position up to the last of `positions`."""
        return (2 << len(self._message)) - (positions & -positions) if positions else 0

    @staticmethod
    def _before(positions: int, through: int) -> int:
        """Give every position that reaches one of `positions` over characters of `through` alone, at least one.

        A sum carries each position to the end of its run of ones (as in Myers' bit-parallel matching).
        """
        reached = positions << 1 & through
        return ((reached + through ^ through) | reached) & through

    def _layer(self, below: list[int]) -> list[int]:
        """Find where each piece may begin, with one more parameter that holds white space than `below` allows."""
        layer = [0] * len(self._pieces) + [1]
        for number in range(len(self._pieces) - 1, -1, -1):
            piece, after = self._pieces[number], layer[number + 1]
            if piece == WILDCARD:
                layer[number] = after | self._before(after, self._other) | self._all_before(below[number + 1])
            elif piece == _SPACE:
                layer[number] = self._before(after, self._white)
            else:
                layer[number] = after << len(piece) & self._words[piece]
        return layer

    def _holds(self, positions: int, place: int) -> bool:
        """Tell whether the position of the character at `place` is one of `positions`."""
        return bool(positions >> len(self._message) - place & 1)

    def _next(self, positions: int, place: int) -> int | None:
        """Find the first of `positions` that is not before the character at `place`."""
        rest = positions & (2 << len(self._message) - place) - 1
        return len(self._message) + 1 - rest.bit_length() if rest else None

    def _walk(self) -> Iterator[Span]:
        """Choose the end of each piece, from left to right; yields the parameters."""
        budget, place = len(self._layers) - 1, 0
        for number, piece in enumerate(self._pieces):
            if piece == WILDCARD:
                start, (place, budget) = place, self._shortest(number, place, budget)
                yield start, place
            elif piece == _SPACE:
                place = self._after_space(number, place, budget)
            else:
                place += len(piece)

    def _shortest(self, number: int, place: int, budget: int) -> tuple[int, int]:
        """Find where the parameter that begins at `place` ends, and what is left of the budget."""
        white = self._next(self._white, place)
        end = self._next(self._layers[budget][number + 1], place)
        if end is not None and (white is None or end <= white):
            return end, budget
        end = self._next(self._layers[budget - 1][number + 1], place)
        assert end is not None  # noqa: S101 - the layers hold only positions from which the rest matches
        return end, budget - 1

    def _after_space(self, number: int, place: int, budget: int) -> int:
        """Choose how much white space to take: what makes a parameter behind it shortest; of those the least."""
        run = _WHITE.match(self._message, place)
        assert run is not None  # noqa: S101 - as above
        fits = self._layers[budget][number + 1]
        ends = [end for end in range(place + 1, run.end() + 1) if self._holds(fits, end)]
        if len(ends) == 1:
            return ends[0]
        return min(ends, key=lambda end: self._shortest(number + 1, end, budget)[0] - end)


def complaint(message: str, template: str) -> str | None:
    """Say what is wrong with a pair, None if nothing is."""
    if not template.strip():
        return "the template is empty"
    if not _is_writable(message + template):
        return f"{_shown(message)} or its template holds half a character, a lone surrogate: write it in UTF-8"
    if any(map(str.isalpha, message)) and not any(map(str.isalpha, template.replace(WILDCARD, ""))):
        return f"the template {_shown(template)} keeps no letter of {_shown(message)}: it would match any line"
    if aligned(message, template) is None:
        return f"the template {_shown(template)} does not match {_shown(message)}"
    return None


def _is_writable(text: str) -> bool:
    """Tell whether a text stands for bytes: JSON can spell some that do not."""
    try:
        encoded(text)
    except UnicodeEncodeError:
        return False
    return True


def read_pairs(path: Path | str) -> list[Pair]:
    """Read and check pairs, in the file's order.

    Raises:
        WrongLabels: the file can't be read, a template is empty, keeps no letter or does not match its message, or a
            message has two templates. All wrong lines are named at once.

    """
    wrong, pairs, seen = list[str](), list[Pair](), dict[str, Row]()
    for row in read_rows(path):
        reason = row.broken or complaint(row.message, row.template)
        if not reason:
            first = seen.setdefault(row.message, row)
            if collapsed(first.template) != collapsed(row.template):
                reason = f"{_shown(row.message)} has another template on line {first.line}"
        if reason:
            wrong.append(f"line {row.line}: {reason}")
        pairs.append(Pair(message=row.message, template=row.template))
    refuse(path, wrong)
    return pairs


def refuse(path: Path | str, wrong: Sequence[str]) -> None:
    """Refuse a file for its wrong lines, if there are any.

    Raises:
        WrongLabels: there are; the first twenty are shown.

    """
    if wrong:
        hidden = len(wrong) - _MOST_SHOWN
        more = [f"and {hidden} more"] if hidden > 0 else []
        lines = "line" if len(wrong) == 1 else "lines"
        raise WrongLabels("\n  ".join([f"{path}: {len(wrong)} wrong {lines}:", *wrong[:_MOST_SHOWN], *more]))


def read_rows(path: Path | str) -> Iterator[Row]:
    """Yield the rows of a file of labels, unchecked, broken ones too.

    Raises:
        WrongLabels: there is no such file, it has no such columns, or it stops being CSV.

    """
    path = Path(path)
    try:
        # Bytes that are no UTF-8 stay what they are, as in the messages that the worker parses.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _json_rows(file) if path.suffix.lower() in JSON_LINES else _csv_rows(file, path)
    except OSError as error:
        raise WrongLabels(f"{path} can't be read: {error.strerror or error}.") from error


def _csv_rows(file: Iterable[str], path: Path) -> Iterator[Row]:
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        columns = next(reader, [])
        message_at, template_at = _column(columns, MESSAGE_COLUMNS, path), _column(columns, TEMPLATE_COLUMNS, path)
        line = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(columns):
                broken = f"{len(values)} values for {len(columns)} columns"
                yield Row(line=line, message="", template="", broken=broken)
            elif values:
                yield Row(line=line, message=values[message_at], template=values[template_at])
            line = reader.line_num + 1
    except csv.Error as error:
        raise WrongLabels(f"{path}, line {line}: this is no CSV: {error}.") from error


def _column(columns: Sequence[str], names: Sequence[str], path: Path) -> int:
    for name in names:
        if name in columns:
            return columns.index(name)
    raise WrongLabels(f"{path} has no column {' or '.join(names)}; its first line is {_shown(','.join(columns))}.")


def _json_rows(file: Iterable[str]) -> Iterator[Row]:
    for line, text in enumerate(file, 1):
        if text.strip():
            yield _json_row(line, text)


def _json_row(line: int, text: str) -> Row:
    try:
        fields = json.loads(text)
    except ValueError as error:
        return Row(line=line, message="", template="", broken=f"this is no JSON: {error}")
    if not isinstance(fields, dict):
        return Row(line=line, message="", template="", broken="this is no JSON object")
    message, template = (
        next((fields[name] for name in names if name in fields), None) for names in (MESSAGE_COLUMNS, TEMPLATE_COLUMNS)
    )
    if not isinstance(message, str) or not isinstance(template, str):
        return Row(line=line, message="", template="", broken='"message" and "template" must be there, as strings')
    return Row(line=line, message=message, template=template)


def write_pairs(path: Path | str, pairs: Iterable[Pair]) -> None:
    """Write pairs, as JSON Lines or CSV by the file's suffix; `read_pairs` gives them back."""
    path = Path(path)
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        if path.suffix.lower() in JSON_LINES:
            for pair in pairs:
                fields = {"message": pair.message, "template": pair.template}
                file.write(json.dumps(fields, ensure_ascii=False) + "\n")
            return
        # Unquoted, a message that is empty or begins with a blank is read differently by other programs.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow((MESSAGE_COLUMNS[0], TEMPLATE_COLUMNS[0]))
        writer.writerows((pair.message, pair.template) for pair in pairs)


def _shown(text: str) -> str:
    """Quote a text for an error, cut where it is long."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
