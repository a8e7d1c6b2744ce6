"""Clients of Redis that give up early: a batch goes on without an answer."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError


def client_of(
    url: str,
    *,
    connections: int,
    timeout_seconds: float,
    connect_timeout_seconds: float,
    answer_seconds: float | None = None,
    password: str | None = None,
    tls: Mapping[str, Any] | None = None,
) -> Redis:
    """Connect, on first use, to `url` (`redis://`, `rediss://` or `unix://`), by so many connections at most.

    A connection is waited for `timeout_seconds`, an answer too, or `answer_seconds`. `tls` goes to the client as it is
    (`ssl_ca_certs` and so on).
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds if answer_seconds is None else answer_seconds,
        socket_connect_timeout=connect_timeout_seconds,
        protocol=2,
        # Once more for a connection that died in the pool; every call may be repeated. Never after a timeout.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        **({} if password is None else {"password": password}),
        **(tls or {}),
    )
    return Redis.from_pool(pool)
