"""`logloom produce`: the lines of a file become records of a topic."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from worker.cli.options import broker_option, config_option, load_settings

#: Sends between two looks at the clock and at what the broker says.
_STRIDE = 100


@click.command("produce")
@click.argument("files", nargs=-1, type=click.File("rb"))
@click.option("--topic", required=True, help="Topic to send to.")
@click.option("--key", help="Key of every record; without one the partitions take turns.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Records a second; else as fast as it goes.")
@click.option(
    "--repeat", type=click.IntRange(min=1), default=1, help="Send the files so many times.", show_default=True
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@broker_option
@config_option
def command(
    *,
    files: tuple[BinaryIO, ...],
    topic: str,
    key: str | None,
    rate: float | None,
    repeat: int,
    quiet: bool,
    broker: str | None,
    config: Path | None,
) -> None:
    """Send each line of FILES (or of standard input) as a record to a topic.

    A line is sent as it stands, without its line end. The command ends when the broker has acknowledged all of them;
    it fails if one was not.

    \b
    Examples:
      logloom produce --topic app.raw app.log
      journalctl -f | logloom produce --topic host.raw --key "$(hostname)"
      logloom produce --topic load.raw --rate 5000 --repeat 100 app.log
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.transport.admin import Admin, Deliveries, producer  # noqa: PLC0415  kafka-python is not needed for --help

    if repeat > 1 and not files:
        raise click.UsageError("standard input can't be repeated: name a file")
    settings = load_settings(config, broker).kafka
    deliveries = Deliveries()
    progress = _Progress(shown=not quiet)
    with Admin(settings) as admin:
        if topic not in admin.partitions():
            raise click.ClickException(f"the broker has no topic {topic!r}; create it first")
    with producer(settings, linger_ms=20, batch_size=1 << 18, max_block_ms=30_000) as opened:
        encoded_key = None if key is None else key.encode()
        for line in _paced(_lines(files, repeat), rate):
            # An empty line is a record too; no value at all would be a tombstone.
            deliveries.sent(opened.send(topic, line, key=encoded_key))
            progress.count += 1
            if progress.count % _STRIDE == 0:
                deliveries.check()
                progress.show()
        opened.flush()
        deliveries.check()
    progress.end(topic)


def _lines(files: tuple[BinaryIO, ...], repeat: int) -> Iterator[bytes]:
    for _ in range(repeat):
        for file in files or (click.get_binary_stream("stdin"),):
            if repeat > 1:
                file.seek(0)
            for line in file:
                yield line.removesuffix(b"\n").removesuffix(b"\r")


def _paced(lines: Iterable[bytes], rate: float | None) -> Iterator[bytes]:
    """Hold lines back so that no more than `rate` a second come."""
    began = time.monotonic()
    for count, line in enumerate(lines):
        if rate is not None and (ahead := began + count / rate - time.monotonic()) > 0:
            time.sleep(ahead)
        yield line


class _Progress:
    """Says on a terminal how many were sent."""

    def __init__(self, *, shown: bool) -> None:
        self.count = 0
        self._shown = shown
        self._stream = click.get_text_stream("stderr")
        self._began = self._told = time.monotonic()

    def show(self) -> None:
        now = time.monotonic()
        if self._shown and self._stream.isatty() and now - self._told > 0.2:
            self._told = now
            click.echo(f"\r{self.count:,} records, {self._rate(now):,.0f}/s ", err=True, nl=False)

    def end(self, topic: str) -> None:
        if self._shown:
            start = "\r" if self._stream.isatty() else ""
            rate = self._rate(time.monotonic())
            click.echo(f"{start}{self.count:,} records to {topic}, {rate:,.0f}/s", err=True)

    def _rate(self, now: float) -> float:
        return self.count / max(now - self._began, 1e-9)
