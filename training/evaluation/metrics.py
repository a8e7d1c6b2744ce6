"""How well lines were parsed: the four figures of the literature, and what they leave out.

Groups are by template. Lines without an oracle template are dropped. Runs of white space count as one space on both
sides, because labels were collapsed that way and messages were not; nothing else is normalised in the raw figures. A
line without a predicted template (None) is wrong everywhere: it is a predicted group of its own that is never right.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from training.labels import aligned, collapsed
from worker.parsing.templates import WILDCARD

#: What stands between the pieces of a template that LUNAR's rules look at, apart from white space.
_MARKS = ",!;:=|\"'[](){}.-+@#$%&"
_MARK = re.escape(_MARKS)

_AFTER_EQUALS = re.compile(r"(= ?)[A-Za-z0-9_./]+")
# Bounded by what can't be in a piece, so that each is looked at once.
_PIECE = re.compile(rf"[^\s{_MARK}]+")
_NEIGHBOURS = re.compile(rf"<\*>(?:(?:##|[{_MARK}])?<\*>)+")
_DRESSED = re.compile(r"(?<= )(?:#<\*>#?|\"<\*>\"|'<\*>'|<\*>[.,])(?= )")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The accuracy of a parsed log, each figure 0 to 1."""

    #: Grouping: share of lines whose oracle group and predicted group hold the same lines.
    ga: float
    #: F1 of such groups.
    fga: float
    #: Parsing: share of lines whose template is the oracle's.
    pa: float
    #: F1 of templates; a predicted one is right if the oracle templates over its lines are exactly itself.
    fta: float

    def as_dict(self) -> dict[str, float]:
        """Give the figures by the names that reports use."""
        return {"GA": self.ga, "FGA": self.fga, "PA": self.pa, "FTA": self.fta}


class Unseen(NamedTuple):
    """Parsing accuracy on the lines whose template was not among the shots."""

    #: 0 to 1; None where there are no such lines.
    share: float | None
    rows: int


def accuracy(oracle: Sequence[str | None], predicted: Sequence[str | None]) -> Accuracy:
    """Compare the templates of lines with the oracle's.

    Raises:
        ValueError: no line has an oracle template, or the lengths differ.

    """
    both, true, cut = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    alone = 0
    for (wanted, found), lines in Counter(zip(oracle, predicted, strict=True)).items():
        if wanted is None:
            continue
        true[collapsed(wanted)] += lines
        if found is None:
            alone += lines
        else:
            both[collapsed(wanted), collapsed(found)] += lines
            cut[collapsed(found)] += lines
    if not true:
        raise ValueError("no line has an oracle template: there is nothing to compare with")
    groups = len(true) + len(cut) + alone
    same = [lines for (wanted, found), lines in both.items() if lines == true[wanted] == cut[found]]
    right = {wanted: lines for (wanted, found), lines in both.items() if wanted == found}
    return Accuracy(
        ga=sum(same) / true.total(),
        fga=2 * len(same) / groups,
        pa=sum(right.values()) / true.total(),
        fta=2 * sum(lines == cut[template] for template, lines in right.items()) / groups,
    )


def normalised(template: str) -> str:
    """Bring a template to how coarsely LUNAR's evaluation splits values, because labels split them as they like.

    After `=` (and an optional space) a run of letters, digits, `_ . /` becomes `<*>`; a piece between white space and
    marks that holds `<*>` becomes `<*>`; wildcards with nothing, `##` or one mark between them become one; between
    spaces, `#`, quotes, a full stop or a comma around `<*>` go. White space keeps wildcards apart.
    """
    text = _AFTER_EQUALS.sub(rf"\1{WILDCARD}", collapsed(template))
    text = _PIECE.sub(lambda piece: WILDCARD if WILDCARD in piece[0] else piece[0], text)
    return _DRESSED.sub(WILDCARD, _NEIGHBOURS.sub(WILDCARD, text))


def parameter_f1(messages: Sequence[str], oracle: Sequence[str | None], predicted: Sequence[str | None]) -> float:
    """Compute the F1 of parameter spans over distinct lines; 1 where neither side has a parameter.

    Both templates are aligned with the message. A line whose oracle template is missing or does not match is left
    out; a predicted template that is missing or does not match finds nothing.
    """
    right = found = wanted = 0
    for message, true, cut in dict.fromkeys(zip(messages, oracle, predicted, strict=True)):
        true_spans = None if true is None else aligned(message, true)
        if true_spans is None:
            continue
        cut_spans = (None if cut is None else aligned(message, cut)) or ()
        right += len(set(true_spans) & set(cut_spans))
        found, wanted = found + len(cut_spans), wanted + len(true_spans)
    return 2 * right / (found + wanted) if found + wanted else 1.0


def unseen_accuracy(
    oracle: Sequence[str | None], predicted: Sequence[str | None], seen_templates: Collection[str]
) -> Unseen:
    """Compute the parsing accuracy over the lines whose oracle template is none of `seen_templates`."""
    seen = set(map(collapsed, seen_templates))
    right = rows = 0
    for (wanted, found), lines in Counter(zip(oracle, predicted, strict=True)).items():
        if wanted is not None and collapsed(wanted) not in seen:
            rows += lines
            right += lines * (found is not None and collapsed(found) == collapsed(wanted))
    return Unseen(share=right / rows if rows else None, rows=rows)
