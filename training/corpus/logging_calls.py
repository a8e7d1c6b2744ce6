"""A logging call as a template: literals, and between each two of them a variable with its name."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

#: Where a mined corpus goes unless told otherwise; not under version control.
CORPUS = Path("runs/corpus")
#: Longest template kept, in characters: longer ones are help texts and banners.
MAX_CHARACTERS = 400

LEVELS = {
    "trace": "trace", "finest": "trace", "finer": "trace", "debug": "debug", "fine": "debug", "config": "debug",
    "info": "info", "success": "info", "notice": "info", "msg": "info", "log": "info", "warn": "warn",
    "warning": "warn", "error": "error", "err": "error", "exception": "error", "severe": "error",
    "critical": "fatal", "fatal": "fatal", "panic": "fatal", "crit": "fatal", "alert": "fatal",
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
    #: Per variable: `int`, `float`, `number` (JavaScript's), `str`, `bool`, `list`, `map`, `error` or a class's name;
    #: empty if unknown. None at all where a corpus tells no types.
    types: tuple[str, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What the source tells of a variable."""

    name: str = ""
    #: As in `LoggingCall.types`.
    type: str = ""
    conversion: str = ""


@dataclass(slots=True)
class Draft:
    """A template while it is put together: literals and, between each two of them, a variable."""

    literals: list[str]
    variables: list[Variable]

    @classmethod
    def of(cls, text: str) -> "Draft":
        """Start from constant text."""
        return cls([text], [])

    def constant(self, text: str) -> None:
        """Append constant text."""
        self.literals[-1] += text

    def variable(self, variable: Variable) -> None:
        """Append a variable."""
        self.variables.append(variable)
        self.literals.append("")

    def field(self, key: str, variable: Variable) -> None:
        """Append a field of a structured call as loggers print it: ` key=value`. The key is the name."""
        self.constant(f" {key}=")
        self.variable(replace(variable, name=key))

    def extend(self, other: "Draft") -> None:
        """Append all of another draft."""
        self.literals[-1] += other.literals[0]
        self.literals += other.literals[1:]
        self.variables += other.variables


PRINTF = re.compile(
    r"%(?:\((?P<key>\w+)\))?[#0\- +,]*(?:\d+\$)?[\d*]*(?:\.(?P<precision>[\d*]+))?[hlLzjt]*(?P<type>[a-zA-Z%])"
)
BRACES = re.compile(r"\{\{|\}\}|\{(?P<key>[^{}:!]*)(?:!(?P<conversion>\w))?(?::(?P<format>[^{}]*))?\}")


#: Accessors that convert a value and say nothing of it; `()` marks a call.
CONVERSIONS = frozenset({
    "toString()", "to_string()", "String()", "string()", "str()", "Error()", "as_str()", "to_str()", "as_ref()",
    "clone()", "unwrap()", "unwrap_or_default()", "iter()", "collect()", "display()", "to_owned()", "into()",
    "as_deref()", "borrow()", "lock()", "read()", "write()", "load()", "Load()", "get()", "join()", "map()", "trim()",
    "as_bytes()", "stringify()", "valueOf()", "toFixed()", "toLocaleString()", "intValue()", "longValue()", "deref()",
    "to_string_lossy()", "Join()", "Interface()", "await()", "orElse()", "unwrap_or()", "as_mut()", "new()",
    "filter()", "sort()", "slice()", "toLowerCase()", "toUpperCase()", "to_vec()", "unwrap_or_else()", "ok()",
    "as_ptr()", "keys()", "values()", "asList()", "encode()", "decode()", "strip()", "lower()", "upper()",
    "hexdigest()", "hex()", "toHexString()", "toArray()", "simplified_display()", "user_display()",
})  # fmt: skip
#: Words that stand for the object at hand.
SELF = frozenset({"this", "self", "super", "cls", "crate"})
_GENERIC = frozenset({"name", "id", "value", "message", "type", "key", "version", "code", "status", "state"})
_COUNTS = frozenset({"len()", "Len()", "length()", "length", "size()", "count()"})


