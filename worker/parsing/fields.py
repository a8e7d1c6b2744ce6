"""Fields asked for in words, found in events: decided once per template, then cut by offsets.

A decision says where the answer stands relative to the template, so that the next line of the template costs one
look-up and a slice. What the header gave answers too. Knows nothing of Kafka.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from worker.errors import WrongSettings
from worker.parsing.asking import Asker, Slot, field_name, header_slot, piece_slot, words_of
from worker.parsing.field_prompts import read_field_prompts
from worker.parsing.pieces import Piece, nth, places
from worker.parsing.spans import Span
from worker.parsing.types import parameter_type

#: Attributes of an event that hold a field that was asked for, before its name.
FIELD_ATTRIBUTE = "log.record.field."
#: The network that ships with Logloom.
SHIPPED = Path(__file__).parents[1] / "models" / "fields.safetensors"
#: Decisions that are kept, the latest used.
_MAX_DECISIONS = 20_000
#: Longer messages are read up to here: pieces are many.
_LONGEST_BODY = 2_000
_MOST_FIELDS = 64
#: What a choice that already answers another field loses, in log-odds.
_TAKEN = 4.0
_OURS = ("log.record.", "logloom.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfHeader:
    """The answer is a field of the header."""

    #: `timestamp`, `severity_text`, or an attribute's name.
    name: str
    #: `date` or `clock` for that part of the timestamp, else empty.
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfBody:
    """The answer begins and ends in literals of the template, at their edges for whole parameters."""

    #: A literal's number and characters into it, each.
    first: tuple[int, int]
    last: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfParameter:
    """The answer is a piece of one parameter: the match number `count` of a rule in its value."""

    parameter: int
    rule: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLine:
    """The answer can't be told from the template: each line is decided by itself."""


Decision: TypeAlias = OfHeader | OfBody | OfParameter | OfLine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What answers one field in one event."""

    text: str
    #: The field of the header, or None for a piece of the body.
    header: OfHeader | None
    #: Where in the body, in characters.
    span: Span | None


def checked_fields(fields: Sequence[str]) -> tuple[str, ...]:
    """Strip and check fields.

    Raises:
        WrongSettings: with all mistakes: no field, too many, one without a word, two of one name.

    """
    stripped = [field.strip() for field in fields]
    mistakes = [
        f"{field!r} names no field: give words, such as `client ip`" for field in stripped if not words_of(field)
    ]
    names = [field_name(field) for field in stripped]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    mistakes += [f"{name!r} is asked for more than once" for name in twice]
    if not stripped or len(stripped) > _MOST_FIELDS:
        mistakes.append(f"{len(stripped)} fields are asked for; 1 to {_MOST_FIELDS} can be")
    if mistakes:
        raise WrongSettings("fields: " + "; ".join(mistakes))
    return tuple(stripped)


class FieldReader:
    """Answers the same fields for every event of a source."""

    def __init__(self, asker: Asker, fields: Sequence[str], *, taught: Path | None = None) -> None:
        """Ask for `fields`; `taught` has soft prompts of some, for the shipped network.

        Raises:
            WrongModel: `taught` is missing or broken, or is for another network.
            WrongSettings: some fields can't be asked for.

        """
        self.fields = checked_fields(fields)
        self._asker = asker if taught is None else asker.taught(read_field_prompts(taught, SHIPPED, asker.width))
        self._attributes = [FIELD_ATTRIBUTE + field_name(field) for field in self.fields]
        self._decided: OrderedDict[tuple[object, ...], tuple[Decision, ...]] = OrderedDict()

    @classmethod
    def load(cls, fields: Sequence[str], *, taught: Path | None = None) -> Self:
        """Load the shipped network and ask for `fields`. Raises as the constructor does."""
        return cls(Asker.load(SHIPPED), fields, taught=taught)

    def add(self, event: dict[str, Any]) -> None:
        """Put an attribute into the event for each field that it answers."""
        for attribute, answer in zip(self._attributes, self.answers(event), strict=True):
            if answer is not None:
                event["attributes"][attribute] = typed(answer.text)

    def answers(self, event: Mapping[str, Any]) -> list[Answer | None]:
        """Answer the fields of an event, in their order."""
        attributes = event["attributes"]
        spans = tuple((one["start"], one["end"]) for one in attributes.get("log.record.parameters", ()))
        header = header_of(event)
        key = (attributes.get("log.record.template.id"), *header)
        decisions = self._decided.get(key)
        if decisions is None:
            decisions = self._decide(event["body"], spans, header)
            self._decided[key] = decisions
            if len(self._decided) > _MAX_DECISIONS:
                self._decided.popitem(last=False)
        else:
            self._decided.move_to_end(key)
        alone = self._choose(event["body"], spans, header) if any(isinstance(one, OfLine) for one in decisions) else ()
        return [
            alone[number] if isinstance(one, OfLine) else applied(one, event["body"], spans, header)
            for number, one in enumerate(decisions)
        ]

    def _decide(self, body: str, spans: Sequence[Span], header: Mapping[str, str]) -> tuple[Decision, ...]:
        return tuple(
            None if answer is None else answer.header or decision(answer.span or (0, 0), body, spans)
            for answer in self._choose(body, spans, header)
        )

    def _choose(self, body: str, spans: Sequence[Span], header: Mapping[str, str]) -> list[Answer | None]:
        """Ask the network for each field's best answer."""
        choices, slots = candidates(body, spans, header)
        if not slots:
            return [None] * len(self.fields)
        scores = self._asker.scores(slots, self.fields, body)
        found: list[Answer | None] = [None] * len(self.fields)
        places = [choice.span or (choice.header, choice.text) for choice in choices]
        for _ in self.fields:
            field, choice = divmod(int(scores.argmax()), len(choices))
            if scores[field, choice] >= self._asker.threshold:
                found[field] = choices[choice]
            scores[field] = -np.inf
            # Fields that are asked for together mostly are different things.
            scores[:, [place == places[choice] for place in places]] -= _TAKEN
        return found


