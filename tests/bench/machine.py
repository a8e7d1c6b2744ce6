"""On what a benchmark ran: without it a figure says nothing."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_ROOT = Path(__file__).parents[2]
#: Packages that decide the figures.
_PACKAGES = (
    *("aiokafka", "faust-streaming", "numba", "numpy", "redis", "torch"),
    *("confluent-kafka", "drain3", "quixstreams"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, the code and the moment."""

    cpu: str
    #: Processors that this process may run on.
    cores: int
    memory_gib: float
    system: str
    python: str
    #: Commit of the code.
    commit: str
    #: The files differ from that commit.
    is_changed: bool
    date: str
    #: Load average of the last minute when the run began: others may have used the machine too.
    load: float
    versions: dict[str, str]


def this_machine() -> Machine:
    """Look at where this runs."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / (1 << 30), 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        commit=_git("rev-parse", "--short=12", "HEAD") or "unknown",
        is_changed=bool(_git("status", "--porcelain", "--untracked-files=no", "--", "worker", "tests/bench")),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        load=os.getloadavg()[0],
        versions={name: found for name in _PACKAGES if (found := _version(name))},
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
