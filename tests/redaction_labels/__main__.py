"""`python -m tests.redaction_labels dev`: recall and precision by kind; `--mistakes` shows each mistake."""

import argparse

import click

from tests.redaction_labels import Counts, count, mistakes, read


def main() -> None:
    """Print the table of one part."""
    parser = argparse.ArgumentParser(prog="python -m tests.redaction_labels", description=__doc__)
    parser.add_argument("part", choices=["dev", "test"])
    parser.add_argument("--mistakes", action="store_true", help="show them, too")
    given = parser.parse_args()
    lines = read(given.part)
    counts = count(lines)
    whole = Counts(**{name: sum(getattr(one, name) for one in counts.values()) for name in Counts.__dataclass_fields__})
    click.echo("| kind | values | recall | as its kind | found | precision |\n|---|---:|---:|---:|---:|---:|")
    for kind, one in [*counts.items(), ("all", whole)]:
        click.echo(
            f"| {kind} | {one.marked} | {one.recall:.3f} | {one.as_marked / one.marked:.3f} | {one.found} "
            f"| {one.precision:.3f} |"
        )
    click.echo(f"{len(lines)} lines")
    if given.mistakes:
        click.echo("\n".join(mistakes(lines)))


if __name__ == "__main__":
    main()
