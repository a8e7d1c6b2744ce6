"""From scores to templates: windows, order, cuts, names; and the shipped checkpoint on lines of our own."""

import hashlib
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import TooMuchForDevice, WrongModel
from worker.parsing.checkpoint import CORRECTED, CUTS, PIECES, RULES, checkpoint_version
from worker.parsing.model import Tokens
from worker.parsing.parser import (
    EncoderParser,
    byte_spans,
    cut_windows,
    names,
    swallows,
    tagged,
)
from worker.parsing.settling import settle
from worker.parsing.spans import Span
from worker.parsing.templates import MAX_PARAMETERS, decoded, has_letter

F32 = np.ndarray[tuple[int, int], np.dtype[np.float32]]


class WordTagger:
    """A tagger by rule: words with a digit are parameters, a following one in capitals stays inside.

    It has the tagger's interface and its limits: a window, and a memory that holds so many rows.
    """

    version = "words-1"

    def __init__(self, window: int = 30, rows: int = 1000, cuts: str = CORRECTED) -> None:
        self.prompts: dict[str, object] = {}
        self.cuts = cuts
        self.seen: list[str | None] = []
        self.window = window
        self.rows = rows
        self.lengths: list[list[int]] = []

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Cut texts into words and marks; the id tells the label."""
        found = []
        for text in texts:
            spans = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
            words = [text[start:end] for start, end in spans]
            found.append(
                Tokens(
                    ids=np.array(
                        [1 if re.search(r"\d", word) else 2 if word.isupper() else 0 for word in words], np.int64
                    ),
                    features=np.zeros((len(words), 5), np.int64),
                    start=np.array([start for start, _ in spans], np.int64),
                    end=np.array([end for _, end in spans], np.int64),
                    word=np.arange(len(words)),
                )
            )
        return found

    def cuts_of(self, prompt: str | None) -> str:
        """Tell how messages are cut."""
        return self.cuts

    def width_of(self, length: int) -> int:
        """Tell how many tokens a row takes."""
        return length + 2

    def tag(self, rows: Sequence[Tokens], *, prompts: Sequence[str | None]) -> list[F32]:
        """Score the labels by the ids."""
        self.seen += prompts
        if len(rows) > self.rows:
            raise TooMuchForDevice("too many rows")
        lengths = [len(row.ids) for row in rows]
        assert max(lengths) <= self.window
        self.lengths.append(lengths)
        return [np.eye(3, dtype=np.float32)[row.ids] * 5 for row in rows]


def parser(tagger: WordTagger | None = None, **limits: int) -> EncoderParser:
    """Make a parser of the tagger by rule."""
    return EncoderParser(tagger or WordTagger(), **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("task 7 done", "task <*> done"),
        ("", ""),
        ("   ", "   "),
        ("no parameter", "no parameter"),
        ("state 5 AND MORE here", "state <*> here"),
        ("got [a1], (b2).", "got [<*>], (<*>)."),
        ("größe é9 läuft", "größe <*> läuft"),
        # Several lines: the first is read, the others are one parameter.
        ("job 7 failed\njava.io.IOException: x\n\tat a.B.c(B.java:7)\n", "job <*> failed\n<*>\n"),
        ("\n lead 5\r\nmore here", "\n lead <*>\r\n<*>"),
        ("one line 5\n", "one line <*>\n"),
        ("-- 1\n\nlead 5\n\nmore", "-- <*>\n\nlead <*>\n\n<*>"),
        ("\x00\nÀ", "\x00\nÀ"),
        # Where nothing constant would be left, a safer cut.
        ("a1", "a<*>"),
        ("12 34", "<*> <*>"),
        ("b2-77", "b<*>-<*>"),
        ("7 AB CD", "<*> AB CD"),
    ],
)
def test_templates_are_cut_where_the_tagger_says(message: str, template: str) -> None:
    """The message's own bytes stay between the parameters."""
    made = parser().parse([message.encode()])[0]
    assert made is not None
    assert template == made.text


