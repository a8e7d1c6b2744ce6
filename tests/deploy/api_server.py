"""A Kubernetes API server, as far as `kubectl apply`, `diff`, `rollout`, `logs`, `exec` and `delete` need one.

Objects are held to the published schemas as the real one holds them. It has no controllers: `nodes.py` plays them
through the API. Over HTTP, on a thread of its own.
"""

import asyncio
import copy
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.deploy import schemas

Object = dict[str, Any]

CRDS = Path(__file__).parent / "crds"
_CORE = {
    "v1": {"Namespace": False, "ConfigMap": True, "Event": True, "Pod": True, "Service": True, "ServiceAccount": True}
}
_GROUPS = {
    "apps/v1": {"Deployment": True},
    "authorization.k8s.io/v1": {"SelfSubjectAccessReview": False},
    "autoscaling/v2": {"HorizontalPodAutoscaler": True},
    "networking.k8s.io/v1": {"NetworkPolicy": True},
    "policy/v1": {"PodDisruptionBudget": True},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects."""

    group_version: str
    name: str
    plural: str
    is_namespaced: bool

    @property
    def path(self) -> str:
        """Where its group and version are served."""
        return f"/{'apis' if '/' in self.group_version else 'api'}/{self.group_version}"

    def described(self) -> Object:
        """Say what it is, for discovery."""
        verbs = ["create", "delete", "get", "list", "patch", "watch"]
        named = {"name": self.plural, "singularName": self.name.lower(), "kind": self.name}
        return {**named, "namespaced": self.is_namespaced, "verbs": verbs}


def _plural(kind: str) -> str:
    kind = kind.lower()
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _built_in() -> list[Kind]:
    return [
        Kind(version, name, _plural(name), namespaced)
        for version, kinds in {**_CORE, **_GROUPS}.items()
        for name, namespaced in kinds.items()
    ]


def custom_kinds() -> list[Kind]:
    """Give the kinds that operators bring."""
    definitions = [one for file in sorted(CRDS.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
    return [
        Kind(f"{spec['group']}/{spec['versions'][0]['name']}", spec["names"]["kind"], spec["names"]["plural"], True)
        for spec in (definition["spec"] for definition in definitions)
    ]


@dataclass(slots=True)
class ApiServer:
    """Objects by kind, namespace and name, and what else is asked of a cluster."""

    kinds: list[Kind]
    #: What the user may not do: `verb resource`.
    forbidden: set[str] = field(default_factory=set)
    #: What a container has logged, and what a command in it prints, by pod.
    logs: dict[str, str] = field(default_factory=dict)
    printed: Callable[[list[str]], str] = lambda _command: ""
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    url: str = ""
    _version: int = 0
    _watches: list[tuple[str, str, "asyncio.Queue[Object | None]"]] = field(default_factory=list)

    def application(self) -> web.Application:
        """Make the HTTP server's routes."""
        application = web.Application()
        add = application.router.add_get
        add("/version", _fixed({"major": "1", "minor": "37", "gitVersion": "v1.37.0"}))
        add("/api", _fixed({"kind": "APIVersions", "versions": ["v1"]}))
        add("/apis", _fixed({"kind": "APIGroupList", "apiVersion": "v1", "groups": self._groups()}))
        paths = {kind.path for kind in self.kinds}
        add("/openapi/v3", _fixed({"paths": {path[1:]: {"serverRelativeURL": f"/openapi/v3{path}"} for path in paths}}))
        for path in paths:
            served = [kind for kind in self.kinds if kind.path == path]
            described = [kind.described() for kind in served]
            version = served[0].group_version
            add(path, _fixed({"kind": "APIResourceList", "groupVersion": version, "resources": described}))
            add(f"/openapi/v3{path}", _fixed(_open_api(served)))
        for kind in self.kinds:
            self._add_kind(application, kind)
        application.on_shutdown.append(self.end)
        pod = "/api/v1/namespaces/{namespace}/pods/{name}"
        add(f"{pod}/log", self._log)
        add(f"{pod}/exec", self._exec)
        return application

    def _groups(self) -> list[Object]:
        groups: dict[str, list[Object]] = {}
        for version in sorted({kind.group_version for kind in self.kinds if "/" in kind.group_version}):
            group, _, number = version.partition("/")
            groups.setdefault(group, []).append({"groupVersion": version, "version": number})
        return [{"name": name, "versions": of, "preferredVersion": of[0]} for name, of in groups.items()]

    def _add_kind(self, application: web.Application, kind: Kind) -> None:
        places = [f"{kind.path}/namespaces/{{namespace}}/{kind.plural}"] if kind.is_namespaced else []
        router = application.router
        for place in (*places, f"{kind.path}/{kind.plural}"):
            router.add_get(place, self._for(kind, self._list))
            router.add_post(place, self._for(kind, self._create))
            for one in (f"{place}/{{name}}", f"{place}/{{name}}/status"):
                router.add_get(one, self._for(kind, self._get))
                router.add_patch(one, self._for(kind, self._patch))
                router.add_delete(one, self._for(kind, self._delete))

    def _for(
        self, kind: Kind, answer: Callable[[Kind, web.Request], Coroutine[Any, Any, web.StreamResponse]]
    ) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
        async def answered(request: web.Request) -> web.StreamResponse:
            return await answer(kind, request)

        return answered

    # what is asked of objects

    async def _list(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") in {"true", "1"}:
            return await self._watch(kind, request)
        items = [one for key, one in self.objects.items() if key[0] == kind.plural and _is_asked_for(one, request)]
        listed = {"kind": f"{kind.name}List", "apiVersion": kind.group_version, "items": items}
        return web.json_response({**listed, "metadata": {"resourceVersion": str(self._version)}})

    async def _watch(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        events: asyncio.Queue[Object | None] = asyncio.Queue()
        known = int(request.query.get("resourceVersion") or 0)
        for key, one in self.objects.items():
            if key[0] == kind.plural and int(one["metadata"]["resourceVersion"]) > known:
                events.put_nowait({"type": "ADDED", "object": one})
        if request.query.get("sendInitialEvents") == "true":
            events.put_nowait({"type": "BOOKMARK", "object": self._all_told(kind)})
        watch = (kind.plural, request.match_info.get("namespace", ""), events)
        self._watches.append(watch)
        try:
            while (event := await events.get()) is not None:
                if event["type"] == "BOOKMARK" or _is_asked_for(event["object"], request):
                    await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionResetError:
            pass  # kubectl has seen what it waited for
        finally:
            self._watches.remove(watch)
        return response

    def _all_told(self, kind: Kind) -> Object:
        """Say to a watch that it knows all that there is."""
        told = {"resourceVersion": str(self._version), "annotations": {"k8s.io/initial-events-end": "true"}}
        return {"kind": kind.name, "apiVersion": kind.group_version, "metadata": told}

    async def _get(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        one = self.objects.get(_key(kind, request))
        return _not_found(kind, request) if one is None else web.json_response(one)

    async def _create(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if kind.name == "SelfSubjectAccessReview":
            asked = body["spec"]["resourceAttributes"]
            what = f"{asked['verb']} {asked['resource']}" + (f".{asked['group']}" if asked.get("group") else "")
            return web.json_response({**body, "status": {"allowed": what not in self.forbidden}}, status=201)
        key = (kind.plural, request.match_info.get("namespace", ""), body["metadata"]["name"])
        return self._keep(kind, key, body, request)

    async def _patch(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        key = _key(kind, request)
        before = self.objects.get(key, {})
        patch = yaml.safe_load(await request.text())
        if request.content_type != "application/apply-patch+yaml":
            return self._keep(kind, key, _merged(before, patch), request)
        if kind.is_namespaced and ("namespaces", "", key[1]) not in self.objects:
            return _refused(404, "NotFound", f'namespaces "{key[1]}" not found')
        if (reason := schemas.mistake(patch)) is not None:
            return _refused(422, "Invalid", f"{kind.name} {key[2]!r} is invalid: {reason}")
        kept = {name: before[name] for name in ("status",) if name in before}
        metadata = {**before.get("metadata", {}), **patch["metadata"]}
        return self._keep(kind, key, {**patch, **kept, "metadata": metadata}, request)

    def _keep(self, kind: Kind, key: tuple[str, str, str], one: Object, request: web.Request) -> web.Response:
        before = self.objects.get(key)
        one = copy.deepcopy(one)
        metadata = one["metadata"]
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        metadata.setdefault("uid", f"{kind.plural}-{key[2]}")
        metadata["namespace"] = key[1]
        generation = metadata.get("generation", 0)
        changed = before is None or before.get("spec") != one.get("spec")
        metadata["generation"] = generation + 1 if changed else generation
        if one == before:
            return web.json_response(one)
        metadata["resourceVersion"] = str(self._version + 1)
        if request.query.get("dryRun") != "All":
            self._version += 1
            self.objects[key] = one
            self._tell("ADDED" if before is None else "MODIFIED", key, one)
        return web.json_response(one, status=201 if before is None else 200)

    async def _delete(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        one = self.objects.pop(_key(kind, request), None)
        if one is None:
            return _not_found(kind, request)
        self._tell("DELETED", _key(kind, request), one)
        return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _tell(self, event: str, key: tuple[str, str, str], one: Object) -> None:
        for plural, namespace, events in self._watches:
            if plural == key[0] and namespace in {"", key[1]}:
                events.put_nowait({"type": event, "object": one})

    async def end(self, _application: web.Application) -> None:
        """End all watches."""
        for _, _, events in self._watches:
            events.put_nowait(None)

    # what is asked of a kubelet

    async def _log(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("previous") == "true":
            return _refused(400, "BadRequest", "previous terminated container not found")
        return web.Response(text=self.logs.get(request.match_info["name"], ""))

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        """Run a command in a pod: by the subprotocol, output is channel 1 and the end is channel 3."""
        socket = web.WebSocketResponse(protocols=["v5.channel.k8s.io"])
        await socket.prepare(request)
        await socket.send_bytes(b"\x01" + self.printed(request.query.getall("command")).encode())
        await socket.send_bytes(b"\x03" + json.dumps({"metadata": {}, "status": "Success"}).encode())
        await socket.close()
        return socket


def _fixed(answer: Object) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def answered(_request: web.Request) -> web.Response:
        return web.json_response(answer)

    return answered


def _open_api(kinds: list[Kind]) -> Object:
    """Say that objects are validated here, and that dry runs are: kubectl asks before it trusts in either."""
    parameters = [{"name": name, "in": "query"} for name in ("dryRun", "fieldValidation")]
    paths = {}
    for kind in kinds:
        group, _, version = kind.group_version.rpartition("/")
        means = {"group": group, "version": version, "kind": kind.name}
        patch = {"parameters": parameters, "x-kubernetes-group-version-kind": means}
        paths[f"{kind.path}/{kind.plural}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": paths}


def _key(kind: Kind, request: web.Request) -> tuple[str, str, str]:
    return kind.plural, request.match_info.get("namespace", ""), request.match_info["name"]


def _is_asked_for(one: Object, request: web.Request) -> bool:
    """Tell whether an object is in the namespace and fits the selectors of a request; only `=` is known."""
    metadata = one["metadata"]
    if request.match_info.get("namespace", metadata.get("namespace")) != metadata.get("namespace"):
        return False
    labels = metadata.get("labels", {})
    by_label = dict(pair.split("=", 1) for pair in request.query.get("labelSelector", "").split(",") if pair)
    by_name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    return by_label.items() <= labels.items() and by_name in {"", metadata["name"]}


def _merged(one: Any, patch: Any) -> Any:
    """Merge as RFC 7386 says."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(one) if isinstance(one, Mapping) else {}
    for name, value in patch.items():
        merged[name] = _merged(merged.get(name), value)
    return {name: value for name, value in merged.items() if value is not None}


def _not_found(kind: Kind, request: web.Request) -> web.Response:
    return _refused(404, "NotFound", f'{kind.plural} "{request.match_info["name"]}" not found')


def _refused(code: int, reason: str, message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return web.json_response({**status, "message": message}, status=code)


@contextmanager
def serving(*, operators: bool = True) -> Iterator[ApiServer]:
    """Run an API server; with `operators` it knows their kinds."""
    server = ApiServer([*_built_in(), *(custom_kinds() if operators else [])])
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.application(), shutdown_timeout=1.0, handler_cancellation=True)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return "http://{}:{}".format(*runner.addresses[0])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server.url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
