"""Walk a person through labelling the lines that are worth it, with a suggestion to accept or correct for each.

Each answer is written at once; a file of pairs that is there is gone on with. A template that was given for an earlier
line and matches this one is suggested before the model's.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from training.labels import Pair, aligned, collapsed, complaint, read_pairs, write_pairs, written
from training.sample import add_options, printable, suggestions, surveyed
from training.sampling import Choice, Form
from worker.errors import LogloomError
from worker.parsing.spans import Span
from worker.parsing.templates import WILDCARD

#: What `t` counts: runs of characters that are neither white space nor marks.
_WORD = re.compile(r"[^\s=:,;|()\[\]{}<>\"']+")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_UNPRINTABLE_RUN = re.compile("\ufffd+")
#: Lines shown beside the one that is labelled.
_EXAMPLES = 3
#: Examples of a form that stand for all of its lines, and values that are compared.
_TRIED, _COMPARED = 4, 200
_PARAMETER, _DIM, _BOLD, _PLAIN = "\033[1;36m", "\033[2m", "\033[1m", "\033[0m"
_KEYS = "Enter accept · e edit · t N toggle word N (t 3-5 as one) · s skip · b back · q save and quit"


class Console(Protocol):
    """A person to talk to."""

    #: Whether colours are shown.
    colored: bool

    def show(self, text: str = "") -> None:
        """Show lines of text."""
        ...

    def ask(self, question: str, prefilled: str = "") -> str:
        """Ask for a line; `prefilled` is what the person edits. Raises EOFError when the person is gone."""
        ...


class StreamConsole:
    """Talks over two streams; where both are a terminal, lines are edited with readline."""

    def __init__(self, source: TextIO, target: TextIO) -> None:
        self._source = source
        self._target = target
        self._edits = source.isatty() and target.isatty() and source is sys.stdin
        self.colored = target.isatty() and "NO_COLOR" not in os.environ

    def show(self, text: str = "") -> None:
        """Write lines of text."""
        print(text, file=self._target)

    def ask(self, question: str, prefilled: str = "") -> str:
        """Read a line; on a terminal `prefilled` stands there already. Raises EOFError at the end of input."""
        if self._edits:
            import readline  # noqa: PLC0415 - changes how input() reads, and is not on every system

            readline.set_startup_hook(lambda: readline.insert_text(prefilled))
            try:
                return input(question)
            finally:
                readline.set_startup_hook()
        print(question, end="", file=self._target, flush=True)
        answer = self._source.readline()
        if not answer:
            raise EOFError
        return answer.rstrip("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What a template matches in the log."""

    #: About how many lines.
    lines: int
    #: Messages with the spans of their parameters, those that differ most first.
    examples: tuple[tuple[str, tuple[Span, ...]], ...]


def words_of(message: str) -> list[Span]:
    """List the words that can be toggled; numbers begin with 1."""
    return [found.span() for found in _WORD.finditer(message)]


def toggled(message: str, spans: Sequence[Span], first: int, last: int) -> tuple[Span, ...]:
    """Make the words `first` to `last`, from 1, one parameter, or constant where a parameter touches them.

    Raises:
        ValueError: there are no such words.

    """
    words = words_of(message)
    if not 1 <= first <= last <= len(words):
        raise ValueError(f"there are words 1 to {len(words)}")
    start, end = words[first - 1][0], words[last - 1][1]
    kept = [span for span in spans if span[1] <= start or span[0] >= end]
    return tuple(kept) if len(kept) < len(spans) else tuple(sorted([*kept, (start, end)]))


def word_range(text: str) -> tuple[int, int]:
    """Read `3` or `3-5`.

    Raises:
        ValueError: it is neither.

    """
    numbers = _RANGE.fullmatch(text)
    if numbers is None:
        raise ValueError(f"{text!r} is no number of a word")
    return int(numbers[1]), int(numbers[2] or numbers[1])


def failing_place(message: str, template: str) -> tuple[int, int]:
    """Find how far a template that does not match its message goes: a place in the template, and one in the message.

    No parameter before that place holds white space: else a letter somewhere in the rest would count as a match.
    """
    low, high, reached = 0, len(template), 0
    while low < high:
        middle = (low + high + 1) // 2
        spans = aligned(message, _whole(template, middle) + WILDCARD)
        if spans is None or any(map(str.isspace, "".join(values_of(message, spans[:-1])))):
            high = middle - 1
        else:
            low, reached = middle, spans[-1][0]
    return len(_whole(template, low)), reached


