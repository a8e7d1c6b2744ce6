"""What goes wrong, by name. Each is done to a world while it is fed, and returns when it is over."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition

from tests.chaos.checker import read_lines
from tests.chaos.world import SESSION_SECONDS, World
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


def kill(world: World) -> None:
    """End workers at random moments."""
    for _ in range(5):
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
    admin = KafkaAdminClient(bootstrap_servers=world.broker.bootstrap)
    try:
        admin.create_partitions({world.raw: 5})
    finally:
        admin.close()
    world.feeder.partitions = 5
    world.pause(3)


def topic_recreated(world: World) -> None:
    """Delete the input, read to its end, and create it again with other lines in it."""
    world.pause(2)
    world.feeder.pause()
    world.catch_up(world.written())
    world.former = read_lines(world.broker.bootstrap, world.raw)
    admin = KafkaAdminClient(bootstrap_servers=world.broker.bootstrap)
    try:
        admin.delete_topics([world.raw])
        wait_until(lambda: world.raw not in admin.list_topics(), seconds=30, what="the topic's end")
    finally:
        admin.close()
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
    admin = KafkaAdminClient(bootstrap_servers=world.broker.bootstrap)
    try:
        ends = world.broker.ends(world.raw)
        admin.delete_records({TopicPartition(world.raw, number): end for number, end in ends.items()})
    finally:
        admin.close()
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


FAULTS = (
    Fault(name="kill", title="SIGKILL of 5 workers", do=kill),
    Fault(name="zombie", title="SIGSTOP beyond the session, SIGCONT", do=zombie),
    Fault(name="stop", title="SIGTERM of 5 workers, in any state", do=stop),
    Fault(name="rolling-restart", title="rolling restart of 3 workers", do=rolling_restart, workers=3),
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
)
