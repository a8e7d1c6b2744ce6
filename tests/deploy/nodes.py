"""Plays what moves objects on in a cluster: the controller that makes pods of a Deployment, and the kubelet.

It does so through the API alone, so that it serves any API server that has neither.
"""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.threads import meanwhile

Object = dict[str, Any]

#: What becomes of a pod whose image can't be had.
NO_IMAGE = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}}


class Nodes:
    """Brings the pods of every Deployment up, or leaves them as `broken` says by the Deployment's name."""

    def __init__(self, url: str, broken: Mapping[str, Object] | None = None, token: str | None = None) -> None:
        self._url = url
        self._broken = broken or {}
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._tls = None if token is None else ssl._create_unverified_context()  # noqa: S323  a server on this machine

    def look(self, namespace: str) -> None:
        """Bring the Deployments of a namespace to what their specs ask for."""
        for deployment in self._items(f"/apis/apps/v1/namespaces/{namespace}/deployments"):
            if deployment["metadata"]["generation"] != deployment.get("status", {}).get("observedGeneration"):
                self._roll_out(namespace, deployment)

    def _roll_out(self, namespace: str, deployment: Object) -> None:
        name = deployment["metadata"]["name"]
        state = self._broken.get(name)
        is_ready = state is None
        pod = f"{name}-1"
        self._make_pod(namespace, pod, deployment, state)
        if state is not None:
            self._tell(namespace, pod, state["waiting"])
        count = int(is_ready)
        condition = {"type": "Available", "status": str(is_ready), "lastUpdateTime": None, "lastTransitionTime": None}
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": 1, "updatedReplicas": 1, "readyReplicas": count, "availableReplicas": count,
            "unavailableReplicas": 1 - count, "conditions": [condition],
        }  # fmt: skip
        place = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status"
        self.send("PATCH", place, {"status": status})

    def _make_pod(self, namespace: str, name: str, deployment: Object, state: Object | None) -> None:
        template = deployment["spec"]["template"]
        container = template["spec"]["containers"][0]
        pods = f"/api/v1/namespaces/{namespace}/pods"
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
        pod["metadata"] = {"name": name, "labels": template["metadata"]["labels"]}
        try:
            self.send("POST", pods, pod)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        of_container = {"name": container["name"], "ready": state is None, "restartCount": 0, "state": state or running}
        identity = {"image": container["image"], "imageID": ""}
        ready = {"type": "Ready", "status": str(state is None), "message": "containers with unready status: [worker]"}
        status = {"containerStatuses": [{**of_container, **identity}], "conditions": [ready], "phase": "Running"}
        self.send("PATCH", f"{pods}/{name}/status", {"status": status})

    def _tell(self, namespace: str, pod: str, waiting: Object) -> None:
        event = {
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "count": 3,
            "metadata": {"name": f"{pod}.1", "namespace": namespace},
            "involvedObject": {"kind": "Pod", "name": pod, "namespace": namespace},
            "reason": "Failed", "message": waiting["message"],
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        self.send("POST", f"/api/v1/namespaces/{namespace}/events", event)

    def _items(self, path: str) -> list[Object]:
        return list(self.send("GET", path)["items"])

    def send(self, method: str, path: str, body: Object | None = None) -> Any:
        """Ask the API server."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        given = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": kind}
        request = urllib.request.Request(self._url + path, given, headers, method=method)  # noqa: S310  the test's own server
        with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:  # noqa: S310  the same
            return json.load(answer)


@contextmanager
def bringing_up(
    url: str, namespace: str, broken: Mapping[str, Object] | None = None, token: str | None = None
) -> Iterator[None]:
    """Look after a namespace meanwhile."""
    nodes = Nodes(url, broken, token)

    def work(ended: threading.Event) -> None:
        while not ended.wait(0.1):
            nodes.look(namespace)

    with meanwhile(work):
        yield
