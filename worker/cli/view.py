"""An event as a line for people. What a log holds never reaches the terminal raw."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from worker.terminal import printable

PARAMETERS = "log.record.parameters"

#: Colour by OpenTelemetry severity number, each from the number on.
_COLOURS = ((17, "bright_red"), (13, "yellow"), (9, "green"), (5, "blue"), (1, "bright_black"), (0, "white"))
_NAMES = ("", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_SOURCE_WIDTH = 12
_ELLIPSIS = "…"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """Some text in one style."""

    text: str
    colour: str | None = None
    bold: bool = False
    dim: bool = False


def render(event: Mapping[str, Any], *, colour: bool, width: int | None = None) -> str:
    """Give `event` as a line: time, level, source, hit or miss, the message with its parameters marked.

    With `colour` parameters are coloured, without it they stand in `<...>`. Cut to `width` columns, None: never cut.
    Control characters, escape sequences and all that is not printable are shown as escapes.
    """
    pieces = list(_pieces(event, marks=not colour))
    if width is not None:
        pieces = _cut(pieces, width)
    if not colour:
        return "".join(piece.text for piece in pieces)
    return "".join(click.style(p.text, fg=p.colour, bold=p.bold or None, dim=p.dim or None) for p in pieces)


def _pieces(event: Mapping[str, Any], *, marks: bool) -> Iterator[_Piece]:
    attributes = event.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    yield _Piece(text=f"{_time_of_day(event):<12} ", dim=True)
    number = event.get("severity_number")
    number = number if isinstance(number, int) and 0 < number <= 24 else 0
    colour = next(colour for least, colour in _COLOURS if number >= least)
    yield _Piece(text=f"{_level(event, number):<5} ", colour=colour, bold=number >= 13)
    source = printable(str(attributes.get("logloom.source", "")))
    yield _Piece(text=f"{source:<{_SOURCE_WIDTH}} ", colour="magenta")
    missed = attributes.get("logloom.cache") == "miss"
    yield _Piece(text="miss " if missed else "hit  ", colour="yellow" if missed else None, dim=not missed)
    body = event.get("body")
    if isinstance(body, str):
        yield from _message(body, attributes.get(PARAMETERS), marks=marks)
    else:
        yield _Piece(text=printable(json_of(body)))


def json_of(value: object) -> str:
    """Write what was read as JSON or msgpack as JSON in one line; what is nested too deep is a text that says so."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except RecursionError:
        return '"(nested too deep to be shown)"'


def _time_of_day(event: Mapping[str, Any]) -> str:
    time = str(event.get("timestamp") or event.get("observed_timestamp") or "")
    # RFC 3339 in UTC: the date is the same for nearly all lines on a screen.
    return printable(time[11:].rstrip("Z")[:12])


def _level(event: Mapping[str, Any], number: int) -> str:
    """Give five letters at most: by number, so that levels of all programs read alike; else as the program wrote it."""
    return _NAMES[(number + 3) // 4] if number else printable(str(event.get("severity_text") or "-"))[:5]


def _message(body: str, parameters: object, *, marks: bool) -> Iterator[_Piece]:
    """Give the message with its parameters apart; spans that don't fit the body are left out."""
    position = 0
    for parameter in parameters if isinstance(parameters, list) else ():
        start, end = (parameter.get(edge) if isinstance(parameter, dict) else None for edge in ("start", "end"))
        if not (isinstance(start, int) and isinstance(end, int) and position <= start <= end <= len(body)):
            continue
        yield _Piece(text=printable(body[position:start]))
        value = printable(body[start:end])
        name = printable(str(parameter.get("name") or ""))
        if marks:
            yield _Piece(text=f"<{name}={value}>" if name else f"<{value}>")
        else:
            yield _Piece(text=value, colour="cyan")
        position = end
    yield _Piece(text=printable(body[position:]))


def _cut(pieces: list[_Piece], width: int) -> list[_Piece]:
    """Keep what fits into `width` columns, with an ellipsis where something had to go."""
    if sum(_columns(piece.text) for piece in pieces) <= width:
        return pieces
    kept: list[_Piece] = []
    left = width - 1
    for piece in pieces:
        text = ""
        for character in piece.text:
            left -= _columns(character)
            if left < 0:
                kept.append(_Piece(text=text, colour=piece.colour, bold=piece.bold, dim=piece.dim))
                return [*kept, _Piece(text=_ELLIPSIS)]
            text += character
        kept.append(piece)
    return kept


def _columns(text: str) -> int:
    """Count the columns of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
