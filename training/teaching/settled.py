"""What an unlabelled log settles on under a taught parser."""

from collections import Counter
from collections.abc import Iterable, Sequence

from training.teaching.lessons import character_spans, widened
from worker.parsing.checkpoint import PIECES
from worker.parsing.known import KnownTemplates
from worker.parsing.parser import EncoderParser, cut_template
from worker.parsing.settling import Candidate, settle
from worker.parsing.templates import Template, encoded

#: Messages of a log that settle together, at most; the most frequent ones are taken.
_MOST_SETTLED = 50_000


def settled_templates(
    parser: EncoderParser, prompt: str | None, log: Iterable[str], given: Sequence[Template], *, diversity: float
) -> list[Template]:
    """Cut every message of an unlabelled log and let the cuts settle; the templates of most lines come first."""
    counts = Counter(log)
    messages = sorted(counts, key=lambda message: (-counts[message], message))[:_MOST_SETTLED]
    known = KnownTemplates(given)
    raw = {message: encoded(message) for message in messages}
    labelled = {message: template for message in messages if (template := known.find(raw[message])) is not None}
    others = [message for message in messages if message not in labelled]
    cuts = parser.candidates([raw[message] for message in others], prompt=prompt)
    candidates = [
        *(
            Candidate(text=message, spans=tuple(character_spans(message, template)), is_given=True)
            for message, template in labelled.items()
        ),
        *(cut for cut in cuts if cut is not None),
    ]
    lines = Counter[str]()
    templates: dict[str, Template] = {}
    for candidate, spans in zip(
        candidates, settle(candidates, diversity=diversity, is_tidied=parser.cuts_of(prompt) != PIECES), strict=True
    ):
        template = cut_template(raw[candidate.text], candidate.text, spans, 1.0)
        if candidate.is_given or template.match(raw[candidate.text]) is None:
            continue
        lines[template.id] += counts[candidate.text]
        templates[template.id] = widened(templates.get(template.id, template), template)
    return sorted(templates.values(), key=lambda template: (-lines[template.id], template.id))
