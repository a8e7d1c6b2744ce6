"""Logging calls of JavaScript and TypeScript source code."""

import re
from collections.abc import Iterator, Sequence

import tree_sitter_typescript
from tree_sitter import Language, Node, Query

from training.corpus.logging_calls import (
    LEVELS,
    PRINTF,
    Draft,
    LoggingCall,
    Package,
    Variable,
    filled,
    finished,
    split_printf,
)
from training.corpus.syntax import (
    STRINGS,
    Declarations,
    found_in,
    joined,
    piece_of,
    root_of,
    sides_of,
    string_of,
    text_of,
    values_of,
    words_of,
)

# TypeScript's grammar reads JavaScript too; the one of TSX also reads JSX, but not `<Type>value`.
_TYPESCRIPT = Language(tree_sitter_typescript.language_typescript())
_TSX = Language(tree_sitter_typescript.language_tsx())
_CALLS = "(call_expression) @call (new_expression) @made"
_DECLARED = """
(required_parameter) @local (optional_parameter) @local (variable_declarator) @local (catch_clause) @local
(public_field_definition) @field (property_signature) @field
"""
_QUERIES = {language: (Query(language, _CALLS), Query(language, _DECLARED)) for language in (_TYPESCRIPT, _TSX)}

_LOGGER = re.compile(
    r"(^|[a-z_$])(log|logger|logging)s?(\(\))?$|^(console|consola|winston|signale|LOG|LOGGER|reporter)$", re.IGNORECASE
)
_NO_LOGGER = re.compile(r"(cata|dia|b|ana|prolo|change|syn?|back)log(ger)?s?(\(\))?$", re.IGNORECASE)
_FUNCTION = re.compile(
    r"^(debug|debuglog|log|trace|warn|\w*Debug|debug[A-Z]\w*|\w*Log|log(Info|Warn|Error|Debug|Warning))$"
)
_ERROR = re.compile(r"(Error|Exception)$")
#: Values that are no text beside a message.
_NO_FIELD = frozenset({"object", "function_expression", "arrow_function"})
_LEVELS = LEVELS | {
    "verbose": "debug", "silly": "trace", "http": "info", "start": "info", "complete": "info", "pending": "info",
    "await": "info", "ready": "info", "fail": "error", "dir": "debug", "emerg": "fatal",
}  # fmt: skip


def javascript_calls(source: str, package: Package, *, markup: bool = False) -> Iterator[LoggingCall]:
    """Yield the logging calls, and the texts of errors made, of one file; `markup` where it may hold JSX."""
    language = _TSX if markup else _TYPESCRIPT
    calls, declared = _QUERIES[language]
    root = root_of(language, source)
    declarations = Declarations(declared, root)
    for kind, node in found_in(calls, root):
        level = javascript_level(node) if kind == "call" else made_error(node)
        if level is None:
            continue
        arguments = values_of(node.child_by_field_name("arguments"))
        draft = error_template(arguments, declarations) if level == "raise" else template(arguments, declarations)
        if draft and (call := finished(draft, level, package)):
            yield call


def javascript_level(call: Node) -> str | None:
    """Tell the level of a logging call; None for any other call."""
    function = call.child_by_field_name("function")
    if function is None:
        return None
    if function.type == "identifier":
        name = text_of(function)
        if not _FUNCTION.match(name) or _NO_LOGGER.search(name):
            return None
        named = re.search(r"(?i)(error|warn|info|trace|log)", name)
        return LEVELS[named[1].lower()] if named and "ebug" not in name else "debug"
    if function.type != "member_expression":
        return None
    owner = words_of(function.child_by_field_name("object"))
    level = _LEVELS.get(text_of(function.child_by_field_name("property")))
    if level is None or not owner or not _LOGGER.search(owner[-1]) or _NO_LOGGER.search(owner[-1]):
        return None
    return level


def made_error(made: Node) -> str | None:
    """Tell whether `new` makes an error: thrown, rejected or handed to a callback."""
    return "raise" if _ERROR.search(text_of(made.child_by_field_name("constructor"))) else None


