"""Memory of a worker that knows many templates: after its first records, and after as many again."""

import asyncio
from collections.abc import Iterator

from tests.bench.figures import Figure
from tests.bench.loglines import many_templates, templates_of
from tests.bench.processes import Worker, running_worker
from tests.bench.topics import PARTITIONS, fill, output_topics
from tests.kafka_broker import KafkaBroker
from tests.redis_server import start_redis
from worker.cache.store import TemplateStore
from worker.parsing.checkpoint import checkpoint_version

_TEMPLATES = 10_000
#: The only source, as its settings name it.
_SCOPE = "default"


def memory(broker: KafkaBroker, *, records: int, model: str) -> Iterator[Figure]:
    """Send `records` records of many templates, twice. The templates come from Redis: no model decides how many."""
    source = broker.new_topic("many", PARTITIONS)
    redis = start_redis()
    try:
        asyncio.run(_publish(redis.url, model))
        with (
            output_topics(broker, "events") as target,
            running_worker(broker, source, target, model, LOGLOOM_REDIS__URL=redis.url) as worker,
        ):
            resident = []
            for turn in (1, 2):
                fill(broker, source, many_templates(records, _TEMPLATES, seed=turn))
                _wait_for_events(worker, turn * records)
                resident.append(worker.process.memory_mib())
            templates = worker.metric("logloom_templates")
            peak = worker.process.peak_memory_mib()
    finally:
        redis.close()
    note = f"{templates:,.0f} templates in the worker, its model loaded"
    yield Figure(name=f"worker memory after {records:,} lines", unit="MiB", values=(resident[0],), note=note)
    yield Figure(name=f"worker memory after {2 * records:,} lines", unit="MiB", values=(resident[1],))
    yield Figure(
        name="growth over the second half", unit="%", values=((resident[1] / resident[0] - 1) * 100,), at_most=5.0
    )
    yield Figure(name="most memory at any time", unit="MiB", values=(peak,))


def _wait_for_events(worker: Worker, events: int) -> None:
    worker.process.wait_until(
        lambda: worker.metric("logloom_events_total") >= events, f"{events} events", every_seconds=0.5
    )


async def _publish(url: str, model: str) -> None:
    store = TemplateStore.connect(
        url, prefix="logloom", parser_version=checkpoint_version(model), connect_timeout_seconds=5, timeout_seconds=20,
        max_connections=2, max_pending=_TEMPLATES,
    )  # fmt: skip
    try:
        learned = [(template, number) for number, template in enumerate(templates_of(_TEMPLATES))]
        # The first call only brings what was published before: nothing.
        while not (await store.publish(_SCOPE, learned)).is_written:
            pass
    finally:
        await store.close()
