"""A real rsyslog for tests, with what it needs to read Kafka."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.absent import absent

#: Its modules beside the server, and Debian's packages of them.
_PACKAGES = {"imkafka.so": "rsyslog-kafka", "omelasticsearch.so": "rsyslog-elasticsearch"}


def require_rsyslog(module: str) -> None:
    """Skip where rsyslog or its module is not installed; fail there if LOGLOOM_REQUIRE_SERVERS=1."""
    if shutil.which("rsyslogd") is None:
        absent("there is no `rsyslogd` (Debian's package rsyslog)")
    if not any(Path("/usr/lib").glob(f"*/rsyslog/{module}")):
        absent(f"rsyslog has no {module} (Debian's package {_PACKAGES[module]})")


def complaints(file: Path) -> str:
    """Return what rsyslog says against a configuration; nothing if it takes it."""
    done = subprocess.run(["rsyslogd", "-N1", "-f", str(file)], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stderr


@contextmanager
def rsyslog(file: Path) -> Iterator[None]:
    """Run rsyslog with a configuration, and end it in order."""
    process = subprocess.Popen(["rsyslogd", "-n", "-iNONE", "-f", str(file)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
