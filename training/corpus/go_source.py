"""Logging calls of Go source code: `log`, logrus, zap, zerolog, klog, slog, go-kit, hclog, and errors made of text."""

import re
from collections.abc import Iterator, Sequence

import tree_sitter_go
from tree_sitter import Language, Node, Query

from training.corpus.logging_calls import (
    LEVELS,
    PRINTF,
    Draft,
    LoggingCall,
    Package,
    Variable,
    accessor_name,
    filled,
    finished,
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
    values_of,
    words_of,
)

_GO = Language(tree_sitter_go.language())
_CALLS = Query(
    _GO, "(call_expression function: (selector_expression)) @call (call_expression function: (identifier)) @call"
)
_DECLARED = Query(
    _GO,
    """
    (parameter_declaration) @local (var_spec) @local (variadic_parameter_declaration) @local
    (field_declaration) @field (source_file (var_declaration (var_spec) @field))
    """,
)

_LOGGER = re.compile(r"(?i)log(ger|ging|rus)?(\(\))?$|^(lg|lgr|zap|sugar|entry|level|log\w*)(\(\))?$")
_NO_LOGGER = re.compile(r"(?i)((cata|dia|b|ana|prolo|change|back|w|raft|bin|redo)log(\(\))?|^login|^logs|^logical)")
_METHOD = re.compile(
    r"^D?(Trace|Debug|Info|Notice|Warn|Warning|Error|Critical|Crit|Fatal|Panic|Print|Log)"
    r"(f|ln|w|S|SDepth|Depth|Context|Ctx|x|Contextf|fDepth|lnDepth)?$"
)
#: Methods that log whatever has them.
_FORMATTED = re.compile(r"^(Trace|Debug|Info|Notice|Warn|Warning|Error|Fatal)f$")
_TESTS = frozenset({"t", "b", "tb", "f", "fmt", "errors", "status", "xerrors", "field", "codes"})
_ERRORS = re.compile(
    r"^(fmt\.Errorf|x?errors\.(New|Errorf|Wrapf?|WithMessagef?)|status\.Errorf?|panic|\w+err(or)?s?\.(New|Errorf|Wrapf?))$"
)
_FORMAT = re.compile(r"^(fmt\.(Sprintf?|Errorf)|errors\.Errorf)$")
#: What makes a field of a structured call: `zap.String("key", value)`, zerolog's `.Str("key", value)`.
_FIELD = re.compile(
    r"^(With\w*|Any|Array|Binary|Bool|Bytes|ByteString|Dur|Duration|Err|AnErr|Errs|Error|Float(32|64)|Group|Hex|IPAddr|"
    r"IPPrefix|U?[iI]nt(8|16|32|64)?s?|Interface|MACAddr|NamedError|Object|RawJSON|Reflect|Strs?|Stringp?|Stringer|"
    r"Strings|Time|TimeDiff|Type|Uintptr|Key|Tag\w*)$"
)
#: What names its field by its own name: `tag.WorkflowID(id)`.
_TAG = re.compile(r"tags?\.[A-Z]\w*\(")
_FIELD_TYPES = {
    "Str": "str", "String": "str", "ByteString": "str", "Hex": "str", "Bool": "bool", "Dur": "Duration", "Strs": "list",
    "Strings": "list", "Array": "list", "Duration": "Duration", "Time": "Time", "Float64": "float", "Float32": "float",
    "IPAddr": "IP", "MACAddr": "HardwareAddr", "NamedError": "error", "AnErr": "error", "Err": "error",
    "Error": "error", "WithError": "error", "Int": "int", "Int32": "int", "Int64": "int", "Uint": "int",
    "Uint32": "int", "Uint64": "int",
}  # fmt: skip
_MESSAGE_KEYS = frozenset({"msg", "message"})


