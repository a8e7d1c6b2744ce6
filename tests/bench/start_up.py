"""How soon things are there: help, a few lines, a worker's first event; and how long kernels compile at first."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median

from tests.bench.figures import Figure
from tests.bench.files import Took, known_lines, parse, took
from tests.bench.loglines import block_store
from tests.bench.processes import PATIENCE_SECONDS, ROOT, Ended, running_worker
from tests.bench.topics import PARTITIONS, Watch, fill, output_topics
from tests.kafka_broker import KafkaBroker
from tests.redis_server import start_redis

_LINES = 10
#: What a worker finds waiting when it starts.
_WAITING_RECORDS = 1000


def commands(*, repeats: int, model: str) -> Iterator[Figure]:
    """Time commands that a person waits for, caches warm."""
    helping = [sys.executable, "-m", "worker", "--help"]
    took(helping)
    yield from _waited("`logloom --help`", [took(helping) for _ in range(repeats)], at_most=0.3)
    with known_lines(islice(block_store(1000), _LINES), model) as path:
        runs = [took(parse(path, model)) for _ in range(repeats)]
    yield from _waited(f"`logloom parse` of {_LINES} known lines", runs, at_most=1.5)


def _waited(name: str, runs: Sequence[Took], *, at_most: float) -> Iterator[Figure]:
    cpu = median(run.cpu_seconds for run in runs)
    yield Figure(
        name=name, unit="s", values=tuple(run.seconds for run in runs), at_most=at_most, note=f"{cpu:.2f} s of CPU"
    )


def first_event(broker: KafkaBroker, *, repeats: int, model: str) -> Iterator[Figure]:
    """Time a worker from its start until another client sees its first event; Redis knows the templates."""
    source = broker.new_topic("waiting", PARTITIONS)
    fill(broker, source, block_store(_WAITING_RECORDS))
    redis = start_redis()
    try:
        _to_first_event(broker, source, model, redis.url)
        taken = tuple(_to_first_event(broker, source, model, redis.url) for _ in range(repeats))
    finally:
        redis.close()
    yield Figure(name="worker to first event, Redis warm", unit="s", values=taken, at_most=10.0)


def _to_first_event(broker: KafkaBroker, source: str, model: str, redis_url: str) -> float:
    with output_topics(broker, "first") as target:
        watch = Watch(broker, target)
        try:
            begun = time.monotonic()
            with running_worker(broker, source, target, model, LOGLOOM_REDIS__URL=redis_url) as worker:
                worker.process.wait_until(lambda: watch.count() > 0, "the first event", every_seconds=0.01)
                return time.monotonic() - begun
        finally:
            watch.close()


def first_compilation() -> Iterator[Figure]:
    """Compile every kernel with nothing in the cache, once: it is the same work each time."""
    with tempfile.TemporaryDirectory(prefix="logloom-bench-") as folder:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "worker.warm_up"],
            cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": folder}, capture_output=True, check=False,
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        taken = time.monotonic() - begun
    if done.returncode != 0:
        raise Ended(f"worker.warm_up ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    yield Figure(name="first compilation of the kernels", unit="s", values=(taken,), at_most=20.0)
