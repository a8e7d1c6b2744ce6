"""A parser that is loaded when the first message needs it: known lines should not wait for torch."""

from collections.abc import Callable, Sequence

from worker.parsing.parser import Parser
from worker.parsing.templates import Template


class LazyParser:
    """Loads a parser on first use. Its version is known before, so that templates found earlier can be read."""

    def __init__(self, version: str, load: Callable[[], Parser]) -> None:
        self._version = version
        #: Sub-words read since the start.
        self.tokens = 0
        self._load = load
        self._parser: Parser | None = None

    @property
    def version(self) -> str:
        """What decides the templates: another version never reads this one's."""
        return self._version

    def parse(self, messages: Sequence[bytes], *, prompt: str | None = None) -> list[Template | None]:
        """Make the template of each message, loading the parser first. Raises what loading raises."""
        if self._parser is None:
            self._parser = self._load()
        templates = self._parser.parse(messages, prompt=prompt)
        self.tokens = self._parser.tokens
        return templates
