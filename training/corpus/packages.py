"""The packages that calls are mined from: downloaded through their registries' own clients, and read file by file.

Knows licences, archives and what of a package was written by hand; nothing of logging calls.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any

from training.corpus.logging_calls import Package

PERMISSIVE = re.compile(
    r"apache|mit\b|bsd|isc\b|python software|psf|zope|unlicense|hpnd|public domain|zlib|postgresql|oldap|^curl$",
    re.IGNORECASE,
)
RESTRICTIVE = re.compile(r"gpl|mozilla|mpl|eclipse|epl|proprietary|commercial|other/|eula|nvidia", re.IGNORECASE)
#: Packages about the systems that the Loghub data sets were recorded from.
BENCHMARKED = re.compile(
    r"hadoop|hdfs|spark|zookeeper|\bzk\b|curator|openstack|gophercloud|openssh|sshd|\bhttpd|android|healthapp|"
    r"proxifier|bluegene|thunderbird",
    re.IGNORECASE,
)
#: How a licence's text can be told, for modules of Go, which carry nothing else.
LICENCE_TEXTS = {
    "Apache-2.0": "Apache License",
    "MIT": "Permission is hereby granted, free of charge",
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "ISC": "Permission to use, copy, modify, and",
}
#: Folders and files with no logging calls of a program: tests, examples, other people's and generated code.
ASIDE = re.compile(
    r"(^|/)(_?_?tests?_?_?|test[-_]?(data|util\w*|suite|helpers?)|testing|examples?|benches|benchmarks?|vendor|third_party|"
    r"node_modules|fixtures?|_?_?mocks?_?_?|e2e|docs?|demos?|templates|\.yarn|hack)/|_tests?\.(go|rs)$|(^|/)tests?\.rs$|"
    r"[.-](test|spec|min|stories|bundle|prod|umd)\.|\.pb(\.gw)?\.go$|\.d\.[cm]?ts$|zz_generated|bindata"
)
#: Longest source file read, in characters, and longest line of JavaScript: beyond, it was written by a bundler.
MAX_SOURCE, MAX_LINE = 600_000, 2_000


class MiningError(Exception):
    """The corpus can't be mined as listed."""


class NotDownloaded(MiningError):
    """A listed package could not be downloaded."""


class WrongLicence(MiningError):
    """A listed package is not under the licence that the list says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a package."""

    package: Package
    #: Its path inside the package.
    name: str
    text: str


def is_permissive(licence: str) -> bool:
    """Tell whether templates of a package under `licence` may be learned from."""
    return bool(PERMISSIVE.search(licence)) and not RESTRICTIVE.search(licence)


def licence_of(about: Any) -> str:
    """Read the licence out of a distribution's metadata: the expression, else the classifiers, else the first line."""
    classified = [
        line.split("::")[-1].strip() for line in about.get_all("Classifier", []) if line.startswith("License")
    ]
    text = about.get("License-Expression") or " ".join(classified) or about.get("License") or ""
    return str(text).strip().split("\n")[0][:80]


