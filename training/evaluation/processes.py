"""Calls side by side, each in a process of its own: what one takes or breaks touches no other."""

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that returned nothing."""

    #: The error in one line.
    reason: str
    #: Where it was raised; empty where the process died.
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Generic[R]):
    """A call that ended."""

    #: What it was called in `calls`.
    name: str
    outcome: R | Failure


def side_by_side(function: Callable[..., R], calls: Mapping[str, tuple[Any, ...]], *, jobs: int) -> Iterator[Ended[R]]:
    """Call `function` with each of the arguments, `jobs` calls at a time, and yield them as they end.

    Each call has a fresh process, so that its memory is its own; a process that is killed is one failure.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(calls.items())[::-1]
    running: dict[Connection, tuple[str, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, arguments = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(target=_call, args=(theirs, function, arguments), name=name)
                process.start()
                theirs.close()  # else its end would not be seen
                running[ours] = (name, process)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)  # noqa: S101 - nothing else was given
                name, process = running.pop(ready)
                yield Ended(name=name, outcome=_outcome(ready, process))
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _call(connection: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    try:
        connection.send(function(*arguments))
    except Exception as error:  # noqa: BLE001 - the edge of the process: the parent reports it
        connection.send(Failure(reason=f"{type(error).__name__}: {error}", trace=traceback.format_exc()))


def _outcome(connection: Connection, process: BaseProcess) -> Any:
    try:
        return connection.recv()
    except EOFError:
        process.join()
        return Failure(reason=f"the process ended with exit code {process.exitcode} before it was done")
    finally:
        connection.close()
        process.join()
