"""Settings: where they come from, what wins, and how mistakes are told."""

import re
from pathlib import Path
from typing import get_args

import pytest

from worker.codec.envelopes import KINDS, PRESETS
from worker.errors import WrongSettings
from worker.parsing import redaction
from worker.settings import Settings, describe, load, read, shown
from worker.settings.kinds import time_zone
from worker.settings.model import Envelope, RedactedKind

_TIERS = {"LOGLOOM_ROLE": "parse", "LOGLOOM_REDIS__URL": "redis://localhost"}
_ONCE = {"LOGLOOM_TOPICS": "t", "LOGLOOM_KAFKA__DELIVERY": "exactly-once"}
_OAUTHBEARER = {"LOGLOOM_KAFKA__SASL_MECHANISM": "OAUTHBEARER"}
_TRACED = {"LOGLOOM_TOPICS": "t", "LOGLOOM_TRACING__ENDPOINT": "http://collector:4318"}
_SASL = {"LOGLOOM_KAFKA__SASL_MECHANISM": "PLAIN", "LOGLOOM_KAFKA__SASL_USERNAME": "u"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No logloom.toml of the developer's own takes part."""
    monkeypatch.chdir(tmp_path)


def _toml(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def _mistakes(environment: dict[str, str], config: Path | None = None) -> list[str]:
    with pytest.raises(WrongSettings) as caught:
        load(config, environment=environment)
    head, *lines = str(caught.value).split("\n")
    assert head == "The settings can't be run with:"
    return [line.strip() for line in lines]


def _line(name: str, text: str) -> str:
    return f"{name} (LOGLOOM_{name.upper().replace('.', '__')}): {text}"


def test_topics_alone_make_a_default_source() -> None:
    """A topic is enough to run: it is read by the source `default`, which finds everything else out."""
    settings = load(environment={"LOGLOOM_TOPICS": "a, b"})
    assert list(settings.sources) == ["default"]
    source = settings.sources["default"]
    assert (source.topics, source.envelope, source.header, source.scope) == (("a", "b"), "auto", ("auto",), "default")
    assert settings.subscription() == {"a", "b"}


def test_order_of_precedence(tmp_path: Path) -> None:
    """The command line wins over variables, these over the file, the file over defaults; each is remembered."""
    file = _toml(
        tmp_path, 'topics = ["a"]\n[kafka]\ngroup_id = "file"\nclient_id = "file"\nbootstrap_servers = "f:1"\n'
    )
    found = read(
        file,
        environment={"LOGLOOM_KAFKA__CLIENT_ID": "variable", "LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": "v:1"},
        overrides={"kafka.bootstrap_servers": "c:1"},
    )
    kafka = found.settings.kafka
    assert (kafka.group_id, kafka.client_id, kafka.bootstrap_servers) == ("file", "variable", ("c:1",))
    origins = {one.name: one.origin for one in shown(found.settings, found.origins)}
    assert origins["kafka.group_id"] == str(file)
    assert origins["kafka.client_id"] == "LOGLOOM_KAFKA__CLIENT_ID"
    assert origins["kafka.bootstrap_servers"] == "command line"
    assert origins["kafka.isolation_level"] == "default"


def test_file_is_found_by_variable_and_by_name(tmp_path: Path) -> None:
    """LOGLOOM_CONFIG names the file; without it ./logloom.toml is read where it is there."""
    (tmp_path / "logloom.toml").write_text('topics = "here"')
    other = _toml(tmp_path, 'topics = "there"')
    assert load(environment={}).topics == ("here",)
    assert load(environment={"LOGLOOM_CONFIG": str(other)}).topics == ("there",)


def test_several_sources_in_file_and_variables(tmp_path: Path) -> None:
    """A table per source; a variable changes one field of it, with `-` and `.` of its name as `_`."""
    file = _toml(
        tmp_path,
        """
        [sources.web-front]
        topics = ["web.raw"]
        zone = "Europe/Berlin"
        resource = { "service.name" = "web" }

        [sources.app]
        topic_pattern = "app[.].*"
        header = ["<Date> <Level> <Content>", "<Level> <Content>"]
        template_scope = "shared"
        [sources.app.parameter_names]
        "user <*> from <*>" = ["user.name", "client.address"]
        """,
    )
    settings = load(
        file,
        environment={
            "LOGLOOM_SOURCES__WEB_FRONT__ENCODING": "latin-1",
            "LOGLOOM_SOURCES__DB__TOPICS": "db.raw",
            "LOGLOOM_SOURCES__DB__RESOURCE": "service.name=db,host.name=h1",
        },
    )
    assert list(settings.sources) == ["web-front", "app", "db"]
    web, app, db = settings.sources.values()
    assert (web.name, web.zone, web.encoding) == ("web-front", "Europe/Berlin", "iso8859-1")
    assert (app.header, app.scope) == (("<Date> <Level> <Content>", "<Level> <Content>"), "shared")
    assert app.parameter_names == {"user <*> from <*>": ("user.name", "client.address")}
    assert db.resource == {"service.name": "db", "host.name": "h1"}


@pytest.mark.parametrize(
    ("written", "types"),
    [
        ("default", {}),
        ("none", None),
        ("timeout, disk failure", {"timeout": (), "disk failure": ()}),
        ('["a, b"]', {"a, b": ()}),
        ('{"timeout": [], "paid": "an invoice was paid"}', {"timeout": (), "paid": ("an invoice was paid",)}),
    ],
)
def test_types_are_names_or_names_with_words(written: str, types: dict[str, tuple[str, ...]] | None) -> None:
    """Without any, the types that ship are asked for."""
    settings = load(environment={"LOGLOOM_SOURCES__A__TOPICS": "a", "LOGLOOM_SOURCES__A__TYPES": written})
    assert types == settings.sources["a"].types
    assert load(environment={"LOGLOOM_TOPICS": "a"}).sources["default"].types == {}


@pytest.mark.parametrize("written", ["[]", "x" * 65, ",".join(f"t{number}" for number in range(65)), "[7]"])
def test_types_that_can_t_be_labels_are_refused(written: str) -> None:
    """No types at all, long names, too many."""
    with pytest.raises(WrongSettings, match="types"):
        load(environment={"LOGLOOM_SOURCES__A__TOPICS": "a", "LOGLOOM_SOURCES__A__TYPES": written})


def test_sources_of_one_scope_need_the_same_types() -> None:
    """They share templates, which have one type."""
    environment = {
        f"LOGLOOM_SOURCES__{name}__{setting}": value
        for name, types in (("A", "timeout"), ("B", "startup"))
        for setting, value in (("TOPICS", name.lower()), ("TEMPLATE_SCOPE", "shared"), ("TYPES", types))
    }
    with pytest.raises(WrongSettings, match="the same types"):
        load(environment=environment)


def test_source_of_a_topic() -> None:
    """Who names a topic gets it; then patterns in their order; what Logloom writes is never read."""
    settings = load(
        environment={
            "LOGLOOM_SOURCES__A__TOPIC_PATTERN": "app-.*",
            "LOGLOOM_SOURCES__B__TOPICS": "app-special",
            "LOGLOOM_TOPIC_PATTERN": ".*",
        }
    )
    names = {
        topic: source.name if (source := settings.source_of(topic)) else None
        for topic in ("app-1", "app-special", "other", "logloom.events", "logloom.dead-letters", "__consumer_offsets")
    }
    assert names == {
        "app-1": "a",
        "app-special": "b",
        "other": "default",
        "logloom.events": None,
        "logloom.dead-letters": None,
        "__consumer_offsets": None,
    }
    pattern = settings.subscription()
    assert isinstance(pattern, re.Pattern)
    topics = ["app-1", "app-special", "other", "logloom.events", "logloom.dead-letters", "__consumer_offsets"]
    assert [topic for topic in topics if pattern.match(topic)] == ["app-1", "app-special", "other"]


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    """One run tells every mistake, each with both spellings, the value seen and what is allowed."""
    file = _toml(
        tmp_path, 'topics = ["a"]\n[kafka]\nfetch_max_byte = 1\n[output]\ncompression = "lz5"\n[redis]\nx = 1\n'
    )
    environment = {
        "LOGLOOM_KAFKA__SESSION_TIMEOUT_MS": "soon",
        "LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": "good:9092,bad",
        "LOGLOOM_MODEL__DEVICE": "tpu",
        "LOGLOOM_KAFKA_GROUP_ID": "g",
        "LOGLOOM_OUTPUT__TOPIC": "same",
        "LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": "same",
    }
    mistakes = _mistakes(environment, file)
    assert sorted(mistakes) == [
        "LOGLOOM_KAFKA_GROUP_ID: no such setting; did you mean LOGLOOM_KAFKA__GROUP_ID?",
        _line("kafka.bootstrap_servers", "'bad' is wrong (not host:port); allowed: host:port, several with commas"),
        _line("kafka.fetch_max_byte", "no such setting; did you mean kafka.fetch_max_bytes?"),
        _line("kafka.session_timeout_ms", "'soon' is wrong; allowed: a whole number from 1_000 to 3_600_000"),
        _line("model.device", "'tpu' is wrong (no such device); allowed: auto, cpu, cuda or cuda:N"),
        _line("output.compression", "'lz5' is wrong; allowed: none, gzip, snappy, lz4, zstd"),
        "output.topic (LOGLOOM_OUTPUT__TOPIC) and "
        + _line("output.dead_letter_topic", "both are 'same'; consumers of events can't read dead letters"),
        _line("redis.x", "no such setting"),
    ]


@pytest.mark.parametrize(
    ("environment", "mistake"),
    [
        ({"LOGLOOM_TOPICS": "logloom.events"}, "'logloom.events' is read and written: a loop"),
        ({"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__B__TOPICS": "t"}, "the topic 't' is claimed by 2"),
        ({"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_TOPICS": "t"}, "the topic 't' is claimed by 2 sources"),
        ({"LOGLOOM_SOURCES__DEFAULT__TOPICS": "s", "LOGLOOM_TOPICS": "t"}, "which mean the source `default` too"),
        ({"LOGLOOM_SOURCES__A__ZONE": "UTC"}, "neither is set: nothing to read"),
        (
            {"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__PROMPT": "p", "LOGLOOM_MODEL__PATH": "none"},
            "set, but there is no model",
        ),
        (
            {
                "LOGLOOM_SOURCES__A__TOPICS": "t",
                "LOGLOOM_SOURCES__A__PROMPT": "p",
                "LOGLOOM_SOURCES__B__TOPICS": "s",
                "LOGLOOM_SOURCES__B__TEMPLATE_SCOPE": "a",
            },
            "sources of the scope 'a' share their templates, so they need the same prompt",
        ),
        ({}, "neither is set, nor is there a table [sources.NAME]: nothing to read"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_ROLE": "gpu"}, "allowed: all, match, parse"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_ROLE": "match"}, "not set, and role is match: templates come back"),
        (_TIERS | {"LOGLOOM_TOPICS": "t", "LOGLOOM_MODEL__PATH": "none"}, "none, and role is parse"),
        (_TIERS | {"LOGLOOM_TOPICS": "t", "LOGLOOM_MISSES__TOPIC": "logloom.events"}, "misses need a topic of their"),
        (_TIERS | {"LOGLOOM_TOPICS": "logloom.misses"}, "'logloom.misses' is read and written: a loop"),
        ({"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__ZONE": "Mars/Base"}, "no such zone"),
        ({"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__ENCODING": "utf-9"}, "no such encoding"),
        (
            {"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__ENVELOPE": "box"},
            "allowed: auto, raw, json, msgpack, cri",
        ),
        ({"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__HEADER": "log5j"}, "'log5j' is no preset; there are"),
        ({"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__HEADER": '["auto", "none"]'}, "stand alone"),
        ({"LOGLOOM_TOPICS": "a b"}, "no name that Kafka allows"),
        ({"LOGLOOM_TOPIC_PATTERN": "a("}, "not a regular expression"),
        ({"LOGLOOM_TOPIC_PATTERN": "(a)"}, "holds a group"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_KAFKA__SASL_MECHANISM": "PLAIN"}, "but security_protocol is PLAINTEXT"),
        (
            _ONCE | {"LOGLOOM_KAFKA__ENABLE_IDEMPOTENCE": "no"},
            "(LOGLOOM_KAFKA__DELIVERY): false, but delivery is exactly-once; it needs true",
        ),
        (
            _ONCE | {"LOGLOOM_KAFKA__ISOLATION_LEVEL": "read_uncommitted"},
            "(LOGLOOM_KAFKA__DELIVERY): read_uncommitted, but delivery is exactly-once; it needs read_committed",
        ),
        (
            _ONCE | {"LOGLOOM_TRANSPORT": "faust"},
            "faust, but kafka.delivery is exactly-once; it needs columns",
        ),
        (
            {"LOGLOOM_TOPICS": "t", "LOGLOOM_KAFKA__SECURITY_PROTOCOL": "sasl_ssl"} | _SASL,
            "kafka.sasl_password (LOGLOOM_KAFKA__SASL_PASSWORD): not set, and security_protocol is SASL_SSL",
        ),
        (
            {"LOGLOOM_TOPICS": "t", "LOGLOOM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL"} | _OAUTHBEARER,
            "(LOGLOOM_KAFKA__SASL_TOKEN_LOCATION): not set, and security_protocol is SASL_SSL",
        ),
        (
            {
                "LOGLOOM_TOPICS": "t",
                "LOGLOOM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
                "LOGLOOM_KAFKA__SASL_TOKEN_LOCATION": __file__,
                "LOGLOOM_KAFKA__SASL_PASSWORD": "p",
            }
            | _OAUTHBEARER,
            "set, but sasl_mechanism is OAUTHBEARER, which does not use it",
        ),
        (
            {
                "LOGLOOM_TOPICS": "t",
                "LOGLOOM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
                "LOGLOOM_KAFKA__SASL_TOKEN_LOCATION": __file__,
                "LOGLOOM_KAFKA__SASL_PASSWORD": "p",
            }
            | _SASL,
            "set, but sasl_mechanism is PLAIN, which does not use it",
        ),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_KAFKA__SSL_CA_LOCATION": "/no/such.pem"}, "no such file"),
        (
            {"LOGLOOM_TOPICS": "t", "LOGLOOM_REDIS__URL": "redis://h", "LOGLOOM_REDIS__SSL_CA_LOCATION": __file__},
            "set, but TLS needs an address of rediss://",
        ),
        (
            {"LOGLOOM_TOPICS": "t", "LOGLOOM_REDIS__URL": "rediss://h", "LOGLOOM_REDIS__SSL_KEY_LOCATION": __file__},
            "redis.ssl_certificate_location (LOGLOOM_REDIS__SSL_CERTIFICATE_LOCATION): not set, though its key is",
        ),
        (
            {"LOGLOOM_TOPICS": "t", "LOGLOOM_REDIS__SSL_CA_LOCATION": __file__},
            "not set, though its ssl_ca_location is",
        ),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_KAFKA__HEARTBEAT_INTERVAL_MS": "20000"}, "more than a third of"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_LIMITS__MAX_RECORD_BYTES": "10"}, "is more than max_record_bytes, 10"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_REDIS__PASSWORD": "p"}, "not set, though its password is"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_METRICS_PORT": "9000"}, "did you mean LOGLOOM_METRICS__PORT?"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_CONFIG": "none.toml"}, "none.toml: can't be read: No such file"),
        (
            {"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__PARAMETER_NAMES": '{"a <*>": ["b", "c"]}'},
            "'a <*>' has 1 parameters, not 2",
        ),
        (
            {"LOGLOOM_SOURCES__A__TOPICS": "t", "LOGLOOM_SOURCES__A__PARAMETER_NAMES": '{"plain": ["b"]}'},
            "neither a template with <*> nor a template's id",
        ),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_TRACING__ENDPOINT": "collector:4318"}, "no address of a collector"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_TRACING__ENDPOINT": "https://me:key@host"}, "who asks goes into headers"),
        ({"LOGLOOM_TOPICS": "t", "LOGLOOM_TRACING__HEADERS": "a=b"}, "not set, though its headers is"),
        (
            {"LOGLOOM_TOPICS": "t", "LOGLOOM_TRACING__SSL_CA_LOCATION": __file__},
            "not set, though its ssl_ca_location is",
        ),
        (_TRACED | {"LOGLOOM_TRACING__SHARE": "1.5"}, "'1.5' is wrong; allowed: a number from 0 to 1"),
        (_TRACED | {"LOGLOOM_TRACING__HEADERS": "a=b,key: s3cret"}, "*** is wrong (header 2 is not name=value)"),
        (_TRACED | {"LOGLOOM_TRACING__HEADERS": "a=line%0Aend"}, "*** is wrong (header 1 is not name=value)"),
        (_TRACED | {"LOGLOOM_TRACING__SSL_CA_LOCATION": __file__}, "set, but TLS needs an address of https://"),
        (
            _TRACED | {"LOGLOOM_TRACING__ENDPOINT": "https://collector", "LOGLOOM_TRACING__SSL_KEY_LOCATION": __file__},
            "tracing.ssl_certificate_location (LOGLOOM_TRACING__SSL_CERTIFICATE_LOCATION): not set, though its key is",
        ),
        (_TRACED | {"LOGLOOM_TRACING__RESOURCE": "service.name=x"}, "set tracing.service_name instead"),
        (_TRACED | {"LOGLOOM_TRACING__PROTOCOL": "grpc"}, "LOGLOOM_TRACING__PROTOCOL: no such setting"),
    ],
)
def test_one_mistake(environment: dict[str, str], mistake: str) -> None:
    """What can't be run with is one line that says why."""
    mistakes = _mistakes(environment)
    assert len(mistakes) == 1
    assert mistake in mistakes[0]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("topics = [", "no TOML"),
        ("kafka = 3", "kafka (LOGLOOM_KAFKA): 3 is wrong; allowed: a table, [kafka]"),
        ('sources = ["a"]', "sources (LOGLOOM_SOURCES): ['a'] is wrong; allowed: a table, [sources.NAME]"),
        ("[sources]\nweb = 1", "allowed: a table, [sources.web]"),
        ('[sources."a b"]\ntopics = ["x"]', "no name for a source"),
        ('[sources.a]\nname = "b"\ntopics = ["x"]', "write the table [sources.b] instead"),
    ],
)
def test_wrong_shape_of_the_file(tmp_path: Path, text: str, mistake: str) -> None:
    """A file of the wrong shape is told of as any mistake."""
    assert any(mistake in line for line in _mistakes({}, _toml(tmp_path, text)))


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """A secret's file is named by a variable or in TOML, or lies in the folder of secrets; line ends are cut."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "redis.password").write_text("from folder")
    file = _toml(
        tmp_path,
        f"""
        topics = ["a"]
        [kafka]
        security_protocol = "SASL_SSL"
        sasl_mechanism = "plain"
        sasl_username = "u"
        sasl_password_file = "{secret}"
        [redis]
        url = "redis://localhost:6379"
        """,
    )
    settings = load(file, environment={"LOGLOOM_SECRETS_DIR": str(folder)})
    assert sorted(settings.secrets()) == ["from folder", "s3cret"]
    settings = load(file, environment={"LOGLOOM_REDIS__PASSWORD_FILE": str(secret)})
    assert sorted(settings.secrets()) == ["s3cret", "s3cret"]
    (folder / "redis.password").unlink()
    (folder / "tracing.headers").write_text("X-Tenant=7, api-key=s%2Ccret-99\n")
    settings = load(environment=_TRACED | {"LOGLOOM_SECRETS_DIR": str(folder)})
    assert settings.tracing.sent_headers == {"x-tenant": "7", "api-key": "s,cret-99"}
    # The tenant's number is none: it would be masked in every number of a log.
    assert sorted(settings.secrets()) == ["X-Tenant=7, api-key=s%2Ccret-99", "s,cret-99"]


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """No secret is in what is shown, in a representation or in a mistake."""
    environment = {
        "LOGLOOM_TOPICS": "a",
        "LOGLOOM_REDIS__URL": "redis://user:hunter2@localhost:6379/0",
        "LOGLOOM_REDIS__PASSWORD": "hunter3",
    }
    found = read(environment=environment)
    values = {one.name: one.value for one in shown(found.settings, found.origins)}
    assert values["redis.url"] == "redis://user:***@localhost:6379/0"
    assert values["redis.password"] == "***"
    assert sorted(found.settings.secrets()) == ["hunter2", "hunter3"]
    wrong = environment | {"LOGLOOM_REDIS__URL": "http://user:hunter2@x", "LOGLOOM_KAFKA__PASSWORD": "hunter2"}
    assert not [line for line in _mistakes(wrong) if "hunter" in line]
    file = _toml(tmp_path, "[kafka]\nsasl_password = [1234]\n")
    assert any("kafka.sasl_password" in line and "1234" not in line for line in _mistakes({}, file))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host:1/0", "redis://:p%40%2F@host:1/0"),
        ("rediss://user@host", "rediss://user:p%40%2F@host"),
        ("redis://user:old@host/0", "redis://user:p%40%2F@host/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1&password=p%40%2F"),
    ],
)
def test_redis_password_joins_its_address(url: str, address: str) -> None:
    """A password from a file goes into the address that clients take, whatever its characters."""
    environment = {"LOGLOOM_TOPICS": "a", "LOGLOOM_REDIS__URL": url, "LOGLOOM_REDIS__PASSWORD": "p@/"}
    assert load(environment=environment).redis.address == address


def test_redaction_is_set_for_all_and_for_one(tmp_path: Path) -> None:
    """A source's kinds win over those of all; the key comes from a file and is never shown."""
    (tmp_path / "key").write_text("0123456789abcdef\n")
    file = _toml(
        tmp_path,
        f"""
        [redact]
        ip = "hash"
        token = "MASK"
        key_file = "{tmp_path / "key"}"
        [sources.web]
        topics = ["w"]
        redact = {{ ip = "keep", user = "hash" }}
        [sources.app]
        topics = ["a"]
        """,
    )
    found = read(file, environment={"LOGLOOM_SOURCES__APP__REDACT": "email=mask"})
    ways = {name: found.settings.redacted(source) for name, source in found.settings.sources.items()}
    assert ways == {
        "web": {"token": "mask", "user": "hash"},
        "app": {"ip": "hash", "token": "mask", "email": "mask"},
    }
    assert found.settings.redaction_key == b"0123456789abcdef"
    assert list(found.settings.secrets()) == ["0123456789abcdef"]
    assert {one.name: one.value for one in shown(found.settings, found.origins)}["redact.key"] == "***"
    assert Settings().redacted(found.settings.sources["app"]) == {"email": "mask"}


