"""Protected connections to a real Apache Kafka and a real Redis: who gets in, who does not, and what they may do."""

import asyncio
import base64
import json
import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kafka.admin as acls
import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner, Result
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from tests.absent import absent
from tests.certificates import Authority, Certificate
from tests.integration.worker_process import running
from tests.kafka_broker import JavaBroker, NoBroker, wait_until
from tests.redis_server import NoRedis, RedisServer, start_redis
from worker.cache.permissions import ask
from worker.cli import cli
from worker.errors import StoreUnavailable, Unreachable
from worker.parsing.checkpoint import BASE, WEIGHTS, checkpoint_folder
from worker.settings import Settings, load
from worker.transport.admin import Admin
from worker.transport.permissions import missing
from worker.transport.producer import RecordBatchProducer
from worker.transport.security import consumer_credentials, producer_security

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280)]

#: For tests in which the model learns.
needs_weights = pytest.mark.skipif(
    not (checkpoint_folder(BASE) / WEIGHTS).is_file(), reason="the weights of `base` are not here"
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
#: In every secret, and in nothing else.
MARKER = "m4rker"
PASSWORD, KEY_PASSWORD, REDIS_PASSWORD = (f"{MARKER}-{name}" for name in ("kafka", "key", "redis"))
#: The user of a worker; another one that may do everything.
WORKER, ROOT = "logloom", "root"
RAW, EVENTS, DEAD = "app.raw", "logloom.events", "logloom.dead-letters"
#: Listener to security protocol and certificate.
LISTENERS = {
    "TLS": ("SSL", "broker"),
    "MTLS": ("SSL", "broker"),
    "SASL": ("SASL_SSL", "broker"),
    "OPEN": ("SASL_PLAINTEXT", "broker"),
    "EXPIRED": ("SSL", "expired"),
    "ELSEWHERE": ("SSL", "elsewhere"),
}
#: How long a session of OAUTHBEARER lasts, and the first token.
SESSION_MS, TOKEN_SECONDS = 2_000, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Both servers and what clients need to know of them."""

    folder: Path
    kafka: JavaBroker
    redis: RedisServer
    #: What both servers show.
    server: Certificate
    #: The client's own, its key locked.
    client: Certificate

    def token(self, name: str, subject: str, *, seconds: float = 3600) -> Path:
        """Write a token that the broker takes."""
        now = time.time()
        parts = ({"alg": "none"}, {"sub": subject, "iat": now - 60, "exp": now + seconds})
        file = self.folder / name
        encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        fresh = file.with_suffix(".fresh")
        fresh.write_text(f"{'.'.join(encoded)}.\n")
        fresh.rename(file)
        return file

    def environment(self, listener: str, *, user: str = ROOT, mechanism: str = "PLAIN", **more: str) -> dict[str, str]:
        """Make the settings of a worker that reads RAW; `more` are further ones, `none` unsets."""
        settings = {
            "TOPICS": RAW,
            "MODEL__PATH": "none",
            "KAFKA__BOOTSTRAP_SERVERS": self.kafka.addresses[listener],
            "KAFKA__SECURITY_PROTOCOL": LISTENERS[listener][0],
            "KAFKA__SESSION_TIMEOUT_MS": "6000",
            "KAFKA__HEARTBEAT_INTERVAL_MS": "500",
        }
        if LISTENERS[listener][0].endswith("SSL"):
            settings["KAFKA__SSL_CA_LOCATION"] = str(self.server.authority)
        if listener == "MTLS":
            settings |= {
                "KAFKA__SSL_CERTIFICATE_LOCATION": str(self.client.chain),
                "KAFKA__SSL_KEY_LOCATION": str(self.client.key),
                "KAFKA__SSL_KEY_PASSWORD": KEY_PASSWORD,
            }
        if LISTENERS[listener][0].startswith("SASL"):
            settings["KAFKA__SASL_MECHANISM"] = mechanism
            if mechanism == "OAUTHBEARER":
                settings["KAFKA__SASL_TOKEN_LOCATION"] = str(self.token("token", user))
            else:
                settings |= {"KAFKA__SASL_USERNAME": user, "KAFKA__SASL_PASSWORD": PASSWORD}
        return {f"LOGLOOM_{name}": value for name, value in {**settings, **more}.items()}

    def redis_environment(self, **more: str) -> dict[str, str]:
        """Make the settings of Redis for the worker's user."""
        settings = {
            "URL": f"rediss://{WORKER}@localhost:{self.redis.port}/0",
            "PASSWORD": REDIS_PASSWORD,
            "SSL_CA_LOCATION": str(self.server.authority),
            "TIMEOUT_SECONDS": "10",
            **more,
        }
        return {f"LOGLOOM_REDIS__{name}": value for name, value in settings.items()}

    def located(self, changes: Mapping[str, str]) -> dict[str, str]:
        """Give `changes` with names of files in their folder."""
        endings = (".pem", ".crt", ".key")
        return {name: str(self.folder / value) if value.endswith(endings) else value for name, value in changes.items()}

    def send(self, *values: bytes) -> None:
        """Write `values` to RAW."""
        sent = run(self.environment("TLS"), "produce", "--topic", RAW, "--quiet", stdin=b"\n".join(values))
        assert sent.exit_code == 0, sent.output

    def wait_for_permissions(self, lacking: list[str]) -> None:
        """Wait until the broker knows what it acknowledged of the permissions of the worker's user."""
        settings = load(environment=self.environment("SASL", user=WORKER, KAFKA__DELIVERY="exactly-once"))
        with Admin(settings.kafka) as admin:
            wait_until(lambda: list(missing(admin, settings)) == lacking, seconds=60, what=f"lacking {lacking}")


def run(environment: Mapping[str, str], *arguments: str, stdin: bytes = b"") -> Result:
    """Run a command."""
    return CliRunner().invoke(cli, arguments, input=stdin, env=environment)


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep a developer's logloom.toml out, and a worker's logging in."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start both servers, with the permissions that the document tells to give."""
    folder = tmp_path_factory.mktemp("security")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    certificates = {
        "broker": authority.issue("broker", "localhost"),
        "expired": authority.issue("expired", "localhost", is_expired=True),
        "elsewhere": authority.issue("elsewhere", "elsewhere.example"),
    }
    stranger.issue("foreign", "worker.example")
    client = authority.issue(ROOT, "worker.example", key_password=KEY_PASSWORD)
    protocols = {name: protocol for name, (protocol, _) in LISTENERS.items()}
    broker = JavaBroker(protocols, broker_properties(certificates))
    with ExitStack() as stack:
        stack.callback(broker.stop)
        try:
            broker.start()
            server = start_redis(certificate=certificates["broker"])
        except (NoBroker, NoRedis) as exc:
            absent(exc)
        stack.callback(server.close)
        started = Place(folder=folder, kafka=broker, redis=server, server=certificates["broker"], client=client)
        grant(started)
        yield started


def broker_properties(certificates: Mapping[str, Certificate]) -> dict[str, str]:
    """Set the broker's listeners up: TLS, mTLS by common name, SASL, and who may do everything."""
    properties = {}
    for name, (_, certificate) in LISTENERS.items():
        for store, file in (
            ("keystore", certificates[certificate].store),
            ("truststore", certificates["broker"].authority),
        ):
            properties[f"listener.name.{name.lower()}.ssl.{store}.type"] = "PEM"
            properties[f"listener.name.{name.lower()}.ssl.{store}.location"] = str(file)
    security = "org.apache.kafka.common.security"
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in (WORKER, ROOT))
    sasl = {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
        "plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required {users};",
        "scram-sha-512.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;",
        "oauthbearer.sasl.jaas.config": (
            f'{security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        ),
    }
    return {
        **properties,
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        **{f"listener.name.{name}.{key}": value for name in ("sasl", "open") for key, value in sasl.items()},
        "listener.name.sasl.oauthbearer.connections.max.reauth.ms": str(SESSION_MS),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{ROOT}",
    }


def commands(start: str) -> list[list[str]]:
    """Give the words of the document's commands that begin with `start`, without it."""
    found = re.findall(rf"^{re.escape(start)} (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert found
    return [shlex.split(line.replace(">", "'>'")) for line in found]


def grant(place: Place) -> None:
    """Give the worker's user what the document says, by its own commands."""
    for topic in (RAW, EVENTS, DEAD):
        place.kafka.create_topic(topic)
    for words in commands("kafka-acls.sh"):
        words[words.index("localhost:9092")] = place.kafka.bootstrap
        place.kafka.run_tool("org.apache.kafka.tools.AclCommand", words)
    upsertion = acls.UserScramCredentialUpsertion(ROOT, acls.ScramMechanism.SCRAM_SHA_512, PASSWORD.encode())
    with place.kafka.admin() as admin:
        assert admin.alter_user_scram_credentials([upsertion]) == {ROOT: None}
    ((*words,),) = commands("ACL SETUSER")
    with place.redis.client() as client:
        client.execute_command("ACL", "SETUSER", *(word.replace("PASSWORD", REDIS_PASSWORD) for word in words))
    place.wait_for_permissions([])


MECHANISMS = [("TLS", ""), ("MTLS", ""), ("SASL", "PLAIN"), ("SASL", "SCRAM-SHA-512"), ("SASL", "OAUTHBEARER")]


@pytest.mark.parametrize(("listener", "mechanism"), MECHANISMS)
def test_every_mechanism_reads_and_writes(place: Place, listener: str, mechanism: str) -> None:
    """The worker's producer and consumer, the admin client and the command line all get in."""
    topic, dead = place.kafka.new_topic("any"), place.kafka.new_topic("dead")
    environment = place.environment(listener, mechanism=mechanism, OUTPUT__DEAD_LETTER_TOPIC=dead)
    settings = load(environment=environment)

    async def send_and_read() -> bytes:
        servers = list(settings.kafka.bootstrap_servers)
        async with RecordBatchProducer(servers, security=producer_security(settings.kafka)) as producer:
            await (await producer.send_record(topic, 0, None, b"a line"))
        credentials = credentials_to_aiokafka_auth(consumer_credentials(settings.kafka))
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=servers, group_id=topic, auto_offset_reset="earliest", **credentials
        ) as consumer:
            value: bytes = (await consumer.getone()).value
            await consumer.commit()
        return value

    assert asyncio.run(send_and_read()) == b"a line"
    assert run(environment, "produce", "--topic", topic, "--quiet", stdin=b"another").exit_code == 0
    with Admin(settings.kafka) as admin:
        assert sum(admin.end_offsets(admin.topic_partitions([topic])).values()) == 2
        assert sum(admin.lag(topic, [topic]).values()) == 1
    assert run(environment, "tail", "--topic", topic, "--all").stderr.count("not an event") == 2
    assert run(environment, "dead-letters", "replay").exit_code == 0


WRONG: list[Any] = [
    pytest.param("TLS", {"KAFKA__SSL_CA_LOCATION": "stranger.pem"}, "trusted: .*ssl_ca_location", id="authority"),
    pytest.param("EXPIRED", {}, "can't be trusted: certificate has expired", id="expired"),
    pytest.param("ELSEWHERE", {}, "not valid for 'localhost'.*ssl_check_hostname", id="host"),
    pytest.param(
        "MTLS",
        {f"KAFKA__SSL_{name}": "none" for name in ("CERTIFICATE_LOCATION", "KEY_LOCATION", "KEY_PASSWORD")},
        "refuses the TLS connection with no certificate",
        id="no-certificate",
    ),
    pytest.param(
        "MTLS",
        {
            "KAFKA__SSL_CERTIFICATE_LOCATION": "foreign.crt",
            "KAFKA__SSL_KEY_LOCATION": "foreign.key",
            "KAFKA__SSL_KEY_PASSWORD": "none",
        },
        "refuses the TLS connection with .*foreign.crt: .*ssl_certificate_location",
        id="strange-certificate",
    ),
    pytest.param("MTLS", {"KAFKA__SSL_KEY_PASSWORD": f"{MARKER}-not"}, "ssl_key_password", id="key-password"),
    pytest.param("SASL", {"KAFKA__SASL_PASSWORD": f"{MARKER}-not"}, "refuses the user 'root' by PLAIN", id="plain"),
    pytest.param(
        "SASL",
        {"KAFKA__SASL_PASSWORD": f"{MARKER}-not", "KAFKA__SASL_MECHANISM": "SCRAM-SHA-512"},
        "refuses the user 'root' by SCRAM-SHA-512",
        id="scram",
    ),
    pytest.param("SASL", {"KAFKA__SASL_MECHANISM": "SCRAM-SHA-256"}, "does not offer SCRAM-SHA-256", id="mechanism"),
    pytest.param(
        "TLS",
        {"KAFKA__SECURITY_PROTOCOL": "PLAINTEXT", "KAFKA__SSL_CA_LOCATION": "none"},
        "does it speak PLAINTEXT",
        id="plain-text",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("listener", "changes", "told"), WRONG)
@pytest.mark.parametrize("command", ["worker", "tail"])
def test_what_the_broker_refuses_is_one_line(
    place: Place, command: str, listener: str, changes: Mapping[str, str], told: str
) -> None:
    """Whoever does not get in is told why, at once, and no secret."""
    shown = run(place.environment(listener, **place.located(changes)), command)
    assert (shown.exit_code, len(shown.output.splitlines())) == (1, 1), shown.output
    assert re.search(told, shown.output)
    assert MARKER not in shown.output


def test_a_token_that_is_refused_is_one_line(place: Place) -> None:
    """Aiokafka itself would take it for good, and kafka-python say nothing."""
    environment = place.environment("SASL", mechanism="OAUTHBEARER")
    file = place.token("token", ROOT, seconds=-30)
    shown = run(environment, "worker")
    assert (shown.exit_code, len(shown.output.splitlines())) == (1, 1), shown.output
    assert f"refuses the token in {file}" in shown.output
    assert file.read_text().split(".")[1] not in shown.output


@pytest.mark.parametrize(
    ("delivery", "model"), [pytest.param("at-least-once", "base", marks=needs_weights), ("exactly-once", "none")]
)
def test_a_worker_needs_no_more_and_tells_no_secret(place: Place, delivery: str, model: str) -> None:
    """With exactly what the document says a worker runs; whatever it writes for debugging holds no secret."""
    environment = place.environment("SASL", user=WORKER) | place.redis_environment()
    environment |= {
        "LOGLOOM_LOG__LEVEL": "debug",
        "LOGLOOM_LOG__REPEATS": "1000000",
        "LOGLOOM_KAFKA__SSL_CERTIFICATE_LOCATION": str(place.client.chain),
        "LOGLOOM_KAFKA__SSL_KEY_LOCATION": str(place.client.key),
        "LOGLOOM_KAFKA__SSL_KEY_PASSWORD": KEY_PASSWORD,
        "LOGLOOM_KAFKA__DELIVERY": delivery,
        "LOGLOOM_MODEL__PATH": model,
        "LOGLOOM_MODEL__DEVICE": "cpu",
    }
    told = [run(environment, "check", "--all", "--no-model", *more) for more in ((), ("--json",))]
    assert [shown.exit_code for shown in told] == [0, 0], told[0].output
    place.send(b"user 4711 logged in after 12 attempts", b"user 4712 logged in after 13 attempts")
    with running(environment) as worker:
        worker.wait_for(2)
        if model == "base":
            with place.redis.client() as client:
                client.execute_command("ACL", "SETUSER", WORKER, "+scan")
                told.append(run(environment, "templates", "list"))
                client.execute_command("ACL", "SETUSER", WORKER, "-scan")
            assert "logged in after <*> attempts" in told[-1].output
        metrics = worker.scrape()
        written = EVENTS if model == "base" else DEAD
        change_permission(place, "WRITE", written, is_given=False)
        place.send(b"user 4713 logged in after 14 attempts")
        assert worker.process.wait(90) == 1
        change_permission(place, "WRITE", written, is_given=True)
        place.wait_for_permissions([])
        log = worker.log
    assert "TopicAuthorizationFailed" in log
    assert "aiokafka" in log
    for text in (*(shown.output for shown in told), metrics, log):
        assert MARKER not in text


def test_tokens_are_read_anew(place: Place) -> None:
    """Producer and consumer outlive their first token and every session: they find the next token in the file."""
    topic = place.kafka.new_topic("tokens")
    settings = load(environment=place.environment("SASL", mechanism="OAUTHBEARER")).kafka
    expires = time.monotonic() + TOKEN_SECONDS
    place.token("token", ROOT, seconds=TOKEN_SECONDS)

    async def send_and_read() -> list[bytes]:
        servers = list(settings.bootstrap_servers)
        credentials = credentials_to_aiokafka_auth(consumer_credentials(settings))
        async with (
            RecordBatchProducer(servers, security=producer_security(settings)) as producer,
            AIOKafkaConsumer(
                topic, bootstrap_servers=servers, group_id=topic, auto_offset_reset="earliest", **credentials
            ) as consumer,
        ):
            await (await producer.send_record(topic, 0, None, b"first"))
            values = [(await consumer.getone()).value]
            place.token("token", ROOT)
            await asyncio.to_thread(
                wait_until, lambda: time.monotonic() > expires, seconds=60, what="the end of the first token"
            )
            await (await producer.send_record(topic, 0, None, b"second"))
            values.append((await consumer.getone()).value)
            await consumer.commit()
            return values

    assert asyncio.run(send_and_read()) == [b"first", b"second"]


TRANSACTIONS = "logloom-logloom-"
KAFKA_PERMISSIONS = [
    ("READ", RAW, f"--operation Read --topic {RAW}"),
    ("READ", WORKER, f"--operation Read --group {WORKER}"),
    ("WRITE", EVENTS, f"--operation Write --topic {EVENTS}"),
    ("WRITE", DEAD, f"--operation Write --topic {DEAD}"),
    (
        "WRITE",
        TRANSACTIONS,
        f"--operation Write --transactional-id {TRANSACTIONS} --resource-pattern-type prefixed",
    ),
]


def change_permission(place: Place, operation: str, name: str, *, is_given: bool) -> None:
    """Take a permission of the worker's user away, or give it back."""
    kinds = {WORKER: acls.ResourceType.GROUP, TRANSACTIONS: acls.ResourceType.TRANSACTIONAL_ID}
    kind = acls.ACLResourcePatternType.PREFIXED if name == TRANSACTIONS else acls.ACLResourcePatternType.LITERAL
    pattern = acls.ResourcePattern(kinds.get(name, acls.ResourceType.TOPIC), name, kind)
    permission = acls.ACL(f"User:{WORKER}", "*", acls.ACLOperation[operation], acls.ACLPermissionType.ALLOW, pattern)
    with place.kafka.admin() as admin:
        if is_given:
            admin.create_acls([permission])
        else:
            admin.delete_acls([permission])


@pytest.mark.parametrize(
    ("operation", "name", "lacking"), KAFKA_PERMISSIONS, ids=[name for _, name, _ in KAFKA_PERMISSIONS]
)
def test_each_permission_of_the_broker_is_needed(place: Place, operation: str, name: str, lacking: str) -> None:
    """Without one of them a worker does not start, and says which."""
    change_permission(place, operation, name, is_given=False)
    try:
        place.wait_for_permissions([lacking])
        environment = place.environment("SASL", user=WORKER, KAFKA__DELIVERY="exactly-once")
        shown = run(environment, "worker")
        checked = run(environment, "check", "--no-model")
    finally:
        change_permission(place, operation, name, is_given=True)
        place.wait_for_permissions([])
    assert (shown.exit_code, len(shown.output.splitlines())) == (1, 1), shown.output
    assert f"the broker denies the user what a worker needs: {lacking};" in shown.output
    assert (checked.exit_code, "fail  permissions: the broker denies" in checked.output) == (1, True)


@pytest.mark.parametrize(
    ("mechanism", "told"), [("PLAIN", "password"), ("SCRAM-SHA-512", ""), ("OAUTHBEARER", "token")]
)
def test_secrets_in_the_clear_are_told(place: Place, mechanism: str, told: str) -> None:
    """A password or a token that everyone on the network could read is worth a word; SCRAM sends neither."""
    checked = run(place.environment("OPEN", mechanism=mechanism), "check", "--no-model")
    assert checked.exit_code == 0, checked.output
    assert (f"warn  security: the {told} goes over the network" in checked.output) == bool(told)


def redis_settings(place: Place, **more: str) -> Settings:
    """Read the settings of a worker that uses Redis."""
    return load(environment={"LOGLOOM_TOPICS": RAW} | place.redis_environment(**more))


def test_each_permission_of_redis_is_needed(place: Place) -> None:
    """Without one of them the worker's user is told which; with all of them nothing is left behind."""
    ((_, *words),) = commands("ACL SETUSER")
    settings = redis_settings(place).redis
    with place.redis.client() as client:

        def change(*rules: str) -> None:
            client.execute_command("ACL", "SETUSER", WORKER, *rules)

        for word in [word for word in words if word[0] == "+"]:
            change(f"-{word[1:]}")
            with pytest.raises(Unreachable, match=rf"denies the user what a worker needs: {re.escape(word)};"):
                ask(settings, "any")
            change(word)
        change("resetkeys", "~other:*")
        with pytest.raises(Unreachable, match=r"what a worker needs: ~logloom:\*;"):
            ask(settings, "any")
        change("resetkeys", "~logloom:*")
        before = set(client.keys())
        assert ask(settings, "any").version is None
        assert set(client.keys()) == before


def test_each_permission_of_two_tiers_is_needed(place: Place) -> None:
    """What workers need that answer each other stands beside, and is asked for of no others."""
    settings = redis_settings(place).redis
    (words,) = re.findall(r"Workers of two tiers .* need `(.*)` too", DOCUMENT.read_text())
    with place.redis.client() as client:
        before = set(client.keys())
        for missing in words.split():
            client.execute_command("ACL", "SETUSER", WORKER, *(word for word in words.split() if word != missing))
            with pytest.raises(Unreachable, match=rf"denies the user what a worker needs: {re.escape(missing)};"):
                ask(settings, "any", has_tiers=True)
            client.execute_command("ACL", "SETUSER", WORKER, missing)
            assert ask(settings, "any", has_tiers=True).version is None
            client.execute_command("ACL", "SETUSER", WORKER, *(f"-{word[1:]}" for word in words.split()))
        assert ask(settings, "any").version is None
        assert set(client.keys()) == before


def test_redis_asks_for_a_certificate(place: Place) -> None:
    """With mTLS who shows one gets in, and who does not is told."""
    own = {
        "SSL_CERTIFICATE_LOCATION": str(place.client.chain),
        "SSL_KEY_LOCATION": str(place.client.key),
        "SSL_KEY_PASSWORD": KEY_PASSWORD,
    }
    with place.redis.client() as client:
        client.config_set("tls-auth-clients", "yes")
        try:
            ask(redis_settings(place, **own).redis, "any")
            with pytest.raises(Unreachable, match="the TLS connection with no certificate"):
                ask(redis_settings(place).redis, "any")
            with pytest.raises(Unreachable, match=r"redis\.ssl_certificate_location: .* can't be used"):
                ask(redis_settings(place, **own | {"SSL_KEY_PASSWORD": "not"}).redis, "any")
        finally:
            client.config_set("tls-auth-clients", "optional")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"PASSWORD": f"{MARKER}-not"}, "Redis refuses the user: .*redis.password"),
        ({"SSL_CA_LOCATION": "stranger.pem"}, "can't be trusted: .*redis.ssl_ca_location"),
    ],
)
def test_what_redis_refuses_is_one_line(place: Place, changes: Mapping[str, str], told: str) -> None:
    """A worker does not start with a Redis that knows it not."""
    environment = place.environment("SASL", user=WORKER) | place.redis_environment(**place.located(changes))
    shown = run(environment, "worker")
    assert (shown.exit_code, len(shown.output.splitlines())) == (1, 1), shown.output
    assert re.search(told, shown.output)
    assert MARKER not in shown.output


def test_redis_that_is_away_is_no_refusal(place: Place) -> None:
    """Nothing listens there: a worker may start without it."""
    with pytest.raises(StoreUnavailable, match="refused"):
        ask(redis_settings(place, URL="rediss://localhost:1/0").redis, "any")
