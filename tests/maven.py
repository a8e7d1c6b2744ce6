"""Jars that tests run real servers from: Maven fetches them once, into `.cache`. Knows nothing of pytest."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache"


class NotFetched(Exception):
    """The jars can't be had here; the message says why."""


def jars_of(pom: Path, name: str) -> Path:
    """Return the folder with all that `pom` depends on, kept under `name`. Raises NotFetched without Java or Maven."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise NotFetched(f"there is no `{tool}`")
    folder = CACHE / name / f"jars-{hashlib.blake2b(pom.read_bytes(), digest_size=4).hexdigest()}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
            done = subprocess.run(
                [*command, f"-DoutputDirectory={scratch}/jars"], capture_output=True, check=False, timeout=600
            )
            if done.returncode != 0:
                raise NotFetched(f"Maven could not fetch {name}: {done.stdout.decode()[-500:]}")
            # Renamed when whole: a run that was cut short leaves no half-filled folder behind.
            if not folder.exists():
                Path(scratch, "jars").rename(folder)
    return folder
