"""Says on a topic of its own which templates are found, and which takes the place of which. Knows nothing of caches."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from worker.parsing.templates import Template
from worker.transport.producer import RecordBatchProducer


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """Announces the templates of one scope; by its key a compacted topic keeps the last of each."""

    producer: RecordBatchProducer
    topic: str
    #: The source, or the scope that several sources share.
    source: str
    #: What decides the templates, as events name it.
    parser_version: str
    clock_ns: Callable[[], int] = time.time_ns

    async def __call__(self, templates: Sequence[Template], replaced: Mapping[str, str]) -> None:
        """Announce `templates`, then those `replaced`: ids, with the id of what took each one's place.

        Returns when the broker has acknowledged all; until then no event may name one of them.

        Raises:
            DeliveryFailed: it has not.

        """
        replaces: defaultdict[str, list[str]] = defaultdict(list)
        for template_id, other_id in replaced.items():
            replaces[other_id].append(template_id)
        records = [
            {
                "id": template.id,
                "template": template.text,
                "parameters": [name or None for name in template.names],
                "reason": "settled" if template.id in replaces else "new",
                "replaces": sorted(replaces[template.id]),
                "replaced_by": None,
            }
            for template in templates
        ]
        records += [
            {"id": template_id, "reason": "replaced", "replaces": [], "replaced_by": other_id}
            for template_id, other_id in replaced.items()
        ]
        now_ms = self.clock_ns() // 1_000_000
        common = {
            "source": self.source,
            "parser_version": self.parser_version,
            "time": f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{now_ms % 1000:03}Z",
        }
        sends = [
            await self.producer.send_record(
                self.topic, None, f"{self.source}:{record['id']}".encode(), orjson.dumps(record | common), (), now_ms
            )
            for record in records
        ]
        await asyncio.gather(*sends)
