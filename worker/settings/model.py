"""What can be set, group by group, with its default and its limits. Knows nothing of files and variables."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from worker.settings.kinds import (
    Addresses,
    Allowed,
    AskedTypes,
    Attributes,
    Device,
    Encoding,
    Lower,
    Maybe,
    OtlpEndpoint,
    ParameterNames,
    Pattern,
    ReadableFile,
    RedisUrl,
    SecretHeaders,
    SourceName,
    Text,
    Texts,
    Topic,
    Topics,
    Upper,
    Zone,
    headers_of,
    one_or_several,
    pairs,
)

MIB = 1 << 20
#: A header's value of so many characters may be a secret.
_SECRET_CHARACTERS = 8
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
SASL_MECHANISMS: tuple[str, ...] = get_args(SaslMechanism)


class Group(BaseModel):
    """Settings that belong together: a table of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=False)


class Kafka(Group):
    """The broker, and how records are fetched from it. Names are librdkafka's, with `_` for `.`."""

    bootstrap_servers: Addresses = ("localhost:9092",)
    """Brokers to ask first; the others are found through them."""
    group_id: Text = "logloom"
    """Consumer group. Workers of one group share the partitions."""
    client_id: Text = "logloom"
    """How this worker is called in the broker's logs and quotas."""
    group_instance_id: Maybe[Text] = None
    """Name of this member of the group, none like it: a restart within the session timeout moves no partitions."""
    delivery: Lower[Literal["at-least-once", "exactly-once"]] = "at-least-once"
    """May readers of committed records see an event twice after a fault? Exactly-once needs Kafka 2.5 or newer."""
    transaction_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    """With exactly-once, how long output is put into one transaction; readers of committed records see it then."""
    security_protocol: Upper[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]] = "PLAINTEXT"
    """How connections are protected."""
    sasl_mechanism: Maybe[Upper[SaslMechanism]] = None
    """How Logloom proves who it is, with SASL_PLAINTEXT or SASL_SSL."""
    sasl_username: Maybe[Text] = None
    """User for SASL, except for OAUTHBEARER."""
    sasl_password: Maybe[SecretStr] = None
    """Password for SASL, except for OAUTHBEARER."""
    sasl_token_location: Maybe[ReadableFile] = None
    """File with the token for OAUTHBEARER, read anew for each connection: whoever issues it may replace it."""
    ssl_ca_location: Maybe[ReadableFile] = None
    """Certificates of the authorities to trust, PEM; the system's where none is given."""
    ssl_certificate_location: Maybe[ReadableFile] = None
    """Logloom's own certificate, PEM, for brokers that ask for one."""
    ssl_key_location: Maybe[ReadableFile] = None
    """The key to that certificate, PEM."""
    ssl_key_password: Maybe[SecretStr] = None
    """What opens the key."""
    ssl_check_hostname: bool = True
    """Must the broker's certificate carry the name that was dialled?"""
    isolation_level: Lower[Literal["read_uncommitted", "read_committed"]] = "read_committed"
    """May records of transactions that are open or were aborted be read?"""
    auto_offset_reset: Lower[Literal["earliest", "latest"]] = "earliest"
    """Where to start in a partition without a committed offset."""
    fetch_min_bytes: Annotated[int, Field(ge=1, le=100 * MIB)] = 1
    """Least bytes that the broker waits for before it answers a fetch."""
    fetch_wait_max_ms: Annotated[int, Field(ge=1, le=60_000)] = 50
    """Longest time that the broker waits for them."""
    fetch_max_bytes: Annotated[int, Field(ge=1_024, le=1_024 * MIB)] = 50 * MIB
    """Most bytes of one fetch over all partitions."""
    max_partition_fetch_bytes: Annotated[int, Field(ge=1_024, le=1_024 * MIB)] = 4 * MIB
    """Most bytes of one fetch from one partition."""
    session_timeout_ms: Annotated[int, Field(ge=1_000, le=3_600_000)] = 45_000
    """Silence after which the broker gives this worker's partitions to others."""
    heartbeat_interval_ms: Annotated[int, Field(ge=100, le=600_000)] = 1_000
    """Time between two signs of life, at most a third of `session_timeout_ms`; all wait as long for a rebalance."""
    max_poll_interval_ms: Annotated[int, Field(ge=1_000, le=3_600_000)] = 300_000
    """Longest time that one batch may take before the group goes on without this worker."""
    enable_idempotence: bool = True
    """Does the broker drop what a retry sends twice? Off only for brokers that don't know it."""
    request_timeout_ms: Annotated[int, Field(ge=1_000, le=600_000)] = 40_000
    """Longest wait for an answer of the broker."""
    metadata_max_age_ms: Annotated[int, Field(ge=1_000, le=3_600_000)] = 60_000
    """How soon new topics that fit a pattern are found."""


