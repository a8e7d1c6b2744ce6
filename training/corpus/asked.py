"""Messages with fields asked for in words: filled logging calls, their headers, and questions.

A variable's name becomes a question as an operator would put it (`remote_address` may be asked for as `client ip`); the
table of words that stand for each other is all that is written by hand, the rest comes from names in code. A value that
holds values (`10.0.0.1:80`, `GET /x HTTP/1.1`, `OSError: no space left`) is asked for by its parts too.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from training.corpus.examples import Examples, augmented, example, rendered
from training.corpus.frames import LEVELS, Frames
from training.corpus.logging_calls import LoggingCall
from training.corpus.named import TaggedValues
from training.corpus.values import CLOSE, OPEN, Values
from worker.parsing.spans import Span

_MOST_CHARACTERS = 500
#: Marks, behind `OPEN`, whose value follows; as `TaggedValues` writes them.
_FIRST_TAG, _TAGS = 0xE100, 64
_TAG = re.compile(f"[{chr(_FIRST_TAG)}-{chr(_FIRST_TAG + _TAGS - 1)}]")
_TAGGED = re.compile(f"{OPEN}([{chr(_FIRST_TAG)}-{chr(_FIRST_TAG + _TAGS - 1)}])([^{OPEN}{CLOSE}]*){CLOSE}")
_MARK = re.compile(f"[{OPEN}{CLOSE}{chr(_FIRST_TAG)}-{chr(_FIRST_TAG + _TAGS - 1)}]")

#: Words that stand for each other in questions.
_GROUPS: tuple[tuple[str, ...], ...] = (
    ("address", "ip", "ip address", "ip addr", "host", "network address"),
    ("client", "remote", "source", "peer", "remote client", "caller", "requester", "visitor", "from"),
    ("server", "local", "destination", "target", "listen"),
    ("duration", "elapsed time", "time taken", "latency", "elapsed", "took", "runtime", "execution time",
     "response time", "how long"),
    ("interval", "period", "every", "frequency"),
    ("timeout", "time limit", "deadline", "max wait"),
    ("user", "user name", "username", "account", "login", "login name", "user id", "account name", "role", "owner"),
    ("file", "file name", "filename", "name of file", "source file", "path", "file path"),
    ("path", "file", "file path", "location", "file name", "full path"),
    ("directory", "folder", "dir", "directory name", "path", "data directory"),
    ("error", "error message", "reason", "cause", "message", "failure reason", "what went wrong"),
    ("reason", "cause", "error message", "why", "failure reason", "explanation"),
    ("error type", "exception", "error class", "exception class", "exception type", "kind of error", "error name"),
    ("error code", "errno", "error number", "code", "code number"),
    ("return code", "exit code", "exit status", "status", "return value"),
    ("status", "status code", "state", "result"),
    ("status code", "http status", "response code", "response status", "status", "http status code", "result code"),
    ("state", "status", "new state", "current state", "phase"),
    ("size", "length", "bytes", "number of bytes", "byte count", "total size"),
    ("url", "uri", "link", "web address", "address", "endpoint"),
    ("path route", "url path", "request path", "requested path", "uri", "requested url", "page", "resource"),
    ("http method", "method", "verb", "request method", "request type"),
    ("user agent", "browser", "agent", "client software"),
    ("request", "request line", "http request", "command"),
    ("host", "host name", "hostname", "machine", "server", "node", "computer"),
    ("port", "port number", "tcp port"),
    ("version", "version number", "release", "software version"),
    ("statement", "query", "sql", "sql statement", "query text", "sql query"),
    ("table", "table name", "relation"),
    ("database", "db", "database name", "db name", "schema"),
    ("line", "line number", "lineno", "source line"),
    ("column", "column number", "position"),
    ("position", "offset", "place", "at"),
    ("package", "package name", "software", "name of package", "library", "module name", "program"),
    ("message", "text", "message text"),
    ("count", "number", "total", "amount", "how many"),
    ("class", "class name", "component", "type"),
    ("function", "method", "function name", "method name"),
    ("pid", "process id", "process", "process number"),
    ("thread", "thread name", "worker"),
    ("job", "task", "job name", "task name"),
    ("device", "disk", "drive", "interface"),
    ("topic", "topic name", "channel", "subject"),
    ("queue", "queue name", "destination"),
    ("group", "consumer group", "group id", "group name"),
    ("session", "session id", "session key"),
    ("transaction", "transaction id", "tx id"),
    ("id", "identifier", "number", "no", "reference"),
    ("name", "label", "title"),
    ("email", "mail", "email address", "e-mail"),
    ("memory", "memory usage", "memory used", "heap"),
    ("rate", "speed", "throughput", "bytes per second"),
    ("percentage", "percent", "share", "ratio", "usage"),
    ("attempt", "attempt number", "retry", "retries", "attempts", "tries"),
    ("delay", "wait", "wait time", "pause", "backoff"),
    ("key", "key name", "setting", "property", "option", "config key"),
    ("config", "config file", "configuration file", "settings file"),
    ("signal", "signal name", "signal number"),
    ("date", "day", "calendar date", "log date"),
    ("time", "time of day", "clock time", "clock", "log time", "event time"),
    ("timestamp", "date and time", "datetime", "event timestamp", "when"),
    ("level", "severity", "log level", "severity level", "loglevel"),
    ("logger", "component", "logger name", "class", "module", "subsystem", "category", "source class"),
    ("mime type", "content type", "media type"),
    ("target", "destination", "goal"),
    ("new", "current", "next"),
    ("old", "previous", "prior", "former"),
    ("hash", "checksum", "digest", "commit"),
)  # fmt: skip
_GROUP_OF: dict[str, list[tuple[str, ...]]] = {}
for _group in _GROUPS:
    for _phrase in _group[:6]:
        _GROUP_OF.setdefault(_phrase, []).append(_group)

#: What values are called whose kind alone is known.
_KIND_NAMES = {
    "ip": "client_address", "socket": "address", "host": "host", "user": "user", "status": "status code",
    "verb": "http method", "route": "path route", "url": "url", "agent": "user agent", "request": "request",
    "reason": "reason", "duration": "duration", "port": "port", "sql": "statement", "version": "version",
    "path": "path", "unix_path": "file", "exception": "error", "state": "state", "time": "timestamp",
    "size": "size", "package": "package", "percent": "percentage", "email": "email",
}  # fmt: skip
#: Fields of headers: their names in events, how they are asked for, and the kinds of their values.
_HEADER: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("severity", "level", ("level",)), ("process.pid", "pid", ("integer",)), ("thread.name", "thread", ("numbered",)),
    ("thread.id", "thread_id", ("integer",)), ("host.name", "host", ("host", "numbered")),
    ("process.name", "program", ("identifier", "word")), ("log.logger", "logger", ("cls", "identifier")),
    ("user.name", "user", ("user",)), ("db.namespace", "database", ("word", "identifier")),
    ("client.address", "client_address", ("ip",)), ("code.file.path", "file", ("unix_path",)),
    ("code.line.number", "line", ("small",)), ("syslog.facility", "facility", ("small",)),
    ("http.request.method", "http_method", ("method",)), ("url.path", "path_route", ("route",)),
    ("url.full", "url", ("url",)), ("http.response.status_code", "status_code", ("status",)),
    ("service.name", "service", ("identifier", "word")), ("error.code", "error_code", ("small", "identifier")),
    ("process.executable.name", "program", ("identifier", "word", "path")), ("trace_id", "trace_id", ("hashed",)),
    ("http.request.id", "request_id", ("uuid", "hashed")), ("container.name", "container", ("numbered",)),
    ("code.function.name", "function", ("identifier",)), ("event.id", "event_id", ("small",)),
)  # fmt: skip
_PROGRAM = ("program", "process name", "application", "app", "daemon", "process", "service", "command", "program name")

_SHARE_OF_FRAMES = 0.5
_FEW_WORDS = re.compile(r"[A-Za-z][a-z'\-]+(?: [A-Za-z'\-]+){1,5}")
#: Share of messages of which a parser would miss some parameters.
_MISSED = 0.4
#: Words that count nothing.
_NO_NOUN = frozenset({
    "and", "or", "of", "in", "on", "at", "to", "from", "for", "by", "with", "is", "was", "are", "were", "has", "had",
    "not", "the", "a", "an", "as", "but", "than", "more", "due", "because", "ms", "s", "sec", "kb", "mb", "gb", "bytes",
    "seconds", "second", "minutes", "hours", "days", "while", "when", "after", "before", "via", "failed", "that",
})  # fmt: skip

_SOCKET = re.compile(r"/?([\w.\-]+|\[[0-9a-fA-F:]+\]):(\d{2,5})")
#: Values that hold values, and what the whole and each group are asked for by; empty where nobody would ask.
_PARTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"([\w.$]*\w(?:Error|Exception|Timeout))(?:: (.+))?"), ("", "error type", "error message")),
    (
        re.compile(r"([A-Z]{3,7}) (\S+)(?: HTTP/([\d.]+))?"),
        ("request", "http method", "path route", "http version"),
    ),
    (
        re.compile(r"(\d{4}[-/.]\d\d[-/.]\d\d|\d{1,2}/[A-Z][a-z]{2}/\d{4})[T :](\d\d:\d\d:\d\d(?:[.,]\d+)?).*"),
        ("timestamp", "date", "time"),
    ),
    (re.compile(r"([^\s:]+\.\w+):(\d+)(?::(\d+))?"), ("", "file", "line", "column")),
)
_UNIT = re.compile(r" ?(?:ms|s|secs?|seconds?|minutes?|hours?|days?|us|ns|[kKMG]i?B|bytes?|%)(?!\w)")
_EDGES = "\"'`()[]{}<>,;"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderField:
    """A field of a header as events have it, with the words that ask for it."""

    name: str
    value: str
    rules: tuple[str, ...]
    asked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedExample:
    """A message, its header, and what may be asked of both."""

    text: str
    #: What a parser would cut, in characters, ascending.
    parameters: tuple[Span, ...]
    #: Spans and the name under which each may be asked for.
    answers: tuple[tuple[Span, str], ...]
    header: tuple[HeaderField, ...]


def question(name: str, value: str, rng: random.Random) -> str:
    """Ask for a value of the variable `name` as people do."""
    words = name.replace("_", " ").split()
    if not words:
        return name
    if words[-1] == "count" and len(words) > 1:
        what = " ".join(words[:-1])
        return rng.choice((f"number of {what}s", f"{what} count", f"{what}s", f"number of {what}", f"how many {what}s"))
    asked = _swapped(words, rng)
    is_number = bool(re.fullmatch(r"[\d,.+\-]+", value))
    roll = rng.random()
    if len(words) == 1 and not is_number and roll < 0.15 and " " not in asked:
        return rng.choice((f"{asked} name", f"name of {asked}"))
    if len(words) == 1 and is_number and roll < 0.15:
        return f"{asked} number" if roll < 0.08 or asked.endswith("s") else f"number of {asked}s"
    if words[-1] == "id" and roll < 0.3:
        return " ".join(words[:-1]) or "id"
    return asked


def _swapped(words: Sequence[str], rng: random.Random) -> str:
    """Replace the whole, or single words, by others of their group, half of the time each."""
    whole = " ".join(words)
    if whole in _GROUP_OF:
        return rng.choice(rng.choice(_GROUP_OF[whole])) if rng.random() < 0.7 else whole
    if len(words) > 2 and " ".join(words[-2:]) in _GROUP_OF:
        words = [*words[:-2], " ".join(words[-2:])]
    found = [
        rng.choice(rng.choice(_GROUP_OF[word])) if word in _GROUP_OF and rng.random() < 0.5 else word for word in words
    ]
    return " ".join(found)


def parts(name: str, start: int, value: str, behind: str) -> Iterator[tuple[Span, str]]:
    """Yield the answers that one value holds: itself without quotes and with its unit, and its parts."""
    inner = value.strip(_EDGES + " ")
    if not inner:
        return
    place = start + value.index(inner)
    unit = _UNIT.match(behind) if re.fullmatch(r"[\d.,]+", inner) and inner == value else None
    whole = (place, place + len(inner) + (unit.end() if unit else 0))
    owner = re.sub(r"[_ ]?(?:address|host|url|endpoint|socket)$", "", name)

    def part(found: re.Match[str], group: int, asked: str) -> tuple[Span, str]:
        return (place + found.start(group), place + found.end(group)), asked

    if found := _SOCKET.fullmatch(inner):
        yield part(found, 1, f"{owner} address".strip())
        yield part(found, 2, f"{owner} port".strip())
        return
    for pattern, names in _PARTS:
        if found := pattern.fullmatch(inner):
            yield from (part(found, group, asked) for group, asked in enumerate(names) if asked and found[group])
            return
    yield whole, name


class AskedValues(TaggedValues):
    """Makes tagged values, those of the patterns around messages too: their kind is their name."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        for kind, name in _KIND_NAMES.items():
            setattr(self, kind, partial(self._tagged, name, getattr(values, kind)))

    def _tagged(self, name: str, make: Callable[[], str]) -> str:
        text = make()
        if OPEN in text or len(self.given) >= _TAGS:
            return text
        self.given.append(name)
        return chr(_FIRST_TAG + len(self.given) - 1) + text