def test_invalid_utf8_stays_as_it_is() -> None:
    """Bytes that are no UTF-8 are cut exactly."""
    made = parser().parse([b"bad \xff\xfe 12 \x80end"])[0]
    assert made is not None
    assert made.literals == (b"bad \xff\xfe ", b" \x80end")


@given(st.lists(st.binary(max_size=80), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_template_that_matches_or_none(messages: list[bytes]) -> None:
    """Whatever the bytes, a template fits its own message and never swallows all letters."""
    for message, made in zip(messages, parser().parse(messages), strict=True):
        if made is not None:
            assert made.match(message) is not None
            assert not has_letter(message) or any(map(has_letter, made.literals))


@given(st.lists(st.text(alphabet="ab1 [].=:", max_size=40), min_size=1, max_size=12), st.randoms())
@settings(max_examples=60, deadline=None)
def test_order_and_neighbours_do_not_matter(texts: list[str], rng: random.Random) -> None:
    """Each message has the same template alone, among others, and in any order."""
    messages = [text.encode() for text in texts]
    alone = {message: parser().parse([message])[0] for message in messages}
    shuffled = rng.sample(messages, len(messages))
    assert [alone[message] for message in shuffled] == parser(max_batch_tokens=64).parse(shuffled)


def test_micro_batches_hold_rows_of_like_length_within_the_budget() -> None:
    """Rows are sorted by length, and never beyond the token budget."""
    tagger = WordTagger()
    parser(tagger, max_batch_tokens=40).parse(
        [b"a b c", b"a " * 12, b"a b", b"a", b"a " * 13, *[bytes([letter]) for letter in b"bcdefghij"]]
    )
    assert tagger.lengths == [[1] * 10 + [2, 3], [12, 13]]


def test_too_little_memory_halves_the_micro_batch() -> None:
    """Rows that do not fit into the device's memory go in halves; the answers are the same."""
    messages = [f"m {i}".encode() for i in range(11)]
    tagger = WordTagger(rows=3)
    assert parser().parse(messages) == parser(tagger).parse(messages)
    assert max(map(len, tagger.lengths)) <= 3


def test_a_row_that_never_fits_is_an_error() -> None:
    """One row alone that lacks memory is not tried for ever."""
    with pytest.raises(TooMuchForDevice):
        parser(WordTagger(rows=0)).parse([b"a 1"])


def test_too_little_memory_is_remembered() -> None:
    """Later calls ask for less at once, and for more again when enough of them fitted."""
    tagger = WordTagger(rows=4)
    parsing = parser(tagger, max_batch_tokens=30)
    halved: list[None] = []
    parsing.on_halved = lambda: halved.append(None)
    messages = [b"%c" % (97 + i) for i in range(10)]
    parsing.parse(messages)
    before = len(halved)
    assert before
    tagger.lengths.clear()
    parsing.parse(messages)
    assert len(halved) == before
    assert max(map(len, tagger.lengths)) <= 4
    tagger.rows = 1000
    for _ in range(100):
        parsing.parse(messages)
    tagger.lengths.clear()
    parsing.parse(messages)
    assert [len(lengths) for lengths in tagger.lengths] == [10]


def test_long_messages_are_judged_in_windows() -> None:
    """Every token of a message longer than the window is judged once."""
    message = b" ".join(b"w%d end" % i for i in range(100))
    made = parser().parse([message])[0]
    assert made is not None
    assert made.text == " ".join(["<*> end"] * 100)


@given(st.integers(0, 3000), st.integers(2, 300))
@settings(max_examples=200)
def test_windows_judge_every_token_once_with_context(length: int, size: int) -> None:
    """Windows cover the tokens in order, without gap or overlap in what they judge."""
    windows = list(cut_windows(0, length, size))
    judged = [token for window in windows for token in range(window.judged_from, window.judged_to)]
    assert list(range(length)) == judged
    assert all(
        window.first <= window.judged_from < window.judged_to <= window.last <= window.first + size
        for window in windows
    )


def test_messages_beyond_the_bounds_get_no_template() -> None:
    """Too many bytes or tokens: none, while the others are parsed."""
    found = parser(max_message_bytes=100, max_message_tokens=10).parse([b"x" * 101, b"a 1", b"a " * 11])
    assert [made and made.text for made in found] == [None, "a <*>", None]


def test_many_parameters_become_the_most_that_columns_hold() -> None:
    """What is beyond the last parameter's place becomes one parameter."""
    message = b" ".join(b"k%d = x" % i for i in range(300))
    made = parser().parse([message])[0]
    assert made is not None
    assert len(made.spacious) == MAX_PARAMETERS
    assert made.spacious[-1]
    assert made.match(message) is not None


def test_tokens_are_counted() -> None:
    """The count grows by the sub-words read."""
    counted = parser()
    counted.parse([b"a b c", b"d 1"])
    assert counted.tokens == 5


def test_an_unknown_prompt_is_a_wrong_model() -> None:
    """A source that names a prompt which the checkpoint has not is told so."""
    with pytest.raises(WrongModel, match="mail"):
        parser().parse([b"a 1"], prompt="mail")


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("blk -5 done", "blk -<*> done"),
        ("at 10:20", "at <*>:<*>"),
        ("got [a1-b2], (c3).", "got [<*>-<*>], (<*>)."),
        ("state 5 AND MORE here", "state <*> here"),
        ("state 5 6 here", "state <*> <*> here"),
        ("on node-7 now", "on node-<*> now"),
        ("größe é9 läuft", "größe <*> läuft"),
        ("size=12;", "size=<*>;"),
        ("10.0.0.1 x", "<*>.<*>.<*>.<*> x"),
        ("job 7 failed\njava.io.IOException: x\n\tat a.B.c(B.java:7)\n", "job <*> failed\n<*>\n"),
        # Where nothing constant would be left, a safer cut by convention.
        ("a1", "a<*>"),
        ("7 AB CD", "<*> AB CD"),
        ("", ""),
    ],
)
def test_pieces_are_cut_one_by_one(message: str, template: str) -> None:
    """With the cuts `pieces` labels alone decide: no word is widened, trimmed or added."""
    made = parser(WordTagger(cuts=PIECES)).parse([message.encode()])[0]
    assert made is not None
    assert template == made.text


