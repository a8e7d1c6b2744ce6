"""What is alike in the syntax trees of Java, JavaScript, Rust and Go: how a value is reached, and its declared type.

The trees are tree-sitter's. Knows no logging library: the modules of the languages do.
"""

import re
from collections.abc import Iterator, Sequence

from tree_sitter import Language, Node, Parser, Query, QueryCursor

from training.corpus.logging_calls import CONVERSIONS, SELF, Draft, Variable, accessor_name, type_name

_IDENTIFIERS = frozenset({
    "identifier", "property_identifier", "field_identifier", "type_identifier", "package_identifier",
    "private_property_identifier", "shorthand_property_identifier", "this", "super", "self",
})  # fmt: skip
#: Per kind of node: the fields that hold the owner and the accessor.
_ACCESSES = {
    "member_expression": ("object", "property"),
    "selector_expression": ("operand", "field"),
    "field_expression": ("value", "field"),
    "field_access": ("object", "field"),
    "method_invocation": ("object", "name"),
    "scoped_identifier": ("path", "name"),
    "object_creation_expression": ("", "type"),
    "new_expression": ("", "constructor"),
}
_INDEXED = {
    "subscript_expression": ("object", "index"),
    "index_expression": ("operand", "index"),
    "array_access": ("array", "index"),
}
STRINGS = frozenset({
    "string", "string_literal", "interpreted_string_literal", "raw_string_literal", "template_string", "text_block",
})  # fmt: skip
#: What a value is never named after.
_OPAQUE = STRINGS | {
    "arrow_function", "function_expression", "lambda_expression", "func_literal", "closure_expression", "object",
    "array", "number", "decimal_integer_literal", "int_literal", "integer_literal", "composite_literal", "true",
    "false", "null", "nil", "comment", "line_comment", "block_comment", "predefined_type", "type_arguments",
}  # fmt: skip
#: Functions that show their argument: the argument names the value.
SHOWING = CONVERSIONS | {
    "inspect()", "red()", "green()", "blue()", "cyan()", "yellow()", "magenta()", "gray()", "grey()", "white()",
    "bold()", "dim()", "underline()", "italic()", "black()", "redBright()", "greenBright()", "cyanBright()",
    "yellowBright()", "format()", "quote()", "escape()", "Itoa()", "FormatInt()", "FormatUint()", "Sprint()",
    "Sprintf()", "Quote()", "int()", "int32()", "int64()", "uint64()", "float64()", "Number()", "parseInt()",
    "round()", "floor()", "ceil()", "abs()", "Marshal()", "relative()", "basename()", "normalize()", "resolve()",
    "requireNonNull()", "nullToEmpty()", "hash()", "redact()", "mask()", "truncate()", "Title()", "ToString()",
    "ToLower()", "ToUpper()", "EncodeToString()", "dump()", "requireNonNullElse()", "identityHashCode()", "Base()",
    "Clean()", "deepToString()", "printPath()", "toJSON()", "toJson()", "shortenPath()", "humanize()",
}  # fmt: skip
#: What is taken from them took that long.
_CLOCKS = frozenset({"now()", "Now()", "currentTimeMillis()", "nanoTime()", "getTime()"})
_FUNCTIONS = frozenset({
    "method_declaration", "constructor_declaration", "function_declaration", "func_literal", "lambda_expression",
    "method_definition", "arrow_function", "function_expression", "generator_function_declaration", "function_item",
    "closure_expression", "compact_constructor_declaration",
})  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}


def text_of(node: Node | None) -> str:
    """Decode the source text of a node; empty for none."""
    return node.text.decode("utf-8", "replace") if node is not None and node.text else ""


def root_of(language: Language, source: str) -> Node:
    """Parse a file."""
    return Parser(language).parse(source.encode("utf-8", "replace")).root_node


