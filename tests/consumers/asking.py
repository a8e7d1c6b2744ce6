"""Asks servers under test by HTTP and JSON."""

import json
import urllib.error
import urllib.request
from typing import Any


def ask(method: str, address: str, body: bytes | None = None, *, kind: str = "application/json") -> Any:
    """Ask a server, and return its answer's JSON. Raises RuntimeError with what it says against the request."""
    headers = {} if body is None else {"Content-Type": kind}
    request = urllib.request.Request(address, body, headers, method=method)  # noqa: S310  a server of our own
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  the same
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {address}: {error.code} {error.read().decode()[:2000]}") from error


def answers(address: str) -> bool:
    """Tell whether a server tells its version."""
    try:
        return "version" in ask("GET", address)
    except (RuntimeError, OSError):
        return False
