"""Labelled messages out of mined logging calls: the template filled with made-up values, spans by the convention."""

import random
import re
from collections import Counter, defaultdict
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
    "[{=cls} {=word}={integer}] ",
    "{=word}={integer} ",
    "[{composite}] ",
    "({composite}) ",
    "{composite} ",
    "{composite}: ",
    "{=word}({user},{ip}): ",
    "{=word} {composite}: ",
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
    " ({=word})",
    " [{=word}]",
    ", {=word}",
    ", {=word}, {=word}={composite}",
    " {=word}={composite}",
    ' ("{reason}")',
    " for {composite}",
    " from {composite}",
    " from {word}[{ip}]",
    " by {title}",
    " {composite}",
    " ({small} {=word}, {integer} {=word})",
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
    " {=word}={word}",
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
    "{=word} from {word}[{ip}]",
    "{=word} {=word} from {host}[{ip}]: {reason}",
    "query: {host} {dns_type} {dns_class}",
    "{=word} {zone} {dns_type}",
    "{=word} {=word}: {zone} {dns_type} {dns_class}",
)
_WORD = re.compile(r"(?<![^\s])[A-Za-z]{4,}(?![^\s])")
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


def fields_message(text: str, values: Values) -> str:
    """Write a message among keys and values, as logfmt has it: what names the message and its origin is constant."""
    level = values.pick(("info", "warn", "error", "debug", "warning", "INFO", "WARN", "fatal"))
    fields = [f"{values.pick(('level', 'level', 'lvl', 'severity'))}={level}"]
    if values.rng.random() < 0.3:
        fields.insert(0, f"{values.pick(('time', 'ts', 't'))}={marked(quoted_blanks(values.time()))}")
    if values.rng.random() < 0.5:
        origin = values.pick((values.word(), f"{values.word()} {values.word()}", f"{values.word()}.{values.word()}"))
        fields.append(f"{values.pick(('component', 'module', 'logger', 'subsystem', 'name'))}={quoted_blanks(origin)}")
    message = text.replace('"', "'")
    fields.append(f"{values.pick(('msg', 'msg', 'msg', 'message', 'event'))}={quoted_blanks(message)}")
    for _ in range(values.rng.randrange(5)):
        name = values.pick(values.names) or "id"
        fields.append(f"{name}={quoted_blanks(marked(values.of(name).replace(chr(34), chr(39))))}")
    return " ".join(fields)


def quoted_blanks(value: str) -> str:
    """Quote a value that holds a blank, as logfmt does."""
    return f'"{value}"' if " " in value else value


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
    if roll < 0.36:
        return fields_line(values) if roll < 0.33 else f"{text} {fields_line(values)}"
    if roll < 0.385:
        return fields_message(text, values)
    return filled(values.rng.choice(_LINES)) if roll < 0.43 else text


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
    if roll < 0.07:
        return shouted(text, values.rng)
    first = text[:1].upper() if roll < 0.11 else text[:1].lower() if roll < 0.13 else text[:1]
    return first + text[1:]


def shouted(text: str, rng: random.Random) -> str:
    """Write one constant word in capitals, as names of commands and packets are."""
    words = [
        found for found in re.finditer(r"(?<![^\s])[A-Za-z]{3,}(?![^\s])", text) if _is_constant(text, found.start())
    ]
    if not words:
        return text
    start, end = rng.choice(words).span()
    return text[:start] + text[start:end].upper() + text[end:]


def _is_constant(text: str, place: int) -> bool:
    """Tell whether a place of a marked message lies outside all values."""
    return text.count(OPEN, 0, place) == text.count(CLOSE, 0, place)


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
        # Values are words that constants are made of, too: else every common word would be one for its commonness.
        said = Counter(word.lower() for call in calls for word in set(_WORD.findall(call.text)))
        common = (
            self.rng.choices(list(said), [count**0.5 for count in said.values()], k=len(words) // 2) if said else []
        )
        self.values = Values(self.rng, [*words, *common], phrases or ["failed"], names or ["id"])

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
