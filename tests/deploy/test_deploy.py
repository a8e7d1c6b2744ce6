"""`make deploy`, `make deploy-diff` and `make undeploy` by the real kubectl, against an API server that stands in."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.api_server import ApiServer, custom_kinds, serving
from tests.deploy.making import NAMESPACE, Make
from tests.deploy.nodes import NO_IMAGE, bringing_up
from tests.deploy.overlays import ROOT
from tests.kafka_broker import free_port


@pytest.fixture
def cluster() -> Iterator[ApiServer]:
    """Give an API server that knows the operators' kinds, where pods come up."""
    with serving() as server, bringing_up(server.url, NAMESPACE):
        yield server


@pytest.fixture
def make(tmp_path: Path, cluster: ApiServer) -> Make:
    """Give what runs targets against the cluster."""
    return Make(tmp_path, cluster.url)


def kinds(cluster: ApiServer) -> set[str]:
    """Give the kinds that there are objects of in the namespace, but for pods."""
    return {plural for plural, namespace, _ in cluster.objects if namespace == NAMESPACE} - {"pods", "events"}


def test_deploy_and_undeploy(cluster: ApiServer, make: Make) -> None:
    """A deploy makes the namespace, applies, waits and shows pods and lag; the same once more changes nothing."""
    asked = []

    def printed(command: list[str]) -> str:
        asked.append(command[0])
        return "".join(f'logloom_lag_records{{partition="{number}",topic="app.raw"}} 17.0\n' for number in range(2))

    cluster.printed = printed
    before = make("deploy-diff")
    assert (before.returncode, "all of it is new" in before.stdout) == (0, True), before.stderr
    assert cluster.objects == {}

    first = make("deploy", KAFKA="kafka.example:19092", REDIS="redis.example:6379")
    assert first.returncode == 0, first.stdout + first.stderr
    for told in ("creates namespace", "successfully rolled out", "logloom-1", "in records: app.raw 34"):
        assert told in first.stdout
    assert asked == ["python"]
    labels = cluster.objects["namespaces", "", NAMESPACE]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {"deployments", "scaledobjects", "podmonitors", "networkpolicies", "poddisruptionbudgets"} <= kinds(cluster)
    (told,) = [one["data"] for key, one in cluster.objects.items() if key[2].startswith("logloom-environment")]
    assert told["LOGLOOM_KAFKA__BOOTSTRAP_SERVERS"] == "kafka.example:19092"
    assert told["LOGLOOM_REDIS__URL"] == "redis://redis.example:6379/0"
    egress = cluster.objects["networkpolicies", NAMESPACE, "logloom"]["spec"]["egress"]
    assert {"ports": [{"port": 19092}]} in egress

    again = make("deploy-diff", KAFKA="kafka.example:19092", REDIS="redis.example:6379")
    assert (again.returncode, "no differences" in again.stdout) == (0, True)
    other = make("deploy-diff", KAFKA="kafka.example:29092", REDIS="redis.example:6379")
    assert "+  LOGLOOM_KAFKA__BOOTSTRAP_SERVERS: kafka.example:29092" in other.stdout

    ended = make("undeploy")
    assert ended.returncode == 0, ended.stderr
    assert kinds(cluster) == set()
    assert ("namespaces", "", NAMESPACE) in cluster.objects
    assert "No resources found" in make("undeploy").stdout + make("undeploy").stderr


