"""Labelled messages out of mined logging calls: the template filled with made-up values, spans by the convention."""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.mine import LoggingCall
from training.values import CLOSE, OPEN, Values
from worker.parsing.spans import Span, settled

#: What code around a message often adds: `{kind}` is a value of that kind.
_BEFORE = (
    "[{small}] ", "{integer}: ", "({word}) ", "[{word}] ", "[{uuid}] ", "{cls}: ", "{identifier}: ", "[{numbered}] ", "[{cls}] ",
    "{host}: ", "{socket}: ", "[{hashed}] ", "<{integer}> ", "({small}/{small}) ", "{word}: ", "{ip} - ", "id={uuid} ", "[{time}] ",
    "{time} ", "#{integer} ", "{path}: ", "user {user}: ", "{numbered} ", "*{integer} ",
)  # fmt: skip
_AFTER = (
    " in {integer} ms", " in {decimal}s", " took {duration}", " (attempt {small})", " [{integer}]", " from {ip}", " from {socket}",
    " to {host}", " (code {signed})", " (pid {integer})", " id={uuid}", " at {time}", " ({size})", " for {user}", ": {reason}",
    ", {integer} bytes", " duration={duration}", " pid={integer} uid={small}", " ({small}/{small})", " on {host}", " after {duration}",
    ", client: {ip}", " status={status}", " ({percent})", " [{state}]", ", retry in {small} seconds", " error={exception}", " {integer}",
    " port {port}", " user={user}", " v{version}", " ({word})", " - {integer}", " total:{integer} free:{integer}", " {hexadecimal}",
    " <{email}>", ", version {version}", " at {hexadecimal}", ": {path}", " ({unix_path}:{integer})", " {word}={word}", " ({numbered})",
)  # fmt: skip
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A message and where its parameters are."""

    text: str
    #: In characters, ascending.
    spans: tuple[Span, ...]

    @property
    def template(self) -> str:
        """The message with `<*>` for its parameters."""
        edges = [0, *(edge for span in self.spans for edge in span), len(self.text)]
        return "<*>".join(self.text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2))


def marked(value: str) -> str:
    """Mark a value as variable, unless it marks parts of itself."""
    return value if OPEN in value else f"{OPEN}{value}{CLOSE}"


def rendered(call: LoggingCall, values: Values) -> str | None:
    """Fill a logging call with marked values; None where the code glues words that no value could complete."""
    text = call.literals[0]
    for name, conversion, literal in zip(call.names, call.conversions, call.literals[1:], strict=True):
        numeric = conversion[-1:] in set("dfixX")
        if not numeric and re.search(r"[A-Za-z]$", text) and not re.match(r"\w", literal):
            text += values.pick(("", "s"))  # `%d item%s`
        elif not numeric and (re.search(r"[A-Za-z]$", text) or re.match(r"[A-Za-z]", literal)):
            return None
        else:
            text += marked(values.of(name, conversion))
        text += literal
    return text


def fields_line(values: Values) -> str:
    """Write a line of nothing but keys and values, as structured loggers do."""
    joint, between = values.rng.choice((("=", " "), ("=", " "), ("=", ", "), (": ", ", "), (":", " "), ("=", "; ")))
    names = [values.pick(values.names) or "id" for _ in range(values.rng.randrange(2, 8))]
    return between.join(f"{name}{joint}{marked(values.of(name))}" for name in names)


def augmented(text: str, values: Values, other: str) -> str:
    """Vary what stands around a marked message: prefixes, suffixes, a second message, quotes, the case."""
    rng = values.rng
    roll = rng.random()
    if roll < 0.10:
        text = _FIELD.sub(lambda found: marked(getattr(values, found[1])()), rng.choice(_BEFORE)) + text
    elif roll < 0.28:
        text = text.rstrip(".") + _FIELD.sub(lambda found: marked(getattr(values, found[1])()), rng.choice(_AFTER))
    elif roll < 0.31:
        text = text.rstrip(".") + rng.choice((". ", "; ", ", ", " - ", ": ", " | ")) + other
    elif roll < 0.33:
        text = fields_line(values)
    elif roll < 0.36:
        text += " " + fields_line(values)
    if rng.random() < 0.06:
        opening, closing = rng.choice(("[]", "''", '""', "()", "<>", "{}"))
        text = re.sub(rf"(?<=\s){OPEN}([^{OPEN}\s]+){CLOSE}(?=\s|$)", rf"{opening}{OPEN}\1{CLOSE}{closing}", text)
    roll = rng.random()
    if roll < 0.02:
        text = text.lower()
    elif roll < 0.03:
        text = text.upper()
    elif roll < 0.06:
        text = text[:1].upper() + text[1:]
    elif roll < 0.08:
        text = text[:1].lower() + text[1:]
    return text


def example(text: str) -> Example:
    """Take the marks out of a message and settle its spans by the convention."""
    pieces = re.split(f"([{OPEN}{CLOSE}])", text)
    plain, spans, start, depth = "", list[Span](), 0, 0
    for piece in pieces:
        if piece == OPEN:
            start, depth = (len(plain) if depth == 0 else start), depth + 1
        elif piece == CLOSE:
            depth -= 1
            if depth == 0 and len(plain) > start:
                spans.append((start, len(plain)))
        else:
            plain += piece
    return Example(text=plain, spans=tuple(settled(plain, spans)))


class Examples:
    """An endless, repeatable stream of examples over a corpus. Big packages weigh less than their number of calls."""

    def __init__(self, calls: Sequence[LoggingCall], words: Sequence[str], seed: int) -> None:
        self.rng = random.Random(seed)
        by_package: dict[str, list[LoggingCall]] = defaultdict(list)
        for call in calls:
            by_package[call.package].append(call)
        self.calls = [call for call in calls if call.level != "raise"]
        # The square root keeps one package of ten thousand calls from speaking for all programs.
        self.weights = [len(by_package[call.package]) ** -0.5 * (1.0 if call.names else 0.6) for call in self.calls]
        phrases = [call.text for call in calls if call.level == "raise" and not call.names and len(call.text) < 80]
        names = [name for call in calls for name in call.names if 1 < len(name) < 20 and name.isidentifier()]
        self.values = Values(self.rng, words, phrases or ["failed"], names or ["id"])

    def take(self, count: int) -> Iterator[Example]:
        """Yield `count` examples."""
        made = 0
        while made < count:
            for call, other in zip(
                *(self.rng.choices(self.calls, self.weights, k=1000) for _ in range(2)), strict=True
            ):
                text, second = rendered(call, self.values), rendered(other, self.values)
                if text is None or second is None:
                    continue
                found = example(augmented(text, self.values, second))
                if not found.text.strip() or len(found.text) > 700:
                    continue
                yield found
                made += 1
                if made == count:
                    return
