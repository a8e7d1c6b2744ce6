"""Soft prompts: their file, what may be in it, and rows of many prompts in one micro-batch."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.parsing.checkpoints import CONFIGURATION, OTHER_CONFIGURATION, write_small
from worker.errors import WrongModel
from worker.parsing.checkpoint import (
    ABOUT,
    CONFIG,
    CORRECTED,
    KNOWN,
    PIECES,
    PROMPT,
    WEIGHTS,
    checkpoint_version,
    encoder_version,
    prompt_folder,
)
from worker.parsing.known import write_known
from worker.parsing.model import Tagger, described_network
from worker.parsing.parser import EncoderParser
from worker.parsing.prompts import Prompt, PromptBatch, load_prompt, load_prompts, prompt_names, write_prompt
from worker.parsing.templates import Template

HIDDEN, LAYERS = CONFIGURATION["hidden_size"], CONFIGURATION["num_hidden_layers"]
MESSAGES = [b"took 5 s", b"id=a7 (b)", b"x", b"/var/log/a.log gone", b"b=[c] 17 took 12345", b"a.b.c: 9"]


def made(name: str, *, p: int = 0, q: int = 0, head: bool = False, seed: int = 0, cuts: str | None = None) -> Prompt:
    """Make a prompt of random numbers, large enough to change labels."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 2

    return Prompt(
        name=name,
        vectors=random(p, HIDDEN),
        keys=random(LAYERS, q, HIDDEN),
        values=random(LAYERS, q, HIDDEN),
        head_weight=random(3, HIDDEN) if head else None,
        head_bias=random(3) if head else None,
        cuts=cuts,
    )


