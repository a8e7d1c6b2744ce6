"""Print the table of all settings: `python -m worker.settings > docs/settings.md`."""

import click

from worker.settings.describing import describe

if __name__ == "__main__":
    click.echo(describe())
