r"""The language that declares a header, compiled to a program.

A declaration reads like the header itself: `<Date> <Time> <Pid> <Level> <Component>: <Content>`.

- `<name>` or `<name:type>` is a field, `<_>` and `<_:type>` are read and dropped.
- `<message>` or `<Content>` is the message; it comes last.
- A space is a run of white space (space, tab), or the end of the text. `\s+` is the same, `\s*` such a run or nothing.
- `(...)?` is a piece that may be missing. Such pieces do not nest.
- Everything else stands for itself; `\` takes the meaning from the character after it, `\n` is a line feed.

Types of fields:

- `text`, what a field without a type is: any bytes but a line feed, as few as let what follows fit. It may be empty
  where something other than white space ends it.
- `word`: like text, no white space, not empty.
- `name`: letters, digits and `_.$/@#~+-`, a letter first, as many as there are. `int`: digits. `number`: digits and
  points.
- `level`: a known level's word; `level:letter`: a known single letter; `level:mark`: one of Redis' `.-*#`.
  `<level>` has the type level; `<Level>` and `<Severity>` are text, whose severity is 0 if it is no known level.
- a type with a `%` is a time, see `worker.parsing.headers.directives`. Without a type, `<Timestamp>`, `<Date>`,
  `<Time>`, `<Month>`, `<Day>`, `<Year>` in any case read the usual shapes. All times of a header together make its
  timestamp.

The usual names of fields become OpenTelemetry's attribute names (`Pid` becomes `process.pid`), others stay as they are.
A field that holds just `-` is none. A line whose typed pieces can't be read has no header: the whole line is the
message.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from worker.errors import WrongFormat
from worker.parsing.headers.directives import compile_directives, usual_time
from worker.parsing.headers.program import (
    DIGITS,
    LEVEL_SLOT,
    MAX_FIELDS,
    NAME,
    NUMBER,
    SKIPPED,
    ZONE_OPTIONAL,
    Code,
    HeaderFormat,
    Op,
)

#: Usual names of fields, small letters only, and the attributes that they become.
ATTRIBUTE_OF_NAME: Mapping[str, str] = MappingProxyType({
    "pid": "process.pid", "processid": "process.pid", "tid": "thread.id", "threadid": "thread.id",
    "thread": "thread.name", "threadname": "thread.name", "process": "process.executable.name",
    "program": "process.executable.name", "app": "process.executable.name", "appname": "process.executable.name",
    "component": "log.logger", "logger": "log.logger", "class": "log.logger", "category": "log.logger",
    "host": "host.name", "hostname": "host.name", "node": "host.name", "user": "user.name", "username": "user.name",
    "client": "client.address", "ip": "client.address", "address": "client.address", "method": "http.request.method",
    "path": "url.path", "url": "url.full", "status": "http.response.status_code", "file": "code.file.path",
    "line": "code.line.number", "function": "code.function.name", "traceid": "trace_id", "spanid": "span_id",
    "database": "db.namespace", "container": "container.name",
})  # fmt: skip
_MESSAGE_NAMES = frozenset(("message", "content", "msg", "body"))
_LEVEL_NAMES = frozenset(("level", "severity", "loglevel"))
_RUN_TYPES = {"int": DIGITS, "number": NUMBER, "name": NAME}
TYPES = ("text", "word", "name", "int", "number", "level", "letter", "mark", "a time such as %Y-%m-%dT%H:%M:%S%.f%z")

_TOKEN = re.compile(
    r"(?P<gap>\\s\*)|(?P<space>(?:\\s(?!\*)\+?|\\t|[ \t])+)|(?P<field><[^<>]*>)"
    r"|(?P<escape>\\.)|(?P<close>\)\?)|(?P<byte>.)",
    re.DOTALL,
)
_FIELD = re.compile(r"<(?P<name>[A-Za-z0-9_.-]+)(?::(?P<type>.+))?>")


class _Compiler:
    """The program of one declaration while it grows."""

    def __init__(self, declaration: str, name: str) -> None:
        self.declaration = declaration
        self.name = name
        self.ops: list[Op] = []
        self.fields: list[str] = []
        self.specificity = 0
        self.group: int | None = None
        self.closings = self._find_groups()
        self.has_day = "<day>" in declaration.lower()

    def wrong(self, position: int, why: str) -> WrongFormat:
        return WrongFormat(f"header format {self.declaration!r}, character {position + 1}: {why}")

    def _tokens(self) -> Iterator[re.Match[str]]:
        return _TOKEN.finditer(self.declaration)

    def _find_groups(self) -> dict[int, int]:
        """Return where each optional piece opens and closes; other parentheses stand for themselves."""
        groups: dict[int, int] = {}
        open_at: list[int] = []
        for token in self._tokens():
            if token["byte"] == "(":
                open_at.append(token.start())
            elif token["byte"] == ")" and open_at:
                open_at.pop()
            elif token["close"]:
                if not open_at:
                    raise self.wrong(token.start(), r"`)?` closes nothing; write `\)` for the character itself")
                groups[open_at.pop()] = token.start()
        return groups

    def compile(self) -> HeaderFormat:
        for token in self._tokens():
            if self.ops and self.ops[-1].code is Code.MESSAGE:
                raise self.wrong(token.start(), "nothing may follow the message")
            self._add(token)
        if not self.ops or self.ops[-1].code is not Code.MESSAGE:
            raise self.wrong(len(self.declaration), "ends without the message: put `<message>` or `<Content>` last")
        return HeaderFormat(
            name=self.name,
            declaration=self.declaration,
            fields=tuple(self.fields),
            ops=tuple(self._finish(index, op) for index, op in enumerate(self.ops)),
            specificity=self.specificity,
        )

    def _add(self, token: re.Match[str]) -> None:
        at = token.start()
        if token["space"]:
            self.ops.append(Op(code=Code.SPACE))
        elif token["gap"]:
            self.ops.append(Op(code=Code.GAP))
        elif token["field"]:
            self._add_field(token["field"], at)
        elif token["close"]:
            self._close_group(at)
        elif token["escape"]:
            self._add_literal("\n" if token[0] == r"\n" else token[0][1])
        elif at in self.closings:
            if self.group is not None:
                raise self.wrong(at, "an optional piece within another: declare two formats instead")
            self.group = len(self.ops)
            self.ops.append(Op(code=Code.TRY))
        elif token[0] == "<":
            raise self.wrong(at, r"`<` without its `>`; write `\<` for the character itself")
        else:
            self._add_literal(token[0])

    def _count(self, weight: int) -> None:
        if self.group is None:  # what may be missing makes no line likelier
            self.specificity += weight

    def _close_group(self, at: int) -> None:
        if self.group is None:
            raise self.wrong(at, r"`)?` closes nothing; write `\)` for the character itself")
        if self.ops[-1].code is Code.MESSAGE or self.group == len(self.ops) - 1:
            raise self.wrong(at, "an optional piece holds at least one thing, and not the message")
        target = len(self.ops) + 1
        self.ops.append(Op(code=Code.COMMIT, number=target))
        self.ops[self.group] = Op(code=Code.TRY, number=target)
        self.group = None

    def _add_literal(self, text: str) -> None:
        self._count(1)
        if self.ops and self.ops[-1].code is Code.LITERAL:
            self.ops[-1] = Op(code=Code.LITERAL, literal=self.ops[-1].literal + text.encode())
        else:
            self.ops.append(Op(code=Code.LITERAL, literal=text.encode()))

    def _add_field(self, text: str, at: int) -> None:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise self.wrong(at, f"{text!r} is no field: write `<name>` or `<name:type>`; names hold A-Z a-z 0-9 _ . -")
        name, kind = field["name"], field["type"]
        lower = name.lower()
        if lower in _MESSAGE_NAMES:
            if kind or self.group is not None:
                raise self.wrong(at, f"{text} is the message: it has no type and stands in no optional piece")
            self.ops.append(Op(code=Code.MESSAGE))
        elif kind is not None and "%" in kind:
            self._add_time(compile_directives(kind, lambda why: self.wrong(at, why)))
        elif kind is None and (time := usual_time(lower, has_day=self.has_day)) is not None:
            if self.group is not None:
                raise self.wrong(at, f"{text} in an optional piece needs its shape, such as <{name}:%H:%M:%S>")
            self._add_time(time)
        elif lower in _LEVEL_NAMES:
            self._add_level(kind or ("level" if name == lower else "text"), at)
        else:
            self._add_span(kind or "text", self._slot(name, at), at)

    def _add_time(self, ops: list[Op]) -> None:
        has_zone = any(op.code is Code.ZONE and not op.number & ZONE_OPTIONAL for op in ops)
        self._count(4 + has_zone)
        base = len(self.ops)
        shifted = (Code.TRY, Code.COMMIT)
        self.ops.extend(replace(op, number=op.number + base) if op.code in shifted else op for op in ops)

    def _add_level(self, kind: str, at: int) -> None:
        if kind == "level":
            self.ops.append(Op(code=Code.LEVEL))
            self._count(5)
        elif kind in ("letter", "mark"):
            self.ops.append(Op(code=Code.MARK, number=int(kind == "mark")))
            self._count(2)
        else:
            self._add_span(kind, LEVEL_SLOT, at)

    def _add_span(self, kind: str, slot: int, at: int) -> None:
        if kind in _RUN_TYPES:
            self.ops.append(Op(code=Code.RUN, slot=slot, number=_RUN_TYPES[kind]))
            self._count(3 if kind == "int" else 2)
        elif kind in ("text", "word"):
            self.ops.append(Op(code=Code.SCAN, slot=slot, number=int(kind == "word")))
            self._count(int(kind == "word"))
        else:
            raise self.wrong(at, f"no type {kind!r}; there are {', '.join(TYPES)}")

    def _slot(self, name: str, at: int) -> int:
        if name == "_":
            return SKIPPED
        attribute = ATTRIBUTE_OF_NAME.get(name.lower(), name)
        if attribute in self.fields:
            raise self.wrong(at, f"a second field {attribute!r}; give it another name, or drop it with `<_>`")
        if len(self.fields) == MAX_FIELDS:
            raise self.wrong(at, f"more than {MAX_FIELDS} fields; drop some with `<_>`")
        self.fields.append(attribute)
        return len(self.fields) - 1

    def _finish(self, index: int, op: Op) -> Op:
        """Give an op what it must know of the ops after it."""
        if op.code is Code.LEVEL:
            after = next(other for other in self.ops[index + 1 :] if other.code is not Code.GAP)
            return replace(op, number=int(after.code is Code.LITERAL))
        if op.code is not Code.SCAN:
            return op
        stops = tuple(self._stops(index + 1))
        attention = set(b"\n \t" if op.number else b"\n")
        for first, _ in stops:
            attention |= self._first_bytes(first)
        fewest = int(bool(op.number) or any(self.ops[first].code is Code.SPACE for first, _ in stops))
        return replace(op, stops=stops, attention=bytes(sorted(attention)), fewest=fewest)

    def _stops(self, index: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of literal ops that may come next from op `index` on, as (first, how many)."""
        op = self.ops[index]
        if op.code is Code.COMMIT:
            yield from self._stops(op.number)
            return
        if op.code is Code.TRY:
            yield from self._stops(index + 1)
            yield from self._stops(op.number)
            return
        end = index
        while self.ops[end].code in (Code.LITERAL, Code.SPACE, Code.GAP):
            end += 1
        if all(between.code is Code.GAP for between in self.ops[index:end]):
            raise self.wrong(len(self.declaration), "a field of text or a word needs something after it that ends it")
        yield index, end - index

    def _first_bytes(self, index: int) -> set[int]:
        op = self.ops[index]
        if op.code is Code.LITERAL:
            return {op.literal[0]}
        return set(b" \t") | (self._first_bytes(index + 1) if op.code is Code.GAP else set())


def parse_format(text: str, *, name: str | None = None) -> HeaderFormat:
    """Compile a declaration.

    Raises:
        WrongFormat: with the position of the mistake and what may stand there.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WrongFormat(f"header format {text!r}, character {error.start + 1}: it is no UTF-8") from error
    return _Compiler(text, name or text).compile()
