"""Measure answers to fields asked for in words, on the lines of `training/fields` that were labelled by hand.

An answer is right where it is one of the labelled places exactly. Precision is over the fields that got an answer,
recall over those that have one; where the line has none, an answer lowers precision, and no answer counts as nothing,
as GLiNER counts. Beside the network stand two baselines: a regular expression by what the field's words imply, and the
key before the value, by name.
"""

import argparse
import asyncio
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from worker.columns.lines import read_lines
from worker.offline import FileParser
from worker.parsing.asking import Asker, words_of
from worker.parsing.fields import SHIPPED, Answer, FieldReader
from worker.parsing.pieces import Piece
from worker.parsing.spans import Span

FOLDER = Path(__file__).parent / "fields"

_LEVEL = r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|FATAL|SEVERE|LOG|notice|info|warn(?:ing)?|error|fatal)\b"
#: Words of fields and what their values look like; the first of these whose words are asked for is searched for.
_LOOKS: tuple[tuple[str, str], ...] = (
    ("timestamp", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)?"),
    ("date day", r"\d{4}[-/]\d\d[-/]\d\d|\d\d/[A-Z][a-z]{2}/\d{4}|\d\d [A-Z][a-z]{2} \d{4}"),
    ("duration elapsed latency took interval delay", r"\d+(?:\.\d+)? ?(?:ms|s|µs|seconds?|secs?|minutes?)\b"),
    ("time clock", r"\d\d:\d\d:\d\d(?:[.,]\d+)?"),
    ("level severity", _LEVEL),
    ("email mail", r"[\w.+-]+@[\w.-]+\.\w+"),
    ("url uri link", r"[a-z]+://[^\s\"',]+"),
    ("port", r"(?<=:)\d{2,5}\b|(?<=port )\d+|(?<=port=)\d+"),
    ("ip address client remote peer", r"\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]+::[0-9a-f:]+"),
    ("host hostname server machine domain", r"\b[a-z][\w-]*(?:\.[\w-]+)+\b"),
    ("version", r"\b\d+(?:\.\d+)+\S*"),
    ("exception error class", r"[\w.$]*(?:Error|Exception)\b"),
    ("pid process", r"(?<=\[)\d+(?=\])|^\d+"),
    ("method verb", r"\b(?:GET|PUT|POST|HEAD|DELETE)\b"),
    ("status code", r"\b[1-5]\d\d\b"),
    ("file path directory page resource", r"(?<!\S)[\"']?(/[\w./~-]+)|[\w-]+\.(?:c|py|java|txt|conf|log)\b"),
    ("size bytes memory length", r"\d[\d,]* ?(?:bytes|B|kB|KB|MB|GB)"),
    ("user username login account", r"(?<=user )\S+|(?<=user=)\w+"),
    ("reason cause message", r"(?<=: )[A-Z][^:,]+$"),
    ("count number id line total attempts", r"\b\d+\b"),
)
_KEYED = re.compile(r"([A-Za-z_][\w.\-]*)(?:=|: ?)[\"'\[({<]?([^\s,;\"'\])}>]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A labelled line, and the event that the parser makes of it."""

    line: str
    event: Mapping[str, Any]
    #: Field: the places that are right, none where the line has no answer.
    fields: Mapping[str, Sequence[Span]]

    @property
    def offset(self) -> int:
        """Where the message begins in the line."""
        return self.line.find(self.event["body"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How good answers are."""

    precision: float
    recall: float
    f1: float


class Method(Protocol):
    """Answers the fields of one line with places in it; None for no answer."""

    def __call__(self, asked: Asked) -> list[Span | None]:
        """Answer the fields in their order."""
        ...


def counted(lines: Iterable[Asked], method: Method) -> Counted:
    """Count exact answers, over all fields of all lines."""
    right = given = there = 0
    for asked in lines:
        for answer, places in zip(method(asked), asked.fields.values(), strict=True):
            right += answer in places
            given += answer is not None
            there += bool(places)
    return Counted(precision=right / max(1, given), recall=right / there, f1=2 * right / (given + there))


def by_looks(asked: Asked) -> list[Span | None]:
    """Search for what the fields' words imply."""
    return [_look(asked.line, set(words_of(field))) for field in asked.fields]


def _look(line: str, words: set[str]) -> Span | None:
    pattern = next((pattern for names, pattern in _LOOKS if words.intersection(names.split())), None)
    found = None if pattern is None else re.search(pattern, line)
    return None if found is None else found.span(found.lastindex or 0)


def by_keys(asked: Asked) -> list[Span | None]:
    """Take the value whose key, or whose name in the header, is the field, or else whose words are all of the field."""
    return [_keyed(asked, words_of(field)) for field in asked.fields]


def _keyed(asked: Asked, words: Sequence[str]) -> Span | None:
    keyed = [(words_of(found[1]), found.span(2)) for found in _KEYED.finditer(asked.line)]
    named = {**asked.event["attributes"], "severity level": asked.event.get("severity_text", "")}
    for name, value in named.items():
        place = asked.line.find(str(value)) if value and not name.startswith(("log.record.", "logloom.")) else -1
        if place >= 0:
            shared = [word for word in words_of(name) if word in words]
            keyed.append((shared, (place, place + len(str(value)))))
    exact = [span for key, span in keyed if key == list(words)]
    return next(iter([*exact, *(span for key, span in keyed if key and set(key) <= set(words))]), None)


def by_keys_then_looks(asked: Asked) -> list[Span | None]:
    """Take the key's value, else what looks right."""
    return [key or look for key, look in zip(by_keys(asked), by_looks(asked), strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByNetwork:
    """Ask the network, as the worker does."""

    asker: Asker

    def __call__(self, asked: Asked) -> list[Span | None]:
        """Answer the fields of one line."""
        reader = FieldReader(self.asker, tuple(asked.fields))
        return [None if answer is None else place(asked, answer) for answer in reader.answers(asked.event)]


def place(asked: Asked, answer: Answer) -> Span:
    """Find in the line what an answer stands for; of a header, events hold the timestamp in another notation."""
    offset = asked.offset
    if answer.span is not None:
        return answer.span[0] + offset, answer.span[1] + offset
    header = asked.line[:offset]
    if answer.header is not None and answer.header.part:
        dated = (piece for piece in Piece.all(header) if answer.header.part in piece.rules)
        return next(((piece.start, piece.end) for piece in dated), (-1, -1))
    start = header.find(answer.text)
    if start < 0:  # some programs write fields behind the message
        start = asked.line.find(answer.text, offset + len(asked.event["body"]))
    return start, start + len(answer.text)


def read_asked(half: str, model: str) -> list[Asked]:
    """Read the lines of a half and parse them, a source per program."""
    rows = [json.loads(row) for row in (FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()]
    found: list[Asked] = []
    for program in dict.fromkeys(row["program"] for row in rows):
        ours = [row for row in rows if row["program"] == program]
        events = asyncio.run(_events([row["line"] for row in ours], program, model))
        for row, event in zip(ours, events, strict=True):
            fields = {field: [(start, end) for start, end in places] for field, places in row["fields"].items()}
            found.append(Asked(line=row["line"], event=event, fields=fields))
    return found


async def _events(lines: Sequence[str], source: str, model: str) -> list[dict[str, Any]]:
    parser = FileParser.open(source=source, model=model, forget=True)
    file = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    return [
        json.loads(event)
        for records in read_lines(file, chunk_bytes=1 << 22)
        for event in bytes(await parser.parse(records)).splitlines()
    ]


def measured(half: str, model: str, path: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Measure all methods on one half."""
    lines = read_asked(half, model)
    methods: dict[str, Method] = {
        "regular expression": by_looks, "key": by_keys, "key, else regular expression": by_keys_then_looks,
        "network": ByNetwork(asker=Asker.load(path)),
    }  # fmt: skip
    for name, method in methods.items():
        yield name, asdict(counted(lines, method))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, measure, print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m training.answer", description=__doc__.split("\n")[0] if __doc__ else "",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", default="base", help="the checkpoint that cuts templates: base, or a folder")
    parser.add_argument("--network", type=Path, default=SHIPPED, help="what `python -m training.ask` wrote")
    parser.add_argument("--half", action="append", choices=("development", "test"), help="which lines; default both")
    chosen = parser.parse_args(arguments)
    halves = chosen.half or ["development", "test"]
    print(json.dumps({half: dict(measured(half, chosen.model, chosen.network)) for half in halves}, indent=2))


if __name__ == "__main__":
    main()
