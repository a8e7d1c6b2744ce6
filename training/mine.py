"""Mine logging calls out of open-source code: each is a template whose variables have names.

Reads Python (the standard library, the installed packages, the wheels of `sources.toml`) by `ast`, and Java (the source
jars of `sources.toml`) by a scanner of its own. Writes one `LoggingCall` per line as JSON. Only packages under a
permissive licence are read, and none that the usual log parsing benchmarks were recorded from.
"""

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).with_name("sources.toml")
#: Where the corpus goes unless told otherwise; not under version control.
CORPUS = Path("runs/corpus")
#: Longest template kept, in characters: longer ones are help texts and banners.
MAX_CHARACTERS = 400

PERMISSIVE = re.compile(r"apache|mit\b|bsd|isc\b|python software|psf|zope|unlicense|hpnd|public domain|zlib", re.IGNORECASE)
RESTRICTIVE = re.compile(r"gpl|mozilla|mpl|eclipse|epl|proprietary|commercial|other/|eula|nvidia", re.IGNORECASE)
#: Packages about the systems that the Loghub data sets were recorded from.
BENCHMARKED = re.compile(r"hadoop|hdfs|spark|zookeeper|openstack|openssh|httpd", re.IGNORECASE)

LEVELS = {
    "trace": "trace", "finest": "trace", "finer": "trace", "debug": "debug", "fine": "debug", "config": "debug",
    "info": "info", "success": "info", "notice": "info", "msg": "info", "log": "info", "warn": "warn",
    "warning": "warn", "error": "error", "err": "error", "exception": "error", "severe": "error",
    "critical": "fatal", "fatal": "fatal",
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


@dataclass(slots=True)
class Draft:
    """A template while it is put together: literals and, between each two of them, a variable."""

    literals: list[str]
    names: list[str]
    conversions: list[str]

    @classmethod
    def of(cls, text: str) -> "Draft":
        """Start from constant text."""
        return cls([text], [], [])

    def constant(self, text: str) -> None:
        """Append constant text."""
        self.literals[-1] += text

    def variable(self, name: str, conversion: str = "") -> None:
        """Append a variable."""
        self.names.append(name)
        self.conversions.append(conversion)
        self.literals.append("")

    def extend(self, other: "Draft") -> None:
        """Append all of another draft."""
        self.literals[-1] += other.literals[0]
        self.literals += other.literals[1:]
        self.names += other.names
        self.conversions += other.conversions


PRINTF = re.compile(
    r"%(?:\((?P<key>\w+)\))?[#0\- +,]*(?:\d+\$)?[\d*]*(?:\.(?P<precision>[\d*]+))?[hlLzjt]*(?P<type>[a-zA-Z%])"
)
BRACES = re.compile(r"\{\{|\}\}|\{(?P<key>[^{}:!]*)(?:!(?P<conversion>\w))?(?::(?P<format>[^{}]*))?\}")


def split_printf(text: str, names: Sequence[str]) -> Draft:
    """Cut a `%` format. `names` are those of the positional arguments; a `%(key)s` names itself."""
    draft, end, position = Draft.of(""), 0, 0
    for found in PRINTF.finditer(text):
        draft.constant(text[end : found.start()])
        end = found.end()
        if found["type"] in "%n":
            draft.constant("%" if found["type"] == "%" else "\n")
            continue
        name = found["key"] or (names[position] if position < len(names) else "")
        position += 1
        draft.variable(name, f".{found['precision']}{found['type']}" if found["precision"] else found["type"])
    draft.constant(text[end:])
    return draft


def split_braces(text: str, names: Sequence[str], keywords: dict[str, str] | None = None) -> Draft:
    """Cut a `{}` format: of `str.format`, loguru, SLF4J or `MessageFormat`."""
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
            name = names[place] if place < len(names) else ""
        else:
            name = (keywords or {}).get(key, re.split(r"[.\[]", key)[-1].rstrip("]'\""))
        position += 1
        draft.variable(name, found["conversion"] or (found["format"] or "").strip())
    draft.constant(text[end:])
    return draft


# Python


def python_name(node: ast.expr) -> str:
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


def python_draft(node: ast.expr) -> Draft | None:
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


# Java

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
        token = found[kind]
        if kind == "mark":
            if token in "([{":
                depth += 1
            elif token in ")]}":
                if depth == 0:
                    return [argument for argument in arguments if argument]
                depth -= 1
            elif token == "," and depth == 0:
                arguments.append([])
                continue
        if kind in {"string", "block"}:
            token = re.sub(r"\\(u+[0-9a-fA-F]{4}|.)", java_unescape, token, flags=re.DOTALL)
            kind = "string"
        arguments[-1].append((kind, token))
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


# Both


def finished(draft: Draft, level: str, package: Package) -> LoggingCall | None:
    """Close a draft; None for what no reader would call a message: no words, or a page of text."""
    literals = [re.sub(r"\s*\n\s*", " ", literal) for literal in draft.literals]
    literals[0], literals[-1] = literals[0].lstrip(), literals[-1].rstrip()
    text = "".join(literals)
    if len(text) > MAX_CHARACTERS or not re.search(r"[A-Za-z]{2}", text) or len(draft.names) > 16:
        return None
    return LoggingCall(
        literals=tuple(literals), names=tuple(draft.names), conversions=tuple(draft.conversions), level=level,
        language=package.language, package=package.name, version=package.version, licence=package.licence,
    )  # fmt: skip


def is_permissive(licence: str) -> bool:
    """Tell whether templates of a package under `licence` may be learned from."""
    return bool(PERMISSIVE.search(licence)) and not RESTRICTIVE.search(licence)


def licence_of(about: Any) -> str:
    """Read the licence out of a distribution's metadata: the expression, else the classifiers, else the first line."""
    classified = [
        line.split("::")[-1].strip() for line in about.get_all("Classifier", []) if line.startswith("License")
    ]
    text = about.get("License-Expression") or " ".join(classified) or about.get("License") or ""
    return str(text).strip().split("\n")[0][:80]


def installed_python() -> Iterator[tuple[Package, str]]:
    """Yield the source files of the standard library and of the installed packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_paths()["stdlib"])
    python = Package(name="python", version=version, licence="PSF-2.0", language="python")
    for path in sorted(library.rglob("*.py")):
        if not {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(path.relative_to(library).parts):
            yield python, path.read_text(encoding="utf-8", errors="replace")
    for distribution in sorted(metadata.distributions(), key=lambda one: str(one.metadata["Name"]).lower()):
        licence = licence_of(distribution.metadata)
        name = str(distribution.metadata["Name"])
        if not is_permissive(licence) or BENCHMARKED.search(name) or name == "logloom":
            continue
        package = Package(name=name, version=distribution.version, licence=licence, language="python")
        for file in distribution.files or []:
            if is_source(str(file)) and (path := Path(str(distribution.locate_file(file)))).is_file():
                yield package, path.read_text(encoding="utf-8", errors="replace")


def is_source(name: str) -> bool:
    """Tell whether a file may hold real logging calls: Python or Java, no tests."""
    return name.endswith((".py", ".java", "LocalStrings.properties")) and not re.search(r"(^|/)tests?/|BENCH", name)


def wheel_python(folder: Path) -> Iterator[tuple[Package, str]]:
    """Yield the source files of the wheels in `folder`."""
    from email.parser import Parser  # noqa: PLC0415 - only this function reads metadata as text

    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            about_name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            about = Parser().parsestr(wheel.read(about_name).decode("utf-8", "replace"))
            package = Package(
                name=about["Name"], version=about["Version"], licence=licence_of(about), language="python"
            )
            if is_permissive(package.licence) and not BENCHMARKED.search(package.name):
                for name in sorted(wheel.namelist()):
                    if is_source(name):
                        yield package, wheel.read(name).decode("utf-8", "replace")


def jar_java(folder: Path, licences: dict[str, str]) -> Iterator[tuple[Package, str, str]]:
    """Yield (package, file name, source) of the source jars in `folder`."""
    for coordinates, licence in sorted(licences.items()):
        _, artifact, version = coordinates.split(":")
        with zipfile.ZipFile(folder / f"{artifact}-{version}-sources.jar") as jar:
            package = Package(name=artifact, version=version, licence=licence, language="java")
            for name in sorted(jar.namelist()):
                if is_source(name) and not BENCHMARKED.search(name):
                    yield package, name, jar.read(name).decode("utf-8", "replace")


def download_jars(coordinates: Iterable[str], folder: Path) -> None:
    """Copy source jars from Maven's repository, in one run of Maven."""
    wanted = [name.split(":") for name in coordinates]
    missing = [(g, a, v) for g, a, v in wanted if not (folder / f"{a}-{v}-sources.jar").is_file()]
    if not missing:
        return
    pieces = "".join(
        f"<artifactItem><groupId>{g}</groupId><artifactId>{a}</artifactId><version>{v}</version>"
        "<classifier>sources</classifier></artifactItem>"
        for g, a, v in missing
    )
    pom = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
    <groupId>logloom</groupId><artifactId>corpus</artifactId><version>1</version><build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version>
    <configuration><outputDirectory>{folder.resolve()}</outputDirectory><artifactItems>{pieces}</artifactItems>
    </configuration></plugin></plugins></build></project>"""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pom.xml"
        path.write_text(pom)
        subprocess.run(["mvn", "-q", "-B", "-f", str(path), "dependency:copy"], check=True)  # noqa: S603, S607 - fixed arguments


def download_wheels(requirements: Sequence[str], folder: Path) -> None:
    """Download wheels, and nothing that would run code of theirs."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
    for requirement in requirements:
        stem = re.sub(r"[-_.]+", "_", requirement.split("==")[0])
        version = requirement.split("==")[1]
        if not any(re.sub(r"[-_.]+", "_", path.name.split("-")[0]).lower() == stem.lower() and f"-{version}-" in path.name
                   for path in folder.glob("*.whl")):  # fmt: skip
            subprocess.run([*command, requirement], check=True)  # noqa: S603 - fixed arguments


def mine(folder: Path, sources: Path = SOURCES) -> list[LoggingCall]:
    """Mine all sources. Downloads land in `folder`. Each template is kept once per package."""
    listed = tomllib.loads(sources.read_text())
    jars, wheels = folder / "jars", folder / "wheels"
    jars.mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    print(f"downloading {len(listed['java'])} source jars and {len(listed['python'])} wheels", flush=True)
    download_jars(listed["java"], jars)
    download_wheels(listed["python"], wheels)
    calls: dict[tuple[str, str], LoggingCall] = {}

    def keep(found: Iterable[LoggingCall]) -> None:
        for call in found:
            if not BENCHMARKED.search(call.text):
                calls.setdefault((call.package, call.text), call)

    for package, source in (*installed_python(), *wheel_python(wheels)):
        keep(python_calls(source, package))
    print(f"{len(calls)} templates from Python", flush=True)
    for package, name, source in jar_java(jars, listed["java"]):
        keep((java_calls if name.endswith(".java") else property_calls)(source, package))
    print(f"{len(calls)} templates with Java", flush=True)
    return list(calls.values())


def load(path: Path) -> list[LoggingCall]:
    """Read a mined corpus."""
    calls = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        for name in ("literals", "names", "conversions"):
            fields[name] = tuple(fields[name])
        calls.append(LoggingCall(**fields))
    return calls


def main(arguments: Sequence[str] | None = None) -> None:
    """Mine and write `calls.jsonl` and a JSON report beside it."""
    parser = argparse.ArgumentParser(
        prog="python -m training.mine", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument(
        "--out", type=Path, default=CORPUS, help="folder for downloads, corpus and report [%(default)s]"
    )
    parser.add_argument("--sources", type=Path, default=SOURCES, help="the list of packages [%(default)s]")
    chosen = parser.parse_args(arguments)
    calls = mine(chosen.out, chosen.sources)
    text = "".join(json.dumps(asdict(call), ensure_ascii=False) + "\n" for call in calls)
    (chosen.out / "calls.jsonl").write_text(text, encoding="utf-8", errors="replace")
    report = {
        "templates": len(calls),
        "with_variables": sum(bool(call.names) for call in calls),
        "distinct": len({call.text for call in calls}),
        "by_language": Counter(call.language for call in calls),
        "by_level": Counter(call.level for call in calls),
        "packages": len({call.package for call in calls}),
        "by_licence": Counter(call.licence for call in calls),
        "digest": hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest(),
    }
    (chosen.out / "report.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
