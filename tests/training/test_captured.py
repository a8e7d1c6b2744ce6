"""The captured logs: what their README says of them, and that their labels hold."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.labels import aligned
from worker.parsing.convention import corrected_template

CAPTURED = Path(__file__).parents[2] / "training" / "captured"
LOGS = sorted(CAPTURED.glob("*/*.csv"))


def rows(path: Path) -> list[dict[str, str]]:
    """Read a labelled log."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def listed() -> Iterator[tuple[str, str, int, int]]:
    """Yield half, name, lines and templates of each log in the README's table."""
    for line in (CAPTURED / "README.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| `([\w-]+)` \| (\w+) \| (\d+) \| (\d+) \|", line):
            yield found[2], found[1], int(found[3]), int(found[4])


def test_readme_counts() -> None:
    """The README lists each log once, with its half, its lines and its templates."""
    counted = [
        (path.parent.name, path.stem, len(labelled), len({row["EventTemplate"] for row in labelled}))
        for path in LOGS
        for labelled in [rows(path)]
    ]
    assert counted == sorted(listed())


def test_parts() -> None:
    """No log is in both parts, and enough are left to measure on."""
    development, test = ({path.stem for path in LOGS if path.parent.name == part} for part in ("development", "test"))
    assert set() == development & test
    assert len(test) >= 7


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_labels(path: Path) -> None:
    """Each template is its format under the convention, has a letter, matches its line, and is the line's only one."""
    labelled = rows(path)
    distinct = {(row["Content"], row["EventTemplate"], row["Format"]) for row in labelled}
    assert [] == [format_ for _, template, format_ in distinct if template != corrected_template(format_)]
    assert [] == [template for _, template, _ in distinct if not re.search("[A-Za-z]", template.replace("<*>", ""))]
    assert [] == [(message, template) for message, template, _ in distinct if aligned(message, template) is None]
    assert len({message for message, _, _ in distinct}) == len({pair[:2] for pair in distinct})


def test_size() -> None:
    """The logs stay small enough to ship with the source."""
    assert sum(path.stat().st_size for path in LOGS) <= 4_000_000