def header_of(event: Mapping[str, Any]) -> dict[str, str]:
    """List what the header, or the envelope, gave: name and text."""
    found = {name: event[name] for name in ("timestamp", "severity_text") if name in event}
    for name, value in event["attributes"].items():
        if not name.startswith(_OURS) and isinstance(value, str | int | float):
            found[name] = str(value)
    # Redis writes levels as marks, which answer nobody.
    return {name: text for name, text in found.items() if any(map(str.isalnum, text))}


def candidates(body: str, spans: Sequence[Span], header: Mapping[str, str]) -> tuple[list[Answer], list[Slot]]:
    """List what may answer, with what is read of each."""
    text = body[:_LONGEST_BODY]
    choices, slots = [], []
    for name, value in header.items():
        for part in ("date", "clock", "timestamp") if name == "timestamp" else ("",):
            given = OfHeader(name=name, part=part)
            text_of = _part(value, part)
            choices.append(Answer(text=text_of, header=given, span=None))
            slots.append(header_slot("severity" if name == "severity_text" else name, text_of, (part,) if part else ()))
    for piece in Piece.all(text, tuple(spans)):
        if piece.end <= len(text):
            choices.append(Answer(text=text[piece.start : piece.end], header=None, span=(piece.start, piece.end)))
            slots.append(piece_slot(text, piece, spans))
    return choices, slots


def decision(span: Span, body: str, spans: Sequence[Span]) -> Decision:
    """Say where a span of the body stands in the template."""
    first, last = _in_literal(span[0], body, spans, at_start=True), _in_literal(span[1], body, spans, at_start=False)
    if first is not None and last is not None:
        return OfBody(first=first, last=last)
    for number, (start, end) in enumerate(spans):
        if start <= span[0] and span[1] <= end:
            for rule, count in places(body[start:end], (span[0] - start, span[1] - start)):
                return OfParameter(parameter=number, rule=rule, count=count)
    return OfLine()


def _in_literal(place: int, body: str, spans: Sequence[Span], *, at_start: bool) -> tuple[int, int] | None:
    """Tell the literal and the characters into it; the start of a span is that of a parameter rather than its end."""
    edges = [0, *(edge for span in spans for edge in span), len(body)]
    literals = list(zip(range(len(edges) // 2), edges[::2], edges[1::2], strict=True))
    for number, start, end in reversed(literals) if not at_start else literals:
        if start <= place <= end:
            return number, place - start
    return None


def applied(one: Decision, body: str, spans: Sequence[Span], header: Mapping[str, str]) -> Answer | None:
    """Cut the answer out of one event."""
    span: Span | None = None
    if isinstance(one, OfHeader):
        text = _part(header[one.name], one.part)
        return Answer(text=text, header=one, span=None) if text else None
    if isinstance(one, OfBody):
        starts = [0, *(end for _, end in spans)]
        span = starts[one.first[0]] + one.first[1], starts[one.last[0]] + one.last[1]
    elif isinstance(one, OfParameter):
        start, end = spans[one.parameter]
        inside = nth(body[start:end], one.rule, one.count)
        span = None if inside is None else (start + inside[0], start + inside[1])
    if span is None or span[0] >= span[1]:
        return None
    return Answer(text=body[span[0] : span[1]], header=None, span=span)


def _part(value: str, part: str) -> str:
    """Take the date or the clock out of a timestamp as events write it."""
    if part == "date":
        return value[:10]
    return value[11:].removesuffix("Z") if part == "clock" else value


def typed(text: str) -> str | int | float | bool:
    """Give a value its type: integers, floats and booleans as such, all else as text."""
    kind = parameter_type(text.encode(errors="replace"))
    if kind == "integer" and len(text) <= 18 and str(int(text)) == text:
        return int(text)
    if kind == "float" and len(text) <= 18:
        return float(text)
    return text.lower() == "true" if text.lower() in {"true", "false"} else text
