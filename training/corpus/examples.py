"""Labelled messages out of mined logging calls: the template filled with made-up values, spans by the convention."""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.corpus.logging_calls import LoggingCall
from training.corpus.values import CLOSE, OPEN, Values
from worker.parsing.convention import labelled
from worker.parsing.spans import Span

#: What code around a message often adds: `{kind}` is a value of that kind, `{=kind}` one that never changes.
_BEFORE = (
    "[{small}] ",
    "{integer}: ",
    "({word}) ",
    "[{=word}] ",
    "[{uuid}] ",
    "{=cls}: ",
    "{=identifier}: ",
    "[{numbered}] ",
    "[{=cls}] ",
    "{host}: ",
    "{socket}: ",
    "[{hashed}] ",
    "<{integer}> ",
    "({small}/{small}) ",
    "{=word}: ",
    "{ip} - ",
    "id={uuid} ",
    "[{time}] ",
    "{time} ",
    "#{integer} ",
    "{path}: ",
    "user {user}: ",
    "{numbered} ",
    "*{integer} ",
)
_AFTER = (
    " in {integer} ms",
    " in {decimal}s",
    " took {duration}",
    " (attempt {small})",
    " [{integer}]",
    " from {ip}",
    " from {socket}",
    " to {host}",
    " (code {signed})",
    " (pid {integer})",
    " id={uuid}",
    " at {time}",
    " ({size})",
    " for {user}",
    ": {reason}",
    ", {integer} bytes",
    " duration={duration}",
    " pid={integer} uid={small}",
    " ({small}/{small})",
    " on {host}",
    " after {duration}",
    ", client: {ip}",
    " status={status}",
    " ({percent})",
    " [{state}]",
    ", retry in {small} seconds",
    " error={exception}",
    " {integer}",
    " port {port}",
    " user={user}",
    " v{version}",
    " ({word})",
    " - {integer}",
    " total:{integer} free:{integer}",
    " {hexadecimal}",
    " <{email}>",
    ", version {version}",
    " at {hexadecimal}",
    ": {path}",
    " ({unix_path}:{integer})",
    ", statement: {sql}",
    ', request: "{whole_request}"',
    ', client: {ip}, server: {host}, request: "{whole_request}", host: "{socket}"',
    " failed ({small}: {reason})",
    " {word}={word}",
    " ({numbered})",
    " ({user},{ip},{hashed})",
    " ({small}, {word}, {integer})",
    "({identifier},{ip}): {=word}",
    " {word},{integer},{state}",
    " <{hashed}>",
)
#: Lines of programs that log without a logging library: written for this list, after no program's source.
_LINES = (
    '"{request}" {status} {integer}',
    '"{request}" {status} {integer} "{url}" "{agent}"',
    '{ip} - {user} "{request}" {status} {integer}',
    "{request} {status} {integer} {decimal}",
    "{method} {route} {status} in {duration}",
    "{method} {route} -> {status} ({duration})",
    "install {package} {version}",
    "upgrade {package} {version} {version}",
    "{package} {version} installed",
    "removed {package} ({version})",
    "host={ip} port={port}",
    "query {host} from {ip}",
    "{host} is {ip}",
    "reply to {ip}: {host}",
    "duration: {decimal} ms  query: {sql}",
    "statement: {sql}",
    "slow query ({duration}): {sql}",
    'no such table "{identifier}" at character {small}',
    "process {integer} exited with status {small}",
    "{numbered}: link is {state}",
    "{path}: {reason}",
    "{host}: {reason}",
    '*{integer} {verb}() "{path}" failed ({small}: {reason})',
    "checkpoint done: wrote {integer} buffers ({percent}); {integer} files added, {small} removed",
    "{user}@{identifier} connected",
)
_FIELD = re.compile(r"\{(=?)(\w+)\}")


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


def constant(value: str) -> str:
    """Take the marks out of a value."""
    return value.replace(OPEN, "").replace(CLOSE, "")


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
    """Vary a marked message: what stands before and after it, brackets around its values, its case."""
    return recased(enclosed(surrounded(text, values, other), values), values)


def surrounded(text: str, values: Values, other: str) -> str:
    """Put a prefix, a suffix, a second message or fields around some messages."""

    def filled(pattern: str) -> str:
        return _FIELD.sub(lambda found: (constant if found[1] else marked)(getattr(values, found[2])()), pattern)

    roll = values.rng.random()
    if roll < 0.10:
        return filled(values.rng.choice(_BEFORE)) + text
    if roll < 0.28:
        return text.rstrip(".") + filled(values.rng.choice(_AFTER))
    if roll < 0.31:
        return text.rstrip(".") + values.rng.choice((". ", "; ", ", ", " - ", ": ", " | ")) + other
    if roll < 0.33:
        return fields_line(values)
    if roll < 0.36:
        return f"{text} {fields_line(values)}"
    return filled(values.rng.choice(_LINES)) if roll < 0.40 else text


def enclosed(text: str, values: Values) -> str:
    """Put brackets or quotes around the values of some messages."""
    if values.rng.random() > 0.06:
        return text
    opening, closing = values.rng.choice(("[]", "''", '""', "()", "<>", "{}"))
    return re.sub(rf"(?<=\s){OPEN}([^{OPEN}\s]+){CLOSE}(?=\s|$)", rf"{opening}{OPEN}\1{CLOSE}{closing}", text)


def recased(text: str, values: Values) -> str:
    """Change the case of some messages, of all letters or of the first; or the white space between their words."""
    roll = values.rng.random()
    if roll < 0.02:
        return text.lower()
    if roll < 0.03:
        return text.upper()
    if roll > 0.98:
        return text.replace(" ", "\t") if roll > 0.99 else text.replace(" ", "  ", 1)
    first = text[:1].upper() if roll < 0.06 else text[:1].lower() if roll < 0.08 else text[:1]
    return first + text[1:]


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
    return Example(text=plain, spans=tuple(labelled(plain, spans)))


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
