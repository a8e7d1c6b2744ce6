"""What metrics are made of: those that prometheus_client has no ready class for, and a list of what each is."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from worker.terminal import printable

#: Upper bounds in seconds, a minute at most.
LATENCY_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0),
)
#: Characters of a template that its label shows.
_MOST_TEXT = 120


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


class UsedTemplate(NamedTuple):
    """A template, and how many messages of its scope had it."""

    scope: str
    template_id: str
    text: str
    messages: int


class TopTemplates(Collector):
    """A counter of a few templates: whoever is asked at a scrape says of which."""

    def __init__(self, name: str, help_text: str, registry: CollectorRegistry) -> None:
        self._name, self._help = name, help_text
        #: Gives the templates that are worth a series.
        self.read: Callable[[], Iterable[UsedTemplate]] = tuple
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Give a series per template."""
        family = CounterMetricFamily(self._name, self._help, labels=["scope", "template", "text"])
        for used in self.read():
            family.add_metric([used.scope, used.template_id, printable(used.text)[:_MOST_TEXT]], used.messages)
        yield family


class Description(NamedTuple):
    """A metric, for documents and tests."""

    name: str
    type: str
    labels: tuple[str, ...]
    #: How many series each combination of label values has.
    series: int
    help_text: str


class Declared:
    """Makes metrics in one registry, and notes what each is."""

    def __init__(self, registry: CollectorRegistry, *, prefix: str) -> None:
        self.descriptions: list[Description] = []
        self._registry = registry
        self._prefix = prefix

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """Make a counter; its name ends in `_total`."""
        return Counter(self._note("counter", name, labels, 1, help_text), help_text, labels, registry=self._registry)

    def gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        """Make a gauge."""
        return Gauge(self._note("gauge", name, labels, 1, help_text), help_text, labels, registry=self._registry)

    def histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        """Make a histogram with these upper bounds."""
        full = self._note("histogram", name, (), len(buckets) + 3, help_text)
        return Histogram(full, help_text, registry=self._registry, buckets=buckets)

    def latencies(self, name: str, help_text: str) -> Latencies:
        """Make a histogram of latencies by source."""
        full = self._note("histogram", name, ("source",), len(LATENCY_BUCKETS) + 3, help_text)
        return Latencies(full, help_text, self._registry)

    def top_templates(self, name: str, help_text: str) -> TopTemplates:
        """Make a counter of the templates that are used most."""
        full = self._note("counter", name, ("scope", "template", "text"), 1, help_text)
        return TopTemplates(full.removesuffix("_total"), help_text, self._registry)

    def info(self, name: str, help_text: str, *labels: str) -> Info:
        """Make a gauge that is always 1; what it says is in its labels."""
        full = self._note("gauge", name, labels, 1, help_text)
        return Info(full.removesuffix("_info"), help_text, registry=self._registry)

    def _note(self, kind: str, name: str, labels: tuple[str, ...], series: int, help_text: str) -> str:
        """Note it, and return its whole name."""
        full = self._prefix + name
        self.descriptions.append(Description(full, kind, labels, series, help_text))
        return full
