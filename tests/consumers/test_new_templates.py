"""Alerts on new templates: the program that tells a webhook, and the rule for Prometheus."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.consumers.stream import CONSUMERS
from tests.kafka_broker import KafkaBroker, wait_until
from tests.watching.promtool import metrics_in, promtool
from worker.metrics import Metrics
from worker.settings import Kafka
from worker.transport.admin import producer

PROGRAM = CONSUMERS / "new_templates.py"


@dataclass
class Webhook:
    """A server that takes what is posted, or refuses it."""

    address: str = ""
    refuses: bool = False
    #: What it has taken.
    bodies: list[Any] = field(default_factory=list)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """Serve on loopback."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not hook.refuses:
                hook.bodies.append(body)
            self.send_response(503 if hook.refuses else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield hook
        server.shutdown()
        serving.join()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A templates topic, and the group that reads it."""

    kafka: KafkaBroker
    topic: str
    group: str

    def announce(self, *ids: str, reason: str = "new") -> None:
        """Write announcements as workers do."""
        with producer(Kafka(bootstrap_servers=(self.kafka.bootstrap,))) as opened:
            for one in ids:
                told = {"id": one, "template": f"{one} <*> & left", "reason": reason, "source": "app"}
                opened.send(
                    self.topic, json.dumps(told | {"time": "2026-11-23T10:00:00.000Z"}).encode(), key=one.encode()
                )
            opened.flush()

    @contextmanager
    def told(self, webhook: Webhook, *options: str) -> Iterator["subprocess.Popen[str]"]:
        """Run the program; what it says is read by `communicate`."""
        command = [sys.executable, str(PROGRAM), "--kafka", self.kafka.bootstrap, "--topic", self.topic]
        command += ["--group", self.group, "--webhook", webhook.address, *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def place(kafka: KafkaBroker) -> Place:
    """Give a topic of its own."""
    return Place(kafka=kafka, topic=kafka.new_topic("templates"), group=f"new-{uuid4().hex[:8]}")


@pytest.mark.kafka
def test_new_templates_are_told_of_at_least_once(place: Place, webhook: Webhook) -> None:
    """A webhook that is away ends the program, and what it did not take is told of after a restart; and once only."""
    with place.told(webhook) as process:
        wait_until(lambda: bool(place.kafka.committed(place.group)), seconds=60, what="its first place")
        webhook.refuses = True
        place.announce("a1", "a2")
        said = process.communicate(timeout=60)[1]
        assert (process.returncode, "did not take new templates: HTTP Error 503" in said) == (1, True)
    assert webhook.bodies == []
    webhook.refuses = False
    place.announce("a3")
    with place.told(webhook):
        wait_until(lambda: sum(map(len, webhook.bodies)) >= 3, seconds=60, what="alerts")
        wait_until(lambda: list(place.kafka.committed(place.group).values()) == [3], seconds=60, what="a commit")
    alerts = [alert for body in webhook.bodies for alert in body]
    assert [alert["labels"] for alert in alerts] == [
        {"alertname": "LogloomNewTemplate", "severity": "info", "source": "app", "template_id": one}
        for one in ("a1", "a2", "a3")
    ]
    assert alerts[0]["annotations"] == {"summary": "app writes what it never wrote: a1 <*> & left"}
    assert alerts[0]["startsAt"] == "2026-11-23T10:00:00.000Z"


@pytest.mark.kafka
def test_what_is_no_new_template_is_not_told_of(place: Place, webhook: Webhook) -> None:
    """Those that took the place of others, those replaced, and deleted ones are passed over; text is no mark-up."""
    place.announce("b1", reason="settled")
    place.announce("b2", reason="replaced")
    with producer(Kafka(bootstrap_servers=(place.kafka.bootstrap,))) as opened:
        opened.send(place.topic, None, key=b"b3")
        opened.flush()
    place.announce("b4")
    with place.told(webhook, "--begin", "earliest", "--form", "slack"):
        wait_until(lambda: bool(webhook.bodies), seconds=60, what="a message")
    assert webhook.bodies == [{"text": "app: b4 &lt;*&gt; &amp; left (b4)"}]


def test_the_rule_for_prometheus() -> None:
    """It fires where the model gave a template, and only then; its metrics are there."""
    rules = CONSUMERS / "prometheus" / "new-templates.yaml"
    done = promtool("test", "rules", str(Path(__file__).with_name("new_templates_test.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert metrics_in(rules.read_text().split("expr:")[1]) <= {one.name for one in Metrics().descriptions}
