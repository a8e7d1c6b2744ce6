"""What is asked of the broker beside the hot path, through kafka-python: topics, offsets, lag, dead letters, the CLI.

Every error of kafka-python becomes Unreachable or DeliveryFailed here, with the broker's address and what to do.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import kafka.codec
import kafka.record.default_records
import kafka.record.legacy_records
from aiokafka import codec as aiokafka_codec
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    AuthorizationError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NotCoordinatorError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
)

from worker.errors import DeliveryFailed, Unreachable
from worker.settings import Kafka
from worker.transport.dialling import CONNECT_TIMEOUT_MS, NOT_THERE, dial
from worker.transport.security import blocking_security

if TYPE_CHECKING:
    from types import ModuleType

    from kafka.structs import OffsetAndTimestamp

#: Longest wait for the group coordinator.
_COORDINATOR_SECONDS = 15.0
_COORDINATOR_IS_AWAY = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)

Offsets = Mapping[TopicPartition, int]


def connection_options(settings: Kafka) -> dict[str, Any]:
    """Give the keyword arguments that connect any client of kafka-python."""
    return {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": settings.client_id,
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_MS,
        "request_timeout_ms": settings.request_timeout_ms,
        **blocking_security(settings),
    }


@contextmanager
def translated(settings: Kafka) -> Iterator[None]:
    """Turn errors of kafka-python into Unreachable."""
    try:
        yield
    except KafkaError as exc:
        raise Unreachable(_reason(settings, exc)) from exc


def _reason(settings: Kafka, exc: KafkaError) -> str:
    brokers = ", ".join(settings.bootstrap_servers)
    if isinstance(exc, SaslAuthenticationFailedError):
        return f"{brokers} refuses the user {settings.sasl_username!r}; look at kafka.sasl_*"
    if isinstance(exc, AuthorizationError):
        return f"{brokers} does not allow this: {exc}; the user needs an ACL for it"
    if isinstance(exc, KafkaConnectionError | KafkaTimeoutError) or "bootstrap" in str(exc).lower():
        return f"no broker answers ({brokers}): {NOT_THERE}"
    return f"{brokers}: {type(exc).__name__}: {exc}"


def teach_compression() -> None:
    """Let kafka-python read and write snappy, lz4 and zstd by the codecs that aiokafka brings.

    kafka-python looks for packages of its own for them, and without these can't read a compressed topic at all.
    """
    for name in ("snappy", "lz4", "zstd"):
        if getattr(kafka.codec, f"has_{name}")():
            continue
        available = getattr(aiokafka_codec, f"has_{name}")
        setattr(kafka.codec, f"has_{name}", available)
        KafkaProducer._COMPRESSORS[name] = (available, KafkaProducer._COMPRESSORS[name][1])  # noqa: SLF001  looked up there
        records: tuple[ModuleType, ...] = (kafka.codec, kafka.record.default_records, kafka.record.legacy_records)
        for module in records:
            for direction in ("encode", "decode"):
                if hasattr(module, f"{name}_{direction}"):
                    setattr(module, f"{name}_{direction}", getattr(aiokafka_codec, f"{name}_{direction}"))


@contextmanager
def producer(settings: Kafka, **options: Any) -> Iterator[KafkaProducer]:
    """Open a producer whose sends are acknowledged by all replicas. Raises Unreachable."""
    teach_compression()
    dial(settings)
    with translated(settings):
        opened = KafkaProducer(**connection_options(settings), acks="all", **options)
        try:
            yield opened
        finally:
            opened.close(timeout=5)


@contextmanager
def consumer(settings: Kafka, **options: Any) -> Iterator[KafkaConsumer]:
    """Open a consumer outside of any group: it commits nothing by itself. Raises Unreachable."""
    teach_compression()
    dial(settings)
    with translated(settings):
        opened = KafkaConsumer(
            **connection_options(settings),
            **{
                "group_id": None,
                "enable_auto_commit": False,
                "allow_auto_create_topics": False,
                "isolation_level": settings.isolation_level,
                **options,
            },
        )
        try:
            yield opened
        finally:
            opened.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The broker that answered."""

    brokers: int
    #: Such as `4.1`.
    version: str