def installed_python() -> Iterator[SourceFile]:
    """Yield the source files of the standard library and of the installed packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_paths()["stdlib"])
    python = Package(name="python", version=version, licence="PSF-2.0", language="python")
    for path in sorted(library.rglob("*.py")):
        if not {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(path.relative_to(library).parts):
            yield SourceFile(package=python, name=path.name, text=path.read_text(encoding="utf-8", errors="replace"))
    for distribution in sorted(metadata.distributions(), key=lambda one: str(one.metadata["Name"]).lower()):
        licence = licence_of(distribution.metadata)
        name = str(distribution.metadata["Name"])
        if not is_permissive(licence) or BENCHMARKED.search(name) or name == "logloom":
            continue
        package = Package(name=name, version=distribution.version, licence=licence, language="python")
        for file in distribution.files or []:
            if is_source(str(file)) and (path := Path(str(distribution.locate_file(file)))).is_file():
                text = path.read_text(encoding="utf-8", errors="replace")
                yield SourceFile(package=package, name=str(file), text=text)


def is_source(name: str) -> bool:
    """Tell whether a file may hold real logging calls: Python or Java, no tests."""
    return name.endswith((".py", ".java", "LocalStrings.properties")) and not re.search(r"(^|/)tests?/|BENCH", name)


def is_program(name: str) -> bool:
    """Tell whether a file may hold real logging calls: JavaScript, TypeScript, Rust or Go, written by hand."""
    return bool(re.search(r"\.([cm]?[jt]s|[jt]sx|rs|go)$", name)) and not ASIDE.search(name)


def wheel_python(folder: Path, listed: Iterable[str]) -> Iterator[SourceFile]:
    """Yield the source files of the listed wheels in `folder`."""
    wanted = {normalized(*requirement.split("==")) for requirement in listed}
    for path in sorted(folder.glob("*.whl")):
        if normalized(*path.name.split("-")[:2]) not in wanted:
            continue
        with zipfile.ZipFile(path) as wheel:
            about_name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            about = Parser().parsestr(wheel.read(about_name).decode("utf-8", "replace"))
            package = Package(
                name=about["Name"], version=about["Version"], licence=licence_of(about), language="python"
            )
            if is_learned_from(package):
                for name in sorted(wheel.namelist()):
                    if is_source(name):
                        yield SourceFile(package=package, name=name, text=wheel.read(name).decode("utf-8", "replace"))


def jar_java(folder: Path, licences: Mapping[str, str]) -> Iterator[SourceFile]:
    """Yield the source files of the source jars in `folder`."""
    for coordinates, licence in sorted(licences.items()):
        _, artifact, version = coordinates.split(":")
        with zipfile.ZipFile(folder / f"{artifact}-{version}-sources.jar") as jar:
            package = Package(name=artifact, version=version, licence=licence, language="java")
            for name in sorted(jar.namelist()):
                if is_source(name) and not BENCHMARKED.search(name):
                    yield SourceFile(package=package, name=name, text=jar.read(name).decode("utf-8", "replace"))


def tarball(path: Path, is_read: Callable[[str], bool]) -> dict[str, str]:
    """Read the files of a package of npm or crates.io, whose one top folder is left out of the names, by name."""
    with tarfile.open(path) as archive:
        members = ((member, member.name.partition("/")[2]) for member in archive if member.isfile())
        return {
            name: opened.read().decode("utf-8", "replace")
            for member, name in members
            if is_read(name) and (opened := archive.extractfile(member)) is not None
        }


def npm_javascript(folder: Path, listed: Iterable[str]) -> Iterator[SourceFile]:
    """Yield the source files of the packages of npm in `folder`: what was written, not what was compiled from it."""
    for requirement in sorted(listed):
        files = tarball(folder / npm_file(requirement), lambda name: name == "package.json" or is_program(name))
        about = json.loads(files.pop("package.json"))
        package = Package(
            name=about["name"], version=about["version"], licence=str(about.get("license")), language="javascript"
        )
        written = any(name.startswith("src/") for name in files)
        for name, text in sorted(files.items() if is_learned_from(package) else ()):
            compiled = written and re.match(r"(dist|lib|build|out|cjs|esm?|umd)/", name)
            bundled = len(text) > MAX_SOURCE or max(map(len, text.splitlines()), default=0) > MAX_LINE
            if not compiled and not bundled and not BENCHMARKED.search(name):
                yield SourceFile(package=package, name=name, text=text)


def crate_rust(folder: Path, listed: Iterable[str]) -> Iterator[SourceFile]:
    """Yield the source files of the crates in `folder`."""
    for requirement in sorted(listed):
        crate, _, version = requirement.partition("@")
        path = folder / f"{crate}-{version}.crate"
        files = tarball(path, lambda name: name == "Cargo.toml" or (is_program(name) and name != "build.rs"))
        about = tomllib.loads(files.pop("Cargo.toml"))["package"]
        package = Package(name=crate, version=version, licence=about.get("license", ""), language="rust")
        for name, text in sorted(files.items() if is_learned_from(package) else ()):
            if len(text) <= MAX_SOURCE and not BENCHMARKED.search(name):
                yield SourceFile(package=package, name=name, text=text)


def module_go(folder: Path, licences: Mapping[str, str]) -> Iterator[SourceFile]:
    """Yield the source files of the Go modules in `folder`.

    Raises:
        WrongLicence: The text of a module's licence is not of the licence that is listed.
    """
    for requirement, licence in sorted(licences.items()):
        module, _, version = requirement.partition("@")
        package = Package(name=module, version=version, licence=licence, language="go")
        with zipfile.ZipFile(folder / module_file(requirement)) as archive:
            files = {name.removeprefix(f"{requirement}/"): name for name in archive.namelist()}
            texts = [
                archive.read(full).decode()
                for name, full in files.items()
                if re.match(r"(?i)(licen[cs]e|copying)", name)
            ]
            if not any(LICENCE_TEXTS[licence] in text for text in texts):
                raise WrongLicence(f"{requirement} is listed under {licence}, which no licence file in it is.")
            for name, full in sorted(files.items()):
                if is_program(name) and not BENCHMARKED.search(name) and archive.getinfo(full).file_size <= MAX_SOURCE:
                    yield SourceFile(package=package, name=name, text=archive.read(full).decode("utf-8", "replace"))


def is_learned_from(package: Package) -> bool:
    """Tell whether a package may be read, and say so where not."""
    if is_permissive(package.licence) and not BENCHMARKED.search(package.name):
        return True
    print(f"left out: {package.name} {package.version} ({package.licence or 'no licence told'})", flush=True)
    return False


def run(command: Sequence[str], wanted: str) -> None:
    """Run a package client.

    Raises:
        NotDownloaded: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    if done.returncode:
        raise NotDownloaded(f"{command[0]} could not download {wanted}: {(done.stderr or done.stdout).strip()[-800:]}")


