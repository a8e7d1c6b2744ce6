"""Mining: packages, licences, downloads, and the corpus on disk."""

import json
import zipfile
from pathlib import Path

import pytest

from training.mine import is_permissive, jar_java, load, wheel_python


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


def test_archives_are_read_by_licence(tmp_path: Path) -> None:
    """Wheels under other licences and files of tests are passed over; jars are read by their list."""
    for name, licence in (("good", "MIT"), ("bad", "GPL-3.0")):
        with zipfile.ZipFile(tmp_path / f"{name}-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}-1.dist-info/METADATA", f"Name: {name}\nVersion: 1\nLicense-Expression: {licence}\n")
            wheel.writestr(f"{name}/a.py", "code")
            wheel.writestr(f"{name}/tests/b.py", "code")
    assert [(file.package.name, file.text) for file in wheel_python(tmp_path)] == [("good", "code")]
    with zipfile.ZipFile(tmp_path / "art-2-sources.jar", "w") as jar:
        jar.writestr("A.java", "code")
        jar.writestr("A.txt", "text")
    assert [(f.package.name, f.name) for f in jar_java(tmp_path, {"org:art:2": "MIT"})] == [("art", "A.java")]


def test_a_corpus_is_read_back(tmp_path: Path) -> None:
    """What is written as JSON lines comes back as it was."""
    fields = {"literals": ["a ", ""], "names": ["n"], "conversions": ["d"], "level": "info", "language": "python",
              "package": "p", "version": "1", "licence": "MIT"}  # fmt: skip
    (tmp_path / "calls.jsonl").write_text(json.dumps(fields) + "\n")
    assert [call.text for call in load(tmp_path / "calls.jsonl")] == ["a <*>"]
