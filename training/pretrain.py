"""Let a checkpoint's encoder read unlabelled logs: it learns to guess masked words (domain-adaptive pre-training).

Masks whole words (Devlin et al., 2019) without their character features, and guesses them by a head that is thrown
away afterwards. Lines that differ in words with digits alone are of one kind and count by the square root of their
number, so that a million equal lines teach once. The tagger's own head stays, and its labels on the same lines are held
where they were. Writes a run folder with a checkpoint that the other commands go on from. Prompts and known templates
of the checkpoint that it starts from are left behind: they were made for the encoder as it was.
"""

import argparse
import copy
import hashlib
import io
import json
import math
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from training.encoder import continued, encoder_layers
from training.runs import (
    Group,
    Progress,
    RunFolder,
    add_options,
    by_length,
    distributed,
    draw_curves,
    joules,
    machine,
    options_of,
    rate_groups,
    rate_scale,
    seeded,
)
from training.sample import read_messages, watched
from training.tagging import I64, padded_labels
from training.teaching.masking import Guesser, Masked, masked
from worker.errors import LogloomError, WrongLabels
from worker.parsing.checkpoint import BASE, About, checkpoint_folder, checkpoint_version, read_about
from worker.parsing.model import Network, Tokens, padded_rows, special_tokens, tokenize, write_checkpoint
from worker.parsing.parser import sliced
from worker.parsing.templates import encoded

#: Messages of one kind that are kept: other values of the same words.
_KEPT = 4
#: Characters of a message that are looked at; a window holds fewer.
_LONGEST = 4096
#: Messages that are drawn, sorted by length and cut into batches at once.
_CHUNK = 2048
#: Kinds that tell how often each token occurs.
_COUNTED = 20_000
_DIGIT = re.compile(r"\d")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides a run."""

    logs: tuple[str, ...]
    model: str = BASE
    name: str = ""
    header: str = "auto"
    seed: int = 1
    #: Most lines that are read, 0 for all, and most kinds of lines that are kept.
    lines: int = 0
    kinds: int = 200_000
    #: Share of kinds that is held out, and how many of them are measured on at most.
    held_out: float = 0.1
    measured: int = 400
    #: Messages shown, and the share of them in which the guessing head learns alone.
    examples: int = 20_000
    head_alone: float = 0.15
    batch_tokens: int = 1024
    #: Share of words to guess.
    mask: float = 0.15
    learning_rate: float = 1e-4
    head_learning_rate: float = 2e-3
    warm_up: float = 0.1
    #: Train only the last n layers; 0 trains all. The embeddings are never trained.
    trained_layers: int = 0
    #: Weight of staying with the labels that the tagger gave before; 0 lets it drift.
    keep_labels: float = 1.0
    #: How often the held-out kinds are measured, and after how many such looks without a gain the run stops.
    checks: int = 10
    patience: int = 3
    device: str = "auto"
    #: Threads of the processor, 0 for what torch thinks best.
    threads: int = 0


@dataclass(slots=True, kw_only=True)
class Kind:
    """Messages that differ in words with digits alone."""

    count: int
    #: At most `_KEPT` of them, each as likely as any other.
    messages: list[str]


class Kinds:
    """The kinds of messages that logs hold."""

    def __init__(self, most: int, seed: int) -> None:
        """Keep the first `most` kinds; of a log with more, the others are only counted."""
        self.lines = self.left_out = 0
        self._most = most
        self._rng = random.Random(seed)
        self._by_form: dict[bytes, Kind] = {}

    def read(self, messages: Iterable[str]) -> None:
        """Take messages in."""
        for message in messages:
            words = message[:_LONGEST].split()
            if not words:
                continue
            self.lines += 1
            form = " ".join("0" if _DIGIT.search(word) else word for word in words)
            key = hashlib.blake2b(encoded(form), digest_size=8).digest()
            kind = self._by_form.get(key)
            if kind is not None:
                kind.count += 1
                place = self._rng.randrange(kind.count)
                if len(kind.messages) < _KEPT:
                    kind.messages.append(message[:_LONGEST])
                elif place < _KEPT:
                    kind.messages[place] = message[:_LONGEST]
            elif len(self._by_form) < self._most:
                self._by_form[key] = Kind(count=1, messages=[message[:_LONGEST]])
            else:
                self.left_out += 1

    def split(self, share: float) -> tuple[list[Kind], list[Kind]]:
        """Split the kinds into learned and held out, by chance but alike on every run.

        Raises:
            WrongLabels: there are fewer than two kinds.

        """
        if len(self._by_form) < 2:
            raise WrongLabels(f"{self.lines:,} lines of {len(self._by_form)} kinds teach nothing: give more logs.")
        kinds = [self._by_form[key] for key in sorted(self._by_form)]
        count = min(max(1, round(share * len(kinds))), len(kinds) - 1)
        return kinds[count:], kinds[:count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How a network does on the held-out kinds."""

    #: Mean cross-entropy of a masked token.
    guess_loss: float
    #: Share of tokens that have the label they had before.
    labels_kept: float


