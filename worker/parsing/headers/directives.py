"""The language that declares a time: strptime's directives and a few more, compiled to ops.

| directive | reads |
|---|---|
| `%Y` `%y` | a year of four digits (1678 to 2261), of two digits (69 to 99 are of the last century) |
| `%m` `%b` `%B` | a month of two digits; its first three letters in English; its full name or any short one |
| `%d` `%e` | a day of two digits; of one or two digits after at most one space |
| `%a` `%A` | a weekday's first three letters in English; its full name or any short one. It is not checked |
| `%H` `%k` | an hour of two digits; of one or two digits after at most one space |
| `%I` `%p` | an hour of one or two digits on the twelve-hour clock; AM or PM |
| `%M` `%S` | two digits each; a second of 60 is the first of the next minute |
| `%f` `%.f` | one to nine digits of the second; the same after `.` or `,`, or nothing |
| `%z` `%Z` | `Z`, `+hh`, `+hhmm` or `+hh:mm`; the same or an abbreviation of one to five capitals |
| `%?z` `%?Z` | the same, or nothing |
| `%s` `%Q` `%i` | a count since 1970 of seconds; of milliseconds; of the unit that its number of digits tells |
| `%F` `%T` `%+` | `%Y-%m-%d`; `%H:%M:%S`; ISO 8601: `%F`, a `T` or space, `%T%.f%?z` |
| `%%` | `%` |

A space is a run of white space. Everything else stands for itself. ZONE_ABBREVIATIONS in `worker.parsing.timestamps`
lists the abbreviations that are understood; any other is the source's own zone.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from worker.errors import WrongFormat
from worker.parsing.headers.program import ZONE_NAMED, ZONE_OPTIONAL, Code, Op

_DIRECTIVES = {
    "%Y": [Op(code=Code.YEAR)],
    "%y": [Op(code=Code.SHORT_YEAR)],
    "%m": [Op(code=Code.MONTH)],
    "%b": [Op(code=Code.MONTH_NAME)],
    "%B": [Op(code=Code.MONTH_NAME, number=1)],
    "%d": [Op(code=Code.DAY)],
    "%e": [Op(code=Code.DAY, number=1)],
    "%a": [Op(code=Code.WEEKDAY)],
    "%A": [Op(code=Code.WEEKDAY, number=1)],
    "%H": [Op(code=Code.HOUR)],
    "%k": [Op(code=Code.HOUR, number=1)],
    "%I": [Op(code=Code.HOUR, number=2)],
    "%p": [Op(code=Code.HALF)],
    "%M": [Op(code=Code.MINUTE)],
    "%S": [Op(code=Code.SECOND)],
    "%f": [Op(code=Code.FRACTION)],
    "%.f": [Op(code=Code.FRACTION, number=1)],
    "%z": [Op(code=Code.ZONE)],
    "%?z": [Op(code=Code.ZONE, number=ZONE_OPTIONAL)],
    "%Z": [Op(code=Code.ZONE, number=ZONE_NAMED)],
    "%?Z": [Op(code=Code.ZONE, number=ZONE_OPTIONAL + ZONE_NAMED)],
    "%s": [Op(code=Code.EPOCH, number=0)],
    "%Q": [Op(code=Code.EPOCH, number=3)],
    "%i": [Op(code=Code.EPOCH, number=-1)],
    "%F": [Op(code=Code.DATE, number=ord("-"))],
    "%T": [Op(code=Code.CLOCK, number=ord(":"))],
    "%+": [
        Op(code=Code.DATE, number=ord("-")),
        Op(code=Code.DATE_END),
        Op(code=Code.CLOCK, number=ord(":")),
        Op(code=Code.FRACTION, number=1),
        Op(code=Code.ZONE, number=ZONE_OPTIONAL),
    ],
    "%%": [Op(code=Code.LITERAL, literal=b"%")],
}
_TOKEN = re.compile(
    r"%Y(?P<date>[^%\w\s])%m(?P=date)%d|%H(?P<clock>[^%\w\s])%M(?P=clock)%S"
    r"|(?P<directive>%[.?]?.?)|(?P<space>\s+)|[^%\s]+"
)


def compile_directives(text: str, wrong: Callable[[str], WrongFormat]) -> list[Op]:
    """Compile a time's declaration; `wrong` makes the error out of what is wrong.

    Raises:
        WrongFormat: a directive that there is not.
    """
    ops: list[Op] = []
    for token in _TOKEN.finditer(text):
        if token["date"] and token["date"].isascii():
            ops.append(Op(code=Code.DATE, number=ord(token["date"])))
        elif token["clock"] and token["clock"].isascii():
            ops.append(Op(code=Code.CLOCK, number=ord(token["clock"])))
        elif token["directive"]:
            if token[0] not in _DIRECTIVES:
                raise wrong(f"no directive {token[0]!r} in {text!r}; there are {' '.join(_DIRECTIVES)}")
            ops.extend(_DIRECTIVES[token[0]])
        elif token["space"]:
            ops.append(Op(code=Code.SPACE))
        else:
            ops.append(Op(code=Code.LITERAL, literal=token[0].encode()))
    return ops


_MONTH_SHAPES = ("%B", "%m")
_DATE_SHAPES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%y/%m/%d", "%y-%m-%d", "%d/%b/%Y", "%d-%b-%Y", "%m-%d", "%m/%d",
    "%Y%m%d", "%y%m%d", "%b %e", "%B", "%e",
)  # fmt: skip
_TIME_SHAPES = (
    "%+", "%Y-%m-%d-%H.%M.%S%.f", "%Y/%m/%d %H:%M:%S%.f", "%Y.%m.%d %H:%M:%S%.f", "%Y%m%d-%H:%M:%S:%f",
    "%a %b %e %H:%M:%S%.f %Y", "%a, %d %b %Y %H:%M:%S %Z", "%b %e %H:%M:%S%.f", "%d/%b/%Y:%H:%M:%S %z",
    "%d %b %Y %H:%M:%S%.f", "%d-%b-%Y %H:%M:%S%.f", "%y/%m/%d %H:%M:%S%.f", "%H:%M:%S%.f%?z", "%s.%f", "%i",
    "%y%m%d %H%M%S", "%H%M%S",
)  # fmt: skip
_USUAL_SHAPES = {
    "timestamp": _TIME_SHAPES, "datetime": _TIME_SHAPES, "time": _TIME_SHAPES, "date": _DATE_SHAPES,
    "month": _MONTH_SHAPES, "day": ("%e",), "year": ("%Y",),
}  # fmt: skip


@cache
def _choice(shapes: tuple[str, ...]) -> tuple[Op, ...]:
    """Compile shapes to a program that takes the first that fits."""
    ops: list[Op] = []
    commits: list[int] = []
    for shape in shapes[:-1]:
        body = compile_directives(shape, WrongFormat)
        ops += [Op(code=Code.TRY, number=len(ops) + len(body) + 2), *body]
        commits.append(len(ops))
        ops.append(Op(code=Code.COMMIT))
    ops += compile_directives(shapes[-1], WrongFormat)
    for index in commits:
        ops[index] = replace(ops[index], number=len(ops))
    return tuple(ops)


def usual_time(name: str, *, has_day: bool) -> list[Op] | None:
    """Return the program for a time that a field's name (in small letters) says and whose shape is not given.

    `has_day`: a field of its own holds the day, so that a date may be a month's name alone.
    """
    shapes = _USUAL_SHAPES.get(name)
    if shapes and has_day:
        shapes = tuple(shape for shape in shapes if shape != "%b %e")
    return list(_choice(shapes)) if shapes else None
