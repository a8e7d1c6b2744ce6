"""Logging calls of Python source code."""

import pytest

from training.corpus.logging_calls import Package
from training.corpus.python_source import python_calls

APP = Package(name="app", version="1", licence="MIT", language="python")


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
        ('log.info("on %s", ",".join(self.get_hosts()))', ("on <*>", ("hosts_list",), "info")),
        ('log.info("at %s", os.environ.get("HOME"))', ("at <*>", ("home",), "info")),
    ],
)
def test_calls_are_read(source: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """Each way to format a message gives its template and names."""
    assert [expected] == [(call.text, call.names, call.level) for call in python_calls(source, APP)]


@pytest.mark.parametrize(
    "source", ['print("a message")', 'catalog.info("x y")', "log.info(message)", "log.info('!')", "a b c"]
)
def test_what_is_no_logging_call_is_left(source: str) -> None:
    """Other calls, messages without literal text, and files that are no Python give nothing."""
    assert list(python_calls(source, APP)) == []


def test_types_come_from_the_form() -> None:
    """A conversion and a built-in function tell a type; a plain name doesn't."""
    (call,) = python_calls('log.info("%d of %s: %s %.1f", n, len(rows), name, share)', APP)
    assert ("int", "int", "", "float") == call.types
