"""The commands fine_tune, prompt_tune and fuse: what they write, and how they refuse."""

import gzip
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.parsing.checkpoints import write_small
from training.labels import Pair, write_pairs
from training.teaching.commands import run
from training.teaching.configuration import Configuration
from worker.parsing.parser import EncoderParser

LINES = [f"2025-03-0{day} 10:00:0{day} INFO open door d{day}" for day in range(1, 9)]
PAIRS = [Pair(message="open door d3", template="open door d<*>"), Pair(message="idle", template="idle")]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Write a log, its labelled lines, and a very small checkpoint."""
    (tmp_path / "door.log").write_text("\n".join(LINES) + "\n")
    with gzip.open(tmp_path / "mail.log.gz", "wb") as file:
        file.write(b"sent 1\nsent 2\nsent \xff\n")
    write_pairs(tmp_path / "door.csv", PAIRS)
    write_pairs(tmp_path / "mail.jsonl", [Pair(message="sent 1", template="sent <*>")])
    write_small(tmp_path / "start", max_tokens=48)
    return tmp_path


def arguments(place: Path, *more: str, pairs: str = "door.csv", name: str = "door", log: str = "door.log") -> list[str]:
    """Give the options of a short run."""
    return [
        "--source", name, str(place / log), str(place / pairs), "--out", str(place / "run"),
        "--model", str(place / "start"), "--steps", "5", "--batch-lessons", "2", "--device", "cpu", *more,
    ]  # fmt: skip


def test_a_run_folder_holds_all_of_a_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Configuration, curve, checkpoint and report are written; the report is printed without the curve's points."""
    assert run("fine-tune", "", arguments(place, "--validation", "0.5", "--looks", "2")) == 0
    assert {"configuration.json", "curve.png", "checkpoint", "report.json"} == {
        file.name for file in (place / "run").iterdir()
    }
    expected = Configuration(method="fine-tune", steps=5, batch_lessons=2, validation=0.5, looks=2)
    assert expected == Configuration.from_file(place / "run" / "configuration.json")
    report = json.loads((place / "run" / "report.json").read_text())
    printed = json.loads(capsys.readouterr().out)
    assert printed == {name: value for name, value in report.items() if name != "curve"}
    assert [2, 4, 5] == [point["step"] for point in report["curve"]]
    assert report["validation_loss"] == min(point["validation_loss"] for point in report["curve"])
    assert (["door"], "cpu") == (report["prompts"], report["machine"]["device"])
    assert (place / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    # The header is no part of what was learned.
    found = EncoderParser.load(report["checkpoint"], device="cpu").parse([b"open door d9", b"idle"], prompt="door")
    assert ["open door d<*>", "idle"] == [template.text for template in found if template]


@pytest.mark.parametrize("method", ["prompt-tune", "fuse"])
def test_several_sources_make_one_checkpoint(place: Path, method: str) -> None:
    """Each is a prompt in it; gzip, JSON Lines and bytes that are no text are read like others."""
    second = ["--source", "mail", str(place / "mail.log.gz"), str(place / "mail.jsonl")]
    assert run(method, "", arguments(place, *second)) == 0  # type: ignore[arg-type]
    parser = EncoderParser.load(place / "run" / "checkpoint", device="cpu")
    assert ("door", "mail") == parser.prompts
    found = parser.parse([b"open door d9", b"sent \xfe"], prompt=["door", "mail"])
    assert [b"open door d", b"sent "] == [template.literals[0] for template in found if template]


def test_a_configuration_file_can_be_given(place: Path) -> None:
    """Its values hold where no option says otherwise."""
    (place / "best.json").write_text(json.dumps(asdict(Configuration(method="fuse", steps=50, layers=1))))
    assert run("fine-tune", "", arguments(place, "--configuration", str(place / "best.json"))) == 0
    written = json.loads((place / "run" / "configuration.json").read_text())
    assert ("fine-tune", 5, 1) == (written["method"], written["steps"], written["layers"])


def test_an_earlier_run_is_kept_unless_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run into the same folder is refused; told to be fresh it replaces the first."""
    assert run("prompt-tune", "", arguments(place)) == 0
    assert run("prompt-tune", "", arguments(place)) == 1
    assert "holds the report of an earlier run" in capsys.readouterr().err
    assert run("fine-tune", "", arguments(place, "--fresh", name="other")) == 0
    assert ("other",) == EncoderParser.load(place / "run" / "checkpoint", device="cpu").prompts


def test_a_run_does_not_eat_its_start(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The checkpoint that a run starts from is not the one that it replaces."""
    assert run("fine-tune", "", arguments(place)) == 0
    again = arguments(place, "--fresh", "--model", str(place / "run" / "checkpoint"))
    assert run("fine-tune", "", again) == 1
    assert "started from and written at once" in capsys.readouterr().err
    assert (place / "run" / "checkpoint" / "model.safetensors").is_file()


def test_a_prompt_is_lost_only_when_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is written, with the ways out; told to go on, the run names and reports it."""
    start = str(place / "one" / "checkpoint")
    assert run("prompt-tune", "", [*arguments(place), "--out", str(place / "one")]) == 0
    assert json.loads((place / "one" / "report.json").read_text())["lost_prompts"] == []
    other = arguments(place, "--model", start, name="mail", log="mail.log.gz", pairs="mail.jsonl")
    capsys.readouterr()
    assert run("fine-tune", "", other) == 1
    error = capsys.readouterr().err
    for part in ("fit it as it is: door", "--source", "prompt_tune", "--drop-prompts"):
        assert part in error
    assert not (place / "run").exists()
    assert run("fine-tune", "", [*other, "--drop-prompts"]) == 0
    assert "soft prompts that fit the old weights alone and are dropped: door\n" in capsys.readouterr().err
    assert json.loads((place / "run" / "report.json").read_text())["lost_prompts"] == ["door"]
    parser = EncoderParser.load(place / "run" / "checkpoint", device="cpu")
    assert ("door", "mail") == parser.prompts
    [found] = parser.parse([b"open door d9"], prompt="door")
    assert found is not None
    assert found.text == "open door d<*>"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pairs": "wrong.csv"}, ["wrong.csv: 2 wrong lines", "line 3: ", "line 4: "]),
        ({"pairs": "none.csv"}, ["none.csv can't be read"]),
        ({"log": "none.log"}, ["none.log can't be read"]),
        ({"name": "a/b"}, ["'a/b' can't name a prompt"]),
        ({"more": ("--steps", "0", "--swapped", "7")}, ["steps is 0", "swapped is 7"]),
        ({"more": ("--header", "<Nonsense")}, ["Nonsense"]),
        ({"more": ("--layers", "9")}, ["layers is 9; the encoder has 2"]),
        ({"more": ("--model", "door.csv/none")}, ["door.csv/none"]),
    ],
)
def test_what_is_wrong_is_said_in_words(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object], said: list[str],
) -> None:  # fmt: skip
    """The exit code is 1, the message names the file, the line or the value, and there is no report."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    wrong = [PAIRS[0], Pair(message="open door d4", template="shut <*>"), Pair(message="idle 7", template="<*>")]
    write_pairs(place / "wrong.csv", wrong)
    more = change.pop("more", ())
    assert isinstance(more, tuple)
    assert run("fine-tune", "", arguments(place, *more, **{name: str(value) for name, value in change.items()})) == 1
    error = capsys.readouterr().err
    for part in said:
        assert part in error
    assert "Traceback" not in error
    assert not (place / "run" / "report.json").exists()


def test_two_sources_need_two_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their prompts would be one."""
    second = ["--source", "door", str(place / "mail.log.gz"), str(place / "mail.jsonl")]
    assert run("fuse", "", arguments(place, *second)) == 1
    assert "two sources have one name: door, door" in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_are_modules(place: Path) -> None:
    """`python -m training.fine_tune` says what it does, and ends with 1 and a line for wrong labels."""
    (place / "wrong.csv").write_text("Content,EventTemplate\nidle,busy\n")
    command = [sys.executable, "-m", "training.fine_tune", *arguments(place, pairs="wrong.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 1
    assert "wrong.csv: 1 wrong line:\n  line 2: the template 'busy' does not match 'idle'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["fine_tune", "prompt_tune", "fuse"])
def test_help_says_what_a_command_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` names the sources, what is written, and every figure of the configuration."""
    module = __import__(f"training.{name}", fromlist=["__doc__"])
    with pytest.raises(SystemExit):
        run(name.replace("_", "-"), module.__doc__, ["--help"])  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    for part in (
        f"python -m training.{name}",
        "--source NAME LOG PAIRS",
        "LOGLOOM_MODEL__PATH=OUT/checkpoint",
        "--steps",
    ):
        assert part in shown
