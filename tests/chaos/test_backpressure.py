"""What piles up stays in the input while the output, the model or Redis is slow.

On a real broker and a real Redis, both behind proxies that are slow on purpose.
"""

import random
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.chaos.feed import WORDS
from tests.chaos.proxy import Proxy
from tests.chaos.world import ProxiedBroker
from tests.integration import faulty_worker
from tests.integration.test_worker import needs_weights
from tests.integration.worker_process import WorkerProcess, environment, running
from tests.kafka_broker import free_port, wait_until
from tests.redis_server import start_redis

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]

_MIB = 1 << 20
_LIMIT_BYTES, _FETCH_BYTES = 2 * _MIB, _MIB // 4
#: What is sent while something is slow: ten times what may be in flight.
_LINES, _LINE_BYTES = 10_000, 2_000
#: Of so many lines one is of a kind of its own where model and Redis shall have work.
_NOVEL = 50
#: Lines that come out while all is slow.
_FEW = 300
#: Most that the worker may grow while 20 MB pile up, and where it learns meanwhile: the model takes memory of its own.
_GROWTH_BYTES, _LEARNING_BYTES = 16 * _MIB, 64 * _MIB
_PARTITIONS = 2


def line(number: int, *, is_novel: bool = False) -> bytes:
    """Write a line, maybe of a kind that hardly comes again."""
    if is_novel:
        return f"{' '.join(random.Random(number).choices(WORDS, k=6))} {number}".encode()
    return f"took over {number} ".encode().ljust(_LINE_BYTES, b"x")


@pytest.fixture
def redis() -> Iterator[tuple[str, Proxy]]:
    """Give the address of a Redis behind a proxy."""
    server, port = start_redis(), free_port()
    proxy = Proxy(port, server.port).start()
    yield f"redis://localhost:{port}", proxy
    proxy.stop()
    server.close()


class Pile:
    """Topics, a worker that reads them, and how its memory grows."""

    def __init__(self, broker: ProxiedBroker, redis: str, folder: Path) -> None:
        self.broker = broker
        self.control = folder / "model"
        self.raw, self.events = broker.new_topic("raw", _PARTITIONS), broker.new_topic("events", _PARTITIONS)
        self.group = f"pile-{self.raw}"
        self.settings = environment(
            broker,
            topics=self.raw,
            events=self.events,
            dead=broker.new_topic("dead"),
            group=self.group,
            redis=redis,
            KAFKA__MAX_PARTITION_FETCH_BYTES=str(_LIMIT_BYTES // 8),
            LIMITS__MAX_BYTES_IN_FLIGHT=str(_LIMIT_BYTES),
            OUTPUT__MAX_BATCH_BYTES="100000",
            MULTILINE__ENABLED="false",
            STREAM__ENABLED="false",  # what settles grows by itself, up to a bound of its own
        )
        self.settings["LOGLOOM_KAFKA__BOOTSTRAP_SERVERS"] = broker.proxied
        self.settings[faulty_worker.VARIABLE] = str(self.control)
        self.sent = [0] * _PARTITIONS

    def send(self, lines: Iterable[bytes], *, partition: int | None = None) -> None:
        """Produce lines, past the proxy, to one partition or to each in turn."""
        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap, linger_ms=5, batch_size=1 << 17)
        for number, one in enumerate(lines):
            place = number % _PARTITIONS if partition is None else partition
            producer.send(self.raw, one, partition=place)
            self.sent[place] += 1
        producer.flush()
        producer.close()

    def done(self) -> list[int]:
        """Return how many events came out, by partition."""
        ends = self.broker.ends(self.events)
        return [ends[partition] for partition in range(_PARTITIONS)]

    def wait_until_done(self) -> None:
        """Wait until everything came out."""
        wait_until(lambda: self.done() == self.sent, seconds=120, what="all events")

    def members(self) -> list[str]:
        """Return who is in the group; who comes again is another one."""
        return [member["member_id"] for member in self.broker.members(self.group)]


def resident(worker: WorkerProcess) -> int:
    """Return how much memory a worker has, bytes."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{worker.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def pile_up(pile: Pile, worker: WorkerProcess, *, novel: bool) -> None:
    """Send far more than may be in flight, until a little came out: no more than what is allowed may have come in."""
    before = most = resident(worker)
    fetched, out = pile.broker.proxy.answered, sum(pile.done())
    numbers = range(sum(pile.sent), sum(pile.sent) + _LINES)
    lines = [line(number, is_novel=novel and number % _NOVEL < _PARTITIONS) for number in numbers]
    sending = threading.Thread(target=pile.send, args=(lines,))
    sending.start()

    def few_are_out() -> bool:
        nonlocal most
        most = max(most, resident(worker))
        return not sending.is_alive() and sum(pile.done()) >= out + _FEW

    wait_until(few_are_out, seconds=120, what="some events")
    out, fetched = sum(pile.done()) - out, pile.broker.proxy.answered - fetched
    assert out < _LINES // 2, "nothing was slow"
    # Beside what is in flight each partition may have one fetch that lies ready.
    allowed = out * _LINE_BYTES + _LIMIT_BYTES + _PARTITIONS * _FETCH_BYTES
    assert fetched < allowed * 1.1
    assert most - before < (_LEARNING_BYTES if novel else _GROWTH_BYTES)


def test_what_is_slow_stops_the_fetching(broker: ProxiedBroker, redis: tuple[str, Proxy], tmp_path: Path) -> None:
    """Little is held while little comes out; the worker stays in its group, and in the end all comes out."""
    address, redis_proxy = redis
    pile = Pile(broker, address, tmp_path)
    with running(pile.settings, module=faulty_worker.__name__) as worker:
        pile.send(line(number, is_novel=number < 200) for number in range(1000))
        pile.wait_until_done()
        members = pile.members()
        broker.proxy.trickle = 50_000
        pile_up(pile, worker, novel=False)
        broker.proxy.heal()
        pile.wait_until_done()
        pile.control.write_text("slow 0.2")
        pile_up(pile, worker, novel=True)
        pile.control.write_text("")
        pile.wait_until_done()
        redis_proxy.delay_seconds = 0.15
        pile_up(pile, worker, novel=True)
        redis_proxy.heal()
        pile.wait_until_done()
        assert pile.members() == members
        assert worker.metrics()["logloom_dead_letters_total"] == 0


def test_hits_do_not_wait_for_redis(broker: ProxiedBroker, redis: tuple[str, Proxy], tmp_path: Path) -> None:
    """While a miss of one partition waits for Redis, known lines of another come out."""
    address, redis_proxy = redis
    pile = Pile(broker, address, tmp_path)
    pile.settings["LOGLOOM_REDIS__TIMEOUT_SECONDS"] = "60"
    with running(pile.settings, module=faulty_worker.__name__):
        pile.send([line(0), line(1)])
        pile.wait_until_done()
        redis_proxy.hang()
        pile.send([line(2, is_novel=True)], partition=0)
        pile.send([line(number) for number in range(3, 103)], partition=1)
        wait_until(lambda: pile.done()[1] == pile.sent[1], seconds=60, what="the hits")
        assert pile.done()[0] == pile.sent[0] - 1
        redis_proxy.heal()
        pile.wait_until_done()
