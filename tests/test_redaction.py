"""Nothing that is redacted leaves in an event: values in odd places of many lines, along the whole path of a file."""

import json
import random
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from tests.columns_of import records_of
from tests.fakes import RuleParser
from worker.cache.misses import Misses
from worker.cache.templates import TemplateCache
from worker.cli import cli
from worker.codec.envelopes import Envelope
from worker.codec.events import event_schema
from worker.codec.header_finder import HeaderFinder
from worker.offline import FileParser, TemplateFile, templates_folder
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.redaction import KINDS, Redaction, Way, pseudonym
from worker.parsing.templates import Template
from worker.pipeline import SourcePath

_KEY = b"0123456789abcdef"
_ALL_HASHED: Mapping[str, Way] = dict.fromkeys(KINDS, "hash")
_LETTERS = string.ascii_lowercase


def _ip(chance: random.Random) -> str:
    four = ".".join(str(chance.randint(11, 255)) for _ in range(4))
    six = ":".join(f"{chance.randint(0x1000, 0xFFFF):x}" for _ in range(8))
    short = f"2001:db8:{chance.randint(0x1000, 0xFFFF):x}::{chance.randint(0x1000, 0xFFFF):x}"
    return chance.choice([four, four, six, short])


def _email(chance: random.Random) -> str:
    return f"{_word(chance)}.{_word(chance)}@{_word(chance)}.example.org"


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(_LETTERS, k=9))


def _token(chance: random.Random) -> str:
    base64 = string.ascii_letters + string.digits
    part = "".join(chance.choices(base64, k=36))
    made = [f"ghp_{part}", f"eyJhbGciOiJI{part}.{part}.{part}", f"AKIA{chance.randint(10**15, 10**16 - 1)}"]
    return chance.choice(made)


def _card(chance: random.Random) -> str:
    digits = "4" + "".join(chance.choices(string.digits, k=14))
    total = sum(sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit) for place, digit in enumerate(digits))
    digits += str(-total % 10)
    return chance.choice(
        [
            digits,
            " ".join(digits[at : at + 4] for at in range(0, 16, 4)),
            "-".join(digits[at : at + 4] for at in range(0, 16, 4)),
        ]
    )


_VALUES: Mapping[str, Callable[[random.Random], str]] = {
    "ip": _ip, "email": _email, "token": _token, "card_number": _card, "user": lambda chance: f"u{_word(chance)}",
}  # fmt: skip
#: Keys for what has no form of its own, and for anything.
_KEYS = {"user": ("user", "userName", "login", "remote_user"), "token": ("apiKey", "db_password", "x-auth-token")}


def _said(chance: random.Random, kind: str, value: str) -> str:
    """Tell of a value in some way that must be found."""
    key = chance.choice(_KEYS.get(kind, ("at", "from", "x")))
    ways = [f"{key}={value}", f"{key}: {value}", f'{{"{key}": "{value}"}}', f"({key}='{value}')"]
    if kind != "user":
        ways += [
            f"got {value} now",
            f"[{value}]",
            f"<{value}>",
            f"/a/{value}?b",
            value,
            f"\tat Call.x({value}) ~[a.jar]",
        ]
    return chance.choice(ways)


def _text(chance: random.Random, secrets: list[str]) -> str:
    """Make a message of one to four lines, with values in it; `secrets` is told of them."""
    parts = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(KINDS)
        value = _VALUES[kind](chance)
        secrets.append(value)
        parts.append(
            chance.choice(["Request failed", "caf\u00e9 \U0001f600", "took 12 ms"]) + " " + _said(chance, kind, value)
        )
    return chance.choice([" ", ", ", "\n", "\n\tat "]).join(parts)


