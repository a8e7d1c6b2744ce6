"""Logging calls of JavaScript and TypeScript source code."""

import pytest

from training.corpus.javascript_source import javascript_calls
from training.corpus.logging_calls import Package

APP = Package(name="app", version="1", licence="MIT", language="javascript")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "console.log('listening on %s:%d', this.host, port, ready)",
            ("listening on <*>:<*> <*>", ("host", "port", "ready"), "info"),
        ),
        (
            "logger.info({ reqId: n, url }, `got ${user.name} from ${this.getHost()}`)",
            ("got <*> from <*> reqId=<*> url=<*>", ("user_name", "host", "reqId", "url"), "info"),
        ),
        (
            "log.error('lost ' + peer + ', ' + rest.length + ' left')",
            ("lost <*>, <*> left", ("peer", "count"), "error"),
        ),
        ('debug("The ".concat(path, " failed"))', ("The <*> failed", ("path",), "debug")),
        ("log.warn(util.format('no %s', file), err)", ("no <*> <*>", ("file", "err"), "warn")),
        ("winston.verbose('stored', { id: order.id, at })", ("stored id=<*> at=<*>", ("id", "at"), "debug")),
        ("this.logger.error(chalk.red(`bad ${n}`), NAMESPACE)", ("bad <*>", ("n",), "error")),
        (
            "throw new TypeError(`is ${typeof value}, \\u0041${JSON.stringify(x)}`)",
            ("is <*>, A<*>", ("value", "x"), "raise"),
        ),
        ("reject(new HttpError(404, 'no ' + name))", ("no <*>", ("name",), "raise")),
        ("console.info('done in %dms', Date.now() - start)", ("done in <*>ms", ("elapsed",), "info")),
    ],
)
def test_calls_are_read(source: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """Formats, template literals, concatenation and fields give the template and its names."""
    assert [expected] == [(call.text, call.names, call.level) for call in javascript_calls(source, APP)]


@pytest.mark.parametrize(
    "source",
    ["Math.log(10, 'ab cd')", "catalog.info('x y')", "log.info(text)", "log.child({ a: 'b c' })", "log.info('!')"],
)
def test_what_is_no_logging_call_is_left(source: str) -> None:
    """Other calls and messages without literal text give nothing."""
    assert list(javascript_calls(source, APP)) == []


def test_declarations_tell_types() -> None:
    """TypeScript's annotations and what is made on the spot tell types."""
    source = """class A { private host: string; f(n: number, peer?: Peer | null, ...all: Node[]) {
        const t = new Timer();
        try { log.info(`${this.host} ${n} ${peer} ${all} at ${t}`) } catch (e) { log.warn('no: %s', e) } } }"""
    found = [call.types for call in javascript_calls(source, APP)]
    assert [("str", "number", "Peer", "list", "Timer"), ("error",)] == found


def test_markup_is_read() -> None:
    """A file with JSX is read as such."""
    source = "const A = () => <p onClick={() => console.log(`hit ${n}`)}>don't</p>"
    assert ["hit <*>"] == [call.text for call in javascript_calls(source, APP, markup=True)]
