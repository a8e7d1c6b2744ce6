"""What misses settle on as they come: merging, bounds, order, and what never changes."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.parsing.checkpoint import CORRECTED
from worker.parsing.rows import Candidate
from worker.parsing.stream import Change, Stream
from worker.parsing.templates import Template

_DIGITS = re.compile(r"\d+")


class Names:
    """Calls every parameter that has no name `value`, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def cuts_of(self, prompt: str | None) -> str:
        """Decide words as a whole."""
        del prompt
        return CORRECTED

    def named(self, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
        """Give names."""
        assert all(
            one is None or one.match(message) is not None for message, one in zip(messages, templates, strict=True)
        )
        self.asked += [one.text for one in templates if one is not None]
        return list(templates)


def miss(text: str, *, doubt: float = -1.0, is_given: bool = False) -> Template:
    """Cut a message by its digits; every other word is variable by `doubt`."""
    spans = tuple(found.span() for found in _DIGITS.finditer(text))
    units = [found.span() for found in re.finditer(r"\S+", text)]
    odds = [6.0 if _DIGITS.search(text[start:end]) else doubt for start, end in units]
    made = Template.cut(text.encode(), spans, 0.5)
    candidate = Candidate(text=text, spans=spans, units=units, odds=odds, is_given=is_given)
    return Template(
        literals=made.literals, spacious=made.spacious, names=made.names, confidence=0.5, candidate=candidate
    )


def texts(change: Change) -> list[str]:
    """Return the texts of the answers."""
    return [template.text for template in change.answers]


def test_one_miss_keeps_its_cut() -> None:
    """Without neighbours a template is what the model made of its message."""
    change = Stream(Names()).hear([miss("user bob took 7 ms")])
    assert (["user bob took <*> ms"], (), {}) == (texts(change), change.others, change.replaced)
    assert change.answers[0].candidate is None


def test_templates_that_differ_in_one_place_merge() -> None:
    """A value that was taken for a constant becomes a parameter, and the templates that it made are replaced."""
    names = Names()
    stream = Stream(names)
    first = stream.hear([miss("user bob took 7 ms")]).answers[0]
    change = stream.hear([miss("user eve took 8 ms"), miss("user joe took 9 ms")])
    assert ["user <*> took <*> ms"] * 2 == texts(change)
    assert {first.id: change.answers[0].id} == dict(change.replaced)
    assert () == change.others
    assert ["user <*> took <*> ms"] == names.asked
    assert 0.5 == change.answers[0].confidence


def test_what_comes_later_finds_the_settled_template() -> None:
    """A miss that its neighbours know changes nothing."""
    stream = Stream(Names())
    stream.hear([miss(f"user {name} left") for name in ("bob", "eve", "joe")])
    change = stream.hear([miss("user ann left")])
    assert (["user <*> left"], (), {}) == (texts(change), change.others, change.replaced)


def test_many_settle_when_enough_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then a miss keeps its cut; what settles then is told, though another miss made it so."""
    monkeypatch.setattr("worker.parsing.stream._FEW", 0)
    monkeypatch.setattr("worker.parsing.stream._GROWTH", 0.5)
    stream = Stream(Names())
    stream.hear([miss("user bob took 7 ms")])
    assert ["user eve took <*> ms"] == texts(stream.hear([miss("user eve took 7 ms")]))
    change = stream.hear([miss("ready")])
    assert ["ready"] == texts(change)
    assert ["user <*> took <*> ms"] == [template.text for template in change.others]
    assert [change.others[0].id] * 2 == list(change.replaced.values())


def test_labels_and_pinned_templates_stay() -> None:
    """What a person said of a message is never replaced, whatever its neighbours say."""
    labelled = miss("user bob left", is_given=True)
    stream = Stream(Names(), pinned={"user ann left"})
    stream.hear([labelled])
    stream.hear([miss("user ann left")])
    change = stream.hear([miss(f"user {name} left", doubt=3.0) for name in ("eve", "joe", "kim")])
    assert {} == change.replaced
    assert ["user <*> left"] * 3 == texts(change)
    assert ["user ann left", "user bob left"] == [
        template.text for template in stream.hear([miss("user ann left"), labelled]).answers
    ]


def test_what_is_pinned_later_stays_from_then_on() -> None:
    """Its messages settle with no others any more, whoever replaced it before."""
    stream = Stream(Names())
    narrow = stream.hear([miss("user ann left")]).answers[0]
    stream.replace(narrow.id, Template.from_text("user <*> left"))
    stream.pin(narrow.id)
    stream.hear([miss("user bob left")])
    stream.hear([miss("user ann left")])
    stream.pin(narrow.id)
    change = stream.hear([miss(f"user {name} left", doubt=3.0) for name in ("eve", "joe", "kim")])
    assert narrow.id not in change.replaced
    stream.unpin(narrow.id)


def test_what_others_replaced_is_not_brought_back() -> None:
    """The other worker's template answers wherever it matches, until that worker brings the former one back."""
    stream = Stream(Names())
    narrow = stream.hear([miss("disk sda is full")]).answers[0]
    wide = Template.from_text("disk <*> is full")
    stream.replace(narrow.id, wide)
    assert ["disk <*> is full"] == texts(stream.hear([miss("disk sda is full")]))
    stream.replace(narrow.id, Template.from_text("volume <*> is full"))
    assert ["disk <*> is full"] == texts(stream.hear([miss("disk sda is full")]))
    stream.restore(narrow.id)


def test_templates_that_replace_each_other_end() -> None:
    """Two that stand for each other do not send a message in circles."""
    stream = Stream(Names())
    one, other = Template.from_text("up and running"), Template.from_text("up <*> running")
    stream.replace(one.id, other)
    stream.replace(other.id, one)
    assert ["up and running"] == texts(stream.hear([miss("up and running")]))


def test_a_removed_template_goes_with_its_candidates() -> None:
    """What an operator removed does not come back by its neighbours."""
    stream = Stream(Names())
    made = stream.hear([miss("user bob left")]).answers[0]
    stream.forget(made.id)
    assert 0 == len(stream)


def test_a_template_without_a_candidate_is_left_alone() -> None:
    """What has nothing to settle by is answered as it came."""
    template = Template.from_text("took <*> ms")
    stream = Stream(Names())
    assert ["took <*> ms"] == texts(stream.hear([template]))
    assert 0 == len(stream)


@pytest.mark.parametrize(("candidates", "characters"), [(50, 1 << 20), (1_000, 1_000)])
def test_candidates_are_bounded(candidates: int, characters: int) -> None:
    """A flood makes the candidates of frequent templates go; the rare one stays, and nothing is replaced for it."""
    stream = Stream(Names(), max_candidates=candidates, max_characters=characters)
    rare = stream.hear([miss("a rare one came")]).answers[0]
    for first in range(0, 600, 20):
        change = stream.hear([miss(f"flood of {number}") for number in range(first, first + 20)])
        assert {} == change.replaced
    assert len(stream) <= candidates
    assert stream.characters <= characters
    assert rare == stream.hear([miss("a rare one came")]).answers[0]


def test_what_settled_outlasts_its_candidates() -> None:
    """A template whose candidates had to go but for one stays what they settled on together."""
    stream = Stream(Names(), max_candidates=60)
    users = [miss(f"user {name} left") for name in ("bob", "eve", "joe", "kim", "pat", "sam", "ann", "max")]
    settled = stream.hear(users).answers[0]
    words = [f"{first}{second}" for first in "abcdefghijklmnop" for second in "qrstuvwxyz"]
    for number in range(120):
        change = stream.hear([miss(" ".join(words[number : number + 5 + number % 3]), doubt=-6.0)])
        assert settled.id not in change.replaced
    assert [settled] == list(stream.hear([miss("user tom left")]).answers)


@given(
    st.lists(
        st.lists(
            st.sampled_from([f"{verb} {name} at {n}" for verb in ("saw", "met") for name in "abcdef" for n in (1, 2)]),
            min_size=1,
            max_size=6,
        ),
        max_size=6,
    )
)
def test_the_same_misses_give_the_same_templates(rounds: list[list[str]]) -> None:
    """Two streams that hear the same agree, every answer matches its message, and what is replaced is gone."""
    streams = Stream(Names()), Stream(Names())
    live = set[str]()
    for messages in rounds:
        one, other = (stream.hear([miss(message) for message in messages]) for stream in streams)
        assert one == other
        assert all(
            template.match(message.encode()) is not None
            for message, template in zip(messages, one.answers, strict=True)
        )
        live |= {template.id for template in (*one.answers, *one.others)}
        assert one.replaced.keys() <= live
        live -= one.replaced.keys()
        assert set(one.replaced.values()) <= live