def _field(chance: random.Random, secrets: list[str]) -> tuple[str, Any]:
    """Make a field whose name or text gives its value away."""
    kind = chance.choice(KINDS)
    value = _VALUES[kind](chance)
    secrets.append(value)
    if kind in _KEYS and chance.random() < 0.5:
        return chance.choice(_KEYS[kind]), value
    said = _said(chance, kind, value)
    return f"f{chance.randint(0, 9)}", chance.choice([said, [said], {"deep": {"er": said}}])


def _raw(chance: random.Random, secrets: list[str]) -> bytes:
    return _text(chance, secrets).replace("\n", " ").encode()


def _json(chance: random.Random, secrets: list[str]) -> bytes:
    fields = dict(_field(chance, secrets) for _ in range(3))
    return json.dumps({"message": _text(chance, secrets), **fields}, ensure_ascii=chance.random() < 0.5).encode()


def _docker(chance: random.Random, secrets: list[str]) -> bytes:
    return json.dumps(
        {"log": _text(chance, secrets), "stream": "stderr", "attrs": dict([_field(chance, secrets)])}
    ).encode()


def _syslog(chance: random.Random, secrets: list[str]) -> bytes:
    user, address = _VALUES["user"](chance), _ip(chance)
    secrets += [user, address]
    text = _text(chance, secrets).replace("\n", " ")
    return f'<34>1 2026-10-11T22:14:15.003Z {address} su 77 ID47 [a@1 user="{user}" x="{address}"] {text}'.encode()


