"""`python -m tests.chaos.soak`: feed two workers at a steady rate, do mild faults for half an hour, watch what grows.

The faults are those that no process ends by: a worker that leaks does so within one life.
"""

import argparse
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from tests.bench.machine import this_machine
from tests.chaos.checker import Verdict, check, read_dead, read_events, read_lines
from tests.chaos.faults import broker_cut, broker_slow, redis_flushed, redis_frozen, redis_full, redis_killed
from tests.chaos.world import ProxiedBroker, World, new_world, started
from tests.integration.worker_process import DELIVERIES
from tests.kafka_broker import wait_until
from tests.threads import meanwhile

_FAULTS = (broker_cut, redis_frozen, broker_slow, redis_killed, redis_full, redis_flushed)
_SAMPLE_SECONDS = 5.0
#: Share of the time at the beginning in which caches and buffers fill.
_WARM_UP = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a worker holds at a moment."""

    seconds: float
    memory_mib: float
    files: int
    threads: int
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one life of a worker held over time."""

    samples: Sequence[Sample]

    @property
    def settled(self) -> Sequence[Sample]:
        """Leave out the warm-up."""
        end = self.samples[-1].seconds
        return [sample for sample in self.samples if sample.seconds >= _WARM_UP * end]

    def slope(self, name: str) -> float:
        """Return the least-squares slope of a figure after the warm-up, per hour."""
        seconds = np.array([sample.seconds for sample in self.settled])
        values = np.array([getattr(sample, name) for sample in self.settled])
        return float(np.polyfit(seconds, values, 1)[0] * 3600)

    def as_dict(self) -> dict[str, object]:
        """Give it for the report: medians of the settled time's first and last fifth, and the slope of memory."""
        settled = self.settled
        fifth = max(len(settled) // 5, 1)
        told: dict[str, object] = {"memory_mib_per_hour": round(self.slope("memory_mib"), 2)}
        for name in ("memory_mib", "files", "threads", "tasks"):
            values = [getattr(sample, name) for sample in settled]
            told[name] = [round(float(np.median(part)), 1) for part in (values[:fifth], values[-fifth:])]
        return told


@contextmanager
def sampled(world: World) -> Iterator[Mapping[int, list[Sample]]]:
    """Note now and then what each worker holds, by process id, while the body runs."""
    held: defaultdict[int, list[Sample]] = defaultdict(list)
    began = time.monotonic()

    def look(ended: threading.Event) -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            for worker in [slot.worker for slot in world.slots if slot.worker is not None]:
                with suppress(psutil.NoSuchProcess, OSError):  # it ends or begins just now
                    process = psutil.Process(worker.process.pid)
                    held[process.pid].append(
                        Sample(
                            seconds=time.monotonic() - began,
                            memory_mib=process.memory_info().rss / 2**20,
                            files=process.num_fds(),
                            threads=process.num_threads(),
                            tasks=worker.metrics()["logloom_tasks"],
                        )
                    )

    with meanwhile(look):
        yield held


def soak(
    broker: ProxiedBroker, *, delivery: str, seed: int, minutes: float, rate: float
) -> tuple[Verdict, dict[int, Held], list[int]]:
    """Feed for `minutes` with a fault a minute; return what came out, what each worker held, and exit codes."""
    world = new_world(broker, delivery=delivery, seed=seed, rate=rate, workers=2, model="none")
    try:
        feeder = world.feeder.start()
        wait_until(lambda: world.done() > 0, seconds=120, what="the first commit")
        ends = time.monotonic() + 60 * minutes
        with sampled(world) as held:
            for turn in range(max(int(minutes), 1)):
                fault = _FAULTS[turn % len(_FAULTS)]
                begun = time.monotonic()
                fault(world)
                recovery = world.catch_up(world.written())
                print(f"    {fault.__name__}: back after {recovery:.1f} s", flush=True)  # noqa: T201 - progress
                world.pause(max(min(begun + 60, ends) - time.monotonic(), 0))
        feeder.stop()
        world.catch_up(world.written())
        exits, unaccounted = world.exits(), world.unaccounted()
    finally:
        world.end()
    verdict = check(
        read_lines(broker.bootstrap, world.raw),
        read_events(broker.bootstrap, world.events),
        read_dead(broker.bootstrap, world.dead),
    )
    if unaccounted:
        raise RuntimeError(f"the metrics don't account for {unaccounted} records")
    return verdict, {pid: Held(samples=samples) for pid, samples in held.items()}, exits


def draw(png: Path, held: Mapping[int, Held]) -> None:
    """Draw memory, files, threads and tasks over time."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for number, worker in enumerate(held.values(), 1):
        minutes = [sample.seconds / 60 for sample in worker.samples]
        above.plot(minutes, [sample.memory_mib for sample in worker.samples], label=f"worker {number}")
        for name, style in (("files", "-"), ("threads", "--"), ("tasks", ":")):
            values = [getattr(sample, name) for sample in worker.samples]
            below.plot(minutes, values, style, color=f"C{number - 1}", label=f"{name}, worker {number}")
    above.set_ylabel("memory, MiB")
    above.set_ylim(0, 1.25 * above.get_ylim()[1])
    below.set_ylabel("count")
    below.set_ylim(0, 1.5 * below.get_ylim()[1])
    below.set_xlabel("minutes")
    above.legend()
    below.legend(ncols=2, loc="upper right")
    figure.savefig(png, dpi=80, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 if something was lost, doubled, out of order or ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=500, help="lines a second")
    parser.add_argument("--delivery", choices=DELIVERIES, default="exactly-once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write machine, figures and samples there")
    parser.add_argument("--png", type=Path, help="draw them there")
    options = parser.parse_args(arguments)
    with started(ProxiedBroker()) as broker:
        verdict, held, exits = soak(
            broker, delivery=options.delivery, seed=options.seed, minutes=options.minutes, rate=options.rate
        )
    told = {"verdict": verdict.as_dict(), "exits": exits, "workers": [worker.as_dict() for worker in held.values()]}
    print(json.dumps(told, indent=1))  # noqa: T201 - a command's output
    if options.json:
        samples = [[asdict(sample) for sample in worker.samples] for worker in held.values()]
        report = {"machine": asdict(this_machine()), **told, "samples": samples}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.png:
        draw(options.png, held)
    return int(bool(exits) or not verdict.is_right(is_exactly_once=options.delivery == "exactly-once"))


if __name__ == "__main__":
    sys.exit(main())