def draft_of(node: Node, declarations: Declarations) -> Draft | None:
    """Put together a string expression; None for one without any literal text."""
    if node.type == "parenthesized_expression" and node.named_children:
        return draft_of(node.named_children[0], declarations)
    if node.type == "string":
        return Draft.of(string_of(node))
    if node.type == "template_string":
        return template_string(node, declarations)
    if sides := sides_of(node):
        return joined(sides, [draft_of(side, declarations) for side in sides], declarations)
    if node.type == "call_expression":
        return computed_string(node, declarations)
    return None


def computed_string(call: Node, declarations: Declarations) -> Draft | None:
    """Read `util.format(...)`, `"...".concat(...)`, as compilers write it, and functions that colour or translate."""
    function = call.child_by_field_name("function")
    arguments = values_of(call.child_by_field_name("arguments"))
    if function is None or not arguments:
        return None
    if function.type == "member_expression" and text_of(function.child_by_field_name("property")) == "concat":
        parts = [part for part in (function.child_by_field_name("object"), *arguments) if part]
        return joined(parts, [draft_of(part, declarations) for part in parts], declarations)
    if re.search(r"(^|\.)(format|sprintf|printf)$", text_of(function)):
        return template(arguments, declarations)
    return draft_of(arguments[0], declarations) if len(arguments) == 1 else None


def template_string(node: Node, declarations: Declarations) -> Draft:
    """Cut a template literal."""
    draft = Draft.of("")
    for part in node.named_children:
        if part.type != "template_substitution":
            draft.constant(piece_of(part))
        elif part.named_children:
            inside = draft_of(part.named_children[0], declarations)
            if inside:
                draft.extend(inside)
            else:
                draft.variable(declarations.of(part.named_children[0]))
    return draft


def template(arguments: Sequence[Node], declarations: Declarations) -> Draft | None:
    """Make the template of a call: what stands in a `%` format, then the other arguments, as `console` joins them.

    An object's keys are fields, before the message (pino, bunyan) or after it (winston). An error before the message
    is no part of it.
    """
    first = next((place for place, node in enumerate(arguments[:3]) if draft_of(node, declarations)), None)
    if first is None or any(node.type in STRINGS for node in arguments[:first]):
        return None
    objects = [node for node in arguments[:first] if node.type == "object"]
    draft = draft_of(arguments[first], declarations) or Draft.of("")
    rest = [node for node in arguments[first + 1 :] if is_logged(node)]
    wanted = sum(found["type"] != "%" for literal in draft.literals for found in PRINTF.finditer(literal))
    if wanted and rest:
        draft = filled(draft, [declarations.of(node) for node in rest[:wanted]], split_printf)
        rest = rest[wanted:]
    for node in (*rest, *objects):
        if node.type == "object":
            for key, variable in pairs_of(node, declarations):
                draft.field(key, variable)
        else:
            draft.constant("" if draft.literals[-1].endswith((" ", "\n")) else " ")
            if more := draft_of(node, declarations):
                draft.extend(more)
            else:
                draft.variable(declarations.of(node))
    return draft if any(draft.literals) else None


def is_logged(node: Node) -> bool:
    """Tell whether an argument is shown: callbacks are not, and a constant only says where a message belongs."""
    return node.type not in {"function_expression", "arrow_function"} and not re.fullmatch(r"[A-Z_]+", text_of(node))


def error_template(arguments: Sequence[Node], declarations: Declarations) -> Draft | None:
    """Make the template of an error's text: its first argument that holds literal text; a code may stand before it."""
    return next(
        (draft for node in arguments[:2] if (draft := draft_of(node, declarations)) and any(draft.literals)), None
    )


def pairs_of(node: Node, declarations: Declarations) -> Iterator[tuple[str, Variable]]:
    """Yield the keys of an object with what they hold; nested objects and methods are left out."""
    for pair in node.named_children:
        if pair.type == "shorthand_property_identifier":
            yield text_of(pair), declarations.of(pair)
        elif pair.type == "pair":
            key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
            if key is None or value is None or key.type == "computed_property_name" or value.type in _NO_FIELD:
                continue
            yield string_of(key) if key.type == "string" else text_of(key), declarations.of(value)