def download_jars(listed: Iterable[str], folder: Path) -> None:
    """Copy source jars from Maven's repository, in one run of Maven."""
    wanted = [name.split(":") for name in listed]
    missing = [(g, a, v) for g, a, v in wanted if not (folder / f"{a}-{v}-sources.jar").is_file()]
    if not missing:
        return
    pieces = "".join(
        f"<artifactItem><groupId>{g}</groupId><artifactId>{a}</artifactId><version>{v}</version>"
        "<classifier>sources</classifier></artifactItem>"
        for g, a, v in missing
    )
    pom = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
    <groupId>logloom</groupId><artifactId>corpus</artifactId><version>1</version><build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version>
    <configuration><outputDirectory>{folder.resolve()}</outputDirectory><artifactItems>{pieces}</artifactItems>
    </configuration></plugin></plugins></build></project>"""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pom.xml"
        path.write_text(pom)
        run(["mvn", "-q", "-B", "-f", str(path), "dependency:copy"], f"{len(missing)} source jars")


def download_wheels(listed: Iterable[str], folder: Path) -> None:
    """Download wheels, and nothing that would run code of theirs."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
    present = {normalized(*path.name.split("-")[:2]) for path in folder.glob("*.whl")}
    for requirement in listed:
        if normalized(*requirement.split("==")) not in present:
            run([*command, requirement], requirement)


def download_npm(listed: Iterable[str], folder: Path) -> None:
    """Download packages of npm, without running scripts of theirs."""
    for requirement in listed:
        if not (folder / npm_file(requirement)).is_file():
            run(
                ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), requirement],
                requirement,
            )


def download_crates(listed: Iterable[str], folder: Path) -> None:
    """Copy crates from the store in which `cargo info` leaves them: unlike `fetch`, it takes no dependencies along."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    for requirement in listed:
        name = f"{requirement.replace('@', '-')}.crate"
        if not (folder / name).is_file():
            run(["cargo", "info", "--quiet", requirement], requirement)
            stored = next(home.glob(f"registry/cache/*/{name}"), None)
            if stored is None:
                raise NotDownloaded(f"cargo told of {requirement}, but left no {name} below {home}.")
            shutil.copy(stored, folder / name)


def download_modules(listed: Iterable[str], folder: Path) -> None:
    """Copy modules of Go out of a store of their own, which is given up: Go would keep all of them unpacked too.

    Go fails over a module that asks for a newer Go than this one, but downloads it all the same: that is enough here.
    """
    for requirement in listed:
        if (folder / module_file(requirement)).is_file():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as store:
            place = {"GOMODCACHE": str(Path(store).resolve()), "GOFLAGS": "-modcacherw"}
            command = ["go", "mod", "download", "-json", requirement]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | place, check=False)  # noqa: S603 - fixed arguments
            told = json.loads(done.stdout or "{}")
            if "Zip" not in told:
                raise NotDownloaded(f"go could not download {requirement}: {told.get('Error') or done.stderr.strip()}")
            shutil.move(told["Zip"], folder / module_file(requirement))


def npm_file(requirement: str) -> str:
    """Give the name under which npm stores a package."""
    name, _, version = requirement.rpartition("@")
    return f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"


def module_file(requirement: str) -> str:
    """Give the name under which a module of Go is stored."""
    return f"{requirement.replace('/', '_')}.zip"


def normalized(name: str, version: str) -> str:
    """Write a package's name and version as they are compared."""
    return f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where the listed packages of one language come from."""

    #: The table of `sources.toml`, and the folder for downloads.
    listed_as: str
    folder: str
    #: The program that downloads them.
    client: str
    download: Callable[[Iterable[str], Path], None]
    #: Reads the packages out of the folder.
    read: Callable[[Path, Any], Iterator[SourceFile]]


REGISTRIES = {
    "python": Registry(
        listed_as="python", folder="wheels", client=sys.executable, download=download_wheels, read=wheel_python
    ),
    "java": Registry(listed_as="java", folder="jars", client="mvn", download=download_jars, read=jar_java),
    "javascript": Registry(listed_as="npm", folder="npm", client="npm", download=download_npm, read=npm_javascript),
    "rust": Registry(listed_as="rust", folder="crates", client="cargo", download=download_crates, read=crate_rust),
    "go": Registry(listed_as="go", folder="modules", client="go", download=download_modules, read=module_go),
}