def _whole(template: str, length: int) -> str:
    """Cut a template so that no wildcard is halved."""
    head = template[:length]
    for cut in (1, 2):
        if head.endswith(WILDCARD[:cut]) and template.startswith(WILDCARD, length - cut):
            return head[:-cut]
    return head


def refusal(message: str, template: str) -> str | None:
    """Say why a template can't be the message's, and where it fails; None if it can."""
    reason = complaint(message, template)
    if reason is None or aligned(message, template) is not None or not template.strip():
        return reason
    place, reached = failing_place(message, template)
    rest = printable(message[reached : reached + 40])
    return (
        f"it does not match from here on:\n  {printable(template)}\n  {' ' * place}^\n"
        + (f"  the line goes on with {rest!r}" if rest else "  the line ends before")
    )  # fmt: skip


def suggested(message: str, given: Iterable[str], model: str) -> str:
    """Choose what to suggest: of the templates given before that match, the one with most text, else the model's."""
    fitting = [template for template in given if aligned(message, template) is not None]
    if fitting:
        return max(fitting, key=lambda template: len(template.replace(WILDCARD, "")))
    return model if refusal(message, model) is None else collapsed(message)


def matching(template: str, message: str, forms: Iterable[Form]) -> Matching:
    """Count what else a template matches, and find lines whose values differ from those of `message`."""
    longest = max((literal.strip() for literal in template.split(WILDCARD)), key=len)
    longest = max(longest.split(), key=len, default="")
    lines = 0.0
    others: dict[tuple[str, ...], tuple[str, tuple[Span, ...]]] = {}
    for form in forms:
        tried = [example for _, example in form.examples[:_TRIED]]
        fitting = [(example, spans) for example in tried if longest in example
                   if (spans := aligned(example, template)) is not None]  # fmt: skip
        lines += form.lines * len(fitting) / max(1, len(tried))
        for example, spans in fitting:
            if len(others) < _COMPARED:
                others.setdefault(values_of(example, spans), (example, spans))
    seen = [set[str]((value,)) for value in values_of(message, aligned(message, template) or ())]
    examples = list[tuple[str, tuple[Span, ...]]]()
    others.pop(tuple(value for values in seen for value in values), None)
    while others and len(examples) < _EXAMPLES:
        best = max(others, key=lambda values: sum(value not in old for value, old in zip(values, seen, strict=True)))
        examples.append(others.pop(best))
        for value, old in zip(best, seen, strict=True):
            old.add(value)
    return Matching(lines=round(lines), examples=tuple(examples))


def values_of(message: str, spans: Iterable[Span]) -> tuple[str, ...]:
    """Cut the values out of a message."""
    return tuple(message[start:end] for start, end in spans)


def painted(message: str, spans: Sequence[Span], *, colored: bool) -> str:
    """Show a message with its parameters set off: by colour, or by brackets where there is none."""
    left, right = (_PARAMETER, _PLAIN) if colored else ("⟨", "⟩")
    text, place = "", 0
    for start, end in spans:
        text += f"{printable(message[place:start])}{left}{printable(message[start:end])}{right}"
        place = end
    return text + printable(message[place:])


def numbered(message: str, spans: Sequence[Span], *, colored: bool) -> str:
    """List the words of a message with their numbers, parameters set off."""
    left, right = (_DIM, _PLAIN) if colored else ("", "")
    parts = []
    for number, (start, end) in enumerate(words_of(message), 1):
        inside = [
            (max(low, start) - start, min(high, end) - start) for low, high in spans if low < end and start < high
        ]
        parts.append(f"{left}{number}{right} {painted(message[start:end], inside, colored=colored)}")
    return "  ".join(parts)


def saved(path: Path, pairs: Mapping[str, str]) -> None:
    """Write pairs, template by message: all of them or, when interrupted, none."""
    new = path.with_name(f".{path.stem}.new{path.suffix}")
    write_pairs(new, [Pair(message=message, template=template) for message, template in pairs.items()])
    new.replace(path)


