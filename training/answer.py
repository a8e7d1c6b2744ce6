"""Measure answers to fields asked for in words, on the lines of `training/fields` that were labelled by hand.

Beside the network stand two baselines: a regular expression by what the field's words imply, and the key before the
value, by name. With `--examples` the network is measured before and after it was taught each field by examples: other
lines of the same program that were asked for the same in these or other words (`training/fields/meanings.json`). Only
fields that have such lines count there, the same ones for any number of examples; where there are fewer, all are used.
"""

import argparse
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from training.ask import networks_of
from training.labelled_fields import FOLDER, Asked, Counted, Method, counted, place, read_asked
from training.prompt_fields import Configuration, learned, read_lessons
from worker.parsing.asking import Asker, field_name, words_of
from worker.parsing.fields import SHIPPED, FieldReader
from worker.parsing.spans import Span

#: Per program, fields that ask for the same.
MEANINGS = "meanings.json"

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


def same_elsewhere(
    lines: Sequence[Asked], meanings: Mapping[str, Sequence[Sequence[str]]]
) -> list[tuple[Asked, dict[str, list[tuple[Asked, str]]]]]:
    """List lines with those of their fields that other lines of the program answer, and these lines and fields."""
    found = []
    for asked in lines:
        pools: dict[str, list[tuple[Asked, str]]] = {}
        for field in asked.fields:
            same = next((group for group in meanings.get(asked.program, ()) if field in group), ())
            pool = [
                (other, word) for other in lines if other is not asked and other.program == asked.program
                for word in same if other.fields.get(word)
            ]  # fmt: skip
            if pool:
                pools[field] = pool
        if pools:
            found.append((replace(asked, fields={field: asked.fields[field] for field in pools}), pools))
    return found


def after_examples(lines: Sequence[Asked], half: str, path: Path, count: int, seed: int) -> Counted:
    """Measure the network after `count` examples of each field."""
    meanings = json.loads((FOLDER / MEANINGS).read_text(encoding="utf-8"))[half]
    asker, rng = Asker.load(path), random.Random(seed)
    networks = networks_of(asker.parts)
    counting, answers = list[Asked](), list[list[Span | None]]()
    for program in meanings:
        chosen = same_elsewhere([asked for asked in lines if asked.program == program], meanings)
        taught = [
            (field, [
                lesson
                for other, word in rng.sample(pool, min(count, len(pool)))
                for lesson in read_lessons(replace(other, fields={field: other.fields[word]}), asker, networks).values()
            ])
            for _, pools in chosen for field, pool in pools.items()
        ]  # fmt: skip
        prompts = iter(learned(taught, asker, networks, Configuration()))
        for asked, pools in chosen:
            ours = {field_name(field): next(prompts) for field in pools}
            counting.append(asked)
            answers.append(ByNetwork(asker=asker.taught(ours))(asked))
    remaining = iter(answers)
    return counted(counting, lambda _: next(remaining))


def methods(path: Path) -> dict[str, Method]:
    """Name what is measured."""
    return {
        "regular expression": by_looks, "key": by_keys, "key, else regular expression": by_keys_then_looks,
        "network": ByNetwork(asker=Asker.load(path)),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, measure, print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m training.answer", description=__doc__.split("\n")[0] if __doc__ else "",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", default="base", help="the checkpoint that cuts templates: base, or a folder")
    parser.add_argument("--network", type=Path, default=SHIPPED, help="what `python -m training.ask` wrote")
    parser.add_argument("--half", action="append", choices=("development", "test"), help="which lines; default both")
    parser.add_argument("--examples", help="measure after so many examples of a field, such as 1,3,5")
    parser.add_argument("--seeds", type=int, default=3, help="choices of examples")
    chosen = parser.parse_args(arguments)
    halves = chosen.half or ["development", "test"]
    report: dict[str, object] = {}
    for half in halves:
        lines = read_asked(half, chosen.model)
        if chosen.examples is None:
            report[half] = {name: asdict(counted(lines, method)) for name, method in methods(chosen.network).items()}
        else:
            report[half] = {
                count: [asdict(after_examples(lines, half, chosen.network, count, seed)) for seed in seeds]
                for count, seeds in (
                    (0, range(1)),
                    *((int(n), range(chosen.seeds)) for n in chosen.examples.split(",")),
                )
            }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
