"""A worker whose processor sends every value on as it is: a process of its own, to be killed.

python -m tests.integration.echo_worker '{"input": ..., "output": ..., "settings": {...}}'
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from worker.app import AppSettings, BatchProcessor, WorkerApp, run
from worker.columns.layout import Events
from worker.columns.records import write_record_batches
from worker.tasks import Fail, reporting
from worker.transport.acknowledgements import Acknowledge
from worker.transport.batches import FetchedBatch, TopicPartition, read_records
from worker.transport.outlet import Outlet
from worker.transport.positions import Position
from worker.transport.producer import RecordBatchProducer
from worker.transport.subscriptions import Subscription


class Echo:
    """Sends keys, values, headers and timestamps on, to the same partition of another topic."""

    def __init__(self, outlet: Outlet, output: str, fail: Fail) -> None:
        self._outlet = outlet
        self._output = output
        self._report = reporting(fail)
        self._in_flight: set[asyncio.Task[None]] = set()

    async def process(self, batch: FetchedBatch, acknowledge: Acknowledge) -> None:
        """Decode, encode and send `batch`; acknowledge it when the broker has all of it."""
        records = read_records(batch)
        events = Events(records.buffer, records.value_start, records.value_length)
        rows = np.arange(records.offset.size)
        encoded = write_record_batches(events, records, rows, compression="none", max_bytes=900_000)
        writing = await self._outlet.enter()
        deliveries = [await writing.sender.send(self._output, batch.partition, one) for one in encoded]

        async def settle() -> None:
            await asyncio.gather(*deliveries)
            writing.leave(batch.topic_partition, Position.at(batch.next_offset))
            await writing.committed()
            acknowledge(batch.next_offset)

        settling = asyncio.create_task(settle())
        self._in_flight.add(settling)
        settling.add_done_callback(self._in_flight.discard)
        settling.add_done_callback(self._report)

    async def drain(self, partitions: frozenset[TopicPartition]) -> None:
        """Wait until nothing is in flight, of whichever partition."""
        self._outlet.hasten()
        while self._in_flight:
            await asyncio.wait(set(self._in_flight))


def echo_app(settings: AppSettings, output: str) -> WorkerApp:
    """Return a worker that echoes all its sources to `output`."""

    @asynccontextmanager
    async def pipelines(
        producer: RecordBatchProducer,
        outlet: Outlet,
        fail: Fail,
    ) -> AsyncIterator[Mapping[str, BatchProcessor]]:
        echo = Echo(outlet, output, fail)
        yield {subscription.source: echo for subscription in settings.subscriptions}

    return WorkerApp(settings, pipelines)


def main(arguments: dict[str, Any]) -> int:
    """Run the worker that `arguments` describe."""
    subscription = Subscription(source="echo", topics=(arguments["input"],))
    settings = AppSettings(subscriptions=[subscription], **arguments["settings"])
    return run(echo_app(settings, arguments["output"]))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
