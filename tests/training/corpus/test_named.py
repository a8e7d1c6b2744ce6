"""Messages with named parameters."""

from training.corpus.logging_calls import LoggingCall
from training.corpus.named import NamedExamples, named_example, vocabulary
from training.corpus.values import CLOSE, OPEN


def call(*literals: str, names: tuple[str, ...], package: str = "p") -> LoggingCall:
    """Make a logging call."""
    return LoggingCall(
        literals=literals, names=names, conversions=("s",) * len(names), level="info", language="python",
        package=package, version="1", licence="MIT",
    )  # fmt: skip


def tagged(number: int, value: str) -> str:
    """Mark a value as that of a numbered variable."""
    return f"{OPEN}{chr(0xE100 + number)}{value}{CLOSE}"


def test_parameters_have_the_names_of_their_variables() -> None:
    """Spans are those of the convention; what no variable fills has no name."""
    found = named_example(f"user {tagged(1, 'bob')} took task {tagged(0, 'x7')}, retry 3", ["task", "user"])
    assert found.text == "user bob took task x7, retry 3"
    assert [("bob", "user"), ("x7", "task"), ("3", "")] == [
        (found.text[start:end], name) for (start, end), name in zip(found.spans, found.names, strict=True)
    ]


def test_a_parameter_of_two_variables_has_no_name() -> None:
    """Which of the two a reader would name it by can't be told."""
    found = named_example(f"to {tagged(0, 'ab')}{tagged(1, 'cd')} by {tagged(2, 'ef')}", ["first", "last", "user"])
    assert found.names == ("", "user")


def test_values_with_keys_of_their_own_have_no_name() -> None:
    """What an object holds is not called like the object."""
    assert named_example(f"with J(id={OPEN}7{CLOSE})", []).names == ("",)


def test_examples_repeat_and_have_names() -> None:
    """The same seed gives the same examples, each with a name at least, and as many names as spans."""
    calls = [
        call("sent ", " bytes to ", "", names=("size", "peer")),
        call("up", names=()),
        call("at ", "", names=("i",)),
    ]
    first = list(NamedExamples(calls, ["alpha"], 5).take(200))
    assert first == list(NamedExamples(calls, ["alpha"], 5).take(200))
    assert {"size", "peer"} <= {name for one in first for name in one.names}
    assert all(any(one.names) and len(one.names) == len(one.spans) for one in first)


def test_the_vocabulary_holds_widespread_names() -> None:
    """A name counts once a package, and the most widespread come first."""
    calls = [
        call("a ", " b ", "", names=("peer", "blkSize"), package="p"),
        call("c ", "", names=("peer",), package="p"),
        call("d ", " e ", "", names=("blk_size", "i"), package="q"),
        call("f ", " g ", "", names=("blk_size", "host"), package="r"),
        call("h ", "", names=("hostname",), package="p"),
    ]
    assert ["blk_size", "host"] == vocabulary(calls, 2)
