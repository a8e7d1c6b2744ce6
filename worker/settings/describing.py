"""Shows settings: the table of all that can be set, and what is in force, without its secrets."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from worker.settings import fields
from worker.settings.fields import ANY_SOURCE, dotted, variable
from worker.settings.model import Group, Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One setting that is in force."""

    #: As in the TOML file.
    name: str
    #: As a variable of the environment.
    variable: str
    #: Secrets masked.
    value: str
    #: Where it came from; `default` for a default.
    origin: str


def shown(settings: Settings, origins: Mapping[fields.Path, str]) -> Iterator[Shown]:
    """Give every setting that is in force, secrets masked. `origins` as `read` gives them."""
    for path in fields.settings():
        paths = [path]
        if ANY_SOURCE in path:
            paths = [(path[0], name, path[2]) for name in settings.sources]
        for concrete in paths:
            yield Shown(
                name=dotted(concrete),
                variable=variable(concrete),
                value=_written(_value(settings, concrete)),
                origin=origins.get(concrete, "default"),
            )


def describe() -> str:
    """Give a table in Markdown of all settings for each group."""
    return "\n".join(["# Settings\n", *(_describe_group(*group) for group in fields.groups())]).rstrip("\n")


def masked(text: str) -> str:
    """Mask the password in every address within `text`."""
    return re.sub(r"(://[^/@\s]*:)[^/@\s]+@", r"\1***@", text)


def _describe_group(path: fields.Path, group: type[Group], own: list[fields.Setting]) -> str:
    title = f"`[{dotted(path)}]`" if path else "Outside of any table"
    lines = [f"## {title}", "", str(group.__doc__), ""]
    lines += ["| setting | variable | default | allowed | meaning |", "|---|---|---|---|---|"]
    for setting in own:
        cells = (
            f"`{setting.path[-1]}`",
            f"`{variable(setting.path)}`",
            f"`{_written(_default(setting))}`",
            setting.allowed,
            str(setting.field.description),
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _default(setting: fields.Setting) -> Any:
    default = setting.field.get_default(call_default_factory=True, validated_data={})
    return None if default is PydanticUndefined else default


def _value(settings: Settings, path: fields.Path) -> Any:
    value: Any = settings
    for part in path:
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


def _written(value: Any) -> str:
    """Write `value` as in TOML, secrets masked."""
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, str | Path):
        return masked(str(value))
    return json.dumps(value, ensure_ascii=False)