class Output(Group):
    """Where events go, and how they look."""

    topic: Topic = "logloom.events"
    """Topic of the events."""
    dead_letter_topic: Topic = "logloom.dead-letters"
    """Topic of the raw logs that can't become events."""
    templates_topic: Maybe[Topic] = None
    """Topic that tells which templates are found and which replace which; none where nothing is set."""
    format: Lower[Literal["json", "msgpack"]] = "json"
    """How an event is written."""
    compression: Lower[Literal["none", "gzip", "snappy", "lz4", "zstd"]] = "lz4"
    """How record batches are compressed. lz4 leaves a tenth to a fifth, for 4 % more processor time."""
    max_batch_bytes: Annotated[int, Field(ge=1_024, le=100 * MIB)] = 1_000_000
    """Most bytes of one record batch; the broker's `max.message.bytes` must be no less."""
    linger_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """How long what was fetched waits for more of its partition, so that fewer and larger record batches are sent."""
    template_attribute: Text = "log.record.template"
    """Attribute that carries the template."""
    parameter_attributes: bool = True
    """Is each named parameter an attribute too, `log.record.parameter.NAME`? Events are smaller without."""


class Redis(Group):
    """The template cache that workers share. Without it every worker learns by itself."""

    url: Maybe[RedisUrl] = None
    """Address; a password in it is masked wherever settings are shown."""
    password: Maybe[SecretStr] = None
    """Password, where it is not in the address."""
    prefix: Text = "logloom"
    """What every key starts with."""
    ssl_ca_location: Maybe[ReadableFile] = None
    """Certificates of the authorities to trust for `rediss://`, PEM; the system's where none is given."""
    ssl_certificate_location: Maybe[ReadableFile] = None
    """Logloom's own certificate, PEM, for servers that ask for one."""
    ssl_key_location: Maybe[ReadableFile] = None
    """The key to that certificate, PEM."""
    ssl_key_password: Maybe[SecretStr] = None
    """What opens the key."""
    ssl_check_hostname: bool = True
    """Must the server's certificate carry the name that was dialled?"""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Longest wait for a connection."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """Longest wait for an answer; a batch goes on to the model without one."""
    max_connections: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Most connections of one worker."""
    max_pending_templates: Annotated[int, Field(ge=0, le=10_000_000)] = 100_000
    """Most new templates kept for writing while Redis is away."""

    @property
    def tls(self) -> dict[str, Any]:
        """What clients of redis-py take beside the address; nothing without TLS. Never to be shown."""
        if self.url is None or not self.url.startswith("rediss:"):
            return {}
        password = self.ssl_key_password
        return {
            "ssl_ca_certs": None if self.ssl_ca_location is None else str(self.ssl_ca_location),
            "ssl_certfile": None if self.ssl_certificate_location is None else str(self.ssl_certificate_location),
            "ssl_keyfile": None if self.ssl_key_location is None else str(self.ssl_key_location),
            # Without any, OpenSSL would ask for it on the terminal.
            "ssl_password": "" if password is None else password.get_secret_value(),
            "ssl_check_hostname": self.ssl_check_hostname,
        }

    @property
    def connection(self) -> dict[str, Any]:
        """What `TemplateStore.connect` and `AnswerBox.connect` take of these settings. Never to be shown."""
        return {
            "url": str(self.address),
            "tls": self.tls,
            "prefix": self.prefix,
            "connect_timeout_seconds": self.connect_timeout_seconds,
            "timeout_seconds": self.timeout_seconds,
        }

    @property
    def address(self) -> str | None:
        """The url with the password in it, as clients take it. Never to be shown."""
        if self.url is None or self.password is None:
            return self.url
        parts = urlsplit(self.url)
        password = quote(self.password.get_secret_value(), safe="")
        if parts.scheme == "unix":
            return f"{self.url}{'&' if parts.query else '?'}password={password}"
        user, _, _ = parts.netloc.rpartition("@")
        server = parts.netloc.removeprefix(f"{user}@")
        return parts._replace(netloc=f"{user.partition(':')[0]}:{password}@{server}").geturl()


