"""What goes wrong, by name. Each is done to a world while it is fed, and returns when it is over."""

import signal
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka import TopicPartition

from tests.chaos.checker import read_lines
from tests.chaos.world import SESSION_SECONDS, SmallDiskBroker, World, why_no_small_disk
from tests.integration import faulty_worker
from tests.kafka_broker import wait_until

#: Bytes that no template looks like.
_POISON = b"\xff\x00not a template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, and what it needs."""

    name: str
    title: str
    do: Callable[[World], None]
    #: `none` where templates are known; `base` where they must be learned again.
    model: str = "none"
    workers: int = 2
    #: What is run as a worker, and further variables of its environment by the world's folder.
    module: str = "worker"
    more: Callable[[Path], Mapping[str, str]] = lambda _: {}
    #: The share of lines of kinds that hardly come again, for the model to have work.
    novel: float = 0.0
    #: Whether lines become dead letters; with any other fault none may.
    buries: bool = False
    #: Whether the broker must have a disk of its own.
    needs_small_disk: bool = False
    #: Tells why it can't be done here.
    why_not: Callable[[], str | None] = lambda: None


def kill(world: World) -> None:
    """End workers at random moments."""
    for _ in range(10):
        world.some_time(0.2, 3)
        world.any_worker().process.kill()


def zombie(world: World) -> None:
    """Freeze a worker beyond its session and let it go on: another one has its partitions then."""
    world.some_time(0.2, 1)
    frozen = world.any_worker().process
    frozen.send_signal(signal.SIGSTOP)
    world.pause(SESSION_SECONDS + 3)
    frozen.send_signal(signal.SIGCONT)
    world.pause(1)


def stop(world: World) -> None:
    """Stop workers in order in whatever state they are, soon after their start too."""
    for _ in range(5):
        world.some_time(0.1, 4)
        world.any_worker().process.terminate()


def storm(world: World) -> None:
    """Have workers join and leave every few seconds."""
    for _ in range(3):
        slot = world.join()
        world.some_time(3, 6)
        slot.leave()
        world.some_time(0.5, 2)


def scale(world: World) -> None:
    """Add a worker and take it away, as an autoscaler does: it has no name of its own in the group."""
    with world.watch(set(world.broker.ends(world.raw))):
        slot = world.join(is_static=False)
        world.wait_until_ready()
        world.some_time(2, 4)
        slot.leave()
        wait_until(lambda: slot.worker is None, seconds=60, what="the worker's end")
        world.some_time(2, 4)


def rolling_restart(world: World) -> None:
    """Stop one worker after the other in order; each is back before the next. The others must not notice."""
    for slot in list(world.slots):
        world.some_time(0.5, 2)
        others = world.partitions_of(other.name for other in world.slots if other is not slot)
        with world.watch(others):
            world.restart(slot)
            world.wait_until_ready()


def broker_killed(world: World) -> None:
    """Kill the broker and start it again on what it stored."""
    world.some_time(0.2, 1)
    world.broker.kill()
    world.some_time(1, 4)
    world.broker.restart()


def broker_cut(world: World) -> None:
    """Cut the workers off the broker, twice."""
    for _ in range(2):
        world.some_time(0.2, 1)
        world.broker.proxy.cut()
        world.some_time(1, 4)
        world.broker.proxy.heal()


def broker_hangs(world: World) -> None:
    """Let the broker's connections stand and pass nothing, beyond the session."""
    world.broker.proxy.hang()
    world.pause(SESSION_SECONDS + 3)
    world.broker.proxy.heal()


def broker_slow(world: World) -> None:
    """Delay everything between workers and broker."""
    world.broker.proxy.delay_seconds = 0.2
    world.pause(8)
    world.broker.proxy.heal()


def redis_killed(world: World) -> None:
    """Kill Redis; it comes back empty."""
    world.redis.stop()
    world.some_time(1, 3)
    world.redis.start()


def redis_flushed(world: World) -> None:
    """Empty Redis."""
    with world.redis.client() as client:
        client.flushall()
    world.pause(2)


def redis_frozen(world: World) -> None:
    """Let Redis answer nothing for a while."""
    world.redis.freeze()
    world.some_time(2, 4)
    world.redis.thaw()


