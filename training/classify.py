"""Teach message types: by keywords on the templates of open-source programs, by phrases, then by labelled templates.

Writes a run folder: `configuration.json`, `types.safetensors`, which is what `worker/models` ships, and `report.json`
with the figures on `training/types`. Keywords label every template of the mined corpus, roughly; the network reads the
other words, too, and with some left out, so it learns what else such messages say. The words of `words.toml`, phrases
that tell what a type is, are taught beside them. The templates of `learned.csv`, of packages that nothing is measured
on, were labelled by hand: they settle, in the end, what keywords get wrong.
"""

import csv
import json
import math
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from training.base import split_packages
from training.corpus.logging_calls import CORPUS, LoggingCall, load
from training.runs import RunFolder, add_options, command_parser
from worker.parsing.checkpoint import BASE, checkpoint_folder
from worker.parsing.message_types import SHIPPED, TokenRows, Typer, write_types
from worker.parsing.model import read_checkpoint
from worker.parsing.networks import F32
from worker.parsing.templates import Template

#: Labelled templates, words and keywords.
FOLDER = Path(__file__).parent / "types"
#: How a message of no type is labelled.
NONE = "none"
_LONGEST = 200
_EXCEPTIONS_SHARE = 0.3
#: Of a step: phrases, then, in the end, templates by keywords, phrases and labelled templates.
_PHRASES = 48
_LAST_SHARES = (32, 32, 96)
#: Of how many steps the texts are sorted by length.
_SORTED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides a run."""

    corpus: str = str(CORPUS / "calls.jsonl")
    #: Gives the tokenizer, and where word vectors start.
    model: str = BASE
    seed: int = 0
    templates: int = 170_000
    epochs: int = 5
    batch: int = 192
    width: int = 64
    hidden: int = 256
    direction: int = 96
    dropped: float = 0.08
    learning_rate: float = 0.002
    #: Steps with the templates that were labelled by hand; 0 learns without them.
    labelled_steps: int = 300
    labelled_rate: float = 0.001
    held_out: float = 0.1
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A template that was labelled by hand."""

    template: str
    type: str


def read_labelled(half: str) -> list[Labelled]:
    """Read `development`, `test`, `blind` or `learned`."""
    with (FOLDER / f"{half}.csv").open(encoding="utf-8", newline="") as file:
        return [Labelled(template=row["Template"], type=row["Type"]) for row in csv.DictReader(file)]


def read_words() -> dict[str, tuple[str, ...]]:
    """Read the types that ship, each with phrases for it; the last is NONE."""
    with (FOLDER / "words.toml").open("rb") as file:
        return {name: tuple(words) for name, words in tomllib.load(file).items()}


class Keywords:
    """The baseline, and the teacher: the first type of which a pattern is found."""

    def __init__(self) -> None:
        with (FOLDER / "keywords.toml").open("rb") as file:
            found = tomllib.load(file)
        self._patterns = {name: re.compile(rule["pattern"], re.IGNORECASE) for name, rule in found.items()}

    def type_of(self, template: str) -> str:
        """Tell the type of a template."""
        return next((name for name, pattern in self._patterns.items() if pattern.search(template)), NONE)


def macro_f1(gold: Sequence[str], given: Sequence[str]) -> float:
    """Mean of the F1 of each label that `gold` holds, NONE among them."""
    scores = []
    for label in sorted(set(gold)):
        both = sum(one == other == label for one, other in zip(gold, given, strict=True))
        scores.append(2 * both / (gold.count(label) + given.count(label)))
    return sum(scores) / len(scores)