class Labelling:
    """The walk through chosen lines: which one is asked, its template so far, and what was answered."""

    def __init__(
        self,
        choices: Sequence[Choice],
        templates: Sequence[str],
        *,
        forms: Sequence[Form],
        answers: Mapping[str, str],
        save: Callable[[Mapping[str, str]], None],
        console: Console,
    ) -> None:
        """Ask for those of `choices` that have no answer yet; `templates` are the model's suggestions for them.

        `answers` are templates by message; `save` is called with all of them after each answer.
        """
        self.answers = dict(answers)
        self._choices = choices
        self._templates = templates
        self._forms = forms
        self._save = save
        self._console = console
        self._place = next(self._unanswered(), len(choices))
        self._draft = ""

    def run(self) -> None:
        """Ask until every line is answered or skipped, or the person quits."""
        try:
            while self._place < len(self._choices):
                choice = self._choices[self._place]
                model = self._templates[self._place]
                given = dict.fromkeys(self.answers.values())
                self._draft = self.answers.get(choice.message) or suggested(choice.message, given, model)
                if not self._asked(choice):
                    break
        except (EOFError, KeyboardInterrupt):
            self._console.show()
        left = sum(1 for _ in self._unanswered())
        self._console.show(f"{len(self._choices) - left} of {len(self._choices)} lines are labelled.")

    def _unanswered(self) -> Iterator[int]:
        return (place for place, choice in enumerate(self._choices) if choice.message not in self.answers)

    def _asked(self, choice: Choice) -> bool:
        """Ask for one line until the walk goes on to another; False to quit."""
        self._show(choice)
        while True:
            key, _, rest = self._console.ask("> ").strip().partition(" ")
            if key in {"", "s"}:
                if not key:
                    self._accept(choice.message)
                self._place += 1
                return True
            if key == "b":
                self._place = max(0, self._place - 1)
                return True
            if key == "q":
                return False
            draft = {"e": self._edited, "t": self._toggled}.get(key, self._puzzled)(choice.message, rest)
            if draft is not None:
                self._draft = draft
                self._show(choice)

    def _accept(self, message: str) -> None:
        self.answers[message] = self._draft
        self._save(self.answers)

    def _edited(self, message: str, text: str) -> str | None:
        """Let the person write the template, or take it from what stands after the key."""
        prefilled = _UNPRINTABLE_RUN.sub(WILDCARD, printable(self._draft))
        template = collapsed(text or self._console.ask("template: ", prefilled))
        reason = refusal(message, template)
        if reason:
            self._console.show(reason)
        return None if reason else template

    def _toggled(self, message: str, text: str) -> str | None:
        spans = aligned(message, self._draft) or ()
        try:
            for part in text.split():
                spans = toggled(message, spans, *word_range(part))
        except ValueError as error:
            self._console.show(f"{error}.")
            return None
        template = written(message, spans)
        reason = refusal(message, template)
        if reason:
            self._console.show(reason)
        return None if reason else template

    def _puzzled(self, _message: str, _text: str) -> None:
        self._console.show(_KEYS)

    def _show(self, choice: Choice) -> None:
        """Show a line, its template so far, and what else that matches."""
        message, show, colored = choice.message, self._console.show, self._console.colored
        spans = aligned(message, self._draft) or ()
        found = matching(self._draft, message, self._forms)
        left, right = (_BOLD, _PLAIN) if colored else ("", "")
        place = f"{left}[{self._place + 1}/{len(self._choices)}]{right}"
        show(f"\n{place} line {choice.index + 1}, about {choice.lines:,} of its kind")
        show(f"  {painted(message, spans, colored=colored)}")
        show(f"  {numbered(message, spans, colored=colored)}")
        show(f"  template: {left}{printable(self._draft)}{right}")
        show(f"  matches about {found.lines:,} lines{':' if found.examples else '.'}")
        for example, cut in found.examples:
            show(f"    {painted(example, cut, colored=colored)}")
        show(_KEYS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and the log, ask, keep the answers. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.label", description=__doc__.split("\n\n")[0] if __doc__ else "",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="a log, plain or .gz")
    add_options(parser)
    chosen = parser.parse_args(arguments)
    try:
        pairs = read_pairs(chosen.out) if chosen.out.exists() else []
        survey = surveyed(chosen.logs, header=chosen.header, seed=chosen.seed)
        choices = survey.chosen(chosen.count)
        labelling = Labelling(
            choices,
            suggestions([choice.message for choice in choices], chosen.model),
            forms=survey.forms,
            answers={pair.message: pair.template for pair in pairs},
            save=lambda answers: saved(chosen.out, answers),
            console=StreamConsole(sys.stdin, sys.stdout),
        )
        labelling.run()
    except (OSError, LogloomError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The pairs are in {chosen.out}." if labelling.answers else "Nothing was written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
