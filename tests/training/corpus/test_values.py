"""Made-up values."""

import random
import re

import pytest

from training.corpus.values import CLOSE, OPEN, Values


def values(seed: int = 1) -> Values:
    """Make a source of values."""
    return Values(random.Random(seed), ["alpha", "beta"], ["it broke"], ["size", "owner"])


@pytest.mark.parametrize(
    ("name", "conversion", "pattern"),
    [
        ("anything", "d", r"-?\d+"),
        ("port", "d", r"\d+"),
        ("x", ".2f", r"[\d.e+\-]+"),
        ("flags", "x", r"(0x)?[0-9a-fA-F]+"),
        ("total", ",", r"[\d,]+"),
    ],
)
def test_conversions_decide(name: str, conversion: str, pattern: str) -> None:
    """A numeric conversion gives a number, whatever the name."""
    source = values()
    assert all(re.fullmatch(pattern, source.of(name, conversion)) for _ in range(200))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("client_ip", r"\d+\.\d+\.\d+\.\d+"),
        ("file_path", r".*/.*"),
        ("userName", r"\S+"),
        ("request_uuid", r"[0-9a-fA-F]{8}-.*"),
        ("downloadUrl", r"\w+(:\w+)?://.*"),
    ],
)
def test_names_decide(name: str, pattern: str) -> None:
    """A name that tells its kind mostly gets that kind."""
    source = values()
    assert sum(bool(re.fullmatch(pattern, source.of(name))) for _ in range(300)) > 50


def test_every_kind_can_be_made() -> None:
    """Any kind gives text, with balanced marks if it marks constant parts."""
    source = values()
    for _ in range(3000):
        text = source.anything()
        assert text.count(OPEN) == text.count(CLOSE)


def test_the_same_seed_makes_the_same_values() -> None:
    """Runs can be repeated."""
    first, second = values(7), values(7)
    assert [first.of("name") for _ in range(100)] == [second.of("name") for _ in range(100)]
