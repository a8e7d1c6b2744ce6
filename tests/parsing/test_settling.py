"""Settling: what neighbours decide together, what they leave alone, and what a person's labels outvote."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.checkpoints import write_small
from worker.errors import WrongModel
from worker.parsing.checkpoint import CORRECTED, PIECES
from worker.parsing.parser import EncoderParser, cut_template
from worker.parsing.settling import Candidate, settle
from worker.parsing.spans import Span

WORD = re.compile(r"\w+|[^\w\s]")


def cut(marked: str, odds: float = -4.0, *, is_given: bool = False) -> Candidate:
    """Make a candidate of a text whose parameters stand in braces: constant words were judged with `odds`."""
    text, spans = "", list[Span]()
    for number, piece in enumerate(re.split("[{}]", marked)):
        if number % 2:
            spans.append((len(text), len(text) + len(piece)))
        text += piece
    words = [found.span() for found in WORD.finditer(text)]
    judged = [4.0 if any(left < end and start < right for left, right in spans) else odds for start, end in words]
    return Candidate(text=text, spans=tuple(spans), units=words, odds=judged, is_given=is_given)


def marked(text: str, spans: tuple[Span, ...]) -> str:
    """Put braces around the parameters."""
    for start, end in reversed(spans):
        text = f"{text[:start]}{{{text[start:end]}}}{text[end:]}"
    return text


def settled(*candidates: Candidate, diversity: float = 0.5) -> list[str]:
    """Settle candidates, and put braces around their parameters."""
    found = settle(candidates, diversity=diversity)
    return [marked(candidate.text, spans) for candidate, spans in zip(candidates, found, strict=True)]


def test_neighbours_unify_the_cut_of_a_word() -> None:
    """All messages of a template are cut as most of them are; of two cuts that are as frequent the shorter one."""
    assert ["lock {a1} held", "lock {b2} held", "lock {c-3} held"] == settled(
        cut("lock {a1} held"), cut("lock {b2} held"), cut("lock {c}-{3} held")
    )
    assert ["lock {a1} held", "lock {c-3} held"] == settled(cut("lock {a1} held"), cut("lock {c}-{3} held"))


def test_a_word_that_the_cut_does_not_fit_is_a_parameter_as_a_whole() -> None:
    """Only where the constant part is there in every message it is kept."""
    assert ["took {1}ms now", "took {2}ms now", "took {3}ms now"] == settled(
        cut("took {1}ms now"), cut("took {2}ms now"), cut("took {3ms} now")
    )
    assert ["took {1ms} now", "took {2ms} now", "took {3s} now"] == settled(
        cut("took {1}ms now"), cut("took {2}ms now"), cut("took {3s} now")
    )


def test_a_message_with_nothing_where_others_have_a_value_is_of_their_template() -> None:
    """The parameter is empty there."""
    assert ["from {host-1} ({a.b}) now", "from {host-2} ({}) now"] == settled(
        cut("from {host-1} ({a.b}) now"), cut("from {host-2} () now")
    )
    assert ["user {bob} in", "user {} in"] == settled(cut("user {bob} in"), cut("user  in"))


@pytest.mark.parametrize(
    ("odds", "texts", "becomes_one"),
    [
        (-0.5, "abc", True),  # 0.5 ln 3 = 0.55
        (-0.6, "abc", False),
        (-0.6, "abcd", True),  # 0.5 ln 4 = 0.69
        (-0.4, "ab", False),  # 0.5 ln 2 = 0.35
        (-0.3, "ab", True),
    ],
)
def test_constants_vary_only_if_odds_and_variety_agree(odds: float, texts: str, *, becomes_one: bool) -> None:
    """The mean of the odds of the different words and half the logarithm of their number must be above zero."""
    expected = [f"mode {{{text}}} set" if becomes_one else f"mode {text} set" for text in texts]
    assert expected == settled(*(cut(f"mode {text} set", odds) for text in texts))


def test_variety_speaks_as_loud_as_it_is_told_to() -> None:
    """`diversity` weighs it against the odds."""
    words = [cut(f"mode {text} set", -1.0) for text in "abc"]
    assert ["mode a set", "mode b set", "mode c set"] == settled(*words, diversity=0.5)
    assert ["mode {a} set", "mode {b} set", "mode {c} set"] == settled(*words, diversity=1.0)


def test_words_that_differ_in_their_numbers_alone_are_a_parameter_unless_a_label_says_otherwise() -> None:
    """However sure the model is of each."""
    assert ["flag {p2} set", "flag {p5} set"] == settled(*(cut(f"flag {text} set", -6.0) for text in ("p2", "p5")))
    given = Candidate(text="flag p2 set", spans=(), is_given=True)
    assert ["flag p2 set", "flag p5 set"] == settled(given, cut("flag p5 set", -6.0))


def test_what_tells_templates_apart_stays_constant() -> None:
    """Words that the model is sure of split the messages, even where parameters beside them are in doubt."""
    assert ["open {a} now", "open {b} now", "shut {a} now", "shut {b} now"] == settled(
        *(cut(f"{verb} {{{name}}} now", -9.0) for verb in ("open", "shut") for name in "ab")
    )


@pytest.mark.parametrize(
    "marked_text",
    [
        "got {Point(x=1, y=[2, 3], z=)} now",
        "has {Some(a-1)}",
        "with {Info [up = true, peers = 2]}: done",
        "new {com.Pool@7f[Running, size = 1]}.",
    ],
)
def test_a_printed_object_stays_one_parameter(marked_text: str) -> None:
    """The brackets that follow its class are its own, and the commas between its fields."""
    assert [marked_text] == settled(cut(marked_text))


def test_commas_between_single_values_stay_constant() -> None:
    """Those of an object among them are its own."""
    assert ["ids [{1}, {P(x=1, y=2)}, {3}]"] == settled(cut("ids [{1, P(x=1, y=2), 3}]"))


def test_a_word_that_often_comes_counts_once() -> None:
    """The odds of one word are its mean, however many messages hold it."""
    often = [cut("mode a set", -3.0)] * 50
    assert "mode {b} set" in settled(*often, *(cut(f"mode {text} set", 2.0) for text in "bcd"))


def test_a_word_that_never_varies_is_constant_the_surer_the_more_messages_hold_it() -> None:
    """What the model takes for a parameter is none if all of many messages hold the same word; numbers always vary."""
    doubted = [Candidate(text=f"box {n} is up", spans=((0, 3), (4, 5)), units=[(0, 3), (4, 5)], odds=[1.5, 4.0])
               for n in range(9)]  # fmt: skip
    assert {"box"} == {marked(one.text, spans).split()[0] for one, spans in zip(doubted, settle(doubted), strict=True)}
    assert ["{box} {1} is up"] == [marked(doubted[1].text, spans) for spans in settle(doubted[1:2])]
    steady = [cut(f"exit {{7}} of {{{name}}}") for name in "abcdefgh"]
    assert "exit {7} of {a}" == settled(*steady)[0]


def test_a_sole_message_is_left_alone() -> None:
    """Without a neighbour nothing changes, whatever the odds; a message of one word has none."""
    odd = [cut("a {x}-{y}-{z} b", 9.0), cut("lone", 9.0), cut("other", 9.0), cut("third", 9.0), cut("")]
    assert [candidate.spans for candidate in odd] == settle(odd)
    assert [] == settle([])


def test_what_was_not_judged_stays_constant() -> None:
    """A word that the model saw nothing of is no reason for doubt."""
    unjudged = [Candidate(text=f"mode {text} set", spans=()) for text in "abcdefgh"]
    assert [()] * 8 == settle(unjudged, diversity=1.0)


def test_marks_are_constant_but_for_those_that_stand_for_no_value() -> None:
    """Brackets enclose a value, signs tell templates apart, and a dash goes with the values in its place."""
    units, odds = [(0, 4), (5, 6), (6, 7), (7, 8)], [-9.0, -9.0, 2.0, -9.0]
    lettered = [Candidate(text=f"mode [{text}]", spans=(), units=units, odds=odds) for text in "abc"]
    assert [((6, 7),)] * 3 == settle(lettered)
    assert ["mode + on", "mode / on"] == settled(cut("mode + on", 9.0), cut("mode / on", 9.0))
    assert ["by {bob} on", "by {eve} on", "by {-} on"] == settled(
        cut("by {bob} on"), cut("by {eve} on"), cut("by - on")
    )


def test_lists_of_single_words_keep_their_commas() -> None:
    """Where every message has as many of them; a sentence with a comma is one value."""
    assert ["f({a},{b}) of {1}", "f({c},{d}) of {2}"] == settled(cut("f({a,b}) of {1}"), cut("f({c,d}) of {2}"))
    assert ["f({a}, {b}) of {1}"] == settled(cut("f({a, b}) of {1}"))
    assert ["got {no one, not me} at {1}"] == settled(cut("got {no one, not me} at {1}"))


def test_a_template_that_another_covers_goes_into_it() -> None:
    """Values of one and of several words are of one template where the words that it swallows are doubtful enough."""
    plain = [cut(f"mail of {{{name}}} sent", -9.0) for name in ("bob", "eve", "kim")]
    doubted = Candidate(text="mail of ann lee sent", spans=(), units=[(0, 4), (5, 7), (8, 11), (12, 15), (16, 20)],
                        odds=[-9.0, -9.0, -0.1, -0.1, -9.0])  # fmt: skip
    assert "mail of {ann lee} sent" == settled(*plain, doubted)[-1]
    assert "mail of no one sent" == settled(*plain, cut("mail of no one sent", -9.0))[-1]
    assert "mail of [{x}] sent" == settled(cut("mail of [{x}] sent"))[0]
    assert "mail of {[x]} sent" == settled(*plain, cut("mail of [{x}] sent"))[-1]


def test_the_lines_after_the_first_stay_one_parameter() -> None:
    """Stack traces of a template are as different as they like."""
    traces = [
        cut(f"failed: {{{name}}}\n{{a.b.{name}: no\n\tat c.d({number}) [x]}}\n") for number, name in enumerate("abc")
    ]
    expected = [
        f"failed: {{{name}}}\n{{a.b.{name}: no\n\tat c.d({number}) [x]}}\n" for number, name in enumerate("abc")
    ]
    assert expected == settled(*traces)


def test_a_label_takes_in_before_larger_templates_do() -> None:
    """The label with the most constant text comes first."""
    many = [cut(f"login of {{{name}}} failed") for name in "abcdefgh"]
    labels = [cut("login of guest {x} failed", is_given=True), cut("login of {y} failed", is_given=True)]
    doubted = Candidate(text="login of guest  z failed", spans=((9, 16),), units=[(9, 14), (16, 17)], odds=[3.0, 3.0])
    assert "login of guest { z} failed" == settled(*many, *labels, doubted)[-1]


def test_what_went_into_a_template_goes_on_with_it_into_another() -> None:
    """All messages of a template are cut alike at the end."""
    larger, smaller = [cut(f"run {{{name}}})") for name in "abcd"], [cut(f"run {{{name}}}") for name in "ef"]
    expected = ["run {a)}", "run {b)}", "run {c)}", "run {d)}", "run {e}", "run {f}", "run {g (h))}"]
    assert expected == settled(*larger, *smaller, cut("run {g} ({h}))"))


def test_a_given_template_is_never_changed_and_outvotes() -> None:
    """Its cut is taken where words are cut differently, and what it says of a word counts as certain."""
    crowd = [cut(f"lock {{{n}}}-{{{n}}} held") for n in range(50)]
    found = settled(cut("lock {a} held", is_given=True), *crowd)
    assert ["lock {a} held", *(f"lock {{{n}-{n}}} held" for n in range(50))] == found
    assert ["lock a held", "lock {b} held"] == settled(cut("lock a held", is_given=True), cut("lock {b} held"))
    assert "link {up} now" == settled(cut("link {x} now", is_given=True), cut("link up now", -4.0))[1]


def test_a_given_template_goes_into_none() -> None:
    """A person's cut stands even where another template covers it."""
    plain = [cut(f"mail of {{{name}}} sent") for name in ("bob", "eve", "kim")]
    assert "mail of [{x}] sent" == settled(*plain, cut("mail of [{x}] sent", is_given=True))[-1]