@pytest.mark.parametrize(
    ("redact", "mistake"),
    [
        ({"REDACT__IP": "hash"}, "redact.key (LOGLOOM_REDACT__KEY): not set, and values are to be hashed"),
        ({"SOURCES__A__REDACT": "user=hash", "SOURCES__A__TOPICS": "t"}, "redact.key (LOGLOOM_REDACT__KEY): not set"),
        ({"REDACT__IP": "hash", "REDACT__KEY": "fifteen-bytes.."}, "15 bytes; allowed: 16 to 64 bytes"),
        ({"REDACT__KEY": "x" * 65}, "65 bytes; allowed: 16 to 64 bytes"),
        ({"REDACT__IP": "blur"}, "allowed: keep, mask, hash"),
        ({"SOURCES__A__REDACT": "phone=mask", "SOURCES__A__TOPICS": "t"}, "ip, email, token, card_number, user"),
        ({"SOURCES__A__REDACT": "ip=blur", "SOURCES__A__TOPICS": "t"}, "keep, mask, hash"),
    ],
)
def test_redaction_that_can_not_be(redact: dict[str, str], mistake: str) -> None:
    """A kind or way that there is not is refused, and a hash without a sound key; the key is not told."""
    mistakes = _mistakes({"LOGLOOM_TOPICS": "u"} | {f"LOGLOOM_{name}": value for name, value in redact.items()})
    assert len(mistakes) == 1
    assert mistake in mistakes[0]
    assert "fifteen" not in mistakes[0]


