"""The overlays as kubectl builds them, and combinations of components that no overlay has."""

import functools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBECTL = Path(sys.executable).with_name("kubectl")
#: Components upon the base.
COMBINATIONS = {
    "strimzi": ["keda", "strimzi", "keda-strimzi", "redis"],
    "hpa": ["hpa"],
    "tracing": ["tracing"],
    "tiers-tracing": ["tracing"],
}
#: What components stand upon, where that is not the base.
_GROUNDS = {"tiers-tracing": "overlays/tiers"}
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())
EVERY = [*OVERLAYS, *COMBINATIONS]


def kustomize(folder: Path) -> list[Object]:
    """Build a folder with a kustomization."""
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@functools.cache
def _built(name: str) -> list[Object]:
    if name not in COMBINATIONS:
        return kustomize(DEPLOY / "overlays" / name)
    with tempfile.TemporaryDirectory(prefix="logloom-overlay-") as folder:
        up = Path(*[".."] * len(Path(folder).resolve().parts[1:]))
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "logloom",
            "resources": [str(up / (DEPLOY / _GROUNDS.get(name, "base")).relative_to("/"))],
            "components": [str(up / (DEPLOY / "components" / one).relative_to("/")) for one in COMBINATIONS[name]],
        }
        Path(folder, "kustomization.yaml").write_text(json.dumps(content))
        return kustomize(Path(folder))


def objects(name: str, kind: str | None = None) -> list[Object]:
    """Give the objects of an overlay or a combination, all or those of a kind."""
    return [one for one in _built(name) if kind in {None, one["kind"]}]


def the(name: str, kind: str, called: str = "logloom") -> Object:
    """Give the one object of that kind and name."""
    (one,) = [one for one in objects(name, kind) if one["metadata"]["name"] == called]
    return one


def worker(name: str, called: str = "logloom") -> Object:
    """Give the container of a Deployment's worker."""
    container: Object = the(name, "Deployment", called)["spec"]["template"]["spec"]["containers"][0]
    return container


def environment(name: str, called: str = "logloom") -> dict[str, str]:
    """Give the worker's variables as its container gets them."""
    container = worker(name, called)
    values: dict[str, str] = {}
    for source in container["envFrom"]:
        values |= the(name, "ConfigMap", source["configMapRef"]["name"])["data"]
    own: dict[str, str] = {}
    for one in container.get("env", []):
        # As the kubelet does: with what stands above. What it looks up elsewhere is called like its variable here.
        value = one.get("value", one["name"].lower())
        own[one["name"]] = re.sub(r"\$\((\w+)\)", lambda at: own.get(at[1], at[0]), value)
    return values | own