class Admin:
    """Looks after topics and offsets. A context manager."""

    def __init__(self, settings: Kafka) -> None:
        """Connect. Raises Unreachable."""
        self._settings = settings
        dial(settings)
        with translated(settings):
            self._client = KafkaAdminClient(**connection_options(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def cluster(self) -> Cluster:
        """Say what answers."""
        with translated(self._settings):
            described = self._client.describe_cluster()
            version = self._client.get_broker_version_data(described["brokers"][0]["broker_id"]).broker_version
        return Cluster(brokers=len(described["brokers"]), version=".".join(map(str, version)))

    def partitions(self) -> dict[str, int]:
        """Count the partitions of every topic."""
        with translated(self._settings):
            topics = self._client.describe_topics()
        return {topic["name"]: len(topic["partitions"]) for topic in topics if not topic["error_code"]}

    def allowed(self, topics: Iterable[str]) -> dict[str, frozenset[str]]:
        """Say what the user may do with each topic, such as `READ`.

        Topics that are not there are left out, and all where the broker does not tell.
        """
        with translated(self._settings):
            described = self._client.describe_topics(list(topics))
        may = {}
        for topic in described:
            if topic["error_code"] == TopicAuthorizationFailedError.errno:
                may[topic["name"]] = frozenset[str]()
            elif topic["authorized_operations"]:
                may[topic["name"]] = frozenset(topic["authorized_operations"])
        return may

    def may_use(self, group: str) -> bool:
        """Say whether the user may know of `group` and its offsets; true where no broker can tell."""
        try:
            self.committed(group)
        except Unreachable as exc:
            if not isinstance(exc.__cause__, (GroupAuthorizationFailedError, *_COORDINATOR_IS_AWAY)):
                raise
            return not isinstance(exc.__cause__, GroupAuthorizationFailedError)
        return True

    def may_write_as(self, transactional_id: str) -> bool:
        """Say whether the user may know of `transactional_id`; true where the broker does not tell."""
        try:
            self._client.describe_transactions([transactional_id])
        except TransactionalIdAuthorizationFailedError:
            return False
        except (IncompatibleBrokerVersion, TransactionalIdNotFoundError, *_COORDINATOR_IS_AWAY):
            return True
        return True

    def topic_config(self, topic: str, name: str) -> str | None:
        """Give what the broker has set as `name` for `topic`, its default included; None where it does not tell."""
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: None})
        with translated(self._settings):
            answer = self._client.describe_configs([wanted], config_filter="all")
        value = answer["topic"][topic].get(name, {}).get("value")
        return None if value is None else str(value)

    def create_topics(
        self, partitions: Mapping[str, int], *, replication_factor: int = -1, configs: Mapping[str, str] | None = None
    ) -> frozenset[str]:
        """Create topics with so many partitions, and give the new ones; those that are there stay as they are.

        A replication factor of -1 is the broker's default. Returns when the broker serves them.
        """
        created = set()
        for topic, count in partitions.items():
            options = {
                "num_partitions": count,
                "replication_factor": replication_factor,
                "configs": dict(configs or {}),
            }
            with translated(self._settings):
                try:
                    self._client.create_topics({topic: options}, wait_for_metadata=True)
                except TopicAlreadyExistsError:
                    continue
            created.add(topic)
        return frozenset(created)

    def delete_topics(self, topics: Iterable[str]) -> None:
        """Delete topics and all that is in them."""
        with translated(self._settings):
            self._client.delete_topics(list(topics))

    def end_offsets(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the offset that the next record of each partition gets."""
        return self._offsets(topic_partitions, -1)

    def begin_offsets(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the offset of the first record that each partition still holds."""
        return self._offsets(topic_partitions, -2)

    def _offsets(self, topic_partitions: Iterable[TopicPartition], position: int) -> dict[TopicPartition, int]:
        with translated(self._settings):
            answer: Mapping[TopicPartition, OffsetAndTimestamp] = self._client.list_partition_offsets(
                dict.fromkeys(topic_partitions, position), isolation_level=self._settings.isolation_level
            )
        return {partition: found.offset for partition, found in answer.items()}

    def committed(self, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
        """Give the offsets that `group` has committed."""
        began = time.monotonic()
        with translated(self._settings):
            while True:
                try:
                    answer = self._client.list_group_offsets({group: None})[group]
                    break
                except _COORDINATOR_IS_AWAY:
                    # The first question of all makes a fresh cluster create the topic of offsets.
                    if time.monotonic() - began > _COORDINATOR_SECONDS:
                        raise
                time.sleep(0.1)
        return {partition: found for partition, found in answer.items() if found.offset >= 0}

    def lag(self, group: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Count the records of `topics` that `group` has not committed, by partition."""
        partitions = self.topic_partitions(topics)
        committed, begin, end = self.committed(group), self.begin_offsets(partitions), self.end_offsets(partitions)
        return {
            place: max(0, end[place] - (committed[place].offset if place in committed else begin[place]))
            for place in partitions
        }

    def topic_partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        """Give every partition of `topics`. Raises Unreachable where there is no such topic."""
        counts = self.partitions()
        missing = sorted(topic for topic in topics if topic not in counts)
        if missing:
            raise Unreachable(f"the broker has no topic {', '.join(missing)}")
        return [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]


def records_between(opened: KafkaConsumer, starts: Offsets, ends: Offsets) -> Iterator[Any]:
    """Give the records from `starts` up to, not including, `ends`, partition by partition.

    Raises Unreachable where a partition gives nothing new for a minute.
    """
    for place, end in sorted(ends.items()):
        opened.assign([place])
        opened.seek(place, starts[place])
        last_progress = time.monotonic()
        # Records of a transaction that was aborted, and its marker, are passed over: the position tells of the end.
        while (position := opened.position(place)) < end:
            for record in opened.poll(timeout_ms=500).get(place, []):
                if record.offset < end:
                    yield record
            if opened.position(place) > position:
                last_progress = time.monotonic()
            elif time.monotonic() - last_progress > 60:
                raise Unreachable(f"{place.topic}[{place.partition}] gives nothing beyond offset {position} of {end}")


@dataclass(slots=True)
class Deliveries:
    """Collects what the broker says about each send of one producer."""

    acknowledged: int = 0
    error: BaseException | None = None

    def sent(self, future: Any) -> None:
        """Watch over one send."""
        future.add_callback(self._succeeded)
        future.add_errback(self._failed)

    def _succeeded(self, _metadata: object) -> None:
        self.acknowledged += 1

    def _failed(self, error: BaseException) -> None:
        self.error = self.error or error

    def check(self) -> None:
        """Raise DeliveryFailed if any send so far has failed."""
        if self.error is not None:
            raise DeliveryFailed(f"the broker took {self.acknowledged:,} records, then: {self.error}") from self.error
