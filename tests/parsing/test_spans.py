"""The convention of where parameters begin and end."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.parsing.spans import balanced, merged, trimmed, unmistakable, widened, with_missed


def shown(text: str, spans: list[tuple[int, int]]) -> str:
    """Put `<*>` in the place of spans."""
    for start, end in reversed(spans):
        text = f"{text[:start]}<*>{text[end:]}"
    return text


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a.", "a"),
        (" a, ", "a"),
        ("'a'", "a"),
        ('"a b"', "a b"),
        ("[a, b]", "a, b"),
        ("[[a]]", "a"),
        ("(a)(b)", "(a)(b)"),
        ("f(x)", "f(x)"),
        ("x)", "x"),
        ("(x", "x"),
        ("<x>", "x"),
        ("x'", "x"),
        ("don't", "don't"),
        ("#5", "5"),
        ("/10.0.0.1:80", "10.0.0.1:80"),
        ("/var/a", "/var/a"),
        ("::1", "::1"),
        ("fe80::", "fe80::"),
        (":80", "80"),
        ("-5", "-5"),
        ("...", None),
        ("[]", None),
        ("", None),
    ],
)
def test_edges_are_trimmed(value: str, kept: str | None) -> None:
    """Enclosing pairs, closing punctuation and marks without partner are not part of a parameter."""
    text = f"x{value}y"
    span = trimmed(text, 1, 1 + len(value))
    assert kept == (text[span[0] : span[1]] if span else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("took 5 ms", "took <*> ms"),
        ("at 2024-01-02T03:04:05.678Z.", "at <*>."),
        ("at 03:04:05,678", "at <*>"),
        ("from /10.0.0.1:80 and 10.0.0.2/24", "from /<*> and <*>"),
        ("id 0b0e3c2a-1111-4222-8333-444455556666;", "id <*>;"),
        ("at 0x7fff12 or deadbeef01", "at <*> or <*>"),
        ("open /var/log/a1.log", "open <*>"),
        ("n=5, m:-7 [3] (1,024)", "n=<*>, m:<*> [<*>] (<*>)"),
        ("UTF-8 HTTP/1.1 x86_64 IPv4 sha256 log4j", "UTF-8 HTTP/<*> x86_64 IPv4 sha256 log4j".replace("<*>", "1.1")),
        ("/var/log/messages cafe face", "/var/log/messages cafe face"),
        ("50% of 3.5", "<*>% of <*>"),
    ],
)
def test_unmistakable_values_are_found(text: str, expected: str) -> None:
    """Values that stand alone are found, digits within words are left to the model."""
    assert expected == shown(text, unmistakable(text))


@pytest.mark.parametrize(
    ("text", "variable", "expected"),
    [
        ("task-7 done", "7", "<*> done"),
        ("took 12ms, x", "12", "took <*>, x"),
        ("see http://q/x now", "q", "see <*> now"),
        ("key:val", "va", "key:<*>"),
        ("key=val", "va", "key=<*>"),
        ("(val)", "va", "(<*>)"),
        ("a->b", "b", "a-><*>"),
    ],
)
def test_values_are_whole_words(text: str, variable: str, expected: str) -> None:
    """What was found is stretched to the word that a reader sees."""
    start = text.index(variable)
    assert expected == shown(text, [widened(text, start, start + len(variable))])


@pytest.mark.parametrize(
    ("text", "start", "end", "expected"),
    [
        ("(X11; L) Ap/5", 1, 13, ["X11; L", " Ap/5"]),
        ('"orders" violates', 1, 17, ["orders", " violates"]),
        ("main(A.java:7)", 0, 13, ["main(A.java:7)"]),
        ("f(x) [a]", 0, 8, ["f(x) [a]"]),
        ("(((", 0, 3, []),
        ("plain", 0, 5, ["plain"]),
    ],
)
def test_parameters_cross_no_bracket(text: str, start: int, end: int, expected: list[str]) -> None:
    """A bracket or quote whose partner stands outside splits a span; one that closes right behind it is taken in."""
    assert expected == [text[left:right] for left, right in balanced(text, start, end)]


def test_joined_values_become_one() -> None:
    """A host and its port are one value; a key is none."""
    assert merged("to h:80 x=y", [(8, 9), (5, 7), (3, 4), (10, 11)]) == [(3, 7), (8, 9), (10, 11)]


def test_what_is_missed_is_added_where_nothing_is() -> None:
    """A value that touches one that is there already is left out, and a joint alone separates no two."""
    assert with_missed("a1 b2 c3:d4", [(0, 2), (6, 8)], [(1, 4), (3, 5), (9, 11)]) == [(0, 2), (3, 5), (6, 11)]


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))), max_size=6)
TEXTS = st.text(alphabet="ab1 .:/-_='\"[](){}<>,@", max_size=60)


@given(TEXTS, SPANS)
@settings(max_examples=300)
def test_merged_spans_are_sound(text: str, spans: list[tuple[int, int]]) -> None:
    """Spans come out ascending, apart and inside the text; what was merged stays as it is."""
    found = merged(text, [(min(start, len(text)), min(end, len(text))) for start, end in spans])
    assert found == sorted(found)
    assert all(left[1] < right[0] for left, right in pairwise(found))
    assert all(0 <= start <= end <= len(text) for start, end in found)
    assert found == merged(text, found)


@given(TEXTS, st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=300)
def test_trimming_shrinks_and_widening_grows(text: str, first: int, second: int) -> None:
    """Trimming never leaves the span, widening never loses any of it."""
    start, end = sorted((min(first, len(text)), min(second, len(text))))
    inner = trimmed(text, start, end)
    assert inner is None or start <= inner[0] < inner[1] <= end
    left, right = widened(text, start, end)
    assert left <= start <= end <= right


@pytest.mark.parametrize(
    "text", ["(" * 60_000, "1" * 60_000, "/a" * 30_000, "1.1," * 15_000, "f" * 60_000, "1:" * 30_000]
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """Sixty thousand characters of one kind are searched in a moment; the test's own time limit is the judge."""
    unmistakable(text)
    trimmed(text, 0, len(text))
