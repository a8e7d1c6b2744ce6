"""Mine logging calls out of open-source code: each is a template whose variables have names and types.

Reads Python (the standard library, the installed packages, listed wheels) by `ast`, and by tree-sitter's grammars Java
(source jars), JavaScript and TypeScript (packages of npm), Rust (crates), Go (modules) and C (Debian's source
packages): `sources.toml` lists them.
Writes one `LoggingCall` per line as JSON. Only packages under a permissive licence are read, and none that the usual
log parsing benchmarks were recorded from. A language whose client isn't installed is left out, and said to be.
"""

import argparse
import hashlib
import json
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from training.corpus.c_source import c_calls
from training.corpus.debian import DEBIAN
from training.corpus.go_source import go_calls
from training.corpus.java_source import java_calls, property_calls
from training.corpus.javascript_source import javascript_calls
from training.corpus.logging_calls import CORPUS, LoggingCall
from training.corpus.packages import BENCHMARKED, REGISTRIES, MiningError, SourceFile, installed_python
from training.corpus.python_source import python_calls
from training.corpus.rust_source import rust_calls

SOURCES = Path(__file__).with_name("sources.toml")
#: By language.
LANGUAGES = REGISTRIES | {"c": DEBIAN}


#: What reads a file, by the ending of its name; the others are JavaScript and TypeScript.
READERS = {
    ".py": python_calls,
    ".java": java_calls,
    ".properties": property_calls,
    ".rs": rust_calls,
    ".go": go_calls,
    ".c": c_calls,
}


def calls_of(file: SourceFile) -> Iterator[LoggingCall]:
    """Read the logging calls of a file, by its language."""
    suffix = Path(file.name).suffix
    if suffix in READERS:
        return READERS[suffix](file.text, file.package)
    return javascript_calls(file.text, file.package, markup=suffix.endswith("x"))


def mine(folder: Path, sources: Path = SOURCES, languages: Iterable[str] = LANGUAGES) -> list[LoggingCall]:
    """Mine the sources of `languages`. Downloads land in `folder`. Each template is kept once per package.

    Raises:
        NotDownloaded: A listed package could not be downloaded.
        WrongLicence: A listed package is not under the licence that the list says.
    """
    listed = tomllib.loads(sources.read_text())
    calls: dict[tuple[str, str], LoggingCall] = {}
    for language in languages:
        registry = LANGUAGES[language]
        packages, store = listed[registry.listed_as], folder / registry.folder
        if shutil.which(registry.client) is None:
            print(
                f"left out: {len(packages)} packages of {language}, for there is no {registry.client} here", flush=True
            )
            continue
        store.mkdir(parents=True, exist_ok=True)
        registry.download(packages, store)
        before = len(calls)
        for part in (installed_python() if language == "python" else (), registry.read(store, packages)):
            for file in part:
                for call in calls_of(file):
                    if not BENCHMARKED.search(call.text):
                        calls.setdefault((call.package, call.text), call)
        print(f"{len(calls) - before} templates from {len(packages)} listed packages of {language}", flush=True)
    return list(calls.values())


def summary(calls: Sequence[LoggingCall]) -> dict[str, int]:
    """Count what a part of the corpus holds."""
    return {
        "packages": len({call.package for call in calls}),
        "templates": len(calls),
        "distinct": len({call.text for call in calls}),
        "logged": sum(call.level != "raise" for call in calls),
        "with_variables": sum(bool(call.names) for call in calls),
        "variables": sum(len(call.names) for call in calls),
        "named": sum(bool(name) for call in calls for name in call.names),
        "typed": sum(bool(kind) for call in calls for kind in call.types),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Mine and write `calls.jsonl` and a JSON report beside it."""
    parser = argparse.ArgumentParser(
        prog="python -m training.mine", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument(
        "--out", type=Path, default=CORPUS, help="folder for downloads, corpus and report [%(default)s]"
    )
    parser.add_argument("--sources", type=Path, default=SOURCES, help="the list of packages [%(default)s]")
    parser.add_argument("--only", nargs="+", choices=LANGUAGES, default=list(LANGUAGES), help="languages [all]")
    chosen = parser.parse_args(arguments)
    try:
        calls = mine(chosen.out, chosen.sources, chosen.only)
    except MiningError as error:
        parser.exit(1, f"{error}\n")
    text = "".join(json.dumps(asdict(call), ensure_ascii=False) + "\n" for call in calls)
    (chosen.out / "calls.jsonl").write_text(text, encoding="utf-8", errors="replace")
    by_language = {language: [call for call in calls if call.language == language] for language in chosen.only}
    report = {
        **summary(calls),
        "by_language": {language: summary(part) for language, part in by_language.items()},
        "by_level": Counter(call.level for call in calls),
        "by_licence": Counter(call.licence for call in calls),
        "digest": hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest(),
    }
    (chosen.out / "report.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
