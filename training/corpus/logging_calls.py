"""A logging call as a template: literals, and between each two of them a variable with its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Longest template kept, in characters: longer ones are help texts and banners.
MAX_CHARACTERS = 400

LEVELS = {
    "trace": "trace", "finest": "trace", "finer": "trace", "debug": "debug", "fine": "debug", "config": "debug",
    "info": "info", "success": "info", "notice": "info", "msg": "info", "log": "info", "warn": "warn",
    "warning": "warn", "error": "error", "err": "error", "exception": "error", "severe": "error",
    "critical": "fatal", "fatal": "fatal",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingCall:
    """One logging call: the literals around its variables."""

    #: One more than there are variables.
    literals: tuple[str, ...]
    #: Per variable: the name that the code gives it, empty if unknown.
    names: tuple[str, ...]
    #: Per variable: the conversion, such as `d`, `s`, `.2f`, `r`; empty for a plain `{}`.
    conversions: tuple[str, ...]
    #: The level, or `raise` for the text of an exception.
    level: str
    language: str
    package: str
    version: str
    licence: str

    @property
    def text(self) -> str:
        """The template with `<*>` for its variables."""
        return "<*>".join(self.literals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Where a source file comes from."""

    name: str
    version: str
    licence: str
    language: str


@dataclass(slots=True)
class Draft:
    """A template while it is put together: literals and, between each two of them, a variable."""

    literals: list[str]
    names: list[str]
    conversions: list[str]

    @classmethod
    def of(cls, text: str) -> "Draft":
        """Start from constant text."""
        return cls([text], [], [])

    def constant(self, text: str) -> None:
        """Append constant text."""
        self.literals[-1] += text

    def variable(self, name: str, conversion: str = "") -> None:
        """Append a variable."""
        self.names.append(name)
        self.conversions.append(conversion)
        self.literals.append("")

    def extend(self, other: "Draft") -> None:
        """Append all of another draft."""
        self.literals[-1] += other.literals[0]
        self.literals += other.literals[1:]
        self.names += other.names
        self.conversions += other.conversions


PRINTF = re.compile(
    r"%(?:\((?P<key>\w+)\))?[#0\- +,]*(?:\d+\$)?[\d*]*(?:\.(?P<precision>[\d*]+))?[hlLzjt]*(?P<type>[a-zA-Z%])"
)
BRACES = re.compile(r"\{\{|\}\}|\{(?P<key>[^{}:!]*)(?:!(?P<conversion>\w))?(?::(?P<format>[^{}]*))?\}")


def split_printf(text: str, names: Sequence[str]) -> Draft:
    """Cut a `%` format. `names` are those of the positional arguments; a `%(key)s` names itself."""
    draft, end, position = Draft.of(""), 0, 0
    for found in PRINTF.finditer(text):
        draft.constant(text[end : found.start()])
        end = found.end()
        if found["type"] in "%n":
            draft.constant("%" if found["type"] == "%" else "\n")
            continue
        name = found["key"] or (names[position] if position < len(names) else "")
        position += 1
        draft.variable(name, f".{found['precision']}{found['type']}" if found["precision"] else found["type"])
    draft.constant(text[end:])
    return draft


def split_braces(text: str, names: Sequence[str], keywords: dict[str, str] | None = None) -> Draft:
    """Cut a `{}` format: of `str.format`, loguru, SLF4J or `MessageFormat`."""
    draft, end, position = Draft.of(""), 0, 0
    for found in BRACES.finditer(text):
        draft.constant(text[end : found.start()])
        end = found.end()
        if found[0] in {"{{", "}}"}:
            draft.constant(found[0][0])
            continue
        key = found["key"] or ""
        index = re.match(r"\d+", key)
        if not key or index:
            place = int(index[0]) if index else position
            name = names[place] if place < len(names) else ""
        else:
            name = (keywords or {}).get(key, re.split(r"[.\[]", key)[-1].rstrip("]'\""))
        position += 1
        draft.variable(name, found["conversion"] or (found["format"] or "").strip())
    draft.constant(text[end:])
    return draft


def finished(draft: Draft, level: str, package: Package) -> LoggingCall | None:
    """Close a draft; None for what no reader would call a message: no words, or a page of text."""
    literals = [re.sub(r"\s*\n\s*", " ", literal) for literal in draft.literals]
    literals[0], literals[-1] = literals[0].lstrip(), literals[-1].rstrip()
    text = "".join(literals)
    if len(text) > MAX_CHARACTERS or not re.search(r"[A-Za-z]{2}", text) or len(draft.names) > 16:
        return None
    return LoggingCall(
        literals=tuple(literals), names=tuple(draft.names), conversions=tuple(draft.conversions), level=level,
        language=package.language, package=package.name, version=package.version, licence=package.licence,
    )  # fmt: skip
