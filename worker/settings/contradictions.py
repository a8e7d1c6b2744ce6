"""Settings that are right one by one and wrong together."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

from worker.settings.fields import Path
from worker.settings.mistakes import Mistake
from worker.settings.model import SASL_MECHANISMS, Group, Kafka, RedactedKind, Settings, Source, Tracing

_WILDCARD = "<*>"
#: What says nothing without TLS.
_TLS = ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "ssl_key_password")


def find(settings: Settings, *, needs_sources: bool) -> Iterator[Mistake]:
    """Give every contradiction; with `needs_sources`, nothing to read is one."""
    yield from _security(settings)
    yield from _delivery(settings)
    yield from _times(settings)
    yield from _sizes(settings)
    yield from _outputs(settings)
    yield from _role(settings)
    yield from _topics(settings)
    yield from _prompts(settings)
    yield from _redaction(settings)
    yield from _tracing(settings.tracing)
    for name, source in settings.sources.items():
        yield from _source(name, source)
    if needs_sources and not settings.sources:
        text = "neither is set, nor is there a table [sources.NAME]: nothing to read"
        yield Mistake(paths=(("topics",), ("topic_pattern",)), text=text)


def _security(settings: Settings) -> Iterator[Mistake]:
    yield from _sasl(settings.kafka)
    kafka, redis = settings.kafka, settings.redis
    if not kafka.security_protocol.endswith("SSL"):
        text = f"set, but security_protocol is {kafka.security_protocol}; TLS needs SSL or SASL_SSL"
        for name in _set(kafka, *_TLS):
            yield Mistake(paths=(("kafka", name), ("kafka", "security_protocol")), text=text)
    if redis.url is not None and not redis.url.startswith("rediss:"):
        for name in _set(redis, *_TLS):
            yield Mistake(paths=(("redis", name), ("redis", "url")), text="set, but TLS needs an address of rediss://")
    for group, name in ((kafka, "kafka"), (redis, "redis")):
        if group.ssl_key_location is not None and group.ssl_certificate_location is None:
            yield Mistake(paths=((name, "ssl_certificate_location"),), text="not set, though its key is")
    for name in _set(redis, "password", *_TLS):
        if redis.url is None:
            yield Mistake(paths=(("redis", "url"),), text=f"not set, though its {name} is")


def _tracing(tracing: Tracing) -> Iterator[Mistake]:
    given = [*_set(tracing, "headers", *_TLS[:3])]
    if tracing.endpoint is None:
        for name in given:
            yield Mistake(paths=(("tracing", "endpoint"),), text=f"not set, though its {name} is")
    elif not tracing.endpoint.startswith("https:"):
        for name in given:
            if name in _TLS:
                text = "set, but TLS needs an address of https://"
                yield Mistake(paths=(("tracing", name), ("tracing", "endpoint")), text=text)
    if tracing.ssl_key_location is not None and tracing.ssl_certificate_location is None:
        yield Mistake(paths=(("tracing", "ssl_certificate_location"),), text="not set, though its key is")
    if "service.name" in tracing.resource:
        text = "names service.name; set tracing.service_name instead"
        yield Mistake(paths=(("tracing", "resource"), ("tracing", "service_name")), text=text)


def _sasl(kafka: Kafka) -> Iterator[Mistake]:
    every = ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_token_location")
    if not kafka.security_protocol.startswith("SASL"):
        # Sent nowhere, though whoever set it thinks that the connection is protected.
        text = f"set, but security_protocol is {kafka.security_protocol}; SASL needs SASL_SSL or SASL_PLAINTEXT"
        for name in _set(kafka, *every):
            yield Mistake(paths=(("kafka", name), ("kafka", "security_protocol")), text=text)
        return
    if kafka.sasl_mechanism is None:
        text = f"not set, and security_protocol is {kafka.security_protocol}; allowed: {', '.join(SASL_MECHANISMS)}"
        yield Mistake(paths=(("kafka", "sasl_mechanism"),), text=text)
    passwords, tokens = ("sasl_username", "sasl_password"), ("sasl_token_location",)
    needed, useless = (tokens, passwords) if kafka.sasl_mechanism == "OAUTHBEARER" else (passwords, tokens)
    for name in needed:
        if getattr(kafka, name) is None:
            text = f"not set, and security_protocol is {kafka.security_protocol}"
            yield Mistake(paths=(("kafka", name),), text=text)
    for name in _set(kafka, *useless):
        text = f"set, but sasl_mechanism is {kafka.sasl_mechanism or 'none'}, which does not use it"
        yield Mistake(paths=(("kafka", name), ("kafka", "sasl_mechanism")), text=text)


def _set(group: Group, *names: str) -> Iterator[str]:
    """Give those of `names` that are set."""
    yield from (name for name in names if getattr(group, name) is not None)


def _delivery(settings: Settings) -> Iterator[Mistake]:
    kafka = settings.kafka
    if kafka.delivery != "exactly-once":
        return
    for name, needed in (("enable_idempotence", True), ("isolation_level", "read_committed")):
        found = getattr(kafka, name)
        if found != needed:
            text = f"{str(found).lower()}, but delivery is exactly-once; it needs {str(needed).lower()}"
            yield Mistake(paths=(("kafka", name), ("kafka", "delivery")), text=text)
    if settings.transport == "faust":
        text = "faust, but kafka.delivery is exactly-once; it needs columns"
        yield Mistake(paths=(("transport",), ("kafka", "delivery")), text=text)


def _times(settings: Settings) -> Iterator[Mistake]:
    kafka = settings.kafka
    if kafka.heartbeat_interval_ms * 3 > kafka.session_timeout_ms:
        text = f"{kafka.heartbeat_interval_ms} is more than a third of session_timeout_ms, {kafka.session_timeout_ms}"
        yield Mistake(paths=(("kafka", "heartbeat_interval_ms"), ("kafka", "session_timeout_ms")), text=text)
    if kafka.fetch_wait_max_ms >= kafka.request_timeout_ms:
        text = f"{kafka.fetch_wait_max_ms} is not below request_timeout_ms, {kafka.request_timeout_ms}"
        yield Mistake(paths=(("kafka", "fetch_wait_max_ms"), ("kafka", "request_timeout_ms")), text=text)


def _sizes(settings: Settings) -> Iterator[Mistake]:
    kafka, limits = settings.kafka, settings.limits
    if kafka.max_partition_fetch_bytes > kafka.fetch_max_bytes:
        text = f"{kafka.max_partition_fetch_bytes} is more than fetch_max_bytes, {kafka.fetch_max_bytes}"
        yield Mistake(paths=(("kafka", "max_partition_fetch_bytes"), ("kafka", "fetch_max_bytes")), text=text)
    if limits.max_line_bytes > limits.max_record_bytes:
        text = f"{limits.max_line_bytes} is more than max_record_bytes, {limits.max_record_bytes}"
        yield Mistake(paths=(("limits", "max_line_bytes"), ("limits", "max_record_bytes")), text=text)


def _outputs(settings: Settings) -> Iterator[Mistake]:
    if settings.output.topic == settings.output.dead_letter_topic:
        text = f"both are {settings.output.topic!r}; consumers of events can't read dead letters"
        yield Mistake(paths=(("output", "topic"), ("output", "dead_letter_topic")), text=text)
    for other in ("topic", "dead_letter_topic"):
        if settings.output.templates_topic == getattr(settings.output, other):
            text = f"both are {settings.output.templates_topic!r}; what tells of templates needs a topic of its own"
            yield Mistake(paths=(("output", other), ("output", "templates_topic")), text=text)


def _role(settings: Settings) -> Iterator[Mistake]:
    if settings.role == "all":
        return
    if settings.redis.url is None:
        text = f"not set, and role is {settings.role}: templates come back to workers of role match by Redis"
        yield Mistake(paths=(("redis", "url"), ("role",)), text=text)
    if settings.model.path is None:
        text = f"none, and role is {settings.role}: it is the checkpoint of the parsers that decides the templates"
        yield Mistake(paths=(("model", "path"), ("role",)), text=text)
    for output in ("topic", "dead_letter_topic", "templates_topic"):
        if settings.misses.topic == getattr(settings.output, output):
            text = f"both are {settings.misses.topic!r}; misses need a topic of their own"
            yield Mistake(paths=(("misses", "topic"), ("output", output)), text=text)


def _topics(settings: Settings) -> Iterator[Mistake]:
    claims: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for name, source in settings.sources.items():
        for topic in dict.fromkeys(source.topics):
            claims["topic", topic].append(_path(settings, name, "topics"))
        if source.topic_pattern is not None:
            claims["pattern", source.topic_pattern].append(_path(settings, name, "topic_pattern"))
    for (kind, text), paths in claims.items():
        if len(paths) > 1:
            yield Mistake(paths=tuple(paths), text=f"the {kind} {text!r} is claimed by {len(paths)} sources; keep one")
        written: list[tuple[Path, str | None]] = [
            (("output", name), getattr(settings.output, name))
            for name in ("topic", "dead_letter_topic", "templates_topic")
        ]
        if settings.role != "all":
            written.append((("misses", "topic"), settings.misses.topic))
        for path, output_topic in written:
            if kind == "topic" and text == output_topic:
                loop = f"{text!r} is read and written: a loop; name another topic"
                yield Mistake(paths=(*paths, path), text=loop)


def _prompts(settings: Settings) -> Iterator[Mistake]:
    scopes: dict[str, list[Source]] = defaultdict(list)
    for name, source in settings.sources.items():
        scopes[source.scope].append(source)
        if source.prompt is not None and settings.model.path is None:
            text = "set, but there is no model: a prompt is part of one"
            yield Mistake(paths=(("sources", name, "prompt"), ("model", "path")), text=text)
    for scope, sources in scopes.items():
        if len({source.prompt for source in sources}) > 1:
            text = f"sources of the scope {scope!r} share their templates, so they need the same prompt, or none"
            yield Mistake(paths=tuple(("sources", source.name, "prompt") for source in sources), text=text)
        if any(source.types != sources[0].types for source in sources):
            text = f"sources of the scope {scope!r} share their templates, so they need the same types"
            yield Mistake(paths=tuple(("sources", source.name, "types") for source in sources), text=text)


def _redaction(settings: Settings) -> Iterator[Mistake]:
    key = settings.redact.key
    if key is not None and not 16 <= (size := len(key.get_secret_value().encode())) <= 64:
        yield Mistake(paths=(("redact", "key"),), text=f"{size} bytes; allowed: 16 to 64 bytes")
    ways = {getattr(settings.redact, kind) for kind in get_args(RedactedKind)}
    ways |= {way for source in settings.sources.values() for way in source.redact.values()}
    if key is None and "hash" in ways:
        text = "not set, and values are to be hashed: give 16 to 64 bytes, in a file by redact.key_file"
        yield Mistake(paths=(("redact", "key"),), text=text)


def _path(settings: Settings, source: str, name: str) -> Path:
    """Give where the topics of `source` were written: those of `default` may stand outside of any table."""
    outside = source == "default" and (settings.topics or settings.topic_pattern is not None)
    return (name,) if outside else ("sources", source, name)


def _source(name: str, source: Source) -> Iterator[Mistake]:
    if not source.topics and source.topic_pattern is None:
        paths = (("sources", name, "topics"), ("sources", name, "topic_pattern"))
        yield Mistake(paths=paths, text="neither is set: nothing to read")
    for template, names in source.parameter_names.items():
        path: Path = ("sources", name, "parameter_names")
        holes = template.count(_WILDCARD)
        if holes and holes != len(names):
            yield Mistake(paths=(path,), text=f"{template!r} has {holes} parameters, not {len(names)}")
        elif not holes and not re.fullmatch(r"[0-9a-f]{16}", template):
            text = f"{template!r} is neither a template with {_WILDCARD} nor a template's id of 16 hexadecimal digits"
            yield Mistake(paths=(path,), text=text)
