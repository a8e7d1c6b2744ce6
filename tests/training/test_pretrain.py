"""Pre-training: kinds of lines, what is trained, and very small runs from logs to a checkpoint that parses."""

import gzip
import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.two_processes import in_two_processes
from training.encoder import encoder_layers, folding_tokenizer
from training.pretrain import Configuration, Kinds, main
from worker.errors import WrongLabels
from worker.parsing.checkpoint import PIECES, About, read_about
from worker.parsing.model import Network, described_network, write_checkpoint
from worker.parsing.parser import EncoderParser

WORDS = (
    *("sent", "opened", "closed", "lost", "found", "peer", "disk", "volume", "queue", "leader", "node", "shard"),
    *("token", "from", "with", "after"),
)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "2000", "##2000", "deadbeef", *"0123456789=:/.", *WORDS]
CONFIG = {
    "model_type": "bert", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32,
    "vocab_size": len(VOCABULARY), "max_position_embeddings": 32, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def network() -> Network:
    """Make a small network; without dropout, so that runs compare."""
    torch.manual_seed(1)
    return described_network(CONFIG)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Write a small checkpoint to start from."""
    tokenizer = folding_tokenizer({token: row for row, token in enumerate(VOCABULARY)})
    about = About(name="small", max_tokens=32, origin="a test", cuts=PIECES)
    write_checkpoint(tmp_path / "start", network(), CONFIG, tokenizer, about)
    return tmp_path / "start"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Write a log of lines in which each word tells the others."""
    rng = random.Random(1)
    lines = [" ".join([rng.choice(WORDS)] * rng.randrange(4, 8)) + f" {rng.randrange(1000)}\n" for _ in range(300)]
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def options(log: Path, start: Path, out: Path, **more: object) -> list[str]:
    """Write a small run's command line."""
    chosen = {
        "out": out, "model": start, "header": "none", "examples": 300, "batch-tokens": 128, "device": "cpu",
        "checks": 4, "threads": 1, "learning-rate": 3e-3, "head-learning-rate": 1e-2,
    } | {name.replace("_", "-"): value for name, value in more.items()}  # fmt: skip
    return [str(log), *(text for name, value in chosen.items() for text in (f"--{name}", str(value)))]


def test_equal_lines_are_one_kind() -> None:
    """Words with digits make no difference, values of a kind are kept, and what is beyond the bound is counted."""
    kinds = Kinds(2, seed=1)
    kinds.read([*(f"sent {number} to a1" for number in range(100)), "", "lost b", "closed c", "closed c"])
    learned, held_out = kinds.split(0.5)
    counts = {kind.count: kind.messages for kind in [*learned, *held_out]}
    assert {100, 1} == counts.keys()
    assert 4 == len(set(counts[100]))
    assert (103, 2) == (kinds.lines, kinds.left_out)


def test_kinds_are_held_out_alike() -> None:
    """The order of lines does not matter, and neither side is ever empty."""
    names = [first + second for first in "abcd" for second in "abcdefgh"]
    one, other = Kinds(100, seed=1), Kinds(100, seed=1)
    one.read(names)
    other.read(reversed(names))
    held = [kind.messages for kind in one.split(0.25)[1]]
    assert 8 == len(held)
    assert held == [kind.messages for kind in other.split(0.25)[1]]
    assert [1, 31] == [len(one.split(share)[1]) for share in (0.0, 1.0)]


def test_one_kind_teaches_nothing() -> None:
    """There would be nothing to measure on."""
    kinds = Kinds(10, seed=1)
    kinds.read(["a 1", "a 2"])
    with pytest.raises(WrongLabels, match="2 lines of 1 kinds teach nothing"):
        kinds.split(0.1)


def test_the_last_layers_are_chosen() -> None:
    """Embeddings are never trained; of two layers one is half of what all is."""
    made = network()
    layers = encoder_layers(made)
    assert not {id(one) for one in layers} & {id(one) for one in made.encoder.get_submodule("embeddings").parameters()}
    assert len(layers) == 2 * len(encoder_layers(made, 1))


def test_a_run_leaves_a_better_encoder_and_the_same_tagger(
    log: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Perplexity of held-out kinds falls, layers alone change, and the checkpoint parses and says what it is."""
    assert 0 == main(options(log, start, tmp_path / "run", examples=1500))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["perplexity"]["best"] < 0.8 * report["perplexity"]["encoder_as_it_was"]
    assert 0.9 < report["labels_kept"] <= 1
    assert 300 == report["lines"]
    configuration = json.loads((tmp_path / "run" / "configuration.json").read_text())
    assert configuration["logs"] == [str(log)]
    assert configuration.keys() == asdict(Configuration(logs=())).keys()
    before, after = (load_file(folder / "model.safetensors") for folder in (start, tmp_path / "run" / "checkpoint"))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed
    assert all(".layer." in name for name in changed)
    about = read_about(tmp_path / "run" / "checkpoint")
    assert ("small-pretrained", PIECES) == (about.name, about.cuts)
    assert about.origin.startswith("a test; python -m training.pretrain ")
    assert str(tmp_path) not in about.origin
    assert EncoderParser.load(tmp_path / "run" / "checkpoint", device="cpu").parse([b"sent 5 from node"])[0] is not None
    assert report["version"] in capsys.readouterr().out
    assert b"\x89PNG" == (tmp_path / "run" / "curve.png").read_bytes()[:4]


def test_the_head_may_learn_alone(log: Path, start: Path, tmp_path: Path) -> None:
    """The encoder then stays as it was, which tells what pre-training itself gains."""
    assert 0 == main(options(log, start, tmp_path / "run", head_alone=1.0))
    weights = [load_file(folder / "model.safetensors") for folder in (start, tmp_path / "run" / "checkpoint")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_run_stops_early(log: Path, start: Path, tmp_path: Path) -> None:
    """Where nothing is gained any more, the run ends and the best encoder is written."""
    assert 0 == main(options(log, start, tmp_path / "run", learning_rate=3.0, examples=3000, checks=20, patience=1))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["curve"][-1]["seen"] < 3000
    best = min(report["curve"], key=lambda point: float(point["held_out_loss"]))
    assert best["seen"] == report["chosen_after_messages"]


def test_bad_input_is_told(log: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing log, a finished run folder and messages without words end with a sentence and exit code 1."""
    assert 1 == main(options(tmp_path / "none.log", start, tmp_path / "run"))
    assert "none.log" in capsys.readouterr().err
    (tmp_path / "run" / "report.json").write_text("{}")
    assert 1 == main(options(log, start, tmp_path / "run"))
    assert "holds the report of an earlier run" in capsys.readouterr().err
    (tmp_path / "numbers.log").write_text("1 = 2\n3 / 4\n5\n")
    assert 1 == main(options(tmp_path / "numbers.log", start, tmp_path / "numbers"))
    assert "no word to guess" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_pretrain_as_one(log: Path, start: Path, tmp_path: Path) -> None:
    """Started by torchrun, they take the same steps: the weights are those of one process, up to rounding."""
    in_two_processes("-m", "training.pretrain", *options(log, start, tmp_path / "two", examples=60))
    assert 0 == main(options(log, start, tmp_path / "one", examples=60))
    one, two, before = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "one" / "checkpoint", tmp_path / "two" / "checkpoint", start)
    )
    assert any(not torch.equal(tensor, before[name]) for name, tensor in one.items())
    for name, tensor in one.items():
        # Products in bfloat16 round by the rows that are multiplied together.
        assert torch.allclose(tensor.float(), two[name].float(), atol=3e-3), name
    assert 2 == json.loads((tmp_path / "two" / "report.json").read_text())["processes"]
