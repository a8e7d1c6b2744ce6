"""The parser that tests stand in for the model keeps the same contract as the one that ships."""

import pytest

from tests.fakes import RuleParser
from worker.parsing.checkpoint import BASE, WEIGHTS, checkpoint_folder
from worker.parsing.parser import EncoderParser, Parser

_MESSAGES = [
    b"Accepted connection from 10.0.0.7:5121",
    b"",
    b"   ",
    b"17",
    b"\x00\xff caf\xc3\xa9 7 \xf0\x9f\x98\x80",
    b"Accepted connection from 10.0.0.7:5121",
    b"no digit at all",
    b"word " * 300 + b"9",
    b"first line 1\n\tat second(line:2)",
]


@pytest.fixture(scope="module", params=["rules", "base"])
def parser(request: pytest.FixtureRequest) -> Parser:
    """Give each parser in turn; skip the one whose weights are not here."""
    if request.param == "rules":
        return RuleParser()
    if not (checkpoint_folder(BASE) / WEIGHTS).is_file():
        pytest.skip("the weights of `base` are not here")
    return EncoderParser.load(device="cpu")


def test_a_template_matches_its_own_message(parser: Parser) -> None:
    """Every answer stands at the place of its message and matches it, whatever bytes it holds, or is None."""
    templates = parser.parse(_MESSAGES)
    assert len(_MESSAGES) == len(templates)
    matched = [
        template is None or template.match(m) is not None for m, template in zip(_MESSAGES, templates, strict=True)
    ]
    assert [True] * len(_MESSAGES) == matched


def test_a_message_gives_the_same_template_in_any_company(parser: Parser) -> None:
    """What else is asked for at once changes nothing."""
    together = parser.parse(_MESSAGES)
    alone = [parser.parse([message])[0] for message in _MESSAGES]
    assert [t and t.id for t in alone] == [t and t.id for t in together]


def test_nothing_asked_is_nothing_answered(parser: Parser) -> None:
    """No messages give no templates; the version stays and tokens are counted."""
    version, tokens = parser.version, parser.tokens
    assert parser.parse([]) == []
    assert (version, tokens) == (parser.version, parser.tokens)
    parser.parse([b"one two"])
    assert parser.tokens > tokens
