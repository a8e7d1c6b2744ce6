"""Labels: alignment against a brute-force reference, and files with wrong lines."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels import Pair, aligned, collapsed, complaint, read_pairs, text_of, write_pairs, written
from worker.errors import WrongLabels
from worker.parsing.spans import Span
from worker.parsing.templates import WILDCARD, Template


def all_alignments(message: str, template: str, place: int = 0) -> Iterator[tuple[Span, ...]]:
    """Yield every way to match, one character of the template at a time; wildcards don't touch."""
    if not template:
        if place == len(message):
            yield ()
    elif template.startswith(WILDCARD):
        for end in range(place, len(message) + 1):
            for rest in all_alignments(message, template[len(WILDCARD) :], end):
                yield ((place, end), *rest)
    elif template[0] == " ":
        end = place
        while message[end : end + 1].isspace():
            end += 1
            yield from all_alignments(message, template[1:], end)
    elif message.startswith(template[0], place):
        yield from all_alignments(message, template[1:], place + 1)


def cost(message: str, spans: tuple[Span, ...]) -> tuple[int, list[int], list[int]]:
    """Rank an alignment: parameters with white space, lengths from left to right, places."""
    holding = sum(any(map(str.isspace, message[start:end])) for start, end in spans)
    return holding, [end - start for start, end in spans], [start for start, _ in spans]


@pytest.mark.parametrize(
    ("message", "template", "values"),
    [
        ("user bob logged in", "user <*> logged in", ["bob"]),
        ("plain", "plain", []),
        ("plain", "plain text", None),
        ("plainer", "plain", None),
        ("", "", []),
        ("", "<*>", [""]),
        ("from 10.0.0.1 () at", "from <*> (<*>) at", ["10.0.0.1", ""]),
        ("a=1, b=2", "a=<*>, b=<*>", ["1", "2"]),
        ("size  \t 12", "size <*>", ["12"]),
        ("two\twords here", "two words <*>", ["here"]),
        ("a  b", "a <*> b", [""]),
        ("a b", "a <*> b", None),
        ("x=12ms", "x=<*><*>", ["12ms"]),
        ("x=12ms", "x=<*><*>ms", ["12"]),
        ("no such file", "<*>", ["no such file"]),
        # Fewest parameters with white space: not nothing and ` of`.
        ("read  of of", "read <*> of<*>", ["of", ""]),
        # Of those the shortest, from left to right.
        ("a: b: c d", "<*>: <*> d", ["a", "b: c"]),
        ("1:2:3", "<*>:<*>", ["1", "2:3"]),
        ("a b c d", "<*> <*>", ["a", "b c d"]),
        ("<*> is a star", "<*> is a <*>", ["<*>", "star"]),
        ("größe 5 µs", "größe <*> µs", ["5"]),
        ("one\ntwo", "one two", []),
    ],
)
def test_alignment(message: str, template: str, values: list[str] | None) -> None:
    """Each wildcard gets the characters that the rule says."""
    spans = aligned(message, template)
    assert values == (None if spans is None else [message[start:end] for start, end in spans])


@settings(max_examples=300)
@given(st.text("ab \t", max_size=9), st.lists(st.sampled_from(["a", "b", "ab", " ", WILDCARD, WILDCARD]), max_size=7))
def test_best_of_all_alignments(message: str, pieces: list[str]) -> None:
    """The alignment is the first of all possible ones by the stated rule."""
    template = collapsed("".join(pieces))
    while WILDCARD * 2 in template:
        template = template.replace(WILDCARD * 2, WILDCARD)
    everything = list(all_alignments(message, template))
    found = aligned(message, template)
    if found is None:
        assert [] == everything
    else:
        assert found in everything
        assert min(cost(message, spans)[:2] for spans in everything) == cost(message, found)[:2]


@settings(max_examples=200)
@given(st.data())
def test_any_cut_aligns(data: st.DataObject) -> None:
    """A template cut from a message matches it, and the spans found write the same template."""
    message = data.draw(st.text(st.sampled_from("ab:=é \t\n\u00a0"), max_size=40))
    edges = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    template = written(message, list(zip(edges[::2], edges[1::2], strict=False)))
    spans = aligned(message, template)
    assert spans is not None
    assert template == written(message, spans)


def test_touching_spans_are_one_wildcard() -> None:
    """Spans that touch write one wildcard; spans apart write two; white space is collapsed."""
    assert "a <*> <*>!" == written("a  12\t3!", [(3, 4), (4, 5), (6, 7)])


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("a " * 5_000, "<*>a <*>b<*>"),
        ("a" * 10_000, "<*>a" * 60 + "b"),
        (" " * 10_000, "<*> " * 60 + "b"),
        ("a b " * 2_500, "<*>a <*> b" * 60 + "<*>"),
    ],
)
def test_hostile_lines_end(message: str, template: str) -> None:
    """Lines made to be ambiguous take seconds at most, not the age of the universe."""
    began = time.perf_counter()
    aligned(message, template)
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(
    ("message", "template", "reason"),
    [
        ("a 1", "a <*>", None),
        ("17", "<*>", None),
        ("a 1", "", "is empty"),
        ("a 1", " ", "is empty"),
        ("a 1", "<*> <*>", "keeps no letter"),
        ("a 1", "b <*>", "does not match"),
        ("a \ud83d 1", "a <*> 1", "half a character"),
        ("a \udcff 1", "a \udcff <*>", None),
    ],
)
def test_complaints(message: str, template: str, reason: str | None) -> None:
    """A pair that can't teach is refused for the reason that holds."""
    said = complaint(message, template)
    assert (said is None) if reason is None else (said is not None and reason in said)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), max_size=5, unique=True))