class Pretrainer:
    """Trains a network's encoder in place and keeps the curve; at the end the network is as it was at its best."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        *,
        window: int,
        learned: Sequence[Kind],
        held_out: Sequence[Kind],
        configuration: Configuration,
        group: Group,
    ) -> None:
        """Train on windows of at most `window` tokens of the kinds `learned`, measure on those `held_out`.

        Raises:
            WrongLabels: the messages have no words to guess.
            WrongSettings: the encoder's layers can't be told from its embeddings.

        """
        self.curve: list[dict[str, float]] = []
        #: Messages that had been shown when the network was at its best, and its figures then.
        self.best_at, self.best = 0, Held(guess_loss=math.inf, labels_kept=0.0)
        self._tokenizer, self._window, self._special = tokenizer, window, special_tokens(tokenizer)
        self._learned, self._configuration, self._group = learned, configuration, group
        network.to(group.device).requires_grad_(False)
        self._before = copy.deepcopy(network).eval()
        self._layers = encoder_layers(network, configuration.trained_layers)
        self._kept = [parameter.detach().clone() for parameter in self._layers]
        self._guesser = Guesser(network, self._counts(cast("Any", network.encoder))).to(group.device)
        group.same_weights(self._guesser)
        head = [parameter for parameter in self._guesser.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(
            [
                *rate_groups(head, configuration.head_learning_rate),
                *rate_groups(self._layers, configuration.learning_rate),
            ]
        )
        self._rates = [rated["lr"] for rated in self._optimizer.param_groups]
        first = [kind.messages[0] for kind in held_out[: configuration.measured]]
        # The same words are masked on every run with the same share, so that runs compare.
        self._check = list(self._masked(first, random.Random(0), np.random.default_rng(0)))
        if not any(batch.guesses for batch in self._check):
            raise WrongLabels("the held-out messages have no word to guess: give more logs.")

    def train(self) -> None:
        """Show messages, measure now and then, stop early, go back to the best."""
        chosen = self._configuration
        alone = chosen.head_alone * chosen.examples
        notes = sys.stderr if self._group.is_first else None
        progress = Progress(chosen.examples, "messages", notes=notes)
        seen, checked, since_best, losses = 0, 0.0, 0, list[float]()
        for batch in self._batches():
            losses.append(self._step(batch, seen / chosen.examples))
            before, seen = seen, seen + len(batch.rows)
            progress.tell(min(seen, chosen.examples), loss=losses[-1])
            is_last = seen >= chosen.examples
            if is_last or before < alone <= seen or seen - checked >= chosen.examples / chosen.checks:
                checked = seen
                found = self._held()
                self.curve.append(
                    {
                        "seen": seen,
                        "loss": float(np.mean(losses)),
                        "held_out_loss": found.guess_loss,
                        "labels_kept": found.labels_kept,
                    }
                )
                losses.clear()
                since_best += 1
                # Before the encoder learns, every look is the new start.
                if found.guess_loss < self.best.guess_loss or before < alone:
                    self.best_at, self.best, since_best = seen, found, 0
                    self._kept = [parameter.detach().clone() for parameter in self._layers]
            if is_last or since_best >= chosen.patience:
                break
        with torch.no_grad():
            for parameter, kept in zip(self._layers, self._kept, strict=True):
                parameter.copy_(kept)
        self._guesser.eval()

    def _counts(self, encoder: Any) -> I64:
        """Count the tokens of the learned kinds, (V,)."""
        rows = self._tokens([kind.messages[0] for kind in self._learned[:_COUNTED]])
        ids = np.concatenate([np.zeros(0, np.int64), *(row.ids for row in rows)])
        return np.bincount(ids, minlength=encoder.get_input_embeddings().num_embeddings)

    def _tokens(self, messages: Sequence[str]) -> list[Tokens]:
        texts = [_SURROGATE.sub("\ufffd", message) for message in messages]
        found = tokenize(self._tokenizer, texts)
        return [sliced(row, 0, min(len(row.ids), self._window)) for row in found if len(row.ids)]

    def _masked(self, messages: Sequence[str], rng: random.Random, numbers: np.random.Generator) -> Iterator[Masked]:
        """Cut messages into batches with masked words, in random order."""
        rows = self._tokens(messages)
        for batch in by_length([len(row.ids) + 2 for row in rows], self._configuration.batch_tokens, rng):
            yield masked([rows[row] for row in batch], self._configuration.mask, numbers)

    def _batches(self) -> Iterator[Masked]:
        """Draw messages for ever, each kind by the square root of its number."""
        rng, numbers = random.Random(self._configuration.seed), np.random.default_rng(self._configuration.seed)
        weights = [math.sqrt(kind.count) for kind in self._learned]
        while True:
            kinds = rng.choices(self._learned, weights, k=_CHUNK)
            yield from self._masked([rng.choice(kind.messages) for kind in kinds], rng, numbers)

    def _step(self, batch: Masked, share: float) -> float:
        """Take one step when `share` of the run is done; returns the loss per token to guess."""
        chosen = self._configuration
        is_alone = share < chosen.head_alone
        part = batch.shared(self._group)
        for parameter in self._layers:
            parameter.requires_grad_(not is_alone)
        turn = (share - chosen.head_alone) / (1 - chosen.head_alone) if not is_alone else 0.0
        scales = [rate_scale(share, chosen.warm_up)] * 2 + [0.0 if is_alone else rate_scale(turn, chosen.warm_up)] * 2
        for group, rate, scale in zip(self._optimizer.param_groups, self._rates, scales, strict=True):
            group["lr"] = rate * scale
        self._guesser.train()
        guess_loss = 0.0
        if part.rows:
            summed = self._guess_loss(part)
            guess_loss = summed.item()
            # Means over the whole batch, whoever holds its rows; the group then takes the mean over the processes.
            loss = summed / max(1, batch.guesses)
            if chosen.keep_labels and not is_alone:
                loss = loss + chosen.keep_labels * self._label_loss(part) / batch.tokens
            (loss * self._group.size).backward()  # type: ignore[no-untyped-call]
        self._group.mean_gradients(self._guesser)
        nn.utils.clip_grad_norm_(self._guesser.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return self._group.mean(guess_loss) * self._group.size / max(1, batch.guesses)

    def _guess_loss(self, batch: Masked) -> Tensor:
        width = max(len(row.ids) for row in batch.rows) + 2
        inputs = [part.to(self._group.device) for part in padded_rows(batch.shown, self._special, width)]
        hidden = np.zeros((len(batch.rows), width), bool)
        for row, flags in enumerate(batch.hidden):
            hidden[row, 1 : len(flags) + 1] = flags
        marks = [torch.from_numpy(one).to(self._group.device) for one in (hidden, padded_labels(batch.wanted, width))]
        with torch.autocast(self._group.device.type, torch.bfloat16):
            return cast("Tensor", self._guesser(*inputs, *marks))

    def _scores(self, network: Network, rows: Sequence[Tokens]) -> Tensor:
        """Score the labels of all tokens of rows, (tokens, 3)."""
        width = max(len(row.ids) for row in rows) + 2
        ids, shapes, mask = (part.to(self._group.device) for part in padded_rows(rows, self._special, width))
        with torch.autocast(self._group.device.type, torch.bfloat16):
            scores = network(ids, shapes, mask)  # (B, T, 3)
        lengths = torch.tensor([len(row.ids) for row in rows], device=self._group.device)
        places = torch.arange(width, device=self._group.device)
        return cast("Tensor", scores[(places > 0) & (places <= lengths[:, None])].float())

    def _label_loss(self, batch: Masked) -> Tensor:
        """Sum the divergence of the labels from those before, over all tokens (Hinton et al., 2015)."""
        with torch.no_grad():
            before = functional.log_softmax(self._scores(self._before, batch.rows), dim=-1)
        now = functional.log_softmax(self._scores(self._guesser.network, batch.rows), dim=-1)
        return functional.kl_div(now, before, log_target=True, reduction="sum")

    @torch.no_grad()
    def _held(self) -> Held:
        """Measure the network as it is; each process takes its share of the batches."""
        self._guesser.eval()
        loss = kept = 0.0
        guesses = tokens = 0
        for batch in self._group.share(self._check):
            loss += float(self._guess_loss(batch))
            before, now = (
                self._scores(network, batch.rows).argmax(-1) for network in (self._before, self._guesser.network)
            )
            kept += float((before == now).sum())
            guesses, tokens = guesses + batch.guesses, tokens + batch.tokens
        return Held(
            guess_loss=self._group.mean(loss / max(1, guesses), guesses),
            labels_kept=self._group.mean(kept / max(1, tokens), tokens),
        )


def pretrain(configuration: Configuration, run: RunFolder, group: Group) -> dict[str, object]:
    """Run one configuration and return its report; all processes of a group call this.

    Raises:
        WrongLabels: the logs hold too little.
        WrongModel: the checkpoint to start from is broken.
        OSError: a log can't be read.

    """
    if configuration.threads:
        torch.set_num_threads(configuration.threads)
    seeded(configuration.seed)
    folder = checkpoint_folder(configuration.model)
    about = read_about(folder)
    network, config, tokenizer = continued(folder)
    kinds = Kinds(configuration.kinds, configuration.seed)
    notes = sys.stderr if group.is_first else io.StringIO()
    messages = read_messages([Path(log) for log in configuration.logs], header=configuration.header, notes=notes)
    kinds.read(watched(islice(messages, configuration.lines or None), notes))
    learned, held_out = kinds.split(configuration.held_out)
    # Each process drops other units.
    torch.manual_seed(configuration.seed + group.rank)
    trainer = Pretrainer(
        network,
        tokenizer,
        window=about.max_tokens - 2,
        learned=learned,
        held_out=held_out,
        configuration=configuration,
        group=group,
    )
    began = time.perf_counter()
    with joules() as energy:
        trainer.train()
    seconds = time.perf_counter() - began
    report: dict[str, object] = {
        "configuration": asdict(configuration),
        "lines": kinds.lines,
        "kinds": {"learned": len(learned), "held_out": len(held_out), "lines_of_kinds_left_out": kinds.left_out},
        "perplexity": {
            "encoder_as_it_was": first_perplexity(trainer.curve, configuration),
            "best": math.exp(trainer.best.guess_loss),
        },
        "labels_kept": trainer.best.labels_kept,
        "chosen_after_messages": trainer.best_at,
        "seconds": seconds,
        "joules": energy.joules,
        "processes": group.size,
        "machine": machine(group.device),
    }
    if group.is_first:
        made = About(
            name=configuration.name or f"{about.name}-pretrained",
            max_tokens=about.max_tokens,
            origin=f"{about.origin}; {origin(configuration, kinds.lines)}",
            cuts=about.cuts,
        )
        write_checkpoint(run.checkpoint, network, config, tokenizer, made)
        report["version"] = checkpoint_version(run.checkpoint)
        draw_curves(
            trainer.curve,
            run.curve,
            x="seen",
            left=["loss", "held_out_loss"],
            right=["labels_kept"],
            mark=trainer.best_at,
        )
        run.write_report(report | {"curve": trainer.curve})
    return report


def first_perplexity(curve: Sequence[dict[str, float]], configuration: Configuration) -> float:
    """Give the perplexity when the guessing head had learned alone: what comes after is the encoder's gain."""
    alone = configuration.head_alone * configuration.examples
    return math.exp(next(point["held_out_loss"] for point in curve if point["seen"] >= min(alone, curve[-1]["seen"])))


