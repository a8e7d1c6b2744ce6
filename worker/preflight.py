"""Tries both servers before a worker starts, so that a refusal is one line at once and no outage to be waited for.

Tells then where values still stand that events must not hold: whoever redacts them may think that they are gone.
"""

import structlog

from worker.cache.permissions import ask
from worker.errors import StoreUnavailable, Unreachable
from worker.settings import Settings
from worker.transport.admin import Admin
from worker.transport.permissions import missing

_log = structlog.get_logger(__name__)


def refuse(settings: Settings) -> None:
    """Raise Unreachable where a server lets this worker not in, or not do what it must. A Redis that is away may be."""
    with Admin(settings.kafka) as admin:
        lacking = list(missing(admin, settings))
    if lacking:
        raise Unreachable(f"the broker denies the user what a worker needs: {'; '.join(lacking)}; see docs/security.md")
    if settings.redis.url is not None:
        try:
            scope = next(iter(settings.sources.values())).scope
            ask(settings.redis, scope, has_tiers=settings.role != "all")
        except StoreUnavailable as exc:
            _log.warning("Redis does not answer; starting without it", error=str(exc))


def tell_raw_topics(settings: Settings) -> None:
    """Log where values stand as they came, if any source redacts them in its events."""
    if settings.redacting:
        _log.warning(
            "values are redacted in events alone: what else is written, keys and headers too, goes on as it came",
            sources=list(settings.redacting),
            dead_letters=settings.output.dead_letter_topic,
            keys_and_headers=settings.output.topic,
            **({} if settings.role == "all" else {"misses": settings.misses.topic}),
        )
