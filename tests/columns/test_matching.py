"""The compiled matcher against its references: spans, fingerprints, rule 3 and what a table does as templates go."""

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from worker.columns.layout import (
    MAX_FIELDS,
    NONE,
    TIER_FINGERPRINT,
    TIER_INDEX,
    TIER_MISS,
    TIER_MODEL,
    TIER_STORE,
    Headers,
    Matches,
    Texts,
)
from worker.columns.matching import TemplateTable
from worker.columns.rivals import RIVALS
from worker.columns.words import letters_at
from worker.parsing.templates import MAX_PARAMETERS, Template, fingerprint, word_hash

Found = tuple[Template, tuple[tuple[int, int], ...]] | None

messages = st.lists(
    st.sampled_from(["a", "b", "ab", " ", "\t", "1", "é", "=", "longer-than-8", "x" * 17]), max_size=12
).map(lambda pieces: "".join(pieces).encode()) | st.binary(max_size=40)
texts = st.lists(st.sampled_from(["a", "b", "ab", " ", "1", "=", "longer-than-8"]), max_size=5).map("".join)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """Draw a template of few kinds of pieces, or one cut from a message."""
    if draw(st.booleans()):
        text = "<*>".join(draw(st.lists(texts, min_size=1, max_size=5)))
        return Template.from_text(text, spacious=[number for number in range(5) if draw(st.booleans())])
    message = draw(messages)
    edges = sorted(draw(st.lists(st.integers(0, len(message)), max_size=6)))
    return Template.cut(message, list(zip(edges[::2], edges[1::2], strict=False)))


def columns(lines: Sequence[bytes | None], before: bytes = b"") -> tuple[Texts, Headers]:
    """Lay messages out as columns, each after a header of `before`; None is a row that becomes no event."""
    buffer = bytearray()
    starts, lengths = [], []
    for line in lines:
        buffer += before
        starts.append(len(buffer))
        lengths.append(-1 if line is None else len(line))
        buffer += line or b""
    n = len(lines)
    start, length = np.array(starts, np.int64), np.array(lengths, np.int64)
    zeros, bytes_of_zero = np.zeros(n, np.int64), np.zeros(n, np.uint8)
    fields = np.zeros((n, MAX_FIELDS), np.int64)
    texts = Texts(
        buffer=np.array(buffer, np.uint8),
        start=start - len(before),
        length=np.where(length < 0, -1, length + len(before)),
        record=np.arange(n),
        place=np.full(n, NONE, np.int64),
        attributes_buffer=np.zeros(0, np.uint8),
        attributes_start=zeros,
        attributes_length=zeros,
        timestamp=zeros,
        severity=bytes_of_zero,
    )
    headers = Headers(
        format=zeros,
        message_start=start,
        message_length=np.maximum(length, 0),
        timestamp=zeros,
        precision=bytes_of_zero,
        severity=bytes_of_zero,
        level_start=zeros,
        level_length=zeros,
        field_start=fields,
        field_length=fields,
    )
    return texts, headers


def found_in(table: TemplateTable, matches: Matches, headers: Headers) -> list[Found]:
    """Read matches back: the template and its spans in the message, None for a miss."""
    found: list[Found] = []
    for i, row in enumerate(matches.template.tolist()):
        first, count = int(matches.first_parameter[i]), int(matches.parameter_count[i])
        base = int(headers.message_start[i])
        spans = tuple(
            (int(matches.start[number]) - base, int(matches.end[number]) - base)
            for number in range(first, first + count)
        )
        assert row >= 0 or count == 0
        found.append((table.template(row), spans) if row >= 0 else None)
    return found


def look_up(table: TemplateTable, lines: Sequence[bytes], scope: int = 0) -> list[Found]:
    """Look messages up and read the answer back."""
    texts, headers = columns(lines, b"head: ")
    return found_in(table, table.look_up(texts, headers, scope), headers)


def best_of(known: Sequence[Template], message: bytes) -> Found:
    """Find the template by asking the reference of each."""
    for template in sorted(known, key=lambda template: template.rank):
        spans = template.match(message)
        if spans is not None:
            return template, spans
    return None


def table_of(*known: Template, fingerprint_capacity: int = 64) -> TemplateTable:
    """Build a table that holds `known` in scope 0."""
    table = TemplateTable(capacity=64, fingerprint_capacity=fingerprint_capacity)
    for template in known:
        table.add(template, 0)
    return table


