"""Mining: what is downloaded, left out and refused, and the corpus on disk."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from training.corpus.logging_calls import load
from training.corpus.packages import NotDownloaded
from training.mine import main, mine


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Write a list of two packages, and the crate among them as if it were downloaded."""
    path = tmp_path / "sources.toml"
    path.write_text('npm = ["app@1.0.0"]\nrust = ["app@1.0.0"]\n')
    (tmp_path / "crates").mkdir()
    files = {"Cargo.toml": '[package]\nlicense = "MIT"\n', "src/a.rs": 'fn f() { info!("at {n}"); info!("at {n}"); }'}
    with tarfile.open(tmp_path / "crates" / "app-1.0.0.crate", "w:gz") as archive:
        for name, text in files.items():
            about = tarfile.TarInfo(f"app-1.0.0/{name}")
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder as the only place of programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def client(folder: Path, name: str, script: str) -> None:
    """Install a package client."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_what_has_no_client_is_left_out(
    tmp_path: Path, sources: Path, clients: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A language whose client is missing is counted and named; the others are mined, each template once a package."""
    client(clients, "cargo", "exit 1")
    calls = mine(tmp_path, sources, ["javascript", "rust"])
    assert [("at <*>", "rust")] == [(call.text, call.language) for call in calls]
    assert "left out: 1 packages of javascript, for there is no npm here" in capsys.readouterr().out


def test_a_failed_download_names_its_package(tmp_path: Path, sources: Path, clients: Path) -> None:
    """What the client said stands beside the package that it could not get."""
    client(clients, "npm", "echo 'no such version' >&2; exit 1")
    with pytest.raises(NotDownloaded, match=r"npm could not download app@1\.0\.0: no such version"):
        mine(tmp_path, sources, ["javascript"])


def test_the_command_writes_corpus_and_report(tmp_path: Path, sources: Path, clients: Path) -> None:
    """The report counts what the corpus holds, by language."""
    client(clients, "cargo", "exit 1")
    main(["--out", str(tmp_path), "--sources", str(sources), "--only", "rust"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"packages": 1, "templates": 1, "distinct": 1, "logged": 1, "with_variables": 1, "variables": 1, "named": 1,
            "typed": 0} == report["by_language"]["rust"]  # fmt: skip
    assert ["n"] == [name for call in load(tmp_path / "calls.jsonl") for name in call.names]


def test_a_corpus_is_read_back(tmp_path: Path) -> None:
    """What is written as JSON lines comes back as it was."""
    fields = {"literals": ["a ", ""], "names": ["n"], "conversions": ["d"], "level": "info", "language": "python",
              "package": "p", "version": "1", "licence": "MIT"}  # fmt: skip
    (tmp_path / "calls.jsonl").write_text(json.dumps(fields) + "\n")
    assert [call.text for call in load(tmp_path / "calls.jsonl")] == ["a <*>"]
