"""What `logloom check` tries, one after the other; each gives a verdict and what to do. Prints nothing."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from worker.cache.permissions import ask
from worker.errors import LogloomError, StoreUnavailable, Unreachable, WrongModel
from worker.settings import Settings, Tracing
from worker.transport.admin import Admin
from worker.transport.permissions import missing

if TYPE_CHECKING:
    from worker.knowledge import RemoteModel
    from worker.parsing.parser import EncoderParser

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What came out of one check."""

    subject: str
    verdict: Verdict
    #: What was found.
    text: str
    #: What to do about it; empty where there is nothing to do.
    advice: str = ""


def run(settings: Settings, *, create_topics: bool, load_model: bool) -> Iterator[Finding]:
    """Try everything that a worker needs; a check whose ground is missing is left out."""
    try:
        with Admin(settings.kafka) as admin:
            yield from _kafka(settings, admin, create_topics=create_topics)
    except Unreachable as exc:
        yield Finding(subject="broker", verdict="fail", text=str(exc), advice="nothing works without a broker")
    yield from _redis(settings)
    yield from _redaction(settings)
    yield from _tracing(settings.tracing)
    yield from _device(settings)
    if load_model:
        yield from _model(settings)


def _kafka(settings: Settings, admin: Admin, *, create_topics: bool) -> Iterator[Finding]:
    cluster = admin.cluster()
    text = f"{cluster.brokers} brokers at {', '.join(settings.kafka.bootstrap_servers)}, Kafka {cluster.version}"
    yield Finding(subject="broker", verdict="ok", text=text)
    yield from _security(settings, admin)
    partitions = admin.partitions()
    read = {topic for topic in partitions if settings.reads(topic)}
    yield from _input_topics(settings, partitions, read)
    widest = max((partitions[topic] for topic in read), default=1)
    if create_topics:
        missing = {topic: widest for topic in settings.written_topics if topic not in partitions}
        created = admin.create_topics(missing)
        partitions = {**partitions, **missing}
        for topic in sorted(created):
            yield Finding(subject=f"topic {topic}", verdict="ok", text=f"created with {widest} partitions")
    yield from _output_topics(settings, admin, partitions, widest)
    yield from _lag(settings, admin, read)


def _security(settings: Settings, admin: Admin) -> Iterator[Finding]:
    kafka = settings.kafka
    if kafka.security_protocol == "SASL_PLAINTEXT" and not str(kafka.sasl_mechanism).startswith("SCRAM"):
        secret = "token" if kafka.sasl_password is None else "password"
        text = f"the {secret} goes over the network as it is"
        yield Finding(subject="security", verdict="warn", text=text, advice="set kafka.security_protocol to SASL_SSL")
    lacking = list(missing(admin, settings))
    if lacking:
        text = f"the broker denies the user what a worker needs: {'; '.join(lacking)}"
        yield Finding(
            subject="permissions",
            verdict="fail",
            text=text,
            advice="add them by kafka-acls --add --allow-principal User:NAME",
        )


def _input_topics(settings: Settings, partitions: dict[str, int], read: set[str]) -> Iterator[Finding]:
    if settings.role == "parse":
        advice = "create it, or run `logloom check --create-topics` with role match"
        yield _input_topic("misses", settings.misses.topic, partitions, advice)
        return
    for name, source in settings.sources.items():
        for topic in source.topics:
            advice = f"create it, or change sources.{name}.topics"
            yield _input_topic(f"source {name}", topic, partitions, advice)
        if source.topic_pattern is not None:
            own = sorted(topic for topic in read if settings.source_of(topic) is source and topic not in source.topics)
            subject = f"source {name}: pattern {source.topic_pattern}"
            if own:
                text = f"{len(own)} topics: {', '.join(own[:5])}{' ...' if len(own) > 5 else ''}"
                yield Finding(subject=subject, verdict="ok", text=text)
            else:
                advice = "topics that come later are found within kafka.metadata_max_age_ms"
                yield Finding(subject=subject, verdict="warn", text="no topic fits", advice=advice)


def _input_topic(of: str, topic: str, partitions: dict[str, int], advice: str) -> Finding:
    subject = f"{of}: topic {topic}"
    if topic not in partitions:
        return Finding(subject=subject, verdict="fail", text="not there", advice=advice)
    return Finding(subject=subject, verdict="ok", text=f"{partitions[topic]} partitions")


def _output_topics(settings: Settings, admin: Admin, partitions: dict[str, int], widest: int) -> Iterator[Finding]:
    for topic in sorted(settings.written_topics):
        subject = f"topic {topic}"
        if topic not in partitions:
            advice = f"create it with {widest} partitions or more, or run `logloom check --create-topics`"
            yield Finding(subject=subject, verdict="fail", text="not there", advice=advice)
            continue
        count = partitions[topic]
        if topic == settings.output.topic and count < widest:
            text = f"{count} partitions, but an input topic has {widest}"
            advice = "events keep their partition: give it as many"
            yield Finding(subject=subject, verdict="fail", text=text, advice=advice)
        else:
            yield Finding(subject=subject, verdict="ok", text=f"{count} partitions")
        largest = admin.topic_config(topic, "max.message.bytes")
        if largest is not None and int(largest) < settings.output.max_batch_bytes:
            text = (
                f"takes {int(largest):,} bytes a batch, output.max_batch_bytes is {settings.output.max_batch_bytes:,}"
            )
            advice = "raise the topic's max.message.bytes or lower output.max_batch_bytes"
            yield Finding(subject=subject, verdict="fail", text=text, advice=advice)


