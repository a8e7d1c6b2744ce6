"""`python deploy/release_notes.py vVERSION`: what CHANGELOG.md says of the version, or why it can't be released."""  # noqa: INP001  a script, no package

import re
import sys
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[1]
#: A version's section: its heading, then its text up to the next one.
_SECTION = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]*)\)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def release_notes(tag: str, *, version: str, changelog: str) -> str:
    """Return the text of the section of `tag`, which is v and the project's `version`.

    Raises `ValueError` where the tag is of another version, and where the section is missing, empty or has no date.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag {tag} is not v{version}, the version in pyproject.toml")
    sections = {section["version"]: section for section in _SECTION.finditer(changelog)}
    if version not in sections:
        raise ValueError(f"CHANGELOG.md has no section '## {version} (YYYY-MM-DD)'")
    section = sections[version]
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", section["date"]):
        raise ValueError(f"CHANGELOG.md says {version} ({section['date']}); a release has a date, YYYY-MM-DD")
    if not (text := section["text"].strip()):
        raise ValueError(f"the section of {version} in CHANGELOG.md is empty")
    return text


def main() -> None:
    """Print the notes, or end with 1."""
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    try:
        notes = release_notes(sys.argv[1], version=version, changelog=(_ROOT / "CHANGELOG.md").read_text())
    except ValueError as exc:
        sys.exit(str(exc))
    sys.stdout.write(f"{notes}\n")


if __name__ == "__main__":
    main()