def _otlp(chance: random.Random, secrets: list[str]) -> bytes:
    def attributes() -> list[dict[str, Any]]:
        user, address = _VALUES["user"](chance), _ip(chance)
        secrets.extend([user, address])
        return [
            {"key": "enduser.id", "value": {"stringValue": user}},
            {"key": "net", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": address}}]}}},
        ]

    record = {"body": {"stringValue": _text(chance, secrets)}, "attributes": attributes()}
    scope = {"logRecords": [record]}
    return json.dumps({"resourceLogs": [{"resource": {"attributes": attributes()}, "scopeLogs": [scope]}]}).encode()


def _access(chance: random.Random, secrets: list[str]) -> bytes:
    address = ".".join(str(chance.randint(11, 255)) for _ in range(4))
    user, token = _VALUES["user"](chance), _token(chance)
    secrets += [address, user, token]
    request = f'"GET /x?token={token} HTTP/1.1" 200 12 "https://{user}:{token}@a.example/" "curl/8"'
    return f"{address} - {user} [10/Oct/2026:13:55:36 +0000] {request}".encode()


def _parser(envelope: str, header: str, redaction: Redaction) -> FileParser:
    rules = RuleParser()
    model = MicroBatcher(rules, deadline_seconds=0)
    cache = TemplateCache(max_templates=10_000, max_fingerprints=1024)
    path = SourcePath(
        name="file",
        finder=HeaderFinder([header], zone="UTC", source="file"),
        misses=Misses(cache=cache, store=None, model=model, scope="file", redaction=redaction),
        parser_version=rules.version,
        resource={},
        redaction=redaction,
    )
    return FileParser(path=path, envelope=Envelope(envelope), model=model, memory=None, redaction=redaction)


@pytest.mark.parametrize(
    ("envelope", "header", "make"),
    [
        ("raw", "none", _raw),
        ("raw", "nginx-access", _access),
        ("json", "none", _json),
        ("docker", "none", _docker),
        ("syslog", "none", _syslog),
        ("otlp", "none", _otlp),
    ],
)
async def test_no_value_leaves(envelope: str, header: str, make: Callable[[random.Random, list[str]], bytes]) -> None:
    """In no event stands any of thousands of values: not in the body, the template, the parameters or the fields."""
    chance = random.Random(7)
    secrets: list[str] = []
    lines = [make(chance, secrets) for _ in range(600)]
    file = _parser(envelope, header, Redaction(ways=_ALL_HASHED, key=_KEY))
    try:
        written = bytes(await file.parse(records_of(lines)))
        # Templates that were learned with the first lines are known to the second.
        written += bytes(await file.parse(records_of(lines)))
    finally:
        await file.close()
    events = [json.loads(line) for line in written.split(b"\n")[:-1]]
    assert len(events) == 2 * len(lines)
    schema = jsonschema.Draft202012Validator(event_schema())
    text = "\n".join(json.dumps(event, ensure_ascii=False) for event in events)
    for event in events:
        schema.validate(event)
        for one in event["attributes"]["log.record.parameters"]:
            assert one["value"] == event["body"][one["start"] : one["end"]]
    leaked = {value for value in secrets if value in text}
    assert not leaked
    assert text.count("<ip:") > len(lines) // 2


def settings_file(folder: Path, text: str) -> Path:
    """Write settings, with a file for the key."""
    (folder / "key").write_bytes(_KEY + b"\n")
    file = folder / "logloom.toml"
    file.write_text(f'[redact]\nkey_file = "{folder / "key"}"\n{text}')
    return file


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches in a folder of the test, with templates known for the source `app`, values in one of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    texts = ("login of <*> from <*>", "mailed bob@example.com in <*> ms")
    named = [Template.from_text(text) for text in texts]
    login = Template(literals=named[0].literals, spacious=(False, False), names=("user", ""))
    TemplateFile(templates_folder() / "none" / "app.msgpack").write([login, named[1]])


def parse(*arguments: str, stdin: bytes) -> list[dict[str, Any]]:
    """Run `logloom parse` without a model."""
    result = CliRunner().invoke(cli, ["parse", "--model", "none", "--source", "app", *arguments], input=stdin)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("known")
def test_parse_obeys_the_settings(tmp_path: Path) -> None:
    """`logloom parse` redacts as the settings say, those of the source before the others; names, constants included."""
    file = settings_file(tmp_path, 'ip = "hash"\nemail = "hash"\n[sources.app]\ntopics = ["x"]\n'
                                   'redact = { user = "mask", email = "mask" }\n')  # fmt: skip
    events = parse("--config", str(file), stdin=b"login of bob from 10.0.0.7\nmailed bob@example.com in 12 ms\n")
    address = f"<ip:{pseudonym(_KEY, 'ip', b'10.0.0.7')}>"
    assert [event["body"] for event in events] == [f"login of <user> from {address}", "mailed <email> in 12 ms"]
    first, second = (event["attributes"] for event in events)
    assert [(one["value"], one["start"], one["end"]) for one in first["log.record.parameters"]] == [
        ("<user>", 9, 15), (address, 21, 21 + len(address)),
    ]  # fmt: skip
    assert (first["log.record.parameter.user"], second["log.record.template"]) == ("<user>", "mailed <email> in <*> ms")
    assert second["log.record.template.id"] == Template.from_text("mailed <email> in <*> ms").id


@pytest.mark.usefixtures("known")
def test_lines_that_fail_are_not_shown(tmp_path: Path) -> None:
    """What can't become an event says why, without its text, where anything is redacted."""
    (failure,) = parse("--config", str(settings_file(tmp_path, 'ip = "mask"')), stdin=b"no template for 10.0.0.7\n")
    assert (failure["body"], failure["attributes"]["logloom.reason"]) == ("", "unparsable")
    (failure,) = parse("--config", str(settings_file(tmp_path, "")), stdin=b"no template for 10.0.0.7\n")
    assert failure["body"] == "no template for 10.0.0.7"


@pytest.mark.usefixtures("known")
def test_fields_in_words_are_redacted(tmp_path: Path) -> None:
    """Fields that are asked for in words answer from what is redacted."""
    file = settings_file(tmp_path, 'user = "mask"')
    (event,) = parse("--config", str(file), "--fields", "user name", stdin=b"login of bob from 10.0.0.7\n")
    assert "bob" not in json.dumps(event)
    assert event["attributes"]["log.record.field.user_name"] == "user"