PROMPTS = [
    made("input", p=3, seed=1),
    made("deep", q=4, seed=2),
    made("head", head=True, seed=3),
    made("whole", p=5, q=2, head=True, seed=4, cuts=PIECES),
    made("empty"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint with prompts of every kind."""
    folder = write_small(tmp_path_factory.mktemp("taught"))
    for prompt in PROMPTS:
        write_prompt(folder, prompt)
    return folder


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Write a checkpoint with one prompt, for tests to spoil."""
    folder = write_small(tmp_path / "one")
    write_prompt(folder, made("mail", p=2, q=3, head=True))
    return folder


def test_a_prompt_is_read_as_it_was_written(checkpoint: Path) -> None:
    """Every part comes back, in the precision of the file."""
    assert tuple(sorted(prompt.name for prompt in PROMPTS)) == prompt_names(checkpoint)
    found = load_prompts(checkpoint, CONFIGURATION)
    for prompt in PROMPTS:
        read = found[prompt.name]
        assert (prompt.name, prompt.cuts) == (read.name, read.cuts)
        assert prompt.tensors().keys() == read.tensors().keys()
        for name, tensor in prompt.tensors().items():
            torch.testing.assert_close(read.tensors()[name], tensor.half().float(), rtol=0, atol=0)


def test_a_prompt_is_written_to_the_same_bytes(tmp_path: Path) -> None:
    """Versions follow the bytes, so the same prompt has the same version whenever it is written."""
    folder = write_small(tmp_path)
    versions = set()
    for _ in range(8):
        write_prompt(folder, made("mail", p=2, q=3, head=True, cuts=PIECES))
        versions.add(checkpoint_version(folder, "mail"))
    assert len(versions) == 1


def test_a_folder_without_prompts_has_none(tmp_path: Path) -> None:
    """A checkpoint needs no prompts, and what lies beside them is none."""
    folder = write_small(tmp_path)
    assert prompt_names(folder) == ()
    prompt_folder(folder, "nothing-in-it").mkdir(parents=True)
    assert prompt_names(folder) == ()
    assert load_prompts(folder, CONFIGURATION) == {}


def test_many_prompts_in_one_micro_batch_score_as_one_at_a_time(checkpoint: Path) -> None:
    """Rows of different prompts and of none keep their own scores beside each other."""
    tagger = Tagger.load(checkpoint, device="cpu", dtype="float32")
    names: list[str | None] = [None, *(prompt.name for prompt in PROMPTS)]
    rows = tagger.tokenize([message.decode() for message in MESSAGES] * len(names))
    prompts = [name for name in names for _ in MESSAGES]
    together = tagger.tag(rows, prompts=prompts)
    alone = [tagger.tag([row], prompts=[name])[0] for row, name in zip(rows, prompts, strict=True)]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    without = tagger.tag(rows[: len(MESSAGES)])
    for name in ("input", "deep", "head", "whole"):
        under = tagger.tag(rows[: len(MESSAGES)], prompts=[name] * len(MESSAGES))
        assert max(np.abs(one - other).max() for one, other in zip(without, under, strict=True)) > 1e-2
    under = tagger.tag(rows[: len(MESSAGES)], prompts=["empty"] * len(MESSAGES))
    for one, other in zip(without, under, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_without_a_prompt_scores_are_the_very_same(checkpoint: Path) -> None:
    """Prompts that no row uses change not a bit."""
    tagger = Tagger.load(checkpoint, device="cpu", dtype="float32")
    rows = tagger.tokenize([message.decode() for message in MESSAGES])
    for one, other in zip(tagger.tag(rows), tagger.tag(rows, prompts=[None] * len(rows)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_prompts_in_one_call_give_the_templates_of_one_at_a_time(checkpoint: Path) -> None:
    """The parser mixes prompts, and each message gets the template of its own."""
    parser = EncoderParser.load(checkpoint, device="cpu", dtype="float32")
    names: list[str | None] = [None, *(prompt.name for prompt in PROMPTS)]
    prompts = [name for name in names for _ in MESSAGES]
    together = parser.parse(MESSAGES * len(names), prompt=prompts)
    apart = [template for name in names for template in parser.parse(MESSAGES, prompt=name)]
    assert [found and found.text for found in apart] == [found and found.text for found in together]


def test_tokens_keep_their_places(checkpoint: Path) -> None:
    """A prompt of zero keys and values, and of vectors that are not looked at, moves no token."""
    tagger = Tagger.load(checkpoint, device="cpu", dtype="float32")
    tagger.prompts["padded"] = made("padded")
    rows = tagger.tokenize(["took 5 s", "took 5 s"])
    mixed = tagger.tag(rows, prompts=["padded", "whole"])
    np.testing.assert_allclose(tagger.tag(rows[:1])[0], mixed[0], atol=1e-5)


def test_gradients_reach_what_a_batch_is_made_of() -> None:
    """A prompt of parameters learns through a batch of many rows; the encoder stays as it is."""
    network = described_network(CONFIGURATION).eval().requires_grad_(False)
    one = made("one", p=2, q=3, head=True)
    learned = {name: nn.Parameter(tensor) for name, tensor in one.tensors().items()}
    trained = Prompt(name="one", cuts=None, **learned)
    batch = PromptBatch.of([trained, None, trained])
    ids, shapes, mask = torch.zeros(3, 6, dtype=torch.long), torch.zeros(3, 6, 5, dtype=torch.long), torch.ones(3, 6)
    network(ids, shapes, mask, batch)[:2].square().sum().backward()
    for name, parameter in learned.items():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_no_prompts_are_no_batch() -> None:
    """Rows without prompts take the plain way through the network."""
    assert PromptBatch.of([None, None]) is None
    assert PromptBatch.of([]) is None


def test_other_encoders_read_vectors_and_labels(tmp_path: Path) -> None:
    """An encoder out of Transformers runs prompts of vectors and a head, mixed."""
    folder = write_small(tmp_path, config=OTHER_CONFIGURATION)
    write_prompt(folder, made("whole", p=3, head=True, seed=7))
    tagger = Tagger.load(folder, device="cpu", dtype="float32")
    rows = tagger.tokenize(["took 5 s", "a=b"])
    together = tagger.tag(rows, prompts=["whole", None])
    np.testing.assert_allclose(tagger.tag(rows[1:])[0], together[1], atol=1e-5)
    np.testing.assert_allclose(tagger.tag(rows[:1], prompts=["whole"])[0], together[0], atol=1e-5)
    assert np.abs(tagger.tag(rows[:1])[0] - together[0]).max() > 1e-2


@pytest.mark.parametrize(("sizes", "reason"), [({"q": 1}, "keys and values"), ({"p": 40}, "places left")])
def test_other_encoders_refuse_what_they_cannot_run(tmp_path: Path, sizes: dict[str, int], reason: str) -> None:
    """A deep prefix, or more vectors than places, is refused when loading."""
    folder = write_small(tmp_path, config=OTHER_CONFIGURATION)
    write_prompt(folder, made("mail", **sizes))  # type: ignore[arg-type]
    with pytest.raises(WrongModel, match=reason):
        Tagger.load(folder, device="cpu")


def test_a_deep_prefix_in_another_encoder_is_an_error(tmp_path: Path) -> None:
    """In training it is told as clearly as when loading."""
    network = described_network(OTHER_CONFIGURATION)
    ids, shapes = torch.zeros(1, 6, dtype=torch.long), torch.zeros(1, 6, 5, dtype=torch.long)
    with pytest.raises(WrongModel, match="keys and values"):
        network(ids, shapes, torch.ones(1, 6), PromptBatch.of([made("deep", q=1)]))


def spoil(folder: Path, **changes: Any) -> None:
    """Write the prompt `mail` again with other tensors or another description; None takes one away."""
    path = prompt_folder(folder, "mail") / PROMPT
    tensors: dict[str, Any] = dict(load_file(str(path)))
    about: dict[str, Any] = {"format": "1", "p": "2", "q": "3", "encoder": encoder_version(folder)}
    for name, change in changes.items():
        (about if isinstance(change, str) else tensors)[name] = change
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, str(path), about)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "2"}, "format 2"),
        ({"encoder": "0123"}, "another encoder"),
        ({"p": "3"}, "other lengths"),
        ({"cuts": "letters"}, "letters"),
        ({"cuts": "words"}, "training.prompt_tune"),
        ({"vectors": None}, "holds head_bias"),
        ({"head_bias": None}, "holds head_weight"),
        ({"more": torch.zeros(1)}, "more"),
        ({"vectors": torch.zeros(2, HIDDEN + 1)}, "do not fit each other"),
        ({"values": torch.zeros(LAYERS, 2, HIDDEN)}, "do not fit each other"),
        ({"head_weight": torch.zeros(2, HIDDEN)}, "do not fit each other"),
        ({"keys": torch.zeros(1, 3, HIDDEN), "values": torch.zeros(1, 3, HIDDEN)}, "does not fit an encoder"),
        ({"head_bias": torch.tensor([0.0, float("nan"), 0.0])}, "no numbers"),
        ({"head_bias": torch.zeros(3, dtype=torch.long)}, "no numbers"),
    ],
)
def test_a_wrong_prompt_is_refused_with_the_reason(broken: Path, changes: dict[str, Any], reason: str) -> None:
    """What can't be run is told when loading, with what to do."""
    spoil(broken, **changes)
    with pytest.raises(WrongModel, match=reason):
        EncoderParser.load(broken, device="cpu")


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff" * 40])
def test_a_broken_prompt_is_refused(broken: Path, content: bytes) -> None:
    """Rubbish is never run."""
    (prompt_folder(broken, "mail") / PROMPT).write_bytes(content)
    with pytest.raises(WrongModel, match="broken"):
        EncoderParser.load(broken, device="cpu")


