"""Processes that are measured: started, watched from outside, and ended whatever happens."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.kafka_broker import KafkaBroker, free_port

ROOT = Path(__file__).parents[2]
#: Longest wait for anything that a benchmark waits for.
PATIENCE_SECONDS = 180.0
_STOP_SECONDS = 30.0
#: Waits without being woken, as `time.sleep` does, but may be called anywhere.
_NEVER = threading.Event()


class Ended(Exception):
    """A process that was being measured ended by itself, or never did what it was to do."""


def pause(seconds: float) -> None:
    """Wait."""
    _NEVER.wait(seconds)


class Measured:
    """A running process."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._watched = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def memory_mib(self) -> float:
        """Resident memory now."""
        return float(self._watched.memory_info().rss) / (1 << 20)

    def peak_memory_mib(self) -> float:
        """Most resident memory that it ever had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        return float(match[1]) / 1024 if match else 0.0

    def wait_until(self, true: Callable[[], bool], what: str, *, every_seconds: float = 0.05) -> None:
        """Wait until `true` holds. Raises Ended if the process ends before, or takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true():
            self.check()
            if time.monotonic() > deadline:
                raise Ended(f"{what}: not within {PATIENCE_SECONDS:.0f} s\n{self.log()}")
            pause(every_seconds)

    def check(self) -> None:
        """Raise Ended if it is not running any more."""
        if self._process.poll() is not None:
            raise Ended(f"ended with {self._process.returncode}:\n{self.log()}")

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def log(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text(errors="replace")[-2000:]


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Measured]:
    """Run `command` for the length of a block, from the repository's root."""
    with tempfile.TemporaryDirectory(prefix="logloom-bench-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=ROOT, env={**os.environ, **(environment or {})}
            )
        try:
            yield Measured(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A running worker, and what it says of itself."""

    process: Measured
    port: int

    def metric(self, name: str) -> float:
        """Sum a metric over its labels; 0 for one that is not there (yet)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        values = (line.rpartition(" ")[2] for line in lines if re.match(rf"{name}[{{ ]", line))
        return sum(map(float, values))


@contextmanager
def running_worker(broker: KafkaBroker, source: str, target: str, model: str, **settings: str) -> Iterator[Worker]:
    """Run `logloom worker` from topic `source` to topic `target`; dead letters go to `target` with `-dead` behind it.

    `settings` are further ones, named as in the environment.
    """
    port = free_port()
    environment = {
        "LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "LOGLOOM_KAFKA__GROUP_ID": f"bench-{target}",
        "LOGLOOM_TOPICS": source,
        "LOGLOOM_OUTPUT__TOPIC": target,
        "LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": f"{target}-dead",
        "LOGLOOM_MODEL__PATH": model,
        "LOGLOOM_METRICS__HOST": "127.0.0.1",
        "LOGLOOM_METRICS__PORT": str(port),
        **settings,
    }
    with running([sys.executable, "-m", "worker", "worker"], environment) as process:
        yield Worker(process=process, port=port)
