"""Lines with fields that were labelled by hand, `training/fields`, and how good answers to them are.

An answer is right where it is one of the labelled places exactly. Precision is over the fields that got an answer,
recall over those that have one; where the line has none, an answer lowers precision, and no answer counts as nothing,
as GLiNER counts.
"""

import asyncio
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from worker.columns.lines import read_lines
from worker.offline import FileParser
from worker.parsing.fields import Answer
from worker.parsing.pieces import Piece
from worker.parsing.spans import Span

FOLDER = Path(__file__).parent / "fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A labelled line, and the event that the parser makes of it."""

    line: str
    event: Mapping[str, Any]
    #: Field: the places that are right, none where the line has no answer.
    fields: Mapping[str, Sequence[Span]]
    #: What wrote it.
    program: str = ""

    @property
    def offset(self) -> int:
        """Where the message begins in the line."""
        return self.line.find(self.event["body"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How good answers are."""

    precision: float
    recall: float
    f1: float


#: Answers the fields of one line, in their order, with places in it; None for no answer.
Method: TypeAlias = Callable[[Asked], list[Span | None]]


def counted(lines: Iterable[Asked], method: Method) -> Counted:
    """Count exact answers, over all fields of all lines."""
    right = given = there = 0
    for asked in lines:
        for answer, places in zip(method(asked), asked.fields.values(), strict=True):
            right += answer in places
            given += answer is not None
            there += bool(places)
    return Counted(precision=right / max(1, given), recall=right / there, f1=2 * right / (given + there))


def place(asked: Asked, answer: Answer) -> Span:
    """Find in the line what an answer stands for; of a header, events hold the timestamp in another notation."""
    offset = asked.offset
    if answer.span is not None:
        return answer.span[0] + offset, answer.span[1] + offset
    header = asked.line[:offset]
    if answer.header is not None and answer.header.part:
        dated = (piece for piece in Piece.all(header) if answer.header.part in piece.rules)
        return next(((piece.start, piece.end) for piece in dated), (-1, -1))
    start = header.find(answer.text)
    if start < 0:  # some programs write fields behind the message
        start = asked.line.find(answer.text, offset + len(asked.event["body"]))
    return start, start + len(answer.text)


def read_asked(half: str, model: str) -> list[Asked]:
    """Read the lines of a half and parse them, a source per program."""
    rows = [json.loads(row) for row in (FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()]
    found: list[Asked] = []
    for program in dict.fromkeys(row["program"] for row in rows):
        ours = [row for row in rows if row["program"] == program]
        events = events_of([row["line"] for row in ours], FileParser.open(source=program, model=model, forget=True))
        for row, event in zip(ours, events, strict=True):
            fields = {field: [(start, end) for start, end in places] for field, places in row["fields"].items()}
            found.append(Asked(line=row["line"], event=event, fields=fields, program=program))
    return found


def events_of(lines: Sequence[str], parser: FileParser) -> list[dict[str, Any]]:
    """Parse lines, an event each."""

    async def parsed() -> list[dict[str, Any]]:
        file = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
        try:
            return [
                json.loads(event)
                for records in read_lines(file, chunk_bytes=1 << 22)
                for event in bytes(await parser.parse(records)).splitlines()
            ]
        finally:
            await parser.close()

    return asyncio.run(parsed())
