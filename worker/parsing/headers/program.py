"""A header format as a flat program, run by the reference and by the kernel alike. Knows neither of them.

The program reads from left to right and never goes back but to where the last TRY stood, so its time is linear in the
line. An op either moves the position or fails; a failure inside TRY ... COMMIT goes on at the TRY's target with
everything restored that the attempt had read, any other failure means that the format does not fit.
"""

from dataclasses import dataclass
from enum import IntEnum

#: Most header fields, beside timestamp and level, that a format may name (as in the columns).
MAX_FIELDS = 12
#: `Op.slot` of what is read and dropped.
SKIPPED = -1
#: `Op.slot` of what is kept as the level.
LEVEL_SLOT = -2


class Code(IntEnum):
    """What an op does. White space is space and tab."""

    #: The header ends, the message starts.
    MESSAGE = 0
    #: `literal`, byte for byte.
    LITERAL = 1
    #: A run of white space, or the end of the text: trailing white space is often cut.
    SPACE = 2
    #: A run of white space that may be empty.
    GAP = 3
    #: Bytes up to where the first of `stops` fits. `number`: 1 refuses white space. No line feed.
    SCAN = 4
    #: One or more bytes of the class `number`.
    RUN = 5
    #: A known level's word of two letters or more. `number` 0 refuses mixed case: `Error` may start a message.
    LEVEL = 6
    #: A known level's single byte: a letter (`number` 0) or one of Redis' marks (1).
    MARK = 7
    #: Go on; should an op fail before COMMIT, go on at op `number` instead.
    TRY = 8
    #: The attempt is over; go on at op `number`.
    COMMIT = 9
    #: Four digits, 1678 to 2261: what 64 bits of nanoseconds hold whole years of.
    YEAR = 10
    #: Two digits; 69 to 99 are of the last century.
    SHORT_YEAR = 11
    #: Two digits.
    MONTH = 12
    #: An English month's first three letters, any case; `number` 1 skips the letters after them.
    MONTH_NAME = 13
    #: An English weekday, like MONTH_NAME. It is read and not compared with the date.
    WEEKDAY = 14
    #: Two digits, or (`number` 1) one or two digits after at most one space.
    DAY = 15
    #: Like DAY; `number` 2 is like 1 for the twelve-hour clock.
    HOUR = 16
    MINUTE = 17
    #: Two digits, 00 to 60: the leap second counts as the first second of the next minute.
    SECOND = 18
    #: AM or PM, any case.
    HALF = 19
    #: One to nine digits; `number` 1: after `.` or `,`, or nothing at all.
    FRACTION = 20
    #: `number` is a sum of ZONE_OPTIONAL and ZONE_NAMED.
    ZONE = 21
    #: A count since 1970: `number` is the digits after the second (0, 3, 6, 9), or -1: as the count of digits says.
    EPOCH = 22
    #: `YYYY-MM-DD` with `number` for the separating byte.
    DATE = 23
    #: `HH:MM:SS` with `number` for the separating byte.
    CLOCK = 24
    #: Between date and clock in ISO 8601: `T`, `t` or a space.
    DATE_END = 25


#: The zone may be missing.
ZONE_OPTIONAL = 1
#: Besides Z and an offset, a run of one to five capital letters.
ZONE_NAMED = 2

#: Classes of RUN: the bytes it may hold, the bytes it may start with.
DIGITS, NUMBER, NAME = 0, 1, 2
_DIGIT_BYTES = frozenset(range(48, 58))
_LETTER_BYTES = frozenset([*range(65, 91), *range(97, 123), *b"_", *range(128, 256)])
RUN_BYTES = (_DIGIT_BYTES, _DIGIT_BYTES | set(b"."), _DIGIT_BYTES | _LETTER_BYTES | set(b".$/@#~+-"))
RUN_FIRST_BYTES = (_DIGIT_BYTES, _DIGIT_BYTES, _LETTER_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One step of a program."""

    code: Code
    #: The bytes of a LITERAL.
    literal: bytes = b""
    #: Where SCAN and RUN keep their span: a field's row, SKIPPED or LEVEL_SLOT.
    slot: int = SKIPPED
    #: What the code says it is.
    number: int = 0
    #: SCAN: runs of LITERAL, SPACE and GAP ops, as (index of the first, how many), any of which ends it.
    stops: tuple[tuple[int, int], ...] = ()
    #: SCAN: every byte at which it can end or fail, ascending.
    attention: bytes = b""
    #: SCAN: fewest bytes.
    fewest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFormat:
    """A compiled header declaration."""

    #: The preset's name, or the declaration itself.
    name: str
    declaration: str
    #: Attribute names of the fields, at most MAX_FIELDS.
    fields: tuple[str, ...]
    ops: tuple[Op, ...]
    #: How much a line that fits must have looked like it: the more, the less likely it fits by chance.
    specificity: int