def found_in(query: Query, node: Node) -> Iterator[tuple[str, Node]]:
    """Yield (capture, node) in the order of the source."""
    captures = QueryCursor(query).captures(node)
    yield from sorted(
        ((name, one) for name, nodes in captures.items() for one in nodes), key=lambda pair: pair[1].start_byte
    )


def values_of(node: Node | None) -> list[Node]:
    """List the arguments between brackets, comments left out."""
    return [one for one in node.named_children if not one.type.endswith("comment")] if node is not None else []


def string_of(node: Node) -> str:
    """Resolve a constant string of any of the languages; what is computed inside it is left out."""
    return "".join(piece_of(part) for part in node.named_children)


def piece_of(part: Node) -> str:
    """Resolve one part of a string: text, or an escape."""
    return unescaped(text_of(part)) if part.type == "escape_sequence" else text_of(part)


def unescaped(escape: str) -> str:
    """Resolve one escape of a string."""
    if code := re.match(r"\\[ux]+\{?([0-9a-fA-F]+)", escape):
        return chr(min(int(code[1], 16), 0x10FFFF))
    if escape[1:2] in "\r\n":  # a broken line
        return ""
    return _ESCAPES.get(escape[1:2], escape[1:])


def words_of(node: Node | None) -> list[str]:  # noqa: PLR0911 - one case per form of expression
    """List the accessors that lead to a value, outermost owner first, a call marked by `()`; none for a literal."""
    if node is None or node.type in _OPAQUE:
        return []
    if node.type in _IDENTIFIERS:
        return [text_of(node)]
    if fields := _ACCESSES.get(node.type):
        owner, accessor = (node.child_by_field_name(field) if field else None for field in fields)
        words = [*words_of(owner), *words_of(accessor)]
        return called(words, node) if node.type == "method_invocation" else words
    if node.type == "call_expression":
        return called(words_of(node.child_by_field_name("function")), node)
    if fields := _INDEXED.get(node.type):
        owner, index = (node.child_by_field_name(field) for field in fields)
        if index is not None and index.type in STRINGS:
            return [string_of(index)]
        return words_of(owner)
    if node.type == "binary_expression" and text_of(node.child_by_field_name("operator")) == "-":
        left = words_of(node.child_by_field_name("left"))
        return ["elapsed"] if left and left[-1] in _CLOCKS else left or words_of(node.child_by_field_name("right"))
    telling = [node.child_by_field_name(field) for field in ("value", "operand", "argument", "consequence", "left")]
    return next((words for child in (*telling, *node.named_children) if (words := words_of(child))), [])


def called(words: list[str], call: Node) -> list[str]:
    """Mark the last word as a call; a function that shows its argument gives the argument's words."""
    if not words:
        return []
    last = f"{words[-1]}()"
    if last in SHOWING or last.startswith("format") or words == ["len"]:
        arguments = values_of(call.child_by_field_name("arguments"))
        shown = [inner for one in arguments if (inner := words_of(one))]
        if shown:
            return shown[0] if last != "len()" else [*shown[0], last]
    return [*words[:-1], last]


#: Declarations whose type is of each of several values.
_TYPES_OF = {"variadic_parameter_declaration": "list", "spread_parameter": "list"}


