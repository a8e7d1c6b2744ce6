"""A broker behind a proxy, a Redis, and workers that are started again when they end, as an orchestrator would."""

import asyncio
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from tests.chaos.checker import Line
from tests.chaos.feed import TEMPLATES, Feeder
from tests.chaos.proxy import Proxy
from tests.integration.worker_process import WorkerProcess, environment
from tests.kafka_broker import JavaBroker, NoBroker, free_port, wait_until
from tests.redis_server import RedisServer, start_redis
from tests.threads import meanwhile
from worker.cache.store import TemplateStore

#: Silence after which the group goes on without a worker.
SESSION_SECONDS = 6
#: Longest wait for the workers to catch up after a fault.
_PATIENCE_SECONDS = 120.0
_PARTITIONS = 3
#: What the disk that can be filled holds.
_DISK_BYTES = 256 << 20


class ProxiedBroker(JavaBroker):
    """A broker with a second listener, whose clients come through a proxy."""

    def __init__(self) -> None:
        super().__init__({"PROXIED": "PLAINTEXT"})
        inner, outer = int(self.addresses["PROXIED"].rpartition(":")[2]), free_port()
        self.proxy = Proxy(outer, inner)
        self.proxied = f"localhost:{outer}"
        with self._properties.open("a") as properties:  # of a name's lines the last counts
            properties.write(f"advertised.listeners=PLAINTEXT://{self.bootstrap},PROXIED://{self.proxied}\n")


class SmallDiskBroker(ProxiedBroker):
    """A broker whose log lies on a small file system of its own, which nothing else on this machine sees."""

    def __init__(self) -> None:
        super().__init__()
        self._disk = self._folder / "log"
        self._disk.mkdir()
        # The file system lives as long as this process, in a namespace of mounts of its own.
        mount = f"mount -t tmpfs -o size={_DISK_BYTES} logloom {self._disk} && echo done && exec sleep infinity"
        self._holder = subprocess.Popen(["unshare", "-m", "sh", "-c", mount], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"done\n":
            self._holder.wait()
            raise NoBroker("no file system can be mounted here")
        self.within = ("nsenter", "-t", str(self._holder.pid), "-m")

    @property
    def has_ended(self) -> bool:
        """Whether the broker gave up."""
        return self._process is None or self._process.poll() is not None

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 16))

    def free(self) -> None:
        """Take away what fills it."""
        self._ballast.unlink()

    def stop(self) -> None:
        """End the broker, and the file system with it."""
        super().stop()
        self._holder.kill()
        self._holder.communicate()

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{self._disk}/ballast")


@contextmanager
def started(broker: ProxiedBroker) -> Iterator[ProxiedBroker]:
    """Run a broker and its proxy."""
    try:
        broker.start()
        broker.proxy.start()
        try:
            yield broker
        finally:
            broker.proxy.stop()
    finally:
        broker.stop()


