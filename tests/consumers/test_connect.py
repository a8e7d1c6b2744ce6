"""Kafka Connect: a real worker takes the configuration and reads what a real Logloom wrote to a real Kafka.

The connector itself is in no registry of packages. Its own settings are held against what its version 4.0 defines, and
a sink to a file, which comes with Kafka, stands in its place.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.absent import absent
from tests.consumers.adapted import adapted
from tests.consumers.asking import answers, ask
from tests.consumers.stream import CONSUMERS, Stream
from tests.integration.test_worker import needs_weights
from tests.kafka_broker import free_port, wait_until
from tests.maven import NotFetched, jars_of

POM = Path(__file__).with_name("connect") / "pom.xml"
FOLDER = CONSUMERS / "connect"
SINK: dict[str, Any] = json.loads((FOLDER / "opensearch-sink.json").read_text())
TEMPLATE = CONSUMERS / "opensearch" / "index-template.json"
START_SECONDS = 90.0

#: What the connector defines, of what is set here, and what each may be.
OWN = {
    "connection.url": r"https?://.+",
    "key.ignore": "true|false",
    "key.ignore.id.strategy": r"none|record\.key|topic\.partition\.offset",
    "schema.ignore": "true|false",
    "data.stream.enabled": "true|false",
    "data.stream.timestamp.field": ".+",
    "data.streams.existing.index.template.name": ".+",
    "behavior.on.null.values": "ignore|delete|fail",
    "behavior.on.malformed.documents": "ignore|warn|error|report",
    "behavior.on.version.conflict": "ignore|warn|error|report",
}
#: The part that is Connect's, with a connector that is there.
SHARED = {name: value for name, value in SINK["config"].items() if name not in OWN} | {
    "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector"
}


class Connect:
    """A worker of Kafka Connect in a process of its own."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        """Start it. Raises NotFetched without Java or Maven."""
        jars = jars_of(POM, "connect")
        (folder / "plugins").mkdir()
        self.address = f"http://127.0.0.1:{free_port()}"
        changes = {
            "kafka:9092": bootstrap,
            "http://127.0.0.1:8083": self.address,
            "/var/lib/kafka-connect/offsets": str(folder / "offsets"),
            # What it loads is on its class path: it would look through each jar of a folder by itself.
            "/opt/kafka-connect-plugins": str(folder / "plugins"),
        }
        settings = folder / "worker.properties"
        settings.write_text(adapted(FOLDER / "worker.properties", changes))
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*java, "org.apache.kafka.connect.cli.ConnectStandalone", str(settings)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        wait_until(self._answers, seconds=START_SECONDS, what="Connect's first answer")

    def ask(self, method: str, path: str, body: object) -> Any:
        """Tell it something, and return its answer's JSON."""
        return ask(method, f"{self.address}{path}", json.dumps(body).encode())

    def errors(self, config: dict[str, str]) -> dict[str, list[str]]:
        """Return what it says against a connector's settings, by setting."""
        answer = self.ask("PUT", f"/connector-plugins/{config['connector.class']}/config/validate", config)
        values = [one["value"] for one in answer["configs"]]
        return {value["name"]: value["errors"] for value in values if value["errors"]}

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"Connect did not start:\n{self._log.read_text()[-3000:]}")
        return answers(self.address)


@pytest.fixture(scope="module")
def connect(stream: Stream) -> Iterator[Connect]:
    """Give a worker with the settings that are shipped."""
    with tempfile.TemporaryDirectory(prefix="logloom-connect-") as folder:
        try:
            worker = Connect(stream.kafka.bootstrap, Path(folder))
        except NotFetched as exc:
            absent(exc)
        try:
            worker.wait_until_ready()
            yield worker
        finally:
            worker.process.kill()
            worker.process.wait()


@pytest.mark.parametrize("name", OWN)
def test_what_is_the_connectors_own(name: str) -> None:
    """Each setting is one that it defines, with a value that it takes."""
    assert re.fullmatch(OWN[name], SINK["config"][name])


def test_it_writes_where_the_template_is() -> None:
    """Names agree: of the data stream, of the template that makes it, and of the field that has the time."""
    template = json.loads(TEMPLATE.read_text())
    assert template["data_stream"]["timestamp_field"]["name"] == SINK["config"]["data.stream.timestamp.field"]
    assert template["index_patterns"] == [f"{SINK['config']['topics']}*"]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(280)
@needs_weights
def test_connect_takes_what_is_its(connect: Connect) -> None:
    """Nothing is said against its part of the settings, and a wrong one would be."""
    config = {"name": SINK["name"], **SHARED}
    assert connect.errors(config) == {}
    assert connect.errors(config | {"errors.tolerance": "some"}).keys() == {"errors.tolerance"}
    assert connect.errors(config | {"value.converter": "nowhere.Json"}).keys() == {"value.converter"}


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(280)
@needs_weights
def test_connect_reads_every_event(connect: Connect, stream: Stream, tmp_path: Path) -> None:
    """As committed records, through the converters that are set."""
    file = tmp_path / "events"
    config = SHARED | {"topics": stream.events_topic, "file": str(file)}
    config["errors.deadletterqueue.topic.name"] = stream.kafka.new_topic("refused")
    config["errors.deadletterqueue.topic.replication.factor"] = "1"
    connect.ask("POST", "/connectors", {"name": SINK["name"], "config": config})

    def read() -> int:
        return file.read_text().count("logloom.confidence=") if file.exists() else 0

    wait_until(lambda: read() >= len(stream.events), seconds=60, what="events in the file")
    assert read() == len(stream.events)
    assert stream.kafka.ends(config["errors.deadletterqueue.topic.name"]) == {0: 0}
