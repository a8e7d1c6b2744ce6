"""What becomes of a test whose server or tool can't be had here."""

import os
from typing import NoReturn

import pytest


def absent(reason: Exception | str) -> NoReturn:
    """Skip with the reason; fail with it where LOGLOOM_REQUIRE_SERVERS=1, as in CI."""
    if os.environ.get("LOGLOOM_REQUIRE_SERVERS") == "1":
        pytest.fail(str(reason))
    pytest.skip(str(reason))
