"""Prometheus' own tools, and the metrics that expressions name."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.absent import absent

#: Names that look like metrics in an expression.
_NAME = re.compile(r"\b((?:logloom|process|python|up)_?[a-z0-9_]*)(?=[{\[)\s]|$)")


def promtool(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `promtool`; skip where it is not installed, or fail where servers are required."""
    if shutil.which("promtool") is None:
        absent("there is no `promtool` (Debian's package prometheus)")
    return subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, check=False, timeout=60
    )


def refused(expressions: Iterable[str]) -> str:
    """Return what Prometheus says against expressions of PromQL; nothing if it takes them all."""
    rules = [{"record": f"checked:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rules.yaml")
        file.write_text(yaml.safe_dump({"groups": [{"name": "checked", "rules": rules}]}))
        done = promtool("check", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(_NAME.findall(expression))
