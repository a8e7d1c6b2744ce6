"""What redaction hides of labelled lines: no less than it once did, and nothing more without need."""

import pytest

from tests.redaction_labels import count, labelled, mistakes, read
from worker.columns.redacting import ColumnRedactor
from worker.parsing.redaction import CARD, IP, KINDS, Hit, Redaction

#: Recall and precision that were reached, rounded down.
_FLOORS = {
    "dev": {
        "ip": (0.97, 1.0), "email": (1.0, 0.95), "token": (0.84, 0.97), "card_number": (1.0, 1.0), "user": (0.81, 0.95),
    },
    "test": {
        "ip": (1.0, 0.97), "email": (0.95, 1.0), "token": (0.78, 0.92), "card_number": (1.0, 1.0), "user": (0.61, 0.96),
    },
}  # fmt: skip


@pytest.mark.parametrize("part", _FLOORS)
def test_recall_and_precision_do_not_fall(part: str) -> None:
    """By kind, as many values are hidden as were, and as few others; change the floors together with the rules."""
    counts = count(read(part))
    fallen = {
        kind: (round(counts[kind].recall, 3), round(counts[kind].precision, 3))
        for kind, (recall, precision) in _FLOORS[part].items()
        if counts[kind].recall < recall or counts[kind].precision < precision
    }
    assert fallen == {}


@pytest.mark.parametrize("part", _FLOORS)
def test_the_compiled_form_writes_labelled_lines_as_the_reference_does(part: str) -> None:
    """The figures hold for the kernels as well."""
    redaction = Redaction(ways=dict.fromkeys(KINDS, "mask"))
    redactor = ColumnRedactor(redaction)
    for text, _ in read(part):
        assert redaction.redacted(text) == redactor.redacted(text)


def test_marks_are_taken_out() -> None:
    """A marked line is its text, and spans by bytes."""
    text, values = labelled("ä «ip:192.0.2.1»«card_number:4111111111111111».")
    assert text.decode() == "ä 192.0.2.14111111111111111."
    assert values == (Hit(3, 12, IP), Hit(12, 28, CARD))


def test_what_is_hidden_in_part_is_a_mistake() -> None:
    """A value counts as hidden from end to end alone, and what holds none is told of."""
    line = labelled("user=bob from «user:10.0.0.7:80» and «email:x»")
    counts = count([line])
    assert [(counts[kind].marked, counts[kind].hidden, counts[kind].found) for kind in ("user", "email", "ip")] == [
        (1, 0, 1), (1, 0, 0), (0, 0, 1),
    ]  # fmt: skip
    assert (counts["user"].needless, counts["ip"].needless) == (1, 0)
    assert [found.partition(":")[0] for found in mistakes([line])] == [
        "- user '10.0.0.7",
        "- email 'x'",
        "+ user 'bob'",
    ]


def test_there_are_enough_labels() -> None:
    """Each part has lines with values and as many hard ones without."""
    lines = [*read("dev"), *read("test")]
    assert sum(bool(line.values) for line in lines) >= 250
    assert sum(len(line.values) for line in lines) >= 400
    assert sum(not line.values for line in lines) >= 200
