"""Lines as programs write them that log without names, filled with values that fields may be asked for.

What they are stands in `frames.toml`.
"""

import random
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.corpus.values import CLOSE, OPEN, Values

LEVELS = (
    "INFO", "WARN", "ERROR", "DEBUG", "WARNING", "FATAL", "info", "error", "notice", "I", "E", "TRACE", "SEVERE",
    "warn", "fatal", "LOG", "NOTICE", "CRITICAL", "debug", "warning", "W",
)  # fmt: skip
_FILE = Path(__file__).with_name("frames.toml")
_FIELD = re.compile(r"\{(\w+)(?:\|([^}]+))?\}")
_SHARE_OF_KEYED = 0.3
_SHARE_WITH_PREFIX = 0.2
#: Share of phrases that programs say; the others are any words.
_SHARE_OF_SAID = 0.7
#: Joints that need more around the pairs.
_AROUND = {'": "': ('{"', '"}'), '="': ("", '"'), "=<": ("", ">"), "=[": ("", "]")}


class Frames:
    """Fills frames with values."""

    def __init__(
        self, values: Values, phrases: Sequence[str], rng: random.Random, tag: Callable[[str, str], str]
    ) -> None:
        """Mark each value by `tag`, which takes its name and the value; `phrases` is what programs say in few words."""
        self._values, self._phrases, self._rng, self._tag = values, phrases, rng, tag
        self._file: dict[str, Any] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
        self._file["choices"]["level"] = LEVELS
        self._keyed = [(name, field["keys"].split(), field["kinds"]) for name, field in self._file["keyed"].items()]

    def line(self) -> str:
        """Make a line, its values marked."""
        if self._rng.random() < _SHARE_OF_KEYED:
            return self._pairs()
        prefix: str = self._rng.choice(self._file["prefixes"]) if self._rng.random() < _SHARE_WITH_PREFIX else ""
        return self._filled(prefix + self._rng.choice(self._file["frames"]))

    def _pairs(self) -> str:
        rng = self._rng
        joints: Sequence[tuple[str, str]] = self._file["joints"]
        joint, between = rng.choice(joints)
        style = rng.choice((str, str, str, str.lower, str.upper, str.title))
        pairs = [
            style(rng.choice(keys)) + joint + self._tag(name, self._value(rng.choice(kinds)))
            for name, keys, kinds in rng.sample(self._keyed, rng.randrange(2, 12))
        ]
        opened, closed = _AROUND.get(joint, ("", ""))
        return self._filled(rng.choice(self._file["beginnings"])) + opened + between.join(pairs) + closed

    def _filled(self, frame: str) -> str:
        def filled(found: re.Match[str]) -> str:
            value = self._value(found[1])
            return self._tag(found[2], value) if found[2] else value

        return _FIELD.sub(filled, frame)

    def _value(self, kind: str) -> str:
        if kind == "phrase" and self._rng.random() < _SHARE_OF_SAID:
            return self._rng.choice(self._phrases)
        choices: Sequence[str] = self._file["choices"].get(kind)
        made: str = self._rng.choice(choices) if choices else getattr(self._values, kind)()
        return made.replace(OPEN, "").replace(CLOSE, "")
