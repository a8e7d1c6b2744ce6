"""The model's side: distinct lines that no template knows, beside a stock tagger of the same size on the same lines.

Lines of every captured log of `training/captured/development`, in order; each log by itself, as misses come.
"""

import csv
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from tests.bench.figures import Figure
from worker.parsing.checkpoint import checkpoint_folder
from worker.parsing.parser import EncoderParser
from worker.parsing.templates import encoded

_LOGS = Path(__file__).parents[2] / "training" / "captured" / "development"
#: What a worker gives to its model at once, by its settings.
_ROWS = 256
#: What people take for a batch.
_PEER_ROWS = 32


def misses(*, lines_each: int, repeats: int, model: str) -> Iterator[Figure]:
    """Parse the first `lines_each` distinct lines of each log, then tag them by the peer, in turn, `repeats` times."""
    logs = [distinct_lines(path, lines_each) for path in sorted(_LOGS.glob("*.csv"))]
    parser, peer = EncoderParser.load(model), _Peer(checkpoint_folder(model))
    count = sum(map(len, logs))
    ours, theirs = list[float](), list[float]()
    for turn in range(repeats + 1):
        began = time.perf_counter()
        for log in logs:
            for start in range(0, len(log), _ROWS):
                parser.parse([encoded(line) for line in log[start : start + _ROWS]])
        middle = time.perf_counter()
        for log in logs:
            peer.tag(log)
        if turn:  # the first one warms up
            ours.append(count / (middle - began))
            theirs.append(count / (time.perf_counter() - middle))
    threads = f"{torch.get_num_threads()} threads, {count:,} lines of {len(logs)} logs"
    yield Figure(name="misses", unit="distinct lines/s", values=tuple(ours), at_least=1_500, note=threads)
    yield Figure(
        name="the same by a stock tagger", unit="distinct lines/s", values=tuple(theirs),
        note=f"transformers, float32, batches of {_PEER_ROWS} by length, no templates cut",
    )  # fmt: skip
    yield Figure(
        name="misses, ratio", unit="x", values=tuple(own / other for own, other in zip(ours, theirs, strict=True))
    )


def distinct_lines(path: Path, count: int) -> list[str]:
    """Read the first `count` distinct messages of a captured log."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(dict.fromkeys(row["Content"] for row in csv.DictReader(file)))[:count]


class _Peer:
    """A token classifier as `transformers` makes it, of the checkpoint's size; its weights are random."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self._tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")  # noqa: S106 - no password
        self._network = BertForTokenClassification(BertConfig(**config, num_labels=3)).eval()
        self._most = config["max_position_embeddings"]

    def tag(self, lines: Sequence[str]) -> None:
        """Label the tokens of each line."""
        ordered = sorted(lines, key=len)
        with torch.inference_mode():
            for start in range(0, len(ordered), _PEER_ROWS):
                batch = self._tokenizer(
                    ordered[start : start + _PEER_ROWS], padding=True, truncation=True, max_length=self._most,
                    return_tensors="pt", return_token_type_ids=False,
                )  # fmt: skip
                self._network(**batch).logits.argmax(-1)
