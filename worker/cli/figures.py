"""What the metrics of workers say: rates, shares and states. Knows nothing of HTTP, of settings and of terminals."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

#: What answered a message, in the order in which they are asked; the model has what is left.
TIERS = ("process", "index", "redis", "model")
#: How the metrics call the tiers of hits.
_HITS = {"fingerprint": "process", "index": "index", "store": "redis"}
_BUILD, _STARTED = "logloom_build_info", "process_start_time_seconds"

Labels = Mapping[str, str]


class _Series(NamedTuple):
    name: str
    labels: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What one worker's metrics were at a moment."""

    #: By a clock that only goes forward.
    seconds: float
    #: When, by the clock on the wall.
    time: float
    values: Mapping[_Series, float]

    @classmethod
    def read(cls, exposition: str, *, seconds: float, time: float) -> "Scrape":
        """Read what an endpoint answered. Raises ValueError where it is no exposition."""
        try:
            values = {
                _Series(sample.name, frozenset(sample.labels.items())): float(sample.value)
                for family in text_string_to_metric_families(exposition)
                for sample in family.samples
            }
        except IndexError as exc:  # of its parser, at broken labels
            raise ValueError("broken labels") from exc
        return cls(seconds=seconds, time=time, values=values)

    def series(self, name: str, *labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Give the series of a name that have these labels, for another version may have others: labels and value."""
        for series, value in self.values.items():
            if series.name == name and (found := dict(series.labels)).keys() >= set(labels):
                yield found, value

    def value(self, name: str) -> float | None:
        """Give what a name's series add up to; None where there is none."""
        values = [value for _, value in self.series(name)]
        return sum(values) if values else None

    def increases(self, before: "Scrape", name: str, *labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Give how much the counters of a name grew since `before`, as `series`: labels and growth, never below zero.

        A counter that is smaller than it was, or whose process is another, began at zero in between.
        """
        is_same = self.value(_STARTED) == before.value(_STARTED)
        for found, value in self.series(name, *labels):
            was = before.values.get(_Series(name, frozenset(found.items())), 0.0) if is_same else 0.0
            yield found, value - was if value >= was else value


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFigures:
    """One worker that answered."""

    address: str
    version: str
    parser: str
    #: Seconds since its process began; None where it does not tell.
    uptime_seconds: float | None
    #: Bytes of its process.
    resident_bytes: float | None
    #: Processors in use; None with the first scrape.
    processors: float | None
    #: Whether it has a model of its own.
    has_model: bool
    #: Where the model runs, if it is no CPU: bytes of its memory that the process holds, and that there are.
    device: str | None
    device_bytes: float | None
    device_size_bytes: float | None
    #: Whether events and offsets are written in transactions.
    is_exactly_once: bool
    partitions: int
    #: Whether a Redis is set that does not answer.
    is_redis_away: bool
    #: Calls of Redis that failed, a second; None with the first scrape.
    redis_errors_per_second: float | None
    #: Templates that wait to be written to Redis.
    redis_pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentWorker:
    """One that did not answer, or not as a worker does."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFigures:
    """One source, over all workers that answered. Rates are None with the first scrape."""

    name: str
    records_per_second: float | None
    events_per_second: float | None
    #: Messages a second by what answered them, one of TIERS.
    answered_per_second: Mapping[str, float] | None
    dead_letters_per_second: float | None
    #: Since the workers began, by reason; only those that there are.
    dead_letters: Mapping[str, int]
    #: Records behind the end of the topics; None where no partition is assigned.
    lag: int | None
    in_flight: int
    #: Of its scope, in the memory of the worker that knows most.
    templates: int
    #: New ones of the model, a second.
    learned_per_second: float | None

    def share(self, tier: str) -> float | None:
        """Give the share of messages that a tier answered; None where there were none."""
        answered = self.answered_per_second
        total = sum(answered.values()) if answered else 0.0
        return answered[tier] / total if answered and total else None

    @property
    def hit_rate(self) -> float | None:
        """Give the share of messages that no model was asked for."""
        missed = self.share("model")
        return None if missed is None else 1.0 - missed

    @property
    def misses_per_second(self) -> float | None:
        """Give the messages a second that went on to the model."""
        return None if self.answered_per_second is None else self.answered_per_second["model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What there is to see at a moment."""

    #: Between the scrapes that rates are of; None with the first.
    seconds: float | None
    sources: tuple[SourceFigures, ...]
    workers: tuple[WorkerFigures, ...]
    silent: tuple[SilentWorker, ...]


@dataclass(slots=True)
class _Sums:
    """What is added up of one source."""

    rates: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    answered: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    dead: Counter[str] = field(default_factory=Counter)
    lag: int | None = None
    in_flight: int = 0

    def figures(self, name: str, scope: "_ScopeSums", *, has_rates: bool) -> SourceFigures:
        """Give what was added up."""
        rates = {rate: self.rates[rate] if has_rates else None for rate in ("records", "events", "dead_letters")}
        return SourceFigures(
            name=name,
            records_per_second=rates["records"],
            events_per_second=rates["events"],
            answered_per_second={tier: self.answered[tier] for tier in TIERS} if has_rates else None,
            dead_letters_per_second=rates["dead_letters"],
            dead_letters={reason: count for reason, count in sorted(self.dead.items()) if count},
            lag=self.lag,
            in_flight=self.in_flight,
            templates=scope.templates,
            learned_per_second=scope.learned if has_rates else None,
        )


@dataclass(slots=True)
class _ScopeSums:
    """What is added up of one scope."""

    templates: int = 0
    learned: float = 0.0


@dataclass(slots=True)
class _Totals:
    sources: defaultdict[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))
    scopes: defaultdict[str, _ScopeSums] = field(default_factory=lambda: defaultdict(_ScopeSums))

    def add_states(self, scrapes: Sequence[Scrape], source_of: Callable[[str], str | None]) -> None:
        """Add what workers say of this moment."""
        named = {
            labels["topic"]: labels["source"]
            for scrape in scrapes
            for labels, _ in scrape.series("logloom_records_total", "source", "topic")
        }
        for scrape in scrapes:
            for labels, value in scrape.series("logloom_dead_letters_total", "source", "reason"):
                self.sources[labels["source"]].dead[labels["reason"]] += int(value)
            for labels, value in scrape.series("logloom_records_in_flight", "source"):
                self.sources[labels["source"]].in_flight += int(value)
            for labels, value in scrape.series("logloom_templates", "scope"):
                scope = self.scopes[labels["scope"]]
                scope.templates = max(scope.templates, int(value))
            for labels, value in scrape.series("logloom_lag_records", "topic"):
                topic = labels["topic"]
                found = self.sources[named.get(topic) or source_of(topic) or topic]
                found.lag = (found.lag or 0) + int(value)

    def add_rates(self, now: Scrape, before: Scrape) -> None:
        """Add what a worker did between two scrapes."""
        seconds = now.seconds - before.seconds
        for name in ("records", "events", "dead_letters"):
            for labels, growth in now.increases(before, f"logloom_{name}_total", "source"):
                self.sources[labels["source"]].rates[name] += growth / seconds
        for labels, growth in now.increases(before, "logloom_hits_total", "source", "tier"):
            self.sources[labels["source"]].answered[_HITS.get(labels["tier"], "process")] += growth / seconds
        for labels, growth in now.increases(before, "logloom_misses_total", "source"):
            self.sources[labels["source"]].answered["model"] += growth / seconds
        for labels, growth in now.increases(before, "logloom_templates_learned_total", "scope"):
            self.scopes[labels["scope"]].learned += growth / seconds


def figures(
    now: Mapping[str, Scrape | str],
    before: Mapping[str, Scrape | str] | None = None,
    *,
    source_of: Callable[[str], str | None] = lambda _: None,
    scope_of: Callable[[str], str] = lambda source: source,
) -> Figures:
    """Make figures of the scrapes of all workers, by address; one that gave none has the reason instead.

    `source_of` names the source of a topic that no metric has named yet; lag of one that nobody knows stands under the
    topic's name. `scope_of` names the scope that a source shares its templates in.
    """
    answered = {address: scrape for address, scrape in now.items() if isinstance(scrape, Scrape)}
    earlier = {address: scrape for address, scrape in (before or {}).items() if isinstance(scrape, Scrape)}
    pairs = [(scrape, earlier[address]) for address, scrape in answered.items() if address in earlier]
    totals = _Totals()
    totals.add_states(tuple(answered.values()), source_of)
    for scrape, was in pairs:
        totals.add_rates(scrape, was)
    return Figures(
        seconds=max((scrape.seconds - was.seconds for scrape, was in pairs), default=None),
        sources=tuple(
            found.figures(name, totals.scopes[scope_of(name)], has_rates=bool(pairs))
            for name, found in sorted(totals.sources.items())
        ),
        workers=tuple(_worker(address, scrape, earlier.get(address)) for address, scrape in answered.items()),
        silent=tuple(
            SilentWorker(address=address, reason=reason) for address, reason in now.items() if isinstance(reason, str)
        ),
    )


def _worker(address: str, scrape: Scrape, was: Scrape | None) -> WorkerFigures:
    about = next((labels for labels, _ in scrape.series(_BUILD, "version", "parser")), {"version": "", "parser": ""})
    started = scrape.value(_STARTED)

    def rate(name: str) -> float | None:
        if was is None:
            return None
        return sum(growth for _, growth in scrape.increases(was, name)) / (scrape.seconds - was.seconds)

    processors = rate("process_cpu_seconds_total") if scrape.value("process_cpu_seconds_total") is not None else None
    return WorkerFigures(
        address=address,
        version=about["version"],
        parser=about["parser"],
        uptime_seconds=None if started is None else max(0.0, scrape.time - started),
        resident_bytes=scrape.value("process_resident_memory_bytes"),
        processors=processors,
        has_model=bool(scrape.value("logloom_micro_batch_rows_limit")),
        device=next(
            (labels["device"] for labels, _ in scrape.series("logloom_device_memory_size_bytes", "device")), None
        ),
        device_bytes=scrape.value("logloom_device_memory_reserved_bytes"),
        device_size_bytes=scrape.value("logloom_device_memory_size_bytes"),
        is_exactly_once=scrape.value("logloom_transactions_total") is not None,
        partitions=int(scrape.value("logloom_partitions") or 0),
        is_redis_away=bool(scrape.value("logloom_redis_unavailable")),
        redis_errors_per_second=rate("logloom_redis_errors_total"),
        redis_pending=int(scrape.value("logloom_redis_pending_templates") or 0),
    )
