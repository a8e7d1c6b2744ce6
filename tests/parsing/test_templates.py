"""Templates, and the reference of how messages match them."""

import itertools
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.parsing.templates import Template, fingerprint, has_letter, words_of

# A message over its template, the parameters' values between bars; None where it must not match.
PAIRS = [
    ("user bob in", "user <*> in", "bob"),
    ("user  in", "user <*> in", ""),
    ("user bob smith in", "user <*> in", None),
    ("user bob\tsmith in", "user <*> in", None),
    ("user bob out", "user <*> in", None),
    ("user in", "user <*> in", None),
    ("started", "started", ""),
    ("started ", "started", None),
    ("10.0.0.1:80", "<*>:<*>", "10.0.0.1|80"),
    ("1=2=3", "<*>=<*>", "1|2=3"),
    ("key a=b=c", "key <*>=<*>", "a|b=c"),
    ("key =", "key <*>=<*>", "|"),
    ("aXbXc end", "a<*>X<*> end", "|bXc"),
    ("from ::1 ()", "from <*> (<*>)", "::1|"),
    ("1234", "<*>", "1234"),
    ("abcd", "<*>", None),
    ("[1] [2]", "[<*>] [<*>]", "1|2"),
    ("[1] [b]", "[<*>] [<*>]", None),
    ("aba", "ab<*>ba", None),
]

words = st.text("ab =", max_size=8).map(str.encode)
texts = st.lists(st.sampled_from(["a", "b", "ab", " ", "a ", "="]), max_size=6).map("".join)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """Draw a template of a few letters, some of its parameters spacious."""
    pieces = draw(st.lists(texts, min_size=1, max_size=5))
    text = "<*>".join(pieces)
    return Template.from_text(text, spacious=[number for number in range(5) if draw(st.booleans())])


@st.composite
def cuts(draw: st.DrawFn) -> tuple[bytes, Template]:
    """Draw a message and a template cut from it."""
    message = draw(st.binary(max_size=30) | words)
    edges = sorted(draw(st.lists(st.integers(0, len(message)), max_size=8)))
    pairs = list(itertools.pairwise(edges))[::2]
    return message, Template.cut(message, pairs)


@pytest.mark.parametrize(("message", "text", "values"), PAIRS)
def test_a_message_over_its_template(message: str, text: str, values: str | None) -> None:
    """A parameter takes what stands between its neighbours, but no white space."""
    spans = Template.from_text(text).match(message.encode())
    actual = None if spans is None else "|".join(message[start:end] for start, end in spans)
    assert values == actual


def test_a_spacious_parameter_takes_white_space() -> None:
    """A value with blanks matches where the model saw one."""
    template = Template.from_text("error: <*> at <*>", spacious=[0])
    assert template.match(b"error: no space at all") == ((7, 15), (19, 22))


def test_a_spacious_parameter_grows_until_the_rest_fits() -> None:
    """Where what follows does not fit at the first place, the spacious value reaches to a later one."""
    template = Template.from_text("<*> by <*> end", spacious=[0])
    assert template.match(b"sent by a or by bob end") == ((0, 12), (16, 19))


@settings(max_examples=500)
@given(templates(), words)
def test_matching_is_lazy_matching(template: Template, message: bytes) -> None:
    """On short messages, a match is what a backtracking search for the shortest values finds."""
    parts = [re.escape(template.literals[0])]
    for spacious, literal in zip(template.spacious, template.literals[1:], strict=True):
        parts += [b"(.*?)" if spacious else rb"([^ \t]*?)", re.escape(literal)]
    expected = re.fullmatch(b"".join(parts), message, re.DOTALL)
    if template.letterless and has_letter(message):
        expected = None
    spans = None if expected is None else tuple(expected.span(i + 1) for i in range(len(template.spacious)))
    assert spans == template.match(message)


@given(cuts())
def test_a_template_matches_the_message_it_was_cut_from(cut: tuple[bytes, Template]) -> None:
    """What was cut from a message matches it, unless it would swallow all its letters."""
    message, template = cut
    swallows = template.letterless and has_letter(message)
    assert swallows == (template.match(message) is None)