def go_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the logging calls, and the texts of errors made, of one Go file."""
    root = root_of(_GO, source)
    declarations = Declarations(_DECLARED, root)
    for _, call in found_in(_CALLS, root):
        level = go_level(call)
        if level is None:
            continue
        arguments = values_of(call.child_by_field_name("arguments"))
        draft = template(arguments, declarations, method_of(call))
        if draft and level != "raise":
            for link in reversed([*links_of(call)]):
                for key, variable in link_fields(link, declarations):
                    draft.field(key, variable)
        if draft and (made := finished(draft, level, package)):
            yield made


def method_of(call: Node) -> str:
    """Give the last word of what is called."""
    function = call.child_by_field_name("function")
    return text_of(function.child_by_field_name("field") or function) if function is not None else ""


def links_of(call: Node) -> Iterator[Node]:
    """Yield the calls that a call is chained to, the nearest first: of `log.With("a", b).Info("c")`, the `With`."""
    link: Node | None = call
    while link is not None and link.type == "call_expression":
        function = link.child_by_field_name("function")
        link = function.child_by_field_name("operand") if function is not None else None
        if link is not None and link.type == "call_expression":
            yield link


def go_level(call: Node) -> str | None:
    """Tell the level of a logging call, `raise` of one that makes an error of a text; None for any other call."""
    function = call.child_by_field_name("function")
    if _ERRORS.match(text_of(function)):
        return "raise"
    owner = words_of(function.child_by_field_name("operand")) if function is not None else []
    method = method_of(call)
    if not owner:
        return None
    logs = any(_LOGGER.search(word) and not _NO_LOGGER.search(word) for word in owner) or owner in (["l"], ["V()"])
    chained = next(
        (LEVELS[name.lower()] for link in links_of(call) if (name := method_of(link)).lower() in LEVELS), None
    )
    if method in {"Msg", "Msgf"}:  # zerolog
        return chained
    found = _METHOD.match(method)
    if not found or not (logs or (_FORMATTED.match(method) and owner[0] not in _TESTS)):
        return None
    if method == "Log":  # go-kit
        return chained or "info"
    return {"print": "info"}.get(found[1].lower()) or LEVELS[found[1].lower()]


def draft_of(node: Node, declarations: Declarations) -> Draft | None:
    """Put together a string expression; None for one without any literal text."""
    if node.type in STRINGS:
        return Draft.of(string_of(node))
    if node.type == "parenthesized_expression" and node.named_children:
        return draft_of(node.named_children[0], declarations)
    if sides := sides_of(node):
        return joined(sides, [draft_of(side, declarations) for side in sides], declarations)
    if node.type == "call_expression" and _FORMAT.match(text_of(node.child_by_field_name("function"))):
        return template(values_of(node.child_by_field_name("arguments")), declarations, "Print")
    return None


def template(arguments: Sequence[Node], declarations: Declarations, method: str) -> Draft | None:
    """Make the template of a call of `method`: a format, a message with fields, or arguments to join."""
    drafts = [draft_of(node, declarations) for node in arguments]
    place = next((place for place, draft in enumerate(drafts[:3]) if draft), None)
    if place is None:
        return None
    draft, rest = drafts[place] or Draft.of(""), arguments[place + 1 :]
    if arguments[-1].type == "variadic_argument":  # fields that the code around put together
        rest, drafts = rest[:-1], drafts[:-1]
    if rest and any(PRINTF.search(literal) for literal in draft.literals):
        return filled(draft, [declarations.of(node) for node in rest], split_printf)
    if "".join(draft.literals) in _MESSAGE_KEYS and rest and (message := drafts[place + 1]):
        draft, rest = message, arguments[place + 2 :]
    if method.startswith("Print") or method.endswith("ln") or not is_structured(rest):
        for node, more in zip(rest, drafts[len(drafts) - len(rest) :], strict=True):
            draft.constant(" " if method.endswith("ln") else "")
            if more:
                draft.extend(more)
            else:
                draft.variable(declarations.of(node))
    else:
        for key, variable in fields_of(rest, declarations):
            draft.field(key, variable)
    return draft if any(draft.literals) else None


def is_field(node: Node) -> bool:
    """Tell whether an argument is a whole field, such as `zap.String("key", value)`."""
    return node.type == "call_expression" and bool(_FIELD.match(method_of(node)) or _TAG.match(text_of(node)))


def is_structured(nodes: Sequence[Node]) -> bool:
    """Tell whether arguments are fields, or keys and values in turn."""
    loose = [node for node in nodes if not is_field(node)]
    return len(loose) % 2 == 0 and all(
        node.type in STRINGS or node.type == "selector_expression" for node in loose[::2]
    )


def key_of(node: Node) -> str:
    """Give a field's key: a string, or the name of a constant."""
    return string_of(node) if node.type in STRINGS else accessor_name(words_of(node)[-1:])


def fields_of(nodes: Sequence[Node], declarations: Declarations) -> Iterator[tuple[str, Variable]]:
    """Yield keys and what they hold, of whole fields and of keys and values in turn."""
    waiting = iter(nodes)
    for node in waiting:
        if is_field(node):
            yield from link_fields(node, declarations)
        elif value := next(waiting, None):
            yield key_of(node), declarations.of(value)


def link_fields(link: Node, declarations: Declarations) -> Iterator[tuple[str, Variable]]:
    """Yield the fields of one call that makes some: zap's, zerolog's, or `With` of a logger."""
    method, arguments = method_of(link), values_of(link.child_by_field_name("arguments"))
    kind = _FIELD_TYPES.get(method, "")
    if not is_field(link) or not arguments:
        return
    if _TAG.match(text_of(link)) and arguments[0].type not in STRINGS:
        yield accessor_name([method]), declarations.of(arguments[0])
    elif kind == "error" and len(arguments) == 1:
        yield "error", Variable(type=kind)
    elif arguments[0].type == "composite_literal":  # `logrus.Fields{"key": value}`
        for pair in values_of(arguments[0].child_by_field_name("body")):
            if len(pair.named_children) == 2:
                key, value = (side.named_children[0] for side in pair.named_children if side.named_children)
                yield key_of(key), declarations.of(value)
    elif is_field(arguments[0]):
        yield from fields_of(arguments, declarations)
    elif len(arguments) > 1 and (
        arguments[0].type in STRINGS or arguments[0].type in {"selector_expression", "identifier"}
    ):
        for place in range(0, len(arguments) - 1, 2):
            told = declarations.of(arguments[place + 1])
            yield key_of(arguments[place]), Variable(type=kind or told.type)
