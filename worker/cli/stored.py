"""Templates as they are in Redis, for commands: read, written, pinned; and as JSON lines. Knows no terminal."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.cache.store import PINNED, TemplateStore
from worker.cache.stored import MAX_STORED_BYTES, pack_stored
from worker.errors import LogloomError
from worker.parsing.known import template_of
from worker.parsing.templates import WILDCARD, Template, decoded

if TYPE_CHECKING:
    from worker.settings import Redis, Settings

#: A person asks for all of it; no batch waits for it.
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A template and where it is kept."""

    scope: str
    #: The parser version that made it; None for one that is pinned and that none of the wanted parsers made.
    parser: str | None
    #: With the names that it is pinned with, where it is.
    template: Template
    is_pinned: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """What it is pinned by: scope and id."""
        return self.scope, self.template.id


class Library:
    """What Redis holds. Every call may raise StoreUnavailable."""

    def __init__(self, redis: "Redis") -> None:
        """Raise LogloomError where no Redis is set."""
        if redis.url is None:
            raise LogloomError("no Redis: set redis.url (LOGLOOM_REDIS__URL); without it each worker keeps its own")
        self._redis = redis

    async def load(self, scopes: Sequence[str] = (), parser: str | None = None) -> list[Stored]:
        """Read the templates of every scope and parser version that is wanted, by scope, parser and text."""
        async with self._store() as store:
            held = [one for one in await store.scopes() if not scopes or one.scope in scopes]
        pins = {}
        for one in held:
            if one.parser_version == PINNED:
                async with self._store(PINNED) as store:
                    pins[one.scope] = {pin.id: pin async for pin in store.templates(one.scope)}
        found = []
        for one in held:
            if one.parser_version != PINNED and parser in {None, one.parser_version}:
                of_scope = pins.get(one.scope, {})
                async with self._store(one.parser_version) as store:
                    found += [
                        _stored(one.scope, one.parser_version, template, of_scope.get(template.id))
                        async for template in store.templates(one.scope)
                    ]
        if parser is None:
            learned = {stored.place for stored in found}
            found += [
                Stored(scope=scope, parser=None, template=pin, is_pinned=True)
                for scope, of_scope in pins.items()
                for pin in of_scope.values()
                if (scope, pin.id) not in learned
            ]
        return sorted(found, key=lambda one: (one.scope, one.parser or "", one.template.text, one.template.id))

    async def pin(self, scope: str, templates: Sequence[Template]) -> int:
        """Pin templates with their names, and tell the workers; returns how many there was room for."""
        async with self._store(PINNED) as store:
            return await store.put(scope, templates)

    async def unpin(self, scope: str, template_ids: Iterable[str]) -> int:
        """Let parsers name parameters again, and tell the workers; returns how many were pinned."""
        async with self._store(PINNED) as store:
            return await store.remove(scope, template_ids)

    async def add(self, scope: str, parser: str, templates: Sequence[Template]) -> int:
        """Give templates to the workers of a scope and parser version; returns how many there was room for.

        Names that are there already stay, and so does white space that a parameter may hold.
        """
        async with self._store(parser) as store:
            return await store.put(scope, templates, is_merged=True)

    async def remove(self, scope: str, parser: str, template_ids: Iterable[str]) -> int:
        """Take templates from the workers of a scope and parser version; returns how many there were."""
        async with self._store(parser) as store:
            return await store.remove(scope, template_ids)

    @asynccontextmanager
    async def _store(self, parser: str = "") -> AsyncIterator[TemplateStore]:
        connection = self._redis.connection | {"timeout_seconds": _TIMEOUT_SECONDS}
        store = TemplateStore.connect(**connection, parser_version=parser, max_connections=2)
        try:
            yield store
        finally:
            await store.close()


def loaded(settings: "Settings", scopes: Sequence[str] = (), parser: str | None = None) -> list[Stored]:
    """Read the templates that are wanted. Raises LogloomError where no Redis is set, StoreUnavailable."""
    return asyncio.run(Library(settings.redis).load(scopes, parser))


