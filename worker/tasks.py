"""Tasks that nobody awaits: what they raise is reported, so that no error is lost."""

import asyncio
from collections.abc import Callable

#: Reports an error from something in flight: the process stops.
Fail = Callable[[BaseException], None]


def reporting(fail: Fail) -> Callable[[asyncio.Task[None]], None]:
    """Make what is to be called at a task's end: it tells `fail` of the task's error, if there is one."""

    def report(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            fail(error)

    return report
