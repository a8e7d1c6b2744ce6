"""`python -m tests.bench`: measure everything and print a table. A timing is never a test: missed targets are no error.

Exit code 1 only where something could not be measured.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import click

from tests.bench import files, hostile, kernels, latency, memory, misses, pipelines, start_up, tiers, tracing
from tests.bench.figures import Figure, table
from tests.bench.machine import this_machine
from tests.kafka_broker import KafkaBroker, start_broker

Part = Callable[[], Iterator[Figure]]


class _Broker:
    """One broker for all parts, started by the first that needs it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._broker: KafkaBroker | None = None

    def __call__(self) -> KafkaBroker:
        if self._broker is None:
            self._broker = start_broker()
            self._stack.callback(self._broker.stop)
        return self._broker


def parts(arguments: argparse.Namespace, broker: _Broker) -> Mapping[str, Part]:
    """Return the parts by name, in their order: quick ones first, the broker's last."""
    model, quick = arguments.model, arguments.quick
    records = arguments.records or (100_000 if quick else 1_000_000)
    repeats = arguments.repeats or (1 if quick else 3)
    return {
        "compile": start_up.first_compilation,
        "start": lambda: start_up.commands(repeats=2 * repeats + 1, model=model),
        "kernels": lambda: kernels.in_memory(
            lines_each=4_000 if quick else 40_000, repeats=2 * repeats + 1, model=model
        ),
        "redacting": lambda: kernels.redacting(
            lines_each=4_000 if quick else 40_000, repeats=2 * repeats + 1, model=model
        ),
        "misses": lambda: misses.misses(lines_each=200 if quick else 1_000, repeats=repeats, model=model),
        "hostile": lambda: hostile.curves(
            repeats=2 * repeats + 1, model=model, png=arguments.png or Path("runs/bench/hostile.png")
        ),
        "hostile-redact": lambda: hostile.redact_curves(repeats=2 * repeats + 1),
        "flood": lambda: hostile.flood(lines=records),
        "parse": lambda: files.big_file(records=4 * records, repeats=repeats, model=model),
        "worker-start": lambda: start_up.first_event(broker(), repeats=repeats, model=model),
        "latency": lambda: latency.hit_latency(
            broker(), paces=(20_000, 200), seconds=5.0 if quick else 20.0, repeats=repeats, model=model
        ),
        "reload-latency": lambda: latency.reloading(
            broker(), pace=20_000, seconds=5.0 if quick else 20.0, repeats=repeats, model=model
        ),
        "memory": lambda: memory.memory(broker(), records=records, model=model),
        "tiers": lambda: tiers.tiers(
            broker(), records=records, lines=400 if quick else 4_000, repeats=repeats, model=model
        ),
        "settling": lambda: pipelines.settling(broker(), records=records, repeats=repeats, model=model),
        "delivery": lambda: pipelines.delivery(broker(), records=records, repeats=repeats, model=model),
        "tracing": lambda: tracing.tracing(broker, records=records, repeats=repeats, model=model),
        "throughput": lambda: pipelines.throughput(broker(), records=records, repeats=repeats, model=model),
    }


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    names = list(parts(argparse.Namespace(model="", quick=True, records=0, repeats=0, png=None), _Broker(ExitStack())))
    parser.add_argument("--only", action="append", choices=names, help="this part; may be given more than once")
    parser.add_argument("--records", type=int, help="records of the parts with many (1,000,000)")
    parser.add_argument("--repeats", type=int, help="how often each part is measured (3)")
    parser.add_argument("--quick", action="store_true", help="few records, once: to see whether it works")
    parser.add_argument("--model", default="base", help="checkpoint of the worker")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and figures there")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the curves of hostile lines there")
    arguments = parser.parse_args()
    machine = asdict(this_machine())
    measured: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        for name, part in parts(arguments, _Broker(stack)).items():
            if arguments.only and name not in arguments.only:
                continue
            begun = time.monotonic()
            click.echo(f"==> {name}", err=True)
            measured[name] = []
            try:
                for figure in part():
                    measured[name].append(figure)
                    click.echo(f"    {figure.name}: {figure.median:,.4g} {figure.unit}", err=True)
            except Exception as exc:  # noqa: BLE001  the process edge: the other parts are measured all the same
                failed[name] = f"{type(exc).__name__}: {exc}"
                click.echo(f"    FAILED: {failed[name]}", err=True)
            click.echo(f"    ({time.monotonic() - begun:.0f} s)", err=True)
    click.echo(f"{machine['cpu']}, {machine['cores']} cores, commit {machine['commit']}, {machine['date']}")
    click.echo(table(chain.from_iterable(measured.values())))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps(_report(arguments, machine, measured, failed), indent=1, default=_plain) + "\n"
        )
    return 1 if failed else 0


def _report(
    arguments: argparse.Namespace,
    machine: Mapping[str, Any],
    measured: Mapping[str, list[Figure]],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    chosen = {
        name: value for name, value in vars(arguments).items() if value is not None and name not in {"json", "png"}
    }
    figures = {name: [figure.as_json() for figure in of_part] for name, of_part in measured.items()}
    return {"machine": machine, "arguments": chosen, "parts": figures, "failed": failed}


def _plain(value: Any) -> Any:
    """Give NumPy's numbers and truths as Python's."""
    return value.item()


if __name__ == "__main__":
    sys.exit(main())