def test_some_letter_stays() -> None:
    """A message of which nothing but parameters would be left stays as the model cut it."""
    words = ["alpha", "beta", "gamma", "delta"]
    cuts = [cut(f"{one} {other}", 9.0) for one in words for other in words]
    assert [f"{one} {other}" for one in words for other in words] == settled(*cuts)


def test_a_nul_in_a_message_is_no_parameter() -> None:
    """Binary rubbish is left alone, and does not hide others."""
    rubbish = cut("mode \0 set", 9.0)
    found = settled(rubbish, *(cut(f"mode {text} set", 9.0) for text in "abc"))
    assert ["mode \0 set", "mode {a} set", "mode {b} set", "mode {c} set"] == found


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Draw messages of few different words, so that many are neighbours; their cuts need not be sensible."""
    made = list[Candidate]()
    for _ in range(draw(st.integers(1, 14))):
        words = draw(st.lists(st.sampled_from(["a", "b", "7", "a-7", "b-8", "é=9", "-", "x_y"]), max_size=4))
        text = draw(st.sampled_from([" ", "  ", "\t"])).join(words)
        edges = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
        spans = list(zip(edges[::2], edges[1::2], strict=False))
        units = [found.span() for found in re.finditer(r"\w+|[^\w\s]", text)]
        odds = [draw(st.floats(-3, 3)) for _ in units]
        is_given = draw(st.integers(0, 4)) == 0
        made.append(Candidate(text=text, spans=tuple(dict.fromkeys(spans)), units=units, odds=odds, is_given=is_given))
    return made


@given(candidates(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_does_not_matter(drawn: list[Candidate], rng: random.Random) -> None:
    """Each message is cut alike in whatever order they come."""
    order = rng.sample(range(len(drawn)), len(drawn))
    expected = settle(drawn)
    assert [expected[place] for place in order] == settle([drawn[place] for place in order])


@given(candidates(), st.floats(0, 4))
@settings(max_examples=150, deadline=None)
def test_spans_stay_in_order_inside_the_text(drawn: list[Candidate], diversity: float) -> None:
    """Whatever changes, spans ascend, do not overlap and leave a letter; given ones stay as they are."""
    for candidate, spans in zip(drawn, settle(drawn, diversity=diversity), strict=True):
        edges = [0, *(edge for span in spans for edge in span), len(candidate.text)]
        assert sorted(edges) == edges
        if candidate.is_given:
            assert candidate.spans == spans
        elif spans != candidate.spans:
            left = "".join(candidate.text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2))
            assert any(map(str.isalpha, left))


def test_a_large_log_settles() -> None:
    """Twenty thousand messages of some shapes end with their templates."""
    rng = random.Random(1)
    many = [
        cut(f"job {rng.choice(['j', 'k'])}{number} of user {rng.choice(['ann', 'bob', 'eve'])} ended", 1.0)
        for number in range(20_000)
    ]
    assert {f"job {{{one.text.split()[1]}}} of user {{{one.text.split()[4]}}} ended" for one in many} == set(
        settled(*many)
    )


MESSAGES = [
    b"took 5 s",
    b"id=a7 (b)",
    b"x",
    b"/var/log/a.log gone",
    b"bad \xff\xfe 12",
    b"a 1\n\tat b.c\n",
    b"\xc3\xa9",
]


@pytest.mark.parametrize("cuts", [PIECES, CORRECTED])
def test_candidates_are_what_the_parser_would_cut(tmp_path: Path, cuts: str) -> None:
    """Cut alone they give the parser's templates; every piece of the first line was judged, in order."""
    parser = EncoderParser.load(write_small(tmp_path, cuts=cuts), device="cpu")
    found = [candidate for candidate in parser.candidates(MESSAGES) if candidate]
    made = [
        cut_template(message, candidate.text, candidate.spans, 1.0)
        for message, candidate in zip(MESSAGES, found, strict=True)
    ]
    assert [template and template.text for template in parser.parse(MESSAGES)] == [template.text for template in made]
    assert len(found[1].units) == len(found[1].odds)
    assert [(0, 2), (2, 3), (3, 5), (6, 7), (7, 8), (8, 9)] == list(found[1].units)
    assert [(0, 1), (2, 3)] == list(found[5].units)
    # In pieces, what is more likely variable than not is cut.
    if cuts == PIECES:
        cut_out = [any(start <= left < end for start, end in found[1].spans) for left, _ in found[1].units]
        assert [value > 0 for value in found[1].odds] == cut_out


def test_what_can_not_be_cut_is_no_candidate(tmp_path: Path) -> None:
    """A message beyond the parser's bounds has none, an empty one has no pieces, an unknown prompt is refused."""
    parser = EncoderParser.load(write_small(tmp_path), device="cpu")
    beyond, empty = parser.candidates([b"a" * 70_000, b""])
    assert beyond is None
    assert empty == Candidate(text="", spans=(), units=[], odds=[])
    with pytest.raises(WrongModel, match="mail"):
        parser.candidates([b"a"], prompt="mail")