def accessor_name(words: Sequence[str]) -> str:
    """Name a value by the accessors that lead to it, such as `self`, `block`, `getSize()`: the last that tells.

    Conversions are passed over, `get` and the like are taken off, the length of anything is its `count`, and a word
    that says little alone takes its owner's: `user.name` is `user_name`. Case stays as the source has it, but for the
    first letter.
    """
    telling = [word for word in words if word not in CONVERSIONS and word not in SELF]
    if not telling:
        return ""
    owner, last = plain_name(telling[-2]) if len(telling) > 1 else "", telling[-1]
    if last in _COUNTS and owner:
        return "count"
    if last in {"Since()", "since()"}:  # Go's and Rust's way to say how long something took
        return "elapsed"
    name = plain_name(last)
    if name in {"simpleName", "canonicalName"}:
        name = "name"
    if name not in _GENERIC or len(owner) < 3:
        return name
    return f"{owner}_{name}" if owner.islower() else f"{owner}{name.title()}"


def plain_name(word: str) -> str:
    """Write an accessor as a name: no brackets, no `get`, first letter in lower case."""
    name = word.removesuffix("()").lstrip("_$#@")
    name = re.sub(r"^(?:[Gg]et|[Tt]o|[Aa]s|[Ff]etch|[Ff]ormat)(?:_(?=[a-z])|(?=[A-Z]))", "", name)
    if name.isupper():
        return name.lower()
    if name.isdigit():
        return ""  # a place in a tuple
    return re.sub(r"^(?:[A-Z]+(?=[A-Z][a-z])|[A-Z]+(?=[\d_])|[A-Z])", lambda found: found[0].lower(), name)


#: How the languages write a type, by how `LoggingCall.types` does; what says nothing is left empty.
_SPELLINGS = {
    "int": (
        "int", "long", "short", "byte", "Integer", "Long", "Short", "Byte", "BigInteger", "AtomicInteger",
        "AtomicLong", "LongAdder", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64",
        "uintptr", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize", "bigint",
        "AtomicUsize", "AtomicU64", "AtomicU32", "OptionalInt", "OptionalLong", "integer",
    ),
    "float": (
        "float", "double", "Float", "Double", "BigDecimal", "float32", "float64", "f32", "f64",
    ),
    "str": (
        "String", "CharSequence", "str", "string", "char", "Character", "rune", "StringBuilder",
    ),
    "bool": (
        "boolean", "Boolean", "bool", "AtomicBoolean", "AtomicBool",
    ),
    "list": (
        "List", "Set", "Collection", "Iterable", "Vec", "Array", "ArrayList", "HashSet", "SmallVec", "BTreeSet",
        "IndexSet", "LinkedList", "Queue", "VecDeque", "list", "tuple", "set", "frozenset", "Sequence", "SortedSet",
        "TreeSet", "LinkedHashSet", "ImmutableList", "ImmutableSet",
    ),
    "map": (
        "Map", "map", "HashMap", "BTreeMap", "Record", "dict", "Mapping", "TreeMap", "ConcurrentHashMap",
        "ConcurrentMap", "ImmutableMap", "Dict",
    ),
    "error": (
        "Throwable", "Exception", "Error", "error",
    ),
    "": (
        "Object", "any", "unknown", "var", "interface", "void", "never", "undefined", "null", "object", "T", "K", "V",
        "Any", "None", "auto",
    ),
}  # fmt: skip
_TYPES = {spelling: kind for kind, spellings in _SPELLINGS.items() for spelling in spellings}
_WRAPPER = re.compile(
    r"^(?:Option|Optional|Arc|Rc|Box|Promise|AtomicReference|Pin|Cow|Mutex|RwLock|Ref)(?:<|\[)(.+)[>\]]$"
)


