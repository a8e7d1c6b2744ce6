"""The command that chooses lines and writes them with suggestions."""

import gzip
import io
from pathlib import Path

import pytest

from training.labels import Pair, read_pairs
from training.sample import main, message_of, printable, read_messages, suggestions, table, watched
from training.sampling import Choice
from worker.errors import WrongFormat
from worker.parsing.headers import format_of

LINES = [
    "2026-03-01 10:00:00,000 INFO  [main] app.Store - Stored 17 objects in 4 ms",
    "2026-03-01 10:00:01,000 ERROR [main] app.Store - Lost lease 9",
    "java.lang.IllegalStateException: lost",
    "\tat app.Store.run(Store.java:25)",
    "2026-03-01 10:00:02,000 INFO  [main] app.Store - Stored 18 objects in 5 ms",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a log with headers and a stack trace."""
    path = tmp_path / "app.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_headers_are_taken_off(log: Path) -> None:
    """Messages come without their headers; what goes on with a message is empty: numbers stay those of lines."""
    notes = io.StringIO()
    found = list(read_messages([log], notes=notes))
    assert [
        "Stored 17 objects in 4 ms",
        "Lost lease 9",
        "java.lang.IllegalStateException: lost",
        "",
        "Stored 18 objects in 5 ms",
    ] == found
    assert "app.log: " in notes.getvalue()


def test_whole_lines_are_messages_without_headers(log: Path, tmp_path: Path) -> None:
    """`none` leaves lines as they are, compressed ones too; several logs follow each other."""
    packed = tmp_path / "old.log.gz"
    packed.write_bytes(gzip.compress(b"first\r\nse\xffcond\n"))
    assert ["first", "se\udcffcond", *LINES] == list(read_messages([packed, log], header="none"))


def test_a_declared_header_is_obeyed() -> None:
    """A declaration decides where the message begins."""
    formats = [format_of("<Level> <Component>: <Content>")]
    assert ("it is", "", "other text") == (
        message_of(b"INFO a.b: it is\n", formats),
        message_of(b"   at x\n", formats),
        message_of(b"other text\n", formats),
    )


def test_an_unknown_header_is_refused(log: Path) -> None:
    """A header format that does not exist is an error."""
    with pytest.raises(WrongFormat):
        list(read_messages([log], header="nonsense"))


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long input tells how many lines were read."""
    times = iter(range(0, 1000, 2))
    monkeypatch.setattr("training.sample.time.monotonic", lambda: float(next(times)))
    notes = io.StringIO()
    assert 5000 == len(list(watched(("a" for _ in range(5000)), notes)))
    assert "4,096 lines read, 1,024 lines/s" in notes.getvalue()


def test_rules_suggest_without_a_model() -> None:
    """`none` makes parameters of what must be values."""
    assert ["took <*> ms from <*>"] == suggestions(["took 5 ms from 10.0.0.1"], "none")


def test_the_model_suggests() -> None:
    """The shipped model suggests a template that matches the line."""
    assert ["Stored <*> objects in <*> ms"] == suggestions(["Stored 17 objects in 4 ms"], "base")


def test_a_table_shows_no_control_characters() -> None:
    """What a terminal could obey is replaced."""
    assert "a\ufffd[31mb" == printable("a\x1b[31mb")
    choice = Choice(index=4, message="a\x1b", lines=1234)
    assert "         5       1,234  a\ufffd" == table([choice], [""]).splitlines()[1]


def test_the_command_writes_pairs(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The chosen lines are written with suggestions and shown."""
    out = tmp_path / "pairs.csv"
    assert 0 == main([str(log), "--count", "2", "--model", "none", "--out", str(out)])
    pairs = read_pairs(out)
    assert {"Stored <*> objects in <*> ms"} <= {pair.template for pair in pairs}
    assert 2 == len(pairs)
    assert "2 of 5 lines" in capsys.readouterr().out


def test_labels_are_not_overwritten(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stays as it is, unless --force."""
    out = tmp_path / "pairs.jsonl"
    out.write_text("mine")
    arguments = [str(log), "--model", "none", "--out", str(out), "--count", "1"]
    assert 1 == main(arguments)
    assert "is there already" in capsys.readouterr().err
    assert "mine" == out.read_text()
    assert 0 == main([*arguments, "--force"])
    assert [Pair] == [type(pair) for pair in read_pairs(out)]


@pytest.mark.parametrize("arguments", [["missing.log"], ["LOG", "--header", "nonsense"], ["LOG", "--model", "./no"]])
def test_what_can_not_be_read_is_said(
    arguments: list[str], log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing log, a wrong header or a missing model ends the command with a reason."""
    given = [str(log) if argument == "LOG" else argument for argument in arguments]
    assert 1 == main([*given, "--out", str(tmp_path / "pairs.csv")])
    assert capsys.readouterr().err.strip()