@settings(max_examples=400, deadline=None)  # the first example compiles the kernels
@given(templates(), st.lists(messages, min_size=1, max_size=6))
def test_the_kernel_matches_as_the_reference_does(template: Template, lines: list[bytes]) -> None:
    """Whatever the bytes are, the same messages match with the same spans."""
    assert [best_of([template], line) for line in lines] == look_up(table_of(template), lines)


@settings(max_examples=200, deadline=None)
@given(st.lists(messages, max_size=8), st.integers(0, 3))
def test_fingerprints_are_those_of_the_reference(lines: list[bytes], scope: int) -> None:
    """Worker and reference agree on a message's fingerprint, also at the very end of the buffer."""
    texts, headers = columns(lines)
    matches = table_of().look_up(texts, headers, scope)
    assert [fingerprint(line, scope) for line in lines] == matches.fingerprint.tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["word", "größe", "ThirteenLetter", "exactlyE"]), max_size=4), st.sampled_from("0 -\n"))
def test_letters_are_read_as_words(words: list[str], between: str) -> None:
    """The index reads the same runs of letters from a message as a template has for anchors."""
    message = between.join(["", *words, ""]).encode()
    buffer = np.frombuffer(message + b"beyond", np.uint8).copy()
    hashes, at = [], 0
    while True:
        at, word = letters_at(buffer, at, len(message))
        if at < 0:
            break
        hashes.append(int(word))
    assert [word_hash(word.encode()) for word in words] == hashes