def redis_full(world: World) -> None:
    """Let Redis refuse every write."""
    with world.redis.client() as client:
        client.config_set("maxmemory", "1")
        client.config_set("maxmemory-policy", "noeviction")
        world.pause(3)
        client.config_set("maxmemory", "0")


def redis_wrong_type(world: World) -> None:
    """Put another type under every key."""
    with world.redis.client() as client:
        for key in client.keys("logloom:*"):
            client.delete(key)
            client.set(key, "what is this")
    world.any_worker().process.kill()
    world.pause(3)
    with world.redis.client() as client:
        client.flushall()


def redis_poisoned(world: World) -> None:
    """Put a value under a template's key that is none."""
    with world.redis.client() as client:
        for key in client.keys("logloom:*:templates"):
            for name in client.hkeys(key):
                client.hset(key, name, _POISON)
    world.any_worker().process.kill()
    world.pause(3)
    with world.redis.client() as client:
        client.flushall()


def partitions_added(world: World) -> None:
    """Give the input more partitions and write to them."""
    with world.broker.admin() as admin:
        admin.create_partitions({world.raw: 5})
    world.feeder.partitions = 5
    world.pause(3)


def topic_recreated(world: World) -> None:
    """Delete the input, read to its end, and create it again with other lines in it."""
    world.pause(2)
    world.feeder.pause()
    world.catch_up(world.written())
    world.former = read_lines(world.broker.bootstrap, world.raw)
    with world.broker.admin() as admin:
        admin.delete_topics([world.raw])
        wait_until(lambda: world.raw not in admin.list_topics(), seconds=30, what="the topic's end")
    world.pause(1)
    world.broker.create_topic(world.raw, world.feeder.partitions)
    world.feeder.resume()


def offset_out_of_range(world: World) -> None:
    """Delete what the group has read, and some more, while no worker runs: its offsets point before the beginning."""
    world.pause(2)
    world.feeder.pause()
    world.catch_up(world.written())
    world.former = read_lines(world.broker.bootstrap, world.raw)
    world.leave_all()
    world.feeder.resume()
    world.pause(2)
    world.feeder.pause()
    ends = world.broker.ends(world.raw)
    with world.broker.admin() as admin:
        admin.delete_records({TopicPartition(world.raw, number): end for number, end in ends.items()})
    world.feeder.resume()
    for _ in range(2):
        world.join()
    world.wait_until_ready()


def reload(world: World) -> None:
    """Have workers read other settings again and again, by signals and by calls in Redis, several at once too."""
    for number in range(8):
        most = f"[cache]\nmax_templates = {50_000 + number // 2}\n"
        world.file.write_text(f"{most}[multiline]\nmax_lines = {400 + number}\n")
        for _ in range(world.chance.choice([1, 3])):
            world.any_worker().process.send_signal(signal.SIGHUP)
        world.some_time(0.2, 1.5)
        with world.redis.client() as client:
            client.xadd("logloom:reload", {"reload": "*"}, maxlen=1, approximate=False)
        world.some_time(0.2, 1.5)


def model_raises(world: World) -> None:
    """Let the model fail at everything, until a worker ended for it."""
    ended = len(world.exits())
    _set_model(world, "raise")
    world.wait_for_exit(1, beyond=ended)
    world.some_time(1, 3)
    _set_model(world, "")


def model_poisoned(world: World) -> None:
    """Let the model fail at some messages."""
    _set_model(world, "poisoned walrus")
    world.pause(6)
    _set_model(world, "")


def model_lacks_memory(world: World) -> None:
    """Let the device hold one row at a time, then none, until a worker ended for it."""
    _set_model(world, "lack 1")
    world.pause(4)
    ended = len(world.exits())
    _set_model(world, "lack 0")
    world.wait_for_exit(1, beyond=ended)
    _set_model(world, "")


def model_hangs(world: World) -> None:
    """Let the model answer nothing, until a worker ended for it."""
    ended = len(world.exits())
    _set_model(world, "hang")
    world.wait_for_exit(1, beyond=ended)
    _set_model(world, "")


def _set_model(world: World, what: str) -> None:
    (world.folder / "model").write_text(what)


def _with_model_file(folder: Path) -> dict[str, str]:
    return {faulty_worker.VARIABLE: str(folder / "model"), "LOGLOOM_MODEL__TIMEOUT_SECONDS": "3"}


