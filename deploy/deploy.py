"""`make deploy`, `make deploy-diff`, `make undeploy`: kubectl and kustomize, in the order that a careful person would.

Writes a kustomization with the given addresses into build/deploy/ and applies that: what is applied lies there to be
read, and to be kept in a repository of manifests. Runs on plain Python, without .venv.
"""  # noqa: INP001  a script, no package
# ruff: noqa: T201, S603, RET503

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "deploy"
KUBECTL = shlex.split(os.environ.get("KUBECTL") or "kubectl")
MANAGER = "logloom-deploy"
LABEL = "app.kubernetes.io/part-of=logloom"
WORKERS = "app.kubernetes.io/name=logloom,app.kubernetes.io/component=worker"
#: What Logloom may have in a namespace. Not KafkaTopic and KafkaUser: with a topic goes what is in it.
OWNED = [
    *("configmaps", "deployments.apps", "horizontalpodautoscalers.autoscaling", "networkpolicies.networking.k8s.io"),
    *("poddisruptionbudgets.policy", "podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"),
    *("scaledobjects.keda.sh", "serviceaccounts", "services", "triggerauthentications.keda.sh"),
]
#: What base/networkpolicy.yaml lets workers reach anyway.
STANDARD_PORTS = {9092, 9093, 9094, 6379, 6380}
#: What brings the kinds that Kubernetes does not know by itself, and how to do without it.
OPERATORS = {
    "keda.sh": "KEDA: install it, or scale otherwise by SCALING=hpa or SCALING=none",
    "monitoring.coreos.com": "the Prometheus operator: install it, or do without by MONITORING=none",
    "kafka.strimzi.io": "Strimzi: install it, or leave the component strimzi out",
}
#: What shows all workers, asked in one of them.
STATUS = "logloom status --workers logloom-workers:9464"
#: What prints a worker's metrics, in its own container.
READ_METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics').read().decode())"

Object = dict[str, Any]


def main() -> None:
    """Do what the command line says."""
    asked = _arguments()
    overlay = _overlay(asked.overlay)
    _need_tools()
    _need_cluster()
    if asked.command == "undeploy":
        undeploy(asked.namespace)
        return
    folder = write_kustomization(overlay, asked)
    objects = build(folder)
    _need_kinds(objects)
    _need_rights(map(_resource, objects), asked.namespace, ["create", "patch"])
    say(f"{overlay.name} in namespace {asked.namespace}: {', '.join(sorted(map(_called, objects)))}")
    diff(folder, asked.namespace)
    if asked.command == "diff":
        return
    ensure_namespace(asked.namespace)
    apply(folder, asked.namespace)
    watch(asked.namespace, objects, asked.timeout)
    clear(asked.namespace, objects)
    show(asked.namespace)


def _arguments() -> argparse.Namespace:
    """Read the command line; what is not given there is taken from variables, which is what `make` hands over."""
    parser = argparse.ArgumentParser(prog="deploy.py", description=__doc__)
    parser.add_argument("command", choices=["deploy", "diff", "undeploy"])

    def option(name: str, default: str, meaning: str) -> None:
        given = os.environ.get(name.upper()) or default
        parser.add_argument(f"--{name}", default=given, metavar=name.upper(), help=f"{meaning} [{given or 'as it is'}]")

    option("overlay", "cpu", "cpu, gpu, dev, or a folder with a kustomization of yours")
    option("namespace", "logloom", "made where there is none")
    option("kafka", "", "host:port, several with commas")
    option("redis", "", "host:port, or redis://..., rediss://...")
    option("image", "", "NAME:TAG or NAME@sha256:DIGEST")
    option("scaling", "", "keda, hpa or none")
    option("monitoring", "", "prometheus-operator or none")
    option("timeout", "300s", "longest wait for the rollout")
    asked = parser.parse_args()
    for name, allowed in (("scaling", ("keda", "hpa", "none")), ("monitoring", ("prometheus-operator", "none"))):
        value = getattr(asked, name)
        if value and value not in allowed:
            refuse(f"{name.upper()}={value}: allowed are {', '.join(allowed)}")
    return asked


# what must be there


def _overlay(name: str) -> Path:
    for folder in (HERE / "overlays" / name, Path(name)):
        if (folder / "kustomization.yaml").is_file():
            return folder.resolve()
    known = ", ".join(sorted(path.name for path in (HERE / "overlays").iterdir()))
    refuse(f"no overlay {name!r}; there are {known}, or give a folder with a kustomization.yaml")