class Tables(RuleBasedStateMachine):
    """Templates come and go in two scopes; after each step every message still finds the best of those there are."""

    @initialize(lines=st.lists(messages, min_size=1, max_size=12))
    def start(self, lines: list[bytes]) -> None:
        """Begin with an empty table, few fingerprints and some messages."""
        self.table = TemplateTable(capacity=12, fingerprint_capacity=8)
        self.known: dict[int, dict[int, Template]] = {0: {}, 1: {}}
        self.lines = lines

    @rule(scope=st.integers(0, 1), template=templates())
    def add(self, scope: int, template: Template) -> None:
        """Add a template, or merge it with itself."""
        if not self.table.free and self.table.row_of(template.id, scope) is None:
            with pytest.raises(ValueError, match="evict"):
                self.table.add(template, scope)
            return
        row = self.table.add(template, scope)
        self.known[scope][row] = self.table.template(row)

    @rule(scope=st.integers(0, 1), data=st.data())
    def add_what_fits(self, scope: int, data: st.DataObject) -> None:
        """Add a template cut from one of the messages, so that several fit one message."""
        line = data.draw(st.sampled_from(self.lines))
        edges = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=4)))
        self.add(scope, Template.cut(line, list(zip(edges[::2], edges[1::2], strict=False))))

    @precondition(lambda self: len(self.table) > 0)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Remove a template."""
        scope, row = data.draw(st.sampled_from([(scope, row) for scope in (0, 1) for row in self.known[scope]]))
        self.table.remove(row)
        del self.known[scope][row]

    @rule(count=st.integers(0, 3))
    def evict(self, count: int) -> None:
        """Evict templates that are not in use."""
        for row in self.table.evict(count):
            del self.known[0 if row in self.known[0] else 1][row]

    @invariant()
    def every_message_finds_its_best(self) -> None:
        """Fingerprint and index agree with the reference of all templates of the scope, twice in a row."""
        for scope in (0, 1, 0):
            known = list(self.known[scope].values())
            assert [best_of(known, line) for line in self.lines] == look_up(self.table, self.lines, scope)
            assert sorted(self.known[scope]) == sorted(self.table.rows(scope))
        assert sum(map(len, self.known.values())) == len(self.table)


def test_templates_come_and_go() -> None:
    """In any order of additions, merges, removals and evictions, rule 3 alone decides what a message finds."""
    run_state_machine_as_test(Tables, settings=settings(max_examples=100, stateful_step_count=20, deadline=None))


def test_the_tier_says_how_a_template_was_found() -> None:
    """The index finds a new kind of message, its fingerprint finds the next one."""
    table = table_of(Template.from_text("sent <*> bytes"))
    texts, headers = columns([b"sent 1 bytes", b"sent 22 bytes", b"lost", None])
    matches = table.look_up(texts, headers, 0)
    assert matches.tier.tolist() == [TIER_INDEX, TIER_FINGERPRINT, TIER_MISS, TIER_MISS]
    assert matches.fingerprint[3] == 0


def test_only_misses_are_looked_up_again() -> None:
    """What was found stays, even if its template is gone from the index; misses find what was added since."""
    table = table_of(Template.from_text("sent <*> bytes"))
    texts, headers = columns([b"lost 5 bytes", b"sent 1 bytes", None, b"sent 2 bytes by x"])
    first = table.look_up(texts, headers, 0)
    table.add(Template.from_text("sent 1 bytes"), 0)
    table.add(Template.from_text("lost <*> <*>"), 0)
    second = table.look_up(texts, headers, 0, only=first, tier=TIER_STORE)
    table.add(Template.from_text("sent <*> bytes by <*>"), 0)
    third = table.look_up(texts, headers, 0, only=second, tier=TIER_MODEL)
    assert third.tier.tolist() == [TIER_STORE, TIER_INDEX, TIER_MISS, TIER_MODEL]
    assert [
        (Template.from_text("lost <*> <*>"), ((5, 6), (7, 12))),
        (Template.from_text("sent <*> bytes"), ((5, 6),)),
        None,
        (Template.from_text("sent <*> bytes by <*>"), ((5, 6), (16, 17))),
    ] == found_in(table, third, headers)


def test_earlier_matches_must_be_of_the_same_rows() -> None:
    """Matches of another batch are refused."""
    table = table_of()
    matches = table.look_up(*columns([b"a"]), 0)
    with pytest.raises(ValueError, match="1 rows, the texts have 2"):
        table.look_up(*columns([b"a", b"b"]), 0, only=matches)


def test_a_better_template_takes_over_known_fingerprints() -> None:
    """A message whose fingerprint led to one template finds a later one that says more."""
    general, special = Template.from_text("status <*> sent"), Template.from_text("status 200 sent")
    table = table_of(general)
    assert [(general, ((7, 10),))] * 2 == look_up(table, [b"status 200 sent"] * 2)
    table.add(special, 0)
    assert [(special, ()), (general, ((7, 10),))] == look_up(table, [b"status 200 sent", b"status 404 sent"])


def test_many_better_templates_are_all_minded() -> None:
    """A general template with more rivals than its row remembers leaves the choice to the index."""
    special = [Template.from_text(f"code {number} <*> end") for number in range(RIVALS + 3)]
    general = Template.from_text("code <*> end", spacious=[0])
    table = table_of(*special[:3], general, *special[3:])
    lines = [b"code %d x end" % number for number in range(20)] * 2
    assert [best_of([*special, general], line) for line in lines] == look_up(table, lines)


def test_more_parameters_than_expected_find_room() -> None:
    """A batch of many parameters a row grows its columns on the way."""
    template = Template.from_text("x " + " ".join(["<*>"] * MAX_PARAMETERS))
    line = b"x " + b" ".join(b"%d" % number for number in range(MAX_PARAMETERS))
    found = look_up(table_of(template), [line] * 20)
    assert [(template, template.match(line))] * 20 == found


def test_an_id_that_is_there_keeps_its_row() -> None:
    """Merging takes white space from either, names from the newer where it has any, and the newer confidence."""
    table = table_of()
    first = Template(literals=(b"a ", b" b ", b""), spacious=(True, False), names=("x", "y"), confidence=0.5)
    second = Template(literals=(b"a ", b" b ", b""), spacious=(False, True), names=("", "z"), confidence=0.7)
    row = table.add(first, 0)
    assert row == table.add(second, 0) == table.row_of(first.id, 0)
    assert table.template(row).spacious == (True, True)
    assert table.template(row).names == ("x", "z")
    assert table.template(row).confidence == 0.7
    assert len(table) == 1
    assert [(table.template(row), ((2, 5), (8, 11)))] == look_up(table, [b"a 1 2 b 3 4"])


def test_scopes_share_nothing() -> None:
    """The same template in two scopes has two rows, and each answers for its own."""
    table = table_of(Template.from_text("a <*>"))
    row = table.add(Template.from_text("a <*>"), 7)
    texts, headers = columns([b"a 1"])
    assert row == table.look_up(texts, headers, 7).template[0]
    assert row != table.look_up(texts, headers, 0).template[0]
    table.remove(row)
    assert table.look_up(texts, headers, 7).template[0] == -1
    assert list(table.rows(7)) == []


def test_what_was_found_longest_ago_is_evicted() -> None:
    """Eviction takes what no message met for the longest time, and nothing that a batch in hand may hold."""
    table = table_of(*(Template.from_text(f"{name} <*>") for name in "abc"))
    rows = [table.row_of(Template.from_text(f"{name} <*>").id, 0) for name in "abc"]
    look_up(table, [b"a 1"])
    tick = table.tick
    look_up(table, [b"c 1"])
    assert [rows[1]] == table.evict(5, before=tick)
    assert [rows[0]] == table.evict(1)
    assert table.evict(5) == []
    assert look_up(table, [b"a 1", b"b 1"]) == [None, None]


def test_a_free_row_has_no_template() -> None:
    """Rows that were never used or were removed are refused."""
    table = table_of(Template.from_text("a"))
    table.remove(0)
    for row in (0, 1, -1):
        with pytest.raises(KeyError):
            table.template(row)
    with pytest.raises(KeyError):
        table.remove(0)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (Template.from_text("x" + "<*> " * (MAX_PARAMETERS + 1)), "129 parameters"),
        (Template(literals=(b"a", b"", b"b"), spacious=(False, False), names=("", "")), "empty literal"),
        (Template(literals=(b"a", b"b"), spacious=(), names=()), "2 literals around 0"),
        (Template(literals=(b"a", b"b"), spacious=(False,), names=()), "2 literals around 1"),
    ],
)
def test_templates_that_kernels_cannot_hold_are_refused(template: Template, why: str) -> None:
    """A broken template from elsewhere is refused before any kernel sees it, and leaves no trace."""
    table = table_of()
    with pytest.raises(ValueError, match=why):
        table.add(template, 0)
    assert len(table) == 0


def test_a_negative_scope_is_refused() -> None:
    """A scope below 0 would look like a free row."""
    with pytest.raises(ValueError, match="scope -1"):
        table_of().add(Template.from_text("a"), -1)


def test_memory_stays_bounded_while_templates_come_and_go() -> None:
    """A thousand templates through a small table leave the arrays as large as a hundred need."""
    table = TemplateTable(capacity=50, fingerprint_capacity=8)
    for number in range(1000):
        if not table.free:
            table.evict(10, before=table.tick + 1)
        table.add(Template.from_text(f"message {'x' * 200} number{number} <*>"), 0)
    size = table.nbytes
    assert size < 500_000
    last = Template.from_text(f"message {'x' * 200} number999 <*>")
    line = last.literals[0] + b"1"
    assert [(last, last.match(line))] == look_up(table, [line])


def test_an_index_that_grew_finds_all() -> None:
    """Templates filed before the index was spread are found after it, and can go."""
    table = TemplateTable(capacity=1500, fingerprint_capacity=8)
    known = [Template.from_text(f"{'abcdefgh'[i % 8]}{'xyz'[i % 3]} at {i} <*>") for i in range(1200)]
    rows = [table.add(template, 0) for template in known]
    lines = [template.literals[0] + b"value" for template in known]
    assert [(template, template.match(line)) for template, line in zip(known, lines, strict=True)] == look_up(
        table, lines
    )
    for row in rows[::2]:
        table.remove(row)
    assert [None, (known[1], known[1].match(lines[1]))] == look_up(table, lines[:2])


@pytest.mark.parametrize(
    "line",
    [
        b"a" * 1_000_000,
        b"foo " * 250_000,
        b"foo bar=" * 125_000,
        b"1 " * 500_000,
        b"\x80" * 1_000_000,
        b"foo " + b"a" * 999_992 + b" end",
    ],
)
def test_a_long_line_is_looked_up_in_linear_time(line: bytes) -> None:
    """A megabyte that nearly matches hundreds of templates is answered by a walk over it for each at most."""
    table = TemplateTable(capacity=400, fingerprint_capacity=64)
    for number in range(100):
        table.add(Template.from_text(f"foo <*> bar={number} <*>"), 0)
        table.add(Template.from_text(f"<*> foo {number} <*>", spacious=[0, 1]), 0)
        table.add(Template.from_text(f"foo <*>a<*>a<*>{number}b<*> end", spacious=[0]), 0)
    texts, headers = columns([b"foo 1 bar=2 3", line])
    started = time.process_time()
    matches = table.look_up(texts, headers, 0)
    assert [table.row_of(Template.from_text("foo <*> bar=2 <*>").id, 0), -1] == matches.template.tolist()
    assert time.process_time() - started < 60