def test_a_prompt_that_is_not_there_is_refused(broken: Path) -> None:
    """The error names the prompts that there are."""
    with pytest.raises(WrongModel, match=r"'web'.*mail"):
        load_prompt(broken, "web", CONFIGURATION)


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "a b", "x" * 101])
def test_a_name_leads_nowhere_else(broken: Path, name: str) -> None:
    """A prompt's name can't be a path out of its folder."""
    with pytest.raises(WrongModel, match="can't name"):
        load_prompt(broken, name, CONFIGURATION)


def test_numbers_too_large_for_the_file_are_refused_when_written(broken: Path) -> None:
    """A run that diverged leaves no file that the worker would refuse."""
    prompt = made("mail", p=1)
    prompt.vectors[0, 0] = 1e9
    with pytest.raises(WrongModel, match="no numbers"):
        write_prompt(broken, prompt)


def test_another_encoder_is_told_even_for_the_same_shapes(tmp_path: Path) -> None:
    """A prompt moved to other weights of the same sizes is refused."""
    one, other = write_small(tmp_path / "one", seed=1), write_small(tmp_path / "two", seed=2)
    write_prompt(one, made("mail", p=1))
    path = prompt_folder(other, "mail")
    path.mkdir(parents=True)
    (path / PROMPT).write_bytes((prompt_folder(one, "mail") / PROMPT).read_bytes())
    with pytest.raises(WrongModel, match="another encoder"):
        Tagger.load(other, device="cpu")


