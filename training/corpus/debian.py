"""Debian's source packages: downloaded by apt, with all its state in a folder, and read for their C files."""

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from training.corpus.logging_calls import Package
from training.corpus.packages import NotDownloaded, Registry, SourceFile, is_learned_from

#: Folders with other people's code, or none that runs as a daemon.
_ELSEWHERE = re.compile(
    r"(?i)/(tests?|testing|testcode|testdata|regress|fuzz\w*|examples?|samples?|demos?|bench\w*|docs?|deps|vendor|"
    r"third[_-]party|ext|external|contrib|debian|openssh\w*)/"
)
_RESTRICTED = re.compile(
    r"GNU\s.{0,20}General Public|Mozilla Public|\bL?GPL|\bMPL|\bEPL|Eclipse Public|\bCDDL", re.DOTALL
)


def apt_options(folder: Path, configured: Path = Path("/etc/apt")) -> list[str] | None:
    """Let apt know the source packages of what the machine is configured for, with all its state under `folder`.

    Returns the options for `apt-get source`; None where apt is missing or no packages are configured.

    Raises:
        subprocess.CalledProcessError: what is configured can't be reached.
    """
    lists = folder.resolve() / "sources"
    for place in (lists, folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
        place.mkdir(parents=True, exist_ok=True)
    for path in (configured / "sources.list", *sorted((configured / "sources.list.d").glob("*"))):
        if path.suffix in {".list", ".sources"} and path.is_file():
            text = re.sub(r"(?m)^(Types:.*|deb)(?=\s|$)", as_source, path.read_text())
            (lists / path.name).write_text(text)
    if shutil.which("apt-get") is None or not any(lists.iterdir()):
        return None
    root = folder.resolve()
    places = {
        "Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": lists, "Dir::State::Lists": root / "lists",
        "Dir::Cache": root / "cache", "APT::Sandbox::User": "",
    }  # fmt: skip
    options = [part for name, place in places.items() for part in ("-o", f"{name}={place}")]
    subprocess.run(["apt-get", "-qq", *options, "update"], check=True, capture_output=True, text=True)  # noqa: S603, S607 - fixed arguments
    return options


def as_source(found: re.Match[str]) -> str:
    """Turn what names binary packages in a list of apt's into what names source packages."""
    return "Types: deb-src" if found[1].startswith("Types") else "deb-src"


def download_sources(listed: Iterable[str], folder: Path) -> None:
    """Download source packages, `name=version`, each into a folder of its own in `folder`, and build nothing.

    A version that the archive no longer has is named and left out: archives keep the newest ones only.

    Raises:
        NotDownloaded: apt reaches no source packages.
    """
    missing = [requirement for requirement in listed if not stored(requirement, folder)]
    if not missing:
        return
    try:
        options = apt_options(folder / "apt")
    except subprocess.CalledProcessError as error:
        raise NotDownloaded(f"apt-get could not list the source packages: {error.stderr.strip()[-800:]}") from error
    if options is None:
        raise NotDownloaded("apt-get is configured for no packages here: leave out C, `--only` names the others.")
    for requirement in missing:
        place = folder / requirement.partition("=")[0]
        place.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", "-qq", *options, "source", "--download-only", "--tar-only", requirement]
        if subprocess.run(command, check=False, capture_output=True, cwd=place).returncode:  # noqa: S603 - fixed arguments
            print(f"left out: {requirement}, which apt-get could not download", flush=True)


def stored(requirement: str, folder: Path) -> list[Path]:
    """List the tarballs of a downloaded package."""
    found = sorted((folder / requirement.partition("=")[0]).glob("*.tar.*"))
    return [path for path in found if path.suffix != ".asc" and ".debian." not in path.name]


def source_c(folder: Path, licences: Mapping[str, str]) -> Iterator[SourceFile]:
    """Yield the C files of the source packages in `folder`, but for those whose head names a licence like the GPL."""
    for requirement, licence in sorted(licences.items()):
        name, _, version = requirement.partition("=")
        package = Package(name=name, version=version, licence=licence, language="c")
        for path in stored(requirement, folder) if is_learned_from(package) else ():
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(".c") and not _ELSEWHERE.search(f"/{member.name}"):
                        held = archive.extractfile(member)
                        text = held.read().decode("utf-8", "replace") if held else ""
                        if not _RESTRICTED.search(text[:4000]):
                            yield SourceFile(package=package, name=member.name, text=text)


DEBIAN = Registry(listed_as="debian", folder="debian", client="apt-get", download=download_sources, read=source_c)