@pytest.mark.parametrize(
    ("labels", "spans"),
    [
        ("cccc", []),
        ("cbcc", [(1, 2)]),
        ("cbib", [(1, 3), (4, 5)]),
        ("bbbc", [(0, 3)]),
        ("cbbi", [(1, 5)]),
        ("iiii", [(0, 5)]),
        ("bcib", [(0, 1), (2, 3), (4, 5)]),
    ],
)
def test_pieces_that_touch_are_one_and_white_space_follows_the_label(labels: str, spans: list[tuple[int, int]]) -> None:
    """Three touching pieces and one behind a blank, labelled constant, begin or inside."""
    place = np.array([0, 1, 2, 4])
    tokens = Tokens(ids=place, features=np.zeros((4, 5), np.int64), start=place, end=place + 1, word=np.arange(4))
    scores = np.eye(3, dtype=np.float32)[["cbi".index(label) for label in labels]] * 5
    assert spans == tagged(tokens, scores)[0]


def test_a_piece_is_decided_by_the_mean_of_its_tokens() -> None:
    """Sub-words of one run of letters and digits are never cut apart."""
    tokens = Tokens(
        ids=np.zeros(3, np.int64), features=np.zeros((3, 5), np.int64), start=np.array([0, 3, 6]),
        end=np.array([3, 6, 9]), word=np.array([0, 0, 1]),
    )  # fmt: skip
    scores = np.array([[3.0, 0, 0], [0, 9, 0], [9, 0, 0]], np.float32)
    assert [(0, 6)] == tagged(tokens, scores)[0]