def _lag(settings: Settings, admin: Admin, read: set[str]) -> Iterator[Finding]:
    if read:
        records = sum(admin.lag(settings.group_id, sorted(read)).values())
        text = f"{records:,} records not read yet"
        yield Finding(subject=f"group {settings.group_id}", verdict="ok", text=text)


def _redaction(settings: Settings) -> Iterator[Finding]:
    if settings.redacting:
        output = settings.output
        text = (
            f"topic {output.dead_letter_topic} keeps records of {', '.join(settings.redacting)} as they came, "
            f"topic {output.topic} their keys and headers"
        )
        advice = "let only those read dead letters who replay them, give that topic a short retention.ms"
        yield Finding(subject="redaction", verdict="warn", text=text, advice=advice)


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis.url is None:
        advice = "set redis.url where several workers run, or where a restart should start warm"
        yield Finding(subject="redis", verdict="warn", text="none: every worker learns by itself", advice=advice)
        return
    try:
        scope = next(iter(settings.sources.values())).scope
        answer = ask(settings.redis, scope, has_tiers=settings.role != "all")
    except StoreUnavailable as exc:
        advice = "is it running, and redis.url (LOGLOOM_REDIS__URL) right? Workers go on without it, each by itself"
        yield Finding(subject="redis", verdict="fail", text=str(exc), advice=advice)
    except Unreachable as exc:
        yield Finding(subject="redis", verdict="fail", text=str(exc), advice="no worker starts like this")
    else:
        name = "Redis" if answer.version is None else f"Redis {answer.version}"
        yield Finding(subject="redis", verdict="ok", text=f"{name} answers within {answer.milliseconds:.1f} ms")


def _tracing(tracing: Tracing) -> Iterator[Finding]:
    if tracing.endpoint is None:
        return
    from worker.tracing.outbox import ask as ask_collector  # noqa: PLC0415  who traces nothing does not load it

    if tracing.headers is not None and tracing.endpoint.startswith("http:"):
        text = "the headers go over the network as they are"
        yield Finding(subject="tracing", verdict="warn", text=text, advice="give tracing.endpoint by https://")
    try:
        milliseconds = ask_collector(tracing)
    except Unreachable as exc:
        advice = (
            "does it take OTLP over HTTP there, mostly at port 4318? Workers go on without it, and count lost spans"
        )
        yield Finding(subject="tracing", verdict="fail", text=str(exc), advice=advice)
    else:
        text = f"{tracing.url} answers within {milliseconds:.1f} ms, {tracing.share:.3g} of the batches are traced"
        yield Finding(subject="tracing", verdict="ok", text=text)


def _device(settings: Settings) -> Iterator[Finding]:
    if settings.model.path is None or settings.role == "match":
        return
    import torch  # noqa: PLC0415  seconds to import

    wanted = settings.model.device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = re.fullmatch(r"cuda:(\d+)", wanted)
    if wanted.startswith("cuda") and (count == 0 or (index is not None and int(index[1]) >= count)):
        advice = "look at `nvidia-smi` and the container's devices, or set model.device to auto"
        yield Finding(subject="device", verdict="fail", text=f"{wanted} wanted, {count} GPUs found", advice=advice)
    elif wanted == "cpu" or count == 0:
        text = f"CPU, {torch.get_num_threads()} threads"
        yield Finding(subject="device", verdict="ok", text=text)
    else:
        yield Finding(subject="device", verdict="ok", text=torch.cuda.get_device_name(int(index[1]) if index else 0))


def _model(settings: Settings) -> Iterator[Finding]:
    if settings.model.path is None:
        advice = "without one every message that no known template fits is a dead letter"
        yield Finding(subject="model", verdict="warn", text="none", advice=advice)
        return
    began = time.perf_counter()
    try:
        model = _model_of(settings, settings.model.path)
    except LogloomError as exc:
        advice = "set model.path (LOGLOOM_MODEL__PATH) to base, a folder or a Hugging Face name"
        yield Finding(subject="model", verdict="fail", text=str(exc), advice=advice)
        return
    loaded = f"in {time.perf_counter() - began:.1f} s" if settings.role != "match" else "by workers of role parse"
    yield Finding(subject="model", verdict="ok", text=f"{model.version}, loaded {loaded}")
    for name, source in settings.sources.items():
        if source.prompt is not None:
            yield _prompt(model, name, source.prompt)


def _model_of(settings: Settings, path: str) -> "EncoderParser | RemoteModel":
    """Load the model, or look at what a worker knows of it that loads none. Raises LogloomError."""
    if settings.role == "match":
        from worker.knowledge import RemoteModel  # noqa: PLC0415  seconds to import

        return RemoteModel.load(path, settings.model)
    from worker.parsing.parser import EncoderParser  # noqa: PLC0415  the same

    model = settings.model
    return EncoderParser.load(path, device=model.device, dtype=model.dtype, signature_key=model.signature_key)


def _prompt(model: "EncoderParser | RemoteModel", source: str, prompt: str) -> Finding:
    subject = f"source {source}: prompt {prompt}"
    try:
        return Finding(subject=subject, verdict="ok", text=model.version_of(prompt))
    except WrongModel as exc:
        advice = f"change sources.{source}.prompt, or take a checkpoint that has it"
        return Finding(subject=subject, verdict="fail", text=str(exc), advice=advice)
