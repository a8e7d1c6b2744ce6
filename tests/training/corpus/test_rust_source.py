"""Logging calls of Rust source code."""

import pytest

from training.corpus.logging_calls import Package
from training.corpus.rust_source import rust_calls

APP = Package(name="app", version="1", licence="MIT", language="rust")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            'info!("sent {} of {:?} to {name}: {}", self.size, peer.addr(), rows.len());',
            ("sent <*> of <*> to <*>: <*>", ("size", "addr", "name", "count"), "info"),
        ),
        (
            'tracing::warn!(target: "net", peer = %self.peer, ?took, "lost {name}: {e}", e = err.to_string());',
            ("lost <*>: <*> peer=<*> took=<*>", ("name", "err", "peer", "took"), "warn"),
        ),
        (
            'error!(log, "no {}", file; "key" => %value, "n" => 1);',
            ("no <*> key=<*> n=<*>", ("file", "key", "n"), "error"),
        ),
        ('log::log!(Level::Debug, "broken \\\n    {0:>8} {0}", id);', ("broken <*> <*>", ("id", "id"), "debug")),
        ('bail!("bad \\"{}\\"", hex::encode(&key[..4]));', ('bad "<*>"', ("key",), "raise")),
        ('eprintln!(r#"no "{}" {{}}"#, a as u64 + b);', ('no "<*>" {}', ("a",), "error")),
        ('debug!(count, "stored");', ("stored count=<*>", ("count",), "debug")),
        ('ensure!(n > 2, "only {n} left");', ("only <*> left", ("n",), "raise")),
    ],
)
def test_calls_are_read(source: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """Formats, inline captures and fields give the template and its names."""
    assert [expected] == [(call.text, call.names, call.level) for call in rust_calls(f"fn f() {{ {source} }}", APP)]


@pytest.mark.parametrize(
    "source", ['let s = format!("a message");', "info!(x);", 'assert_eq!(a, "b c");', 'event!(lvl, "a message");']
)
def test_what_is_no_logging_call_is_left(source: str) -> None:
    """Other macros, messages without literal text and unknown levels give nothing."""
    assert list(rust_calls(f"fn f() {{ {source} }}", APP)) == []


def test_errors_told_by_attributes_are_read() -> None:
    """The texts that thiserror and snafu set beside an error are templates of it."""
    source = """#[derive(Debug)] enum E {
        #[error("open {path}: {0}")] Open { path: PathBuf },
        #[snafu(display("bad {}", self.n))] Bad, }"""
    found = [(call.text, call.names, call.types, call.level) for call in rust_calls(source, APP)]
    assert [
        ("open <*>: <*>", ("path", ""), ("PathBuf", ""), "raise"),
        ("bad <*>", ("n",), ("",), "raise"),
    ] == found


def test_declarations_tell_types() -> None:
    """Parameters, locals and fields have their types, bare of references and wrappers."""
    source = """struct S { peer: SocketAddr, rest: Vec<u8> } impl S { fn f(&self, name: &'a str, n: Option<u32>) {
        let took: std::time::Duration = t(); info!("is {} {name} {n:?} {} {:?}", self.peer, took, self.rest); } }"""
    (call,) = rust_calls(source, APP)
    assert ("SocketAddr", "str", "int", "Duration", "list") == call.types
