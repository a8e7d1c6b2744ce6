"""Labelled logs: what is found in folders and files."""

import re
from pathlib import Path

import pytest

from training.evaluation.datasets import LabelledLog, read_logs
from training.labels import aligned
from worker.errors import WrongLabels

_LOGHUB = Path(__file__).parents[4] / "shared" / "data" / "loghub-2k"


def write_log(path: Path, rows: str = "1,took 5 ms,took <*> ms\n") -> Path:
    """Write a labelled log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("LineId,Content,EventTemplate\n" + rows)
    return path


def test_a_folder_of_systems(tmp_path: Path) -> None:
    """Each corrected file below a folder is one log, named by its system, ordered by name; other files are none."""
    for system in ("Web", "Disk"):
        write_log(tmp_path / system / f"{system}_2k.log_structured_corrected.csv")
        write_log(tmp_path / system / f"{system}_2k.log_structured.csv", "")
        write_log(tmp_path / system / f"{system}_2k.log_templates.csv", "")
    took = {"messages": ("took 5 ms",), "templates": ("took <*> ms",)}
    expected = [LabelledLog(name="Disk", **took), LabelledLog(name="Web", **took)]
    assert expected == read_logs([tmp_path])
    assert expected == read_logs([tmp_path / "Web", tmp_path / "Disk" / "Disk_2k.log_structured_corrected.csv"])
    assert expected == read_logs([tmp_path, tmp_path / "Web"])


def test_any_csv(tmp_path: Path) -> None:
    """Another CSV is named by its file; lines without a template keep none."""
    path = write_log(tmp_path / "mine.csv", "1,a 1,a <*>\n2,b,\n3,a 2,a <*>\n")
    expected = [LabelledLog(name="mine", messages=("a 1", "b", "a 2"), templates=("a <*>", None, "a <*>"))]
    assert expected == read_logs([path])
    assert expected == read_logs([tmp_path])


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "Content\n", "no column EventTemplate"),
        ("a.csv", "Content,EventTemplate\n", "has no rows"),
        ("a.csv", "Content,EventTemplate\na\nb,b\nc\n", "2 wrong lines:\n  line 2: 1 values for 2 columns"),
        ("a.txt", "", "holds no labelled log"),
    ],
)
def test_what_is_not_there(tmp_path: Path, name: str, text: str, reason: str) -> None:
    """A folder without labelled lines says what is missing."""
    (tmp_path / name).write_text(text)
    with pytest.raises(WrongLabels, match=re.escape(reason)):
        read_logs([tmp_path])


def test_missing_path(tmp_path: Path) -> None:
    """A path that does not exist is named."""
    with pytest.raises(WrongLabels, match="nowhere does not exist"):
        read_logs([tmp_path / "nowhere"])


def test_one_name_twice(tmp_path: Path) -> None:
    """Two logs of one name would hide each other in a report by name."""
    paths = [write_log(tmp_path / folder / "mine.csv") for folder in ("a", "b")]
    with pytest.raises(WrongLabels, match="More than one log is called mine"):
        read_logs(paths)


@pytest.mark.skipif(not _LOGHUB.is_dir(), reason="the Loghub files are not beside the project")
def test_real_labels_align() -> None:
    """Every template of real, corrected labels matches its line."""
    logs = read_logs([_LOGHUB])
    assert {2000} == {len(log.messages) for log in logs}
    labelled = {pair for log in logs for pair in zip(log.messages, log.templates, strict=True)}
    assert [] == [pair for pair in labelled if pair[1] is None or aligned(pair[0], pair[1]) is None]
