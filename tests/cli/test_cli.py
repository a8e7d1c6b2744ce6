"""The command line without any server."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker import __version__
from worker.cli import cli
from worker.cli.tail import decode_event

WRITTEN = ("produce", "tail", "templates", "dead-letters", "check")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own logloom.toml out."""
    monkeypatch.chdir(tmp_path)


def _run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=environment)


def test_help_names_every_command() -> None:
    """Help lists each command with what it does, and says how to begin."""
    shown = _run("--help").output
    for name in ("worker", "parse", *WRITTEN):
        assert f"\n  {name} " in shown
    assert "logloom parse /var/log/syslog" in shown


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help"), ("produce", "--help"), ("tail", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """Help is there at once: no model, no kernels, no Kafka client and no pydantic are imported for it."""
    code = (
        "import sys; from worker.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print([m for m in ('torch', 'numba', 'numpy', 'faust', 'kafka', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_has_help_with_examples(name: str) -> None:
    """A newcomer finds an example in each command's help."""
    shown = _run(name, "--help")
    assert shown.exit_code == 0
    assert name == "dead-letters" or "Examples:" in shown.output


@pytest.mark.parametrize("name", ["list", "replay"])
def test_dead_letters_commands_have_examples(name: str) -> None:
    """The same for what is below dead-letters."""
    assert "Examples:" in _run("dead-letters", name, "--help").output


def test_version() -> None:
    """`--version` says which one runs."""
    assert _run("--version").output == f"logloom, version {__version__}\n"


def test_unknown_command() -> None:
    """A command that there is not is told of."""
    shown = _run("prase")
    assert (shown.exit_code, "No such command 'prase'" in shown.output) == (2, True)


def test_wrong_settings_end_with_code_2() -> None:
    """Every mistake is a line, no traceback is shown, and the exit code tells scripts."""
    shown = _run("check", LOGLOOM_KAFKA__GROUP="g", LOGLOOM_LOG__LEVEL="loud")
    assert shown.exit_code == 2
    assert "log.level (LOGLOOM_LOG__LEVEL): 'loud' is wrong; allowed: debug, info, warning, error" in shown.output
    assert "LOGLOOM_KAFKA__GROUP: no such setting; did you mean LOGLOOM_KAFKA__GROUP_ID?" in shown.output


def test_check_shows_what_differs_from_the_default() -> None:
    """Effective settings come with where they are from, secrets masked; the others are counted."""
    shown = _run("check", "--settings-only", LOGLOOM_TOPICS="a", LOGLOOM_REDIS__URL="redis://u:hunter2@h:1/0")
    assert shown.exit_code == 0
    assert "hunter2" not in shown.output
    lines = shown.output.splitlines()
    assert lines[0].split() == ["topics", '["a"]', "LOGLOOM_TOPICS"]
    assert lines[1].split() == ["redis.url", "redis://u:***@h:1/0", "LOGLOOM_REDIS__URL"]
    assert lines[2].endswith("settings at their default (--all shows them)")


def test_check_as_json() -> None:
    """Scripts get every setting with its origin."""
    told = json.loads(_run("check", "--settings-only", "--json", LOGLOOM_TOPICS="a").output)
    assert told["ok"] is True
    assert told["settings"]["topics"] == {"value": '["a"]', "from": "LOGLOOM_TOPICS"}
    assert told["settings"]["kafka.group_id"] == {"value": "logloom", "from": "default"}


def test_check_describes_all_settings() -> None:
    """`--describe` prints the table that the documentation holds."""
    document = Path(__file__).parents[2] / "docs" / "settings.md"
    assert _run("check", "--describe").output == document.read_text()


@pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")  # kafka-python, when imported
def test_produce_can_not_repeat_standard_input() -> None:
    """What can't be read twice can't be repeated."""
    assert "standard input can't be repeated" in _run("produce", "--topic", "t", "--repeat", "2").output


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "no Redis: set redis.url (LOGLOOM_REDIS__URL)"),
        ({"LOGLOOM_REDIS__URL": "redis://localhost:1"}, "Error: "),
    ],
)
def test_templates_need_redis(environment: dict[str, str], told: str) -> None:
    """Without Redis the command says what to set, and shows no traceback."""
    shown = CliRunner().invoke(cli, ["templates", "list"], env=environment)
    assert (shown.exit_code, told in shown.output) == (1, True)


def test_events_of_both_formats_are_read() -> None:
    """JSON and msgpack are told apart; anything else is no event."""
    msgpack = importlib.import_module("msgpack")
    event = {"body": "b", "attributes": {"logloom.cache": "hit"}}
    assert decode_event(json.dumps(event).encode()) == event
    assert decode_event(msgpack.packb(event)) == event
    for wrong in (b"", b"{", b"plain text", b"\xff\xfe", b"[1]", b'{"attributes":3}', msgpack.packb([1])):
        assert decode_event(wrong) is None


@pytest.mark.parametrize("nested", [b'{"body":' + b"[" * 100_000, b"\x91" * 100_000])
def test_what_is_nested_without_end_is_no_event(nested: bytes) -> None:
    """The topic may hold anything: what nobody can read does not end the command."""
    assert decode_event(nested) is None


def test_errors_are_shown_without_control_characters(tmp_path: Path) -> None:
    """What a file or a variable holds moves no cursor when it is told; lines stay lines."""
    variables = {"LOGLOOM_TOPICS": "t", "LOGLOOM_X\x1b[2J\x9b": "1", "LOGLOOM_Y": "1"}
    shown = CliRunner().invoke(cli, ["check", "--settings-only"], env=variables)
    assert shown.exit_code == 2
    assert len(shown.output.splitlines()) == 3
    assert all(line.isprintable() for line in shown.output.splitlines())


@pytest.mark.parametrize("code", [0, 1])
def test_a_worker_ends_though_a_thread_hangs(code: int) -> None:
    """Python alone would wait for the thread; what was written is not lost."""
    script = f"""
import threading
from worker.cli.worker import end
threading.Thread(target=threading.Event().wait).start()
print("the last words")
end({code})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, b"the last words\n")
