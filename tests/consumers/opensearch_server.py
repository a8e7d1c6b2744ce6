"""A real OpenSearch server for tests: its own minimal distribution and two of its modules, all from Maven Central."""

import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tests.consumers.asking import answers, ask
from tests.kafka_broker import free_port, wait_until
from tests.maven import jars_of

POM = Path(__file__).with_name("opensearch") / "pom.xml"
START_SECONDS = 120.0

#: Modules beside the server: the class that OpenSearch loads, the module that it extends, and its jars.
_MODULES = {
    "lang-painless": (
        "org.opensearch.painless.PainlessPlugin",
        "",
        ("lang-painless", "opensearch-scripting-painless-spi", "antlr4-runtime", "asm"),
    ),
    "ingest-common": (
        "org.opensearch.ingest.common.IngestCommonPlugin",
        "lang-painless",
        ("ingest-common", "opensearch-grok", "opensearch-dissect", "jcodings", "joni"),
    ),
}
_DESCRIPTOR = """\
description={name}
name={name}
version={version}
opensearch.version={version}
java.version=11
classname={class_name}
extended.plugins={extends}
has.native.controller=false
"""
#: What the language of scripts may do in the server: it compiles them to classes.
_POLICY = """\
grant {
  permission java.lang.RuntimePermission "createClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
};
"""
#: OpenSearch refuses to run as root: it is nobody then.
_NOBODY = 65534


class OpenSearch:
    """A server of one node on loopback, which keeps what it is told in a folder of its own."""

    def __init__(self) -> None:
        """Lay the server out. Raises NotFetched without Java or Maven."""
        self._folder = Path(tempfile.mkdtemp(prefix="logloom-opensearch-"))
        self._home = _lay_out(jars_of(POM, "opensearch"), self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{free_port()}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        nobody = _NOBODY if os.geteuid() == 0 else None
        if nobody is not None:
            for path in [self._folder, *self._folder.rglob("*")]:
                os.chown(path, nobody, nobody)
        settings = {
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": self.address.rsplit(":", 1)[1],
            "transport.port": str(free_port()),
            "path.data": str(self._folder / "data"),
            "path.logs": str(self._folder / "logs"),
            # A disk that others have filled is none of the tests' business.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        java = ["java", "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        java += ["-Djava.security.manager=allow", "-Dlog4j2.disable.jmx=true", "-Dopensearch.bundled_jdk=false"]
        java += [f"-Dopensearch.path.home={self._home}", f"-Dopensearch.path.conf={self._home / 'config'}"]
        java += ["-Dopensearch.distribution.type=zip", f"-Djava.io.tmpdir={self._folder}"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*java, "-cp", f"{self._home}/lib/*", "org.opensearch.bootstrap.OpenSearch"]
                + [f"-E{name}={value}" for name, value in settings.items()],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "OPENSEARCH_PATH_CONF": str(self._home / "config")},
                user=nobody,
                group=nobody,
                extra_groups=None if nobody is None else [],
            )
        wait_until(self._answers, seconds=START_SECONDS, what="OpenSearch's first answer")

    def stop(self) -> None:
        """End it at once, and remove what it kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, method: str, path: str, body: bytes | None = None, *, kind: str = "application/json") -> Any:
        """Ask it, and return its answer's JSON. Raises RuntimeError with what it says against the request."""
        return ask(method, f"{self.address}{path}", body, kind=kind)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"OpenSearch did not start:\n{(self._folder / 'log').read_text()[-3000:]}")
        return answers(self.address)


def _lay_out(jars: Path, folder: Path) -> Path:
    """Unpack the server into `folder` and put the modules into it; return its home."""
    (archive,) = jars.glob("opensearch-*.zip")
    version = archive.stem.removeprefix("opensearch-")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    home = folder / f"opensearch-{version}"
    for name, (class_name, extends, wanted) in _MODULES.items():
        module = home / "modules" / name
        module.mkdir()
        for jar in jars.glob("*.jar"):
            if jar.name.startswith(wanted):
                shutil.copy(jar, module)
        descriptor = _DESCRIPTOR.format(name=name, version=version, class_name=class_name, extends=extends)
        (module / "plugin-descriptor.properties").write_text(descriptor)
    (home / "modules" / "lang-painless" / "plugin-security.policy").write_text(_POLICY)
    return home
