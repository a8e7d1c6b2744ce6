"""A real Apache Kafka broker for tests: where it comes from, how it starts, stops and dies.

In order: a broker whose address is given (`LOGLOOM_TEST_KAFKA=host:port`), Apache Kafka's jars from Maven on the
machine's own Java, the Docker image. Knows nothing of pytest.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python 3.0 reads its schemas in a deprecated way
    from kafka import KafkaAdminClient, KafkaConsumer
    from kafka import TopicPartition as Partition

from tests.maven import NotFetched, jars_of

POM = Path(__file__).parent / "integration" / "kafka" / "pom.xml"
IMAGE = "apache/kafka:4.1.0"
START_SECONDS = 60.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:{controller_port}
listeners={listeners},CONTROLLER://localhost:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/log
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
num.network.threads=2
num.io.threads=4
log.cleaner.enable=false
"""

#: Length, request 18 (ApiVersions) of version 0, correlation 0, no client id.
_API_VERSIONS = b"\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x00\xff\xff"

_LOG4J = """\
<Configuration status="ERROR">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c: %m%n"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


class NoBroker(Exception):
    """No real Kafka can be had here; the message says why."""


def free_port() -> int:
    """Return a port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll `true` until it holds. Raises TimeoutError, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        threading.Event().wait(0.05)  # between two looks, never instead of one