class Network(nn.Module):
    """What `worker.parsing.message_types` runs, to be taught."""

    def __init__(self, words: Tensor, types: int, configuration: Configuration) -> None:
        """Start from word vectors (V, H), turned to the directions in which they differ most."""
        super().__init__()
        width, hidden, direction = configuration.width, configuration.hidden, configuration.direction
        centred = words - words.mean(0)
        start = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:width].T  # (V, q)
        self.padding = len(words) + 1
        self.tokens = nn.Embedding(len(words) + 2, width, padding_idx=self.padding)
        with torch.no_grad():
            self.tokens.weight.mul_(0.1)
            self.tokens.weight[: len(words)] = start * (0.3 / start.std())
        self.hidden = nn.Linear(3 * width, hidden)
        self.direction = nn.Linear(2 * hidden, direction)
        self.types = nn.Parameter(torch.randn(types + 1, direction) * 0.1)
        self.bias = nn.Parameter(torch.zeros(types + 1))
        self.sharpness = nn.Parameter(torch.tensor(10.0))

    def forward(self, rows: Tensor) -> Tensor:
        """Score the types of templates, tokens (B, T) to (B, n + 1)."""
        pooled = functional.dropout(self.pooled(rows), 0.1, self.training)
        return functional.normalize(self.direction(pooled), dim=-1) @ self._types().T + self.bias

    def pooled(self, rows: Tensor) -> Tensor:
        """Read templates, tokens (B, T) to (B, 2 * h)."""
        vectors = functional.pad(self.tokens(rows), (0, 0, 1, 1))  # (B, T + 2, q)
        real = (rows != self.padding)[..., None]  # (B, T, 1)
        around = torch.cat([vectors[:, :-2], vectors[:, 1:-1], vectors[:, 2:]], dim=-1)
        hidden = functional.relu(self.hidden(around)) * real  # (B, T, h)
        return torch.cat([hidden.amax(1), hidden.sum(1) / real.sum(1)], dim=-1)

    def _types(self) -> Tensor:
        return self.sharpness * functional.normalize(self.types, dim=-1)

    def parts(self, centre: Tensor) -> dict[str, F32]:
        """Give the parts that `write_types` takes; `centre` is what templates are pooled to on average, (2 * h,)."""
        parts = {
            "tokens": self.tokens.weight[:-1],
            "token_scale": torch.ones(self.tokens.weight.shape[1]),
            "hidden_weight": self.hidden.weight,
            "hidden_bias": self.hidden.bias,
            "centre": centre,
            "direction_weight": self.direction.weight,
            "direction_bias": self.direction.bias,
            "types": self._types(),
            "type_bias": self.bias,
        }
        return {name: part.detach().numpy().astype(np.float32) for name, part in parts.items()}


