"""`logloom check`: the settings in force, and whether a worker could run with them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.options import broker_option, config_option, overrides
from worker.terminal import printable, printable_lines

if TYPE_CHECKING:
    from worker.cli.checks import Finding
    from worker.settings import Shown

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("check")
@click.option(
    "--all", "show_all", is_flag=True, help="Show every setting, not only those that differ from the default."
)
@click.option("--settings-only", is_flag=True, help="Try no server: check the settings alone.")
@click.option("--no-model", is_flag=True, help="Do not load the model.")
@click.option("--create-topics", is_flag=True, help="Create the topics of events and dead letters if they are missing.")
@click.option("--json", "as_json", is_flag=True, help="Settings and findings as one JSON object.")
@click.option("--describe", "describe_all", is_flag=True, help="Print the table of all settings, in Markdown, and end.")
@broker_option
@config_option
def command(
    *,
    show_all: bool,
    settings_only: bool,
    no_model: bool,
    create_topics: bool,
    as_json: bool,
    describe_all: bool,
    broker: str | None,
    config: Path | None,
) -> None:
    """Show the settings in force, then try broker, topics, Redis, device and model.

    Secrets are masked. Each check says ok, warn or fail, and what to do. Exit code 1 if one fails, 2 if the settings
    themselves are wrong.

    \b
    Examples:
      logloom check
      logloom check --config prod.toml --create-topics
      logloom check --json | jq '.findings[] | select(.verdict != "ok")'
    """  # noqa: D301  click takes the backspace for "keep these lines"
    from worker.settings import describe, read, shown  # noqa: PLC0415  pydantic is not needed for --help

    if describe_all:
        click.echo(describe())
        return
    read_settings = read(config, overrides=overrides(broker))
    settings = list(shown(read_settings.settings, read_settings.origins))
    if not as_json:
        _print_settings(settings, show_all=show_all)
    findings: list[Finding] = []
    if not settings_only:
        from worker.cli import checks  # noqa: PLC0415  Kafka's client is not needed for the settings alone

        for finding in checks.run(read_settings.settings, create_topics=create_topics, load_model=not no_model):
            findings.append(finding)
            if not as_json:
                _print_finding(finding)
    if as_json:
        click.echo(printable_lines(_as_json(settings, findings)))
    if any(finding.verdict == "fail" for finding in findings):
        raise SystemExit(1)


def _print_settings(settings: Sequence["Shown"], *, show_all: bool) -> None:
    picked = [one for one in settings if show_all or one.origin != "default"]
    name_width = max((len(one.name) for one in picked), default=0)
    value_width = min(60, max((len(one.value) for one in picked), default=0))
    for one in picked:
        click.echo(f"{one.name:<{name_width}}  {printable(one.value):<{value_width}}  {_dim(one.origin)}")
    if not show_all:
        click.echo(f"{len(settings) - len(picked)} settings at their default (--all shows them)")
    click.echo()


def _print_finding(finding: "Finding") -> None:
    verdict = click.style(f"{finding.verdict:<4}", fg=_COLOURS[finding.verdict], bold=finding.verdict != "ok")
    click.echo(f"{verdict}  {printable_lines(f'{finding.subject}: {finding.text}')}")
    if finding.advice:
        click.echo(f"      -> {printable_lines(finding.advice)}")


def _dim(text: str) -> str:
    return click.style(printable(text), dim=True)


def _as_json(settings: Sequence["Shown"], findings: Sequence["Finding"]) -> str:
    effective = {one.name: {"value": one.value, "from": one.origin} for one in settings}
    passed = all(finding.verdict != "fail" for finding in findings)
    return json.dumps({"ok": passed, "settings": effective, "findings": [asdict(one) for one in findings]}, indent=2)
