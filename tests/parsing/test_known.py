"""Known templates: finding the best of many, their file, and what they spare the network."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.checkpoints import write_small
from worker.errors import WrongModel
from worker.parsing.checkpoint import KNOWN, prompt_folder, prompt_names
from worker.parsing.known import KnownTemplates, load_known, read_known, write_known
from worker.parsing.parser import EncoderParser, known_by_first_line
from worker.parsing.templates import Template

texts = st.lists(st.sampled_from(["a", "b", "user", "in", " ", "a ", "=", "é", "7"]), max_size=5).map("".join)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """Draw a template of few words, some of its parameters spacious."""
    pieces = draw(st.lists(texts, min_size=1, max_size=4))
    return Template.from_text("<*>".join(pieces), spacious=[number for number in range(4) if draw(st.booleans())])


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Template], bytes]:
    """Draw templates, and a message: mostly one that some of them match."""
    known = draw(st.lists(templates(), max_size=12))
    if not known or draw(st.integers(0, 4)) == 0:
        return known, draw(st.binary(max_size=12) | texts.map(str.encode))
    filled = draw(st.sampled_from(known))
    values = [draw(texts).encode() for _ in filled.spacious]
    message = filled.literals[0] + b"".join(v + after for v, after in zip(values, filled.literals[1:], strict=True))
    return known, message


@given(questions())
@settings(max_examples=300, deadline=None)
def test_the_best_that_matches_is_found(question: tuple[list[Template], bytes]) -> None:
    """The index finds what comparing with every template finds: most literal bytes, then the smaller id."""
    known, message = question
    expected = min(
        (template for template in known if template.match(message) is not None),
        key=lambda template: template.rank,
        default=None,
    )
    found = KnownTemplates(known).find(message)
    assert (expected and expected.id) == (found and found.id)
    assert found is None or found.match(message) is not None


@st.composite
def cuts(draw: st.DrawFn) -> Template:
    """Draw a template cut from any bytes, with names."""
    message = draw(st.binary(max_size=20) | st.just(b"<*> a <*>b"))
    edges = sorted(draw(st.lists(st.integers(0, len(message)), max_size=6)))
    made = Template.cut(message, list(zip(edges[::2], edges[1::2], strict=False)))
    names = tuple(draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)) for _ in made.names)
    return Template(literals=made.literals, spacious=made.spacious, names=names)


@given(st.lists(cuts(), max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_template_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, known: list[Template]
) -> None:
    """Whatever its bytes, even those that look like a parameter."""
    path = tmp_path_factory.mktemp("known") / "more" / KNOWN
    write_known(path, known)
    assert known == read_known(path)
    assert sorted(template.id for template in known) == sorted(template.id for template in KnownTemplates.load(path))


def test_a_file_written_by_hand_is_read(tmp_path: Path) -> None:
    """Only the template is needed; empty lines are left out."""
    path = tmp_path / KNOWN
    path.write_text('{"template": "user <*> in"}\n\n{"template": "x: <*> <*>", "spacious": [1], "names": ["a", ""]}\n')
    user, spaced = KnownTemplates.load(path)
    assert {user.text, spaced.text} == {"user <*> in", "x: <*> <*>"}
    assert KnownTemplates.load(path).find(b"x: 1 2 3") == Template(
        literals=(b"x: ", b" ", b""), spacious=(False, True), names=("a", "")
    )
    assert len(KnownTemplates.load(path)) == 2
    assert KnownTemplates.load(path).find(b"user a b in") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "list"),
        ('"user"', "str"),
        ("{}", "template"),
        ('{"template": 5}', "int"),
        ('{"template": "a <*><*>"}', "touch"),
        ('{"template": "a <*>", "spacious": [1]}', "spacious is"),
        ('{"template": "a <*>", "spacious": [true]}', "spacious is"),
        ('{"template": "a <*>", "spacious": 0}', "int"),
        ('{"template": "a <*>", "names": ["b", "c"]}', "names are"),
        ('{"template": "a <*>", "names": [7]}', "names are"),
        ('{"literals": []}', "parameters"),
        ('{"template": "a\\ud83d <*>"}', "surrogates"),
        ('{"template": "' + "a<*>" * 129 + '"}', "129 parameters"),
    ],
)
def test_what_is_no_template_is_refused_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    """The number of the line and the reason are told."""
    path = tmp_path / KNOWN
    path.write_text('{"template": "user <*> in"}\n' + line + "\n")
    with pytest.raises(WrongModel, match=rf"line 2, is no template: .*{reason}"):
        KnownTemplates.load(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_a_wrong_model(tmp_path: Path, content: bytes | None) -> None:
    """Missing, or no text at all."""
    if content is not None:
        (tmp_path / KNOWN).write_bytes(content)
    with pytest.raises(WrongModel, match="can't be read"):
        KnownTemplates.load(tmp_path / KNOWN)


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """Write a checkpoint that knows templates under no prompt, and others under the prompt `mail`."""
    folder = write_small(tmp_path)
    write_known(folder / KNOWN, [Template.from_text("took <*> s"), Template.from_text("<*> s")])
    write_known(prompt_folder(folder, "mail") / KNOWN, [Template.from_text("took 5 <*>")])
    return folder


def test_known_templates_are_asked_before_the_network(taught: Path) -> None:
    """Each prompt has its own; what none matches goes to the network; the answers stand in order."""
    assert prompt_names(taught) == ("mail",)
    assert {None: 2, "mail": 1} == {name: len(known) for name, known in load_known(taught).items()}
    parser = EncoderParser.load(taught, device="cpu")
    assert parser.prompts == ("mail",)
    made = parser.parse([b"took 5 s", b"gone", b"took 5 s"], prompt=[None, "mail", "mail"])
    assert ["took <*> s", "took 5 <*>"] == [found.text for found in (made[0], made[2]) if found]
    assert [1.0, 1.0] == [found.confidence for found in (made[0], made[2]) if found]
    assert parser.tokens == len(b"gone")
    assert made[1] == parser.parse([b"gone"])[0]


def test_a_message_of_several_lines_is_known_by_its_first(taught: Path) -> None:
    """What follows a known first line is one parameter, as where the network reads it."""
    parser = EncoderParser.load(taught, device="cpu")
    made = parser.parse([b"took 5 s\nmore here\n", b"took 5 s\n", b"took 5 s\r\n  at b.c(D.java:7)", b"\n took 5 s"])
    assert ["took <*> s\n<*>\n", "took <*> s\n", "took <*> s\r\n<*>", "\n took <*> s"] == [
        found.text for found in made if found
    ]
    assert parser.tokens == 0


def test_white_space_alone_is_known_as_it_is() -> None:
    """The empty template fits a blank message, with its white space once."""
    found = known_by_first_line(KnownTemplates([Template.from_text("")]), b" \t ")
    assert found is not None
    assert found.literals == (b" \t ",)


@given(
    st.binary(max_size=12), st.sampled_from([b"", b" ", b"\n", b"\r\n", b"\xc2\x85", b"\x0c"]), st.binary(max_size=12)
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_around_a_known_line_give_a_template_that_matches(before: bytes, end: bytes, after: bytes) -> None:
    """Whatever stands around it, the template fits the message and no two parameters touch."""
    message = before + b"user bob" + end + after
    found = known_by_first_line(
        KnownTemplates([Template.from_text("user <*>"), Template.from_text("<*>=<*>")]), message
    )
    if found is not None:
        assert found.match(message) is not None
        assert all(found.literals[1:-1])
        assert len(found.literals) == len(found.spacious) + 1 == len(found.names) + 1


def test_a_line_that_is_nested_too_deep_is_told(tmp_path: Path) -> None:
    """A file of any making is refused with its line's number, not with the interpreter's limit."""
    path = tmp_path / "templates.jsonl"
    path.write_text('{"template": "a"}\n' + "[" * 100_000)
    with pytest.raises(WrongModel, match="line 2, is no template"):
        read_known(path)
