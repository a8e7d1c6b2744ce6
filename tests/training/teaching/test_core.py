"""Teaching: every method leaves a checkpoint that the worker's parser reads, and changes what it should alone."""

import json
import random
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.parsing.checkpoints import CONFIGURATION, write_small, write_small_names
from tests.training.two_processes import in_two_processes
from training.labels import Pair
from training.runs import Group, seeded
from training.teaching.configuration import ORDERS, Configuration
from training.teaching.core import Learner, Source, lost_prompts, teach, teach_sources
from training.teaching.lessons import shot_templates
from training.teaching.settled import settled_templates
from worker.errors import WrongModel, WrongSettings
from worker.parsing.checkpoint import (
    BASE,
    CARD,
    FILES,
    KNOWN,
    NAMES,
    PIECES,
    PROMPT,
    WEIGHTS,
    checkpoint_folder,
    encoder_version,
    prompt_folder,
    read_about,
)
from worker.parsing.known import read_known, write_known
from worker.parsing.parser import EncoderParser
from worker.parsing.prompts import load_prompt
from worker.parsing.templates import Template

needs_weights = pytest.mark.skipif(
    not (checkpoint_folder(BASE) / WEIGHTS).is_file(), reason="the weights of `base` are not here"
)

SHOTS = (
    Pair(message="open door d7", template="open door d<*>"),
    Pair(message="took 5 s", template="took <*> s"),
    Pair(message="all (a.b) gone", template="all (<*>) gone"),
    Pair(message="idle", template="idle"),
)
LOG = (
    *(f"open door d{number}" for number in range(30)),
    *(f"took {number} s" for number in range(30)),
    *(f"{name}: late" for name in ("a", "b", "c")),
    *["idle"] * 9,
    "",
)
MAIL = Source(name="mail", log=LOG, shots=SHOTS)
WEB = Source(name="web", log=["get /a", "get /b", "put /c"], shots=[Pair(message="get /a", template="get /<*>")])
SHORT = Configuration(steps=3, batch_lessons=4, prompt_length=2, prefix_length=2)
ALONE = Group(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Write a very small checkpoint to start from."""
    return write_small(tmp_path / "start", max_tokens=48)


def taught(sources: Sequence[Source], out: Path, start: Path, **changes: Any) -> tuple[Path, dict[str, object]]:
    """Teach in few steps; gives the checkpoint and the report."""
    found = teach_sources(sources, out, start=start, configuration=replace(SHORT, **changes), device="cpu")
    assert [source.name for source in sources] == [one.prompt for one in found]
    return found[0].checkpoint, found[0].report


def parsed(checkpoint: Path, messages: Sequence[str], prompt: str | None) -> list[str]:
    """Give the templates that a checkpoint makes under a prompt."""
    found = EncoderParser.load(checkpoint, device="cpu").parse(
        [message.encode() for message in messages], prompt=prompt
    )
    return [template.text if template else "" for template in found]


METHODS: list[dict[str, Any]] = [
    {"method": "zero-shot"},
    {"method": "fine-tune"},
    {"method": "fine-tune", "layers": 1},
    {"method": "fine-tune", "lora_rank": 2},
    {"method": "prompt-tune"},
    {"method": "prompt-tune", "prompt_length": 0, "prefix_length": 0},
    *({"method": "fuse", "order": order} for order in ORDERS),
    {"method": "fuse", "order": "prompt-first", "lora_rank": 2},
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: "-".join(map(str, method.values())))
def test_every_method_leaves_what_the_worker_reads(start: Path, tmp_path: Path, method: dict[str, Any]) -> None:
    """Under each source's prompt its labelled lines, and those alike, get the templates of their labels."""
    checkpoint, report = taught([MAIL, WEB], tmp_path, start, **method)
    parser = EncoderParser.load(checkpoint, device="cpu")
    assert ("mail", "web") == parser.prompts
    assert [pair.template for pair in SHOTS] == parsed(checkpoint, [pair.message for pair in SHOTS], "mail")
    assert ["open door d<*>", "took <*> s"] == parsed(checkpoint, ["open door d77", "took 9 s"], "mail")
    assert ["get /<*>"] == parsed(checkpoint, ["get /zz"], "web")
    learns_prompts = method["method"] in {"prompt-tune", "fuse"}
    for name in ("mail", "web"):
        assert learns_prompts == (prompt_folder(checkpoint, name) / PROMPT).is_file()
    if method["method"] != "zero-shot":
        stages = 2 if method["method"] == "fuse" and method["order"] != "joint" else 1
        curve = report["curve"]
        assert isinstance(curve, list)
        # Steps count for each source.
        assert 3 * 2 * stages == curve[-1]["step"]
        assert report["lessons"] == 30 + 30 + 2 + 2
    assert {"mail", "web"} == set(report["templates"])  # type: ignore[call-overload]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: "-".join(map(str, method.values())))
def test_each_method_changes_what_it_says(start: Path, tmp_path: Path, method: dict[str, Any]) -> None:
    """Frozen weights stay to the last bit, no weight comes or goes, and the cuts say how they were taught."""
    checkpoint, _ = taught([MAIL], tmp_path, start, **method, weight_decay=0.1)
    before, after = load_file(start / WEIGHTS), load_file(checkpoint / WEIGHTS)
    assert before.keys() == after.keys()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    if method["method"] in {"zero-shot", "prompt-tune"}:
        assert all((start / name).read_bytes() == (checkpoint / name).read_bytes() for name in FILES)
        assert encoder_version(start) == encoder_version(checkpoint)
        return
    assert PIECES == read_about(checkpoint).cuts
    parts = {name.split(".layer.")[-1].split(".")[0] if ".layer." in name else name.split(".")[0] for name in changed}
    if method.get("layers"):
        assert {"1", "head"} == parts
    elif method.get("lora_rank"):
        assert not any("bias" in name and ".layer." in name for name in changed)
        assert {"0", "1"} <= parts
    else:
        assert {"0", "1", "features"} <= parts
    assert "encoder.embeddings.word_embeddings.weight" not in changed


def test_a_prompt_takes_kilobytes(tmp_path: Path) -> None:
    """With the usual lengths, at the sizes of the encoder that ships, the file is below 100 kB."""
    config = CONFIGURATION | {"hidden_size": 384, "num_hidden_layers": 3}
    checkpoint, _ = taught(
        [WEB], tmp_path, write_small(tmp_path / "start", config=config), method="prompt-tune", steps=1,
        prompt_length=8, prefix_length=8,
    )  # fmt: skip
    size = (prompt_folder(checkpoint, "web") / PROMPT).stat().st_size
    assert 40_000 < size < 100_000


@pytest.mark.parametrize("method", ["fine-tune", "prompt-tune", "fuse"])
def test_teaching_lowers_the_loss(start: Path, method: Any) -> None:
    """Some steps on a few lines, with whatever the method trains, are learned by heart."""
    configuration = replace(
        SHORT, method=method, steps=60, learning_rate=5e-3, head_learning_rate=1e-2, prompt_learning_rate=2e-2
    )
    learner = Learner(start, [MAIL], configuration, ALONE)
    learner.learn()
    losses = [point["loss"] for point in learner.curve]
    assert losses[-1] < 0.7 * losses[0]


@needs_weights
def test_what_is_taught_holds_for_templates_that_were_not(tmp_path: Path) -> None:
    """The base takes the letter for a value; taught that it is none, it leaves it in lines like no labelled one."""
    shots = [
        Pair(message=f"{verb} job j-{number}@{place}", template=f"{verb} job j-<*>@{place}")
        for number, (verb, place) in enumerate(
            [("start", "east"), ("stop", "east"), ("drop", "west"), ("keep", "west")]
        )
    ]
    log = [f"{verb} job j-{number}@east" for verb in ("start", "stop") for number in range(40)]
    message = "requeue job j-4711@east"
    assert ["requeue job <*>@<*>"] == parsed(checkpoint_folder(BASE), [message], None)
    configuration = replace(SHORT, steps=40, batch_lessons=8, learning_rate=3e-4, settles=False)
    found = teach("jobs", log, shots, tmp_path, start=checkpoint_folder(BASE), configuration=configuration)
    assert ["requeue job j-<*>@east"] == parsed(found.checkpoint, [message], found.prompt)


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("method", ["fine-tune", "fuse"])
def test_the_same_seed_makes_the_same_bytes(start: Path, tmp_path: Path, method: str) -> None:
    """Another run writes the very same files, even if the log comes in another order; another seed writes others."""
    shuffled = replace(MAIL, log=random.Random(3).sample(LOG, len(LOG)))
    first, again, other = (
        folder_bytes(taught([source], tmp_path / name, start, method=method, seed=seed)[0])
        for name, source, seed in (("a", MAIL, 1), ("b", shuffled, 1), ("c", MAIL, 2))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert first[WEIGHTS] != other[WEIGHTS]


@pytest.mark.parametrize("method", ["fine-tune", "prompt-tune"])
def test_validation_stops_early_and_restores_the_best(start: Path, method: Any) -> None:
    """With kept templates the run ends when they get worse, and what comes out is what served them best."""
    configuration = replace(
        SHORT, method=method, steps=200, looks=100, patience=3, validation=0.5, learning_rate=0.05,
        head_learning_rate=0.05, prompt_learning_rate=0.5, label_smoothing=0.0,
    )  # fmt: skip
    seeded(1)
    learner = Learner(start, [MAIL], configuration, ALONE)
    learner.learn()
    looks = [point["validation_loss"] for point in learner.curve]
    assert learner.curve[-1]["step"] < 200
    best = looks.index(min(looks))
    assert 4 == len(looks) - 1 - best
    assert min(looks) == learner.report["validation_loss"]
    assert pytest.approx(min(looks), rel=1e-5) == learner._validation_loss()


def test_kept_templates_are_kept_whole(start: Path) -> None:
    """No line of a template that is kept is learned from; one template alone is never kept."""
    learner = Learner(start, [MAIL], replace(SHORT, validation=0.5), ALONE)
    learned, kept = ({lesson.text.split()[0] for _, lesson in some} for some in (learner._lessons, learner._kept))
    assert 2 == len(learned) == len(kept)
    assert not learned & kept
    assert [] == Learner(start, [WEB], replace(SHORT, validation=0.5), ALONE)._kept


def test_what_is_no_text_teaches_too(start: Path, tmp_path: Path) -> None:
    """Broken UTF-8, control characters, several lines and lines beyond the window are lessons like others."""
    shots = [
        Pair(message="bad \udcff\udcfe 12", template="bad \udcff\udcfe <*>"),
        Pair(message="\x01\x02", template="<*>"),
        Pair(message="job 7\n\tat a.b(C)", template="job <*> <*>"),
        Pair(message="long " + "x y " * 60 + "7", template="long " + "x y " * 60 + "<*>"),
    ]
    log = [b"bad \xff\xfe 13".decode(errors="surrogateescape"), "\x01\x03", "\xe9 \udcff"]
    checkpoint, _ = taught([Source(name="odd", log=log, shots=shots)], tmp_path, start, batch_lessons=1, steps=8)
    found = EncoderParser.load(checkpoint, device="cpu").parse([b"bad \xff\xfe 14"], prompt="odd")[0]
    assert found is not None
    assert (b"bad \xff\xfe ", b"") == found.literals
    weights = load_file(checkpoint / WEIGHTS)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def test_a_source_without_labels_learns_no_prompt(start: Path, tmp_path: Path) -> None:
    """It takes part with its log: what settles there is known under its name."""
    bare = Source(name="bare", log=["user ann in", "user bob in", "user eve in"])
    checkpoint, _ = taught([MAIL, bare], tmp_path, start, method="prompt-tune")
    assert not (prompt_folder(checkpoint, "bare") / PROMPT).exists()
    assert (prompt_folder(checkpoint, "bare") / KNOWN).is_file()
    assert ("bare", "mail") == EncoderParser.load(checkpoint, device="cpu").prompts


def test_prompts_are_added_to_those_there_are(start: Path, tmp_path: Path) -> None:
    """Where the weights stay, earlier prompts and what the checkpoint knows stay with them."""
    write_known(start / KNOWN, [Template.from_text("x <*>")])
    write_small_names(start)
    first, _ = taught([MAIL], tmp_path / "one", start, method="prompt-tune")
    second, _ = taught([WEB], tmp_path / "two", first, method="prompt-tune")
    assert ("mail", "web") == EncoderParser.load(second, device="cpu").prompts
    mail = Path("prompts", "mail", PROMPT)
    assert (first / mail).read_bytes() == (second / mail).read_bytes()
    assert ["x <*>"] == parsed(second, ["x 5"], None)
    assert (start / NAMES).read_bytes() == (second / NAMES).read_bytes()


@pytest.mark.parametrize("method", ["fine-tune", "fuse"])
def test_what_is_known_of_others_outlives_the_weights(start: Path, tmp_path: Path, method: Any) -> None:
    """Known templates stay, of other sources and of none; soft prompts that fit no more go, and the card says which."""
    write_known(start / KNOWN, [Template.from_text("x <*>")])
    write_small_names(start)
    first, _ = taught([MAIL, WEB], tmp_path / "one", start, method="prompt-tune")
    assert "other sources" not in (first / CARD).read_text(encoding="utf-8")
    again = [replace(WEB, shots=[Pair(message="put /c", template="put /<*>")])]
    configuration = replace(SHORT, method=method, settles=False)
    assert ["mail"] == lost_prompts(again, first, configuration)
    second = teach_sources(again, tmp_path / "two", start=first, configuration=configuration, device="cpu")[
        0
    ].checkpoint
    assert ("mail", "web") == EncoderParser.load(second, device="cpu").prompts
    known = Path("prompts", "mail", KNOWN)
    assert (first / known).read_bytes() == (second / known).read_bytes()
    assert not (prompt_folder(second, "mail") / PROMPT).exists()
    assert ["x <*>"] == parsed(second, ["x 5"], None)
    assert (start / NAMES).read_bytes() == (second / NAMES).read_bytes()
    # What is taught again is known by its new labels alone.
    assert ["put /<*>"] == [template.text for template in read_known(prompt_folder(second, "web") / KNOWN)]
    card = (second / CARD).read_text(encoding="utf-8")
    assert "What it knew of other sources is here too: mail.\n" in card
    assert "Soft prompts that fit its weights alone are not here: mail.\n" in card


def test_no_prompt_is_lost_where_it_still_fits(start: Path, tmp_path: Path) -> None:
    """Weights that stay keep all prompts; a source that is taught again, or had no soft prompt, loses none."""
    first, _ = taught([MAIL, WEB], tmp_path / "one", start, method="prompt-tune")
    assert [] == lost_prompts([WEB], first, replace(SHORT, method="prompt-tune"))
    assert [] == lost_prompts([WEB, MAIL], first, replace(SHORT, method="fuse"))
    assert ["mail"] == lost_prompts([WEB, replace(MAIL, shots=())], first, replace(SHORT, method="fuse"))
    tuned, _ = taught([MAIL], tmp_path / "two", start, method="fine-tune")
    assert [] == lost_prompts([WEB], tuned, replace(SHORT, method="fine-tune"))


def test_broken_known_templates_are_told_before_the_training(start: Path, tmp_path: Path) -> None:
    """Else the checkpoint that was taught could not be read."""
    (start / KNOWN).write_text("nonsense\n")
    with pytest.raises(WrongModel, match="line 1, is no template"):
        taught([MAIL], tmp_path / "one", start)
    assert not (tmp_path / "one").exists()


def test_prompts_for_other_weights_go(start: Path, tmp_path: Path) -> None:
    """A run into the folder of an earlier one leaves nothing there that the new weights would refuse."""
    taught([MAIL], tmp_path, start, method="prompt-tune")
    checkpoint, _ = taught([WEB], tmp_path, start, method="fine-tune")
    assert ("web",) == EncoderParser.load(checkpoint, device="cpu").prompts


def test_a_prompt_begins_with_the_head_that_was_taught(start: Path, tmp_path: Path) -> None:
    """Fine-tuned first, the virtual label tokens start from the new head, not from that of the start."""
    checkpoint, _ = taught([MAIL], tmp_path, start, method="fuse", steps=1, warm_up=0.0, head_learning_rate=0.5)
    config = json.loads((checkpoint / "config.json").read_text())
    prompt = load_prompt(checkpoint, "mail", config)
    old, new = (load_file(folder / WEIGHTS)["head.weight"].float() for folder in (start, checkpoint))
    assert prompt.head_weight is not None
    # Adam's first step moves each number by the rate at most.
    assert float((prompt.head_weight - new).abs().max()) < 0.51 + 1e-2
    assert float((prompt.head_weight - old).abs().max()) > 0.9


@pytest.mark.parametrize(
    ("sources", "changes", "error", "reason"),
    [
        ([replace(MAIL, shots=())], {}, WrongSettings, "fine-tune needs labelled lines"),
        ([replace(MAIL, shots=[Pair(message="a b", template="c <*>")])], {}, WrongSettings, "needs labelled lines"),
        ([MAIL, MAIL], {}, WrongSettings, "two sources have one name: mail, mail"),
        ([replace(MAIL, name="a/b")], {}, WrongModel, "can't name a prompt"),
        ([MAIL], {"layers": 3}, WrongSettings, "layers is 3; the encoder has 2"),
    ],
)
def test_what_can_not_be_taught_is_refused_at_once(
    start: Path, tmp_path: Path, sources: list[Source], changes: dict[str, Any], error: type[Exception], reason: str
) -> None:
    """Before any step, with the reason; no checkpoint is left."""
    with pytest.raises(error, match=reason):
        taught(sources, tmp_path / "out", start, **changes)
    assert not (tmp_path / "out" / "checkpoint").exists()


@cache
def base() -> EncoderParser:
    """Load the checkpoint that ships with Logloom, once."""
    return EncoderParser.load(device="cpu")


@needs_weights
def test_a_log_settles_to_templates() -> None:
    """Templates of most lines come first; what is labelled is not repeated; each matches its message, and has names."""
    given = shot_templates([Pair(message="user bob logged in", template="user <*> logged in")])
    log = [
        *(f"Accepted connection from 10.0.0.{number}:51{number}" for number in range(10, 20)),
        *(f"user {name} logged in" for name in ("ann", "bob", "eve")),
        *["Shutting down gracefully"] * 3,
        "size=4711 of file",
    ]
    found = settled_templates(base(), None, log, given, diversity=0.5)
    assert ["Accepted connection from <*>:<*>", "Shutting down gracefully", "size=<*> of file"] == [
        template.text for template in found
    ]
    assert ("size",) == found[2].names
    assert found == settled_templates(base(), None, log[::-1], given, diversity=0.5)


@needs_weights
def test_settled_templates_can_be_written_and_read(tmp_path: Path) -> None:
    """Whatever the log holds: no letters, no text, several lines, more parameters than the columns hold."""
    log = ["", " ", "12 34", "\x00", "bad \udcff 12", "job 7 failed\n\tat a.b(C.java:7)\n", "x 1 " * 200, "z" * 70_000]
    found = settled_templates(base(), None, log, [], diversity=0.5)
    write_known(tmp_path / KNOWN, found)
    assert found == read_known(tmp_path / KNOWN)
    for message in log[2:7]:
        assert any(one.match(message.encode(errors="surrogateescape")) is not None for one in found), message


def test_a_configuration_survives_a_file(tmp_path: Path) -> None:
    """What a run wrote is read back; what it does not name keeps its default."""
    chosen = Configuration(method="fuse", order="joint", steps=7, swapped=0.25, settles=False)
    (tmp_path / "a.json").write_text(json.dumps(asdict(chosen)))
    assert chosen == Configuration.from_file(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"steps": 9, "swapped": 1}')
    assert Configuration(steps=9, swapped=1) == Configuration.from_file(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no configuration"),
        ("[1]", "is no configuration"),
        ('{"step": 5, "size": 3}', "names size, step, which no method knows"),
        ('{"steps": "many", "settles": 1}', "steps is 'many'.*settles is 1; allowed: true, false"),
        ('{"steps": 2.5}', "whole numbers, 1 and more"),
        ('{"steps": true}', "steps is True"),
        ('{"learning_rate": NaN}', "learning_rate is nan; allowed: 0 to 1"),
        ('{"method": ["fuse"]}', "method is"),
        (None, "is no configuration"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    """The reason names the file or the value."""
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(WrongSettings, match=reason):
        Configuration.from_file(path)


def test_all_mistakes_are_told_at_once() -> None:
    """One error names every value that can't be, and what is allowed."""
    with pytest.raises(WrongSettings) as caught:
        Configuration(method="guess", steps=0, swapped=1.5, prefix_length=101, order="last")  # type: ignore[arg-type]
    said = str(caught.value)
    for part in ("method is 'guess'", "steps is 0", "swapped is 1.5; allowed: 0 to 1", "prefix_length is 101", "order"):
        assert part in said
    with pytest.raises(WrongSettings, match="lora_rank and layers are both set"):
        Configuration(lora_rank=4, layers=1)


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """A command takes the file's values, then its options, and its own method."""
    (tmp_path / "a.json").write_text('{"method": "fuse", "steps": 9, "patience": 2, "settles": false}')
    parser = ArgumentParser()
    Configuration.add_arguments(parser)
    given = parser.parse_args(["--configuration", str(tmp_path / "a.json"), "--steps", "5", "--learning-rate", "0.1"])
    assert Configuration(
        method="fine-tune", steps=5, patience=2, settles=False, learning_rate=0.1
    ) == Configuration.from_arguments(given, "fine-tune")
    assert Configuration(method="prompt-tune", settles=True) == Configuration.from_arguments(
        parser.parse_args(["--settles"]), "prompt-tune"
    )


#: Without dropout, which draws differently in each process; batches of an odd number, so that shares differ.
SURE = CONFIGURATION | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SHARED = replace(SHORT, method="fuse", order="prompt-first", batch_lessons=3, steps=6, validation=0.5)


def teach_shared(folder: Path) -> dict[str, object]:
    """Fuse two sources, in float32: in bfloat16 sums of shares are rounded otherwise; returns the report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.teaching.core.serving_dtype", lambda _: torch.float32)
        return teach_sources(
            [MAIL, WEB], folder, start=folder.parent / "start", configuration=SHARED, device="cpu"
        )[0].report  # fmt: skip


@pytest.mark.slow
def test_two_processes_teach_as_one(tmp_path: Path) -> None:
    """Started by torchrun, two processes that share each batch end with the losses and weights of one."""
    write_small(tmp_path / "start", config=SURE, max_tokens=48)
    one, two = tmp_path / "one", tmp_path / "two"
    expected = teach_shared(one)
    in_two_processes(__file__, str(two))
    actual = json.loads((two / "report.json").read_text())
    assert expected["curve"] == [pytest.approx(point, abs=1e-4) for point in actual["curve"]]
    assert expected["validation_loss"] == pytest.approx(actual["validation_loss"], abs=1e-4)
    for file in (WEIGHTS, f"prompts/mail/{PROMPT}", f"prompts/web/{PROMPT}"):
        for name, tensor in load_file(one / "checkpoint" / file).items():
            torch.testing.assert_close(load_file(two / "checkpoint" / file)[name], tensor, atol=2e-3, rtol=1e-2)
    messages = [pair.message for pair in SHOTS]
    assert parsed(one / "checkpoint", messages, "mail") == parsed(two / "checkpoint", messages, "mail")


def test_the_card_says_what_was_learned_from(tmp_path: Path) -> None:
    """Every source stands in it with its lines and its licence."""
    start = tmp_path / "start"
    write_small(start)
    teach_sources([replace(MAIL, licence="ours alone"), WEB], tmp_path, start=start, configuration=SHORT)
    card = (tmp_path / "checkpoint" / "DATA_CARD.md").read_text(encoding="utf-8")
    assert f"| mail | {len(LOG):,} | {len(SHOTS)} | ours alone |" in card
    assert "| web | 3 | 1 | not stated |" in card


if __name__ == "__main__":
    where = Path(sys.argv[1])
    found = teach_shared(where)
    if "templates" in found:  # the first process alone writes
        (where / "report.json").write_text(json.dumps(found))
