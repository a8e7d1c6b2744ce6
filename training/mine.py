"""Mine logging calls out of open-source code: each is a template whose variables have names.

Reads Python (the standard library, the installed packages, the wheels of `sources.toml`) by `ast`, and Java (the source
jars of `sources.toml`) by a scanner of its own. Writes one `LoggingCall` per line as JSON. Only packages under a
permissive licence are read, and none that the usual log parsing benchmarks were recorded from.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from training.corpus.java_source import java_calls, property_calls
from training.corpus.logging_calls import LoggingCall, Package
from training.corpus.python_source import python_calls

SOURCES = Path(__file__).with_name("sources.toml")
#: Where the corpus goes unless told otherwise; not under version control.
CORPUS = Path("runs/corpus")

PERMISSIVE = re.compile(
    r"apache|mit\b|bsd|isc\b|python software|psf|zope|unlicense|hpnd|public domain|zlib", re.IGNORECASE
)
RESTRICTIVE = re.compile(r"gpl|mozilla|mpl|eclipse|epl|proprietary|commercial|other/|eula|nvidia", re.IGNORECASE)
#: Packages about the systems that the Loghub data sets were recorded from.
BENCHMARKED = re.compile(r"hadoop|hdfs|spark|zookeeper|openstack|openssh|httpd", re.IGNORECASE)


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


def installed_python() -> Iterator[tuple[Package, str]]:
    """Yield the source files of the standard library and of the installed packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_paths()["stdlib"])
    python = Package(name="python", version=version, licence="PSF-2.0", language="python")
    for path in sorted(library.rglob("*.py")):
        if not {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(path.relative_to(library).parts):
            yield python, path.read_text(encoding="utf-8", errors="replace")
    for distribution in sorted(metadata.distributions(), key=lambda one: str(one.metadata["Name"]).lower()):
        licence = licence_of(distribution.metadata)
        name = str(distribution.metadata["Name"])
        if not is_permissive(licence) or BENCHMARKED.search(name) or name == "logloom":
            continue
        package = Package(name=name, version=distribution.version, licence=licence, language="python")
        for file in distribution.files or []:
            if is_source(str(file)) and (path := Path(str(distribution.locate_file(file)))).is_file():
                yield package, path.read_text(encoding="utf-8", errors="replace")


def is_source(name: str) -> bool:
    """Tell whether a file may hold real logging calls: Python or Java, no tests."""
    return name.endswith((".py", ".java", "LocalStrings.properties")) and not re.search(r"(^|/)tests?/|BENCH", name)


def wheel_python(folder: Path) -> Iterator[tuple[Package, str]]:
    """Yield the source files of the wheels in `folder`."""
    from email.parser import Parser  # noqa: PLC0415 - only this function reads metadata as text

    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            about_name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            about = Parser().parsestr(wheel.read(about_name).decode("utf-8", "replace"))
            package = Package(
                name=about["Name"], version=about["Version"], licence=licence_of(about), language="python"
            )
            if is_permissive(package.licence) and not BENCHMARKED.search(package.name):
                for name in sorted(wheel.namelist()):
                    if is_source(name):
                        yield package, wheel.read(name).decode("utf-8", "replace")


def jar_java(folder: Path, licences: dict[str, str]) -> Iterator[tuple[Package, str, str]]:
    """Yield (package, file name, source) of the source jars in `folder`."""
    for coordinates, licence in sorted(licences.items()):
        _, artifact, version = coordinates.split(":")
        with zipfile.ZipFile(folder / f"{artifact}-{version}-sources.jar") as jar:
            package = Package(name=artifact, version=version, licence=licence, language="java")
            for name in sorted(jar.namelist()):
                if is_source(name) and not BENCHMARKED.search(name):
                    yield package, name, jar.read(name).decode("utf-8", "replace")


def download_jars(coordinates: Iterable[str], folder: Path) -> None:
    """Copy source jars from Maven's repository, in one run of Maven."""
    wanted = [name.split(":") for name in coordinates]
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
        subprocess.run(["mvn", "-q", "-B", "-f", str(path), "dependency:copy"], check=True)  # noqa: S603, S607 - fixed arguments


def download_wheels(requirements: Sequence[str], folder: Path) -> None:
    """Download wheels, and nothing that would run code of theirs."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
    present = {normalized(*path.name.split("-")[:2]) for path in folder.glob("*.whl")}
    for requirement in requirements:
        if normalized(*requirement.split("==")) not in present:
            subprocess.run([*command, requirement], check=True)  # noqa: S603 - fixed arguments


def normalized(name: str, version: str) -> str:
    """Write a package's name and version as they are compared."""
    return f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"


def mine(folder: Path, sources: Path = SOURCES) -> list[LoggingCall]:
    """Mine all sources. Downloads land in `folder`. Each template is kept once per package."""
    listed = tomllib.loads(sources.read_text())
    jars, wheels = folder / "jars", folder / "wheels"
    jars.mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    print(f"downloading {len(listed['java'])} source jars and {len(listed['python'])} wheels", flush=True)
    download_jars(listed["java"], jars)
    download_wheels(listed["python"], wheels)
    calls: dict[tuple[str, str], LoggingCall] = {}

    def keep(found: Iterable[LoggingCall]) -> None:
        for call in found:
            if not BENCHMARKED.search(call.text):
                calls.setdefault((call.package, call.text), call)

    for package, source in (*installed_python(), *wheel_python(wheels)):
        keep(python_calls(source, package))
    print(f"{len(calls)} templates from Python", flush=True)
    for package, name, source in jar_java(jars, listed["java"]):
        keep((java_calls if name.endswith(".java") else property_calls)(source, package))
    print(f"{len(calls)} templates with Java", flush=True)
    return list(calls.values())


def load(path: Path) -> list[LoggingCall]:
    """Read a mined corpus."""
    calls = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        for name in ("literals", "names", "conversions"):
            fields[name] = tuple(fields[name])
        calls.append(LoggingCall(**fields))
    return calls


def main(arguments: Sequence[str] | None = None) -> None:
    """Mine and write `calls.jsonl` and a JSON report beside it."""
    parser = argparse.ArgumentParser(
        prog="python -m training.mine", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument(
        "--out", type=Path, default=CORPUS, help="folder for downloads, corpus and report [%(default)s]"
    )
    parser.add_argument("--sources", type=Path, default=SOURCES, help="the list of packages [%(default)s]")
    chosen = parser.parse_args(arguments)
    calls = mine(chosen.out, chosen.sources)
    text = "".join(json.dumps(asdict(call), ensure_ascii=False) + "\n" for call in calls)
    (chosen.out / "calls.jsonl").write_text(text, encoding="utf-8", errors="replace")
    report = {
        "templates": len(calls),
        "with_variables": sum(bool(call.names) for call in calls),
        "distinct": len({call.text for call in calls}),
        "by_language": Counter(call.language for call in calls),
        "by_level": Counter(call.level for call in calls),
        "packages": len({call.package for call in calls}),
        "by_licence": Counter(call.licence for call in calls),
        "digest": hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest(),
    }
    (chosen.out / "report.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
