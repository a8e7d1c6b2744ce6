"""Parsers that learn nothing from labels."""

import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.baselines import BASELINES, GENERAL_MASKS, Baseline, Brain, Drain3, masked
from training.evaluation.datasets import read_logs
from training.evaluation.metrics import accuracy

_LOGHUB = Path(__file__).parents[4] / "shared" / "data" / "loghub-2k"
_needs_drain3 = pytest.mark.skipif(importlib.util.find_spec("drain3") is None, reason="drain3 is not installed")
_EACH = pytest.mark.parametrize(
    "baseline",
    [
        pytest.param(baseline, id=baseline.name, marks=[_needs_drain3] * isinstance(baseline, Drain3))
        for baseline in BASELINES
    ],
)

_LOG = [
    "session of alice opened after 12 ms",
    "session of bob opened after 7 ms",
    "queue full, dropped /var/spool/out/17.msg",
    "session of carol opened after 220 ms",
    "queue full, dropped /var/spool/out/18.msg",
    "session of dave opened after 1.5 ms",
    "peer 10.0.0.7:9092 said 0x1f",
    "peer 10.0.0.8 said 0xBEEF",
]
_TEMPLATES = [
    "session of <*> opened after <*> ms",
    "session of <*> opened after <*> ms",
    "queue full, dropped <*>",
    "session of <*> opened after <*> ms",
    "queue full, dropped <*>",
    "session of <*> opened after <*> ms",
    "peer <*> said <*>",
    "peer <*> said <*>",
]


def fits(template: str, message: str) -> bool:
    """Tell whether a message is its template with any words for `<*>`."""
    return re.fullmatch(r"\S+".join(map(re.escape, template.split("<*>"))), message) is not None


@_EACH
def test_evident_templates(baseline: Baseline) -> None:
    """Values that a mask knows and words that vary become parameters, in the order of the lines."""
    assert _TEMPLATES == baseline.templates_of(_LOG)


@_EACH
def test_an_empty_log(baseline: Baseline) -> None:
    """No lines, no templates."""
    assert [] == baseline.templates_of([])


@_EACH
def test_blank_messages(baseline: Baseline) -> None:
    """A message without words keeps a template without words."""
    assert ["", ""] == [template.strip() for template in baseline.templates_of(["", "  "])]


@_EACH
@settings(max_examples=100)
@given(
    messages=st.lists(
        st.lists(
            st.sampled_from(
                ["get", "put", "a=b", "a=7", "x,", "x,y", ":", "12", "n1", "10.1.2.3:80", "/a/b", "<*>", "é٣"]
            ),
            max_size=6,
        ).map(" ".join),
        max_size=12,
    )
)
def test_templates_match_and_repeat(baseline: Baseline, messages: list[str]) -> None:
    """Each template matches its message, and the same log gives the same templates."""
    templates = baseline.templates_of(messages)
    assert [True] * len(messages) == [fits(*pair) for pair in zip(templates, messages, strict=True)]
    assert templates == baseline.templates_of(messages)


@_needs_drain3
def test_drain3_is_settled() -> None:
    """A line that came before its cluster learned a parameter has the parameter in its template too."""
    assert ["user <*> left the room"] * 2 == Drain3().templates_of(["user ann left the room", "user bob left the room"])


@_needs_drain3
def test_drain3_keeps_neighbouring_wildcards() -> None:
    """Two words that vary beside each other are two parameters."""
    messages = ["moved file a b to the attic", "moved file c d to the attic"]
    assert ["moved file <*> <*> to the attic"] * 2 == Drain3().templates_of(messages)


@settings(max_examples=200)
@given(messages=st.lists(st.text(alphabet="ab1 \t,:=/.x<*>", max_size=20), max_size=8))
def test_brain_keeps_the_text(messages: list[str]) -> None:
    """White space and separators stay as they are in the message, whatever it holds."""
    templates = Brain().templates_of(messages)
    assert [True] * len(messages) == [fits(*pair) for pair in zip(templates, messages, strict=True)]


