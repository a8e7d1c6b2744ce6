"""From messages to templates: the `Parser` protocol, and `EncoderParser`, which cuts templates where the tagger says.

Templates are cut from the original bytes by offsets, never from detokenised text. Importing this module imports no
torch: that happens when a checkpoint is loaded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from worker.errors import TooMuchForDevice
from worker.parsing.alike import kind_of, moved
from worker.parsing.budget import TokenBudget
from worker.parsing.checkpoint import (
    BASE,
    BEGIN,
    CONSTANT,
    INSIDE,
    PIECES,
    checkpoint_folder,
    checkpoint_version,
    prompt_names,
    prompt_version,
    refuse_unknown_prompt,
)
from worker.parsing.checksums import verify
from worker.parsing.convention import labelled, with_empty
from worker.parsing.known import KnownTemplates, load_known
from worker.parsing.naming import Namer, Place, places
from worker.parsing.rows import Candidate, matched
from worker.parsing.spans import Span, balanced, first_line, later_lines, trimmed, unmistakable, with_missed
from worker.parsing.templates import MAX_PARAMETERS, Template, decoded, encoded, has_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from worker.parsing.model import F32, DeviceMemory, Tagger, Tokens

    Places = npt.NDArray[np.int64]

__all__ = ["EncoderParser", "Parser", "Prompts", "checkpoint_version"]

#: The name of the prompt of all messages of a call, or of each; None is none.
Prompts: TypeAlias = str | Sequence[str | None] | None

#: Tokens that two windows of one long message share; each token is judged where it has most context.
_OVERLAP = 64

_STACK_FRAME = re.compile(r"^\s*(?:at |File \"|Caused by|Traceback)", re.MULTILINE)
_ESCAPED = re.compile("[\udc80-\udcff]")
_WORDS_WITH_DIGITS = re.compile(r"[\w\-]{0,64}\d[\w\-]{0,64}")
_DIGITS = re.compile(r"[0-9]+")
_KEY = re.compile(r"(?<!\w)(?<!\w[.\-])([A-Za-z_][\w.\-]{0,40})(?:=|:|\s?=\s)[\"'\[({<]?$")
#: Characters before a parameter in which its key is looked for.
_KEY_CHARACTERS = 48
_NOUNS = (
    "address|attempt|broker|bucket|client|code|command|connection|container|count|database|device|disk|duration|epoch|error"
    "|exception|file|group|host|id|image|index|interface|ip|job|key|latency|leader|level|line|member|method|node|offset|partition"
    "|path|peer|pid|port|process|queue|reason|request|server|service|session|shard|size|state|status|table|task|thread|time"
    "|timeout|token|topic|type|uid|unit|url|user|username|version|volume|worker"
)
_NOUN = re.compile(rf"(?<![\w\-])({_NOUNS})(?: |: | \[| \(|: \[| '| \"|: '|: \")$", re.IGNORECASE)


class Parser(Protocol):
    """Makes templates of messages."""

    #: Sub-words read since the start.
    tokens: int

    @property
    def version(self) -> str:
        """What decides the templates: another version never reads this one's."""
        ...

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Make the template of each message, in the order of `messages`; None: no template fits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of one message's tokens that goes through the network at once."""

    #: The message's place in the call.
    row: int
    #: The tokens shown to the network, half open.
    first: int
    last: int
    #: The tokens that this window judges, half open; the others are context.
    judged_from: int
    judged_to: int


