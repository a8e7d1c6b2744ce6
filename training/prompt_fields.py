"""Teach fields of your own by a few labelled lines: a soft prompt for each, 600 bytes, read in place of its words.

Everything else stays as it is, the network of fields too. EXAMPLES is a file of JSON Lines:

  {"line": "job 17 of tenant acme took 3 s", "fields": {"tenant": "acme", "client ip": null}}

A value is the text that answers, or the places where it stands, [[18, 22]]; null says that the line has no answer.
Writes OUT/checkpoint, which the worker loads; OUT/checkpoint/prompts/NAME/fields.safetensors is what was learned:

  LOGLOOM_MODEL__PATH=OUT/checkpoint, and prompt = "NAME" in the source's settings, beside its `fields`
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from training.ask import AskingNetwork, networks_of
from training.labelled_fields import Asked, events_of, place
from training.runs import RunFolder, add_options, command_parser
from training.teaching.core import copy_checkpoint
from worker.errors import LogloomError, WrongSettings
from worker.offline import FileParser
from worker.parsing.asking import Asker, field_name, overlaps, words_of
from worker.parsing.checkpoint import BASE, FIELDS, checkpoint_folder, prompt_folder, prompt_names
from worker.parsing.field_prompts import read_field_prompts, write_field_prompts
from worker.parsing.fields import SHIPPED, candidates, checked_fields, header_of
from worker.parsing.networks import F32
from worker.parsing.spans import Span

#: The score of what is no slot.
_NOWHERE = -1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How soft prompts are learned."""

    steps: int = 40
    learning_rate: float = 0.03
    #: What a soft prompt pays for its squared distance from the words.
    decay: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a labelled line says of one field, as the networks read it: s slots."""

    #: (s, SIDES, d), and of each network (s, p).
    sides: Tensor
    slots: tuple[Tensor, ...]
    #: Words in common with each slot, (s, EXACT).
    exact: Tensor
    #: Which slots answer, and none at last, (s + 1,).
    right: Tensor


def read_lessons(asked: Asked, asker: Asker, networks: Sequence[AskingNetwork]) -> dict[str, Lesson]:
    """Read a labelled line, by field; fields whose label is no slot are left out."""
    body = asked.event["body"]
    spans = tuple((one["start"], one["end"]) for one in asked.event["attributes"].get("log.record.parameters", ()))
    choices, slots = candidates(body, spans, header_of(asked.event))
    if not slots:
        return {}
    sides, facts = map(torch.from_numpy, asker.sides(slots, body))
    exact = torch.from_numpy(overlaps(slots, [words_of(field) for field in asked.fields]))
    with torch.inference_mode():
        read = tuple(network.read(sides[None], facts[None])[0] for network in networks)
    found = [place(asked, choice) for choice in choices]
    lessons = {
        field: Lesson(
            sides=sides, slots=read, exact=exact[row],
            right=torch.tensor([*(one in places for one in found), not places]),
        )
        for row, (field, places) in enumerate(asked.fields.items())
    }  # fmt: skip
    return {field: lesson for field, lesson in lessons.items() if lesson.right.any()}


def learned(
    taught: Sequence[tuple[str, Sequence[Lesson]]],
    asker: Asker,
    networks: Sequence[AskingNetwork],
    configuration: Configuration,
) -> list[F32]:
    """Learn a soft prompt, (3, d), for each of the fields, f in all, from its l lessons, beginning with its words."""
    words = torch.from_numpy(asker.queries([field for field, _ in taught]))  # (f, 3, d)
    lessons = [lesson for _, ours in taught for lesson in ours]
    if not lessons:
        return [*words.numpy()]
    field = torch.tensor([number for number, (_, ours) in enumerate(taught) for _ in ours])  # (l,)
    weight = 1 / field.bincount()[field]  # (l,)
    sides = pad_sequence([one.sides for one in lessons], batch_first=True)  # (l, s, SIDES, d)
    exact = pad_sequence([one.exact for one in lessons], batch_first=True)  # (l, s, EXACT)
    slots = [pad_sequence([one.slots[number] for one in lessons], batch_first=True) for number in range(len(networks))]
    there = pad_sequence([torch.ones(len(one.sides)) for one in lessons], batch_first=True) > 0  # (l, s)
    answers = pad_sequence([one.right[:-1] for one in lessons], batch_first=True)  # (l, s)
    right = torch.cat([answers, torch.stack([one.right[-1:] for one in lessons])], dim=1)  # (l, s + 1)
    prompts = words.clone().requires_grad_()
    optimizer = torch.optim.Adam([prompts], configuration.learning_rate)
    for _ in range(configuration.steps):
        asked = prompts[field]  # (l, 3, d)
        scores = [network.ask(read, sides, asked, exact) for network, read in zip(networks, slots, strict=True)]
        every = torch.stack(scores).mean(dim=0).masked_fill(~there, _NOWHERE)  # (l, s)
        every = torch.cat([every, torch.zeros(len(lessons), 1)], dim=1)  # (l, s + 1)
        wrong = every.logsumexp(dim=1) - every.masked_fill(~right, _NOWHERE).logsumexp(dim=1)  # (l,)
        loss = (wrong * weight).sum() + configuration.decay * (prompts - words).square().sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [*prompts.detach().numpy()]


def read_examples(path: Path) -> list[tuple[str, dict[str, list[Span]]]]:
    """Read labelled lines: the line, and the places that answer each field.

    Raises:
        WrongSettings: with all mistakes and their line numbers.

    """
    found, mistakes = [], list[str]()
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if row.strip():
            try:
                found.append(_example(json.loads(row)))
            except (ValueError, KeyError, TypeError, AttributeError, LogloomError) as error:
                mistakes.append(f"line {number}: {error}")
    if not found and not mistakes:
        mistakes.append("there is no example")
    if mistakes:
        raise WrongSettings(f"{path}: " + "; ".join(mistakes))
    return found


def _example(row: Mapping[str, Any]) -> tuple[str, dict[str, list[Span]]]:
    line = row["line"]
    checked_fields([*row["fields"]])
    return line, {field: _places(line, field, answer) for field, answer in row["fields"].items()}


def _places(line: str, field: str, answer: object) -> list[Span]:
    """Find where an answer stands. Raises ValueError where it does not."""
    if answer is None:
        return []
    if isinstance(answer, str | int | float) and str(answer):
        text = str(answer)
        places = [found.span() for found in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", line)]
        if not places:
            raise ValueError(f"{field}: {text!r} does not stand in the line")
        return places
    if isinstance(answer, list) and all(_is_place(one, line) for one in answer):
        return [(one[0], one[1]) for one in answer]
    raise ValueError(f"{field}: {answer!r} is no text of the line, no list of [start, end] in it, and not null")


def _is_place(one: object, line: str) -> bool:
    ends = one if isinstance(one, list) and len(one) == 2 and all(type(end) is int for end in one) else [0, 0]
    return 0 <= ends[0] < ends[1] <= len(line)


def teach_fields(
    sources: Mapping[str, Path], out: Path, configuration: Configuration, *, start: str = BASE, header: str = "auto"
) -> dict[str, object]:
    """Learn the fields of each source; writes `out` and returns its report.

    Raises:
        WrongModel: there is no checkpoint `start`, or a source's name can't be that of a prompt.
        WrongSettings: examples are wrong, or `out` holds a finished run.

    """
    folder = checkpoint_folder(start)
    examples = {name: read_examples(path) for name, path in sources.items()}
    files = {name: prompt_folder(folder, name) / FIELDS for name in sources}
    run = RunFolder.open(out)
    run.write_configuration(configuration)
    began, asker = time.perf_counter(), Asker.load(SHIPPED)
    networks = networks_of(asker.parts)
    copy_checkpoint(folder, run.checkpoint)
    report: dict[str, object] = {"configuration": asdict(configuration)}
    for name, labelled in examples.items():
        prompt = name if name in prompt_names(folder) else None
        parser = FileParser.open(source=name, model=start, prompt=prompt, headers=(header,), forget=True)
        events = events_of([line for line, _ in labelled], parser)
        lessons = [
            read_lessons(Asked(line=line, event=event, fields=fields), asker, networks)
            for (line, fields), event in zip(labelled, events, strict=True)
        ]
        fields = dict.fromkeys(field for _, ours in labelled for field in ours)
        taught = [(field, [lesson[field] for lesson in lessons if field in lesson]) for field in fields]
        prompts = dict(zip(map(field_name, fields), learned(taught, asker, networks, configuration), strict=True))
        known = read_field_prompts(files[name], SHIPPED, asker.width) if files[name].is_file() else {}
        write_field_prompts(prompt_folder(run.checkpoint, name) / FIELDS, known | prompts, SHIPPED)
        report[name] = {
            field: {
                "examples": len(ours),
                # A label that is no piece of the message, nor a field of the header, can't be answered.
                "out_of_reach": [line for (line, answers), lesson in zip(labelled, lessons, strict=True)
                                 if field in answers and field not in lesson],
            }
            for field, ours in taught
        }  # fmt: skip
    report["seconds"] = time.perf_counter() - began
    run.write_report(report)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, run, print the report; returns the exit code."""
    parser = command_parser("prompt_fields", __doc__)
    parser.epilog, parser.formatter_class = (__doc__ or "").partition("\n")[2], argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--source", nargs=2, action="append", required=True, metavar=("NAME", "EXAMPLES"),
        help="a source and its labelled lines; may be given more than once",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    parser.add_argument("--model", default=BASE, help="the checkpoint to put the fields into: base, or a folder")
    parser.add_argument(
        "--header", default="auto", metavar="FORMAT", help="the lines' header, as `logloom parse` takes it"
    )
    shown = {
        "steps": "of learning",
        "learning_rate": "of the soft prompts",
        "decay": "what a soft prompt pays for its squared distance from the words",
    }
    add_options(parser, Configuration(), shown)
    chosen = vars(parser.parse_args(arguments))
    out, start, header, given = (chosen.pop(name) for name in ("out", "model", "header", "source"))
    try:
        if len({name for name, _ in given}) < len(given):
            raise WrongSettings("two sources have one name")
        sources = {name: Path(path) for name, path in given}
        print(json.dumps(teach_fields(sources, out, Configuration(**chosen), start=start, header=header), indent=2))
    except (LogloomError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
