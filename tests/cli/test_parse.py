"""`logloom parse`: lines in, events out, with templates that an earlier run has left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker.cli import cli
from worker.offline import TemplateFile, templates_folder
from worker.parsing.checkpoint import BASE, WEIGHTS, checkpoint_folder
from worker.parsing.templates import Template

#: Where this run keeps its kernels.
_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
LINES = b"took 1 ms\n\ntook 2 ms\r\nx\x00\xff 3\nuser bob left"


@pytest.fixture(autouse=True)
def _known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches in a folder of the test, with some templates known for the source `app`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = [Template.from_text(text) for text in ("took <*> ms", "user <*> left", "")]
    TemplateFile(templates_folder() / "none" / "app.msgpack").write(known)


def parse(*arguments: str, stdin: bytes = LINES) -> Result:
    """Run the command in this process, without a model."""
    return CliRunner().invoke(cli, ["parse", "--model", "none", *arguments], input=stdin)


def test_one_json_line_per_line() -> None:
    """Into a pipe go JSON lines in the order of the input, failures among them."""
    result = parse("--source", "app")
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout_bytes.split(b"\n")[:-1]]
    assert [event["body"] for event in events] == ["took 1 ms", "", "took 2 ms", "x\x00\ufffd 3", "user bob left"]
    assert [event["attributes"].get("log.record.template") for event in events] == [
        "took <*> ms", "", "took <*> ms", None, "user <*> left",
    ]  # fmt: skip


def test_the_source_is_the_file(tmp_path: Path) -> None:
    """The source's name is that of the file, without its ending."""
    file = tmp_path / "app.log"
    file.write_bytes(b"INFO took 1 ms\n")
    result = parse("--header", "<Level> <Content>", str(file))
    event = json.loads(result.stdout)
    assert (event["severity_text"], event["attributes"]["logloom.source"]) == ("INFO", "app")


def test_fields_asked_for_in_words() -> None:
    """Each event answers the fields that it can; wrong ones are refused before anything is read."""
    result = parse("--source", "app", "--fields", "user name, duration", stdin=b"user bob left\ntook 2 ms\n")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    asked = [{key: value for key, value in event["attributes"].items() if ".field." in key} for event in events]
    assert asked == [{"log.record.field.user_name": "bob"}, {"log.record.field.duration": "2 ms"}]
    refused = parse("--fields", "date,,Date")
    assert refused.exit_code != 0
    assert "'date' is asked for more than once" in str(refused.exception) + refused.output


def test_text_for_people() -> None:
    """As text a line shows the message, without colours where there is no terminal."""
    result = parse("--source", "app", "--text")
    assert "took <1> ms" in result.stdout
    assert "\x1b" not in result.stdout


def test_nothing_in_nothing_out() -> None:
    """An empty input gives no output and is no error."""
    result = parse(stdin=b"")
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--header", "no-preset", "is no preset"),
        ("--envelope", "parcel", "none of auto, raw"),
        ("--zone", "Nowhere/Town", "Nowhere/Town"),
        ("--model", "/no/such/folder", "/no/such/folder"),
    ],
)
def test_a_mistake_is_one_message(option: str, value: str, told: str) -> None:
    """A wrong option ends with a message and no traceback."""
    result = CliRunner().invoke(cli, ["parse", "--model", "none", option, value], input=LINES)
    assert result.exit_code != 0
    assert told in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def process(*arguments: str) -> "subprocess.Popen[bytes]":
    """Start the command as a process, its kernels where this run keeps them."""
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, _CACHE, "parse", "--model", "none", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


#: Kernels are compiled where every process finds them; templates are the test's own.
_MAIN = """
import os, sys
own, os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"], sys.argv.pop(1)
import worker.columns.jit
os.environ["XDG_CACHE_HOME"] = own
from worker.cli import main
main(sys.argv[1:])
"""


def test_events_come_while_lines_come() -> None:
    """A line from a pipe is answered before the next one is there."""
    with process("--source", "app") as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for number in range(3):
            running.stdin.write(b"took %d ms\n" % number)
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["body"] == f"took {number} ms"
        running.stdin.close()
        assert running.wait(30) == 0


def test_a_reader_that_leaves_is_no_mistake() -> None:
    """`logloom parse | head` ends in silence."""
    with process("--source", "app") as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(b"took 1 ms\n")
        running.stdin.flush()
        running.stdout.readline()
        running.stdout.close()
        for _ in range(2):
            try:
                running.stdin.write(b"took 2 ms\n" * 100_000)
                running.stdin.flush()
            except BrokenPipeError:
                break  # it has ended already
        try:
            running.stdin.close()
        except BrokenPipeError:
            running.stdin = None
        assert running.stderr.read() == b""
        assert running.wait(30) == 0


@pytest.mark.skipif(not (checkpoint_folder(BASE) / WEIGHTS).is_file(), reason="the weights of `base` are not here")
def test_the_model_is_asked_once() -> None:
    """With the weights that ship unknown lines get templates, which the next run knows."""
    caches = []
    for _ in range(2):
        result = CliRunner().invoke(cli, ["parse", "--source", "new", "--device", "cpu"], input=LINES)
        assert result.exit_code == 0, result.output
        events = [json.loads(line) for line in result.stdout_bytes.split(b"\n")[:-1]]
        assert len(events) == 5
        caches.append({event["attributes"]["logloom.cache"] for event in events})
    assert caches == [{"miss"}, {"hit"}]