class Model(Group):
    """The language model that reads what the cache can't answer."""

    path: Maybe[Text] = "base"
    """`base` (the weights of Logloom), a folder, a Hugging Face name, or `none`: misses are dead letters."""
    signature_key: Maybe[ReadableFile] = None
    """File with an Ed25519 public key, PEM: only a checkpoint that its owner signed is loaded."""
    device: Device = "auto"
    """Where it runs; `auto` takes a GPU where there is one."""
    dtype: Lower[Literal["auto", "float32", "bfloat16", "float16"]] = "auto"
    """Precision; `auto` is bfloat16 where the hardware multiplies it, else float32."""
    max_batch_tokens: Annotated[int, Field(ge=64, le=4_194_304)] = 16_384
    """Most tokens of one micro-batch."""
    max_rows: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Most messages of one micro-batch."""
    deadline_ms: Annotated[float, Field(ge=0, le=10_000)] = 5.0
    """How long a micro-batch waits for more messages."""
    timeout_seconds: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    """A model that is at one micro-batch for longer hangs: the worker ends, and another one goes on."""


#: The kinds of values that can be redacted. Named here because settings know nothing of parsing; a test compares.
RedactedKind = Literal["ip", "email", "token", "card_number", "user"]
RedactionWay = Lower[Literal["keep", "mask", "hash"]]


class Misses(Group):
    """How workers without a model hand misses over to workers that have one."""

    topic: Topic = "logloom.misses"
    """Topic that `match` workers write and `parse` workers read; the answers come by Redis."""
    retry_seconds: Annotated[float, Field(ge=0.1, le=3_600)] = 10.0
    """How long an answer is waited for before it is asked for again."""


class Redact(Group):
    """What must not leave the worker in events. `mask` writes `<ip>`, `hash` a pseudonym, `<ip:0f1e2d3c4b5a6978>`."""

    ip: RedactionWay = "keep"
    """IPv4 and IPv6 addresses."""
    email: RedactionWay = "keep"
    """Addresses of mail."""
    token: RedactionWay = "keep"  # noqa: S105  a way, no secret
    """Passwords, keys, sessions and tokens."""
    card_number: RedactionWay = "keep"
    """Numbers of credit cards."""
    user: RedactionWay = "keep"
    """Names and numbers of users."""
    key: Maybe[SecretStr] = None
    """Key of the pseudonyms, 16 to 64 bytes: workers with the same key write the same ones."""


class Cache(Group):
    """The template cache in the worker's own memory."""

    max_templates: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Most templates; the least recently used go first."""
    max_fingerprints: Annotated[int, Field(ge=1_024, le=1 << 28)] = 1 << 20
    """Most fingerprints; a lost one costs a search in the template index."""


class Stream(Group):
    """What the misses of a source settle on together, so that templates learn from their neighbours."""

    enabled: bool = True
    """Do they? If not, each template is what the model makes of one message."""
    max_candidates: Annotated[int, Field(ge=2, le=100_000)] = 2_000
    """Most messages of a source that are kept to settle with; those of rare templates stay longest."""
    max_characters: Annotated[int, Field(ge=1_024, le=1_024 * MIB)] = MIB
    """Most characters of these together."""


class Limits(Group):
    """What bounds the worker's memory."""

    max_record_bytes: Annotated[int, Field(ge=1, le=1_024 * MIB)] = 4 * MIB
    """Records with a larger value become dead letters (`too_large`)."""
    max_line_bytes: Annotated[int, Field(ge=1, le=1_024 * MIB)] = MIB
    """Longer raw logs become dead letters (`too_large`)."""
    max_bytes_in_flight: Annotated[int, Field(ge=MIB, le=1 << 40)] = 256 * MIB
    """Bytes of record batches worked on at once; fetching pauses beyond it."""