def type_name(declared: str) -> str:
    """Write a declared type of any language as `LoggingCall.types` has it: bare, and alike for all languages."""
    text = re.sub(r"\s+", " ", declared).strip(" :")
    text = re.sub(r"^(?:&|\*|mut |dyn |impl |const |final |'\w+,? |\.\.\.)+", "", text)
    text = next((part for part in text.split("|") if part.strip() not in {"undefined", "null", "None"}), "").strip()
    if found := _WRAPPER.match(text):
        return type_name(found[1])
    if text.startswith("["):
        return "str" if text in {"[]byte", "[u8]"} else "list"
    if text.startswith("map["):
        return "map"
    if text.endswith("[]"):
        return "list"
    name = re.split(r"::|\.", re.sub(r"[<\[{(].*", "", text).strip())[-1].strip()
    return _TYPES.get(name, name if name.isidentifier() and len(name) > 1 else "")


_BY_CONVERSION = {
    **dict.fromkeys("diuxX", "int"),
    **dict.fromkeys("feEgG", "float"),
    **dict.fromkeys("sqr", ""),
    **dict.fromkeys("t", "bool"),
    **dict.fromkeys("w", "error"),
}


def split_printf(text: str, variables: Sequence[Variable]) -> Draft:
    """Cut a `%` format. `variables` are the positional arguments; a `%(key)s` names itself."""
    draft, end, position = Draft.of(""), 0, 0
    for found in PRINTF.finditer(text):
        draft.constant(text[end : found.start()])
        end = found.end()
        if found["type"] in "%n":
            draft.constant("%" if found["type"] == "%" else "\n")
            continue
        told = variables[position] if position < len(variables) else Variable()
        position += 1
        conversion = f".{found['precision']}{found['type']}" if found["precision"] else found["type"]
        draft.variable(replace(told, name=found["key"] or told.name, conversion=conversion))
    draft.constant(text[end:])
    return draft


def split_braces(text: str, variables: Sequence[Variable], keywords: Mapping[str, Variable] | None = None) -> Draft:
    """Cut a `{}` format: of `str.format`, loguru, SLF4J, `MessageFormat` or Rust."""
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
            told = variables[place] if place < len(variables) else Variable()
            position += not index
        else:
            told = (keywords or {}).get(key, Variable(name=re.split(r"[.\[]", key)[-1].rstrip("]'\"")))
        draft.variable(replace(told, conversion=found["conversion"] or (found["format"] or "").strip()))
    draft.constant(text[end:])
    return draft


def filled(draft: Draft, variables: Sequence[Variable], split: Callable[[str, Sequence[Variable]], Draft]) -> Draft:
    """Cut the format that a draft's literals hold: what was put together may be a format too, `"of " + a + ": {}"`."""
    whole, rest = Draft.of(""), list(variables)
    for place, literal in enumerate(draft.literals):
        part = split(literal, rest)
        rest = rest[len(part.variables) :]
        whole.extend(part)
        if place < len(draft.variables):
            whole.variable(draft.variables[place])
    return whole


#: What colours a terminal.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def finished(draft: Draft, level: str, package: Package) -> LoggingCall | None:
    """Close a draft; None for what no reader would call a message: no words, or a page of text."""
    literals = [re.sub(r"\s*\n\s*", " ", _COLOUR.sub("", literal)) for literal in draft.literals]
    literals[0] = literals[0].lstrip()
    literals[-1] = literals[-1].rstrip()
    text = "".join(literals)
    if len(text) > MAX_CHARACTERS or not re.search(r"[A-Za-z]{2}", text) or len(draft.variables) > 16:
        return None
    types = (variable.type or _BY_CONVERSION.get(variable.conversion[-1:], "") for variable in draft.variables)
    return LoggingCall(
        literals=tuple(literals), names=tuple(variable.name for variable in draft.variables),
        conversions=tuple(variable.conversion for variable in draft.variables), level=level,
        types=tuple(types),
        language=package.language, package=package.name, version=package.version, licence=package.licence,
    )  # fmt: skip


def load(path: Path) -> list[LoggingCall]:
    """Read a mined corpus."""
    calls = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        for name in ("literals", "names", "conversions", "types"):
            fields[name] = tuple(fields.get(name, ()))
        calls.append(LoggingCall(**fields))
    return calls
