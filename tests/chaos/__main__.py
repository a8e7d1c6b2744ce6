"""`python -m tests.chaos`: do every fault in both modes of delivery, compare output with input, report."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.machine import this_machine
from tests.chaos.checker import Verdict, check, read_dead, read_events, read_lines
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.world import SESSION_SECONDS, ProxiedBroker, SmallDiskBroker, new_world, started
from tests.integration.worker_process import DELIVERIES
from tests.kafka_broker import wait_until

#: Longest that the group may take, beside the session, to come back to where it would be.
RECOVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault in one mode."""

    fault: str
    delivery: str
    verdict: Verdict
    #: Seconds from the fault's end until everything that stood in the input then was committed.
    recovery_seconds: float
    #: Longest time in which a partition stood still whose worker nothing was done to, where that was watched.
    pause_seconds: float
    #: Records that the metrics of the workers that run at the end don't account for.
    unaccounted: int
    #: Processes that were started, and the exit codes of those that ended.
    starts: int
    exits: tuple[int, ...]
    seconds: float
    #: Whether the fault makes dead letters.
    buries: bool = False

    @property
    def is_right(self) -> bool:
        """Tell whether what is promised was kept."""
        is_dead_by_fault = bool(self.verdict.dead) == self.buries
        is_kept = self.verdict.is_right(is_exactly_once=self.delivery == "exactly-once")
        return is_kept and is_dead_by_fault and not self.unaccounted

    def as_dict(self) -> dict[str, object]:
        """Give it for the report."""
        return {
            "fault": self.fault, "delivery": self.delivery, **self.verdict.as_dict(), "unaccounted": self.unaccounted,
            "recovery_seconds": round(self.recovery_seconds, 1), "pause_seconds": round(self.pause_seconds, 1),
            "starts": self.starts, "exits": self.exits, "seconds": round(self.seconds, 1), "right": self.is_right,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A trial that did not come to its end."""

    fault: str
    delivery: str
    error: str
    is_right: bool = False

    def as_dict(self) -> dict[str, object]:
        """Give it for the report."""
        return {"fault": self.fault, "delivery": self.delivery, "error": self.error, "right": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A trial that can't be done here: neither right nor wrong."""

    fault: str
    delivery: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        """Give it for the report."""
        return {"fault": self.fault, "delivery": self.delivery, "skipped": self.reason}


def run(broker: ProxiedBroker, fault: Fault, *, delivery: str, seed: int, lines: int, rate: float) -> Trial:
    """Feed `lines` lines, do the fault meanwhile, wait for the end and compare."""
    begun = time.monotonic()
    world = new_world(
        broker,
        delivery=delivery,
        seed=seed,
        rate=rate,
        workers=fault.workers,
        model=fault.model,
        novel=fault.novel,
        module=fault.module,
        more=fault.more,
    )
    try:
        feeder = world.feeder.start()
        wait_until(lambda: world.done() > 0, seconds=120, what="the first commit")
        fault.do(world)
        goal = world.written()
        recovery = world.catch_up(goal)
        wait_until(lambda: feeder.fed >= lines, seconds=lines / rate + 60, what=f"{lines} lines")
        feeder.stop()
        world.catch_up(world.written())
        unaccounted = world.unaccounted()
        starts, exits = sum(slot.starts for slot in world.slots), world.exits()
    finally:
        world.end()
    lines_there = [*world.former, *read_lines(broker.bootstrap, world.raw)]
    events, dead = read_events(broker.bootstrap, world.events), read_dead(broker.bootstrap, world.dead)
    return Trial(
        fault=fault.name,
        delivery=delivery,
        verdict=check(lines_there, events, dead),
        recovery_seconds=recovery,
        pause_seconds=world.longest_pause,
        unaccounted=unaccounted,
        starts=starts,
        exits=tuple(exits),
        seconds=time.monotonic() - begun,
        buries=fault.buries,
    )


def table(trials: Sequence[Trial | Broken | Skipped]) -> str:
    """Write the report for people."""
    titles = {fault.name: fault.title for fault in FAULTS}
    rows = [
        "| fault | delivery | lines | lost | doubled | out of order | traces cut | dead letters | recovery | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in trials:
        if isinstance(one, Broken):
            rows.append(f"| {titles[one.fault]} | {one.delivery} | | | | | | | | {one.error.splitlines()[0]} |")
            continue
        if isinstance(one, Skipped):
            rows.append(f"| {titles[one.fault]} | {one.delivery} | | | | | | | | skipped: {one.reason} |")
            continue
        told = one.verdict
        rows.append(
            f"| {titles[one.fault]} | {one.delivery} | {told.lines:,} | {told.lost} | {told.doubled} "
            f"| {told.disordered} | {told.cut} | {told.dead} | {one.recovery_seconds:.1f} s "
            f"| {'' if one.is_right else 'WRONG'} |"
        )
    return "\n".join(rows)


def attempt(
    broker: ProxiedBroker, fault: Fault, *, delivery: str, seed: int, lines: int, rate: float
) -> Trial | Broken | Skipped:
    """Run a trial; one that can't be ended does not end the others."""
    if (reason := fault.why_not()) is not None:
        return Skipped(fault=fault.name, delivery=delivery, reason=reason)
    try:
        if not fault.needs_small_disk:
            return run(broker, fault, delivery=delivery, seed=seed, lines=lines, rate=rate)
        with started(SmallDiskBroker()) as own:
            return run(own, fault, delivery=delivery, seed=seed, lines=lines, rate=rate)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is what came of the fault
        return Broken(fault=fault.name, delivery=delivery, error=str(exc) or repr(exc))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code is 1 if something was wrong."""
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--fault", action="append", choices=names, help="this one; may be given more than once")
    parser.add_argument("--delivery", action="append", choices=DELIVERIES, help="in this mode; default: both")
    parser.add_argument("--records", type=int, default=1_000_000, help="lines in all")
    parser.add_argument("--rate", type=float, default=2_000, help="lines a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write machine and figures there")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if fault.name in (options.fault or names)]
    deliveries = options.delivery or DELIVERIES
    lines = max(options.records // (len(faults) * len(deliveries)), 1)
    trials: list[Trial | Broken | Skipped] = []
    try:
        with started(ProxiedBroker()) as broker:
            for number, fault in enumerate(faults):
                for delivery in deliveries:
                    seed = options.seed * 1000 + number
                    print(f"==> {fault.title}, {delivery}", flush=True)  # noqa: T201 - a command's output
                    one = attempt(broker, fault, delivery=delivery, seed=seed, lines=lines, rate=options.rate)
                    trials.append(one)
                    print(f"    {json.dumps(one.as_dict())}", flush=True)  # noqa: T201
        print(table(trials))  # noqa: T201
    finally:
        if options.json:
            told = [one.as_dict() for one in trials]
            report = {"machine": asdict(this_machine()), "seed": options.seed, "trials": told}
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    for one in trials:
        if isinstance(one, Trial) and one.recovery_seconds > SESSION_SECONDS + RECOVERY_SECONDS:
            print(f"{one.fault}, {one.delivery}: took {one.recovery_seconds:.1f} s to come back")  # noqa: T201
    return int(not all(one.is_right for one in trials if not isinstance(one, Skipped)))


if __name__ == "__main__":
    sys.exit(main())
