"""Runs `make deploy` and its like as a platform engineer does: with a kubeconfig, and variables on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.deploy.overlays import KUBECTL, ROOT

NAMESPACE = "logloom-test"


class Make:
    """Runs targets of the Makefile against a cluster."""

    def __init__(self, folder: Path, url: str, token: str | None = None) -> None:
        self._kubeconfig = folder / "kubeconfig"
        insecure = {} if token is None else {"insecure-skip-tls-verify": True}
        named: dict[str, Any] = {
            "clusters": [{"name": "stand-in", "cluster": {"server": url, **insecure}}],
            "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "she"}}],
            "users": [{"name": "she", "user": {} if token is None else {"token": token}}],
        }
        self._kubeconfig.write_text(json.dumps({"kind": "Config", "current-context": "stand-in", **named}))

    def __call__(self, target: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Make `target`; the exit code is for the caller to look at."""
        given = {"NAMESPACE": NAMESPACE, "TIMEOUT": "20s", "KUBECTL": str(KUBECTL), "PYTHON": sys.executable}
        words = [f"{name}={value}" for name, value in {**given, **variables}.items()]
        # Not what the make around these tests hands down.
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            ["make", "--silent", target, *words],
            cwd=ROOT, env={**own, "KUBECONFIG": str(self._kubeconfig)},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def kubectl(self, *words: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run kubectl against the same cluster."""
        own = {**os.environ, "KUBECONFIG": str(self._kubeconfig)}
        return subprocess.run([KUBECTL, *words], env=own, input=given, capture_output=True, text=True, check=False)