def terminate(process: "subprocess.Popen[bytes]") -> int:
    """Tell a process to stop in order, once it has begun to listen for that; return its exit code."""
    status = Path(f"/proc/{process.pid}/status")

    def catches() -> bool:
        caught = next((line for line in status.read_text().splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1) or process.poll() is not None

    wait_until(catches, seconds=60, what="a process that listens for SIGTERM")
    process.send_signal(signal.SIGTERM)
    return process.wait(60)


class KafkaBroker(ABC):
    """A running broker. Plaintext, one node, no topics created by themselves."""

    #: host:port
    bootstrap: str
    #: Can it be stopped, killed and restarted from here?
    controllable: bool = True
    #: What its processes are started through, such as `nsenter`.
    within: Sequence[str] = ()

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Open a client that administers."""
        client = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield client
        finally:
            client.close()

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create `topic`, wait until the broker serves it, and return its name."""
        with self.admin() as admin:
            admin.create_topics(
                {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": dict(configs or {})}},
                wait_for_metadata=True,
            )
        return topic

    def new_topic(self, prefix: str = "topic", partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a topic with a name that no other test has, and return the name."""
        return self.create_topic(f"{prefix}-{uuid.uuid4().hex[:8]}", partitions, configs)

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Return what `group` committed, per topic and partition."""
        with self.admin() as admin:
            offsets = admin.list_group_offsets(group)[group]
        return {(partition.topic, partition.partition): at.offset for partition, at in offsets.items()}

    def members(self, group: str) -> list[dict[str, Any]]:
        """Return the members of `group` as the broker tells of them."""
        with self.admin() as admin:
            members: list[dict[str, Any]] = admin.describe_groups([group])[group]["members"]
        return members

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end of each partition of `topic`: the offset of the next record."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        try:
            places = [Partition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            return {place.partition: end for place, end in consumer.end_offsets(places).items()}
        finally:
            consumer.close()

    def answers(self) -> bool:
        """Say whether the broker answers which requests it knows."""
        host, port = self.bootstrap.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=2) as connection:
                connection.sendall(_API_VERSIONS)
                return len(connection.recv(8)) > 0
        except OSError:
            return False

    def run_tool(self, main_class: str, arguments: Sequence[str], *, stdin: bytes = b"", seconds: float = 60) -> bytes:
        """Run one of Apache Kafka's own tools and return what it prints. Raises NoBroker without Java or Maven."""
        command = [*self.within, *_java("-Xmx256m", "-XX:TieredStopAtLevel=1"), main_class, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"{main_class} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
        return done.stdout

    def console_consumer(
        self, topic: str, records: int, *, properties: Mapping[str, str] | None = None, isolation: str | None = None
    ) -> bytes:
        """Read `records` records of `topic` from its beginning with Java's console consumer: its standard output.

        `properties` are those of its formatter, such as `print.key` and `print.headers`.
        """
        arguments = ["--bootstrap-server", self.bootstrap, "--topic", topic, "--from-beginning"]
        arguments += ["--max-messages", str(records), "--timeout-ms", "30000"]
        for name, value in (properties or {}).items():
            arguments += ["--property", f"{name}={value}"]
        if isolation is not None:
            arguments += ["--isolation-level", isolation]
        return self.run_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", arguments)

    @abstractmethod
    def start(self) -> None:
        """Start the broker and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the broker in order and remove what it stored."""

    @abstractmethod
    def kill(self) -> None:
        """End the broker with no chance to write anything; what it stored stays."""

    @abstractmethod
    def restart(self) -> None:
        """Start it again on the same address with what it stored."""


class GivenBroker(KafkaBroker):
    """A broker that somebody else runs."""

    controllable = False

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def start(self) -> None:
        """Wait until it answers. Raises NoBroker if it does not."""
        try:
            wait_until(self.answers, seconds=15, what=f"an answer from {self.bootstrap}")
        except TimeoutError as exc:
            raise NoBroker(f"LOGLOOM_TEST_KAFKA={self.bootstrap} does not answer") from exc

    def stop(self) -> None:
        """Leave it as it is."""

    def kill(self) -> None:
        """Raise NoBroker: it is not ours."""
        raise NoBroker(f"{self.bootstrap} can't be killed from here")

    def restart(self) -> None:
        """Raise NoBroker: it is not ours."""
        raise NoBroker(f"{self.bootstrap} can't be restarted from here")


class JavaBroker(KafkaBroker):
    """Apache Kafka on this machine's Java: broker and controller in one process (KRaft)."""

    def __init__(self, listeners: Mapping[str, str] | None = None, properties: Mapping[str, str] | None = None) -> None:
        """Add `listeners` (name to security protocol) beside the one in plain text, and `properties`."""
        self._folder = Path(tempfile.mkdtemp(prefix="logloom-kafka-"))
        self._log = self._folder / "broker.log"
        self._properties = self._folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        #: host:port by the listener's name.
        self.addresses = {name: f"localhost:{free_port()}" for name in protocols}
        self.bootstrap = self.addresses["PLAINTEXT"]
        settings = _PROPERTIES.format(
            listeners=",".join(f"{name}://{address}" for name, address in self.addresses.items()),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            controller_port=free_port(),
            folder=self._folder,
        )
        settings += "".join(f"{name}={value}\n" for name, value in (properties or {}).items())
        self._properties.write_text(settings)

    def start(self) -> None:
        """Format the storage, start the broker and wait until it answers."""
        cluster = uuid.uuid4().hex[:22]
        self.run_tool("kafka.tools.StorageTool", ["format", "--standalone", "-t", cluster, "-c", str(self._properties)])
        self.restart()

    def stop(self) -> None:
        """End it by SIGTERM, or by SIGKILL if it takes too long, and remove its folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start the process on the stored log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self.within,
                    *_java("-Xms256m", "-Xmx640m", "-XX:+UseSerialGC"),
                    "kafka.Kafka",
                    str(self._properties),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            wait_until(self._ready, seconds=START_SECONDS, what="the broker's first answer")
        except TimeoutError as exc:
            raise RuntimeError(self._why()) from exc

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(self._why())
        return self.answers()

    def _why(self) -> str:
        return f"Apache Kafka did not start:\n{self._log.read_text(errors='replace')[-3000:]}"


class DockerBroker(KafkaBroker):
    """Apache Kafka's own image."""

    def __init__(self) -> None:
        self._port = free_port()
        self._name = f"logloom-kafka-{uuid.uuid4().hex[:8]}"
        self.bootstrap = f"localhost:{self._port}"

    def start(self) -> None:
        """Run the container and wait until it answers."""
        settings = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{self._port},CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{self._port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        }
        environment = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
        ports = ["-p", f"{self._port}:{self._port}"]
        _docker("run", "-d", "--name", self._name, *ports, *environment, IMAGE)
        wait_until(self.answers, seconds=START_SECONDS, what="the broker's first answer")

    def stop(self) -> None:
        """Remove the container."""
        _docker("rm", "-f", "-v", self._name)

    def kill(self) -> None:
        """Kill the container's process."""
        _docker("kill", self._name)

    def restart(self) -> None:
        """Start the container again."""
        _docker("start", self._name)
        wait_until(self.answers, seconds=START_SECONDS, what="the broker's first answer")


def start_broker() -> KafkaBroker:
    """Start the first kind of broker that can be had here. Raises NoBroker with the reasons if none can."""
    given = os.environ.get("LOGLOOM_TEST_KAFKA")
    broker = GivenBroker(given) if given else _available_broker()
    try:
        broker.start()
    except BaseException:
        broker.stop()
        raise
    return broker


def _available_broker() -> KafkaBroker:
    reasons = []
    try:
        jars()
    except NoBroker as exc:
        reasons.append(str(exc))
    else:
        return JavaBroker()
    try:
        _docker("info")
    except NoBroker as exc:
        reasons.append(str(exc))
    else:
        return DockerBroker()
    raise NoBroker(
        f"no real Kafka: {'; '.join(reasons)}. Install Java 17 and Maven, start Docker, or set "
        "LOGLOOM_TEST_KAFKA=host:port"
    )


def jars() -> Path:
    """Return the folder of Apache Kafka's jars; Maven fetches them once. Raises NoBroker without Java or Maven."""
    try:
        return jars_of(POM, "kafka")
    except NotFetched as exc:
        raise NoBroker(str(exc)) from exc


def _java(*options: str) -> list[str]:
    """Return the start of a command line that runs a class of Apache Kafka's."""
    configuration = jars().parent / "log4j2.xml"
    if not configuration.exists():
        configuration.write_text(_LOG4J)
    return ["java", *options, f"-Dlog4j2.configurationFile={configuration}", "-cp", f"{jars()}/*"]


def _docker(*arguments: str) -> None:
    if shutil.which("docker") is None:
        raise NoBroker("there is no `docker`")
    done = subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=300)
    if done.returncode != 0:
        raise NoBroker(f"`docker {arguments[0]}` failed: {done.stderr.decode().strip()[-300:]}")