def test_a_description_may_change_without_the_prompts(broken: Path) -> None:
    """A prompt is made for the encoder, not for the checkpoint's name."""
    before = encoder_version(broken)
    about = json.loads((broken / ABOUT).read_text())
    (broken / ABOUT).write_text(json.dumps(about | {"name": "other"}))
    assert before == encoder_version(broken)
    assert load_prompt(broken, "mail", CONFIGURATION).name == "mail"
    (broken / WEIGHTS).unlink()
    with pytest.raises(WrongModel, match="no Logloom checkpoint"):
        encoder_version(broken)


def test_versions_tell_prompts_apart(broken: Path) -> None:
    """Each prompt has a version of its own that follows its content; the checkpoint's does not follow prompts."""
    bare = checkpoint_version(broken)
    parser = EncoderParser.load(broken, device="cpu")
    assert (bare, bare) == (parser.version, parser.version_of(None))
    before = parser.version_of("mail")
    assert checkpoint_version(broken, "mail") == before
    assert before.startswith(f"{bare}+mail-")
    write_known(prompt_folder(broken, "mail") / KNOWN, [Template.from_text("took <*> s")])
    known = EncoderParser.load(broken, device="cpu").version_of("mail")
    write_prompt(broken, made("mail", p=1))
    trained = EncoderParser.load(broken, device="cpu").version_of("mail")
    assert len({before, known, trained}) == 3
    assert checkpoint_version(broken, "mail") == trained
    assert bare == checkpoint_version(broken)
    write_known(broken / KNOWN, [Template.from_text("took <*> s")])
    assert bare != checkpoint_version(broken)
    with pytest.raises(WrongModel, match=r"'web'; it has mail"):
        checkpoint_version(broken, "web")
    with pytest.raises(WrongModel, match=r"'web'; it has mail"):
        parser.version_of("web")


def test_a_prompt_may_say_how_words_are_cut(checkpoint: Path) -> None:
    """A prompt's own rule wins over the checkpoint's; without one the checkpoint's holds."""
    tagger = Tagger.load(checkpoint, device="cpu")
    found = [tagger.cuts_of(name) for name in (None, "input", "whole", "no-such")]
    assert found == [CORRECTED, CORRECTED, PIECES, CORRECTED]


def test_the_encoder_names_its_files(broken: Path) -> None:
    """The description counts too: other sizes make another encoder."""
    before = encoder_version(broken)
    config = json.loads((broken / CONFIG).read_text())
    (broken / CONFIG).write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    assert before != encoder_version(broken)


def test_the_hub_gives_prompts_and_known_templates_too(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is fetched by a hub's name parses as the folder that was put there."""
    write_known(broken / KNOWN, [Template.from_text("took <*> s")])
    write_known(prompt_folder(broken, "mail") / KNOWN, [Template.from_text("sent <*>")])
    (broken / "training.log").write_text("not fetched")

    def fetch(name: str, *, allow_patterns: list[str]) -> str:
        files = [str(file.relative_to(broken)) for file in broken.rglob("*") if file.is_file()]
        for file in files:
            if not any(fnmatch(file, pattern) for pattern in allow_patterns):
                continue
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes((broken / file).read_bytes())
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert checkpoint_version("team/parser", "mail") == checkpoint_version(broken, "mail")
    assert not (tmp_path / "team" / "parser" / "training.log").exists()