def model_fault(name: str, title: str, do: Callable[[World], None], *, buries: bool = False) -> Fault:
    """Make a fault of a model that is told what to do by a file."""
    return Fault(
        name=name,
        title=title,
        do=do,
        model="base",
        module=faulty_worker.__name__,
        more=_with_model_file,
        novel=0.01,
        buries=buries,
    )


def disk_full(world: World) -> None:
    """Fill the broker's disk until it gives up; then make room, and start it again, as an operator would."""
    broker = world.broker
    assert isinstance(broker, SmallDiskBroker)
    world.some_time(0.2, 1)
    broker.fill()
    wait_until(lambda: broker.has_ended, seconds=60, what="a broker that gives up for want of room")
    world.some_time(1, 3)
    broker.free()
    broker.restart()


def clock_jumps(world: World) -> None:
    """Let the workers' wall clock jump to and fro; nobody may end, nor measure what can't be."""
    ended = len(world.exits())
    for offset in ("+1h", "-1h", "+1d", "+0"):
        (world.folder / "clock").write_text(f"{offset}\n")
        world.pause(4)
        metrics = world.any_worker().metrics()
        assert metrics["logloom_latency_seconds_sum"] >= 0
        assert metrics["logloom_latency_seconds_count"] <= metrics["logloom_events_total"]
    assert len(world.exits()) == ended, "a worker ended"


def _with_clock_file(folder: Path) -> dict[str, str]:
    (folder / "clock").write_text("+0\n")
    return {
        "LD_PRELOAD": str(_faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        # Else each wait for Python's lock is changed, and threads take five times as long.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def _faketime() -> Path:
    return Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "", "faketime", "libfaketimeMT.so.1")


def _why_no_clock() -> str | None:
    return None if _faketime().exists() else f"there is no {_faketime()}: install the package faketime"


FAULTS = (
    Fault(name="kill", title="SIGKILL of 10 workers", do=kill),
    Fault(name="zombie", title="SIGSTOP beyond the session, SIGCONT", do=zombie),
    Fault(name="stop", title="SIGTERM of 5 workers, in any state", do=stop),
    Fault(name="rolling-restart", title="rolling restart of 3 workers", do=rolling_restart, workers=3),
    Fault(name="scale", title="a worker more, then gone", do=scale),
    Fault(name="storm", title="workers join and leave", do=storm),
    Fault(name="broker-killed", title="broker killed and restarted", do=broker_killed),
    Fault(name="broker-cut", title="connections to the broker cut", do=broker_cut),
    Fault(name="broker-hangs", title="broker hangs beyond the session", do=broker_hangs),
    Fault(name="broker-slow", title="broker slow", do=broker_slow),
    Fault(name="redis-killed", title="Redis killed, back empty", do=redis_killed, model="base"),
    Fault(name="redis-flushed", title="Redis flushed", do=redis_flushed, model="base"),
    Fault(name="redis-frozen", title="Redis frozen", do=redis_frozen, model="base"),
    Fault(name="redis-full", title="Redis out of memory", do=redis_full, model="base"),
    Fault(name="redis-wrong-type", title="other types under Redis's keys", do=redis_wrong_type, model="base"),
    Fault(name="redis-poisoned", title="poisoned values in Redis", do=redis_poisoned, model="base"),
    Fault(name="partitions-added", title="partitions added", do=partitions_added),
    Fault(name="topic-recreated", title="topic deleted and created again", do=topic_recreated),
    Fault(name="offset-out-of-range", title="committed offsets out of range", do=offset_out_of_range),
    Fault(name="reload", title="settings reloaded, 16 times", do=reload),
    model_fault("model-raises", "model raises", model_raises),
    model_fault("model-poisoned", "model raises at some messages", model_poisoned, buries=True),
    model_fault("model-lacks-memory", "model's device out of memory", model_lacks_memory),
    model_fault("model-hangs", "model hangs", model_hangs),
    Fault(
        name="disk-full",
        title="broker's disk full",
        do=disk_full,
        needs_small_disk=True,
        why_not=why_no_small_disk,
    ),
    Fault(
        name="clock-jumps", title="clock jumps by hours", do=clock_jumps, more=_with_clock_file, why_not=_why_no_clock
    ),
)
