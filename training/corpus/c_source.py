"""Logging calls of C source code.

C has no logging interface of its own: a call is found by the words of its name (`log_warnx`, `serverLog`, `ereport`,
`ngx_log_error`), or by writing to `stderr`, together with a text among its arguments. Names come from the arguments'
expressions, types from the conversions. Reads no macro bodies and expands none.
"""

import re
from collections.abc import Iterator, Sequence

import tree_sitter_c
from tree_sitter import Language, Node, Query

from training.corpus.logging_calls import LEVELS, Draft, LoggingCall, Package, Variable, accessor_name, finished
from training.corpus.syntax import found_in, root_of, string_of, text_of, values_of

_C = Language(tree_sitter_c.language())
_CALLS = Query(
    _C, "(call_expression function: (identifier)) @call (call_expression function: (field_expression)) @call"
)

#: The words of names, and of the arguments that choose a level.
_LEVELS = {
    **LEVELS,
    **dict.fromkeys(["errx", "verr", "verrx", "serr", "serrx", "perror", "emerg", "failf", "cry"], "error"),
    **dict.fromkeys(["warnx", "warnf", "vwarn", "vwarnx", "swarn", "swarnx"], "warn"),
    **dict.fromkeys(["infof", "infox", "inform", "informational", "verbose", "verb"], "info"),
    **dict.fromkeys(["dbg", "debugf", "debugx", "dbgv", "dprintf", "dprint", "detail", "algo"], "debug"),
    **dict.fromkeys(["tracef", "spew"], "trace"),
    **dict.fromkeys(["fatalf", "fatalx", "die"], "fatal"),
}
#: Words that make a name a logging call's.
_LOGGING = (frozenset(_LEVELS) - {"config", "detail", "fine", "msg", "success"}) | {
    "logf", "logger", "logging", "logit", "logmsg", "logx", "logerr", "logerrx", "logwarn", "logwarnx", "loginfo",
    "loginfox", "logdebug", "logdebugx", "syslog", "vsyslog", "elog", "ereport", "errmsg", "errdetail", "errhint",
    "klog", "llogln", "dlog", "wlog", "vlog", "slog", "vsl", "vslb", "report", "complain", "message",
}  # fmt: skip
#: Names that hold such a word and log nothing.
_NO_LOGGER = re.compile(
    r"(?i)catalog|dialog|login|logout|changelog|logical|backlog|prolog|^(set|get|is|has|free|init|open|close|parse|add)_|"
    r"str(n?cmp|casecmp|str|dup)|printf_?to|sn?printf|_(parse|lookup|find|get|set|register|open|init|add|new|create|name)$"
)
_CONSTANT = re.compile(r"[A-Z][A-Z\d]+(_|$)")
#: PostgreSQL's parts of one `ereport`.
_REPORTED = re.compile(r"^err(msg|detail|hint)(_internal|_log|_plural|_log_plural)?$")
#: Functions of texts of errors that the caller sees.
_RAISES = re.compile(
    r"(?i)(^|_)(set|format|make|create|throw|raise)_?(\w+_)?(err|error|errmsg|error_message|exception)[fx]?$"
    r"|^THROW(_\w+)?$|^diag_set$"
)
#: Functions that append `: ` and the text of errno, as those of <err.h> do.
_ERRNO = frozenset({"err", "warn", "perror", "event_err", "event_warn", "log_warn"})
_TRANSLATED = frozenset({"_", "N_", "gettext", "gettext_noop", "ngettext", "dgettext", "Q_"})
#: Functions in which texts for `stderr` are no log.
_HELP = re.compile(r"(?i)usage|help|version|licen[cs]e|copyright|dump|print_|show|list_")

