"""The convention of published labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.parsing.convention import corrected, corrected_template, labelled, with_empty
from worker.parsing.spans import Span


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("  two   blanks\tand a tab ", "two blanks and a tab"),
        ("open /etc/hosts: gone", "open <*>: gone"),
        ("open '/srv/<*>/a.b-c' (/var/lib/)", "open '<*>' (<*>)"),
        ("see http://example.org/a", "see http://example.org/a"),
        ("relative a/b/<*> and/or", "relative a/b/<*> and/or"),
        ("append=true sync=False", "append=<*> sync=<*>"),
        ("owner root, not administrator", "owner <*>, not administrator"),
        ("value null of Admin", "value <*> of <*>"),
        ("exit 15 of v2 in HTTP/1.1", "exit <*> of v2 in HTTP/1.<*>"),
        ("block blk_<*> took <*>ms", "block <*> took <*>"),
        ("on node-<*> as user@<*>", "on node-<*> as user@<*>"),
        ("from <*>.<*>:<*> to <*><*>", "from <*>:<*> to <*>"),
        ("from <*>: <*>, <*>-<*>", "from <*>: <*>, <*>-<*>"),
        ("at <*>:8080 or 10.0.0.1", "at <*>:<*> or <*>"),
        ("*<*> open <<*>> in /srv/", "<*> open <*> in <*>"),
    ],
)
def test_rules(template: str, expected: str) -> None:
    """Each rule of the convention changes what it names, and nothing else."""
    assert expected == corrected_template(template)


@given(st.lists(st.sampled_from(["<*>", "a", "7", "true", "/", ".", ":", "-", " ", "_", "="])).map("".join))
def test_corrected_stays(template: str) -> None:
    """A corrected template is not changed by correcting it again."""
    once = corrected_template(template)
    assert once == corrected_template(once)


def test_values_are_never_looked_into() -> None:
    """What a parameter holds is no token of its own; a message with the mark of the rules in it is left alone."""
    assert [(3, 13), (17, 18)] == corrected("at a true 5.b in 7", [(3, 13)])
    assert [(0, 1)] == corrected("a \0 7", [(0, 1)])


@pytest.mark.parametrize(
    ("text", "spans", "cut"),
    [
        ("on [a, b].", [(3, 10)], "on [<*>]."),
        ("as 'x' in (y", [(3, 6), (10, 12)], "as '<*>' in (<*>"),
        ("f(a) of b)", [(0, 10)], "<*>)"),
        ("task-7 id 7", [(0, 6)], "<*> id <*>"),
    ],
)
def test_labels_leave_what_encloses_a_value(text: str, spans: list[tuple[int, int]], cut: str) -> None:
    """Brackets, quotes and closing marks around a value are constant; then the rules apply."""
    place, found = 0, ""
    for start, end in labelled(text, spans):
        found, place = f"{found}{text[place:start]}<*>", end
    assert cut == found + text[place:]


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("connection from 10.0.0.7 () at", [(16, 24)], [(16, 24), (26, 26)]),
        ('server: , host: ""', [], [(8, 8), (17, 17)]),
        ("user=<> name= age=3 tail=", [(18, 19)], [(6, 6), (18, 19)]),
        ("close() took a[] = b == c", [], []),
        ("size= 12", [(6, 8)], [(6, 8)]),
        ('"" ""', [(1, 4)], [(1, 4)]),
    ],
)
def test_a_missing_value_is_an_empty_parameter(text: str, spans: list[Span], expected: list[Span]) -> None:
    """Brackets and quotes around nothing have one; calls, bare equals signs and what holds a parameter do not."""
    assert expected == with_empty(text, spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 10.0.0.7:5121 on", [(5, 13), (14, 18)]),
        ('host: "10.0.0.7:80"', [(7, 18)]),
        ("at 10.0.0.7:80/x", [(3, 16)]),
        ("of node-1:80", [(3, 12)]),
    ],
)
def test_an_address_and_its_port_are_two_parameters(text: str, expected: list[Span]) -> None:
    """Quoted they are one value, and so is any other pair."""
    start, end = expected[0][0], expected[-1][1]
    assert expected == labelled(text, [(start, end)])
