"""Logging calls of Python source code, by `ast`."""

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

from training.corpus.logging_calls import (
    BRACES,
    LEVELS,
    PRINTF,
    Draft,
    LoggingCall,
    Package,
    Variable,
    accessor_name,
    finished,
    split_braces,
    split_printf,
)

#: Functions that show their argument: the argument names the value.
_SHOWING = frozenset({"str", "repr", "int", "float", "list", "sorted", "set", "tuple", "dict", "round", "ascii", "hex"})
#: What a call gives, by its form.
_MADE = {
    "len": "int", "int": "int", "round": "float", "float": "float", "str": "str", "list": "list", "sorted": "list",
    "dict": "map", "join()": "str", "time()": "float",
}  # fmt: skip


def python_words(node: ast.expr | None) -> list[str]:  # noqa: C901, PLR0911 - one case per form of expression
    """List the accessors that lead to a value, outermost owner first, a call marked by `()`; none for a literal."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(attr=attribute, value=owner):
            return [*python_words(owner), attribute]
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return [key]
        case ast.Call(func=ast.Attribute(attr="get" | "pop"), args=[ast.Constant(value=str(key)), *_]):
            return [key]
        case ast.Call(func=ast.Name(id="len"), args=[first, *_]):
            return [*(python_words(first) or ["_"]), "len()"]
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _SHOWING and python_words(first):
            return python_words(first)
        case ast.Call(func=ast.Attribute(attr="join"), args=[first, *_]) if python_words(first):
            return [f"{accessor_name(python_words(first))}_list"]
        case ast.Call(func=function):
            *owners, last = python_words(function) or [""]
            return [*owners, f"{last}()"] if last else []
        case ast.BinOp(left=left):
            return python_words(left)
        case ast.Subscript(value=owner) | ast.Starred(value=owner) | ast.Await(value=owner):
            return python_words(owner)
        case _:
            return []


def python_variable(node: ast.expr) -> Variable:
    """Describe an expression's value; only a form such as `len(x)` tells its type."""
    words = python_words(node)
    if isinstance(node, ast.Call) and words:
        kind = _MADE.get(node.func.id, "") if isinstance(node.func, ast.Name) else _MADE.get(words[-1], "")
        return Variable(name=accessor_name(words), type=kind)
    return Variable(name=accessor_name(words))


def python_draft(node: ast.expr) -> Draft | None:  # noqa: C901, PLR0911, PLR0912 - one case per form of string
    """Put together the template of a string expression; None for one without any literal text."""
    match node:
        case ast.Constant(value=str(text)):
            return Draft.of(text)
        case ast.JoinedStr(values=values):
            draft = Draft.of("")
            for value in values:
                if isinstance(value, ast.Constant):
                    draft.constant(str(value.value))
                elif isinstance(value, ast.FormattedValue):
                    conversion = ""
                    if isinstance(value.format_spec, ast.JoinedStr) and value.format_spec.values:
                        first = value.format_spec.values[0]
                        conversion = str(first.value) if isinstance(first, ast.Constant) else ""
                    conversion = "r" if value.conversion == ord("r") else conversion
                    draft.variable(replace(python_variable(value.value), conversion=conversion))
            return draft
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str(text)), right=right):
            values = right.elts if isinstance(right, ast.Tuple) else [right]
            return split_printf(text, [python_variable(value) for value in values])
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            sides = [(side, python_draft(side)) for side in (left, right)]
            if not any(part for _, part in sides):
                return None
            draft = Draft.of("")
            for side, part in sides:
                if part:
                    draft.extend(part)
                else:
                    draft.variable(python_variable(side))
            return draft
        case ast.Call(
            func=ast.Attribute(attr="format", value=ast.Constant(value=str(text))), args=args, keywords=keywords
        ):
            named = {keyword.arg: python_variable(keyword.value) for keyword in keywords if keyword.arg}
            return split_braces(text, [python_variable(arg) for arg in args], named)
        case ast.Call(func=ast.Name(id="_" | "gettext" | "ugettext"), args=[first, *_]):
            return python_draft(first)
        case _:
            return None


def python_level(node: ast.Call) -> str | None:
    """Tell the level of a logging call; None for any other call."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in LEVELS:
        return None
    owner = node.func.value
    while isinstance(owner, ast.Call):
        owner = owner.func
    name = (python_words(owner) or [""])[-1].lower()
    return LEVELS[node.func.attr] if ("log" in name and "catalog" not in name) or name == "msg" else None


def python_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the logging calls, and the texts of raised exceptions, of one Python module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes are none of our business
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            draft, level = python_draft(node.exc.args[0]), "raise"
        elif isinstance(node, ast.Call) and (found := python_level(node)):
            level = found
            args = node.args[1:] if python_log_has_level(node) else node.args
            if not args:
                continue
            draft = python_draft(args[0])
            if draft and isinstance(args[0], ast.Constant):
                draft = fill(draft.literals[0], [python_variable(arg) for arg in args[1:]], node.keywords)
        else:
            continue
        if draft and (call := finished(draft, level, package)):
            yield call


def python_log_has_level(node: ast.Call) -> bool:
    """Tell whether the first argument is the level, as in `logger.log(DEBUG, "...")`."""
    named_log = isinstance(node.func, ast.Attribute) and node.func.attr == "log"
    return named_log and bool(node.args) and python_draft(node.args[0]) is None


def fill(text: str, values: Sequence[Variable], keywords: Sequence[ast.keyword]) -> Draft:
    """Cut a logged constant by what follows it: `%` arguments, `{}` arguments, or structlog's keywords."""
    if values and PRINTF.search(text):
        return split_printf(text, values)
    named = {word.arg: replace(python_variable(word.value), name=word.arg) for word in keywords if word.arg}
    if (values or keywords) and BRACES.search(text):
        return split_braces(text, values, named)
    draft = Draft.of(text)
    for key, variable in named.items():
        if key not in {"exc_info", "stack_info", "extra", "stacklevel"} and text:
            draft.field(key, variable)
    return draft
