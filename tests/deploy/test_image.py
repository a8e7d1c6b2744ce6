"""The image, as far as it can be checked where none can be built: its files, and its command line laid out as there."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer

from tests.deploy.overlays import DEPLOY, ROOT, environment, objects, worker
from tests.integration.worker_process import probe
from tests.kafka_broker import KafkaBroker, free_port, wait_until
from tests.redis_server import ForeignRedis, RedisServer
from worker.settings import load

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
LOCK = (DEPLOY / "requirements" / "worker.lock").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def instructions(name: str) -> list[str]:
    """Give the arguments of the Dockerfile's instructions of a name, in its last stage."""
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM") + 1 :].replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", last, re.MULTILINE)


def variables() -> dict[str, str]:
    """Give the image's own variables."""
    return dict(word.split("=", 1) for line in instructions("ENV") for word in shlex.split(line))


def test_dockerfile() -> None:
    """`hadolint` has nothing to say."""
    linted = [Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile"]
    done = subprocess.run(linted, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_told_as_pods_are() -> None:
    """The user, the port, the folders to write to and the command are those that the manifests mean."""
    pod = objects("cpu", "Deployment")[0]["spec"]["template"]["spec"]
    assert instructions("USER") == ["{runAsUser}:{runAsGroup}".format_map(pod["securityContext"])]
    assert [int(port) for port in instructions("EXPOSE")] == [worker("cpu")["ports"][0]["containerPort"]]
    assert json.loads(instructions("CMD")[0]) == worker("cpu")["args"]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["entrypoint.sh"]
    writable = {mount["mountPath"] for mount in worker("cpu")["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/cache", "/tmp"}  # noqa: S108  folders of the container
    assert all(variables()[name].startswith("/cache") for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"))


def test_kernels_are_compiled_for_the_processor_that_they_are_looked_for_by() -> None:
    """Numba finds none that were compiled under another name."""
    assert len(re.findall(r"NUMBA_CPU_NAME=(\S+)", DOCKERFILE)) == 2
    assert set(re.findall(r"NUMBA_CPU_NAME=(\S+)", DOCKERFILE)) == {"generic"}
    assert "NUMBA_CACHE_DIR=/opt/logloom/kernels" in DOCKERFILE
    # By the path of the installed sources, not of those that lie where Python looks first.
    assert re.findall(r"^WORKDIR (.*)", DOCKERFILE[: DOCKERFILE.index("-m worker.warm_up")], re.MULTILINE)[-1] == "/"
    assert "/opt/logloom/kernels/." in (DEPLOY / "entrypoint.sh").read_text()


def test_the_lock_holds_what_the_worker_needs() -> None:
    """Every dependency of the project is pinned with its hashes, and nothing of tests or the demo."""
    names = {name.replace("_", "-") for name in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==", LOCK, re.MULTILINE)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def named(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w-]", one)[0].lower() for one in requirements}

    needed = named(project["dependencies"])
    assert needed <= names
    extras = project["optional-dependencies"]
    assert (named(extras["demo"]) | named(extras["dev"])) & names == {"zstandard"} & names
    pinned = re.findall(r"^\w[^\n]*\\\n    --hash=sha256:", LOCK, re.MULTILINE)
    assert len(re.findall(r"^\w", LOCK, re.MULTILINE)) == len(pinned)


def test_the_lock_without_cuda() -> None:
    """For CPUs all of CUDA goes, and torch is the one wheel whose hash is given."""
    made = subprocess.run(
        [sys.executable, DEPLOY / "requirements" / "cpu.py", "0" * 64],
        input=LOCK, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"torch=={metadata.version('torch').split('+')[0]}+cpu --hash=sha256:{'0' * 64}\n" in made
    assert not re.search(r"^(nvidia|cuda|triton)", made, re.MULTILINE)
    left = [name for name in re.findall(r"^([\w.-]+)", LOCK, re.MULTILINE) if not re.match(r"nvidia|cuda|triton", name)]
    assert re.findall(r"^([\w.-]+)", made, re.MULTILINE) == left


def test_compose() -> None:
    """The worker takes compose's variables, what is mounted is there, and no port is open to other machines."""
    services = COMPOSE["services"]
    assert {"kafka", "redis", "worker", "prometheus", "grafana"} <= services.keys()
    assert load(environment=services["worker"]["environment"]).sources["default"].topics == ("app.raw",)
    assert services["worker"]["read_only"] is True
    for service in services.values():
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    # The dashboard is made elsewhere.
    mounts = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {mount for mount in mounts if not (DEPLOY / mount).exists()} <= {"./watching/dashboard.json"}
    scraped = yaml.safe_load((DEPLOY / "watching" / "prometheus.yml").read_text())["scrape_configs"]
    assert [one["dns_sd_configs"][0]["names"] for one in scraped] == [["worker"]]


# laid out


@cache
def kernels() -> Path:
    """Give the folder of compiled kernels, without bounds checks as users have them."""
    own = {**os.environ, "NUMBA_BOUNDSCHECK": "0"}
    asked = "from worker.columns.jit import _cache_folder; print(_cache_folder())"
    found = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    # Nothing to do where `make kernels` has done it.
    subprocess.run([sys.executable, "-m", "worker.warm_up"], cwd=ROOT, env=own, stdout=subprocess.DEVNULL, check=True)
    return Path(found.stdout.strip())


def may_lay_out() -> bool:
    """Tell whether this machine lets us make namespaces and mount."""
    tried = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    with contextlib.suppress(OSError):
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    return False


@contextlib.contextmanager
def contained(settings: Mapping[str, str], config: Path, log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run the image's command with the image's variables and `settings`: `unshare`, and the number of its process."""
    image = {name: value for name, value in variables().items() if name not in {"PATH", "NUMBA_CPU_NAME"}}
    own = {"LAID_OUT_PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "NUMBA_BOUNDSCHECK": "0"}
    folders = " ".join(str(Path(folder).resolve()) for folder in (ROOT, sys.prefix, sys.base_prefix))
    script = str(Path(__file__).with_name("laid_out.sh"))
    command = [*json.loads(instructions("ENTRYPOINT")[0]), *worker("cpu")["args"]]
    entrypoint = str(DEPLOY / "entrypoint.sh")
    words = ["unshare", "--mount", "--pid", "--fork", script, str(kernels()), str(config), entrypoint, folders]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*words, "env", "-i", "PATH=/opt/logloom/bin:/usr/bin:/bin",
             *(f"{name}={value}" for name, value in {**image, **own, **settings}.items()), *command],
            stdout=output, stderr=output,
        )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        wait_until(lambda: children.read_text() != "", seconds=10, what="the contained process")
        yield process, int(children.read_text())
    finally:
        for child in children.read_text().split() if children.exists() else ():
            os.kill(int(child), 9)
        process.kill()
        process.wait()


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.skipif(not may_lay_out(), reason="this machine lets no one make namespaces and mount (needs root)")
def test_the_command_runs_as_in_a_container(
    kafka: KafkaBroker, redis_server: RedisServer | ForeignRedis, tmp_path: Path
) -> None:
    """Process 1, nobody, no capabilities, a read-only root: it passes its probes, parses, compiles nothing, drains."""
    raw, events, dead = (kafka.new_topic(prefix) for prefix in ("raw", "events", "dead"))
    (config,) = [one["data"] for one in objects("cpu", "ConfigMap") if "logloom.toml" in one["data"]]
    tmp_path.chmod(0o755)
    (tmp_path / "logloom.toml").write_text(config["logloom.toml"].replace("app.raw", raw))
    port = free_port()
    settings: dict[str, Any] = environment("cpu") | {
        "LOGLOOM_CONFIG": "/run/config/logloom.toml",
        "LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "LOGLOOM_KAFKA__GROUP_ID": f"group-{raw}",
        "LOGLOOM_REDIS__URL": redis_server.url,
        "LOGLOOM_OUTPUT__TOPIC": events,
        "LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead,
        "LOGLOOM_METRICS__PORT": str(port),
    }
    log = tmp_path / "worker.log"
    with contained(settings, tmp_path, log) as (process, pid):

        def passes(path: str) -> bool:
            assert process.poll() is None, log.read_text()
            return probe(port, path) == 200

        for path in ("/startupz", "/healthz", "/readyz"):
            wait_until(partial(passes, path), seconds=120, what=path)
        of_process = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert of_process["Uid"].split() == ["65534"] * 4
        assert of_process["NSpid"].split()[-1] == "1"
        assert {int(of_process[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
        assert of_process["NoNewPrivs"] == "1"

        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        producer.send(
            raw, b"2026-11-02 15:04:05,123 INFO [main] org.example.Server: accepted 10.0.0.7:5121 after 12 ms"
        )
        producer.close()
        consumer = KafkaConsumer(events, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        (event,) = [next(consumer)]
        consumer.close()
        assert json.loads(event.value)["body"] == "accepted 10.0.0.7:5121 after 12 ms"

        copied = Path("/proc", str(pid), "root", "cache", "kernels")
        assert {path.name for path in copied.rglob("*.nbc")} == {path.name for path in kernels().rglob("*.nbc")}
        os.kill(pid, 15)
        assert process.wait(60) == 0, log.read_text()
