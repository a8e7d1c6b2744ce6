"""redis-py, to be imported from here alone, without the metrics that it brings along.

Wherever OpenTelemetry is installed redis-py loads its metrics, 10 MB and 40 ms, which nobody here asks it for.
"""

import sys

_is_hidden = "opentelemetry" not in sys.modules
if _is_hidden:
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # as if it were not installed
try:
    import redis
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError, ResponseError
    from redis.retry import Retry as BlockingRetry
finally:
    if _is_hidden:
        del sys.modules["opentelemetry"]

__all__ = [
    "BlockingConnectionPool",
    "BlockingRetry",
    "NoBackoff",
    "Redis",
    "RedisError",
    "ResponseError",
    "Retry",
    "redis",
]
