"""Templates that a taught checkpoint knows already: they are asked before the network. Needs no torch.

They are kept as JSON Lines: `{"template": "user <*> in", "spacious": [0], "names": ["user"]}`, where `spacious` numbers
the parameters that may hold white space, and `names`, which may be left out, has a name for each, empty for none.
Bytes that are no UTF-8 stand as lone surrogates, as Python decodes them. A template whose constant text holds `<*>`
itself has `literals`, a list of the texts around its parameters, instead of `template`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from worker.errors import WrongModel
from worker.parsing.checkpoint import KNOWN, prompt_folder, prompt_names
from worker.parsing.templates import LETTERS, MAX_PARAMETERS, WILDCARD, Template, decoded, encoded


class KnownTemplates:
    """Finds the best of many templates that match a message: the one that the compiled table would find.

    Each is filed under one word that all its messages hold, the rarest, so that a message is compared with few.
    """

    def __init__(self, templates: Iterable[Template]) -> None:
        """Know `templates`."""
        self._templates = tuple(sorted(templates, key=lambda template: template.rank))
        uses = Counter(word for template in self._templates for word in template.anchors)
        self._constant: dict[bytes, Template] = {}
        self._by_word: dict[bytes, list[int]] = defaultdict(list)
        self._wordless: list[int] = []
        for place, template in enumerate(self._templates):
            if not template.spacious:
                self._constant.setdefault(template.literals[0], template)
            elif template.anchors:
                self._by_word[min(template.anchors, key=lambda word: uses[word])].append(place)
            else:
                self._wordless.append(place)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the templates of a file.

        Raises:
            WrongModel: it is missing, or a line is no template; the line's number is told.

        """
        return cls(read_known(path))

    def __len__(self) -> int:
        return len(self._templates)

    def __iter__(self) -> Iterator[Template]:
        return iter(self._templates)

    def find(self, message: bytes) -> Template | None:
        """Find the template that matches `message` and wins: that of most literal bytes, then of the smallest id."""
        words = {run[0] for run in LETTERS.finditer(message)}
        places = [place for word in words for place in self._by_word.get(word, ())]
        found = next(
            (
                place
                for place in sorted([*places, *self._wordless])
                if self._templates[place].match(message) is not None
            ),
            None,
        )
        matching = [] if found is None else [self._templates[found]]
        if message in self._constant:
            matching.append(self._constant[message])
        return min(matching, key=lambda template: template.rank, default=None)


def load_known(folder: Path) -> dict[str | None, KnownTemplates]:
    """Load all known templates of the checkpoint in `folder` by prompt; None has those of messages under no prompt.

    Raises:
        WrongModel: a file is broken.

    """
    files: dict[str | None, Path] = {None: folder / KNOWN}
    files |= {name: prompt_folder(folder, name) / KNOWN for name in prompt_names(folder)}
    return {name: KnownTemplates.load(path) for name, path in files.items() if path.is_file()}


def write_known(path: Path, templates: Iterable[Template]) -> None:
    """Write templates as JSON Lines, a line each; their confidence is not kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(_described(template)) + "\n" for template in templates), encoding="ascii")


def read_known(path: Path) -> list[Template]:
    """Read templates in the order of their lines; empty lines are left out.

    Raises:
        WrongModel: the file is missing, or a line is no template; the line's number is told.

    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise WrongModel(f"{path} can't be read: {error}") from error
    templates = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                templates.append(template_of(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise WrongModel(f"{path}, line {number}, is no template: {error}") from error
    return templates


def _described(template: Template) -> dict[str, object]:
    texts = [decoded(literal) for literal in template.literals]
    text = WILDCARD.join(texts)
    fields: dict[str, object] = {"literals": texts} if text.split(WILDCARD) != texts else {"template": text}
    fields["spacious"] = [number for number, may in enumerate(template.spacious) if may]
    if any(template.names):
        fields["names"] = list(template.names)
    return fields


def template_of(fields: Mapping[str, Any]) -> Template:
    """Make the template that a line describes. Raises what a wrong shape raises."""
    texts: list[str] = fields["literals"] if "literals" in fields else fields["template"].split(WILDCARD)
    literals = tuple(encoded(text) for text in texts)
    parameters = len(literals) - 1
    spacious, names = fields.get("spacious", []), tuple(fields.get("names") or [""] * parameters)
    if not 0 <= parameters <= MAX_PARAMETERS:
        raise ValueError(f"it has {parameters} parameters; {MAX_PARAMETERS} are the most")
    if not all(literals[1:-1]):
        raise ValueError("two parameters touch: put constant text between them, or make them one")
    if not all(type(place) is int and 0 <= place < parameters for place in spacious):
        raise ValueError(f"spacious is {spacious}: give numbers of its {parameters} parameters, from 0")
    if len(names) != parameters or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names are {names}: give a text for each of its {parameters} parameters")
    return Template(literals=literals, spacious=tuple(number in spacious for number in range(parameters)), names=names)
