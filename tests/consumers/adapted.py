"""Makes of a shipped configuration one that a test can run: other addresses, topics and folders, and nothing else."""

from collections.abc import Mapping
from pathlib import Path


def adapted(file: Path, changes: Mapping[str, str]) -> str:
    """Read `file` and put other words in the place of some. Raises AssertionError where one is not there."""
    text = file.read_text()
    for word, other in changes.items():
        assert word in text, f"{file} has no {word!r}"
        text = text.replace(word, other)
    return text
