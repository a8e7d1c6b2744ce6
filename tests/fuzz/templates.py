"""Templates from wherever they come, and messages against them: kernels with bounds checks beside their reference."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.columns_of import messages_of
from tests.fuzz.envelopes import SEPARATOR
from tests.fuzz.target import Target
from worker.cache.stored import pack_stored, unpack_stored
from worker.cache.templates import TemplateCache
from worker.columns.events import EventWriter
from worker.errors import WrongModel
from worker.parsing.known import KnownTemplates, read_known, write_known
from worker.parsing.templates import WILDCARD, Template

_MESSAGES = (
    b"user bob in", b"took 5 s", b"", b" ", b"7", b"[a] (b) {c}", "Benutzer \u00e4 \u2014 5".encode(), b"\xff\xfe 12",
    b"a" * 300, b"a b " * 80,
)  # fmt: skip
_MOST_PIECES = 12
_SPACIOUS = re.compile(rb"<\+>")


@cache
def _file() -> Path:
    return Path(mkdtemp(prefix="logloom-fuzz-known-")) / "templates.jsonl"


def _best_of(templates: Sequence[Template], message: bytes) -> tuple[str, tuple[tuple[int, int], ...]] | None:
    for template in sorted(templates, key=lambda one: one.rank):
        spans = template.match(message)
        if spans is not None:
            return template.id, spans
    return None


def _look_up(templates: Sequence[Template], messages: Sequence[bytes]) -> None:
    """Look messages up twice, in the index and by fingerprint, and compare with the reference of each template."""
    cache = TemplateCache(max_templates=64, max_fingerprints=64)
    writers = [EventWriter(resource={}), EventWriter(resource={}, format="msgpack")]
    for writer in writers:
        cache.attach(writer)
    known = [cache.template(cache.add(template)) for template in templates]
    known = [cache.find(template.id) or template for template in known]
    texts, headers = messages_of([message.removesuffix(b"\n").removesuffix(b"\r") for message in messages])
    for _ in range(2):
        matches = cache.look_up(texts, headers)
        for row, message in enumerate(messages):
            found, first = int(matches.template[row]), int(matches.first_parameter[row])
            last, base = first + int(matches.parameter_count[row]), int(texts.start[row])
            spans = zip(matches.start[first:last].tolist(), matches.end[first:last].tolist(), strict=True)
            kernel = (cache.template(found).id, tuple((a - base, b - base) for a, b in spans)) if found >= 0 else None
            assert _best_of(known, message.removesuffix(b"\n").removesuffix(b"\r")) == kernel
    for writer in writers:
        writer.write(texts, headers, matches, None, source="fuzz", topic=None, partition=0, parser_version="none",
                     observed_ns=0)  # fmt: skip


def _matching(content: bytes) -> None:
    """Take pieces with a parameter, `<*>` or the spacious `<+>`, for templates, and all of them for messages."""
    pieces = content.split(SEPARATOR)[:_MOST_PIECES]
    templates = []
    for piece in pieces:
        literals = re.split(rb"(?:<[*+]>)+", piece)
        marks = re.findall(rb"(?:<[*+]>)+", piece)
        if 1 < len(literals) <= 100:
            spacious = tuple(bool(_SPACIOUS.search(mark)) for mark in marks)
            templates.append(Template(literals=tuple(literals), spacious=spacious, names=("",) * len(marks)))
        elif len(literals) == 1:
            numbers = [found.span() for found in re.finditer(rb"\d+", piece)][:100]
            templates.append(Template.cut(piece, numbers))
    _look_up(templates, [*pieces, *(WILDCARD.encode().join(one.literals) for one in templates)])


def _known(content: bytes) -> None:
    """Read templates, ask for them, and write them again: they stay the same."""
    _file().write_bytes(content)
    templates = read_known(_file())
    known = KnownTemplates(templates)
    for message in _MESSAGES:
        found = known.find(message)
        assert (None if found is None else found.id) == (_best_of(templates, message) or (None,))[0]
    write_known(_file(), templates)
    assert [(one.id, one.spacious, one.names) for one in templates] == [
        (one.id, one.spacious, one.names) for one in read_known(_file())
    ]
    _look_up(templates[:8], _MESSAGES)


def _stored(content: bytes) -> None:
    """Unpack what Redis may hold, pack it again, and look messages up."""
    template = unpack_stored(content)
    if template is None:
        return
    assert unpack_stored(pack_stored(template)) == template
    _look_up([template], [*_MESSAGES, *template.literals, b"5".join(template.literals)])


def _made_stored() -> list[bytes]:
    made = [Template.from_text("user <*> in"), Template.from_text("<*>", {0}), Template.from_text("took <*> s <*>")]
    return [pack_stored(template) for template in made]


TARGETS = [
    Target(name="matching", read=_matching),
    Target(name="known-templates", read=_known, refuses=(WrongModel,)),
    Target(name="stored-templates", read=_stored, made=_made_stored),
]