class EncoderParser:
    """Cuts templates where a fine-tuned encoder sees parameters.

    Of messages that differ only in their numbers the first of a call is read, and the others are cut alike. Apart from
    that, the same message gives the same template whatever else is in the call: neither order nor neighbours enter its
    scores.
    """

    def __init__(
        self,
        tagger: Tagger,
        *,
        known: Mapping[str | None, KnownTemplates] | None = None,
        versions: Mapping[str, str] | None = None,
        namer: Namer | None = None,
        max_batch_tokens: int = 8192,
        max_message_tokens: int = 8192,
        max_message_bytes: int = 65536,
    ) -> None:
        """Parse with `tagger`, at most `max_batch_tokens` tokens at once.

        `known` holds templates that are asked before the tagger, by prompt; `versions` names the prompts' content;
        `namer` names parameters that no key or noun names.

        A message longer than a window is judged in overlapping windows; one beyond `max_message_tokens` tokens or
        `max_message_bytes` bytes gets no template.
        """
        self.tokens = 0
        #: Told, in the thread of `parse`, of each micro-batch that the device had no memory for.
        self.on_halved: Callable[[], None] | None = None
        self._tagger = tagger
        self._known = dict(known or {})
        self._versions = dict(versions or {})
        self._namer = namer
        self._budget = TokenBudget(max_batch_tokens)
        self._max_message_tokens = max_message_tokens
        self._max_message_bytes = max_message_bytes

    @classmethod
    def load(
        cls,
        path: str | Path = BASE,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_batch_tokens: int = 8192,
        signature_key: Path | None = None,
    ) -> EncoderParser:
        """Load a checkpoint: `base`, a folder, or a name on the Hugging Face hub.

        `signature_key`: file with the public key that it must be signed by.

        Raises:
            WrongModel: the checkpoint is broken, not signed as it must be, or does not fit this version or machine.

        """
        from worker.parsing.model import Tagger  # noqa: PLC0415 - torch takes seconds to import

        folder = checkpoint_folder(path)
        verify(folder, signature_key)
        tagger = Tagger.load(folder, device=device, dtype=dtype)
        return cls(
            tagger,
            known=load_known(folder),
            versions={name: f"{tagger.version}+{prompt_version(folder, name)}" for name in prompt_names(folder)},
            namer=Namer.load(folder),
            max_batch_tokens=max_batch_tokens,
        )

    @property
    def version(self) -> str:
        """Name and digest of the checkpoint."""
        return self._tagger.version

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that there are, in order of name: soft prompts, known templates, taught fields, or several."""
        return tuple(sorted({*self._tagger.prompts, *self._versions, *(name for name in self._known if name)}))

    def device_memory(self) -> DeviceMemory | None:
        """Tell what of the device's memory is taken; None on a CPU."""
        return self._tagger.device_memory()

    def version_of(self, prompt: str | None) -> str:
        """Name what decides the templates under a prompt: another version never reads this one's.

        Raises:
            WrongModel: the checkpoint has no prompt of this name.

        """
        if prompt is None:
            return self.version
        refuse_unknown_prompt(prompt, self.prompts, self.version)
        return self._versions.get(prompt, f"{self.version}+{prompt}")

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Make the template of each message, in the order of `messages`; None: no template fits.

        Known templates are asked first. Of a message of several lines the first is read; the others, a stack trace
        mostly, become one parameter. A template's confidence is the lowest probability that a word of the message
        got for its label, and 1 for a known template. Each has its candidate, for `stream`, but of messages that differ
        only in their numbers one alone has it.

        Raises:
            WrongModel: the checkpoint has no prompt of this name.
            TooMuchForDevice: the device has too little memory for one of the messages, or a window of it, alone.

        """
        prompts = [prompt] * len(messages) if prompt is None or isinstance(prompt, str) else prompt
        for name in {*prompts} - {None}:
            refuse_unknown_prompt(str(name), self.prompts, self.version)
        templates = [self._known_template(*asked) for asked in zip(messages, prompts, strict=True)]
        unknown = [row for row, known in enumerate(templates) if known is None]
        alike: dict[tuple[str | None, str], list[int]] = defaultdict(list)
        for row in unknown:
            alike[prompts[row], kind_of(readable(decoded(messages[row])))].append(row)
        kinds = {rows[0]: rows for rows in alike.values()}
        for first, text, tokens, scores in self._read(messages, prompts, list(kinds)):
            line = readable(text)
            spans, confidence = cut_of(line, tokens, scores, cuts=self._tagger.cuts_of(prompts[first]))
            for row in kinds[first]:
                other = decoded(messages[row])
                cut = spans if row == first else moved(line, spans, readable(other))
                if cut is not None:
                    templates[row] = template(messages[row], other, cut, confidence)
            if (made := templates[first]) is not None:
                templates[first] = replace(made, candidate=judged(text, spans, tokens, scores))
        unlike = [row for rows in kinds.values() for row in rows[1:] if templates[row] is None]
        for row, text, tokens, scores in self._read(messages, prompts, unlike):
            spans, confidence = cut_of(readable(text), tokens, scores, cuts=self._tagger.cuts_of(prompts[row]))
            if (made := template(messages[row], text, spans, confidence)) is not None:
                templates[row] = replace(made, candidate=judged(text, spans, tokens, scores))
        return self.named(messages, templates)

    def named(self, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
        """Name the parameters of templates that have no name, each by a message that it matches."""
        return [*templates] if self._namer is None else named(self._namer, messages, templates)

    def cuts_of(self, prompt: str | None) -> str:
        """Tell how messages are cut under a prompt, one of CUTS."""
        return self._tagger.cuts_of(prompt)

    def candidates(self, messages: Sequence[bytes], *, prompt: str | None = None) -> list[Candidate | None]:
        """Cut each message by the tagger alone, with what it thought of every piece; None: it can't be cut.

        For `settling.settle`, which hears the neighbours. Known templates are not asked.

        Raises:
            WrongModel: the checkpoint has no prompt of this name.

        """
        if prompt is not None:
            refuse_unknown_prompt(prompt, self.prompts, self.version)
        found: list[Candidate | None] = [None] * len(messages)
        cuts = self._tagger.cuts_of(prompt)
        for row, text, tokens, scores in self._read(messages, [prompt] * len(messages), range(len(messages))):
            spans, _ = cut_of(readable(text), tokens, scores, cuts=cuts)
            found[row] = judged(text, spans, tokens, scores)
        return found

    def _read(
        self, messages: Sequence[bytes], prompts: Sequence[str | None], rows: Sequence[int]
    ) -> Iterator[tuple[int, str, Tokens, F32]]:
        """Score the messages of `rows` that are not too long; yields the row, its text, its tokens and their scores."""
        rows = [row for row in rows if len(messages[row]) <= self._max_message_bytes]
        texts = [decoded(messages[row]) for row in rows]
        tokens = self._tagger.tokenize([readable(text) for text in texts])
        read = [
            (row, text, found)
            for row, text, found in zip(rows, texts, tokens, strict=True)
            if len(found.ids) <= self._max_message_tokens
        ]
        scores = self._scores([found for _, _, found in read], [prompts[row] for row, _, _ in read])
        for (row, text, found), score in zip(read, scores, strict=True):
            self.tokens += len(found.ids)
            yield row, text, found, score

    def _known_template(self, message: bytes, prompt: str | None) -> Template | None:
        known = self._known.get(prompt)
        found = None if known is None else known.find(message) or known_by_first_line(known, message)
        if found is None:
            return None
        text = decoded(message)
        return replace(found, candidate=Candidate(text=text, spans=matched(found, text) or (), is_given=True))

    def _scores(self, tokens: Sequence[Tokens], prompts: Sequence[str | None]) -> list[F32]:
        """Return the label scores of each row's tokens, (t, 3), in the order of `tokens`."""
        found = [np.zeros((len(row.ids), 3), np.float32) for row in tokens]
        windows = sorted(
            (
                window
                for row in range(len(tokens))
                for window in cut_windows(row, len(tokens[row].ids), self._tagger.window)
            ),
            key=lambda window: window.last - window.first,
        )
        batch, size = list[Window](), 0
        for window in windows:
            width = self._tagger.width_of(window.last - window.first)
            if batch and size + width > self._budget.tokens:
                self._tag(batch, tokens, prompts, found)
                batch, size = [], 0
            batch.append(window)
            size += width
        if batch:
            self._tag(batch, tokens, prompts, found)
        return found

    def _tag(
        self, batch: Sequence[Window], tokens: Sequence[Tokens], prompts: Sequence[str | None], found: list[F32]
    ) -> None:
        """Score windows into `found`; halve them where the device lacks memory, and those to come for a while."""
        rows = [sliced(tokens[window.row], window.first, window.last) for window in batch]
        try:
            scores = self._tagger.tag(rows, prompts=[prompts[window.row] for window in batch])
        except TooMuchForDevice:
            if len(batch) == 1:
                raise
            if self.on_halved is not None:
                self.on_halved()
            self._budget.lower(sum(self._tagger.width_of(len(row.ids)) for row in rows) // 2)
            middle = len(batch) // 2
            self._tag(batch[:middle], tokens, prompts, found)
            self._tag(batch[middle:], tokens, prompts, found)
            return
        self._budget.fitted()
        for window, score in zip(batch, scores, strict=True):
            judged = slice(window.judged_from - window.first, window.judged_to - window.first)
            found[window.row][window.judged_from : window.judged_to] = score[judged]


def readable(text: str) -> str:
    """Take what the tagger reads of a decoded message: its first line, with U+FFFD for what is no UTF-8."""
    return _ESCAPED.sub("\ufffd", text[: first_line(text)])


def cut_windows(row: int, length: int, size: int) -> Iterator[Window]:
    """Cut `length` tokens into windows of at most `size`; neighbours overlap and share the judging in the middle."""
    if length <= size:
        if length:
            yield Window(row=row, first=0, last=length, judged_from=0, judged_to=length)
        return
    overlap = min(_OVERLAP, size // 2)
    first = judged = 0
    while True:
        last = min(first + size, length)
        judged_to = length if last == length else last - overlap // 2
        yield Window(row=row, first=first, last=last, judged_from=judged, judged_to=judged_to)
        if last == length:
            return
        first, judged = last - overlap, judged_to


def sliced(tokens: Tokens, first: int, last: int) -> Tokens:
    """Take a stretch of tokens."""
    if first == 0 and last == len(tokens.ids):
        return tokens
    part = slice(first, last)
    return type(tokens)(
        ids=tokens.ids[part],
        features=tokens.features[part],
        start=tokens.start[part],
        end=tokens.end[part],
        word=tokens.word[part],
    )


def tagged(tokens: Tokens, scores: F32) -> tuple[list[Span], float]:
    """Read character spans, and the lowest probability of a piece's label, out of the scores (t, 3) of tokens.

    A piece is a run of letters and digits, or one mark: each is decided by itself, by the mean log-odds of its tokens.
    Pieces that touch are one parameter: a template has no two without a literal between them. What stands after white
    space goes on with the parameter before it where its first token is inside rather than a beginning.
    """
    if not len(tokens.ids):
        return [], 1.0
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    odds = np.log(shares[:, CONSTANT] + 1e-9) - np.log(shares[:, BEGIN] + shares[:, INSIDE] + 1e-9)
    first, last = _pieces(tokens)
    means = np.add.reduceat(odds, first) / (last - first + 1)
    begins = shares[first, BEGIN] >= shares[first, INSIDE]
    pieces = zip(tokens.start[first].tolist(), tokens.end[last].tolist(), (means < 0).tolist(), begins, strict=True)
    spans: list[Span] = []
    was_variable = False
    for start, end, is_variable, is_begin in pieces:
        if is_variable and was_variable and (not is_begin or spans[-1][1] == start):
            spans[-1] = (spans[-1][0], end)
        elif is_variable:
            spans.append((start, end))
        was_variable = is_variable
    return spans, float(1 / (1 + np.exp(-np.abs(means).min())))


def _pieces(tokens: Tokens) -> tuple[Places, Places]:
    """Tell the first and the last token of each run of letters and digits and of each mark."""
    first = np.flatnonzero(np.diff(tokens.word, prepend=-1))
    return first, np.append(first[1:], len(tokens.ids)) - 1


def template(message: bytes, text: str, spans: Sequence[Span], confidence: float) -> Template | None:
    """Cut the template of a message by the parameters of its first line; None where the message does not match it."""
    made = cut_template(message, text, [*spans, *later_lines(text)], confidence)
    return made if made.match(message) is not None else None


def cut_of(line: str, tokens: Tokens, scores: F32, *, cuts: str) -> tuple[list[Span], float]:
    """Choose the parameters of a message's first line by the scores of its tokens; with the confidence.

    A cut that would leave no letter matches too much: then only words with digits are parameters, then only digits.
    """
    spans, confidence = tagged(tokens, scores)
    tries = (
        spans if cuts == PIECES else with_empty(line, labelled(line, spans)),
        cleaned(line, [found.span() for found in _WORDS_WITH_DIGITS.finditer(line)]),
        [found.span() for found in _DIGITS.finditer(line)],
    )
    # The last cut leaves every letter, so that one of them is safe.
    return next(cut for cut in tries if not swallows(line, cut)), confidence


def judged(text: str, spans: Sequence[Span], tokens: Tokens, scores: F32) -> Candidate:
    """Note the cut of a message, by the parameters of its first line, with what the model thought of every piece."""
    units, odds = judged_units(tokens, scores)
    return Candidate(text=text, spans=(*spans, *later_lines(text)), units=units, odds=odds)


def judged_units(tokens: Tokens, scores: F32) -> tuple[list[Span], list[float]]:
    """Tell the log-odds that each piece, a run of letters and digits or one mark, is variable; with where it stands."""
    if not len(tokens.ids):
        return [], []
    first, last = _pieces(tokens)
    odds = np.logaddexp(scores[:, BEGIN], scores[:, INSIDE]) - scores[:, CONSTANT]
    means = np.add.reduceat(odds.astype(np.float64), first) / (last - first + 1)
    return list(zip(tokens.start[first].tolist(), tokens.end[last].tolist(), strict=True)), means.tolist()


def known_by_first_line(known: KnownTemplates, message: bytes) -> Template | None:
    """Find the known template of a message's first line without the white space around it.

    The white space is constant, and the lines after it become one parameter.
    """
    text = decoded(message)
    line = encoded(text[: first_line(text)])
    core = line.strip()
    found = known.find(core)
    if found is None:
        return None
    literals, start = [*found.literals], len(line) - len(line.lstrip())
    literals[0] = line[:start] + literals[0]
    literals[-1] += line[start + len(core) :]
    if len(line) == len(message):
        return replace(found, literals=tuple(literals))
    end = len(text.rstrip())
    made = Template(
        literals=(*literals, encoded(text[end:])),
        spacious=(*found.spacious, True),
        names=(*found.names, *names(text, [(first_line(text), end)])),
    )
    # A line may end with a character that is no white space to bytes: then two parameters could touch.
    is_sound = all(made.literals[1:-1]) and len(made.spacious) <= MAX_PARAMETERS
    return made if is_sound and made.match(message) is not None else None


def cleaned(text: str, spans: Sequence[Span]) -> list[Span]:
    """Trim the edges of spans and add the values that no program means as constant."""
    whole = (part for start, end in spans for part in balanced(text, start, end))
    kept = [span for start, end in whole if (span := trimmed(text, start, end))]
    return with_missed(text, kept, unmistakable(text))


def swallows(text: str, spans: Sequence[Span]) -> bool:
    """Tell whether a cut leaves no letter of a text that has letters: it would match too much."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    if any(has_letter(encoded(text[left:right])) for left, right in zip(edges[::2], edges[1::2], strict=True)):
        return False
    return has_letter(encoded(text))


def cut_template(message: bytes, text: str, spans: Sequence[Span], confidence: float) -> Template:
    """Cut a template by character spans of the decoded message, with the names of parameters that have keys.

    Parameters beyond the most that a template may have become one.
    """
    if len(spans) > MAX_PARAMETERS:
        spans = [*spans[: MAX_PARAMETERS - 1], (spans[MAX_PARAMETERS - 1][0], spans[-1][1])]
    made = Template.cut(message, byte_spans(text, spans), confidence)
    if len(made.names) != len(spans):  # touching spans became one: names would slip
        return made
    return replace(made, names=tuple(names(text, spans)))


def named(namer: Namer, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
    """Name parameters that have no name yet, but for those that hold several lines; one pass for all messages.

    Of equal templates the first one's message decides.
    """
    given: dict[tuple[tuple[bytes, ...], tuple[str, ...]], list[str]] = {}
    nameless, found = list[tuple[list[str], int]](), list[Place]()
    for message, made in zip(messages, templates, strict=True):
        if made is None or all(made.names) or (made.literals, made.names) in given:
            continue
        chosen = given[made.literals, made.names] = [*made.names]
        values = [message[start:end] for start, end in made.match(message) or ()]
        read = places([decoded(literal) for literal in made.literals], values)
        for number, value in enumerate(values):
            if not made.names[number] and b"\n" not in value:
                nameless.append((chosen, number))
                found.append(read[number])
    for (chosen, number), name in zip(nameless, namer.names(found), strict=True):
        chosen[number] = name
    return [
        replace(made, names=tuple(given[made.literals, made.names]))
        if made is not None and (made.literals, made.names) in given
        else made
        for made in templates
    ]


def byte_spans(text: str, spans: Sequence[Span]) -> list[Span]:
    """Turn ascending character spans of a decoded message into byte spans of the message."""
    if text.isascii():
        return list(spans)
    found, place, size = list[Span](), 0, 0
    for start, end in spans:
        first = size + len(encoded(text[place:start]))
        size = first + len(encoded(text[start:end]))
        found.append((first, size))
        place = end
    return found


def names(text: str, spans: Sequence[Span]) -> Iterator[str]:
    """Yield each parameter's name: the key before `=` or `:`, or a noun that usually announces one; else nothing.

    Both stand in what is constant: of `curl:amd64` the one parameter is not the key of the other.
    """
    previous = 0
    for start, end in spans:
        if text[start - 1 : start] in {"\n", "\r"} or "\n" in text[start:end]:
            yield "stack_trace" if _STACK_FRAME.search(text, start - 1, end) else ""
        else:
            constant = max(previous, start - _KEY_CHARACTERS), start
            yield key_before(text, *constant) or noun_before(text, *constant)
        previous = end


def key_before(text: str, start: int, end: int) -> str:
    """Tell the key before `=` or `:` that the constant at `start` to `end` ends with; empty for none."""
    found = _KEY.search(text, start, end)
    return found[1] if found else ""


def noun_before(text: str, start: int, end: int) -> str:
    """Tell the noun that the constant at `start` to `end` ends with if it announces a parameter; empty for none."""
    found = _NOUN.search(text, start, end)
    return found[1] if found else ""
