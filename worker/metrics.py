"""What the worker counts, for Prometheus. Called once a batch, never once a record; the registry is its own object.

Labels are bounded: sources, types, tiers, reasons and operations are fixed by the settings and the code, topics and
partitions by what this worker is assigned.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from worker import __version__
from worker.columns.layout import TIER_FINGERPRINT, TIER_INDEX, TIER_MODEL, TIER_STORE
from worker.errors import BadInput

#: Every reason of a dead letter.
REASONS = tuple(sorted(error.reason for error in BadInput.__subclasses__()))
#: What becomes of a reload: the new state is in force, or everything stays as it is.
RELOADS = RELOAD_DONE, RELOAD_REFUSED = ("done", "refused")
#: How the tiers of `Matches.tier` that are hits are called.
HIT_TIERS = {TIER_FINGERPRINT: "fingerprint", TIER_INDEX: "index", TIER_STORE: "store"}

#: Upper bounds in seconds, a minute at most.
LATENCY_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0),
)
_SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096)
_TOKEN_BUCKETS = (16, 64, 256, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 262_144)


class Latencies(Collector):
    """A histogram that takes a whole batch of values at once, per source."""

    def __init__(self, name: str, help_text: str, registry: CollectorRegistry) -> None:
        self._name, self._help = name, help_text
        self._bounds = np.array(LATENCY_BUCKETS)
        self._counts: dict[str, npt.NDArray[np.int64]] = {}
        self._sums: dict[str, float] = {}
        self._lock = threading.Lock()  # scrapes may come from another thread
        registry.register(self)

    def observe(self, source: str, seconds: npt.NDArray[np.float64]) -> None:
        """Add the latencies `seconds`, (n,); those below zero, of clocks that disagree, count as zero."""
        positive = np.maximum(seconds, 0.0)
        places = np.searchsorted(self._bounds, positive, side="left")
        counts = np.bincount(places, minlength=len(LATENCY_BUCKETS) + 1)
        with self._lock:
            self._counts[source] = counts + self._counts.get(source, 0)
            self._sums[source] = float(positive.sum()) + self._sums.get(source, 0.0)

    def collect(self) -> Iterator[Metric]:
        """Give the histogram, its buckets cumulative."""
        family = HistogramMetricFamily(self._name, self._help, labels=["source"])
        bounds = [*map(floatToGoString, LATENCY_BUCKETS), "+Inf"]
        with self._lock:
            for source, counts in self._counts.items():
                buckets = [(bound, int(count)) for bound, count in zip(bounds, np.cumsum(counts), strict=True)]
                family.add_metric([source], buckets, sum_value=self._sums[source])
        yield family


class Metrics:
    """All metrics of one worker."""

    def __init__(self, *, sources: Iterable[str] = (), registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody asks for
        ProcessCollector(registry=registry)

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"logloom_{name}", help_text, labels, registry=registry)

        def gauge(name: str, help_text: str, *labels: str) -> Gauge:
            return Gauge(f"logloom_{name}", help_text, labels, registry=registry)

        def histogram(name: str, help_text: str, buckets: Iterable[float]) -> Histogram:
            return Histogram(f"logloom_{name}", help_text, registry=registry, buckets=tuple(buckets))

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
        self._micro_batch_rows = histogram("micro_batch_rows", "Messages of a micro-batch.", _ROW_BUCKETS)
        self._micro_batch_tokens = histogram(
            "micro_batch_tokens", "Tokens of a micro-batch, without padding.", _TOKEN_BUCKETS
        )
        self._model_seconds = histogram("model_seconds", "Time of the model on a micro-batch.", _SECONDS_BUCKETS)
        self._model_halvings = counter("model_halvings_total", "Micro-batches halved for want of memory.")
        self._batch_seconds = histogram(
            "batch_seconds", "Time from a batch's fetch to its acknowledgement.", _SECONDS_BUCKETS
        )
        self._latency = Latencies("logloom_latency_seconds", "Record timestamp to produced event.", registry)
        self._lag = gauge("lag_records", "Records between this worker's position and the end.", "topic", "partition")
        self._redis_errors = counter("redis_errors_total", "Failed calls of Redis.", "operation")
        self._redis_pending = gauge("redis_pending_templates", "Templates that wait to be written to Redis.")
        self._templates = gauge("templates", "Templates in this worker's memory.", "source")
        self._batches_in_flight = gauge("batches_in_flight", "Record batches being worked on.")
        self._tasks = gauge("tasks", "Tasks of the event loop.")
        self._reloads = counter("reloads_total", "Reloads that were asked for, by what became of them.", "outcome")
        for outcome in RELOADS:
            self._reloads.labels(outcome)
        self._build = Info("logloom_build", "What runs here.", registry=registry)
        self.describe_build(parser="")
        for source in sources:
            self._start_at_zero(source)

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
        self._batches.labels(source, topic).inc()
        self._records.labels(source, topic).inc(records)
        self._record_bytes.labels(source, topic).inc(size_bytes)
        self._tombstones.labels(source, topic).inc(tombstones)
        self._unpacked.labels(source, topic).inc(unpacked)

    def reopened(self, source: str, topic: str, *, unpacked: int) -> None:
        """Count raw logs beside those that a record was read with: another envelope found more in it."""
        self._unpacked.labels(source, topic).inc(unpacked)

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
        self._micro_batch_rows.observe(rows)
        self._micro_batch_tokens.observe(tokens)
        self._model_seconds.observe(seconds)

    def halved(self) -> None:
        """Count a micro-batch that did not fit into the device's memory."""
        self._model_halvings.inc()

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

    def records_in_flight(self, source: str, raw_logs: int) -> None:
        """Set how many raw logs of a source are being worked on."""
        self._records_in_flight.labels(source).set(raw_logs)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Set how far this worker is behind the end of a partition."""
        self._lag.labels(topic, str(partition)).set(records)

    def revoked(self, topic: str, partition: int) -> None:
        """Forget the lag of a partition that another worker has now; it would stand still for ever."""
        self._lag.remove_by_labels({"topic": topic, "partition": str(partition)})

    def redis_failed(self, operation: str) -> None:
        """Count a failed call of Redis; `operation` is a word of the code's own."""
        self._redis_errors.labels(operation).inc()

    def redis_pending(self, templates: int) -> None:
        """Set how many templates wait to be written to Redis."""
        self._redis_pending.set(templates)

    def templates(self, source: str, count: int) -> None:
        """Set how many templates of `source` are in memory."""
        self._templates.labels(source).set(count)
