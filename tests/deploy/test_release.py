"""What checks and releases the project elsewhere: workflows, release notes, hooks before a commit."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.release_notes import release_notes
from tests.deploy.overlays import DEPLOY, ROOT
from worker import __version__

GITHUB = ROOT / ".github"
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((GITHUB / "workflows").iterdir())
}
STEPS = [step for workflow in WORKFLOWS.values() for job in workflow["jobs"].values() for step in job.get("steps", [])]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = """# Changelog

## 1.1.0 (unreleased)

Soon.

## 1.0.0 (2026-03-01)

- One thing.
- Another.

## 0.9.0 (2026-02-01)
"""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool in the project's root."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_workflows_let_nobody_in() -> None:
    """`zizmor` finds no way into the workflows: no action by a name that moves, no permission too many."""
    audited = run(Path(sys.executable).with_name("zizmor"), "--offline", "--min-severity", "medium", GITHUB)

    assert audited.returncode == 0, audited.stdout


def test_workflows_are_written_alike() -> None:
    """`yamllint` has nothing to say of them."""
    linted = run(sys.executable, "-m", "yamllint", "--strict", "--config-file", DEPLOY / ".yamllint", GITHUB)

    assert not linted.stdout


def test_workflows_make_what_there_is() -> None:
    """Each `make` of a workflow names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = {target for step in STEPS for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}

    assert {"check", "test", "sbom", "audit", "chaos", "test-cluster"} == made
    assert made <= targets


def test_workflows_install_what_ci_installs() -> None:
    """The tests have the Debian packages that `.ci/run` asks for."""
    wanted = set(" ".join(re.findall(r"missing\+=\(([^)]+)\)", (ROOT / ".ci" / "run").read_text())).split())
    installed = " ".join(step.get("run", "") for step in WORKFLOWS["checks"]["jobs"]["test"]["steps"])

    assert wanted
    assert wanted <= set(installed.split())


def test_each_python_is_tested() -> None:
    """Tests run on the oldest Python that is allowed, and on those after it."""
    pythons = WORKFLOWS["checks"]["jobs"]["test"]["strategy"]["matrix"]["python"]

    assert f">={pythons[0]}" == PROJECT["requires-python"]
    assert ["3.11", "3.12", "3.13"] == pythons


def test_the_image_is_built_as_the_dockerfile_takes_it() -> None:
    """Every build argument of the workflow is one of the Dockerfile."""
    arguments = set(re.findall(r"^ARG (\w+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))
    built = next(step["run"] for step in WORKFLOWS["image"]["jobs"]["build"]["steps"] if step.get("name") == "build")

    assert set(re.findall(r"--build-arg (\w+)", built)) == arguments - {"PYTHON"}


def test_what_is_said_of_a_release() -> None:
    """A release's notes are the section of its version, and no other."""
    assert release_notes("v1.0.0", version="1.0.0", changelog=CHANGELOG) == "- One thing.\n- Another."


@pytest.mark.parametrize(
    ("tag", "version", "why"),
    [
        ("v1.0.0", "1.1.0", r"the tag v1\.0\.0 is not v1\.1\.0"),
        ("1.0.0", "1.0.0", r"the tag 1\.0\.0 is not v1\.0\.0"),
        ("v1.1.0", "1.1.0", r"1\.1\.0 \(unreleased\); a release has a date"),
        ("v1.2.0", "1.2.0", r"no section '## 1\.2\.0"),
        ("v0.9.0", "0.9.0", r"the section of 0\.9\.0 .* is empty"),
    ],
)
def test_what_can_not_be_released(tag: str, version: str, why: str) -> None:
    """A tag that the project does not bear out is no release, and it is said why."""
    with pytest.raises(ValueError, match=why):
        release_notes(tag, version=version, changelog=CHANGELOG)


def test_the_tag_of_this_version() -> None:
    """The script reads the project's own version and changelog, and ends as it must."""
    said = run(sys.executable, "deploy/release_notes.py", f"v{PROJECT['version']}")
    is_dated = re.search(
        rf"^## {re.escape(PROJECT['version'])} \(\d", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )

    assert (said.returncode == 0) == bool(is_dated)
    assert bool(said.stdout) == bool(is_dated)
    assert is_dated or "a release has a date" in said.stderr


def test_the_version_is_one() -> None:
    """The program says the version that it is packaged as, and so does its image."""
    assert __version__ == PROJECT["version"]
    assert f"ARG VERSION={__version__}\n" in (DEPLOY / "Dockerfile").read_text()


def test_hooks_are_those_of_the_lock() -> None:
    """What a commit is checked with is installed by the lock: nothing is fetched, nothing is of another version."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())

    assert ["local"] == [repository["repo"] for repository in hooks["repos"]]
    for hook in hooks["repos"][0]["hooks"]:
        assert Path(sys.executable).with_name(Path(hook["entry"].split()[0]).name).exists(), hook["id"]
    checked = run(Path(sys.executable).with_name("pre-commit"), "validate-config", ".pre-commit-config.yaml")
    assert checked.returncode == 0, checked.stdout
