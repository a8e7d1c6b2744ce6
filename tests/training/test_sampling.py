"""Which lines of an unlabelled log are worth labelling."""

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from training.sampling import VALUE, Form, Survey, chosen, collapsed, form_words, grouped

#: Kinds of lines of a made-up log, the most frequent first.
KINDS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"Stored object {rng.randrange(10**6):x}-{rng.randrange(9)} of {rng.randrange(10**6)} bytes",
    lambda rng: f"session opened for user {rng.choice(('ana', 'bob', 'carla', 'dmitri', 'eve', 'farid', 'gil'))}",
    lambda rng: f"session closed for user {rng.choice(('ana', 'bob', 'carla', 'dmitri', 'eve', 'farid', 'gil'))}",
    lambda rng: f"request from 10.0.{rng.randrange(256)}.{rng.randrange(256)} took {rng.randrange(999)} ms",
    lambda rng: f"cache of shard {rng.randrange(64)} evicted: {', '.join(map(str, rng.sample(range(99), 4)))}",
    lambda rng: f"wrote /var/lib/app/{rng.choice(('a', 'b', 'c'))}.db at Mon Jun {rng.randrange(1, 29)} 12:00:00",
    lambda rng: "configuration reloaded",
    lambda rng: f"worker {rng.randrange(8)} lost its lease, state={rng.choice(('idle', 'busy'))}",
)


def made_log(lines: int, seed: int) -> tuple[list[str], list[int]]:
    """Make messages, each kind half as frequent as the one before, and tell the kind of each."""
    rng = random.Random(seed)
    kinds = rng.choices(range(len(KINDS)), [2.0**-kind for kind in range(len(KINDS))], k=lines)
    return [KINDS[kind](rng) for kind in kinds], kinds


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("sent 45 bytes", f"sent {VALUE} bytes"),
        ("open /var/log/a failed", f"open {VALUE} failed"),
        ("key=bob, n=7", f"key = {VALUE} , n = {VALUE}"),
        ("ids 1, 2, 3 gone", f"ids {VALUE} gone"),
        ("at Mon Jun 4 10:00:01", f"at {VALUE}"),
        ("user 'bob b' can't go", f"user {VALUE} can ' t go"),
        ("mail to a@b.c", f"mail to {VALUE}"),
        ("read/write error", "read/write error"),
        ("first\n  at second", "first"),
        ("  ", ""),
    ],
)
def test_a_form_keeps_words_and_marks(message: str, expected: str) -> None:
    """Whatever must be a value is one, lists of values too, and of several lines the first is read."""
    assert expected == " ".join(form_words(message))


def test_each_beginning_of_a_choice_covers_the_most_frequent_kinds() -> None:
    """The first k chosen lines are of the k most frequent kinds."""
    messages, kinds = made_log(3000, seed=5)
    order = [kinds[index] for index in chosen(messages, len(KINDS), seed=1)]
    assert set(range(len(KINDS))) == set(order)
    assert {0, 1, 2, 3} == set(order[:4]) | {1, 2}  # the two sessions cover each other in part
    assert 0 == order[0]


def test_words_that_vary_join_forms_to_one_group() -> None:
    """Many names in one place are values; two verbs in one place are two kinds."""
    messages, _ = made_log(3000, seed=6)
    survey = Survey()
    survey.read(messages)
    assert len(KINDS) == len(survey.groups())
    assert 3000 == sum(group.lines for group in survey.groups())


def test_two_words_that_vary_at_once_join_forms() -> None:
    """Where no two lines share user and host, they still are of one kind."""
    rng = random.Random(4)
    names = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(60)]
    survey = Survey()
    survey.read(
        f"accepted login for {user} from host {host}" for user, host in zip(names[:30], names[30:], strict=True)
    )
    assert [30] == [group.lines for group in survey.groups()]


def test_more_lines_than_groups_are_different_lines() -> None:
    """When all groups are covered, further lines of them come, none twice."""
    messages, kinds = made_log(500, seed=7)
    indices = chosen(messages, 32, seed=1)
    assert 32 == len({messages[index] for index in indices})
    assert set(kinds) == {kinds[index] for index in indices[: len(set(kinds))]}


def test_a_small_log_is_chosen_whole() -> None:
    """Where there are fewer different messages than asked for, each comes once; blank ones never."""
    messages = ["a b", "", "a b", "c 1", "c 2", "   "]
    assert [{"a b", "c 1", "c 2"}, 3] == [
        {messages[index] for index in chosen(messages, 9)},
        len(chosen(messages, 9)),
    ]
    assert [] == chosen([], 3)


def test_a_seed_decides_the_choice() -> None:
    """The same seed gives the same lines, another seed other lines of the same kinds."""
    messages, kinds = made_log(2000, seed=8)
    first, again, other = (chosen(messages, 8, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {kinds[index] for index in first} == {kinds[index] for index in other}


def test_the_most_typical_form_speaks_for_a_group() -> None:
    """Of a group's forms, the one with most lines gives the first line."""
    messages = [f"peer {number} () left" for number in range(5)] + [
        f"peer {number} (host{number}) left" for number in range(50)
    ]
    assert chosen(messages, 1)[0] >= 5


def test_memory_is_bounded_whatever_comes() -> None:
    """A flood of unlike lines keeps the forms at their limit, and the frequent kind keeps its weight, about."""
    rng = random.Random(3)

    def word() -> str:
        return "".join(rng.choices("abcdefghij", k=8))

    flood = [
        f"{word()} {word()} {word()} {word()}" if number % 2 else f"frequent kind {number}" for number in range(4000)
    ]
    survey = Survey(max_forms=200)
    survey.read(flood)
    assert len(survey.forms) <= 200
    first = survey.chosen(1)[0]
    assert "frequent kind" == first.message[:13]
    assert 1500 < first.lines < 2500


def test_reading_in_parts_counts_on() -> None:
    """Indices are those of all messages that were read, whatever the calls."""
    survey = Survey()
    survey.read(["a", "b"])
    survey.read(["", "c"])
    assert {0: "a", 1: "b", 3: "c"} == {choice.index: choice.message for choice in survey.chosen(9)}
    assert 4 == survey.lines


@given(st.lists(st.text(max_size=30), max_size=30), st.integers(0, 12))
@example(messages=["0", "", ":"], count=1)
@settings(max_examples=150, deadline=None)
def test_any_log_gives_different_messages_of_it(messages: list[str], count: int) -> None:
    """Whatever the messages hold, the indices are valid and no message comes twice or is blank."""
    picked = [messages[index] for index in chosen(messages, count)]
    assert len(picked) == len(set(picked)) <= count
    assert all(message.strip() for message in picked)


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "x9", "=", ",", VALUE]), min_size=1, max_size=6), max_size=40))
@settings(max_examples=100, deadline=None)
def test_groups_share_out_all_forms(words: list[list[str]]) -> None:
    """Each form is in one group, and no line is lost."""
    unique = {collapsed(form): None for form in words}
    forms = [Form(words=form, lines=number + 1) for number, form in enumerate(unique)]
    groups = grouped(forms)
    assert sorted(form.lines for form in forms) == sorted(form.lines for group in groups for form in group.forms)
    assert sum(form.lines for form in forms) == sum(group.lines for group in groups)