@given(st.lists(st.binary(max_size=80), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_bytes_in_pieces_give_a_template_that_matches_or_none(messages: list[bytes]) -> None:
    """Whatever the bytes, a template fits its own message and never swallows all letters."""
    for message, made in zip(messages, parser(WordTagger(cuts=PIECES)).parse(messages), strict=True):
        if made is not None:
            assert made.match(message) is not None
            assert not has_letter(message) or any(map(has_letter, made.literals))


def test_each_row_is_tagged_under_its_prompt() -> None:
    """However rows are sorted and cut into windows, each goes with the prompt of its message."""
    tagger = WordTagger()
    tagger.prompts = {"x": object(), "y": object()}
    messages = [b"a " * 40, b"b", b"c " * 8, b"d"]
    parser(tagger).parse(messages, prompt=["x", None, "y", "x"])
    assert tagger.seen.count("y") == 1
    assert tagger.seen.count(None) == 1
    assert tagger.seen.count("x") == 1 + len(list(cut_windows(0, 40, 30)))
    tagger.seen.clear()
    parser(tagger).parse(messages[1:], prompt="y")
    assert tagger.seen == ["y"] * 3


def test_prompts_must_be_as_many_as_messages() -> None:
    """A call that lacks a prompt for a message is refused before anything is parsed."""
    with pytest.raises(ValueError, match="argument 2"):
        parser().parse([b"a", b"b"], prompt=[None])


@given(st.binary(max_size=60), st.data())
@settings(max_examples=200)
def test_byte_spans_are_those_of_the_characters(message: bytes, data: st.DataObject) -> None:
    """Characters of the decoded message and bytes of the message agree."""
    text = decoded(message)
    edges = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    expected = [text[start:end].encode(errors="surrogateescape") for start, end in spans]
    assert expected == [message[start:end] for start, end in byte_spans(text, spans)]


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ("size=", "size"),
        ("took size: ", "size"),
        ("user ", "user"),
        ("for topic '", "topic"),
        ("client_id=[", "client_id"),
        ("failed: ", ""),
        ("and then ", ""),
        ("superuser ", ""),
        ("", ""),
    ],
)
def test_a_key_or_a_noun_names_a_parameter(before: str, name: str) -> None:
    """Parameters are named by what stands before them, else not at all."""
    assert [name] == list(names(before + "x", [(len(before), len(before) + 1)]))


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("ab 1", [(0, 2)], True),
        ("ab 1", [(3, 4)], False),
        ("1 2", [(0, 1)], False),
        ("дом", [(0, 3)], True),
        ("", [], False),
    ],
)
def test_a_cut_that_leaves_no_letter_swallows(text: str, spans: list[tuple[int, int]], *, expected: bool) -> None:
    """Letters of any script count."""
    assert expected == swallows(text, spans)


def test_importing_the_parser_imports_no_torch() -> None:
    """Known lines are answered without waiting for torch."""
    program = (
        "import sys, worker.parsing.microbatch; print(sorted({'torch', 'transformers', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


RULED = """\
took 12ms for task-7 at 2026-11-22T15:00:00.123Z
connection from 10.0.0.7:5121 to 10.0.0.8:5121 () closed, reset=true
connection from 10.0.0.9:80 to 10.0.0.8:443 () closed, reset=false
open '/var/log/a1.log' (root): errno 13, owner null
size=1,024 free: 7% [id: 0x7fff12] {n=5}
user "alice 2" of host , count 3
v2 of HTTP/1.1 in a.b.C$1(C.java:77)
block blk_77.8-9 on node-7 as svc2@h3
12:34:56 7 AB CD
job 7 failed\\njava.io.IOException: x7\\n\\tat a.B.c(B.java:7)
B7
no parameter at all
gr\u00f6\u00dfe \u00e97: 12 MB, queue [1, 2, 3] and 4 5 6
start of alpha done
start of beta done
start of gamma done
accepted node-1/10.0.0.7:5121 now
"""


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("took size=12 ms", [(10, 12)], ["size"]),
        ("of curl:amd64 and --level=3", [(3, 7), (8, 13), (26, 27)], ["", "", "level"]),
        ("in Main.java:31", [(3, 7), (13, 15)], ["", ""]),
        ("user=bob,size=5", [(5, 8), (14, 15)], ["user", "size"]),
    ],
)
def test_a_key_stands_in_what_is_constant(text: str, spans: list[Span], expected: list[str]) -> None:
    """Another parameter, or what is left of its word, gives no name."""
    assert expected == list(names(text, spans))