def test_a_template_without_letters_matches_no_letters() -> None:
    """A template of punctuation does not swallow words."""
    template = Template.from_text("[<*>] <*>")
    assert template.match(b"[1] 2") is not None
    assert template.match(b"[1] x") is None


def test_touching_spans_become_one_parameter() -> None:
    """Two spans without a literal between them can't be told apart."""
    assert Template.from_text("a <*> b").literals == Template.cut(b"a 123 b", [(2, 3), (3, 5)]).literals
    assert Template.from_text("a <*> b") == Template.from_text("a <*><*> b")


def test_the_id_is_of_the_literals_alone() -> None:
    """Names, confidence and white space do not change a template's id; moving a literal's edge does."""
    spaced = Template.from_text("a <*> b", spacious=[0])
    assert spaced.id == Template.from_text("a <*> b").id
    assert Template.from_text("a<*>b").id != Template.from_text("ab<*>").id
    assert Template.from_text("a <*> b").id == "efe3878faa9b0a2a"


def test_more_literal_bytes_rank_first() -> None:
    """The template that says most wins; the smaller id decides between equals."""
    general, special = Template.from_text("port <*> <*>"), Template.from_text("port 80 <*>")
    left, right = Template.from_text("x <*> y"), Template.from_text("x y <*>")
    assert [special, general] == sorted([general, special], key=lambda template: template.rank)
    assert (left.rank < right.rank) == (left.id < right.id)


def test_anchors_are_words_that_no_parameter_touches() -> None:
    """Letters next to a parameter may be a part of a longer word in the message."""
    template = Template.from_text("open x<*> failed: (no-such file<*>e1) größe<*>")
    assert template.anchors == (b"open", b"failed", b"no", b"such")
    assert Template.from_text("ab <*> c").anchors == (b"ab", b"c")


def test_words_with_digits_are_alike() -> None:
    """A fingerprint tells words apart, numbers not, and scopes."""
    assert words_of(b" sent 12 \t to bob") == [b"sent", None, b"to", b"bob"]
    assert fingerprint(b"sent 12 to bob") == fingerprint(b"sent 345  to bob")
    assert fingerprint(b"sent 12 to bob") != fingerprint(b"sent 12 to eve")
    assert fingerprint(b"sent 12") != fingerprint(b"sent 12", 1)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (Template.from_text("<*>a<*>a<*>a<*>b<*>"), b"a" * 1_000_000),
        (Template.from_text("<*>a<*> <*>b"), b"a" * 999_999 + b"b"),
        (Template.from_text("<*>" + "a<*>" * 20 + " b", spacious=[0]), (b"a" * 19 + b" ") * 5_000 + b" b"),
        (Template.from_text("<*> a<*> b<*>c<*> d", spacious=[0]), b" a b a" * 100_000 + b" d"),
    ],
)
def test_a_long_line_is_refused_in_linear_time(template: Template, message: bytes) -> None:
    """A long line of near matches is refused within seconds, where backtracking would take years."""
    started = time.process_time()
    assert template.match(message) is None
    assert time.process_time() - started < 10


@pytest.mark.parametrize("message", ["接続に失敗しました", "Übersetzung", "привет", "🔥", "é"])
def test_a_template_without_letters_matches_no_letters_of_any_script(message: str) -> None:
    """A language that writes no ASCII is not swallowed by a template of parameters alone."""
    assert Template.from_text("<*>", {0}).match(message.encode()) is None
    assert Template.from_text("<*> 5", {0}).match(f"{message} 5".encode()) is None


@pytest.mark.parametrize("message", ["5 → 7", "│ 5 │ 7 │", "23° — 24°", "\x1b[1m"])
def test_marks_beyond_ascii_are_no_letters(message: str) -> None:
    """Dashes, arrows, frames and degrees are as little text as ASCII's marks."""
    assert has_letter(message.encode()) == ("m" in message)


def test_a_letter_that_is_not_ascii_keeps_a_template_from_swallowing() -> None:
    """A template whose only letters are of another script matches messages whose values are ASCII words."""
    message = "ユーザー bob がログインしました".encode()
    template = Template.cut(message, [(13, 16)])
    assert template.text == "ユーザー <*> がログインしました"
    assert template.match(message) == ((13, 16),)
