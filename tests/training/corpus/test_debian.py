"""Debian's source packages: what is read of them, and machines without any."""

import io
import tarfile
from pathlib import Path

import pytest

from training.corpus.debian import apt_options, download_sources, source_c
from training.corpus.logging_calls import Package
from training.corpus.packages import NotDownloaded, SourceFile


def test_package_gives_its_own_permissive_files(tmp_path: Path) -> None:
    """Tests, other people's code, headers and files that name another licence are left out."""
    files = {
        "pond-1.0/src/frog.c": "int frog;",
        "pond-1.0/src/frog.h": "extern int frog;",
        "pond-1.0/tests/frog.c": "int tested;",
        "pond-1.0/deps/toad/toad.c": "int toad;",
        "pond-1.0/src/newt.c": "/* under the GNU\n * General Public License */ int newt;",
    }
    (tmp_path / "pond").mkdir()
    with tarfile.open(tmp_path / "pond" / "pond_1.0.orig.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    (tmp_path / "pond" / "pond_1.0.orig.tar.gz.asc").write_text("a signature")
    listed = {"pond=1.0": "MIT", "lake=2.0": "GPL-2"}
    package = Package(name="pond", version="1.0", licence="MIT", language="c")
    expected = SourceFile(package=package, name="pond-1.0/src/frog.c", text="int frog;")
    assert [expected] == list(source_c(tmp_path, listed))


def test_without_configured_packages_c_is_left_out(tmp_path: Path) -> None:
    """A machine without package sources gives no options, which leaves C out."""
    assert apt_options(tmp_path / "apt", configured=tmp_path / "nothing") is None


def test_what_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    """A package whose tarball lies in its folder needs no apt."""
    (tmp_path / "pond").mkdir()
    (tmp_path / "pond" / "pond_1.0.orig.tar.xz").touch()
    download_sources(["pond=1.0"], tmp_path)
    assert ["pond"] == [path.name for path in tmp_path.iterdir()]


def test_apt_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What apt-get said is told."""
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho 'no such host' >&2; exit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotDownloaded, match=r"no such host|configured for no packages"):
        download_sources(["pond=1.0"], tmp_path / "store")
