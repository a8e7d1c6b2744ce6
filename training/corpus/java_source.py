"""Logging calls of Java source code and resource files, by a scanner that knows strings, comments and brackets."""

import re
from collections.abc import Iterator, Sequence

from training.corpus.logging_calls import (
    LEVELS,
    PRINTF,
    Draft,
    LoggingCall,
    Package,
    finished,
    split_braces,
    split_printf,
)

JAVA_CALL = re.compile(
    r"\b(?:\w*log(?:ger)?|LOG(?:GER)?|\w*_LOG(?:GER)?|\w*Logger)(?:\(\))?\s*\.\s*(?:at)?"
    r"(trace|debug|info|warn|warning|error|fatal|severe|fine|finer|finest|config|log)\w*\s*\(",
    re.IGNORECASE,
)
JAVA_RAISE = re.compile(r"\bthrow\s+new\s+\w+(?:Exception|Error)\s*\(")
JAVA_ANNOTATION = re.compile(r"@(?:LogMessage|Message)\s*\(")
JAVA_TOKEN = re.compile(
    r'"""(?P<block>.*?)"""|"(?P<string>(?:[^"\\\n]|\\.)*)"|\'(?:[^\'\\\n]|\\.)+\'|//[^\n]*|/\*.*?\*/'
    r"|(?P<word>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<mark>[^\s\w])",
    re.DOTALL,
)
JAVA_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def java_arguments(source: str, start: int) -> list[list[tuple[str, str]]]:
    """Split what stands between parentheses into arguments of (kind, text) tokens; empty where they never close."""
    arguments: list[list[tuple[str, str]]] = [[]]
    depth = 0
    for found in JAVA_TOKEN.finditer(source, start, min(len(source), start + 4000)):
        kind = found.lastgroup
        if kind is None:
            continue
        text = found[kind]
        if kind == "mark":
            if text in "([{":
                depth += 1
            elif text in ")]}":
                if depth == 0:
                    return [argument for argument in arguments if argument]
                depth -= 1
            elif text == "," and depth == 0:
                arguments.append([])
                continue
        if kind in {"string", "block"}:
            text = re.sub(r"\\(u+[0-9a-fA-F]{4}|.)", java_unescape, text, flags=re.DOTALL)
            kind = "string"
        arguments[-1].append((kind, text))
    return []


def java_unescape(found: re.Match[str]) -> str:
    """Resolve one escape of a Java string."""
    code = found[1]
    return chr(int(code.lstrip("u"), 16)) if len(code) > 4 else JAVA_ESCAPES.get(code, code)


def java_name(tokens: Sequence[tuple[str, str]]) -> str:
    """Give the name that tells most about an expression's value: its last word, `get` and the like taken off."""
    words = [text for kind, text in tokens if kind == "word" and text not in JAVA_NOISE]
    if not words:
        return ""
    name = words[-1]
    if name in {"size", "length"} and len(words) > 1:
        return "count"
    if name in {"name", "getName", "id", "getId", "value", "toString", "getMessage"} and len(words) > 1:
        name = f"{words[-2]}_{name.removeprefix('get')}"
    return re.sub(r"^(get|to|as|is)(?=[A-Z])", "", name)


JAVA_NOISE = frozenset({"this", "new", "String", "Arrays", "toString", "format", "valueOf", "Integer", "Long", "null"})


def java_draft(tokens: Sequence[tuple[str, str]]) -> Draft | None:
    """Put together `"text" + expression + ...`; None without literal text."""
    if [text for _, text in tokens[:4]] == ["(", ")", "-", ">"]:
        tokens = tokens[4:]
    if not any(kind == "string" for kind, _ in tokens):
        return None
    draft, depth, operand = Draft.of(""), 0, list[tuple[str, str]]()
    for kind, text in [*tokens, ("mark", "+")]:
        if kind == "mark" and text in "([{":
            depth += 1
        elif kind == "mark" and text in ")]}":
            depth -= 1
        if depth or (kind, text) != ("mark", "+"):
            operand.append((kind, text))
            continue
        if len(operand) == 1 and operand[0][0] == "string":
            draft.constant(operand[0][1])
        elif operand:
            draft.variable(java_name(operand))
        operand = []
    return draft if any(draft.literals) else None


def java_template(arguments: Sequence[list[tuple[str, str]]]) -> Draft | None:
    """Make the template of a call's arguments; the first that holds literal text is the format."""
    for place, argument in enumerate(arguments[:3]):
        words = [text for _, text in argument[:4]]
        if words[1:4] == [".", "format", "("] and argument[-1][1] == ")":
            inner: list[list[tuple[str, str]]] = [[]]
            depth = 0
            for kind, text in argument[4:-1]:
                depth += (text in "([{") - (text in ")]}") if kind == "mark" else 0
                if (kind, text) == ("mark", ",") and depth == 0:
                    inner.append([])
                else:
                    inner[-1].append((kind, text))
            return java_template(inner)
        draft = java_draft(argument)
        if draft is None:
            if any(kind == "string" for kind, _ in argument):
                return None
            continue
        names = [java_name(rest) for rest in arguments[place + 1 :]]
        if draft.names or not names:
            return draft
        if "{" in draft.literals[0]:
            return split_braces(draft.literals[0], names)
        return split_printf(draft.literals[0], names) if PRINTF.search(draft.literals[0]) else draft
    return None


def java_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the logging calls, and the texts of thrown exceptions, of one Java file."""
    for found in JAVA_CALL.finditer(source):
        draft = java_template(java_arguments(source, found.end()))
        if draft and (call := finished(draft, LEVELS.get(found[1].lower(), "info"), package)):
            yield call
    for found in JAVA_RAISE.finditer(source):
        draft = java_template(java_arguments(source, found.end()))
        if draft and (call := finished(draft, "raise", package)):
            yield call
    for found in JAVA_ANNOTATION.finditer(source):
        arguments = java_arguments(source, found.end())
        texts = [
            tokens[-1][1]
            for tokens in arguments
            if tokens[-1][0] == "string" and tokens[0][1] in {"value", tokens[-1][1]}
        ]
        method = re.compile(r"\w+\s+\w+\s*\(").search(source, found.end())
        if texts and method:
            names = [java_name(tokens) for tokens in java_arguments(source, method.end())]
            draft = split_braces(texts[0], names) if "{" in texts[0] else split_printf(texts[0], names)
            if call := finished(draft, "info", package):
                yield call


def property_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the messages of a `LocalStrings.properties` file, whose variables have no names."""
    joined = re.sub(r"\\\r?\n\s*", "", source)
    for line in joined.splitlines():
        key, mark, text = line.partition("=")
        if mark and not key.lstrip().startswith(("#", "!")):
            text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace("''", "'")
            if call := finished(split_braces(text.strip(), []), "info", package):
                yield call
