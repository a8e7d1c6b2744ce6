"""What the model and the stream are worth without each other, on a log that nobody labelled.

The model alone cuts every message by itself. The stream alone settles cuts that know nothing but digits. Both together
are what an evaluation without labels gives anyway.
"""

import time
from collections.abc import Sequence

from training.evaluation.datasets import LabelledLog
from training.evaluation.metrics import accuracy
from training.evaluation.summary import Figures
from training.labels import text_of
from worker.parsing.parser import EncoderParser, cut_template
from worker.parsing.rows import MOST_ODDS, Candidate, row_of
from worker.parsing.settling import settle
from worker.parsing.spans import Span
from worker.parsing.templates import encoded

#: How sure the stream alone is that a token without a digit is constant: of all places those with more than
#: `exp(3 / diversity)` different words are parameters. Chosen on the captured logs, as everything here.
_UNINFORMED_ODDS = -3.0


def uninformed(text: str) -> Candidate:
    """Cut a message by its digits alone: a token that holds one is variable, any other is equally doubtful."""
    row = row_of(Candidate(text=text, spans=()))
    has_digit = [any(map(str.isdigit, word)) for word in row.words]
    return Candidate(
        text=text,
        spans=tuple(place for place, is_value in zip(row.places, has_digit, strict=True) if is_value),
        units=row.places,
        odds=[MOST_ODDS if is_value else _UNINFORMED_ODDS for is_value in has_digit],
    )


def ablated(parser: EncoderParser, log: LabelledLog, *, diversity: float) -> Figures:
    """Measure the model alone (`alone.`) and the stream alone (`stream.`) on one log, and the model's speed."""
    distinct = list(dict.fromkeys(log.messages))
    raw = [encoded(message) for message in distinct]
    parser.candidates(raw[:8])  # the first call allocates
    began = time.perf_counter()
    cuts = parser.candidates(raw)
    seconds = time.perf_counter() - began
    alone = {cut.text: cut.spans for cut in cuts if cut is not None}
    blind = [uninformed(message) for message in distinct]
    settled = settle(blind, diversity=diversity)
    by_stream = {candidate.text: spans for candidate, spans in zip(blind, settled, strict=True)}
    figures: Figures = {"alone.distinct_lines_per_second": len(distinct) / seconds}
    for prefix, found in (("alone.", alone), ("stream.", by_stream)):
        templates = [_text(message, found.get(message)) for message in log.messages]
        figures |= {f"{prefix}{name}": value for name, value in accuracy(log.templates, templates).as_dict().items()}
    return figures


def _text(message: str, spans: Sequence[Span] | None) -> str | None:
    return None if spans is None else text_of(cut_template(encoded(message), message, spans, 1.0))