def templates_of(calls: Sequence[LoggingCall], count: int, rng: random.Random) -> list[str]:
    """Choose distinct templates to learn from: of logging calls, and some of the exceptions' texts."""
    chosen: dict[str, str] = {}
    for call in calls:
        text = call.text
        worded = 8 <= len(text) <= _LONGEST and text.isprintable() and re.search("[A-Za-z]{3}", text.replace("<*>", ""))
        if worded and (call.level != "raise" or rng.random() < _EXCEPTIONS_SHARE):
            chosen.setdefault(text.lower(), text)
    return rng.sample(list(chosen.values()), min(count, len(chosen)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is taught: tokens of texts, and which type each has, by its place."""

    rows: list[list[int]]
    types: list[int]
    #: Of each type, by its place.
    weights: list[float]
    #: How many texts a step takes.
    share: int


def lesson(
    texts: Sequence[tuple[str, str]], names: Sequence[str], tokenizer: Tokenizer, *, share: int, weight: float
) -> Lesson:
    """Prepare texts with their labels; labels that are common weigh a little less."""
    types = [names.index(label) for _, label in texts]
    counts = np.bincount(types, minlength=len(names))
    weights = weight * np.minimum(1, 2 * np.median(counts) / np.maximum(counts, 1)) ** 0.25
    tokens = TokenRows(tokenizer)
    rows = [tokens.of(text) for text, _ in texts]
    return Lesson(rows=rows, types=types, weights=weights.tolist(), share=share)


def teach(network: Network, lessons: Sequence[Lesson], steps: int, rate: float, configuration: Configuration) -> None:
    """Teach the types of texts, with some of their tokens left out; each lesson in turns of its own."""
    torch.manual_seed(configuration.seed)
    rng = random.Random(configuration.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    turns = [_turns(one, rng) for one in lessons]
    network.train()
    for step in range(steps):
        drawn = [(one, row) for one, turn in zip(lessons, turns, strict=True) for row in next(turn)]
        rows = [_thinned(one.rows[row], configuration.dropped, rng) for one, row in drawn]
        types = [one.types[row] for one, row in drawn]
        weights = torch.tensor([one.weights[type_] for (one, _), type_ in zip(drawn, types, strict=True)])
        scores = network(_padded(rows, network.padding))
        losses = functional.cross_entropy(scores, torch.tensor(types), reduction="none", label_smoothing=0.05)
        optimizer.zero_grad()
        (losses * weights).mean().backward()  # type: ignore[no-untyped-call]  # torch gives no types
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)


def _turns(one: Lesson, rng: random.Random) -> Iterator[list[int]]:
    """Draw what each step takes, texts of like length, which need little padding; all come before one comes again."""
    chunk = _SORTED * one.share
    while True:
        order = rng.sample(range(len(one.rows)), len(one.rows))
        for start in range(0, len(order), chunk):
            sorted_ = sorted(order[start : start + chunk], key=lambda row: len(one.rows[row]))
            shares = [sorted_[first : first + one.share] for first in range(0, len(sorted_), one.share)]
            yield from rng.sample(shares, len(shares))


def _thinned(row: list[int], share: float, rng: random.Random) -> list[int]:
    return [token for token in row if rng.random() >= share] or row


def _padded(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])


def given(typer: Typer, labelled: Sequence[Labelled]) -> list[str]:
    """Give the type of each template, NONE for none."""
    return [typer.typed(Template.from_text(one.template)).type or NONE for one in labelled]


def measure(path: Path, shots: int = 5, draws: int = 10) -> dict[str, Any]:
    """Score keywords, the types in words, and the types with `shots` examples each (mean of `draws`), macro F1.

    Examples are of the development half: that half has no figure for them.
    """
    keywords, typer = Keywords(), Typer.load(path=path)
    development = read_labelled("development")
    report: dict[str, Any] = {}
    for half in ("development", "test", "blind"):
        labelled = read_labelled(half)
        gold = [one.type for one in labelled]
        report[half] = {
            "templates": len(labelled),
            "keywords": macro_f1(gold, [keywords.type_of(one.template) for one in labelled]),
            "in words": macro_f1(gold, given(typer, labelled)),
        }
        if half != "development":
            scores = [
                macro_f1(gold, given(Typer.load(examples(development, typer.taught, shots, seed), path), labelled))
                for seed in range(draws)
            ]
            report[half][f"{shots} examples"] = sum(scores) / draws
    return report


def examples(labelled: Sequence[Labelled], names: Sequence[str], shots: int, seed: int) -> Mapping[str, list[str]]:
    """Draw `shots` examples of each type, all where there are fewer."""
    rng = random.Random(seed)
    found = {name: [one.template for one in labelled if one.type == name] for name in names}
    return {name: rng.sample(texts, min(shots, len(texts))) for name, texts in found.items()}


def calibrated(path: Path, parts: Mapping[str, F32], names: Sequence[str], tokenizer: Tokenizer) -> dict[str, F32]:
    """Soften the types of `parts` until their probabilities fit the development half best; which is most stays so."""
    write_types(path, parts, names, 0.0, tokenizer)
    typer, labelled = Typer.load(path=path), read_labelled("development")
    scores = np.log(np.maximum([typer.shares(one.template) for one in labelled], 1e-12))  # (n, types + 1)
    right = [[*names, NONE].index(one.type) for one in labelled]

    def surprise(temperature: float) -> float:
        softened = scores / temperature
        told = softened[np.arange(len(right)), right] - np.log(np.exp(softened).sum(axis=1))
        return -float(told.mean())

    temperature = min((step / 10 for step in range(5, 51)), key=surprise)
    return {**parts, **{name: parts[name] / np.float32(temperature) for name in ("types", "type_bias")}}


def best_threshold(path: Path, parts: Mapping[str, F32], names: Sequence[str], tokenizer: Tokenizer) -> float:
    """Choose below which probability there is no type, on the development half."""
    labelled = read_labelled("development")
    gold = [one.type for one in labelled]
    scores = {}
    for percent in range(10, 80, 5):
        write_types(path, parts, names, percent / 100, tokenizer)
        scores[percent / 100] = macro_f1(gold, given(Typer.load(path=path), labelled))
    return max(scores, key=lambda threshold: scores[threshold])


def teach_types(configuration: Configuration, out: Path) -> dict[str, Any]:
    """Teach, choose the threshold, measure, and write the run folder; returns the report."""
    torch.set_num_threads(configuration.threads)
    torch.manual_seed(configuration.seed)
    run = RunFolder.open(out)
    run.write_configuration(configuration)
    _, _, tokenizer, weights = read_checkpoint(checkpoint_folder(configuration.model))
    words = next(part for name, part in weights.items() if name.endswith("word_embeddings.weight")).float()
    learned, _ = split_packages(load(Path(configuration.corpus)), configuration.held_out)
    texts = templates_of(learned, configuration.templates, random.Random(configuration.seed))
    names = [name for name in read_words() if name != NONE]
    network = Network(words[: tokenizer.get_vocab_size()], len(names), configuration)
    taught = taught_by(network, texts, names, tokenizer, configuration)
    path = out / SHIPPED.name
    parts = calibrated(path, network.parts(centre_of(network, tokenizer)), names, tokenizer)
    threshold = best_threshold(path, parts, names, tokenizer)
    write_types(path, parts, names, threshold, tokenizer)
    report = {"threshold": threshold, "learned_from": taught, "macro_f1": measure(path)}
    run.write_report(report)
    return report


def taught_by(
    network: Network, texts: Sequence[str], names: Sequence[str], tokenizer: Tokenizer, configuration: Configuration
) -> dict[str, int]:
    """Teach by keywords and phrases, then by labelled templates as well; returns how many there are of each."""
    keywords, labels = Keywords(), [*names, NONE]
    phrases = [
        (phrase, name) for name, said in read_words().items() for phrase in ([name] if name != NONE else []) + [*said]
    ]
    labelled = [(one.template, one.type) for one in read_labelled("learned")]
    by_keywords = [(text, keywords.type_of(text)) for text in texts]

    steps = math.ceil(configuration.epochs * len(texts) / configuration.batch)
    first = [
        lesson(by_keywords, labels, tokenizer, share=configuration.batch, weight=1.0),
        lesson(phrases, labels, tokenizer, share=_PHRASES, weight=1.5),
    ]
    teach(network, first, steps, configuration.learning_rate, configuration)
    if configuration.labelled_steps:
        by_keyword, phrase, by_hand = _LAST_SHARES
        last = [replace(one, share=share) for one, share in zip(first, (by_keyword, phrase), strict=True)]
        last.append(lesson(labelled, labels, tokenizer, share=by_hand, weight=2.0))
        teach(network, last, configuration.labelled_steps, configuration.labelled_rate, configuration)
    return {"keywords": len(texts), "phrases": len(phrases), "labelled": len(labelled)}


@torch.no_grad()
def centre_of(network: Network, tokenizer: Tokenizer) -> Tensor:
    """Tell what the labelled templates are pooled to on average, (2 * h,)."""
    tokens = TokenRows(tokenizer)
    rows = [tokens.of(one.template) for one in read_labelled("learned")]
    return network.pooled(_padded(rows, network.padding)).mean(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run or measure, print the report."""
    parser = command_parser("classify", __doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/classify"), help="the run folder")
    parser.add_argument("--measure", type=Path, help="measure this file, and teach nothing")
    shown = {
        "corpus": "what `python -m training.mine` wrote",
        "model": "the checkpoint whose tokenizer and word vectors to start from: base, or a folder",
        "seed": "of data and weights",
        "templates": "templates to learn from",
        "epochs": "passes over them",
        "batch": "templates of a step",
        "width": "numbers that a token has",
        "hidden": "units of the hidden layer",
        "direction": "numbers of a direction",
        "dropped": "share of tokens left out in training",
        "learning_rate": "of all weights",
        "labelled_steps": "of teaching by templates labelled by hand; 0 for none",
        "labelled_rate": "of all weights in these steps",
        "held_out": "share of packages left to measure on",
        "threads": "of the CPU",
    }
    add_options(parser, Configuration(), shown)
    chosen = vars(parser.parse_args(arguments))
    out, file = chosen.pop("out"), chosen.pop("measure")
    report = measure(file) if file is not None else teach_types(Configuration(**chosen), out)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
