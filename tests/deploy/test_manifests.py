"""What the overlays say, by published schemas and by what the worker and its documents say."""

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.deploy import STATUS
from tests.deploy import schemas
from tests.deploy.overlays import DEPLOY, EVERY, OVERLAYS, ROOT, environment, kustomize, objects, the, worker
from tests.integration.test_security import commands
from worker.app import _STOP_SECONDS, AppSettings
from worker.health import HealthServer
from worker.metrics import Metrics
from worker.settings import Settings, load
from worker.settings.fields import ANY_SOURCE, settings, variable
from worker.tracing.traces import FLUSH_SECONDS

Object = dict[str, Any]

AUTOSCALED = [name for name in EVERY if objects(name, "ScaledObject") or objects(name, "HorizontalPodAutoscaler")]
RECOMMENDED = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}


def templates(name: str) -> list[Object]:
    """Give the pod templates."""
    return [one["spec"]["template"] for one in objects(name, "Deployment")]


def picks(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Tell whether a selector picks a pod with these labels."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions), "no other is used so far"
    return wanted.items() <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in expressions)


@pytest.mark.parametrize("version", [schemas.OLDEST, schemas.NEWEST])
@pytest.mark.parametrize("name", EVERY)
def test_objects_are_valid(name: str, version: str) -> None:
    """Every object fits the published schema of its kind, in the oldest and the newest Kubernetes."""
    mistakes = {f"{one['kind']}/{one['metadata']['name']}": schemas.mistake(one, version) for one in objects(name)}
    assert {called: mistake for called, mistake in mistakes.items() if mistake is not None} == {}


def test_a_wrong_object_is_found() -> None:
    """The schemas refuse a property that does not exist, of Kubernetes and of operators."""
    deployment = {**the("cpu", "Deployment"), "spec": {**the("cpu", "Deployment")["spec"], "replica": 1}}
    scaled = {**the("cpu", "ScaledObject"), "spec": {**the("cpu", "ScaledObject")["spec"], "maxReplicas": 3}}
    assert "replica" in (schemas.mistake(deployment) or "")
    assert "maxReplicas" in (schemas.mistake(scaled) or "")


