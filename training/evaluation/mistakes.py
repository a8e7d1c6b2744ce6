"""What kind of mistake a wrong template is, and which mistakes cost most lines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from training.evaluation.metrics import normalised
from training.labels import aligned, collapsed
from worker.parsing.spans import Span

#: Kinds of mistakes, as reports call them.
NO_TEMPLATE = "no template"
OTHER_CUT = "the same values, cut otherwise"
TOO_WIDE = "constant taken for parameter"
TOO_NARROW = "parameter taken for constant"
BOTH = "both at once"
WRONG_LABEL = "the label does not match its line"
KINDS = (TOO_NARROW, TOO_WIDE, BOTH, OTHER_CUT, NO_TEMPLATE, WRONG_LABEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A wrong template in place of a right one."""

    kind: str
    #: Lines of the log with this pair of templates.
    lines: int
    #: The first of these lines.
    message: str
    oracle: str
    #: None where there is no template.
    predicted: str | None


def mistakes(messages: Sequence[str], oracle: Sequence[str | None], predicted: Sequence[str | None]) -> list[Mistake]:
    """List the pairs of different templates, those of most lines first."""
    lines, first = Counter[tuple[str, str | None]](), dict[tuple[str, str | None], str]()
    for message, wanted, found in zip(messages, oracle, predicted, strict=True):
        if wanted is not None and (found is None or collapsed(found) != collapsed(wanted)):
            lines[wanted, found] += 1
            first.setdefault((wanted, found), message)
    return [
        Mistake(
            kind=kind_of(first[wanted, found], wanted, found),
            lines=count,
            message=first[wanted, found],
            oracle=wanted,
            predicted=found,
        )
        for (wanted, found), count in lines.most_common()
    ]


def kind_of(message: str, oracle: str, predicted: str | None) -> str:
    """Name the kind of mistake that `predicted` is: one of KINDS.

    What counts is which characters lie in parameters; white space is left out, and a parameter may be empty.
    """
    if predicted is None:
        return NO_TEMPLATE
    wanted, found = aligned(message, oracle), aligned(message, predicted)
    if wanted is None:
        return WRONG_LABEL
    if normalised(oracle) == normalised(predicted):
        return OTHER_CUT
    missing = _covered(message, wanted) - _covered(message, found or ())
    surplus = _covered(message, found or ()) - _covered(message, wanted)
    if missing and surplus:
        return BOTH
    if missing:
        return TOO_NARROW
    return TOO_WIDE if surplus else OTHER_CUT


def _covered(message: str, spans: Sequence[Span]) -> set[int]:
    return {place for start, end in spans for place in range(start, end) if not message[place].isspace()}
