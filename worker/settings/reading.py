"""Reads settings: defaults, then the TOML file, then secret files, then variables, then the command line.

Every mistake is found before the first is reported.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from worker.errors import WrongSettings
from worker.settings import contradictions, fields
from worker.settings.describing import masked
from worker.settings.fields import ANY_SOURCE, PREFIX, Setting, dotted, same_in_variable, variable
from worker.settings.mistakes import Mistake
from worker.settings.model import Settings, Source

#: Variables that are no settings themselves; the last two are read by the project's own tests.
_OTHER_VARIABLES = re.compile(r"LOGLOOM_(CONFIG|SECRETS_DIR|REQUIRE_SERVERS|TEST_.*)")
#: What Kubernetes sets in every container of a namespace that has a service called `logloom` or `logloom-...`.
_SERVICE_LINK = re.compile(
    r"LOGLOOM_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)

Tree = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """Settings, and where each came from."""

    settings: Settings
    #: By path: the file's name, the variable's name, or `command line`; what is not here is a default.
    origins: Mapping[fields.Path, str]


def load(
    config: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    needs_sources: bool = True,
) -> Settings:
    """Read the settings as `read` does."""
    return read(config, environment=environment, overrides=overrides, needs_sources=needs_sources).settings


def read(
    config: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    needs_sources: bool = True,
) -> Read:
    """Read the settings, and remember where each came from.

    The file is `config`, else what LOGLOOM_CONFIG names, else ./logloom.toml where there is one. `overrides` are by
    dotted name. With `needs_sources`, settings that name nothing to read are a mistake. Raises WrongSettings with a
    line for each mistake.
    """
    reader = _Reader(os.environ if environment is None else environment)
    reader.read_file(config)
    reader.read_secrets()
    reader.read_variables()
    for name, value in (overrides or {}).items():
        reader.set(tuple(name.split(".")), value, "command line")
    settings = reader.validate(needs_sources=needs_sources)
    if reader.mistakes:
        raise WrongSettings("\n".join(["The settings can't be run with:", *(f"  {m}" for m in reader.mistakes)]))
    assert settings is not None  # noqa: S101  no mistakes, so it was built
    return Read(settings=settings, origins=reader.origins)


class _Reader:
    """Collects values into a tree, and mistakes into a list."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.tree: Tree = {}
        self.origins: dict[fields.Path, str] = {}
        self.mistakes: list[Mistake] = []
        self._settings = fields.settings()
        self._by_variable = {variable(path): path for path in self._settings}

    def set(self, path: fields.Path, value: object, origin: str) -> None:
        """Put `value` into the tree; a text in a table's place gives way."""
        table = self.tree
        for part in path[:-1]:
            inner = table.get(part)
            if not isinstance(inner, dict):
                inner = table[part] = {}
            table = inner
        table[path[-1]] = value
        self.origins[path] = origin

    # the file

    def read_file(self, config: Path | None) -> None:
        """Read the TOML file, if there is one."""
        named = config or (Path(name) if (name := self.environment.get("LOGLOOM_CONFIG")) else None)
        file = named or Path("logloom.toml")
        if named is None and not file.exists():
            return
        try:
            with file.open("rb") as opened:
                self.tree = tomllib.load(opened)
        except OSError as exc:
            self.mistakes.append(Mistake(text=f"{file}: can't be read: {exc.strerror}"))
        except (ValueError, RecursionError) as exc:
            self.mistakes.append(Mistake(text=f"{file}: no TOML: {exc}"))
        self.origins = dict.fromkeys(_leaves(self.tree), str(file))

    # secrets

    def read_secrets(self) -> None:
        """Read each secret from the file that a setting `<it>_file` or the folder of secrets gives, if one does."""
        folder = self.environment.get("LOGLOOM_SECRETS_DIR")
        if folder is not None and not Path(folder).is_dir():
            self.mistakes.append(Mistake(text=f"LOGLOOM_SECRETS_DIR: {folder!r} is no folder"))
        for path, setting in self._settings.items():
            if not setting.secret:
                continue
            for name in (dotted(path), variable(path)) if folder is not None else ():
                if (file := Path(cast("str", folder), name)).is_file():
                    self._read_secret(path, file, str(file))
            named = self._take((*path[:-1], f"{path[-1]}_file"))
            if named is not None:
                self._read_secret(path, Path(str(named)), str(named))
            by_variable = self.environment.get(f"{variable(path)}_FILE")
            if by_variable is not None:
                self._read_secret(path, Path(by_variable), f"{variable(path)}_FILE")
                if variable(path) in self.environment:
                    self._mistake(path, f"set twice: here and by {variable(path)}_FILE")

    def _take(self, path: fields.Path) -> object:
        table = _table(self.tree, path[:-1])
        self.origins.pop(path, None)
        return None if table is None else table.pop(path[-1], None)

    def _read_secret(self, path: fields.Path, file: Path, origin: str) -> None:
        try:
            # An editor's line end is not part of the secret.
            self.set(path, file.read_text().rstrip("\r\n"), origin)
        except (OSError, UnicodeDecodeError) as exc:
            self._mistake(path, f"its file {str(file)!r} can't be read: {exc}")

    # variables

    def read_variables(self) -> None:
        """Read each variable that starts as Logloom's do."""
        for name, value in sorted(self.environment.items()):
            if name.startswith(PREFIX) and not _OTHER_VARIABLES.fullmatch(name):
                self._read_variable(name, value)

    def _read_variable(self, name: str, value: str) -> None:
        path = self._by_variable.get(name.upper()) or self._source_path(name)
        if path is not None:
            self.set(path, value, name)
        elif self._is_secret_file(name):
            return
        elif not _SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and "://" not in value):
            known = [*self._by_variable, *(variable(p) for p in self._paths_of_sources())]
            self.mistakes.append(Mistake(text=f"{name}: no such setting{_did_you_mean(name, known)}"))

    def _is_secret_file(self, name: str) -> bool:
        path = self._by_variable.get(name.removesuffix("_FILE"))
        return name.endswith("_FILE") and path is not None and self._settings[path].secret

    def _source_path(self, name: str) -> fields.Path | None:
        """Give the path that LOGLOOM_SOURCES__<NAME>__<SETTING> means; a name in the file keeps its own spelling."""
        parts = name.removeprefix(PREFIX).lower().split("__")
        if len(parts) != 3 or parts[0] != "sources" or ("sources", ANY_SOURCE, parts[2]) not in self._settings:
            return None
        known = next((known for known in self._source_names() if same_in_variable(known, parts[1])), parts[1])
        return ("sources", known, parts[2])

    def _source_names(self) -> list[str]:
        sources = self.tree.get("sources")
        return list(sources) if isinstance(sources, dict) else []

    def _paths_of_sources(self) -> Iterator[fields.Path]:
        for path in self._settings:
            if ANY_SOURCE in path:
                yield from ((path[0], name, path[2]) for name in self._source_names() or ["default"])

    # validation

    def validate(self, *, needs_sources: bool) -> Settings | None:
        """Build the settings; what is wrong is noted and left out, so that contradictions show at the same time."""
        self._name_sources()
        wrong: set[fields.Path] = set()
        try:
            settings = Settings.model_validate(self.tree)
        except ValidationError as exc:
            wrong = {self._note(error) for error in exc.errors()}
            for path in wrong:
                self._take(path)
            self._name_sources()
            try:
                settings = Settings.model_validate(self.tree)
            except ValidationError:
                return None
        settings = _with_default_source(settings, self.mistakes)
        lost_sources = any(path[0] in {"topics", "topic_pattern", "sources"} for path in wrong)
        for mistake in contradictions.find(settings, needs_sources=needs_sources and not lost_sources):
            if wrong.isdisjoint(mistake.paths):
                self.mistakes.append(mistake)
        return settings

    def _name_sources(self) -> None:
        """Give each source the name of its table."""
        sources = self.tree.get("sources")
        for name, source in sources.items() if isinstance(sources, dict) else ():
            if isinstance(source, dict):
                if source.get("name", name) != name:
                    self._mistake(("sources", name, "name"), f"write the table [sources.{source['name']}] instead")
                source["name"] = name

    def _note(self, error: ErrorDetails) -> fields.Path:
        """Note the mistake that `error` tells of, and give the path of what must be left out."""
        location = tuple(map(str, error["loc"]))
        path, setting = self._setting_at(location)
        if error["type"] == "extra_forbidden":
            known = [dotted(p) for p in [*self._settings, *self._paths_of_sources()] if ANY_SOURCE not in p]
            self._mistake(location, f"no such setting{_did_you_mean(dotted(location), known)}")
            return location
        if setting is None:
            return self._note_table(location, error)
        value = "***" if setting.secret else masked(_shortened(error["input"]))
        reason = f" ({error['msg'].removeprefix('Value error, ')})" if error["type"] == "value_error" else ""
        self._mistake(path, f"{value} is wrong{reason}; allowed: {setting.allowed}")
        return path

    def _note_table(self, location: fields.Path, error: ErrorDetails) -> fields.Path:
        if location[-1] == "[key]" or location[-1] == "name":
            location = location[:2]
            self._mistake(location, f"no name for a source; allowed: {fields.allowed_source_names()}")
            return location
        table = "[sources.NAME]" if location == ("sources",) else f"[{dotted(location)}]"
        self._mistake(location, f"{_shortened(error['input'])} is wrong; allowed: a table, {table}")
        return location

    def _setting_at(self, location: fields.Path) -> tuple[fields.Path, Setting | None]:
        """Find the setting that `location` is or lies in."""
        for length in range(len(location), 0, -1):
            path = location[:length]
            general = (path[0], ANY_SOURCE, *path[2:]) if path[0] == "sources" and length > 2 else path
            if general in self._settings:
                return path, self._settings[general]
        return location, None

    def _mistake(self, path: fields.Path, text: str) -> None:
        self.mistakes.append(Mistake(paths=(path,), text=text))


