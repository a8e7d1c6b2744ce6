"""What a worker says of its topics before it starts."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from worker.preflight import tell_raw_topics
from worker.settings import load


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, []),
        ({"LOGLOOM_REDACT__IP": "mask"}, [["a", "b"]]),
        ({"LOGLOOM_SOURCES__B__REDACT": "user=mask"}, [["b"]]),
        ({"LOGLOOM_REDACT__IP": "mask", "LOGLOOM_SOURCES__A__REDACT": "ip=keep"}, [["b"]]),
    ],
)
def test_who_redacts_is_told_where_values_still_stand(
    environment: dict[str, str], told: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning names the sources that redact and the topics that hold their records' bytes; none without them."""
    monkeypatch.chdir(tmp_path)
    sources = {"LOGLOOM_SOURCES__A__TOPICS": "a.raw", "LOGLOOM_SOURCES__B__TOPICS": "b.raw"}
    settings = load(environment=sources | environment | {"LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": "dead"})
    with capture_logs() as logs:
        tell_raw_topics(settings)
    assert [one["sources"] for one in logs] == told
    assert {(one["dead_letters"], one["keys_and_headers"]) for one in logs} <= {("dead", "logloom.events")}
