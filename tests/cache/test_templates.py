"""The bounded cache of one scope: what it finds, what it forgets, and that event writers know the same rows."""

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns_of import messages_of
from worker.cache.templates import TemplateCache
from worker.columns.events import EventWriter
from worker.columns.layout import TIER_STORE, Matches
from worker.parsing.message_types import Typer
from worker.parsing.templates import Template


def cache_of(*texts: str, capacity: int = 100) -> TemplateCache:
    """Make a cache that holds templates."""
    cache = TemplateCache(max_templates=capacity, max_fingerprints=64)
    for text in texts:
        cache.add(Template.from_text(text))
    return cache


def texts_in(cache: TemplateCache) -> list[str]:
    """Return the texts of the templates in a cache."""
    return [template.text for template in cache.templates()]


def write(writer: EventWriter, messages: Sequence[bytes], matches: Matches) -> int:
    """Write events and return how many there are. Raises LookupError where the writer lacks a row."""
    texts, headers = messages_of(messages)
    events = writer.write(
        texts, headers, matches, None, source="s", topic=None, partition=0, parser_version="p", observed_ns=0
    )
    return int(np.count_nonzero(events.length >= 0))


def test_what_was_added_is_found() -> None:
    """Messages find their templates; those that fit none are misses."""
    cache = cache_of("took <*> ms", "user <*> left")
    found = cache.look_up(*messages_of([b"user bob left", b"took 7 ms", b"what"]))
    assert found.template.tolist() == [1, 0, -1]


def test_only_misses_are_looked_up_again() -> None:
    """What was found stays as it was found; what is found now gets the tier of its finding."""
    cache = cache_of("took <*> ms")
    texts, headers = messages_of([b"took 7 ms", b"user bob left"])
    before = cache.look_up(texts, headers)
    cache.add(Template.from_text("user <*> left"))
    found = cache.look_up(texts, headers, only=before, tier=TIER_STORE)
    assert found.template.tolist() == [0, 1]
    assert found.tier.tolist() == [before.tier[0], TIER_STORE]


def test_writers_know_every_template() -> None:
    """A writer knows what was there before it came, what came later, and that rows were given to others."""
    cache = cache_of("took <*> ms")
    writer = EventWriter(resource={})
    cache.attach(writer)
    cache.add(Template.from_text("user <*> left"))
    messages = [b"user bob left", b"took 7 ms"]
    assert write(writer, messages, cache.look_up(*messages_of(messages))) == 2
    cache.remove(Template.from_text("took <*> ms").id)
    cache.add(Template.from_text("gave <*> <*>"))
    messages = [b"user bob left", b"gave 7 8"]
    assert write(writer, messages, cache.look_up(*messages_of(messages))) == 2


def test_a_writer_that_nobody_holds_goes() -> None:
    """A source that found another header format leaves no writer behind."""
    cache = cache_of("took <*> ms")
    cache.attach(EventWriter(resource={}))
    gc.collect()
    assert len(cache._writers) == 0


def test_a_full_cache_forgets_what_was_not_used() -> None:
    """The templates that were found longest ago go first."""
    cache = cache_of("one <*>", "two <*>", "three <*>", capacity=3)
    cache.look_up(*messages_of([b"one 1", b"three 3"]))
    cache.look_up(*messages_of([b"one 1"]))
    cache.add(Template.from_text("four <*>"))
    assert sorted(texts_in(cache)) == ["four <*>", "one <*>", "three <*>"]


def test_a_cache_stays_bounded_before_its_first_look_up() -> None:
    """More templates than fit, as a warm start may bring, leave the last ones."""
    cache = cache_of(*(f"word{number} <*>" for number in range(50)), capacity=10)
    assert len(cache) == 10
    assert "word49 <*>" in texts_in(cache)


def test_what_a_batch_needs_is_not_evicted() -> None:
    """Rows of a batch in work stay its templates', even if the cache grows beyond its bound meanwhile."""
    cache = cache_of("one <*>", "two <*>", capacity=2)
    writer = EventWriter(resource={})
    cache.attach(writer)
    messages = [b"one 1", b"two 2"]
    with cache.in_use():
        matches = cache.look_up(*messages_of(messages))
        cache.add(Template.from_text("three <*>"))
        cache.remove(Template.from_text("one <*>").id)
        assert write(writer, messages, matches) == 2
        assert len(cache) == 2
        assert cache.without_removed(matches).template.tolist() == [-1, matches.template[1]]
    assert sorted(texts_in(cache)) == ["three <*>", "two <*>"]
    cache.add(Template.from_text("four <*>"))
    assert len(cache) == 2


def test_parameters_are_named_as_declared() -> None:
    """Names by a template's text or id take the place of the model's; too many are left out, missing ones kept."""
    by_text, by_id = Template.from_text("a <*> <*>"), Template.from_text("b <*>")
    cache = TemplateCache(
        max_templates=10,
        max_fingerprints=64,
        parameter_names={by_text.text: ["first"], by_id.id: ["one", "too many"]},
    )
    for template in (by_text, by_id, Template.from_text("c <*>")):
        cache.add(template)
    assert [template.names for template in cache.templates()] == [("first", ""), ("one",), ("",)]


def test_a_pin_names_parameters_whatever_is_learned() -> None:
    """Its names stand, empty ones too, and go with it; what was learned meanwhile comes back."""
    cache = cache_of("user <*> left", "took <*> ms")
    cache.add(replace(Template.from_text("user <*> left"), names=("guess",)))
    cache.pin(replace(Template.from_text("user <*> left"), names=("account",)))
    cache.add(replace(Template.from_text("user <*> left", spacious=[0]), names=("other",)))
    matches = cache.look_up(*messages_of([b"user bob b left"]))
    assert cache.template(int(matches.template[0])).names == ("account",)
    assert {template.names for template in cache.templates()} == {("other",), ("",)}
    cache.pin(Template.from_text("user <*> left"))
    assert cache.find(Template.from_text("user <*> left").id).names == ("",)  # type: ignore[union-attr]
    cache.unpin(Template.from_text("user <*> left").id)
    assert sorted(template.names for template in cache.templates()) == [("",), ("other",)]
    cache.unpin("0" * 16)