_CONVERSION = re.compile(
    r"%(?P<flags>[#0\-+']*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?(?:hh|h|ll|l|L|q|j|z|t|I64)?(?P<type>[a-zA-Z%])"
    r"|\0(?P<macro>\w+)\0"
)
#: nginx has its own conversions: `%V` a string, `%ui` and `%O` numbers, `%*s` a length and a string.
_NGINX = re.compile(
    r"%0?(?P<width>\*|\d+)?[uxX]*(?:\.(?P<precision>\d+))?(?P<type>[%cCdDfiLlMmNOPprsTvVAZz])|\0(?P<macro>\w+)\0"
)
_PLAIN = {**dict.fromkeys("DiLlMOPTAuz", "d"), **dict.fromkeys("Vv", "s")}

#: Functions that show their argument: the argument names the value.
_SHOWS = re.compile(
    r"(?i)nto[ahp]|(^|_)(nto|hto)(hs|hl|hll)$|str|text|fmt|format|print|quote|escape|dump|safe|describe|2|name|display|hex|conv"
    r"|^(PQ|be|le)\d*|^(VARDATA|DatumGet|NameStr|LSN)|basename|dirname|^(S|STR|VSTR|nonnull|maybe|null)\w*$|_desc$|^abs$|^log_|ptr|_or_"
)
#: Fields that hold a text and say nothing of it.
_BUFFERS = frozenset({"data", "str", "buf", "ptr", "p", "s", "text", "string", "bv_val", "val", "start", "pos"})
_ERRORS = re.compile(
    r"(?i)str_?error|error_?(string|message|text|msg|str)|errstr|err(or)?2?(string|txt|name)|ERR_reason|_errmsg$"
)
_FUNCTION = frozenset({"__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"})
_PREDEFINED = {
    **dict.fromkeys(_FUNCTION, "function"), "__FILE__": "file", "__LINE__": "line", "errno": "error",
}  # fmt: skip


def c_calls(source: str, package: Package) -> Iterator[LoggingCall]:
    """Yield the logging calls of one C file."""
    for _, call in found_in(_CALLS, root_of(_C, source)):
        name = text_of(call.child_by_field_name("function"))
        arguments = spread(values_of(call.child_by_field_name("arguments")))
        level = c_level(name, arguments, call)
        draft = template(name, arguments) if level else None
        if level and draft and not is_help(draft) and (made := finished(draft, level, package)):
            yield made


def spread(arguments: list[Node]) -> list[Node]:
    """Take apart a last argument that is a whole list in brackets, as in `DPRINTF(1, ("text", value))`."""
    if not arguments or arguments[-1].type != "parenthesized_expression":
        return arguments
    inner, values = arguments[-1].named_children[:1], list[Node]()
    while inner and inner[0].type == "comma_expression":
        left, right = inner[0].child_by_field_name("left"), inner[0].child_by_field_name("right")
        values += [left] if left else []
        inner = [right] if right else []
    values += inner
    return [*arguments[:-1], *values] if values and format_of(values[0]) is not None else arguments


def words_in(name: str) -> list[str]:
    """Split a name into words: `serverLog` and `SERVER_LOG` are `server`, `log`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def level_in(name: str) -> str | None:
    """Tell the level that a name speaks of, by its last telling word; `log` alone speaks of none."""
    return next(
        (_LEVELS[word] for word in reversed(words_in(name)) if word in _LEVELS and word not in {"log", "msg"}), None
    )


def c_level(name: str, arguments: Sequence[Node], call: Node) -> str | None:
    """Tell the level of a logging call, `raise` of one that sets an error's text; None for any other call."""
    if name == "fprintf":
        stream = [text_of(one) for one in arguments[:1]]
        return "error" if stream == ["stderr"] and not _HELP.search(enclosing(call)) else None
    if _RAISES.search(name):
        return "raise"
    constants = [text_of(one) for one in arguments[:3] if one.type in {"identifier", "binary_expression"}]
    levels = [constant for constant in constants if _CONSTANT.match(constant) and level_in(constant)]
    logs = not _LOGGING.isdisjoint(words_in(name)) or any("LOG" in constant for constant in levels)
    if _NO_LOGGER.search(name) or not logs:
        return None
    if _REPORTED.match(name):
        return reported_level(call)
    return level_in(levels[0] if levels else name) or "info"


