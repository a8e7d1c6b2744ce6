"""Logging calls of Java source code and resource files."""

import re
from collections.abc import Callable, Iterator, Sequence

import tree_sitter_java
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
    split_braces,
    split_printf,
)
from training.corpus.syntax import (
    STRINGS,
    Declarations,
    found_in,
    joined,
    root_of,
    sides_of,
    string_of,
    text_of,
    unescaped,
    values_of,
    words_of,
)

_JAVA = Language(tree_sitter_java.language())
_CALLS = Query(
    _JAVA,
    """
    ((method_invocation name: (identifier) @name) @call
      (#match? @name "(?i)^(at)?(trace|debug|info|warn|error|fatal|severe|fine|config|log)"))
    ((object_creation_expression type: (_) @type) @made (#match? @type "(Exception|Error)(<.*>)?$"))
    ((annotation name: (identifier) @annotation) @message (#match? @annotation "^(LogMessage|Message)$"))
    """,
)
_DECLARED = Query(
    _JAVA,
    """
    (formal_parameter) @local (spread_parameter) @local (local_variable_declaration) @local
    (catch_formal_parameter) @local (enhanced_for_statement) @local (resource) @local
    (field_declaration) @field (constant_declaration) @field
    (record_declaration (formal_parameters (formal_parameter) @field))
    """,
)
_LOGGER = re.compile(r"(?i)^(\w*log(ger)?|\w*_log(ger)?)(\(\))?$")
_NO_LOGGER = re.compile(r"(?i)(cata|dia|b|ana|prolo)log(\(\))?$")
_LEVEL = re.compile(r"(?i)^(?:at)?(trace|debug|info|warning|warn|error|fatal|severe|finest|finer|fine|config|log)")


def java_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the logging calls, the texts of exceptions made, and the annotated messages, of one Java file."""
    root = root_of(_JAVA, source)
    declarations = Declarations(_DECLARED, root)
    for kind, node in found_in(_CALLS, root):
        if kind not in _LEVELS_OF:
            continue
        level = _LEVELS_OF[kind](node)
        if kind == "message":
            draft = annotated(node, declarations)
        else:
            draft = template(values_of(node.child_by_field_name("arguments")), declarations) if level else None
        if draft and level and (call := finished(draft, level, package)):
            yield call


def java_level(call: Node) -> str | None:
    """Tell the level of a logging call; None for any other call."""
    found = _LEVEL.match(text_of(call.child_by_field_name("name")))
    owner = words_of(call.child_by_field_name("object"))
    if not found or not any(_LOGGER.search(word) and not _NO_LOGGER.search(word) for word in owner[-2:]):
        return None
    fluent = _LEVEL.match(owner[-1]) if owner[-1].startswith("at") else None  # `logger.atInfo().log("...")`
    return LEVELS[(fluent or found)[1].lower()]


def draft_of(node: Node, declarations: Declarations) -> Draft | None:  # noqa: PLR0911 - one case per form of string
    """Put together a string expression; None for one without any literal text."""
    if node.type == "string_literal":
        return Draft.of(string_of(node).strip("\n") if text_of(node).startswith('"""') else string_of(node))
    if node.type == "character_literal":
        return Draft.of(unescaped(text_of(node)[1:-1]) if "\\" in text_of(node) else text_of(node)[1:-1])
    if node.type == "parenthesized_expression" and node.named_children:
        return draft_of(node.named_children[0], declarations)
    if node.type == "lambda_expression":
        body = node.child_by_field_name("body")
        return draft_of(body, declarations) if body is not None else None
    if sides := sides_of(node):
        return joined(sides, [draft_of(side, declarations) for side in sides], declarations)
    if node.type == "method_invocation":
        return formatted(node, declarations)
    return None


def formatted(call: Node, declarations: Declarations) -> Draft | None:
    """Read `String.format("...", value)`, which others call by the same name, and `"...".formatted(value)`."""
    owner, name = call.child_by_field_name("object"), text_of(call.child_by_field_name("name"))
    arguments = values_of(call.child_by_field_name("arguments"))
    if owner is not None and owner.type == "string_literal" and name in {"formatted", "concat", "trim", "intern"}:
        return template([owner, *arguments], declarations)
    if name in {"format", "lenientFormat"} and arguments:
        return template(arguments, declarations)
    return None


def template(arguments: Sequence[Node], declarations: Declarations) -> Draft | None:
    """Make the template of a call's arguments; the first that holds literal text is the format."""
    for place, argument in enumerate(arguments[:3]):
        draft = draft_of(argument, declarations)
        if draft is None:
            continue
        values = [declarations.of(node) for one in arguments[place + 1 :] for node in spread(one)]
        text = "".join(draft.literals)
        if values and "{" in text:
            return filled(draft, values, split_braces)
        return filled(draft, values, split_printf) if values and PRINTF.search(text) else draft
    return None


def spread(argument: Node) -> list[Node]:
    """Give the values of `new Object[] {...}`, which stands for as many arguments; else the argument itself."""
    if argument.type == "array_creation_expression" and (values := argument.child_by_field_name("value")) is not None:
        return values_of(values)
    return [argument]


def annotated(annotation: Node, declarations: Declarations) -> Draft | None:
    """Read `@Message(value = "... %s")` above a method: the parameters fill the message."""
    method = annotation.parent.parent if annotation.parent is not None else None
    parameters = method.child_by_field_name("parameters") if method is not None else None
    texts = [
        node
        for part in values_of(annotation.child_by_field_name("arguments"))
        for node in ([part] if part.type != "element_value_pair" else value_of(part))
        if node.type in STRINGS
    ]
    if not texts or parameters is None:
        return None
    names = [declarations.variable([text_of(one.child_by_field_name("name"))], one) for one in values_of(parameters)]
    text = string_of(texts[0])
    return split_braces(text, names) if "{" in text else split_printf(text, names)


def annotated_level(annotation: Node) -> str:
    """Tell the level that stands in any annotation of the method; `raise` where the method makes an exception."""
    method = annotation.parent.parent if annotation.parent is not None else None
    if method is not None and re.search(r"(Exception|Error)$", text_of(method.child_by_field_name("type"))):
        return "raise"
    found = re.search(r"level\s*=\s*[\w.]*?(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)", text_of(annotation.parent))
    return LEVELS[found[1].lower()] if found else "info"


#: What tells the level, by what the query found.
_LEVELS_OF: dict[str, Callable[[Node], str | None]] = {
    "call": java_level,
    "made": lambda _: "raise",
    "message": annotated_level,
}


def value_of(pair: Node) -> list[Node]:
    """Give the value of an annotation's pair, where it is the message."""
    value = pair.child_by_field_name("value")
    return [value] if value is not None and text_of(pair.child_by_field_name("key")) == "value" else []


def property_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the messages of a `LocalStrings.properties` file, whose variables have no names."""
    joined = re.sub(r"\\\r?\n\s*", "", source)
    for line in joined.splitlines():
        key, mark, text = line.partition("=")
        if mark and not key.lstrip().startswith(("#", "!")):
            text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace("''", "'")
            if call := finished(split_braces(text.strip(), list[Variable]()), "info", package):
                yield call
