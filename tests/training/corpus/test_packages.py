"""Packages: their licences, and which of their files are read."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from training.corpus.packages import (
    WrongLicence,
    crate_rust,
    is_permissive,
    jar_java,
    module_go,
    npm_javascript,
    wheel_python,
)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0", True),
        ("BSD License", True),
        ("GPL-3.0", False),
        ("LGPLv3 or MIT", False),
        ("", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
    ],
)
def test_only_permissive_licences_are_learned_from(licence: str, *, expected: bool) -> None:
    """A licence that is not known to be permissive is none."""
    assert expected == is_permissive(licence)


def wheel(folder: Path, name: str, licence: str) -> None:
    """Write a wheel with one module and one test."""
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}-1.dist-info/METADATA", f"Name: {name}\nVersion: 1\nLicense-Expression: {licence}\n")
        archive.writestr(f"{name}/a.py", "code")
        archive.writestr(f"{name}/tests/b.py", "code")


def tarball_of(path: Path, files: dict[str, str]) -> None:
    """Write a package as npm and crates.io keep it: below one folder."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            about = tarfile.TarInfo(f"package/{name}")
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text.encode()))


def test_wheels_are_read_by_licence(tmp_path: Path) -> None:
    """Wheels under other licences, those that an older list left behind, and files of tests are passed over."""
    for name, licence in (("good", "MIT"), ("bad", "GPL-3.0"), ("older", "MIT")):
        wheel(tmp_path, name, licence)
    assert [("good", "code")] == [
        (file.package.name, file.text) for file in wheel_python(tmp_path, ["good==1", "bad==1"])
    ]


def test_jars_are_read_by_their_list(tmp_path: Path) -> None:
    """A jar's sources are read, under the licence that the list says; other files and benchmarked programs are not."""
    with zipfile.ZipFile(tmp_path / "art-2-sources.jar", "w") as jar:
        for name in ("A.java", "A.txt", "hdfs/B.java"):
            jar.writestr(name, "code")
    found = [(file.package.name, file.package.licence, file.name) for file in jar_java(tmp_path, {"org:art:2": "MIT"})]
    assert [("art", "MIT", "A.java")] == found


def test_packages_of_npm_are_read_as_written(tmp_path: Path) -> None:
    """What was compiled from `src`, bundles, tests, declarations and other licences are passed over."""
    names = ("src/a.ts", "src/a.d.ts", "src/a.test.ts", "dist/a.js", "lib/b.min.js", "tests/c.js")
    bundle = {"src/bundled.js": "x" * 3_000}
    about = {"name": "@one/app", "version": "1.0.0", "license": "MIT"}
    tarball_of(
        tmp_path / "one-app-1.0.0.tgz", {"package.json": json.dumps(about)} | dict.fromkeys(names, "code") | bundle
    )
    tarball_of(
        tmp_path / "two-2.0.0.tgz",
        {"package.json": json.dumps(about | {"name": "two", "license": "AGPL-3.0"}), "a.js": "code"},
    )
    found = [(file.package.name, file.name) for file in npm_javascript(tmp_path, ["two@2.0.0", "@one/app@1.0.0"])]
    assert [("@one/app", "src/a.ts")] == found


def test_without_sources_what_was_compiled_is_read(tmp_path: Path) -> None:
    """A package that ships nothing else is read from its `dist`."""
    about = {"name": "app", "version": "1.0.0", "license": "MIT"}
    tarball_of(tmp_path / "app-1.0.0.tgz", {"package.json": json.dumps(about), "dist/a.js": "code"})
    assert ["dist/a.js"] == [file.name for file in npm_javascript(tmp_path, ["app@1.0.0"])]


def test_crates_are_read_by_licence(tmp_path: Path) -> None:
    """A crate's own manifest tells its licence; examples and build scripts are passed over."""
    manifest = '[package]\nname = "app"\nlicense = "MIT OR Apache-2.0"\n'
    files = {"Cargo.toml": manifest, "src/a.rs": "code", "build.rs": "code", "examples/b.rs": "code"}
    tarball_of(tmp_path / "app-1.2.0.crate", files)
    found = [(file.package.licence, file.name) for file in crate_rust(tmp_path, ["app@1.2.0"])]
    assert [("MIT OR Apache-2.0", "src/a.rs")] == found


def test_modules_are_read_under_the_licence_that_they_carry(tmp_path: Path) -> None:
    """A Go module's licence file must be of the licence that is listed."""
    with zipfile.ZipFile(tmp_path / "one.org_app@v1.0.0.zip", "w") as archive:
        archive.writestr("one.org/app@v1.0.0/LICENSE", "Permission is hereby granted, free of charge, to any person")
        for name in ("a.go", "a_test.go", "vendor/b.go", "zz_generated.go"):
            archive.writestr(f"one.org/app@v1.0.0/{name}", "code")
    assert ["a.go"] == [file.name for file in module_go(tmp_path, {"one.org/app@v1.0.0": "MIT"})]
    with pytest.raises(WrongLicence, match=r"one\.org/app@v1\.0\.0 is listed under Apache-2\.0"):
        list(module_go(tmp_path, {"one.org/app@v1.0.0": "Apache-2.0"}))
