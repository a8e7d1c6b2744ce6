r"""Logging calls of Rust source code: the macros of `log`, `tracing` and `slog`, printing, and errors made of text.

A macro's arguments are tokens to the grammar, not expressions: they are cut at commas here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tree_sitter_rust
from tree_sitter import Language, Node, Query

from training.corpus.logging_calls import LEVELS, Draft, LoggingCall, Package, accessor_name, finished, split_braces
from training.corpus.syntax import SHOWING, Declarations, found_in, root_of, text_of, unescaped

_RUST = Language(tree_sitter_rust.language())
_CALLS = Query(_RUST, "(macro_invocation) @macro (attribute_item) @attribute")
_DECLARED = Query(
    _RUST,
    """
    (parameter) @local (let_declaration) @local (const_item) @local
    (field_declaration) @field (const_item) @field (static_item) @field
    """,
)

_LEVELS = LEVELS | {"println": "info", "eprintln": "error", "event": "info"}
_RAISES = frozenset({"panic", "bail", "anyhow", "eyre", "ensure", "format_err", "unimplemented"})
#: Macros before whose message a plain value is a field: those of `tracing`.
_FIELDS_BEFORE = frozenset({"trace", "debug", "info", "warn", "error", "event"})
#: What stands before a message for another reason: slog's logger, the level, what a call belongs to.
_NO_FIELD = re.compile(r"(?i)log|level|^target|^parent|^name$")
_LEVEL_WORD = re.compile(r"(?i)^(trace|debug|info|warn|error)$")
_STRINGS = frozenset({"string_literal", "raw_string_literal"})
#: Attributes that give an error its text: of thiserror and of snafu.
_ERROR_ATTRIBUTES = frozenset({"error", "snafu", "display"})

Tokens = Sequence[Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A macro's argument."""

    #: Empty for a plain value.
    key: str
    value: Tokens
    #: Logged beside the message, not inside it.
    is_field: bool


def rust_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the logging calls, and the texts of errors, of one Rust file."""
    root = root_of(_RUST, source)
    declarations = Declarations(_DECLARED, root)
    for kind, node in found_in(_CALLS, root):
        arguments = arguments_of(node)
        level = rust_level(node, arguments) if kind == "macro" else attribute_level(node)
        draft = template(arguments, declarations, node) if level else None
        if draft and level and (call := finished(draft, level, package)):
            yield call


def arguments_of(node: Node) -> list[list[Node]]:
    """Cut a macro's or an attribute's tokens into arguments."""
    holder = node.named_children[0] if node.type == "attribute_item" and node.named_children else node
    tree = next((child for child in holder.children if child.type == "token_tree"), None)
    arguments = cut(tree) if tree is not None else []
    if arguments and [text_of(token) for token in arguments[0][:1]] == ["display"]:  # snafu's `display("...")`
        return cut(arguments[0][1]) if len(arguments[0]) == 2 else []
    return arguments


def cut(tree: Node) -> list[list[Node]]:
    """Cut what stands between brackets at commas, and at the semicolon that slog sets before its fields."""
    arguments: list[list[Node]] = [[]]
    for token in tree.children[1:-1]:
        if token.type in {",", ";"}:
            arguments.append([])
        elif not token.type.endswith("comment"):
            arguments[-1].append(token)
    return [tokens for tokens in arguments if tokens]


def attribute_level(attribute: Node) -> str | None:
    """Tell whether an attribute gives an error its text."""
    named = attribute.named_children[0].named_children if attribute.named_children else []
    return "raise" if named and text_of(named[0]) in _ERROR_ATTRIBUTES else None


def rust_level(macro: Node, arguments: Sequence[Tokens]) -> str | None:
    """Tell the level of a logging macro, `raise` of one that fails with a text; None for any other macro."""
    name = text_of(macro.child_by_field_name("macro")).split("::")[-1]
    if name in _RAISES:
        return "raise"
    if name in {"log", "event"} and arguments:
        words = [found[1].lower() for token in arguments[0] if (found := _LEVEL_WORD.match(text_of(token)))]
        return words[-1] if words else None
    return _LEVELS.get(name)


def constant_of(literal: Node) -> str:
    """Resolve a string; a broken line goes on without its indentation."""
    text = text_of(literal)
    if literal.type == "raw_string_literal":
        return re.sub(r'^[brc]*#*"|"#*$', "", text)
    text = re.sub(r"\\\r?\n\s*", "", text[text.index('"') + 1 : -1])
    return re.sub(r"\\(?:x[0-9a-fA-F]{2}|u\{\w+\}|.)", lambda found: unescaped(found[0]), text, flags=re.DOTALL)


def words_of(tokens: Tokens) -> list[str]:
    """List the accessors that lead to a value, a call marked by `()`; none for a literal."""
    words: list[str] = []
    joint = True
    for token in tokens:
        if token.type == "token_tree":
            if words and text_of(token).startswith("(") and not words[-1].endswith("()"):
                words[-1] += "()"
                inner = next((inner for part in cut(token) if (inner := words_of(part))), None)
                words = inner if inner and words[-1] in SHOWING else words
            elif not words:
                return words_of(token.children[1:-1])
        elif token.type in {"identifier", "self", "crate"} and joint:
            words.append(text_of(token))
            joint = False
        elif token.type in {".", "::"}:
            joint = True
        elif words and token.type not in {"?", "<", ">"}:
            break  # `a + b`, `a as u64`: the first operand names the value
    return words


def argument(tokens: Tokens) -> Argument:
    """Tell a field or a named argument from a plain one."""
    place = next((place for place, token in enumerate(tokens) if token.type in {"=", "=>"}), None)
    if place is not None:
        key = "".join(text_of(token) for token in tokens[:place]).strip('"').removeprefix("r#")
        return Argument(key=key, value=tokens[place + 1 :], is_field=tokens[place].type == "=>")
    if tokens[0].type in {"%", "?"}:
        return Argument(key=accessor_name(words_of(tokens)), value=tokens, is_field=True)
    return Argument(key="", value=tokens, is_field=False)


def template(arguments: Sequence[Tokens], declarations: Declarations, at: Node) -> Draft | None:
    """Make the template of a macro's arguments: fields and a logger before the format, its values and fields after."""
    first = next((place for place, one in enumerate(arguments) if len(one) == 1 and one[0].type in _STRINGS), None)
    if first is None:
        return None
    before, after = ([argument(one) for one in part] for part in (arguments[:first], arguments[first + 1 :]))
    text = constant_of(arguments[first][0])
    named = {name: declarations.variable([name], at) for name in re.findall(r"\{([a-z_]\w*)[:}]", text)}
    named |= {one.key: declarations.variable(words_of(one.value), at) for one in after if one.key}
    values = [declarations.variable(words_of(one.value), at) for one in after if not one.key]
    draft = split_braces(text, values, named)
    logs = text_of(at.child_by_field_name("macro")).split("::")[-1] in _FIELDS_BEFORE
    for one in [*before, *(one for one in after if one.is_field)]:
        words = words_of(one.value)
        if key := one.key or (accessor_name(words) if logs and not _NO_FIELD.search("".join(words)) else ""):
            draft.field(key, declarations.variable(words, at))
    return draft