def test_brain_keeps_separators_and_cuts_words_at_them() -> None:
    """A value behind a separator is a parameter without the separator."""
    messages = [f"state:up,owner={owner}  done" for owner in ("ann", "bob", "cid", "dora")]
    assert ["state:up,owner=<*>  done"] * 4 == Brain().templates_of(messages)


def test_brain_splits_where_few_rare_words_differ() -> None:
    """Fewer distinct words than `branches` are constants of templates of their own; as many are one parameter."""
    messages = ["the disk was mounted", "the disk was unmounted", "the disk was checked"]
    assert messages == Brain(branches=4).templates_of(messages)
    assert ["the disk was <*>"] * 3 == Brain(branches=3).templates_of(messages)


def test_brain_takes_common_words_that_differ_for_values() -> None:
    """Two words that both are seen more often than the pattern are a parameter, though few."""
    noise = ["yes or no", "yes or maybe", "yes and so", "no or yes", "no or maybe", "no and so"]
    messages = ["yes says the oracle", "no says the oracle"]
    assert ["<*> says the oracle"] * 2 == Brain().templates_of([*messages, *noise])[:2]


def test_brain_takes_words_of_many_digits_for_values() -> None:
    """A word that is mostly digits is a parameter though it never varies; one with few digits is not."""
    assert ["slot <*> of node1x holds md5sum"] == Brain().templates_of(["slot a77 of node1x holds md5sum"])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("to 10.0.0.1, then 10.0.0.1:80.", "to <*>, then <*>."),
        ("at 0x7fFF in [/usr/lib/x.so]", "at <*> in [<*>]"),
        ("took -3.5 s, 7 tries", "took <*> s, <*> tries"),
        ("blk_17 v2.0.1 node-3 http://host and/or", "blk_17 v2.0.1 node-3 http://host and/or"),
    ],
)
def test_general_masks(message: str, expected: str) -> None:
    """Addresses, hexadecimal numbers, paths and numbers are masked where they stand alone; parts of words are not."""
    assert [expected] == masked([message], GENERAL_MASKS)


@pytest.mark.skipif(not _LOGHUB.is_dir(), reason=f"needs the labelled logs of Loghub in {_LOGHUB}")
@pytest.mark.parametrize(
    ("system", "masks", "separators", "branches", "published"),
    [
        ("Apache", (r"(\d+\.){3}\d+",), ",", 4, 1.0),
        ("BGL", (r"core\.\d+",), ",=()", 6, 0.986),
        ("HDFS", (r"blk_-?\d+", r"(\d+\.){3}\d+(:\d+)?"), ",:", 2, 0.998),
        ("HPC", (), ",=-:", 5, 0.945),
        ("Mac", (r"([\w-]+\.){2,}[\w-]+",), ",", 5, 0.942),
        ("OpenSSH", (r"(\d+\.){3}\d+", r"([\w-]+\.){2,}[\w-]+"), ",", 6, 1.0),
        ("Spark", (r"(\d+\.){3}\d+", r"\b[KGTM]?B\b", r"([\w-]+\.){2,}[\w-]+"), ",:", 4, 0.998),
        ("Thunderbird", (r"(\d+\.){3}\d+",), ",:=", 3, 0.971),
        ("Zookeeper", (r"(/|)(\d+\.){3}\d+(:\d+)?",), ",:=", 3, 0.988),
    ],
)
def test_brain_repeats_what_was_published(
    system: str, masks: tuple[str, ...], separators: str, branches: int, published: float
) -> None:
    """Under the masks, separators and thresholds that its authors gave a system, lines group as well as theirs."""
    (log,) = read_logs([_LOGHUB / system])
    templates = Brain(masks=masks, separators=separators, branches=branches).templates_of(log.messages)
    assert pytest.approx(published, abs=0.005) == accuracy(log.templates, templates).ga