class Multiline(Group):
    """Joining of raw logs that belong together, such as stack traces."""

    enabled: bool = True
    """Are lines joined at all?"""
    max_lines: Annotated[int, Field(ge=2, le=100_000)] = 500
    """Most lines of one event."""
    max_bytes: Annotated[int, Field(ge=1_024, le=64 * MIB)] = MIB
    """Most bytes of one event."""
    seconds: Annotated[float, Field(ge=0, le=600)] = 1.0
    """How long an open event waits for its next line."""


class Metrics(Group):
    """The HTTP server of `/metrics`, `/startupz`, `/healthz` and `/readyz`."""

    enabled: bool = True
    """Is there one?"""
    host: Text = "0.0.0.0"  # noqa: S104  Prometheus and the kubelet come from outside the container
    """Address that it listens on."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9464
    """Port that it listens on; 0 takes a free one."""
    top_templates: Annotated[int, Field(ge=0, le=100)] = 10
    """How many templates of each scope have a count of their own, with their text: those used most of late."""


class Tracing(Group):
    """Traces of batches, sent to a collector by OTLP over HTTP, as protobuf (docs/tracing.md)."""

    endpoint: Maybe[OtlpEndpoint] = None
    """Address of the collector, mostly port 4318; `/v1/traces` is added. Nothing is traced where none is given."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the batches that are traced. Parsers follow whoever asks them, where that one traces."""
    headers: Maybe[SecretHeaders] = None
    """Headers of each request, such as the key that a collector asks for."""
    service_name: Text = "logloom"
    """How this worker is called in traces: `service.name`."""
    resource: Attributes = {}
    """Further resource attributes, such as `k8s.pod.name` or `deployment.environment.name`."""
    ssl_ca_location: Maybe[ReadableFile] = None
    """Certificates of the authorities to trust for `https://`, PEM; the system's where none is given."""
    ssl_certificate_location: Maybe[ReadableFile] = None
    """Logloom's own certificate, PEM, for collectors that ask for one."""
    ssl_key_location: Maybe[ReadableFile] = None
    """The key to that certificate, PEM, without a password."""
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest time that one request may take, repeats included; batches do not wait for it."""
    max_waiting_spans: Annotated[int, Field(ge=512, le=1_000_000)] = 4_096
    """Most spans that wait for the collector; further ones are dropped and counted."""

    @property
    def url(self) -> str:
        """Where spans are posted to."""
        endpoint = self.endpoint or ""
        return endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers by name. Never to be shown."""
        return {} if self.headers is None else headers_of(self.headers.get_secret_value())


class Log(Group):
    """The worker's own logs, on standard error."""

    level: Lower[Literal["debug", "info", "warning", "error"]] = "info"
    """Least severity that is written."""
    format: Lower[Literal["json", "text"]] = "json"
    """One JSON object a line, or text for people."""
    repeats: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """How often the same line is written in one interval; the others are counted."""
    interval_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """That interval."""


#: What `worker.codec.envelopes` opens. Named here because settings know nothing of codecs; a test compares.
Envelope = Literal[
    "auto",
    "raw",
    "json",
    "msgpack",
    "cri",
    "syslog",
    "otlp",
    "ecs",
    "filebeat",
    "fluent-bit",
    "fluentd",
    "vector",
    "docker",
    "pino",
    "bunyan",
    "structlog",
    "zap",
    "python-json-logger",
    "gelf",
    "journald",
]


def _fields(written: tuple[str, ...]) -> tuple[str, ...]:
    """Accept words that can be asked for."""
    from worker.errors import WrongSettings  # noqa: PLC0415  most commands need no fields
    from worker.parsing.fields import checked_fields  # noqa: PLC0415  the same

    try:
        return checked_fields(written) if written else ()
    except WrongSettings as exc:
        raise ValueError(str(exc).removeprefix("fields: ")) from exc