def test_the_version_of_the_rules_follows_what_comes_out() -> None:
    """Whoever changes how messages are cut, settled or named raises `RULES`, so that no stored template is stale."""
    messages = [line.encode().replace(b"\\n", b"\n").replace(b"\\t", b"\t") for line in RULED.splitlines()]
    found = [
        [(made.text, made.names, made.spacious) for made in parser(WordTagger(cuts=cuts)).parse(messages) if made]
        for cuts in CUTS
    ]
    # Judged with less certainty, so that neighbours decide.
    candidates = [
        replace(candidate, odds=[odds / 10 for odds in candidate.odds])
        for candidate in parser().candidates(messages)
        if candidate
    ]
    settled = [settle(candidates, is_tidied=is_tidied) for is_tidied in (False, True)]
    digest = hashlib.blake2b(repr((found, settled)).encode(), digest_size=4).hexdigest()
    assert (RULES, digest) == (4, "99c702fb")


LINES = {
    "Accepted connection from 10.0.0.7:5121": "Accepted connection from <*>:<*>",
    "Started worker in 38 ms": "Started worker in <*> ms",
    "Failed to open /var/lib/store/segment-17.log: No such file or directory": None,
    "Partition orders-3 assigned to consumer billing-7": "Partition <*> assigned to consumer <*>",
    "Shutting down gracefully": "Shutting down gracefully",
    "id=5f1c2a90-3b7e-4f0d-9a51-0c4c1b2d3e4f status=ok": "id=<*> status=<*>",
    "user alice logged in from 192.168.1.20": "user <*> logged in from <*>",
    "Retrying in 5 seconds": "Retrying in <*> seconds",
    "größe der Datei: 4096 Bytes": None,
    "Queue depth 1024 exceeds limit 512": "Queue depth <*> exceeds limit <*>",
}


@cache
def base() -> EncoderParser:
    """Load the checkpoint that ships with Logloom, once."""
    return EncoderParser.load(device="cpu")


def test_the_base_model_cuts_plain_lines_as_a_reader_would() -> None:
    """Lines of common kinds, of our own making, get the template that a reader expects."""
    made = dict(zip(LINES, base().parse([line.encode() for line in LINES]), strict=True))
    expected = {line: template for line, template in LINES.items() if template is not None}
    assert expected == {line: found.text for line in expected if (found := made[line]) is not None}


def test_the_base_model_answers_alike_alone_and_in_any_batch() -> None:
    """The same message gives the same template whatever is parsed beside it."""
    messages = [line.encode() for line in LINES] * 2
    random.Random(5).shuffle(messages)
    together = dict(zip(messages, base().parse(messages), strict=True))
    texts = {message: found.text if found else None for message, found in together.items()}
    alone = {message: found.text if (found := base().parse([message])[0]) else None for message in together}
    assert alone == texts


def test_the_base_model_is_known_by_its_version() -> None:
    """Its version can be told without loading it."""
    assert checkpoint_version("base") == base().version


@pytest.mark.parametrize(
    "message", ["ユーザー bob42 がログインしました", "接続 host-7 に失敗", "Пользователь ann7 вышел"]
)
def test_messages_without_ascii_words_have_templates(message: str) -> None:
    """A language that writes no ASCII gets templates too, though its values are ASCII."""
    (made,) = parser().parse([message.encode()])
    assert made is not None
    assert made.match(message.encode())
