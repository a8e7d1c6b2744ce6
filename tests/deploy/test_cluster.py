"""The same against a real kube-apiserver, where LOGLOOM_TEST_API_SERVER names one: `make test-cluster`.

What the stand-in of `test_deploy.py` is held to: the real one's validation, server-side apply, rights and pod security.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.api_server import CRDS
from tests.deploy.making import NAMESPACE, Make
from tests.deploy.nodes import NO_IMAGE, bringing_up
from tests.deploy.overlays import COMBINATIONS, DEPLOY
from tests.deploy.real_server import ADMIN, GUEST, Real, running

BINARY = os.environ.get("LOGLOOM_TEST_API_SERVER", "")

pytestmark = pytest.mark.skipif(
    not (BINARY and shutil.which("etcd")),
    reason="no API server of LOGLOOM_TEST_API_SERVER, or no etcd: make test-cluster",
)


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    """Give a real API server."""
    with running(BINARY) as server:
        yield server


@pytest.fixture(scope="module")
def make(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Give what runs targets as somebody who may do everything, once operators' kinds are there."""
    make = Make(tmp_path_factory.mktemp("admin"), real.url, ADMIN)
    applied = make.kubectl("apply", "--server-side", "-f", str(CRDS))
    assert applied.returncode == 0, applied.stderr
    waited = make.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    assert waited.returncode == 0, waited.stderr
    return make


@pytest.fixture(autouse=True)
def _tidy(make: Make) -> Iterator[None]:
    """Leave nothing to the next test."""
    yield
    kinds = "deployments,pods,events,scaledobjects,kafkatopics,kafkausers"
    make.kubectl("delete", kinds, f"--namespace={NAMESPACE}", "--all", "--force")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a kustomization of one's own: the components for Strimzi."""
    content = {
        "resources": [os.path.relpath(DEPLOY / "base", tmp_path.resolve())],
        "components": [
            os.path.relpath(DEPLOY / "components" / one, tmp_path.resolve()) for one in COMBINATIONS["strimzi"]
        ],
        "images": [{"name": "logloom", "newTag": "dev"}],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "dev", "strimzi"])
def test_every_overlay_is_applied(real: Real, make: Make, folder: Path, overlay: str) -> None:
    """It comes up, restricted pod security admits its pods, the same again is no difference, and it goes."""
    named = str(folder) if overlay == "strimzi" else overlay
    with bringing_up(real.url, NAMESPACE, token=ADMIN):
        first = make("deploy", OVERLAY=named)
        assert first.returncode == 0, first.stdout + first.stderr
        again = make("deploy-diff", OVERLAY=named)
    assert (again.returncode, "no differences" in again.stdout) == (0, True), again.stdout + again.stderr
    warned = [line for line in first.stderr.splitlines() if line.startswith("Warning:")]
    assert warned == []
    ended = make("undeploy")
    assert ended.returncode == 0, ended.stderr
    left = make.kubectl("get", "kafkatopics,deployments", f"--namespace={NAMESPACE}", "--output=name").stdout.split()
    assert len(left) == (3 if overlay == "strimzi" else 0)


def test_pod_security_is_enforced(real: Real, make: Make) -> None:
    """The namespace that a deploy makes admits no pod that is not restricted: that it admits ours means something."""
    with bringing_up(real.url, NAMESPACE, token=ADMIN):
        assert make("deploy", OVERLAY="dev").returncode == 0
    done = make.kubectl("run", "loose", "--image=loose:1", f"--namespace={NAMESPACE}")
    assert "violates PodSecurity" in done.stderr


def test_no_rights(real: Real, make: Make, tmp_path: Path) -> None:
    """Somebody without rights is told which are lacking."""
    done = Make(tmp_path, real.url, GUEST)("deploy")
    assert done.returncode != 0
    assert "you may not do this" in done.stderr
    assert "patch deployments.apps" in done.stderr


def test_what_the_server_refuses(real: Real, make: Make, tmp_path: Path) -> None:
    """The API server's own validation ends it at the diff."""
    patch = {"op": "add", "path": "/spec/replica", "value": 2}
    content = {
        "resources": [os.path.relpath(DEPLOY / "overlays" / "dev", tmp_path.resolve())],
        "patches": [{"target": {"kind": "Deployment", "name": "logloom"}, "patch": json.dumps([patch])}],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(content))
    done = make("deploy", OVERLAY=str(tmp_path))
    assert done.returncode != 0
    assert "replica" in done.stderr


def test_a_rollout_that_stalls(real: Real, make: Make) -> None:
    """Its events and its pods' states are shown."""
    with bringing_up(real.url, NAMESPACE, {"logloom": NO_IMAGE}, token=ADMIN):
        done = make("deploy", TIMEOUT="5s")
    assert done.returncode != 0
    assert "Error: logloom did not come up" in done.stderr
    assert "worker waiting: ImagePullBackOff Back-off pulling image" in done.stdout
    assert "Pod/logloom-1" in done.stdout
