"""What the worker counts, for Prometheus. Called once a batch, never once a record; the registry is its own object.

Labels are bounded (`LABELS`): by the settings, by the code, or by what this worker is assigned.
`python -m worker.metrics` prints the tables of docs/watching.md.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import click
import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from worker import __version__
from worker.collectors import Declared, Description, UsedTemplate
from worker.columns.layout import TIER_FINGERPRINT, TIER_INDEX, TIER_MODEL, TIER_STORE
from worker.errors import BadInput

#: Every reason of a dead letter.
REASONS = tuple(sorted(error.reason for error in BadInput.__subclasses__()))
#: What becomes of a reload: the new state is in force, or everything stays as it is.
RELOADS = RELOAD_DONE, RELOAD_REFUSED = ("done", "refused")
#: What the worker asks of Redis.
REDIS_OPERATIONS = ("answers", "find", "load", "publish", "restore")
#: What becomes of a transaction.
TRANSACTIONS = TRANSACTION_COMMITTED, TRANSACTION_ABORTED = ("committed", "aborted")
#: Topics of a source that have series of their own; a pattern may match ever new ones.
MOST_TOPICS = 100
#: What the further topics of a source are called.
OTHER_TOPICS = "other"
#: What bounds the values of each label.
LABELS = {
    "source": "sources in the settings",
    "topic": f"topics read: the first {MOST_TOPICS} of a source, then `{OTHER_TOPICS}`; of lag: those assigned now",
    "partition": "partitions assigned now",
    "reason": "five, in the code",
    "tier": "three, in the code",
    "type": "types of the source in the settings, and `none`",
    "operation": "five, in the code",
    "attempt": "two, in the code",
    "outcome": "two or three, in the code",
    "scope": "scopes in the settings",
    "template": "the `metrics.top_templates` that a scope used most of late",
    "text": "one per template, cut to 120 characters",
    "device": "the one of the model",
    "version": "one",
    "parser": "one",
}
#: Whether parser workers are asked for the first time; what they make of it.
ATTEMPTS = ATTEMPT_FIRST, ATTEMPT_AGAIN = ("first", "again")
ANSWERS = ANSWER_GIVEN, ANSWER_NOT_SERVED = ("given", "not_served")
#: What becomes of spans: a collector took them, refused them or did not answer, or was too slow for them.
SPANS = SPANS_EXPORTED, SPANS_FAILED, SPANS_DROPPED = ("exported", "failed", "dropped")
#: How the tiers of `Matches.tier` that are hits are called.
HIT_TIERS = {TIER_FINGERPRINT: "fingerprint", TIER_INDEX: "index", TIER_STORE: "store"}

_SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096)
_TOKEN_BUCKETS = (16, 64, 256, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 262_144)


class _ModelMetrics:
    """Those of the model and its device."""

    def __init__(self, declared: Declared) -> None:
        self.micro_batch_rows = declared.histogram("micro_batch_rows", "Messages of a micro-batch.", _ROW_BUCKETS)
        self.micro_batch_tokens = declared.histogram(
            "micro_batch_tokens", "Tokens of a micro-batch, without padding.", _TOKEN_BUCKETS
        )
        self.micro_batch_rows_limit = declared.gauge("micro_batch_rows_limit", "Most messages of a micro-batch.")
        self.micro_batch_tokens_limit = declared.gauge("micro_batch_tokens_limit", "Most tokens of a micro-batch.")
        self.misses_waiting = declared.gauge("misses_waiting", "Distinct messages that wait for a micro-batch.")
        self.seconds = declared.histogram("model_seconds", "Time of the model on a micro-batch.", _SECONDS_BUCKETS)
        self.halvings = declared.counter("model_halvings_total", "Micro-batches halved for want of memory.")
        self.device_allocated = declared.gauge(
            "device_memory_allocated_bytes",
            "Memory of the model's device that its tensors hold; none on a CPU.",
            "device",
        )
        self.device_reserved = declared.gauge(
            "device_memory_reserved_bytes", "Memory of the device that this process holds for tensors.", "device"
        )
        self.device_size = declared.gauge("device_memory_size_bytes", "Memory that the device has.", "device")


class Metrics:
    """All metrics of one worker.

    At every moment the records of a source add up: read + unpacked = events + joined + dead letters + tombstones +
    returned + in flight, lines that wait for more among the last.
    """

    def __init__(
        self,
        *,
        sources: Iterable[str] = (),
        scopes: Collection[str] = (),
        is_exactly_once: bool = False,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self._topics: dict[str, set[str]] = {}
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody asks for
        ProcessCollector(registry=registry)

        self._declared = declared = Declared(registry, prefix="logloom_")
        counter, gauge = declared.counter, declared.gauge
        self._batches = counter("batches_total", "Record batches fetched.", "source", "topic")
        self._records = counter("records_total", "Records read.", "source", "topic")
        self._record_bytes = counter("record_bytes_total", "Bytes of fetched record batches.", "source", "topic")
        self._tombstones = counter(
            "tombstones_total",
            "Records without a raw log: a null value, or an envelope with nothing in it.",
            *("source", "topic"),
        )
        self._unpacked = counter("unpacked_total", "Raw logs beside the first of their envelope.", "source", "topic")
        self._returned = counter(
            "returned_total",
            "Raw logs not finished when their partition went away: its next owner reads them.",
            "source",
        )
        self._records_in_flight = gauge("records_in_flight", "Raw logs read and not finished yet.", "source")
        self._events = counter("events_total", "Events that the broker acknowledged.", "source")
        self._joined = counter("joined_total", "Records that went into another record's event: joined lines.", "source")
        self._event_bytes = counter("event_bytes_total", "Bytes of produced record batches of events.", "source")
        self._dead_letters = counter("dead_letters_total", "Dead letters by reason.", "source", "reason")
        self._hits = counter("hits_total", "Messages whose template the cache knew, by tier.", "source", "tier")
        self._typed = counter(
            "typed_total", "Messages that became events, by type; none for no type.", "source", "type"
        )
        self._misses = counter("misses_total", "Messages that went on to the model.", "source")
        self._model = _ModelMetrics(declared)
        self._batch_seconds = declared.histogram(
            "batch_seconds", "Time from a batch's fetch to its acknowledgement.", _SECONDS_BUCKETS
        )
        self._latency = declared.latencies("latency_seconds", "Record timestamp to produced event.")
        self._transactions = counter(
            "transactions_total", "Kafka transactions by what became of them; only with exactly-once.", "outcome"
        )
        self._partitions = gauge("partitions", "Partitions that this worker is assigned.")
        self._lag = gauge("lag_records", "Records between this worker's position and the end.", "topic", "partition")
        self._redis_errors = counter("redis_errors_total", "Failed calls of Redis.", "operation")
        self._redis_pending = gauge("redis_pending_templates", "Templates that wait to be written to Redis.")
        self._redis_unavailable = gauge("redis_unavailable", "1 while Redis is set and does not answer, else 0.")
        self._templates = gauge("templates", "Templates in this worker's memory.", "scope")
        self._templates_learned = counter("templates_learned_total", "New templates that the model gave.", "scope")
        self._templates_received = counter("templates_received_total", "Templates that came by Redis.", "scope")
        self._templates_replaced = counter("templates_replaced_total", "Templates in whose place others came.", "scope")
        self._top_templates = declared.top_templates(
            "template_messages_total", "Messages by template, of those that were used most of late."
        )
        self._requests = counter("requests_total", "Messages handed to parser workers.", "attempt")
        for attempt in ATTEMPTS:
            self._requests.labels(attempt)
        self._awaited = gauge("awaited_messages", "Messages that parser workers have not answered yet.")
        self._answer_seconds = declared.histogram(
            "answer_seconds", "Time from handing a message to parser workers to its answer.", _SECONDS_BUCKETS
        )
        self._answers = counter("answers_total", "Messages that this worker answered for others, or not.", "outcome")
        for outcome in ANSWERS:
            self._answers.labels(outcome)
        self._batches_in_flight = gauge("batches_in_flight", "Record batches being worked on.")
        self._tasks = gauge("tasks", "Tasks of the event loop.")
        self._reloads = counter("reloads_total", "Reloads that were asked for, by what became of them.", "outcome")
        self._spans = counter("spans_total", "Spans of traces by what became of them.", "outcome")
        self._build = declared.info("build_info", "What runs here; always 1.", "version", "parser")
        self.describe_build(parser="")
        for counted, values in (
            (self._reloads, RELOADS),
            (self._spans, SPANS),
            (self._redis_errors, REDIS_OPERATIONS),
            (self._transactions, TRANSACTIONS if is_exactly_once else ()),
            *((one, scopes) for one in (self._templates_learned, self._templates_received, self._templates_replaced)),
        ):
            for value in values:
                counted.labels(value)
        for source in sources:
            self._start_at_zero(source)

    @property
    def descriptions(self) -> Sequence[Description]:
        """All metrics, in the order of a record's path."""
        return self._declared.descriptions

    def _start_at_zero(self, source: str) -> None:
        """Let every series of `source` exist: a rate over a series that has just appeared misses its first value."""
        for plain in (
            *(self._events, self._joined, self._event_bytes, self._misses),
            *(self._returned, self._records_in_flight),
        ):
            plain.labels(source)
        for tier in HIT_TIERS.values():
            self._hits.labels(source, tier)
        for reason in REASONS:
            self._dead_letters.labels(source, reason)

    def describe_build(self, *, parser: str) -> None:
        """Say which version runs, and which parser it has loaded."""
        self._build.info({"version": __version__, "parser": parser})

    def reloaded(self, outcome: str) -> None:
        """Count a reload; `outcome` is one of RELOADS."""
        self._reloads.labels(outcome).inc()

    def fetched(
        self, source: str, topic: str, *, records: int, size_bytes: int, tombstones: int = 0, unpacked: int = 0
    ) -> None:
        """Count one fetched record batch."""
        topic = self._bounded(source, topic)
        self._batches.labels(source, topic).inc()
        self._records.labels(source, topic).inc(records)
        self._record_bytes.labels(source, topic).inc(size_bytes)
        self._tombstones.labels(source, topic).inc(tombstones)
        self._unpacked.labels(source, topic).inc(unpacked)

    def reopened(self, source: str, topic: str, *, unpacked: int) -> None:
        """Count raw logs beside those that a record was read with: another envelope found more in it."""
        self._unpacked.labels(source, self._bounded(source, topic)).inc(unpacked)

    def looked_up(self, source: str, tiers: npt.NDArray[np.uint8]) -> None:
        """Count hits by tier and misses, by `Matches.tier` of the rows that become events, (n,)."""
        counts = np.bincount(tiers, minlength=TIER_MODEL + 1)
        for tier, name in HIT_TIERS.items():
            if counts[tier]:
                self._hits.labels(source, name).inc(int(counts[tier]))
        misses = int(counts.sum()) - sum(int(counts[tier]) for tier in HIT_TIERS)
        if misses:
            self._misses.labels(source).inc(misses)

    def typed(self, source: str, types: Mapping[str, int]) -> None:
        """Count messages by type, empty for none. Settings bound how many types a source has."""
        for name, count in types.items():
            self._typed.labels(source, name or "none").inc(count)

    def produced(
        self,
        source: str,
        *,
        events: int,
        size_bytes: int,
        joined: int = 0,
        latency_seconds: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Count events that the broker acknowledged; `latency_seconds`, (n,), of those whose record has a time.

        `joined`: records that went into these events beside one of each.
        """
        self._events.labels(source).inc(events)
        self._joined.labels(source).inc(joined)
        self._event_bytes.labels(source).inc(size_bytes)
        if latency_seconds is not None and len(latency_seconds):
            self._latency.observe(source, latency_seconds)

    def dead(self, source: str, reason: str, count: int = 1) -> None:
        """Count dead letters that the broker acknowledged. Raises ValueError for a reason that there is not."""
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no reason of a dead letter; there are {', '.join(REASONS)}")
        self._dead_letters.labels(source, reason).inc(count)

    def micro_batch(self, *, rows: int, tokens: int, seconds: float) -> None:
        """Count one micro-batch that the model answered."""
        self._model.micro_batch_rows.observe(rows)
        self._model.micro_batch_tokens.observe(tokens)
        self._model.seconds.observe(seconds)

    def micro_batch_limits(self, *, rows: int, tokens: int) -> None:
        """Set how large a micro-batch may be."""
        self._model.micro_batch_rows_limit.set(rows)
        self._model.micro_batch_tokens_limit.set(tokens)

    def misses_waiting(self, messages: int) -> None:
        """Set how many distinct messages wait for a micro-batch."""
        self._model.misses_waiting.set(messages)

    def device_memory(self, device: str, *, allocated: int, reserved: int, size: int) -> None:
        """Set what the model's device has, and what of it is taken, in bytes."""
        for former in (self._model.device_allocated, self._model.device_reserved, self._model.device_size):
            former.clear()
        self._model.device_allocated.labels(device).set(allocated)
        self._model.device_reserved.labels(device).set(reserved)
        self._model.device_size.labels(device).set(size)

    def halved(self) -> None:
        """Count a micro-batch that did not fit into the device's memory."""
        self._model.halvings.inc()

    def asked(self, messages: int, *, again: bool) -> None:
        """Count messages that were handed to parser workers, for the first time or `again`."""
        self._requests.labels(ATTEMPT_AGAIN if again else ATTEMPT_FIRST).inc(messages)

    def answered(self, seconds: float) -> None:
        """Count a message that was answered so long after it was handed over first."""
        self._answer_seconds.observe(seconds)

    def awaited(self, messages: int) -> None:
        """Set how many messages parser workers have not answered yet."""
        self._awaited.set(messages)

    def answer(self, *, is_served: bool) -> None:
        """Count a message that another worker asked for; it is not served where that one is of another version."""
        self._answers.labels(ANSWER_GIVEN if is_served else ANSWER_NOT_SERVED).inc()

    def batch_done(self, seconds: float) -> None:
        """Count a batch that was acknowledged `seconds` after its fetch."""
        self._batch_seconds.observe(seconds)

    def returned(self, source: str, raw_logs: int) -> None:
        """Count raw logs that were not finished when their partition went away."""
        self._returned.labels(source).inc(raw_logs)

    def in_flight(self, batches: int) -> None:
        """Set how many batches are being worked on."""
        self._batches_in_flight.set(batches)

    def tasks(self, count: int) -> None:
        """Set how many tasks the event loop has."""
        self._tasks.set(count)

    def records_in_flight(self, source: str, *, more: int) -> None:
        """Count `more` raw logs of a source that are being worked on, or fewer where it is negative."""
        self._records_in_flight.labels(source).inc(more)

    def transaction(self, outcome: str) -> None:
        """Count a transaction that ended; `outcome` is one of TRANSACTIONS."""
        self._transactions.labels(outcome).inc()

    def spans(self, outcome: str, count: int) -> None:
        """Count spans that were exported or not; `outcome` is one of SPANS. From any thread."""
        self._spans.labels(outcome).inc(count)

    def partitions(self, count: int) -> None:
        """Set how many partitions this worker is assigned."""
        self._partitions.set(count)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Set how far this worker is behind the end of a partition."""
        self._lag.labels(topic, str(partition)).set(records)

    def revoked(self, topic: str, partition: int) -> None:
        """Forget the lag of a partition that another worker has now; it would stand still for ever."""
        self._lag.remove_by_labels({"topic": topic, "partition": str(partition)})

    def redis_failed(self, operation: str) -> None:
        """Count a failed call of Redis. Raises ValueError for an operation that there is not."""
        if operation not in REDIS_OPERATIONS:
            raise ValueError(f"{operation!r} is nothing asked of Redis; there are {', '.join(REDIS_OPERATIONS)}")
        self._redis_errors.labels(operation).inc()

    def redis(self, *, pending: int, is_away: bool) -> None:
        """Set how many templates wait to be written to Redis, and whether it does not answer."""
        self._redis_pending.set(pending)
        self._redis_unavailable.set(is_away)

    def templates(self, counts: Mapping[str, int]) -> None:
        """Set how many templates are in memory, by scope; scopes that are not named have gone."""
        self._templates.clear()
        for scope, count in counts.items():
            self._templates.labels(scope).set(count)

    def templates_changed(self, scope: str, *, learned: int = 0, received: int = 0, replaced: int = 0) -> None:
        """Count templates that the model gave, that other workers gave, and that others took the place of."""
        self._templates_learned.labels(scope).inc(learned)
        self._templates_received.labels(scope).inc(received)
        self._templates_replaced.labels(scope).inc(replaced)

    def show_templates(self, read: Callable[[], Iterable[UsedTemplate]]) -> None:
        """Have each scrape `read` which templates get a series, and the messages of each."""
        self._top_templates.read = read

    def _bounded(self, source: str, topic: str) -> str:
        """Name `topic`, or all that came after the first ones of `source`."""
        known = self._topics.setdefault(source, set())
        if topic not in known and len(known) == MOST_TOPICS:
            return OTHER_TOPICS
        known.add(topic)
        return topic


def describe() -> str:
    """Give tables in Markdown of all metrics and of what bounds their labels."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for one in Metrics().descriptions:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.type} | {labels} | {one.help_text} |")
    lines += ["", "| label | its values |", "|---|---|"]
    lines += [f"| `{label}` | {bound} |" for label, bound in LABELS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    click.echo(describe())
