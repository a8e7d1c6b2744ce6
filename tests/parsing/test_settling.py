"""Settling: what neighbours decide together, what they leave alone, and what a person's labels outvote."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.checkpoints import write_small
from worker.errors import WrongModel
from worker.parsing.checkpoint import PIECES, WORDS
from worker.parsing.parser import EncoderParser, cut_template
from worker.parsing.settling import Candidate, settle
from worker.parsing.spans import Span

WORD = re.compile(r"\S+")


def cut(marked: str, odds: float = -4.0, *, is_given: bool = False) -> Candidate:
    """Make a candidate of a text whose parameters stand in braces; each word was judged with `odds`, as a whole."""
    text, spans = "", list[Span]()
    for number, piece in enumerate(re.split("[{}]", marked)):
        if number % 2:
            spans.append((len(text), len(text) + len(piece)))
        text += piece
    words = [found.span() for found in WORD.finditer(text)]
    return Candidate(
        text=text, spans=tuple(spans), units=words, odds=[odds] * len(words), is_given=is_given
    )  # fmt: skip


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
    """Where twice as many messages cut a word in another way that fits, it is cut their way."""
    assert ["lock {a1} held", "lock {b2} held", "lock {c-3} held"] == settled(
        cut("lock {a1} held"), cut("lock {b2} held"), cut("lock {c}-{3} held")
    )


def test_a_cut_that_does_not_fit_is_not_taken() -> None:
    """A word without the constant part of what most of them say stays as it is, and so does an empty value."""
    assert ["took {1}ms now", "took {2}ms now", "took {3s} now", "took ms now"] == settled(
        cut("took {1}ms now"), cut("took {2}ms now"), cut("took {3s} now"), cut("took ms now", odds=9.0)
    )


def test_no_clear_majority_changes_nothing() -> None:
    """One message against one is no reason to change either."""
    assert ["lock {a1} held", "lock {c}-{3} held"] == settled(cut("lock {a1} held"), cut("lock {c}-{3} held"))


@pytest.mark.parametrize(
    ("odds", "texts", "becomes_one"),
    [
        (-0.5, "abc", True),  # 0.5 ln 3 = 0.55
        (-0.6, "abc", False),
        (-0.6, "abcd", True),  # 0.5 ln 4 = 0.69
        (9.0, "ab", False),  # two different words may be two templates
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


def test_a_parameter_beside_it_makes_two_different_words_enough() -> None:
    """Where some message cuts the word already, no third is needed; the odds must agree all the same."""
    assert ["user {bob} in", "user {eve} in"] == settled(cut("user {bob} in", 2.0), cut("user eve in", -1.0))
    assert ["user {bob} in", "user eve in"] == settled(cut("user {bob} in", 2.0), cut("user eve in", -9.0))


def test_a_word_that_often_comes_counts_once() -> None:
    """The odds of one text are its mean, however many messages hold it."""
    often = [cut("mode a set", -3.0)] * 50
    assert "mode {b} set" in settled(*often, *(cut(f"mode {text} set", 2.0) for text in "bcd"))


def test_a_sole_message_is_left_alone() -> None:
    """Without a neighbour nothing changes, whatever the odds; a message of one word has none."""
    odd = [cut("a {x}-{y}-{z} b", 9.0), cut("lone", 9.0), cut("other", 9.0), cut("third", 9.0), cut("")]
    assert [candidate.spans for candidate in odd] == settle(odd)
    assert [] == settle([])


def test_what_was_not_judged_stays_constant() -> None:
    """A word that the model saw nothing of is no reason for doubt."""
    unjudged = [Candidate(text=f"mode {text} set", spans=()) for text in "abcdefgh"]
    assert [()] * 8 == settle(unjudged, diversity=100.0)


def test_marks_say_nothing_where_there_are_letters() -> None:
    """The odds of a word are those of its letters and digits; of a word of marks alone, those of the marks."""
    units, odds = [(0, 4), (5, 6), (6, 7), (7, 8)], [-9.0, -9.0, 2.0, -9.0]
    lettered = [Candidate(text=f"mode [{text}]", spans=(), units=units, odds=odds) for text in "abc"]
    assert [((5, 8),)] * 3 == settle(lettered)
    signs = [Candidate(text=f"mode {sign}", spans=(), units=[(0, 4), (5, 6)], odds=[-9.0, 2.0]) for sign in "+-*"]
    assert [((5, 6),)] * 3 == settle(signs)


def test_parameters_over_several_words_take_no_part() -> None:
    """Their words have no fixed places, so they neither change nor speak."""
    spaced = cut("failed {no route to} host", 9.0)
    assert ["failed {no route to} host", "failed {x} y host", "failed a y host", "failed b y host"] == settled(
        spaced, cut("failed {x} y host"), cut("failed a y host"), cut("failed b y host")
    )
    edge = Candidate(text="a  b c", spans=((2, 2), (5, 6)), is_given=True)
    assert [edge.spans, ()] == settle([edge, Candidate(text="a  b d", spans=())])


def test_a_given_template_is_never_changed_and_outvotes() -> None:
    """It cuts its neighbours' word whatever the odds and however many they are; itself it stays as it is."""
    crowd = [cut(f"lock {{{n}}}-{{{n}}} held") for n in range(50)]
    found = settled(cut("lock {a} held", is_given=True), *crowd, cut("lock free held", -99.0))
    assert ["lock {a} held", *(f"lock {{{n}-{n}}} held" for n in range(50)), "lock {free} held"] == found
    assert ["lock a held", "lock {b} held"] == settled(cut("lock a held", is_given=True), cut("lock {b} held"))[:2]


def test_a_given_constant_protects_its_neighbours() -> None:
    """Where a person kept the word, other constants there are not doubted, unless a person also cut it."""
    words = [cut(f"link {text} now", 9.0) for text in ("down", "reset", "lost")]
    kept = cut("link up now", is_given=True)
    assert ["link up now", "link down now", "link reset now", "link lost now"] == settled(kept, *words)
    assert "link {down} now" in settled(kept, cut("link {x} now", is_given=True), *words)


def test_two_given_cuts_stand_side_by_side() -> None:
    """Neither given templates nor messages that are cut like one are changed; the one of most messages outvotes."""
    found = settled(
        cut("at {a} x", is_given=True), cut("at {b}-{c} x", is_given=True), cut("at {d}-{e} x"),
        cut("at {f}-{g}-{h} x"), cut("at {f}_{g} x"),
    )  # fmt: skip
    assert ["at {a} x", "at {b}-{c} x", "at {d}-{e} x", "at {f}-{g-h} x", "at {f}_{g} x"] == found


def test_some_letter_stays() -> None:
    """Of two words that could both change, one that would take the last letter stays."""
    words = ["alpha", "beta", "gamma", "delta"]
    cuts = [cut(f"{one} {other}", 9.0) for one in words for other in words]
    found = settled(*cuts)
    assert all(any(map(str.isalpha, re.sub(r"\{.*?\}", "", text))) for text in found)
    assert [f"{{{one}}} {other}" for one in words for other in words] == found


def test_a_change_makes_new_neighbours() -> None:
    """Messages that were alike but for two words are neighbours once one of them is settled."""
    first = [cut(f"user {name} from here", 2.0) for name in ("ann", "bob", "eve")]
    second = [cut("user {zed} from {there}", 2.0), cut("user {kim} from {afar}", 2.0)]
    assert ["user {ann} from {here}", "user {bob} from {here}", "user {eve} from {here}"] == settled(*first, *second)[
        :3
    ]


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


@pytest.mark.parametrize("cuts", [WORDS, PIECES])
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
