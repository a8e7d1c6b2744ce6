"""What a transaction needs of a consumer group and aiokafka's own requests do not have (KIP-447).

`TxnOffsetCommit` version 3 names the member and its generation, so that the coordinator refuses the offsets of a worker
whose partitions another one has by now. `OffsetFetch` version 7 waits for offsets whose transaction is not decided, so
that the next owner does not begin below them. Both are known since Kafka 2.5.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import OffsetAndMetadata, TopicPartition

_TEXT = CompactString("utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who a consumer is in its group."""

    group: str
    #: Counts up with each rebalance.
    generation: int
    member_id: str
    #: Set with static membership.
    instance_id: str | None

    @property
    def is_known(self) -> bool:
        """Whether the group knows the consumer; brokers take offsets of nobody without a question."""
        return self.generation >= 0 and bool(self.member_id)


class CommitResponse(Response):
    """Says per partition whether its offset is part of the transaction."""

    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )

    @property
    def errors(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """The answer in the shape of version 0, which aiokafka's handler reads."""
        return [(topic, [(place, code) for place, code, _ in places]) for topic, places, _ in self.topics]


class CommitStruct(RequestStruct):
    """Puts offsets of a group's member into a transaction."""

    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION: ClassVar[bool] = True
    RESPONSE_TYPE = CommitResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class CommitRequest(Request[CommitStruct]):
    """Puts `offsets` into the transaction of a producer, if `member` still holds the partitions."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        member: Membership,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        """Take the id and the epoch of the `producer`."""
        topics = defaultdict[str, list[tuple[Any, ...]]](list)
        for (topic, partition), (offset, metadata) in sorted(offsets.items()):
            topics[topic].append((partition, offset, -1, metadata, {}))
        self._values: tuple[Any, ...] = (
            transactional_id, member.group, *producer, member.generation, member.member_id, member.instance_id,
            [(topic, partitions, {}) for topic, partitions in topics.items()], {},
        )  # fmt: skip

    def build(self, request_struct_class: type[CommitStruct]) -> CommitStruct:
        """Return what is sent."""
        return request_struct_class(*self._values)


class FetchResponse(Response):
    """The committed offsets of a group."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )

    @property
    def offsets(self) -> list[tuple[TopicPartition, OffsetAndMetadata, int]]:
        """Offset, metadata and error of each partition; offset -1 for none."""
        return [
            (TopicPartition(topic, partition), OffsetAndMetadata(offset, metadata or ""), code)
            for topic, partitions, _ in self.topics
            for partition, offset, _, metadata, code, _ in partitions
        ]


class FetchStruct(RequestStruct):
    """Asks for committed offsets."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION: ClassVar[bool] = True
    RESPONSE_TYPE = FetchResponse
    SCHEMA = Schema(
        ("group_id", _TEXT),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields))),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class FetchRequest(Request[FetchStruct]):
    """Asks for the offsets of partitions; those whose transaction is open are refused for now."""

    API_KEY = 9

    def __init__(self, group: str, partitions: set[TopicPartition]) -> None:
        topics = defaultdict[str, list[int]](list)
        for topic, partition in sorted(partitions):
            topics[topic].append(partition)
        self._values: tuple[Any, ...] = (group, [(topic, places, {}) for topic, places in topics.items()], True, {})

    def build(self, request_struct_class: type[FetchStruct]) -> FetchStruct:
        """Return what is sent."""
        return request_struct_class(*self._values)
