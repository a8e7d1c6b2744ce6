"""`logloom parse`: lines in, events out, without any server."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from worker.cli.options import config_option, load_settings
from worker.terminal import printable_lines

if TYPE_CHECKING:
    from worker.offline import FileParser
    from worker.parsing.redaction import Redaction

#: What is read at once; also how often something is written.
_CHUNK_BYTES = 4 << 20


@click.command(name="parse")
@click.option("--source", help="Name of the source; its templates are kept between runs. Default: the file's name.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    default=("auto",),
    metavar="FORMAT",
    help="What stands before the message: auto, none, a preset (log4j, syslog, nginx-access ...) or a format such as "
    "'<Date> <Time> <Level> <Component>: <Content>'. May be given more than once: they are tried in order.",
)
@click.option("--envelope", default="auto", show_default=True, help="raw, json, ecs, docker, cri, syslog, otlp ...")
@click.option("--zone", default="UTC", show_default=True, help="Zone of timestamps that name none.")
@click.option("--model", default="base", show_default=True, help="Checkpoint folder or Hugging Face name; or none.")
@click.option("--prompt", metavar="NAME", help="Prompt of the checkpoint, as a source's setting `prompt`.")
@click.option(
    "--types",
    default="default",
    show_default=True,
    help="Message types to tell apart, as a source's setting `types`: default, none, or names with commas.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--fields", "asked", metavar="WORDS", help="Fields to find in every line, in words: 'date, error type, client ip'."
)
@click.option("--forget", is_flag=True, help="Do not use templates of earlier runs.")
@click.option(
    "--json/--text", "as_json", default=None, help="JSON lines, or lines for people. Default: as the output is."
)
@config_option
@click.argument("file", type=click.File("rb"), default="-")
def command(
    source: str | None,
    headers: tuple[str, ...],
    envelope: str,
    zone: str,
    model: str,
    prompt: str | None,
    types: str,
    device: str,
    asked: str | None,
    forget: bool,
    as_json: bool | None,
    config: Path | None,
    file: BinaryIO,
) -> None:
    """Parse the lines of FILE (default: standard input): one event per line, in the same order.

    On a terminal events are shown for people, with parameters in colour; into a pipe or a file they are JSON lines.
    Templates are kept between runs, so that known lines need no model.

    Of the settings, those under `redact` hold here, and `redact` of the source that --source names.

    \b
    logloom parse /var/log/syslog
    journalctl -o short-iso | logloom parse --source journal
    logloom parse --fields 'time, client ip, duration' app.log
    logloom parse --header '<Date> <Time> <Level> <Content>' app.log | jq .attributes
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.logs import configure  # noqa: PLC0415  --help must not wait for it
    from worker.offline import FileParser  # noqa: PLC0415  --help must not wait for numba

    configure(format="text")  # on standard error: standard output is for events
    if as_json is None:
        as_json = not sys.stdout.isatty()
    name = source or _name_of(file)
    parser = FileParser.open(
        source=name,
        headers=headers,
        envelope=envelope,
        zone=zone,
        model=None if model == "none" else model,
        device=device,
        prompt=prompt,
        types=_message_types(types),
        forget=forget,
        fields=() if asked is None else asked.split(","),
        redaction=_redaction(config, name),
    )
    try:
        asyncio.run(_parse(parser, file, _as_json if as_json else _as_text()))
    except BrokenPipeError:  # `logloom parse FILE | head` is no mistake
        sys.stderr.close()


def _redaction(config: Path | None, source: str) -> "Redaction":
    """Read what settings say of the source. Raises WrongSettings."""
    from worker.parsing.redaction import Redaction  # noqa: PLC0415  --help must not wait for it
    from worker.settings import Source  # noqa: PLC0415  the same

    settings = load_settings(config)
    ways = settings.redacted(settings.sources.get(source, Source.model_construct(name=source)))
    return Redaction(ways=ways, key=settings.redaction_key)


def _message_types(written: str) -> Mapping[str, tuple[str, ...]] | None:
    """Read what the setting `types` takes. Raises click.BadParameter."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  --help must not wait for it

    from worker.settings.kinds import AskedTypes  # noqa: PLC0415  the same

    adapter: TypeAdapter[Mapping[str, tuple[str, ...]] | None] = TypeAdapter(AskedTypes)
    try:
        return adapter.validate_python(written)
    except ValidationError as exc:
        raise click.BadParameter("; ".join(error["msg"] for error in exc.errors()), param_hint="--types") from exc


def _name_of(file: BinaryIO) -> str:
    name = getattr(file, "name", "-")
    return "stdin" if not isinstance(name, str) or name in {"-", "<stdin>"} else Path(name).stem


async def _parse(parser: "FileParser", file: BinaryIO, write: Callable[[memoryview], None]) -> None:
    from worker.columns.lines import read_lines  # noqa: PLC0415  --help must not wait for numba

    try:
        for records in read_lines(file, chunk_bytes=_CHUNK_BYTES):
            write(await parser.parse(records))
    finally:
        await parser.close()


def _as_json(lines: memoryview) -> None:
    # A terminal must not get what JSON leaves unescaped, such as U+009B.
    shown = printable_lines(bytes(lines).decode()).encode() if sys.stdout.isatty() else lines
    sys.stdout.buffer.write(shown)
    sys.stdout.buffer.flush()


def _as_text() -> Callable[[memoryview], None]:
    import shutil  # noqa: PLC0415  needed for people alone

    import orjson  # noqa: PLC0415  the same

    from worker.cli.view import render  # noqa: PLC0415  the same

    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None

    def write(lines: memoryview) -> None:
        for line in bytes(lines).splitlines():
            click.echo(render(orjson.loads(line), colour=is_terminal, width=width), color=is_terminal)

    return write
