"""Hops where nothing is traced: they cost nothing and load nothing."""

import subprocess
import sys

from worker.hops import NO_TRACING, UNTRACED, asking_redis, ending, hop, in_work, note, sending

#: What a worker is made of, and a batch that takes its path, a miss too.
_WORK = """
import asyncio, sys
import worker.cli.checks, worker.cli.worker, worker.preflight, worker.reloading
from worker.assembly import assemble
from worker.settings import load

settings = {"TOPICS": "t", "REDIS__URL": "redis://localhost", "MODEL__PATH": "none"}
assemble(load(environment={f"LOGLOOM_{name}": value for name, value in settings.items()}))

from tests.test_pipeline import bench, lines

async def work():
    async with bench() as it:
        await it.take(lines(b"took 1 ms", b"took 2 ms"))
        await it.drain()
        assert len(it.events) == 2

asyncio.run(work())
loaded = ("worker.tracing", "opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "requests")
print(sorted(name for name in sys.modules if name.startswith(loaded)))
"""


def test_who_traces_nothing_loads_nothing() -> None:
    """What makes and sends spans is not imported where no collector is named."""
    done = subprocess.run([sys.executable, "-c", _WORK], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines()[-1:], done.returncode) == (["[]"], 0), done.stderr


def test_a_hop_of_nothing_makes_nothing() -> None:
    """Every hop is the same object, which takes no note of anything, and logs get no ids."""
    for one in (hop("look up", rows=1), asking_redis("find"), sending({"events": 1}), ending()):
        assert one is UNTRACED
    with NO_TRACING.batch("shop", "raw", 0, offset=1, since_ns=2) as trace, hop("look up"):
        note(events=1)
        assert (trace, in_work()) == (UNTRACED, UNTRACED)
        assert (in_work().ids, in_work().traceparent) == (None, None)