def _with_default_source(settings: Settings, mistakes: list[Mistake]) -> Settings:
    """Let the topics that no source names make the source `default`, tried after all others."""
    if not settings.topics and settings.topic_pattern is None:
        return settings
    default = settings.sources.get("default", Source(name="default"))
    if default.topics or default.topic_pattern is not None:
        text = "set beside `topics` or `topic_pattern` outside of any source, which mean the source `default` too"
        mistakes.append(Mistake(paths=(("sources", "default", "topics"),), text=text))
    default = default.model_copy(update={"topics": settings.topics, "topic_pattern": settings.topic_pattern})
    others = {name: source for name, source in settings.sources.items() if name != "default"}
    return settings.model_copy(update={"sources": {**others, "default": default}})


def _leaves(tree: Mapping[str, Any], path: fields.Path = ()) -> Iterator[fields.Path]:
    for name, value in tree.items():
        if isinstance(value, dict) and len(path) < 2:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name)


def _table(tree: MutableMapping[str, Any], path: Sequence[str]) -> MutableMapping[str, Any] | None:
    for part in path:
        inner = tree.get(part)
        if not isinstance(inner, dict):
            return None
        tree = inner
    return tree


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    """Look for a slip of the pen, then for a likely name in the same table, then for the same name in another one."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
    table, last = _split(name)
    if table and not found:
        beside = {_split(k)[1]: k for k in known if _split(k)[0] == table}
        found = [beside[close] for close in difflib.get_close_matches(last, beside, n=1)]
    found = found or [k for k in known if _split(k)[1] == last]
    return f"; did you mean {found[0]}?" if found else ""


def _split(name: str) -> tuple[str, str]:
    *table, last = re.split(r"__|\.", name)
    return ".".join(table), last


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
