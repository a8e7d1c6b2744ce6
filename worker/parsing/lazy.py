"""A parser that is loaded when the first message needs it: known lines should not wait for torch."""

from collections.abc import Callable, Sequence

from worker.parsing.parser import EncoderParser, Prompts
from worker.parsing.templates import Template


class LazyParser:
    """Loads a parser on first use. Its version is known before, so that templates found earlier can be read."""

    def __init__(self, version_of: Callable[[str | None], str], load: Callable[[], EncoderParser]) -> None:
        """Give versions as `version_of` says, by prompt, without the parser that `load` gives."""
        self.version_of = version_of
        #: Sub-words read since the start.
        self.tokens = 0
        self._load = load
        self._parser: EncoderParser | None = None

    @property
    def version(self) -> str:
        """What decides the templates: another version never reads this one's."""
        return self.version_of(None)

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Make the template of each message, loading the parser first. Raises what loading raises."""
        parser = self.loaded()
        templates = parser.parse(messages, prompt=prompt)
        self.tokens = parser.tokens
        return templates

    def cuts_of(self, prompt: str | None) -> str:
        """Tell how messages are cut under a prompt, loading the parser first. Raises what loading raises."""
        return self.loaded().cuts_of(prompt)

    def named(self, messages: Sequence[bytes], templates: Sequence[Template | None]) -> list[Template | None]:
        """Name parameters that have no name, loading the parser first. Raises what loading raises."""
        return self.loaded().named(messages, templates)

    def loaded(self) -> EncoderParser:
        """Give the parser, loading it first. Raises what loading raises."""
        if self._parser is None:
            self._parser = self._load()
        return self._parser
