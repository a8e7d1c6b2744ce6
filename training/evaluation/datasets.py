"""Logs with the templates that people gave their lines, to measure on. Nothing here teaches.

Loghub's files hold one system each, two thousand lines, one row a line with the columns Content and EventTemplate.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.labels import read_rows, refuse
from worker.errors import WrongLabels

#: How Loghub names a system's labelled lines, behind the system's name.
_LOGHUB = "_2k.log_structured"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledLog:
    """The lines of one system, in the log's order."""

    name: str
    #: The message of each line, (n,).
    messages: tuple[str, ...]
    #: The template of each line, None where nobody gave one, (n,).
    templates: tuple[str | None, ...]


def read_logs(paths: Sequence[Path | str]) -> list[LabelledLog]:
    """Read the labelled logs below folders, or in CSV files, ordered by name.

    In a folder, all `<System>_2k.log_structured_corrected.csv` are read, at any depth; all CSV where there is none.
    A log is named by its system, or by its file.

    Raises:
        WrongLabels: a path does not exist or holds no labelled log, a file can't be read or has no row, or two logs
            have one name.

    """
    logs = sorted((_read(file) for file in label_files(paths)), key=lambda log: log.name)
    twice = [name for name, count in Counter(log.name for log in logs).items() if count > 1]
    if twice:
        raise WrongLabels(f"More than one log is called {', '.join(twice)}: rename files, or measure them one by one.")
    return logs


def label_files(paths: Sequence[Path | str]) -> list[Path]:
    """List the files that `read_logs` reads, each once, in the order of `paths`.

    Raises:
        WrongLabels: a path does not exist or holds no labelled log.

    """
    return list(dict.fromkeys(file for path in paths for file in _files(Path(path))))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise WrongLabels(f"{path} does not exist; a folder or a CSV with Content and EventTemplate is needed.")
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob(f"*{_LOGHUB}_corrected.csv")) or sorted(path.rglob("*.csv"))
    if not files:
        raise WrongLabels(f"{path} holds no labelled log: no CSV with Content and EventTemplate is below it.")
    return files


def _read(file: Path) -> LabelledLog:
    rows = list(read_rows(file))
    refuse(file, [f"line {row.line}: {row.broken}" for row in rows if row.broken])
    if not rows:
        raise WrongLabels(f"{file} has no rows.")
    return LabelledLog(
        name=file.name.split(_LOGHUB)[0] if _LOGHUB in file.name else file.stem,
        messages=tuple(row.message for row in rows),
        templates=tuple(row.template or None for row in rows),
    )