def _need_tools() -> None:
    if shutil.which(KUBECTL[0]) is None:
        refuse(f"{KUBECTL[0]} is not installed: see https://kubernetes.io/docs/tasks/tools/, or set KUBECTL")


def _need_cluster() -> None:
    context = run("config", "current-context").stdout.strip() or "none"
    answer = run("version", "--output=json", "--request-timeout=10s")
    server = json.loads(answer.stdout or "{}").get("serverVersion")
    if server is None:
        refuse(f"no cluster answers (context {context}):\n{answer.stderr.strip()}")
    say(f"cluster {context}, Kubernetes {server['gitVersion']}")


def _need_kinds(objects: Sequence[Object]) -> None:
    known = _known_resources()
    missing = {_group(one) for one in objects if _group(one) in OPERATORS and _resource(one) not in known}
    if missing:
        refuse("the cluster lacks " + "; ".join(OPERATORS[group] for group in sorted(missing)))


def _known_resources() -> set[str]:
    return set(run("api-resources", "--output=name", must=True).stdout.split())


def _need_rights(resources: Iterable[str], namespace: str, verbs: Sequence[str]) -> None:
    """Ask as `kubectl auth can-i` does, but all at once."""
    rights = [(verb, resource) for resource in sorted(set(resources)) for verb in verbs]
    reviews = {"apiVersion": "v1", "kind": "List", "items": [_review(*right, namespace) for right in rights]}
    answers = run("create", "--validate=false", "--output=json", "-f", "-", given=json.dumps(reviews), must=True).stdout
    allowed = [one["status"]["allowed"] for one in _documents(answers)]
    if lacking := [" ".join(right) for right, is_allowed in zip(rights, allowed, strict=True) if not is_allowed]:
        refuse(f"you may not do this in namespace {namespace}: {', '.join(lacking)}")


def _review(verb: str, resource: str, namespace: str) -> Object:
    plural, _, group = resource.partition(".")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": plural}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return {**kind, "spec": {"resourceAttributes": asked}}


# what is applied


def write_kustomization(overlay: Path, asked: argparse.Namespace) -> Path:
    """Write the overlay with what was asked for into build/deploy/NAMESPACE, and return that folder."""
    folder: Path = BUILD / asked.namespace
    folder.mkdir(parents=True, exist_ok=True)
    content: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": asked.namespace,
        "resources": [os.path.relpath(overlay, folder.resolve())],
        "components": [],
        "patches": [],
    }
    environment = _environment(asked)
    if environment:
        content["configMapGenerator"] = [
            {
                "name": "logloom-environment",
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in environment.items()],
            }
        ]
        content["patches"] += _open_ports(environment)
    if asked.image:
        name, at, digest = asked.image.partition("@")
        name, colon, tag = (name, "", "") if at else asked.image.rpartition(":")
        if not at and (not colon or "/" in tag):
            refuse(f"--image={asked.image}: a tag or a digest is missing; `latest` is another one tomorrow")
        content["images"] = [{"name": "logloom", "newName": name, **({"digest": digest} if at else {"newTag": tag})}]
    if asked.scaling in {"hpa", "none"}:
        content["patches"].append(_without("keda.sh/v1alpha1", "ScaledObject"))
    if asked.scaling == "hpa":
        content["components"].append(os.path.relpath(HERE / "components" / "hpa", folder.resolve()))
    if asked.monitoring == "none":
        content["patches"] += [_without("monitoring.coreos.com/v1", kind) for kind in ("PodMonitor", "PrometheusRule")]
    (folder / "kustomization.yaml").write_text(json.dumps(content, indent=2) + "\n")  # JSON is YAML
    return folder


def _environment(asked: argparse.Namespace) -> dict[str, str]:
    environment = {}
    if asked.kafka:
        environment["LOGLOOM_KAFKA__BOOTSTRAP_SERVERS"] = asked.kafka
    if asked.redis:
        url = asked.redis if "://" in asked.redis else f"redis://{asked.redis}/0"
        if re.search(r"://[^/@]*:[^/@]+@", url):
            refuse("REDIS: a password in the address would lie in a ConfigMap; put it into the Secret logloom-secrets")
        environment["LOGLOOM_REDIS__URL"] = url
    return environment


