"""Working stand-ins for what tests must not wait for: a parser that needs no model, a producer that needs no broker."""

import asyncio
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np

from worker.columns.layout import NONE
from worker.columns.records import EncodedBatch, decode_headers, read_record_batch
from worker.errors import DeliveryFailed
from worker.parsing.parser import Prompts
from worker.parsing.templates import Template
from worker.transport.producer import Delivery, RecordBatchProducer

_WORD_WITH_DIGIT = re.compile(rb"[^ \t]*[0-9][^ \t]*")


class RuleParser:
    """Takes every word that holds a digit for a parameter. Held to the contract of `Parser` by `test_fakes`."""

    def __init__(self, *, version: str = "rules-1", unparsable: bytes | None = None) -> None:
        """Find no template for messages that hold `unparsable`."""
        self.tokens = 0
        #: Every message that was asked for, in order.
        self.asked: list[bytes] = []
        #: Cleared, it holds answers back.
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._version = version
        self._unparsable = unparsable

    @property
    def version(self) -> str:
        """What decides the templates."""
        return self._version

    def parse(self, messages: Sequence[bytes], *, prompt: Prompts = None) -> list[Template | None]:
        """Cut the template of each message; None where it would not match the message."""
        del prompt
        self.asked += messages
        self.may_answer.wait()
        return [self._template(message) for message in messages]

    def _template(self, message: bytes) -> Template | None:
        self.tokens += 1 + message.count(b" ")
        if self._unparsable is not None and self._unparsable in message:
            return None
        template = Template.cut(message, [word.span() for word in _WORD_WITH_DIGIT.finditer(message)])
        return None if template.match(message) is None or len(template.names) > 100 else template


class Produced(NamedTuple):
    """A record as a consumer would read it."""

    topic: str
    #: None where the key decides.
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: int | None


@dataclass(kw_only=True)
class FakeProducer:
    """Keeps what it is given, in order; the broker's answers come while `may_deliver` is set."""

    produced: list[Produced] = field(default_factory=list)
    may_deliver: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    #: Of each topic.
    partitions: int = 3

    def __post_init__(self) -> None:
        self.may_deliver.set()

    @property
    def as_producer(self) -> RecordBatchProducer:
        """Itself, in the eyes of the type checker."""
        return cast("RecordBatchProducer", self)

    def of(self, topic: str) -> list[Produced]:
        """Return the records of one topic."""
        return [record for record in self.produced if record.topic == topic]

    async def partitions_of(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        del topic
        return self.partitions

    async def send(self, topic: str, partition: int, batch: EncodedBatch) -> "asyncio.Task[Delivery]":
        """Take a record batch."""
        records = read_record_batch(bytes(batch.data))
        assert batch.record_count == records.offset.size

        def span(start: np.int64, length: np.int64) -> bytes | None:
            return None if length == NONE else records.buffer[start : start + length].tobytes()

        for row in range(records.offset.size):
            self.produced.append(
                Produced(
                    topic=topic,
                    partition=partition,
                    key=span(records.key_start[row], records.key_length[row]),
                    value=span(records.value_start[row], records.value_length[row]),
                    headers=decode_headers(records, row),
                    timestamp=int(records.timestamp[row]),
                )
            )
        return asyncio.create_task(self._deliver(topic, partition))

    async def send_record(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        timestamp_ms: int | None = None,
    ) -> "asyncio.Task[Delivery]":
        """Take one record."""
        self.produced.append(Produced(topic, partition, key, value, list(headers), timestamp_ms))
        return asyncio.create_task(self._deliver(topic, partition or 0))

    async def _deliver(self, topic: str, partition: int) -> Delivery:
        await self.may_deliver.wait()
        if self.fails:
            raise DeliveryFailed(f"{topic}-{partition}: refused")
        return Delivery(topic=topic, partition=partition, offset=0)