def by_id(found: Iterable[Stored], template_id: str) -> list[Stored]:
    """Choose the templates whose id begins so. Raises LogloomError where there is none."""
    chosen = [stored for stored in found if stored.template.id.startswith(template_id.lower())]
    if not chosen:
        raise LogloomError(f"no template's id begins with {template_id!r}; `logloom templates list` shows them")
    return chosen


def _stored(scope: str, parser: str, template: Template, pin: Template | None) -> Stored:
    named = template if pin is None else replace(template, names=pin.names)
    return Stored(scope=scope, parser=parser, template=named, is_pinned=pin is not None)


def typed(settings: "Settings", found: Iterable[Stored]) -> list[Stored]:
    """Tell the types of messages, as the settings of their sources say."""
    from worker.parsing.message_types import Typer  # noqa: PLC0415  it takes a while

    shipped = Typer.load()
    asked = {source.scope: source.types for source in settings.sources.values()}
    typers = {scope: None if types is None else shipped.asking(types) for scope, types in asked.items()}
    told = []
    for stored in found:
        typer = typers.get(stored.scope, shipped)
        told.append(stored if typer is None else replace(stored, template=typer.typed(stored.template)))
    return told


def as_json(stored: Stored) -> dict[str, Any]:
    """Describe a template; what its text can't tell, bytes that are no UTF-8 and `<*>` itself, is in `literals`."""
    template = stored.template
    texts = [decoded(literal) for literal in template.literals]
    return {
        "id": template.id,
        "scope": stored.scope,
        "parser": stored.parser,
        "template": template.text,
        **({} if template.text.split(WILDCARD) == texts else {"literals": texts}),
        "confidence": round(template.confidence, 4),
        "type": template.type or None,
        "type_confidence": round(template.type_confidence, 4),
        "pinned": stored.is_pinned,
        "parameters": [
            {"name": name or None, "spacious": spacious}
            for name, spacious in zip(template.names, template.spacious, strict=True)
        ],
    }


def from_json(line: str, *, scope: str | None, parser: str | None, is_pinned: bool) -> Stored:
    """Read what `as_json` described, or less of it: `scope` and `parser` are taken instead of the line's own.

    Raises ValueError with what is wrong.
    """
    try:
        fields = json.loads(line)
        template = template_of({**fields, **_parameters(fields)})
        if fields.get("confidence") is not None:
            template = replace(template, confidence=float(fields["confidence"]))
        scope, parser = scope or fields.get("scope"), parser or fields.get("parser")
        is_pinned = is_pinned or fields.get("pinned", False) is True
        given = fields.get("id", template.id)
    except KeyError as exc:
        raise ValueError(f"it has no {exc}") from exc
    except (TypeError, AttributeError, RecursionError) as exc:
        raise ValueError(f"it is no template: {exc}") from exc
    described = fields.get("parameters", template.names)
    if len(described) != len(template.names):
        raise ValueError(f"it has {len(template.names)} parameters, and describes {len(described)}")
    if given != template.id:
        raise ValueError(f"the id of this template is {template.id}, not {given}")
    if not isinstance(scope, str):
        raise ValueError("it names no scope; give --scope")  # noqa: TRY004  a wrong line, not a wrong call
    if not isinstance(parser, str | None) or (parser is None and not is_pinned):
        raise ValueError("it names no parser; give --parser, or --pin")
    if not 0 <= template.confidence <= 1 or len(pack_stored(template)) > MAX_STORED_BYTES:
        raise ValueError("its confidence is not between 0 and 1, or it is too large")
    return Stored(scope=scope, parser=parser, template=template, is_pinned=is_pinned)


def _parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    if "parameters" not in fields:
        return {}
    parameters = fields["parameters"]
    return {
        "names": [parameter.get("name") or "" for parameter in parameters],
        "spacious": [number for number, parameter in enumerate(parameters) if parameter.get("spacious", False)],
    }