def _open_ports(environment: dict[str, str]) -> list[Object]:
    """Let workers reach the ports of the given addresses too."""
    found = {int(port) for address in environment.values() for port in re.findall(r":(\d+)(?=,|/|$)", address)}
    ports = [{"port": port} for port in sorted(found - STANDARD_PORTS)]
    rule = {"op": "add", "path": "/spec/egress/-", "value": {"ports": ports}}
    return [{"target": {"kind": "NetworkPolicy", "name": "logloom$"}, "patch": json.dumps([rule])}] if ports else []


def _without(version: str, kind: str) -> Object:
    patch = {"apiVersion": version, "kind": kind, "metadata": {"name": "logloom"}, "$patch": "delete"}
    return {"target": {"kind": kind}, "patch": json.dumps(patch)}


def build(folder: Path) -> list[Object]:
    """Return what `folder` describes."""
    manifests = run("kustomize", str(folder), must=True).stdout
    # Changes nothing and asks no cluster: it turns YAML into JSON, which Python can read by itself.
    printed = run("annotate", "--local", "--output=json", "-f", "-", "none-", given=manifests, must=True)
    return list(_documents(printed.stdout))


def _documents(text: str) -> Iterable[Object]:
    decoder, place = json.JSONDecoder(), 0
    while (place := len(text) - len(text[place:].lstrip())) < len(text):
        value, place = decoder.raw_decode(text, place)
        yield from value["items"] if value["kind"] == "List" else [value]


# what is done


def ensure_namespace(namespace: str) -> None:
    """Make the namespace where there is none, with restricted pod security; one that is there stays as it is."""
    if _exists(namespace):
        return
    say(f"creates namespace {namespace}, with restricted pod security")
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    run("apply", "--server-side", f"--field-manager={MANAGER}", "-f", "-", given=json.dumps(manifest), must=True)


def _exists(namespace: str) -> bool:
    return run("get", "namespace", namespace, "--ignore-not-found", "--output=name", must=True).stdout.strip() != ""


def diff(folder: Path, namespace: str) -> None:
    """Show what an apply would change."""
    if not _exists(namespace):
        say(f"there is no namespace {namespace} yet: all of it is new")
        return
    found = run("diff", "--server-side", f"--field-manager={MANAGER}", "-k", str(folder))
    if found.returncode > 1:
        refuse(f"kubectl diff failed:\n{found.stderr.strip()}")
    print(found.stdout if found.returncode else "no differences")


def apply(folder: Path, namespace: str) -> None:
    """Apply server-side: what others own, such as the autoscaler the replicas, stays theirs."""
    say("applies")
    done = run("apply", "--server-side", f"--field-manager={MANAGER}", "-k", str(folder))
    print(done.stdout.strip(), flush=True)
    if done.returncode:
        refuse(
            f"kubectl apply failed in namespace {namespace}; what is printed above is applied:\n{done.stderr.strip()}"
        )
    sys.stderr.write(done.stderr)  # warnings


def watch(namespace: str, objects: Sequence[Object], timeout: str) -> None:
    """Wait until every Deployment is rolled out, else tell why it is not and end."""
    for one in objects:
        if one["kind"] != "Deployment":
            continue
        name = one["metadata"]["name"]
        say(f"waits for {name}, {timeout} at most")
        done = run("rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={timeout}")
        print(done.stdout.strip().rpartition("\n")[2])
        if done.returncode:
            tell_why(namespace, one)
            refuse(f"{name} did not come up: {done.stderr.strip()}")


def tell_why(namespace: str, deployment: Object) -> None:
    """Print pods, events and the last lines of the pods that are not ready."""
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    here = f"--namespace={namespace}"
    say("pods and events")
    print(run("get", "pods", here, f"--selector={selector}", "--output=wide").stdout)
    print(_events(namespace))
    pods = json.loads(run("get", "pods", here, f"--selector={selector}", "--output=json", must=True).stdout)["items"]
    for pod in filter(_is_unready, pods):
        name = pod["metadata"]["name"]
        for state in _troubles(pod):
            say(f"{name}: {state}")
        # Of a container that starts again and again, the end before this start says most.
        logs = run("logs", name, here, "--previous", "--tail=30")
        if logs.returncode or not logs.stdout:
            logs = run("logs", name, here, "--tail=30")
        say(f"last lines of {name}")
        print(logs.stdout or logs.stderr)