def test_an_image_of_ones_own(cluster: ApiServer, make: Make) -> None:
    """The overlay for GPUs comes up, with an image from the user's registry."""
    image = f"registry.example/logloom@sha256:{'0' * 64}"
    done = make("deploy", OVERLAY="gpu", IMAGE=image)
    assert done.returncode == 0, done.stdout + done.stderr
    (container,) = cluster.objects["deployments", NAMESPACE, "logloom"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_two_tiers_come_up(cluster: ApiServer, make: Make) -> None:
    """Both kinds of workers get the addresses that were given, each its role, and only parsers a GPU."""
    done = make("deploy", OVERLAY="tiers", KAFKA="kafka.example:19092")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for name in ("logloom", "logloom-parser"):
        (container,) = cluster.objects["deployments", NAMESPACE, name]["spec"]["template"]["spec"]["containers"]
        (reference,) = container["envFrom"]
        told = cluster.objects["configmaps", NAMESPACE, reference["configMapRef"]["name"]]["data"]
        assert told["LOGLOOM_KAFKA__BOOTSTRAP_SERVERS"] == "kafka.example:19092"
        own = {one["name"]: one["value"] for one in container["env"]}
        found[name] = own["LOGLOOM_ROLE"], "nvidia.com/gpu" in container["resources"]["limits"]
        assert f"waits for {name}," in done.stdout
    assert found == {"logloom": ("match", False), "logloom-parser": ("parse", True)}


def test_topics_outlive_an_undeploy(cluster: ApiServer, make: Make) -> None:
    """What Strimzi keeps records by is not deleted: the records would be."""
    done = make("deploy", OVERLAY="dev")
    assert done.returncode == 0, done.stdout + done.stderr
    labels = {"app.kubernetes.io/part-of": "logloom"}
    topic = {"name": "app.raw", "namespace": NAMESPACE, "labels": labels}
    cluster.objects["kafkatopics", NAMESPACE, "app.raw"] = {"metadata": topic}
    assert make("undeploy").returncode == 0
    assert kinds(cluster) == {"kafkatopics"}


def test_the_other_autoscaler_goes(cluster: ApiServer, make: Make) -> None:
    """Two that scale one Deployment would pull at it: the one that is no part of it any more is deleted."""
    assert make("deploy").returncode == 0
    done = make("deploy", SCALING="hpa")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deletes ScaledObject/logloom" in done.stdout
    assert "horizontalpodautoscalers" in kinds(cluster)
    assert "scaledobjects" not in kinds(cluster)


# what goes wrong


def test_no_kubectl(make: Make) -> None:
    """A missing tool is named before anything is asked."""
    done = make("deploy", KUBECTL="no-such-kubectl")
    assert done.returncode != 0
    assert "Error: no-such-kubectl is not installed" in done.stderr


def test_no_cluster(tmp_path: Path) -> None:
    """A cluster that does not answer is told of, with the context."""
    done = Make(tmp_path, f"http://127.0.0.1:{free_port()}")("deploy")
    assert done.returncode != 0
    assert "Error: no cluster answers (context stand-in)" in done.stderr
    assert "refused" in done.stderr


def test_no_rights(cluster: ApiServer, make: Make) -> None:
    """What the user may not do is listed, all of it, before anything is applied."""
    cluster.forbidden = {"patch deployments.apps", "create networkpolicies.networking.k8s.io"}
    done = make("deploy")
    assert done.returncode != 0
    refused = "patch deployments.apps, create networkpolicies.networking.k8s.io"
    assert f"Error: you may not do this in namespace {NAMESPACE}: {refused}" in done.stderr
    assert cluster.objects == {}


def test_no_operators(tmp_path: Path) -> None:
    """A cluster without KEDA and the Prometheus operator is told of, with how to do without them, and that works."""
    with serving(operators=False) as server, bringing_up(server.url, NAMESPACE):
        make = Make(tmp_path, server.url)
        done = make("deploy")
        assert done.returncode != 0
        assert "SCALING=hpa" in done.stderr
        assert "MONITORING=none" in done.stderr
        assert server.objects == {}
        done = make("deploy", SCALING="hpa", MONITORING="none")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "horizontalpodautoscalers" in kinds(server)


def test_a_rollout_that_stalls(tmp_path: Path) -> None:
    """A pod that does not come up ends it with what is known: its state, its events and its last lines."""
    with serving() as server, bringing_up(server.url, NAMESPACE, {"logloom": NO_IMAGE}):
        server.logs["logloom-1"] = "Error: kafka:9092 does not answer\n"
        done = Make(tmp_path, server.url)("deploy", TIMEOUT="2s")
    assert done.returncode != 0
    assert "Error: logloom did not come up" in done.stderr
    assert "worker waiting: ImagePullBackOff Back-off pulling image" in done.stdout
    assert "Pod/logloom-1" in done.stdout
    assert "kafka:9092 does not answer" in done.stdout


def test_what_the_server_refuses(cluster: ApiServer, make: Make, tmp_path: Path) -> None:
    """An overlay of the user's that the API server finds wrong ends with its reason, and stops at the diff."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "resourceVersion": "1"}}
    cluster.objects["namespaces", "", NAMESPACE] = namespace
    applied = dict(cluster.objects)
    patch = {"op": "add", "path": "/spec/replica", "value": 2}
    content = {
        "resources": [os.path.relpath(ROOT / "deploy" / "overlays" / "dev", tmp_path.resolve())],
        "patches": [{"target": {"kind": "Deployment", "name": "logloom"}, "patch": json.dumps([patch])}],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(content))
    done = make("deploy", OVERLAY=str(tmp_path))
    assert done.returncode != 0
    assert "kubectl diff failed" in done.stderr
    assert "'replica' was unexpected" in done.stderr
    assert cluster.objects == applied


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OVERLAY": "tpu"}, "no overlay 'tpu'; there are cpu, dev, gpu, tiers"),
        ({"SCALING": "keda2"}, "SCALING=keda2: allowed are"),
        ({"IMAGE": "registry.example:5000/logloom"}, "a tag or a digest is missing"),
        ({"REDIS": "redis://:secret@redis.example:6379/0"}, "would lie in a ConfigMap"),
    ],
)
def test_wrong_variables(cluster: ApiServer, make: Make, variables: dict[str, str], reason: str) -> None:
    """What can't be meant is refused before the cluster is changed."""
    done = make("deploy", **variables)
    assert done.returncode != 0
    assert reason in done.stderr
    assert cluster.objects == {}


def test_the_stand_in_knows_the_operators_kinds() -> None:
    """Every kind that the definitions bring is served, by the name that kubectl asks for."""
    assert {kind.plural for kind in custom_kinds()} == {
        *("kafkatopics", "kafkausers", "podmonitors", "prometheusrules", "scaledobjects", "triggerauthentications")
    }