class AskedExamples:
    """An endless, repeatable stream of messages that fields can be asked of."""

    def __init__(self, calls: Sequence[LoggingCall], words: Sequence[str], seed: int) -> None:
        examples = Examples(calls, words, seed)
        self.rng = examples.rng
        self._plain = examples.values
        self._values = AskedValues(examples.values)
        said = [
            text for call in calls if not call.names and _FEW_WORDS.fullmatch(text := call.literals[0].strip(" .:!"))
        ]
        self._frames = Frames(examples.values, said or ["failed"], self.rng, self._tagged)
        self._calls, self._weights = examples.calls, examples.weights

    def take(self, count: int) -> Iterator[AskedExample]:
        """Yield `count` examples."""
        made = 0
        while made < count:
            for pair in zip(*(self.rng.choices(self._calls, self._weights, k=500) for _ in range(2)), strict=True):
                found = self._example(*pair)
                if found is None or not found.answers or len(found.text) > _MOST_CHARACTERS:
                    continue
                yield found
                made += 1
                if made == count:
                    return

    def _example(self, call: LoggingCall, other: LoggingCall) -> AskedExample | None:
        given = self._values.given
        given.clear()
        text, second = rendered(call, self._values), rendered(other, self._values)
        if text is None or second is None:
            return None
        if self.rng.random() < _SHARE_OF_FRAMES:
            given.clear()
            tagged = self._frames.line()
        else:
            tagged = augmented(text, self._values, second)
        if len(given) >= _TAGS:
            return None
        made = example(_TAG.sub("", tagged))
        parameters = made.spans
        if self.rng.random() < _MISSED:
            parameters = tuple(span for span in parameters if self.rng.random() < 0.5)
        answers: dict[Span, str] = {}
        for found in _TAGGED.finditer(tagged):
            name = given[ord(found[1]) - _FIRST_TAG]
            if _TAG.search(found[2]):
                continue
            start = found.start() - len(_MARK.findall(tagged, 0, found.start()))
            if made.text[start : start + len(found[2])] == found[2]:
                behind = made.text[start + len(found[2]) :]
                noun = re.match(r" ([a-z]{3,})\b(?! ?[=:])", behind)
                if noun and noun[1] not in _NO_NOUN and found[2].isdigit() and self.rng.random() < 0.6:
                    name = noun[1]  # what is counted says more than a variable such as `count`
                answers |= {span: asked for span, asked in parts(name, start, found[2], behind) if asked}
        names = Counter(answers.values())
        alone = tuple((span, name) for span, name in answers.items() if names[name] == 1)
        return AskedExample(text=made.text, parameters=parameters, answers=alone, header=tuple(self._header()))

    def _tagged(self, name: str, value: str) -> str:
        given = self._values.given
        if len(given) >= _TAGS:
            return value
        given.append(name)
        return f"{OPEN}{chr(_FIRST_TAG + len(given) - 1)}{value}{CLOSE}"

    def _header(self) -> Iterator[HeaderField]:
        rng = self.rng
        if rng.random() < 0.3:
            return
        for rule, value in (
            ("date", "2024-03-07"),
            ("clock", "10:22:31.417"),
            ("timestamp", "2024-03-07T10:22:31.417Z"),
        ):
            name = {"clock": "time"}.get(rule, rule)
            yield HeaderField(name="timestamp", value=value, rules=(rule,), asked=_swapped([name], rng))
        for name, asked, kinds in rng.sample(_HEADER, rng.randrange(1, 6)):
            kind = rng.choice(kinds)
            value = rng.choice(LEVELS) if kind == "level" else getattr(self._plain, kind)()
            words = rng.choice(_PROGRAM) if asked == "program" else _swapped(asked.split("_"), rng)
            yield HeaderField(name=name, value=value, rules=(), asked=words)