def test_pairs_survive_a_file(tmp_path_factory: pytest.TempPathFactory, suffix: str, messages: list[str]) -> None:
    """What is written is read back, whatever characters the messages hold."""
    path = tmp_path_factory.mktemp("pairs") / f"pairs{suffix}"
    pairs = [Pair(message=message, template=message.replace(WILDCARD, "")) for message in messages]
    pairs = [pair for pair in pairs if complaint(pair.message, pair.template) is None]
    write_pairs(path, pairs)
    assert pairs == read_pairs(path)


@pytest.mark.parametrize("suffix", [".csv", ".JSONL"])
def test_undecodable_bytes_survive_a_file(tmp_path: Path, suffix: str) -> None:
    """Bytes that are no UTF-8, kept as surrogates, come back as they were."""
    pairs = [Pair(message="name \udcff\udc80 5", template="name \udcff\udc80 <*>")]
    write_pairs(tmp_path / f"pairs{suffix}", pairs)
    assert pairs == read_pairs(tmp_path / f"pairs{suffix}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "LineId,Content,EventTemplate\n7,took 5 ms,took <*> ms\n\n"),
        ("a.csv", "\ufefftemplate,message\r\ntook <*> ms,took 5 ms\r\n"),
        ("a.jsonl", '{"message": "took 5 ms", "template": "took <*> ms"}\n\n'),
        ("a.ndjson", '{"EventTemplate": "took <*> ms", "Content": "took 5 ms", "more": [1]}'),
    ],
)
def test_names_of_columns(tmp_path: Path, name: str, text: str) -> None:
    """Both kinds of files take both pairs of names, in any order, among others."""
    (tmp_path / name).write_bytes(text.encode())
    assert [Pair(message="took 5 ms", template="took <*> ms")] == read_pairs(tmp_path / name)


def refused(path: Path, text: str) -> list[str]:
    """Read a file that is refused; returns the lines of the error."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WrongLabels) as caught:
        read_pairs(path)
    return str(caught.value).split("\n  ")


def test_all_wrong_lines_are_named(tmp_path: Path) -> None:
    """One error names each wrong line by where it begins in the file, fields of several lines counted."""
    text = (
        "Content,EventTemplate\n"
        '"first 1\nat a",first <*> at a\n'
        "second 2,third <*>\n"
        "third 3\n"
        '"fourth 4\nat b",\n'
        "fifth 5,<*>\n"
        "sixth 6,sixth <*>\n"
        "sixth 6,<*> 6\n"
        "sixth 6,sixth 6\n"
    )
    head, *lines = refused(tmp_path / "pairs.csv", text)
    assert head.endswith("6 wrong lines:")
    assert [
        "line 4: the template 'third <*>' does not match 'second 2'",
        "line 5: 1 values for 2 columns",
        "line 6: the template is empty",
        "line 8: the template '<*>' keeps no letter of 'fifth 5': it would match any line",
        "line 10: the template '<*> 6' keeps no letter of 'sixth 6': it would match any line",
        "line 11: 'sixth 6' has another template on line 9",
    ] == lines


def test_broken_json_lines_are_named(tmp_path: Path) -> None:
    """Lines that are no JSON objects with two strings are named beside those that don't match."""
    text = '{"message": "a 1", "template": "b"}\n{\n[]\n{"message": "a"}\n{"message": "a", "template": null}\n'
    head, *lines = refused(tmp_path / "pairs.jsonl", text)
    assert head.endswith("5 wrong lines:")
    assert ["line 1", "line 2", "line 3", "line 4", "line 5"] == [line.split(":")[0] for line in lines]


def test_many_wrong_lines_are_counted(tmp_path: Path) -> None:
    """Twenty wrong lines are shown, the others counted."""
    _, *lines = refused(tmp_path / "pairs.csv", "message,template\n" + "a,b\n" * 23)
    assert (21, "and 3 more") == (len(lines), lines[-1])


def test_same_template_in_other_white_space_is_the_same(tmp_path: Path) -> None:
    """A line that stands twice is no contradiction where only white space differs."""
    (tmp_path / "pairs.csv").write_text("message,template\na  1,a  <*>\na  1,a <*>\n")
    assert ["a  <*>", "a <*>"] == [pair.template for pair in read_pairs(tmp_path / "pairs.csv")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no column Content or message"),
        ("Content,Template\n", "has no column EventTemplate or template"),
        ('Content,EventTemplate\n"a" b,c\n', "line 2: this is no CSV"),
    ],
)
def test_unreadable_files(tmp_path: Path, text: str, reason: str) -> None:
    """A file that is no table of labels says what is missing."""
    assert reason in "".join(refused(tmp_path / "pairs.csv", text))


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(WrongLabels, match=r"none\.csv can't be read: No such file"):
        read_pairs(tmp_path / "none.csv")


def test_bytes_that_are_no_text_stay() -> None:
    """A template of a message with broken UTF-8 equals its label, which was read the same way."""
    template = Template.cut(b"caf\xe9 7", [(5, 6)])
    assert b"caf\xe9 <*>".decode(errors="surrogateescape") == text_of(template)
