"""Lines of programs that log without names."""

import random
import re
import tomllib
from pathlib import Path

from training.corpus import frames
from training.corpus.frames import Frames
from training.corpus.values import Values


def made(seed: int, count: int) -> list[str]:
    """Make lines, values in marks."""
    values = Values(random.Random(seed), ["apple", "river", "stone"], ["no such thing"], ["size"])
    lines = Frames(values, ["went away"], random.Random(seed), lambda name, value: f"«{name}|{value}»")
    return [lines.line() for _ in range(count)]


def test_lines_repeat_and_their_values_are_tagged() -> None:
    """The same seed gives the same lines; nothing of a frame's own notation is left."""
    lines = made(1, 300)
    assert lines == made(1, 300)
    assert all("«" in line for line in lines)
    plain = [re.sub("«[^»]*»", "", line) for line in lines]
    assert not [line for line in plain if re.search(r"\{\w+\|", line)]


def test_every_kind_can_be_made() -> None:
    """Each kind in the file is one of its choices, or one that values can be made of."""
    file = tomllib.loads(Path(frames.__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    lines = [*file["frames"], *file["prefixes"], *file["beginnings"]]
    kinds = {kind for line in lines for kind in re.findall(r"\{(\w+)[|}]", line)}
    kinds |= {kind for field in file["keyed"].values() for kind in field["kinds"]}
    assert {kind for kind in kinds if kind not in file["choices"] and not hasattr(Values, kind)} == {"level"}
