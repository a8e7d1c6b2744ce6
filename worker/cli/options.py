"""Options that several commands share. Imports settings only when a command runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from worker.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add `--config`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="TOML file with settings; else LOGLOOM_CONFIG, else ./logloom.toml.",
    )(command)


def broker_option(command: F) -> F:
    """Add `--broker`."""
    return click.option(
        "--broker", metavar="HOST:PORT", help="Kafka broker, instead of the setting kafka.bootstrap_servers."
    )(command)


def scope_option(command: F) -> F:
    """Add `--scope`, which may be given several times, for templates."""
    return click.option(
        "--scope", "scopes", multiple=True, help="Only this scope: a source's name, unless it has a template_scope."
    )(command)


def parser_option(command: F) -> F:
    """Add `--parser`, for templates."""
    return click.option("--parser", metavar="VERSION", help="Only templates of this parser version.")(command)


def load_settings(config: Path | None, broker: str | None = None, *, needs_sources: bool = False) -> "Settings":
    """Read the settings that a command needs. Raises WrongSettings."""
    from worker.settings import load  # noqa: PLC0415  pydantic takes a third of the time that --help may take

    return load(config, overrides=overrides(broker), needs_sources=needs_sources)


def overrides(broker: str | None) -> dict[str, object]:
    """Give what the command line sets."""
    return {} if broker is None else {"kafka.bootstrap_servers": broker}
