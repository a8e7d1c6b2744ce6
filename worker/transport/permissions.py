"""Asks the broker what its user may do (KIP-430), and says what a worker lacks."""

from collections.abc import Iterator

from worker.settings import Settings
from worker.transport.admin import Admin


def missing(admin: Admin, settings: Settings) -> Iterator[str]:
    """Give what the user of a worker lacks, as options of kafka-acls; nothing where the broker does not tell.

    Topics that a pattern fits are known only as far as the user may see them.
    """
    named = {topic for source in settings.sources.values() for topic in source.topics}
    read = named | {topic for topic in admin.partitions() if settings.source_of(topic) is not None}
    may = admin.allowed([*read, *settings.own_topics])
    for operation, topics in (("Read", read), ("Write", settings.own_topics)):
        for topic in sorted(topics):
            if topic in may and operation.upper() not in may[topic]:
                yield f"--operation {operation} --topic {topic}"
    if not admin.may_use(settings.kafka.group_id):
        yield f"--operation Read --group {settings.kafka.group_id}"
    prefix = f"logloom-{settings.kafka.group_id}-"
    if settings.kafka.delivery == "exactly-once" and not admin.may_write_as(f"{prefix}check"):
        yield f"--operation Write --transactional-id {prefix} --resource-pattern-type prefixed"