def test_kinds_are_those_that_can_be_redacted() -> None:
    """Settings name every kind that is found, in the order of the definition, and no other."""
    assert get_args(RedactedKind) == redaction.KINDS


def test_unreadable_secret_file_is_a_mistake(tmp_path: Path) -> None:
    """A secret's file that is not there, or a secret that is set twice, is told of."""
    environment = {
        "LOGLOOM_TOPICS": "a",
        "LOGLOOM_REDIS__PASSWORD_FILE": str(tmp_path / "nothing"),
        "LOGLOOM_REDIS__PASSWORD": "x",
        "LOGLOOM_REDIS__URL": "redis://localhost:1",
        "LOGLOOM_SECRETS_DIR": str(tmp_path / "nowhere"),
    }
    assert len(_mistakes(environment)) == 3


def test_variables_of_kubernetes_services_are_ignored() -> None:
    """What Kubernetes sets for a service called logloom is no mistake."""
    settings = load(
        environment={
            "LOGLOOM_TOPICS": "a",
            "LOGLOOM_SERVICE_HOST": "10.0.0.1",
            "LOGLOOM_SERVICE_PORT_METRICS": "9464",
            "LOGLOOM_PORT": "tcp://10.0.0.1:9464",
            "LOGLOOM_PORT_9464_TCP_ADDR": "10.0.0.1",
            "LOGLOOM_METRICS_PORT": "tcp://10.0.0.1:9464",
        }
    )
    assert settings.metrics.port == 9464