def _header(written: tuple[str, ...]) -> tuple[str, ...]:
    """Accept `auto` or `none` alone, else names of presets and declared formats."""
    from worker.errors import WrongFormat  # noqa: PLC0415  most commands need no header formats
    from worker.parsing.headers import PRESETS, parse_format  # noqa: PLC0415  the same

    if not written:
        raise ValueError("empty: write none for lines without a header")
    if len(written) > 1 and not {"auto", "none"}.isdisjoint(written):
        raise ValueError("auto and none stand alone")
    for text in written:
        if text in {"auto", "none"} or text in PRESETS:
            continue
        if "<" not in text:
            raise ValueError(f"{text!r} is no preset; there are {', '.join(sorted(PRESETS))}")
        try:
            parse_format(text)
        except WrongFormat as exc:
            raise ValueError(str(exc)) from exc
    return written


class Source(Group):
    """A topic, or several that hold the same kind of raw logs."""

    name: SourceName
    """The table's name; `logloom.source` in events."""
    topics: Topics = ()
    """Topics to read."""
    topic_pattern: Maybe[Pattern] = None
    """Topics to read, those to come included; a topic that another source names goes there."""
    envelope: Lower[Envelope] = "auto"
    """What a record's value is: the line itself, or a shipper's wrapping around it."""
    message_field: Texts = ()
    """Fields of the envelope that may hold the raw log, the first present wins; empty: the envelope's own."""
    timestamp_field: Texts = ()
    """Fields of the envelope that may hold its time."""
    level_field: Texts = ()
    """Fields of the envelope that may hold its level."""
    header: Annotated[
        tuple[str, ...],
        BeforeValidator(one_or_several),
        AfterValidator(_header),
        Allowed(text="auto, none, a preset, or a format such as `<Date> <Time> <Level> <Content>`; an array of them"),
    ] = ("auto",)
    """What stands before the message."""
    zone: Zone = "UTC"
    """Zone of timestamps that name none."""
    encoding: Encoding = "utf-8"
    """Encoding of the raw logs."""
    multiline: Maybe[bool] = None
    """Are lines joined here? As `multiline.enabled` says where nothing is set."""
    template_scope: Maybe[Text] = None
    """Sources of the same scope share their templates; the source's name where none is given."""
    prompt: Maybe[Text] = None
    """Name of a prompt that the model's checkpoint has; sources of one scope need the same."""
    resource: Attributes = {}
    """Resource attributes of every event, such as `service.name`."""
    fields: Annotated[
        tuple[str, ...],
        BeforeValidator(one_or_several),
        AfterValidator(_fields),
        Allowed(text="an array of words, such as `client ip` and `duration`; 64 at most, each once"),
    ] = ()
    """Fields that every event answers, asked for in words; an attribute `log.record.field.NAME` each."""
    parameter_names: ParameterNames = {}
    """Names for the parameters of a template, instead of those that the model gives."""
    types: AskedTypes = {}
    """Types of messages to tell apart, in words; sources of one scope need the same."""
    redact: Annotated[
        Mapping[RedactedKind, RedactionWay],
        BeforeValidator(pairs),
        Allowed(text="a table of ip, email, token, card_number, user to keep, mask, hash; or ip=hash with commas"),
    ] = {}
    """What must not leave the worker in this source's events; kinds that are not named are as `[redact]` says."""

    @property
    def scope(self) -> str:
        """The scope that this source's templates live in."""
        return self.template_scope or self.name


