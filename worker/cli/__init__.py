"""The command line. Each command's module is imported when it is called, so that help is there at once."""

import importlib
from collections.abc import Sequence

import click

from worker import __version__
from worker.errors import LogloomError, WrongSettings
from worker.terminal import printable_lines

#: Command, its module, and what `logloom --help` says of it.
_COMMANDS = (
    ("worker", "worker.cli.worker", "Read raw logs from Kafka, write events: the worker itself."),
    ("parse", "worker.cli.parse", "Parse a file or standard input, without Kafka or Redis."),
    ("produce", "worker.cli.produce", "Send the lines of a file to a topic."),
    ("tail", "worker.cli.tail", "Watch events as they come."),
    ("status", "worker.cli.status", "Show what workers do: rates, lag, hits, misses, new templates."),
    ("templates", "worker.cli.templates", "List, search, name, pin and move learned templates."),
    ("dead-letters", "worker.cli.dead_letters", "List raw logs that became no events, and replay them."),
    ("reload", "worker.cli.reload", "Ask workers to read settings, checkpoint and prompts again."),
    ("check", "worker.cli.check", "Show the settings, and try broker, topics, Redis, model and device."),
)
_MODULES = {name: module for name, module, _ in _COMMANDS}


class _LazyGroup(click.Group):
    """Knows its commands by name; imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click declares it
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  the same
        if cmd_name not in _MODULES:
            return None
        command = importlib.import_module(_MODULES[cmd_name]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{_MODULES[cmd_name]}.command is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  the same
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, _, summary in _COMMANDS])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what Logloom raises on purpose is a message and no traceback."""
        try:
            return super().invoke(ctx)
        except LogloomError as exc:
            failure = click.ClickException(printable_lines(str(exc)))
            failure.exit_code = 2 if isinstance(exc, WrongSettings) else 1
            raise failure from exc


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has its own --help. Settings: LOGLOOM_* variables and logloom.toml; "
    "see them with `logloom check --describe`.",
)
@click.version_option(__version__, prog_name="logloom")
def cli() -> None:
    """Logloom turns raw logs in Kafka topics into structured events in another topic.

    \b
    Without any server:
      logloom parse /var/log/syslog
    \b
    With Kafka:
      logloom check --create-topics
      logloom worker
      logloom produce --topic app.raw app.log
      logloom tail
    """  # noqa: D301  click takes the backspace for "keep these lines"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    cli(args=arguments, prog_name="logloom")
