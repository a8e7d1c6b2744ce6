"""`logloom worker` as a process, set up by its environment as an operator would, and what its metrics say."""

import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.kafka_broker import KafkaBroker, free_port, terminate, wait_until

DELIVERIES = ("at-least-once", "exactly-once")
_START_SECONDS = 90.0
_SAMPLE = re.compile(r"(logloom_\w+?)(?:\{(.*)\})? ([0-9.eE+-]+)$")


class WorkerProcess:
    """A running worker."""

    def __init__(self, environment: Mapping[str, str], *, module: str = "worker") -> None:
        """Start `module`, which takes the command line of `logloom`."""
        self._port = free_port()
        self._log = tempfile.NamedTemporaryFile(prefix="logloom-worker-", suffix=".log")  # noqa: SIM115 closed in `end`
        own = {name: value for name, value in os.environ.items() if not name.startswith("LOGLOOM_")}
        metrics = {"LOGLOOM_METRICS__HOST": "127.0.0.1", "LOGLOOM_METRICS__PORT": str(self._port)}
        # Without bounds checks, as it runs for users: their kernels are compiled and cached apart.
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "worker"],
            env={**own, **metrics, **environment, "NUMBA_BOUNDSCHECK": "0"},
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def address(self) -> str:
        """Where it serves its metrics, as HOST:PORT."""
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return Path(self._log.name).read_text(errors="replace")

    def status(self, path: str) -> int:
        """Ask its HTTP server for `path`; 0 where it does not answer."""
        return probe(self._port, path)

    def scrape(self) -> str:
        """Read its metrics as they are written."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def metrics(self) -> Counter[str]:
        """Read its metrics, each summed over its labels, and with each single label: `name{label="value"}`."""
        totals: Counter[str] = Counter()
        for line in self.scrape().splitlines():
            if match := _SAMPLE.match(line):
                name, labels, value = match[1], match[2], int(float(match[3]))
                totals[name] += value
                for label in (labels or "").split(","):
                    totals[f"{name}{{{label}}}"] += value
        return totals

    def accounted(self) -> int:
        """Return how many of the records that it read have become something."""
        return _accounted(self.metrics())

    def unaccounted(self) -> int:
        """Return how many of the records that it read neither became something nor are still to."""
        metrics = self.metrics()
        unfinished = metrics["logloom_returned_total"] + metrics["logloom_records_in_flight"]
        return metrics["logloom_records_total"] - _accounted(metrics) - unfinished

    def wait_until_ready(self) -> None:
        """Wait until it has its partitions."""
        self.wait(lambda: self.status("/readyz") == 200, what="ready")

    def wait_for(self, records: int, *, seconds: float = 60) -> None:
        """Wait until it has read and accounted for as many records."""
        self.wait(lambda: self.accounted() >= records, what=f"{records} records", seconds=seconds)

    def wait(self, true: Callable[[], bool], *, what: str, seconds: float = _START_SECONDS) -> None:
        """Wait until `true` holds. Raises RuntimeError with its log if the worker ends before."""

        def holds() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the worker ended with {self.process.returncode}:\n{self.log[-5000:]}")
            return true()

        try:
            wait_until(holds, seconds=seconds, what=what)
        except TimeoutError as exc:
            raise TimeoutError(f"{exc}; the worker's log:\n{self.log[-5000:]}\n{self.metrics()}") from exc

    def terminate(self) -> int:
        """Tell it to stop in order, and return its exit code."""
        return terminate(self.process)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it, however it stands, and remove its log."""
        self.kill()
        self._log.close()


def probe(port: int, path: str) -> int:
    """Ask the HTTP server of a worker for `path`, and return the status; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _accounted(metrics: Counter[str]) -> int:
    names = ("events", "joined", "dead_letters", "tombstones")
    return sum(metrics[f"logloom_{name}_total"] for name in names) - metrics["logloom_unpacked_total"]


def environment(
    kafka: KafkaBroker, *, topics: str | None, events: str, dead: str, group: str, redis: str | None = None, **more: str
) -> dict[str, str]:
    """Make the settings of a worker; `more` are further ones, as `OUTPUT__FORMAT`."""
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA__GROUP_ID": group,
        "KAFKA__SESSION_TIMEOUT_MS": "6000",
        "KAFKA__HEARTBEAT_INTERVAL_MS": "500",
        "OUTPUT__TOPIC": events,
        "OUTPUT__DEAD_LETTER_TOPIC": dead,
        **({} if topics is None else {"TOPICS": topics}),
        **({} if redis is None else {"REDIS__URL": redis}),
        **more,
    }
    return {f"LOGLOOM_{name}": value for name, value in settings.items()}


@contextmanager
def running(settings: Mapping[str, str], *, is_ready: bool = True, module: str = "worker") -> Iterator[WorkerProcess]:
    """Run a worker, by default until it is ready first."""
    worker = WorkerProcess(settings, module=module)
    try:
        if is_ready:
            worker.wait_until_ready()
        yield worker
    finally:
        worker.end()