def origin(configuration: Configuration, lines: int) -> str:
    """Say what was done; the logs are not named, they may be private."""
    options = options_of(configuration, Configuration(logs=()), without=("logs", "model", "device", "threads"))
    return f"python -m training.pretrain {options}".strip() + f", {lines} lines of unlabelled logs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, run, print the report. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.pretrain", description=__doc__.split("\n\n")[0] if __doc__ else "",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("logs", nargs="+", metavar="LOG", help="a log, plain or .gz")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"), help="the run folder")
    parser.add_argument("--fresh", action="store_true", help="replace what an earlier run left in the folder")
    shown = {
        "model": "the checkpoint to go on from: base, a folder, or a name on the Hugging Face hub",
        "name": "the new checkpoint's name; empty adds -pretrained to the old one",
        "header": "what stands before the messages: auto, none, a preset's name, or a declared format",
        "seed": "of everything that is drawn",
        "lines": "most lines to read; 0 reads all",
        "kinds": "most kinds of lines to keep",
        "held_out": "share of kinds to measure on",
        "measured": "most kinds to measure on",
        "examples": "messages to show",
        "head_alone": "share of them in which the guessing head learns alone; 1 leaves the encoder as it is",
        "batch_tokens": "padded tokens of a step, of all processes together",
        "mask": "share of words to guess",
        "learning_rate": "of the encoder",
        "head_learning_rate": "of the guessing head",
        "warm_up": "share of the run",
        "trained_layers": "train only the last n layers; 0 trains all",
        "keep_labels": "weight of staying with the tagger's labels; 0 lets it drift",
        "checks": "how often to measure",
        "patience": "looks without a gain before the run stops",
        "device": "auto, cpu or cuda",
        "threads": "of the processor; 0 for what torch thinks best",
    }
    add_options(parser, Configuration(logs=()), shown)
    chosen = vars(parser.parse_args(arguments))
    out, fresh, logs = chosen.pop("out"), chosen.pop("fresh"), tuple(chosen.pop("logs"))
    configuration = Configuration(logs=logs, **chosen)
    try:
        with distributed(configuration.device) as group:
            run = RunFolder(path=out)
            if group.is_first:
                run = RunFolder.open(out, fresh=fresh)
                run.write_configuration(configuration)
            report = pretrain(configuration, run, group)
    except (OSError, LogloomError) as error:
        print(error, file=sys.stderr)
        return 1
    if group.is_first:
        print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
