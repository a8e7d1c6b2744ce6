"""Logging calls of Python source code, by `ast`."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

from training.corpus.logging_calls import (
    BRACES,
    LEVELS,
    PRINTF,
    Draft,
    LoggingCall,
    Package,
    finished,
    split_braces,
    split_printf,
)


def python_name(node: ast.expr) -> str:  # noqa: C901, PLR0911 - one case per form of expression
    """Give the name that tells most about an expression's value."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr="name" | "id" | "value" as attribute, value=owner):
            return f"{python_name(owner)}_{attribute}"
        case ast.Attribute(attr=attribute):
            return attribute
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return key
        case ast.Subscript(value=owner) | ast.Starred(value=owner) | ast.Await(value=owner):
            return python_name(owner)
        case ast.Call(func=ast.Name(id="len")):
            return "count"
        case ast.Call(func=ast.Name(id="str" | "repr" | "int" | "float" | "list" | "sorted"), args=[first, *_]):
            return python_name(first)
        case ast.Call(func=ast.Attribute(attr="join"), args=[first, *_]):
            return f"{python_name(first)}_list"
        case ast.Call(func=ast.Attribute(attr="get" | "pop"), args=[ast.Constant(value=str(key)), *_]):
            return key
        case ast.Call(func=function):
            return re.sub(r"^(get|format|to|as)_", "", python_name(function))
        case ast.BinOp(left=left):
            return python_name(left)
        case _:
            return ""


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
                    draft.variable(python_name(value.value), "r" if value.conversion == ord("r") else conversion)
            return draft
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str(text)), right=right):
            values = right.elts if isinstance(right, ast.Tuple) else [right]
            return split_printf(text, [python_name(value) for value in values])
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            sides = [(side, python_draft(side)) for side in (left, right)]
            if not any(part for _, part in sides):
                return None
            draft = Draft.of("")
            for side, part in sides:
                if part:
                    draft.extend(part)
                else:
                    draft.variable(python_name(side))
            return draft
        case ast.Call(
            func=ast.Attribute(attr="format", value=ast.Constant(value=str(text))), args=args, keywords=keywords
        ):
            named = {keyword.arg: python_name(keyword.value) for keyword in keywords if keyword.arg}
            return split_braces(text, [python_name(arg) for arg in args], named)
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
    name = python_name(owner).lower()
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
                draft = fill(draft.literals[0], [python_name(arg) for arg in args[1:]], node.keywords)
        else:
            continue
        if draft and (call := finished(draft, level, package)):
            yield call


def python_log_has_level(node: ast.Call) -> bool:
    """Tell whether the first argument is the level, as in `logger.log(DEBUG, "...")`."""
    named_log = isinstance(node.func, ast.Attribute) and node.func.attr == "log"
    return named_log and bool(node.args) and python_draft(node.args[0]) is None


def fill(text: str, names: Sequence[str], keywords: Sequence[ast.keyword]) -> Draft:
    """Cut a logged constant by what follows it: `%` arguments, `{}` arguments, or structlog's keywords."""
    if names and PRINTF.search(text):
        return split_printf(text, names)
    if (names or keywords) and BRACES.search(text):
        return split_braces(text, names, {word.arg: word.arg for word in keywords if word.arg})
    draft = Draft.of(text)
    for word in keywords:
        if word.arg and word.arg not in {"exc_info", "stack_info", "extra", "stacklevel"} and text:
            draft.constant(f" {word.arg}=")
            draft.variable(word.arg)
    return draft
