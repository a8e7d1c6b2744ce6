"""No template swallows everything, whichever way it comes in: it matches what holds no letter, and nothing else."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tests.columns_of import messages_of
from tests.fakes import RuleParser
from tests.redis_server import RedisServer
from training.labels import read_pairs
from worker.cache.misses import Misses
from worker.cache.store import TemplateStore
from worker.cache.stored import pack_stored, unpack_stored
from worker.cache.templates import TemplateCache
from worker.errors import WrongLabels
from worker.parsing.known import KnownTemplates, write_known
from worker.parsing.microbatch import MicroBatcher
from worker.parsing.parser import EncoderParser
from worker.parsing.rows import Candidate
from worker.parsing.stream import Stream
from worker.parsing.templates import WILDCARD, Template, decoded, has_letter

#: What would swallow every message of one word, of three words, of any words, and all in brackets.
GREEDY = (
    Template.from_text("<*>"),
    Template.from_text("<*>", {0}),
    Template.from_text("<*> <*> <*>"),
    Template.from_text("<*> <*>", {0, 1}),
    Template.from_text("[<*>] <*>", {0, 1}),
)
#: Messages with letters, of several scripts and of none.
MESSAGES = [
    b"Ready",
    b"user bob in",
    b"[main] lost 5 of 7",
    "接続に失敗しました".encode(),
    "[ユーザー] が ログイン".encode(),
    "Пользователь вошёл".encode(),
    b"caf\xe9 5",
]


@pytest.fixture(scope="module")
def shipped() -> EncoderParser:
    """Load the parser that ships."""
    return EncoderParser.load(device="cpu")


def matched(cache: TemplateCache, messages: Sequence[bytes]) -> list[bool]:
    """Tell which messages a cache answers, by the index and then by fingerprint."""
    texts, headers = messages_of(messages)
    first, second = cache.look_up(texts, headers), cache.look_up(texts, headers)
    assert first.template.tolist() == second.template.tolist()
    return [row >= 0 for row in first.template.tolist()]


def test_the_cache() -> None:
    """Kernels hold to the rule, and a greedy template still answers what is all values."""
    cache = TemplateCache(max_templates=100, max_fingerprints=1024)
    for template in GREEDY:
        cache.add(template)
    assert [False] * len(MESSAGES) == matched(cache, MESSAGES)
    assert [True, True, True] == matched(cache, [b"17", b"1 2 3", b"[4] 5"])


@pytest.mark.redis
async def test_redis(redis_server: RedisServer) -> None:
    """A template that anyone wrote to Redis is learned, and swallows nothing."""
    store = TemplateStore.connect(redis_server.url, parser_version=f"test-{uuid4().hex}")
    cache = TemplateCache(max_templates=100, max_fingerprints=1024)
    try:
        learned = [(template, 7) for template in GREEDY]
        while not (await store.publish("app", learned)).is_written:
            pass
        misses = Misses(cache=cache, store=store, model=None, scope="app")
        assert await misses.warm_up() == len({template.id for template in GREEDY})
        texts, headers = messages_of(MESSAGES)
        found = await misses.resolve(texts, headers, cache.look_up(texts, headers))
    finally:
        await store.close()
    assert [-1] * len(MESSAGES) == found.template.tolist()


def test_what_redis_holds_is_sound() -> None:
    """Two parameters that touch, which would match anything between them, are poisoned."""
    touching = Template(literals=(b"", b"", b""), spacious=(True, True), names=("", ""))
    assert unpack_stored(pack_stored(touching)) is None


def test_known_templates(tmp_path: Path) -> None:
    """A taught checkpoint's templates are asked before the network, and leave it what they can't answer."""
    path = tmp_path / "templates.jsonl"
    write_known(path, GREEDY)
    known = KnownTemplates.load(path)
    assert [None] * len(MESSAGES) == [known.find(message) for message in MESSAGES]
    assert known.find(b"17") is not None


@pytest.mark.parametrize("message", ["Ready", "接続に失敗しました", "user bob in"])
def test_labels(tmp_path: Path, message: str) -> None:
    """A label that leaves no letter of its line is refused with the line's number, before anything is taught."""
    path = tmp_path / "labels.csv"
    path.write_text(f"Content,EventTemplate\n{message},{WILDCARD}\n", encoding="utf-8")
    with pytest.raises(WrongLabels, match="line 2"):
        read_pairs(path)


def test_pins(shipped: EncoderParser) -> None:
    """A pin keeps a template as it is; one that is greedy keeps nothing, and settling makes none."""
    stream = Stream(shipped, pinned=[template.text for template in GREEDY])
    misses = []
    for number in range(40):
        message = b"word%c went" % (97 + number % 26) if number % 2 else b"%c" % (97 + number % 26) * 5
        text = decoded(message)
        units = [(0, len(text))]
        candidate = Candidate(text=text, spans=((0, len(text)),), units=units, odds=[9.0])
        made = Template.cut(message, [])
        misses.append(Template(literals=made.literals, spacious=(), names=(), candidate=candidate))
    answers = stream.hear(misses).answers
    assert all(any(map(has_letter, answer.literals)) for answer in answers)


def test_the_model(shipped: EncoderParser) -> None:
    """Every message gets a template that matches it, and one that keeps a letter."""
    for message, made in zip(MESSAGES, shipped.parse(MESSAGES), strict=True):
        assert made is not None
        assert made.match(message) is not None
        assert any(map(has_letter, made.literals))


async def test_a_flood_of_values_teaches_nothing_greedy() -> None:
    """Templates of lines that are all values answer no line of words that comes behind them."""
    cache = TemplateCache(max_templates=100, max_fingerprints=1024)
    model = MicroBatcher(RuleParser(), deadline_seconds=0)
    misses = Misses(cache=cache, store=None, model=model, scope="app")
    texts, headers = messages_of([b"%d %d" % (number, number) for number in range(50)])
    await misses.resolve(texts, headers, cache.look_up(texts, headers))
    await model.close()
    assert [False] * len(MESSAGES) == matched(cache, MESSAGES)
