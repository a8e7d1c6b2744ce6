"""Logging calls of Java source code and resource files."""

import pytest

from training.corpus.java_source import java_calls, property_calls
from training.corpus.logging_calls import LoggingCall, Package

APP = Package(name="app", version="1", licence="MIT", language="java")


def told(calls: list[LoggingCall]) -> list[tuple[str, tuple[str, ...], str]]:
    """Keep what matters of calls."""
    return [(call.text, call.names, call.level) for call in calls]


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
        ('log.error("At %d".formatted(line));', ("At <*>", ("line",), "error")),
        ('LOGGER.atWarn().log("all gone");', ("all gone", (), "warn")),
        ('getLogger().log(Level.SEVERE, "No {0}", new Object[] {file});', ("No <*>", ("file",), "info")),
        ('log.trace("say \\"hi\\" \\u0041");', ('say "hi" A', (), "trace")),
        ('throw new IllegalStateException("State is " + state);', ("State is <*>", ("state",), "raise")),
        (
            'x.orElseThrow(() -> new NoSuchNodeException("No node " + id));',
            ("No node <*>", ("id",), "raise"),
        ),
        ('log.info("Is {}", getClass().getSimpleName());', ("Is <*>", ("class_name",), "info")),
    ],
)
def test_calls_are_read(source: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """SLF4J, concatenation, lambdas, `String.format` and exceptions."""
    assert [expected] == told(list(java_calls(f"class A {{ {{ {source} }} }}", APP)))


def test_annotations_are_messages_of_their_method() -> None:
    """An annotated method's parameters fill the message, at the level that the annotation says."""
    source = 'interface A { @LogMessage(id = 1, value = "Queue {} is full", level = WARN) void full(String queue); }'
    assert [("Queue <*> is full", ("queue",), "warn")] == told(list(java_calls(source, APP)))


def test_declarations_tell_types() -> None:
    """Parameters, locals, fields and caught exceptions have their types, the nearest scope first."""
    source = """class A { private final List<Node> nodes; String size;
        void f(InetSocketAddress peer, long size) {
            try { var key = new Key(); log.info("{} {} {} {} at {}", peer, size, this.size, nodes, key); }
            catch (IOException | RuntimeException e) { log.warn("Failed: {} after {}", e, other); } } }"""
    found = [call.types for call in java_calls(source, APP)]
    assert [("error", "")] == found[1:]
    assert ("InetSocketAddress", "int", "str", "list", "Key") == found[0]


def test_a_call_that_never_closes_gives_nothing() -> None:
    """A call cut off by the end of the file is no call."""
    assert list(java_calls('log.info("half a call {}", (x', APP)) == []


@pytest.mark.parametrize("statement", ['catalog.info("x y");', "log.info(text);", 'map.put("a key", 1);'])
def test_what_is_no_logging_call_is_left(statement: str) -> None:
    """Other objects' methods and messages without literal text give nothing."""
    assert list(java_calls(f"class A {{ {{ {statement} }} }}", APP)) == []


def test_properties_are_messages_without_names() -> None:
    """A resource file's values are templates; comments are not."""
    source = "# no=comment\na.b=File [{0}] isn''t \\\n   there\nc=x\n"
    assert told(list(property_calls(source, APP))) == [("File [<*>] isn't there", ("",), "info")]
