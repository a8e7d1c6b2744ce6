"""Alerts: when they fire, what they name, and that each has its page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.watching.promtool import metrics_in, promtool
from worker.metrics import Metrics

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "watching" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts_test.yaml")
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]


def test_alerts_fire_where_they_should_and_nowhere_else() -> None:
    """Prometheus' own unit tests of rules."""
    done = promtool("test", "rules", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    """Every expression is PromQL, and every template can be filled."""
    done = promtool("check", "rules", str(ALERTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_not() -> None:
    """None is there untested."""
    asked = [one for case in yaml.safe_load(CASES.read_text())["tests"] for one in case["alert_rule_test"]]
    expected = {rule["alert"] for rule in RULES}
    assert expected == {one["alertname"] for one in asked if one.get("exp_alerts")}
    assert expected - {"LogloomLagGrows"} == {one["alertname"] for one in asked if not one.get("exp_alerts")}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    """It waits, has a severity, and a page that says what it means, how to check it and what helps."""
    assert rule["for"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page = RUNBOOKS / rule["annotations"]["runbook_url"].rsplit("/", 1)[1]
    text = page.read_text()
    assert f"# {rule['alert']}" in text
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Meaning", "Check", "Cure"]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_names_metrics_of_the_worker_alone(rule: dict[str, Any]) -> None:
    """A renamed metric would silence it."""
    there = {one.name for one in Metrics().descriptions} | {"logloom_model_seconds_bucket", "logloom_model_seconds_sum"}
    named = metrics_in(rule["expr"])
    assert named
    assert named <= there | {"process_start_time_seconds"}


def test_every_page_belongs_to_an_alert() -> None:
    """No runbook outlives its alert."""
    pages = {rule["annotations"]["runbook_url"].rsplit("/", 1)[1] for rule in RULES}
    assert pages == {page.name for page in RUNBOOKS.glob("*.md")}