class Settings(Group):
    """All settings of Logloom."""

    transport: Lower[Literal["columns", "faust"]] = "columns"
    """`columns` hands over whole record batches; `faust` is Faust's own, a record at a time."""
    role: Lower[Literal["all", "match", "parse"]] = "all"
    """`all` does everything; `match` hands misses to those of role `parse`, which load the model and make no events."""
    topics: Topics = ()
    """Topics to read without further ado: they make the source `default`."""
    topic_pattern: Maybe[Pattern] = None
    """The same as a pattern."""
    kafka: Kafka = Kafka()
    output: Output = Output()
    redis: Redis = Redis()
    model: Model = Model()
    misses: Misses = Misses()
    cache: Cache = Cache()
    stream: Stream = Stream()
    redact: Redact = Redact()
    limits: Limits = Limits()
    multiline: Multiline = Multiline()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    log: Log = Log()
    sources: Mapping[SourceName, Source] = {}

    def source_of(self, topic: str) -> Source | None:
        """Give the source that reads `topic`: who names it wins over patterns, those are tried in order.

        No pattern takes what Logloom writes, nor Kafka's own topics, which start with `__`.
        """
        if topic in self.own_topics:
            return None
        for source in self.sources.values():
            if topic in source.topics:
                return source
        if topic.startswith("__"):
            return None
        for source in self.sources.values():
            if source.topic_pattern is not None and re.fullmatch(source.topic_pattern, topic):
                return source
        return None

    @property
    def own_topics(self) -> frozenset[str]:
        """The topics that Logloom writes: never read, whatever pattern they fit."""
        own = {self.output.topic, *self.written_topics}
        return frozenset(own if self.role == "all" else {*own, self.misses.topic})

    @property
    def written_topics(self) -> frozenset[str]:
        """The topics that this worker writes, in its role."""
        output = self.output
        always = {output.dead_letter_topic, output.templates_topic or output.dead_letter_topic}
        of_role = {"all": {output.topic}, "match": {output.topic, self.misses.topic}, "parse": set[str]()}
        return frozenset(always | of_role[self.role])

    def reads(self, topic: str) -> bool:
        """Tell whether this worker reads `topic`, in its role."""
        return topic == self.misses.topic if self.role == "parse" else self.source_of(topic) is not None

    @property
    def is_exactly_once(self) -> bool:
        """Whether events and offsets go into transactions; who makes no events needs none."""
        return self.kafka.delivery == "exactly-once" and self.role != "parse"

    @property
    def group_id(self) -> str:
        """The consumer group of this worker, in its role."""
        return f"{self.kafka.group_id}-parsers" if self.role == "parse" else self.kafka.group_id

    def redacted(self, source: Source) -> dict[str, Literal["mask", "hash"]]:
        """Give the kinds of values that events of `source` must not hold, and how each is written."""
        ways = {kind: source.redact.get(kind, getattr(self.redact, kind)) for kind in get_args(RedactedKind)}
        return {kind: way for kind, way in ways.items() if way != "keep"}

    @property
    def redacting(self) -> tuple[str, ...]:
        """The names of the sources whose events must not hold some values."""
        return tuple(name for name, source in self.sources.items() if self.redacted(source))

    @property
    def redaction_key(self) -> bytes:
        """The key of the pseudonyms, empty where there is none. Never to be shown."""
        return b"" if self.redact.key is None else self.redact.key.get_secret_value().encode()

    def subscription(self) -> frozenset[str] | re.Pattern[str]:
        """Give what to subscribe to: names, or where any source has a pattern one pattern for all."""
        named = frozenset(topic for source in self.sources.values() for topic in source.topics)
        patterns = [source.topic_pattern for source in self.sources.values() if source.topic_pattern is not None]
        if not patterns:
            return named
        own = "|".join(re.escape(topic) for topic in sorted(self.own_topics))
        read = "|".join(
            [*(re.escape(topic) for topic in sorted(named)), *(f"(?!__)(?:{pattern})" for pattern in patterns)]
        )
        return re.compile(rf"(?!(?:{own})\Z)(?:{read})\Z")

    def secrets(self) -> Iterator[str]:
        """Give every secret that is set, so that logs can mask them."""
        for secret in (
            self.kafka.sasl_password,
            self.kafka.ssl_key_password,
            self.redis.password,
            self.redis.ssl_key_password,
            self.redact.key,
            self.tracing.headers,
        ):
            if secret is not None:
                yield secret.get_secret_value()
        # A tenant's number is no secret, and would be masked in every other number.
        yield from (value for value in self.tracing.sent_headers.values() if len(value) >= _SECRET_CHARACTERS)
        if self.redis.url is not None and (password := re.search(r"://[^/@]*:([^/@]+)@", self.redis.url)):
            yield password[1]