def test_sources_are_needed_only_by_who_reads() -> None:
    """Commands that read no topic run without one."""
    assert dict(load(environment={}, needs_sources=False).sources) == {}


def test_none_is_written_as_a_word() -> None:
    """`none` and the empty text unset what is optional."""
    settings = load(environment={"LOGLOOM_TOPICS": "a", "LOGLOOM_MODEL__PATH": "none", "LOGLOOM_REDIS__URL": ""})
    assert (settings.model.path, settings.redis.url) == (None, None)


def test_settings_are_frozen() -> None:
    """Settings don't change while a worker runs."""
    settings = load(environment={"LOGLOOM_TOPICS": "a"})
    with pytest.raises(ValueError, match="frozen"):
        settings.topics = ()


def test_every_setting_is_described() -> None:
    """The table names every setting with a default, what is allowed and a meaning."""
    rows = [line for line in describe().splitlines() if line.startswith("| `")]
    names = [row.split("|")[1].strip(" `") for row in rows]
    assert len(rows) == 116
    assert {"bootstrap_servers", "topic_pattern", "parameter_names", "port"} <= set(names)
    assert all(len([cell for cell in row.split(" | ") if cell.strip(" |")]) == 5 for row in rows)


def test_documentation_is_up_to_date() -> None:
    """docs/settings.md is what `python -m worker.settings` prints."""
    document = Path(__file__).parents[1] / "docs" / "settings.md"
    assert document.read_text() == describe() + "\n"


