"""Lessons: labelled lines and what their templates match in the log, with values that vary."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels import Pair
from training.teaching.lessons import Lesson, Variations, character_spans, lessons, shot_templates
from worker.parsing.templates import Template
from worker.parsing.types import parameter_type


def pairs(*texts: str) -> list[Pair]:
    """Make pairs of `message -> template`."""
    return [Pair(message=message, template=template) for message, template in (text.split(" -> ") for text in texts)]


def values(lesson: Lesson) -> list[str]:
    """List the parameters of a lesson."""
    return [lesson.text[start:end] for start, end in lesson.spans]


def constants(lesson: Lesson) -> list[str]:
    """List what stands around the parameters of a lesson."""
    edges = [0, *(edge for span in lesson.spans for edge in span), len(lesson.text)]
    return [lesson.text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]


def test_templates_are_those_of_the_labels() -> None:
    """One for each; a parameter may hold white space if it does in one of its lines; keys name parameters."""
    made = shot_templates(
        pairs(
            "user bob ann in -> user <*> in",
            "user eve in -> user <*> in",
            "got size=5 () -> got size=<*> (<*>)",
            "still -> still",
            "x -> does not fit",
        )
    )
    assert ["user <*> in", "got size=<*> (<*>)", "still"] == [template.text for template in made]
    assert [(True,), (False, False), ()] == [template.spacious for template in made]
    assert [("user",), ("size", ""), ()] == [template.names for template in made]


def test_labelled_lines_are_lessons_by_their_own_label() -> None:
    """Even where another label fits better, and where they are more than are wanted; empty values teach nothing."""
    shots = pairs(
        "user bob in -> user <*> in", "user bob left -> user bob left", "user eve in -> user <*> in", "a () -> a (<*>)"
    )
    found = {lesson.text: values(lesson) for lesson in lessons([shots[1].message] * 3, shots, per_template=1, seed=1)}
    assert {"user bob in": ["bob"], "user bob left": [], "user eve in": ["eve"], "a ()": []} == found


def test_lines_of_the_log_join_by_the_templates_that_match() -> None:
    """Each different one once, cut by the template that fits best; what no label matches teaches nothing."""
    shots = pairs("user bob in -> user <*> in", "user root in now -> user root in <*>", "größe 7 é -> größe <*> é")
    log = ["user ann in", "user ann in", "user bob in", "user root in 5", "größe 81 é", "gone", ""]
    found = {lesson.text: values(lesson) for lesson in lessons(log, shots, per_template=10, seed=1)}
    assert {
        "user bob in": ["bob"],
        "user ann in": ["ann"],
        "user root in now": ["now"],
        "user root in 5": ["5"],
        "größe 7 é": ["7"],
        "größe 81 é": ["81"],
    } == found


def test_every_template_weighs_the_same() -> None:
    """Of many lines so many are taken as allowed, the labelled ones first, and together they weigh one."""
    shots = pairs("user bob in -> user <*> in", "user  eve  in -> user <*> in", "disk full -> disk full")
    found = lessons([f"user u{number} in" for number in range(100)], shots, per_template=10, seed=1)
    weights = Counter[bool]()
    for lesson in found:
        weights[lesson.text.startswith("user")] += round(lesson.weight * 1000)
    assert {True: 1000, False: 1000} == weights
    assert 10 + 1 == len(found)
    assert {"user bob in", "user  eve  in"} < {lesson.text for lesson in found}


def test_the_seed_alone_chooses() -> None:
    """Neither the order of the log nor how often a line comes changes the lessons."""
    shots = pairs("user bob in -> user <*> in")
    log = [f"user u{number} in" for number in range(50)]
    first = lessons(log, shots, per_template=5, seed=1)
    assert first == lessons([*reversed(log), *log], shots, per_template=5, seed=1)
    assert first != lessons(log, shots, per_template=5, seed=2)


def test_bytes_that_are_no_text_are_cut_where_they_stand() -> None:
    """Characters of a decoded message and bytes of the message agree."""
    message = b"bad \xff\xfe \xc3\xa9 12 end".decode(errors="surrogateescape")
    template = Template(literals=(b"bad \xff", b" \xc3\xa9 ", b" end"), spacious=(False, False), names=("", ""))
    spans = character_spans(message, template)
    assert ["\udcfe", "12"] == [message[start:end] for start, end in spans]
    label = Pair(message=message, template=message.replace("12", "<*>"))
    assert ["12"] == values(lessons([], [label], per_template=5, seed=1)[0])


@st.composite
def lesson_lists(draw: st.DrawFn) -> list[Lesson]:
    """Draw lessons with values of many types."""
    kinds = ["bob", "eve", "7", "-12", "10.0.0.7", "0x1f", "12:30:59", "a-7", "/var/a1.log", "12ms", "\udcff", "two w"]
    made = list[Lesson]()
    for _ in range(draw(st.integers(1, 5))):
        text, spans = "", []
        for constant, value in draw(
            st.lists(st.tuples(st.sampled_from(["x ", " é=", " "]), st.sampled_from(kinds)), max_size=4)
        ):
            text += constant + value
            spans.append((len(text) - len(value), len(text)))
        made.append(Lesson(text=text + draw(st.sampled_from(["", " end"])), spans=tuple(spans), weight=0.5))
    return made


@given(lesson_lists(), st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_variations_change_nothing_but_values(drawn: list[Lesson], share: float, seed: int) -> None:
    """Constants stay, every value becomes one of its type, and the same seed varies alike."""
    one, other = (Variations(drawn, share=share, seed=seed) for _ in range(2))
    for lesson in drawn * 3:
        varied = one.varied(lesson)
        assert constants(lesson) == constants(varied)
        assert [kind(value) for value in values(lesson)] == [kind(value) for value in values(varied)]
        assert lesson.weight == varied.weight
        assert varied == other.varied(lesson)


def kind(value: str) -> str:
    """Tell the type of a value."""
    return parameter_type(value.encode(errors="surrogateescape"))


def test_variations_vary_the_share_that_is_asked_for() -> None:
    """None, all, or about half; words become words of the log, numbers other numbers."""
    log = [Lesson(text=f"{word} 4711", spans=((0, 3), (4, 8)), weight=1) for word in ("bob", "eve", "ann", "kim")]
    varied = {
        share: [Variations(log, share=share, seed=seed).varied(random.Random(seed).choice(log)) for seed in range(200)]
        for share in (0.0, 0.5, 1.0)
    }
    numbers = {share: sum(values(lesson)[1] != "4711" for lesson in found) for share, found in varied.items()}
    assert numbers[0.0] == 0
    assert 10 < numbers[0.5] < numbers[1.0] <= 200
    assert {"bob", "eve", "ann", "kim"} == {values(lesson)[0] for lesson in varied[1.0]}
    assert all(len(values(lesson)[1].lstrip("-")) == 4 for lesson in varied[1.0])
