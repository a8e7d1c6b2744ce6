"""How a mistake in the settings is told."""

from dataclasses import dataclass

from worker.settings.fields import Path, dotted, variable


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One mistake."""

    #: What is wrong, or what contradicts each other; empty for a mistake that is in no setting.
    paths: tuple[Path, ...] = ()
    #: What is wrong with it and what is allowed.
    text: str

    def __str__(self) -> str:
        """Tell it in one line, each setting in both spellings."""
        names = " and ".join(f"{dotted(path)} ({variable(path)})" for path in self.paths)
        return f"{names}: {self.text}" if names else self.text