def reported_level(part: Node) -> str:
    """Tell the level of PostgreSQL's `ereport` around one of its parts."""
    around: Node | None = part
    while around is not None:
        if around.type == "call_expression" and (arguments := values_of(around.child_by_field_name("arguments"))):
            name = text_of(around.child_by_field_name("function"))
            if name.startswith("ereport"):
                return level_in(text_of(arguments[0])) or "info"
        around = around.parent
    return "error"


def enclosing(node: Node) -> str:
    """Give the name of the function around a node; empty at the top of a file."""
    around: Node | None = node
    while around is not None and around.type != "function_definition":
        around = around.parent
    declarator = around.child_by_field_name("declarator") if around is not None else None
    while declarator is not None and declarator.type != "identifier":
        declarator = declarator.child_by_field_name("declarator")
    return text_of(declarator)


def is_help(draft: Draft) -> bool:
    """Tell whether a text is a line of help."""
    return bool(re.match(r"\s*(usage\b|-\w|--\w|\[)|\s{3,}", draft.literals[0], re.IGNORECASE))


def format_of(node: Node) -> str | None:
    """Join the literals of a constant text; None for any other expression.

    A macro among them becomes a conversion where it completes one (`"%" PRIu64`), else its name between NULs.
    """
    if node.type == "string_literal":
        return string_of(node)
    if node.type == "concatenated_string":
        text = ""
        for part in node.named_children:
            if part.type == "string_literal":
                text += string_of(part)
            elif part.type == "identifier":
                text += macro(text_of(part), text)
        return text
    if node.type == "parenthesized_expression" and node.named_children:
        return format_of(node.named_children[0])
    if node.type == "call_expression" and text_of(node.child_by_field_name("function")) in _TRANSLATED:
        inner = values_of(node.child_by_field_name("arguments"))
        return format_of(inner[0]) if inner else None
    return None


def macro(name: str, before: str) -> str:
    """Write a macro between literals: the end of a conversion, a whole conversion, or a variable of its name."""
    if re.search(r"%[#0\-+.\d]*$", before):
        return "x" if re.match(r"PRI[xX]", name) else "d"
    if re.search(r"FMT|FORMAT|(^|_)PRI", name):
        return "%s" if re.search(r"STR|HASH|MAC|IP|NAME", name) else "%d"
    return f"\0{name}\0"


def template(name: str, arguments: Sequence[Node]) -> Draft | None:
    """Make the template of a call: the text whose conversions number the arguments after it, or a sentence."""
    if any(one.is_error for one in arguments):  # macros have torn the call for the parser
        return None
    texts = [(place, text) for place, one in enumerate(arguments[:8]) if (text := format_of(one)) is not None]
    pattern = _NGINX if name.startswith("ngx_") else _CONVERSION
    for place, text in texts:
        rest = list(arguments[place + 1 :])
        if name.endswith("_plural") and len(rest) > 2:
            rest = rest[2:]
        takes = consumed(pattern, text)
        if not takes and all(text_of(one).isupper() for one in rest):  # what follows is a status to exit with, or NULL
            rest = []
        if takes == len(rest) and (rest or " " in text.strip()):
            draft = cut(pattern, text, rest)
            append_errno(draft, name, arguments[:place])
            return draft if any(literal.strip() for literal in draft.literals) else None
    return None


def append_errno(draft: Draft, name: str, before: Sequence[Node]) -> None:
    """Append what a function adds of its own to the text: errno's, where `before` the text nothing says otherwise."""
    if name in _ERRNO and len(before) == (name in {"err", "event_err"}):
        draft.constant(": ")
        draft.variable(Variable(name="error", type="error"))
    elif name == "ngx_log_error" and len(before) == 3 and text_of(before[2]) != "0":
        draft.constant(" (")
        draft.variable(Variable(name="errno", conversion="d"))
        draft.constant(": ")
        draft.variable(Variable(name="error", type="error"))
        draft.constant(")")