def test_a_pinned_template_needs_not_be_learned() -> None:
    """It is found as any other, is nothing that was learned, and goes when it is unpinned."""
    cache = cache_of()
    pin = replace(Template.from_text("user <*> left"), names=("account",))
    cache.pin(pin)
    cache.remove(pin.id)
    assert cache.look_up(*messages_of([b"user bob left"])).template.tolist() != [-1]
    assert (cache.templates(), list(cache.pins.values())) == ([], [pin])
    cache.unpin(pin.id)
    assert cache.look_up(*messages_of([b"user bob left"])).template.tolist() == [-1]


def test_pinned_templates_stay_however_full_it_gets() -> None:
    """A flood takes away what is not used, and not what a person pinned."""
    cache = cache_of(capacity=4)
    cache.pin(Template.from_text("user <*> left"))
    for number in range(50):
        cache.look_up(*messages_of([b"nothing"]))
        cache.add(Template.from_text(f"step {number} <*>"))
    assert cache.find(Template.from_text("user <*> left").id) is not None


def test_settings_name_before_pins() -> None:
    """What stands in the settings overrides what operators pinned."""
    cache = TemplateCache(max_templates=9, max_fingerprints=64, parameter_names={"user <*> left": ["login"]})
    pin = replace(Template.from_text("user <*> left"), names=("account",))
    cache.pin(pin)
    assert cache.find(pin.id).names == ("login",)  # type: ignore[union-attr]


def test_templates_get_their_type_as_they_come() -> None:
    """Rows are counted by the type of their template, empty for none; a new list of types holds for known templates."""
    first = TemplateCache(max_templates=10, max_fingerprints=64, typer=Typer.load())
    for text in ("read timed out after <*> ms", "authentication failed for user <*>", "a <*>"):
        first.add(Template.from_text(text))
    assert Counter({"timeout": 2, "authentication failure": 1, "": 1}) == first.count(np.array([0, 1, 0, 2]))
    later = TemplateCache(max_templates=10, max_fingerprints=64, typer=Typer.load({"timeout": []}))
    for template in first.templates():
        later.add(template)
    assert ["timeout", "", ""] == [template.type for template in later.templates()]


def test_what_was_used_most_of_late_is_known() -> None:
    """Templates are told with all their messages, those first that had most of late; what is removed is forgotten."""
    cache = cache_of("one <*>", "two <*>", "three <*>")
    one, two, three = cache.templates()
    assert cache.most_used(3) == {}
    cache.count(np.array([0] * 100 + [1] * 5))
    assert cache.most_used(1) == {one: 100}
    assert cache.most_used(9) == {one: 100, two: 5}
    for _ in range(10):
        cache.fade()
    assert cache.most_used(3) == {}
    cache.count(np.array([0, 2, 2]))
    assert cache.most_used(1) == {three: 2}
    assert cache.most_used(0) == {}
    assert cache.most_used(2) == {three: 2, one: 101}
    cache.remove(three.id)
    assert cache.most_used(2) == {one: 101}
    cache.add(Template.from_text("four <*>"))
    cache.count(np.array([0]))
    assert cache.most_used(2) == {one: 102}


def test_a_template_that_comes_back_while_it_is_in_use_is_told_once() -> None:
    """Its former row, hidden for as long as a batch needs it, is not shown beside the new one."""
    cache = cache_of("one <*>")
    (one,) = cache.templates()
    with cache.in_use():
        cache.count(np.array([0]))
        cache.remove(one.id)
        row = cache.add(replace(one, names=("x",)))
        cache.count(np.array([0, row, row]))
        assert [(template.names, count) for template, count in cache.most_used(5).items()] == [(("x",), 2)]


def test_removing_what_is_not_there_does_nothing() -> None:
    """An id that the cache does not hold is no error."""
    cache = cache_of("one <*>")
    cache.remove("0123456789abcdef")
    assert texts_in(cache) == ["one <*>"]


_STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "look up", "enter", "leave"]), st.integers(0, 12)), max_size=60
)


@settings(max_examples=150)
@given(steps=_STEPS)
def test_rows_of_batches_in_work_never_change(steps: list[tuple[str, int]]) -> None:
    """Whatever is added, removed and evicted meanwhile, a batch's rows are its own until it ends."""
    cache = TemplateCache(max_templates=4, max_fingerprints=64)
    writer = EventWriter(resource={})
    cache.attach(writer)
    batches = []
    for step, number in steps:
        text = f"{'abcdefghijklm'[number]}x <*>"
        if step == "add":
            cache.add(Template.from_text(text))
        elif step == "remove":
            cache.remove(Template.from_text(text).id)
        elif step == "enter":
            message = text.replace("<*>", "7").encode()
            use = cache.in_use()
            use.__enter__()
            batches.append((use, message, cache.look_up(*messages_of([message]))))
        elif step == "leave" and batches:
            use, message, matches = batches.pop(0)
            assert write(writer, [message], matches) == (matches.template[0] >= 0)
            if matches.template[0] >= 0:
                assert cache._table.template(int(matches.template[0])).match(message) is not None
            use.__exit__(None, None, None)
        else:
            cache.look_up(*messages_of([b"nothing"]))
    for use, _, _ in batches:
        use.__exit__(None, None, None)
    assert len(cache) <= 4 + 13
