"""Asks the broker what its user may do (KIP-430), and says what a worker lacks."""

from collections.abc import Iterator

from worker.settings import Settings
from worker.transport.admin import Admin


def missing(admin: Admin, settings: Settings) -> Iterator[str]:
    """Give what the user of a worker lacks, as options of kafka-acls; nothing where the broker does not tell.

    Topics that a pattern fits are known only as far as the user may see them.
    """
    named = {topic for source in settings.sources.values() for topic in source.topics if settings.reads(topic)}
    read = named | {topic for topic in admin.partitions() if settings.reads(topic)}
    if settings.role == "parse":
        read.add(settings.misses.topic)
    may = admin.allowed([*read, *settings.written_topics])
    for operation, topics in (("Read", read), ("Write", settings.written_topics)):
        for topic in sorted(topics):
            if topic in may and operation.upper() not in may[topic]:
                yield f"--operation {operation} --topic {topic}"
    if not admin.may_use(settings.group_id):
        yield f"--operation Read --group {settings.group_id}"
    prefix = f"logloom-{settings.group_id}-"
    if settings.is_exactly_once and not admin.may_write_as(f"{prefix}check"):
        yield f"--operation Write --transactional-id {prefix} --resource-pattern-type prefixed"