def consumed(pattern: re.Pattern[str], text: str) -> int:
    """Count the arguments that a format takes."""
    return sum(
        1 + found[0].count("*")
        for found in pattern.finditer(text)
        if not found["macro"] and found["type"] not in "%mNZ"
    )


def cut(pattern: re.Pattern[str], text: str, arguments: Sequence[Node]) -> Draft:
    """Cut a format: conversions become variables named by their arguments, `%m` the text of errno."""
    draft, end, waiting = Draft.of(""), 0, iter(arguments)
    for found in pattern.finditer(text):
        draft.constant(text[end : found.start()])
        end = found.end()
        kind = found["type"]
        if found["macro"]:
            draft.variable(Variable(name=accessor_name([found["macro"]])))
        elif kind == "m":
            draft.variable(Variable(name="error", type="error"))
        elif kind in "%NZ":
            draft.constant("%" if kind == "%" else " ")
        else:
            for _ in range(found[0].count("*")):
                next(waiting)
            add_value(draft, next(waiting), conversion(found, nginx=pattern is _NGINX))
    draft.constant(text[end:])
    return draft


def conversion(found: re.Match[str], *, nginx: bool) -> str:
    """Write a conversion without length and flags: `.2f`, `d`, `s`, `x`."""
    if nginx:
        kind = "x" if re.search(r"[xX]", found[0]) else _PLAIN.get(found["type"], found["type"])
    else:
        kind = "d" if found["type"] in "iu" else found["type"]
    return f".{found['precision']}{kind}" if found["precision"] and found["precision"] != "*" else kind


def add_value(draft: Draft, node: Node, kind: str) -> None:
    """Append the value of a conversion; a constant text is no variable, nor is the name of the function around."""
    constant = string_of(node) if node.type == "string_literal" else ""
    if text_of(node) in _FUNCTION:
        constant = enclosing(node)
    if constant:
        draft.constant(constant)
        return
    words = words_of(node)
    while len(words) > 1 and words[-1] in _BUFFERS:
        words.pop()
    name = accessor_name(words)
    known = "str" if kind == "c" else "error" if (name, kind[-1]) == ("error", "s") else ""
    draft.variable(Variable(name=name, type=known, conversion=kind))


def words_of(node: Node | None) -> list[str]:  # noqa: PLR0911 - one case per form of expression
    """List the accessors that lead to a value, outermost owner first, a call marked by `()`; none for a literal."""
    if node is None:
        return []
    if node.type == "identifier":
        return [_PREDEFINED.get(text_of(node), text_of(node))]
    if node.type == "field_expression":
        return [*words_of(node.child_by_field_name("argument")), text_of(node.child_by_field_name("field"))]
    if node.type == "call_expression":
        return called(node)
    if node.type == "sizeof_expression":
        return ["size"]
    for field in ("consequence", "alternative", "condition", "argument", "value", "left", "right"):
        if words := words_of(node.child_by_field_name(field)):
            return words
    return words_of(node.named_children[0]) if node.type == "parenthesized_expression" and node.named_children else []


def called(call: Node) -> list[str]:
    """Name what a function gives: an error, what it shows, or what its own name says."""
    name = text_of(call.child_by_field_name("function"))
    if _ERRORS.search(name):
        return ["error"]
    if _SHOWS.search(name) or name.isupper():
        shown = (words_of(one) for one in values_of(call.child_by_field_name("arguments")))
        if words := next((words for words in shown if words and not words[-1].rstrip("()").isupper()), None):
            return words
    return [re.sub(r"^\w+(?:_get_|Get(?=[A-Z]))|^get", "", name).lstrip("_") + "()"]
