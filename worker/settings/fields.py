"""The list of all settings, found by walking over the model. Knows nothing of values."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from worker.settings.kinds import Allowed
from worker.settings.model import Group, Settings, Source

#: What every variable starts with.
PREFIX = "LOGLOOM_"
#: Stands for a source's name in a path.
ANY_SOURCE = "<name>"

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: where it stands and what it takes."""

    #: From the outermost table inward; ANY_SOURCE for a source's name.
    path: Path
    #: Its declaration.
    field: FieldInfo

    @cached_property
    def secret(self) -> bool:
        """Say whether the value must stay hidden."""
        return SecretStr in _flat(self.field.annotation)

    @cached_property
    def optional(self) -> bool:
        """Say whether it may be none."""
        return type(None) in _flat(self.field.annotation)

    @cached_property
    def allowed(self) -> str:
        """What may be written, in words."""
        text = _allowed(self.field.annotation, self.field.metadata)
        return f"{text}; or none" if self.optional else text


def dotted(path: Sequence[str | int]) -> str:
    """Spell `path` as in the TOML file."""
    return ".".join(map(str, path))


def variable(path: Sequence[str | int]) -> str:
    """Spell `path` as a variable of the environment."""
    return PREFIX + "__".join(str(part) if part == ANY_SOURCE else _in_variable(part) for part in path)


def _in_variable(part: str | int) -> str:
    return str(part).upper().replace("-", "_").replace(".", "_")


def same_in_variable(first: str, second: str) -> bool:
    """Say whether two source names are one and the same in a variable's name."""
    return _in_variable(first) == _in_variable(second)


def groups() -> Iterator[tuple[Path, type[Group], list[Setting]]]:
    """Give each table with its own settings, the outermost first and sources last."""
    yield (), Settings, _own_settings(Settings, ())
    for name, field in Settings.model_fields.items():
        if _is_group(field):
            yield (name,), typing.cast("type[Group]", field.annotation), _own_settings(field.annotation, (name,))
    path = ("sources", ANY_SOURCE)
    yield path, Source, _own_settings(Source, path)


def settings() -> dict[Path, Setting]:
    """Give every setting by its path."""
    return {setting.path: setting for _, _, own in groups() for setting in own}


def _own_settings(group: Any, path: Path) -> list[Setting]:
    return [
        Setting(path=(*path, name), field=field)
        for name, field in group.model_fields.items()
        if not _is_group(field) and not (group is Settings and name == "sources") and name != "name"
    ]


def _is_group(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Group)


def _flat(annotation: Any) -> set[Any]:
    """Give the types that a union is made of."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _flat(typing.get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return {part for argument in typing.get_args(annotation) for part in _flat(argument)}
    return {annotation}


def _allowed(annotation: Any, metadata: Sequence[Any]) -> str:
    for mark in metadata:
        if isinstance(mark, Allowed):
            return mark.text
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _allowed(arguments[0], arguments[1:])
    if origin is Union or origin is types.UnionType:
        return " or ".join(_allowed(argument, ()) for argument in arguments if argument is not type(None))
    if origin is Literal:
        return ", ".join(arguments)
    return _NAMES[annotation] + _limits(metadata)


_NAMES: Mapping[Any, str] = {
    bool: "true, false",
    int: "a whole number",
    float: "a number",
    str: "text",
    SecretStr: "text (a secret)",
}


def _limits(metadata: Sequence[Any]) -> str:
    """Say the range of a number; FieldInfo splits `Field(ge=, le=)` into annotated-types marks or keeps it whole."""
    words = []
    for mark in metadata:
        if isinstance(mark, FieldInfo):
            return _limits(mark.metadata)
        if isinstance(mark, Ge):
            words.append(f" from {mark.ge:,}".replace(",", "_"))
        if isinstance(mark, Gt):
            words.append(f" above {mark.gt}")
        if isinstance(mark, Le):
            words.append(f" to {mark.le:,}".replace(",", "_"))
    return "".join(words)


def allowed_source_names() -> str:
    """Say what a source may be called."""
    return _allowed(Source.model_fields["name"].annotation, Source.model_fields["name"].metadata)