def _is_unready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _troubles(pod: Object) -> Iterable[str]:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["status"] != "True" and condition.get("message"):
            yield condition["message"]
    for container in pod.get("status", {}).get("containerStatuses", []):
        for states in (container.get("state", {}), container.get("lastState", {})):
            for name in ("waiting", "terminated"):
                if state := states.get(name):
                    yield f"{container['name']} {name}: {state.get('reason', '')} {state.get('message', '')}".strip()


def show(namespace: str) -> None:
    """Print pods, lag, the last events, and how to look on."""
    here = f"--namespace={namespace}"
    say("runs")
    print(run("get", "pods", here, f"--selector={LABEL}").stdout)
    say(_lag(here))
    print(_events(namespace))
    say(f"to watch: {shlex.join(KUBECTL)} exec -it {here} deployment/logloom -- {STATUS}")


def _lag(here: str) -> str:
    """Add up by topic what the workers say of their partitions."""
    pods = run("get", "pods", here, f"--selector={WORKERS}", "--output=name").stdout.split()
    lag: Counter[str] = Counter()
    for pod in pods:
        read = run("exec", pod, here, "--", "python", "-c", READ_METRICS)
        if read.returncode:
            return f"lag can't be read: {read.stderr.strip()}"
        for topic, records in re.findall(
            r'^logloom_lag_records\{.*topic="([^"]+)".*\} (\S+)$', read.stdout, re.MULTILINE
        ):
            lag[topic] += int(float(records))
    told = ", ".join(f"{topic} {records:,}" for topic, records in sorted(lag.items())) or "no partitions yet"
    return f"lag of the workers ({len(pods)}) in records: {told}"


def _events(namespace: str) -> str:
    lines = run("events", f"--namespace={namespace}").stdout.splitlines()
    return "\n".join(lines[:1] + lines[1:][-20:])


def clear(namespace: str, objects: Sequence[Object]) -> None:
    """Delete what an earlier deploy left and this one has not, such as the other autoscaler.

    Not ConfigMaps: `kubectl rollout undo` needs the former ones. Not what a controller made.
    """
    kinds = ",".join(sorted(_known_resources() & set(OWNED) - {"configmaps"}))
    found = run("get", kinds, f"--namespace={namespace}", f"--selector={LABEL}", "--output=json", must=True).stdout
    wanted = {(_resource(one), one["metadata"]["name"]) for one in objects}
    for one in json.loads(found)["items"]:
        name = one["metadata"]["name"]
        if (_resource(one), name) not in wanted and "ownerReferences" not in one["metadata"]:
            say(f"deletes {_called(one)}, which is no part of it any more")
            run("delete", _resource(one), name, f"--namespace={namespace}", must=True)


def undeploy(namespace: str) -> None:
    """Delete all that carries our label; topics, Secrets and the namespace stay."""
    if not _exists(namespace):
        say(f"there is no namespace {namespace}")
        return
    kinds = sorted(_known_resources() & set(OWNED))
    _need_rights(kinds, namespace, ["delete"])
    say(f"deletes what is Logloom's in namespace {namespace}; topics, Secrets and the namespace stay")
    done = run("delete", ",".join(kinds), f"--namespace={namespace}", f"--selector={LABEL}")
    print(done.stdout.strip() or "there was nothing")
    if done.returncode:
        refuse(f"kubectl delete failed:\n{done.stderr.strip()}")


# words


def run(*words: str, given: str | None = None, must: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run kubectl; where it `must` succeed and does not, end with what it says."""
    done = subprocess.run([*KUBECTL, *words], input=given, capture_output=True, text=True, check=False)
    if must and done.returncode:
        refuse(f"kubectl {words[0]} failed:\n{done.stderr.strip()}")
    return done


def _group(one: Object) -> str:
    return str(one["apiVersion"]).rpartition("/")[0]


def _resource(one: Object) -> str:
    """Name the resource as `kubectl api-resources` does."""
    plural = one["kind"].lower()
    plural = f"{plural[:-1]}ies" if plural.endswith("y") else f"{plural}s"
    return f"{plural}.{_group(one)}" if _group(one) else plural


def _called(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def say(text: str) -> None:
    """Print a step."""
    print(f"==> {text}", flush=True)


def refuse(reason: str) -> NoReturn:
    """End with a reason."""
    sys.stdout.flush()
    print(f"Error: {reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