def test_style() -> None:
    """`yamllint` has nothing to say."""
    linted = [sys.executable, "-m", "yamllint", "--strict", "--config-file", f"{DEPLOY}/.yamllint", str(DEPLOY)]
    done = subprocess.run(linted, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


# pod security


@pytest.mark.parametrize("name", EVERY)
def test_pods_pass_the_restricted_standard(name: str) -> None:
    """Non-root, read-only root, no capabilities, no token, the runtime's seccomp profile; emptyDir to write to."""
    for template in templates(name):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        kinds = {volume["name"]: next(kind for kind in volume if kind != "name") for volume in pod["volumes"]}
        assert set(kinds.values()) <= {"configMap", "emptyDir", "secret"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            for mount in container["volumeMounts"]:
                assert mount.get("readOnly", False) is (kinds[mount["name"]] != "emptyDir")
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", EVERY)
def test_secrets_are_referred_to(name: str) -> None:
    """No overlay makes a Secret, and no variable is one."""
    secret = {variable(path) for path, setting in settings().items() if setting.secret}
    assert objects(name, "Secret") == []
    assert secret.isdisjoint(environment(name))


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_have_a_tag(name: str) -> None:
    """No image is another one tomorrow without anyone's doing."""
    images = [container["image"] for template in templates(name) for container in template["spec"]["containers"]]
    assert all(re.search(r":(?!latest$)[\w.-]+$|@sha256:", image) for image in images), images


# labels and selectors


@pytest.mark.parametrize("name", EVERY)
def test_recommended_labels(name: str) -> None:
    """Everything carries the recommended labels, pods too."""
    for one in [*objects(name), *templates(name)]:
        assert RECOMMENDED <= one["metadata"]["labels"].keys(), one["metadata"]
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "logloom"


@pytest.mark.parametrize("name", EVERY)
def test_selectors_pick_what_they_mean(name: str) -> None:
    """Deployments, budgets, policies, monitors and services pick their own pods, and no others of Logloom."""
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in objects(name, "Deployment")
    }

    workers = {pod for pod, labels in pods.items() if labels["app.kubernetes.io/name"] == "logloom"}

    def picked(selector: dict[str, Any]) -> set[str]:
        return {pod for pod, labels in pods.items() if picks(selector, labels)}

    for one in objects(name):
        called, spec = one["metadata"]["name"], one.get("spec", {})
        match one["kind"]:
            case "Deployment" | "PodDisruptionBudget":
                assert picked(spec["selector"]) == {called}
            case "PodMonitor":
                assert picked(spec["selector"]) == workers
            case "Service":
                assert picked({"matchLabels": spec["selector"]}) == (
                    workers if called == "logloom-workers" else {called}
                )
            case "NetworkPolicy" if called == "logloom-default-deny":
                assert picked(spec["podSelector"]) == set(pods)
                assert spec.keys() == {"podSelector", "policyTypes"}
                assert spec["policyTypes"] == ["Ingress", "Egress"]
            case "NetworkPolicy":
                assert picked(spec["podSelector"]) == (workers if called == "logloom" else {called})
    for called in workers:
        for spread in the(name, "Deployment", called)["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert picked(spread["labelSelector"]) == {called}


@pytest.mark.parametrize("name", EVERY)
def test_every_pod_that_may_go_out_may_ask_dns(name: str) -> None:
    """The worker reaches DNS and what its own settings name at their ports, and is reached at its metrics alone."""
    policy = the(name, "NetworkPolicy")["spec"]
    ranges = [(one["port"], one.get("endPort", one["port"])) for rule in policy["egress"] for one in rule["ports"]]
    addresses = environment(name)
    collector = addresses.get("LOGLOOM_TRACING__ENDPOINT")
    for address in (
        addresses["LOGLOOM_KAFKA__BOOTSTRAP_SERVERS"],
        addresses["LOGLOOM_REDIS__URL"].removesuffix("/0"),
        *([] if collector is None else [collector]),
    ):
        port = int(address.rpartition(":")[2])
        assert any(first <= port <= last for first, last in ranges), address
    assert [one["ports"] for one in policy["ingress"]] == [[{"port": "metrics"}]]


@pytest.mark.parametrize("name", EVERY)
def test_workers_can_be_watched_from_one_of_them(name: str) -> None:
    """The address that `make deploy` tells stands for every worker, ready or not, and the policy lets it through."""
    called, port = re.findall(r"--workers (\S+):(\d+)", STATUS)[0]
    spec = the(name, "Service", called)["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert [int(port)] == [one["port"] for one in spec["ports"]]
    assert int(port) == worker(name)["ports"][0]["containerPort"]
    policy = the(name, "NetworkPolicy")["spec"]
    everyone = {"podSelector": {"matchLabels": spec["selector"]}}
    assert everyone in policy["ingress"][0]["from"]
    assert {"to": [everyone], "ports": [{"port": int(port)}]} in policy["egress"]


# what the worker says


@pytest.mark.parametrize("name", EVERY)
def test_the_worker_takes_its_environment(name: str, tmp_path: Path) -> None:
    """The worker starts with the variables and the file that a pod gets: it refuses any that it does not know."""
    mounts = {mount["mountPath"]: tmp_path / mount["name"] for mount in worker(name)["volumeMounts"]}
    for folder in mounts.values():
        folder.mkdir()

    def here(value: str) -> str:
        at = next((at for at in mounts if value == at or value.startswith(f"{at}/")), None)
        return value if at is None else f"{mounts[at]}{value.removeprefix(at)}"

    values = {key: here(value) for key, value in environment(name).items()}
    for key, value in values.items():
        if key.endswith("_LOCATION"):
            Path(value).write_text("-")
    (config,) = [one for one in objects(name, "ConfigMap") if "logloom.toml" in one["data"]]
    Path(values["LOGLOOM_CONFIG"]).write_text(config["data"]["logloom.toml"])
    found = load(environment=values)
    assert found.sources["app"].topics == ("app.raw",)
    assert found.metrics.port == worker(name)["ports"][0]["containerPort"]
    device = {"cpu": "cpu", "gpu": "cuda", "dev": "cpu"}.get(name, "auto")
    assert found.model.device == device


def test_every_setting_fits_a_config_map() -> None:
    """Each setting's variable may be a key that `envFrom` takes, and the document names them all."""
    document = (ROOT / "docs" / "settings.md").read_text()
    for path in settings():
        if ANY_SOURCE not in path:
            assert re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable(path))
            assert f"`{variable(path)}`" in document


@pytest.mark.parametrize("name", EVERY)
def test_probes_ask_what_the_worker_answers(name: str) -> None:
    """Each probe has a path of its own, which the worker serves."""
    container = worker(name)
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/startupz", "liveness": "/healthz", "readiness": "/readyz"}
    assert all(hasattr(HealthServer, f"_{path.removeprefix('/')}") for path in paths.values())
    startup = container["startupProbe"]
    # As long as kernels may take to compile on a slow processor, and more.
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120


@pytest.mark.parametrize("name", EVERY)
def test_the_grace_period_fits_the_drain(name: str) -> None:
    """A pod is killed only after the worker has had all the time that it allows itself."""
    drain = AppSettings(bootstrap_servers="", group="", subscriptions=()).drain_seconds + _STOP_SECONDS + FLUSH_SECONDS
    before = worker(name)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = the(name, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert before + drain < grace
    # Static membership would have the broker wait for a pod that does not come back by that name.
    assert Settings().kafka.group_instance_id is None


@pytest.mark.parametrize("name", [name for name in EVERY if "tracing" in name])
def test_traces_name_the_pod(name: str) -> None:
    """Each kind of worker says which pod it is, and to whom spans go."""
    for deployment in objects(name, "Deployment"):
        called = deployment["metadata"]["name"]
        values = environment(name, called)
        assert values["LOGLOOM_TRACING__RESOURCE"] == "k8s.pod.name=pod_name,k8s.namespace.name=pod_namespace"
        assert values["LOGLOOM_TRACING__ENDPOINT"].startswith("http://")


# scaling


@pytest.mark.parametrize("name", AUTOSCALED)
def test_scaling_stays_within_partitions(name: str) -> None:
    """At least one worker, at most one a partition, and no one but the autoscaler sets how many."""
    ranges = {
        one["metadata"]["name"]: (one["spec"].get("minReplicaCount", one["spec"].get("minReplicas")),
                                  one["spec"].get("maxReplicaCount", one["spec"].get("maxReplicas")))
        for one in [*objects(name, "ScaledObject"), *objects(name, "HorizontalPodAutoscaler")]
    }  # fmt: skip
    partitions = {one["spec"]["partitions"] for one in objects("strimzi", "KafkaTopic")}
    assert ranges.pop("logloom") == (1, *partitions)
    # Parsers share the partitions of the misses, which are as many.
    assert all(least == 1 and most <= max(partitions) for least, most in ranges.values())
    assert "replicas" not in the(name, "Deployment")["spec"]


@pytest.mark.parametrize("name", [name for name in EVERY if objects(name, "ScaledObject")])
def test_keda_reads_the_workers_own_environment(name: str) -> None:
    """The variables that KEDA looks for are there, and lag beyond the partitions asks for no worker."""
    lag = the(name, "ScaledObject")["spec"]["triggers"][0]
    known = environment(name)
    assert {value for key, value in lag["metadata"].items() if key.endswith("FromEnv")} <= known.keys()
    assert lag["metadata"]["allowIdleConsumers"] == "false"


def test_gpus_scale_by_misses_too() -> None:
    """Where a GPU serves, the rate of misses is a second trigger."""
    triggers = the("gpu", "ScaledObject")["spec"]["triggers"]
    assert [one["type"] for one in triggers] == ["kafka", "prometheus"]
    assert "logloom_misses_total" in triggers[1]["metadata"]["query"]


def test_a_gpu_is_given_before_it_is_asked_for() -> None:
    """A rollout asks for no GPU beyond those that workers have."""
    deployment = the("gpu", "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert worker("gpu")["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_a_changed_setting_rolls(tmp_path: Path) -> None:
    """Another setting makes another ConfigMap, which the Deployment then names."""
    base = shutil.copytree(DEPLOY / "base", tmp_path / "base")
    with (base / "logloom.toml").open("a") as file:
        file.write("[output]\ncompression = 'zstd'\n")

    def mounted(built: list[Object]) -> str:
        (pod,) = [one["spec"]["template"]["spec"] for one in built if one["kind"] == "Deployment"]
        (volume,) = [one for one in pod["volumes"] if one["name"] == "config"]
        return str(volume["configMap"]["name"])

    before, after = kustomize(DEPLOY / "base"), kustomize(base)
    assert mounted(before) != mounted(after)
    assert mounted(after) in {one["metadata"]["name"] for one in after}


# documents


def test_the_users_rights_are_those_of_the_document() -> None:
    """Strimzi's user has exactly the rights that docs/security.md gives, which are tested on a real broker."""
    documented = set()
    for words in commands("kafka-acls.sh"):
        kind = "prefix" if "prefixed" in words else "literal"
        operation, place = words[words.index("--operation") + 1], dict(pairwise(words))
        topics = [words[at + 1] for at, word in enumerate(words) if word == "--topic"]
        documented |= {(operation, "topic", topic, kind) for topic in topics}
        for option, resource in (("--group", "group"), ("--transactional-id", "transactionalId")):
            documented |= {(operation, resource, place[option], kind)} if option in place else set()
    granted = {
        (operation, rule["resource"]["type"], rule["resource"]["name"], rule["resource"].get("patternType", "literal"))
        for rule in the("strimzi", "KafkaUser")["spec"]["authorization"]["acls"]
        for operation in rule["operations"]
    }
    assert granted == documented


def test_topics_are_those_of_the_settings() -> None:
    """Strimzi makes the topics that are read and written by default, all with as many partitions."""
    topics = {one["metadata"]["name"] for one in objects("strimzi", "KafkaTopic")}
    assert topics == {"app.raw", Settings().output.topic, Settings().output.dead_letter_topic}


@pytest.mark.parametrize("name", [name for name in EVERY if objects(name, "PodMonitor")])
def test_each_kind_of_worker_is_a_job(name: str) -> None:
    """Alerts are asked per job: Prometheus's relabelling gives matchers and parsers, and namespaces, one each."""
    (endpoint,) = the(name, "PodMonitor")["spec"]["podMetricsEndpoints"]
    (relabelling,) = endpoint["relabelings"]
    assert relabelling["targetLabel"] == "job"

    def job(pod: Object, namespace: str) -> str:
        labels = {re.sub(r"\W", "_", label): value for label, value in pod["metadata"]["labels"].items()}
        meta = {f"__meta_kubernetes_pod_label_{label}": value for label, value in labels.items()}
        values = {"__meta_kubernetes_namespace": namespace, **meta}
        return str(relabelling["separator"]).join(values[label] for label in relabelling["sourceLabels"])

    pods = [pod for pod in templates(name) if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "logloom"]
    jobs = {job(pod, namespace) for pod in pods for namespace in ("a", "b")}
    assert len(jobs) == 2 * len(pods)
    assert "a/logloom-worker" in jobs


def test_alerts_have_one_source() -> None:
    """The PrometheusRule is what `make rules` makes of the alerts, and asks for metrics that there are."""
    alerts = (DEPLOY / "watching" / "alerts.yaml").read_text()
    assert the("cpu", "PrometheusRule")["spec"] == yaml.safe_load(alerts), "run `make rules`"
    known = {sample.name for metric in Metrics(sources=["a"]).registry.collect() for sample in metric.samples}
    known |= {f"{metric.name}_total" for metric in Metrics().registry.collect() if metric.type == "counter"}
    known |= {metric.name for metric in Metrics().registry.collect()}
    assert set(re.findall(r"\blogloom_\w+", alerts)) <= known