class Declarations:
    """The types that one file declares: a function's own before those of the functions around it, then the fields."""

    def __init__(self, query: Query, root: Node) -> None:
        self._query = query
        self._root = root
        self._declared: dict[int, dict[str, str]] = {}

    def variable(self, words: Sequence[str], at: Node) -> Variable:
        """Describe the value that `words` lead to, in the scope of the node `at`."""
        return Variable(name=accessor_name(words), type=self.type_of(words, at))

    def of(self, node: Node) -> Variable:
        """Describe an expression's value."""
        return self.variable(words_of(node), node)

    def type_of(self, words: Sequence[str], at: Node) -> str:  # noqa: PLR0911 - one case per form of expression
        """Tell the type of what `words` lead to; empty where the file doesn't say."""
        if not words:
            return ""
        last = words[-1]
        if last in {"size()", "length()", "len()", "Len()", "length", "count()", "hashCode()"} and len(words) > 1:
            return "int"
        if last in {"toString()", "to_string()", "String()", "getMessage()", "message", "getName()", "Error()"}:
            return "str" if len(words) > 1 else ""
        if re.match(r"(?:is|has)(?:[A-Z]|_)\w*\(\)$", last):
            return "bool"
        if len(words) == 1:
            return self._local(last, at)
        if len(words) == 2 and (words[0] in SELF or words[0] == self._receiver(at)):
            return self._fields().get(last, "")
        return ""

    def _local(self, name: str, at: Node) -> str:
        scope: Node | None = at
        while scope is not None:
            if scope.type in _FUNCTIONS and name in (declared := self._within(scope)):
                return declared[name]
            scope = scope.parent
        return self._fields().get(name, "")

    def _receiver(self, at: Node) -> str:
        """Give the name that a method of Go has for its object."""
        scope: Node | None = at
        while scope is not None and scope.type != "method_declaration":
            scope = scope.parent
        receiver = scope.child_by_field_name("receiver") if scope is not None else None
        return text_of(receiver.named_children[0].child_by_field_name("name")) if receiver is not None else ""

    def _fields(self) -> dict[str, str]:
        return self._within(self._root, captured="field")

    def _within(self, scope: Node, captured: str = "local") -> dict[str, str]:
        known = self._declared.get(scope.id)
        if known is None:
            known = self._declared[scope.id] = {}
            for node in QueryCursor(self._query).captures(scope).get(captured, []):
                for name, kind in declared_by(node):
                    # two types of one name: which is meant can't be told without the language's own rules
                    known[name] = kind if known.get(name, kind) == kind else ""
        return known


def declared_by(node: Node) -> Iterator[tuple[str, str]]:
    """Yield (name, type) of one declaration, whatever the language calls its parts."""
    if node.type == "catch_clause":  # JavaScript's, which has no types
        yield text_of(node.child_by_field_name("parameter")), "error"
        return
    declared = node.child_by_field_name("type") or next((c for c in node.children if c.type == "catch_type"), None)
    names = [name for field in ("name", "pattern") for name in node.children_by_field_name(field)]
    parts = node.children_by_field_name("declarator")
    names += [name for part in parts if (name := part.child_by_field_name("name"))]
    if declared is not None and text_of(declared) != "var":
        kind = _TYPES_OF.get(node.type) or type_name(text_of(declared))
        if node.type == "catch_formal_parameter" and "|" in text_of(declared):
            kind = "error"
    else:
        made = next((value for part in (*parts, node) if (value := part.child_by_field_name("value"))), None)
        kind = type_name(made_by(made)) if made is not None else ""
    for name in names:
        yield text_of(name).removeprefix("mut ").removeprefix("..."), kind


def made_by(value: Node) -> str:
    """Give the type that an initial value has by its form: of `new Socket()`, of a constant."""
    if value.type in {"new_expression", "object_creation_expression"}:
        return text_of(value.child_by_field_name("constructor") or value.child_by_field_name("type"))
    if value.type in {"array", "array_expression"}:
        return "list"
    if value.type in STRINGS:
        return "str"
    return "bool" if value.type in {"true", "false", "boolean_literal"} else ""


def sides_of(node: Node) -> list[Node]:
    """Give the two operands of a `+`; none of anything else."""
    if node.type != "binary_expression" or text_of(node.child_by_field_name("operator")) != "+":
        return []
    return [side for field in ("left", "right") if (side := node.child_by_field_name(field))]


def joined(nodes: Sequence[Node], drafts: Sequence[Draft | None], declarations: Declarations) -> Draft | None:
    """Chain expressions, of which those with a draft hold literal text; None where none does."""
    if not any(drafts):
        return None
    whole = Draft.of("")
    for node, draft in zip(nodes, drafts, strict=True):
        if draft:
            whole.extend(draft)
        else:
            whole.variable(declarations.of(node))
    return whole
