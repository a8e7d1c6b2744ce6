"""Inputs made of others, the same ones for the same seed: what the test suite feeds without atheris."""

from collections.abc import Iterator, Sequence
from random import Random

from tests.fuzz.target import MOST_BYTES

#: Bytes that mean something to one reader or another.
_TOKENS = (
    b"\0", b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xff\x0f", b"\x1e", b"\n", b"\r\n",
    b" ", b"\t", b'"', b"\\", b"{", b"}", b"[", b"]", b"<", b">", b"<*>", b"%", b"\\u0000", b"\\ud800", b"\xed\xa0\x80",
    b"\xc3", b"\xef\xbb\xbf", b"-", b"0", b"99999999999999999999", b"1e999", b"NaN", b"null", b"true", b"=", b":",
    b"\x1b[31m", b"\xc1", b"\xdf", b"\xdc\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\xc9\xff\xff\xff\xff", b"(", b")?",
)  # fmt: skip


def mutations(seeds: Sequence[bytes], count: int, *, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` inputs, each made of a seed by a few changes."""
    random = Random(seed)
    for _ in range(count):
        content = bytearray(random.choice(seeds))
        for _ in range(random.randint(1, 6)):
            _change(content, random, seeds)
        yield bytes(content[:MOST_BYTES])


def _change(content: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = random.randint(0, len(content))
    end = min(len(content), at + random.choice((1, 2, 4, 16, 64)))
    match random.randrange(7):
        case 0 if content:
            content[at % len(content)] ^= 1 << random.randrange(8)
        case 1 if content:
            content[at % len(content)] = random.choice(b"\x00\x01\x7f\x80\xff\x20")
        case 2:
            content[at:at] = random.choice(_TOKENS)
        case 3:
            content[at:end] = random.choice(_TOKENS)
        case 4:
            del content[at:end]
        case 5:
            content[at:at] = content[at:end] * random.choice((1, 2, 30))
        case _:
            other = random.choice(seeds)
            first = random.randint(0, len(other))
            content[at:end] = other[first : first + random.choice((1, 8, 64, 512))]


def stretched(seeds: Sequence[bytes], count: int, *, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` inputs of MOST_BYTES, each a seed of which a stretch repeats."""
    random = Random(seed)
    longer = [content for content in seeds if 0 < len(content) < MOST_BYTES]
    for _ in range(count if longer else 0):
        content = random.choice(longer)
        at = random.randrange(len(content))
        end = min(len(content), at + random.choice((1, 1, 2, 3, 8, 40, 400)))
        repeats = (MOST_BYTES - len(content)) // (end - at)
        yield content[:at] + content[at:end] * (repeats + 1) + content[end:]