@pytest.mark.parametrize(("name", "hours"), [("+02:00", 2.0), ("-0530", -5.5), ("UTC", 0.0)])
def test_zones(name: str, hours: float) -> None:
    """A zone is an IANA name or an offset."""
    offset = time_zone(name).utcoffset(None) if name != "UTC" else None
    assert (offset.total_seconds() / 3600 if offset else 0.0) == hours


def test_envelopes_are_those_that_can_be_opened() -> None:
    """Settings allow every envelope that there is, and no other."""
    assert set(get_args(Envelope)) == {*KINDS, *PRESETS}


def test_defaults_are_allowed() -> None:
    """Every default passes its own validation."""
    assert Settings.model_validate(Settings().model_dump()) == Settings()


@pytest.mark.parametrize("text", ["topics = " + "[" * 100_000, "x = " + "9" * 5_000])
def test_a_file_that_breaks_its_reader_is_no_toml(tmp_path: Path, text: str) -> None:
    """The interpreter's own limits are mistakes of the file, told as any other."""
    assert "no TOML" in _mistakes({}, _toml(tmp_path, text))[0]


def test_a_variable_that_is_nested_without_end_is_a_mistake() -> None:
    """Tables in variables are JSON, and may be any bytes."""
    variables = {"LOGLOOM_TOPICS": "t", "LOGLOOM_SOURCES__DEFAULT__RESOURCE": '{"a":' + "[" * 100_000}
    assert "sources.default.resource" in _mistakes(variables)[0]
