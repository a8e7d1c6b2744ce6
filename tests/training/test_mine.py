"""Logging calls out of source code."""

import json
import zipfile
from pathlib import Path

import pytest

from training.corpus.java_source import java_calls, property_calls
from training.corpus.logging_calls import LoggingCall, Package
from training.corpus.python_source import python_calls
from training.mine import is_permissive, jar_java, load, wheel_python

PYTHON = Package(name="app", version="1", licence="MIT", language="python")
JAVA = Package(name="app", version="1", licence="MIT", language="java")


def told(calls: list[LoggingCall]) -> list[tuple[str, tuple[str, ...], str]]:
    """Keep what matters of calls."""
    return [(call.text, call.names, call.level) for call in calls]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('log.info("sent %d bytes to %s", size, self.peer)', ("sent <*> bytes to <*>", ("size", "peer"), "info")),
        ('logger.warning("left: %(days)s" % v)', ("left: <*>", ("days",), "warn")),
        (
            'self.logger.debug(f"got {len(rows)} rows in {took:.2f}s")',
            ("got <*> rows in <*>s", ("count", "took"), "debug"),
        ),
        (
            'logging.error("open {} failed: {err}".format(path, err=e))',
            ("open <*> failed: <*>", ("path", "e"), "error"),
        ),
        ('log.error("cannot " + verb + " it")', ("cannot <*> it", ("verb",), "error")),
        ('logger.info("user {} left", user.name)', ("user <*> left", ("user_name",), "info")),
        ('log.info("order stored", order_id=7)', ("order stored order_id=<*>", ("order_id",), "info")),
        ('logger.log(logging.INFO, "it is %s", x["state"])', ("it is <*>", ("state",), "info")),
        ('LOG.exception("100%% of " "%s", k)', ("100% of <*>", ("k",), "error")),
        ('raise ValueError(f"bad value {v!r}")', ("bad value <*>", ("v",), "raise")),
    ],
)
def test_python_calls_are_read(source: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """Each way to format a message gives its template and names."""
    assert [expected] == told(list(python_calls(source, PYTHON)))


@pytest.mark.parametrize(
    "source", ['print("a message")', 'catalog.info("x y")', "log.info(message)", "log.info('!')", "a b c"]
)
def test_what_is_no_logging_call_is_left(source: str) -> None:
    """Other calls, messages without literal text, and files that are no Python give nothing."""
    assert list(python_calls(source, PYTHON)) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('log.info("Sent {} bytes to {}", size, peer.getHost());', ("Sent <*> bytes to <*>", ("size", "host"), "info")),
        (
            'LOG.warn("Lost " + node + ", " + left.size() + " left", e);',
            ("Lost <*>, <*> left", ("node", "count"), "warn"),
        ),
        ('logger.debug(() -> "Took " + took);', ("Took <*>", ("took",), "debug")),
        ('log.error(String.format("At %d: %s", line, text));', ("At <*>: <*>", ("line", "text"), "error")),
        ('LOGGER.atWarn().log("all gone");', ("all gone", (), "warn")),
        ('log.trace("say \\"hi\\" \\u0041");', ('say "hi" A', (), "trace")),
        ('throw new IllegalStateException("State is " + state);', ("State is <*>", ("state",), "raise")),
    ],
)
def test_java_calls_are_read(source: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """SLF4J, concatenation, lambdas, `String.format` and exceptions."""
    assert [expected] == told(list(java_calls(f"class A {{ {{ {source} }} }}", JAVA)))


def test_annotations_are_messages_of_their_method() -> None:
    """An annotated method's parameters fill the message, at the level that the annotation says."""
    source = 'interface A { @LogMessage(id = 1, value = "Queue {} is full", level = WARN) void full(String queue); }'
    assert [("Queue <*> is full", ("queue",), "warn")] == told(list(java_calls(source, JAVA)))


def test_java_that_never_closes_gives_nothing() -> None:
    """A call cut off by the end of the file is no call."""
    assert list(java_calls('log.info("half a call {}", (x', JAVA)) == []


def test_properties_are_messages_without_names() -> None:
    """A resource file's values are templates; comments are not."""
    source = "# no=comment\na.b=File [{0}] isn''t \\\n   there\nc=x\n"
    assert told(list(property_calls(source, JAVA))) == [("File [<*>] isn't there", ("",), "info")]


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