def why_no_small_disk() -> str | None:
    """Tell why no `SmallDiskBroker` can be had here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                ["unshare", "-m", "mount", "-t", "tmpfs", "logloom", folder], capture_output=True, check=False
            )
        except OSError as exc:
            return str(exc)
    return None if done.returncode == 0 else f"no file system can be mounted: {done.stderr.decode().strip()}"


class Slot:
    """The place of one worker: while it is kept, there is a process in it."""

    def __init__(self, name: str, settings: Mapping[str, str], module: str, *, is_static: bool) -> None:
        """Begin with a process that is a static member of the group under this name, or else has none there."""
        self._settings = {**settings, **({"LOGLOOM_KAFKA__GROUP_INSTANCE_ID": name} if is_static else {})}
        self._module = module
        #: Whether a process that ends is started again.
        self.is_kept = True
        self.name = name
        self.starts = 0
        #: Exit codes of processes that ended by themselves or by a fault.
        self.exits: list[int] = []
        self.worker: WorkerProcess | None = None
        self._begin()

    def look(self) -> None:
        """Start a process where one is missing."""
        if self.worker is None or (code := self.worker.process.poll()) is None:
            return
        self.exits.append(code)
        self.worker.end()
        self.worker = None
        if self.is_kept:
            self._begin()

    def leave(self) -> None:
        """Stop in order, and stay empty."""
        self.is_kept = False
        if self.worker is not None:
            with suppress(ProcessLookupError):
                self.worker.process.terminate()

    def end(self) -> None:
        """End it at once."""
        self.is_kept = False
        if self.worker is not None:
            self.worker.end()
            self.worker = None

    def _begin(self) -> None:
        self.starts += 1
        self.worker = WorkerProcess(self._settings, module=self._module)


@dataclass
class World:
    """What a fault can be done to."""

    broker: ProxiedBroker
    redis: RedisServer
    chance: random.Random
    settings: dict[str, str]
    raw: str
    events: str
    dead: str
    group: str
    feeder: Feeder
    #: The workers' settings beside their variables.
    file: Path
    #: What is run as a worker.
    module: str
    #: Files by which faults are told to what runs in the workers.
    folder: Path
    slots: list[Slot] = field(default_factory=list)
    #: Lines that were read and do not stand in the input any more.
    former: list[Line] = field(default_factory=list)
    #: Seconds in which a partition stood still that was watched: nothing was done to its worker.
    longest_pause: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def pause(self, seconds: float) -> None:
        """Let things go on for a while: the fault's own length, not a wait for something."""
        threading.Event().wait(seconds)

    def some_time(self, least: float, most: float) -> None:
        """Let things go on for a time drawn by chance."""
        self.pause(self.chance.uniform(least, most))

    def any_worker(self) -> WorkerProcess:
        """Choose a worker that runs, by chance."""
        wait_until(lambda: any(slot.worker for slot in self.slots), seconds=60, what="a worker")
        with self._lock:
            return self.chance.choice([slot.worker for slot in self.slots if slot.worker is not None])

    def restart(self, slot: Slot) -> None:
        """Stop the worker in a place in order; return when another one is in it."""
        starts, worker = slot.starts, slot.worker
        if worker is not None:
            worker.process.terminate()
        wait_until(lambda: slot.starts > starts, seconds=60, what="another worker")

    def partitions_of(self, names: Iterable[str]) -> set[int]:
        """Return which partitions of the input belong to the workers of these names."""
        wanted, found = set(names), set()
        for member in self.broker.members(self.group):
            if member["group_instance_id"] in wanted:
                found |= {
                    at for topic in member["member_assignment"]["assigned_partitions"] for at in topic["partitions"]
                }
        return found

    @contextmanager
    def watch(self, partitions: set[int]) -> Iterator[None]:
        """Note the longest time in which the group committed nothing of a partition, while the body runs."""

        def look(ended: threading.Event) -> None:
            moved = dict.fromkeys(partitions, time.monotonic())
            before: dict[tuple[str, int], int] = {}
            while not ended.is_set():
                there, now = self.broker.committed(self.group), time.monotonic()
                for partition in partitions:
                    if there.get((self.raw, partition)) != before.get((self.raw, partition)):
                        moved[partition] = now
                    self.longest_pause = max(self.longest_pause, now - moved[partition])
                before = there

        with meanwhile(look):
            yield

    def join(self, *, is_static: bool = True) -> Slot:
        """Add a worker."""
        with self._lock:
            slot = Slot(f"{self.group}-{len(self.slots)}", self.settings, self.module, is_static=is_static)
            self.slots.append(slot)
            return slot

    def supervise(self) -> None:
        """Start workers again that end, until the world ends."""

        def run() -> None:
            while not self._stopping.wait(0.2):
                with self._lock:
                    for slot in self.slots:
                        slot.look()

        threading.Thread(target=run, daemon=True).start()

    def leave_all(self) -> None:
        """Stop every worker in order, and wait until they have ended."""
        for slot in self.slots:
            slot.leave()
        wait_until(lambda: all(slot.worker is None for slot in self.slots), seconds=60, what="the workers' end")

    def wait_until_ready(self) -> None:
        """Wait until each worker that is kept has its partitions."""

        def is_ready() -> bool:
            with self._lock:
                running = [slot.worker for slot in self.slots if slot.is_kept]
                return all(worker is not None and worker.status("/readyz") == 200 for worker in running)

        wait_until(is_ready, seconds=_PATIENCE_SECONDS, what="workers that are ready")

    def written(self) -> int:
        """Return how many records the input has, those of former lives of its topic left out."""
        return sum(self.broker.ends(self.raw).values())

    def done(self) -> int:
        """Return how many of them the group has committed."""
        return sum(at for (topic, _), at in self.broker.committed(self.group).items() if topic == self.raw)

    def catch_up(self, goal: int) -> float:
        """Wait until the group committed `goal` records; return how many seconds it took."""
        begun = time.monotonic()

        def is_done() -> bool:
            with suppress(Exception):  # whatever the broker's trouble is: the next look tells
                return self.done() >= goal
            return False

        wait_until(is_done, seconds=_PATIENCE_SECONDS, what=f"{goal} of the records committed")
        return time.monotonic() - begun

    def unaccounted(self) -> int:
        """Return how many records the workers' metrics can't account for, once they have nothing in flight."""
        told: list[int] = []

        def are_done() -> bool:
            with self._lock:
                workers = [slot.worker for slot in self.slots if slot.worker is not None and slot.is_kept]
            with suppress(OSError):  # one is being started again
                if not any(worker.metrics()["logloom_records_in_flight"] for worker in workers):
                    told.append(sum(abs(worker.unaccounted()) for worker in workers))
            return bool(told)

        wait_until(are_done, seconds=_PATIENCE_SECONDS, what="workers with nothing in flight")
        return told[0]

    def exits(self) -> list[int]:
        """Return the exit codes of processes that ended."""
        with self._lock:
            return [code for slot in self.slots for code in slot.exits]

    def wait_for_exit(self, code: int, *, beyond: int) -> None:
        """Wait until more than `beyond` processes ended, one of these with `code`."""
        wait_until(
            lambda: code in self.exits()[beyond:], seconds=_PATIENCE_SECONDS, what=f"a worker that ends by {code}"
        )

    def end(self) -> None:
        """Stop everything but the broker."""
        self._stopping.set()
        with self._lock:
            for slot in self.slots:
                slot.end()
        self.redis.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def new_world(
    broker: ProxiedBroker,
    *,
    delivery: str,
    seed: int,
    rate: float,
    workers: int,
    model: str,
    novel: float = 0.0,
    module: str = "worker",
    more: Callable[[Path], Mapping[str, str]] = lambda _: {},
) -> World:
    """Make topics, a filled Redis and workers, and wait until they read.

    `novel` is the share of lines that no template knows, `module` what is run as a worker, and `more` gives further
    variables of its environment by the folder of the world.
    """
    folder = Path(tempfile.mkdtemp(prefix="logloom-chaos-"))
    redis = start_redis()
    if model == "none":
        fill(redis)
    raw, dead = broker.new_topic("raw", _PARTITIONS), broker.new_topic("dead", 1)
    events = broker.new_topic("events", 2 * _PARTITIONS)
    group = f"chaos-{raw}"
    # A fresh broker makes the topic of offsets first. Workers wait for it by `time.sleep`, which libfaketime breaks.
    wait_until(lambda: _has_coordinator(broker, group), seconds=60, what="the group's coordinator")
    file = folder / "logloom.toml"
    file.touch()
    settings = environment(
        broker,
        topics=raw,
        events=events,
        dead=dead,
        group=group,
        redis=redis.url,
        CONFIG=str(file),
        MODEL__PATH=model,
        KAFKA__DELIVERY=delivery,
        KAFKA__METADATA_MAX_AGE_MS="1000",
        # Longer than any fault and its cure: else lines that are delayed come too late for their trace.
        MULTILINE__SECONDS="30",
    )
    settings["LOGLOOM_KAFKA__BOOTSTRAP_SERVERS"] = broker.proxied
    settings["LOGLOOM_KAFKA__SESSION_TIMEOUT_MS"] = str(SESSION_SECONDS * 1000)
    settings |= more(folder)
    world = World(
        broker=broker,
        redis=redis,
        chance=random.Random(seed),
        settings=settings,
        raw=raw,
        events=events,
        dead=dead,
        group=group,
        file=file,
        feeder=Feeder(broker.bootstrap, raw, partitions=_PARTITIONS, rate=rate, seed=seed, novel=novel),
        module=module,
        folder=folder,
    )
    for _ in range(workers):
        world.join()
    world.supervise()
    world.wait_until_ready()
    return world


def _has_coordinator(broker: ProxiedBroker, group: str) -> bool:
    try:
        broker.committed(group)
    except (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError):
        return False
    return True


def fill(redis: RedisServer) -> None:
    """Put the lines' templates into Redis, as another worker would."""

    async def publish() -> None:
        store = TemplateStore.connect(redis.url, parser_version="none")
        await store.load("default")
        await store.publish("default", [(template, number) for number, template in enumerate(TEMPLATES, 1)])
        await store.close()

    asyncio.run(publish())
