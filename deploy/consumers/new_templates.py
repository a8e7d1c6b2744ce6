"""Tell a webhook of each template that Logloom finds: Alertmanager's, or Slack's and those that take the like.

    python new_templates.py --kafka kafka:9092 --webhook http://alertmanager:9093/api/v2/alerts
    python new_templates.py --kafka kafka:9092 --webhook https://hooks.example/T000/B000 --form slack

Needs kafka-python, and lz4 for what is compressed as `output.compression` says. Each is told at least once from the
program's first second on: what was read is committed when the webhook has taken it. A webhook that refuses or does not
answer ends the program with exit code 1; started again, by systemd or Kubernetes, it goes on where it was.
"""

import argparse
import contextlib
import http.client
import json
import sys
import urllib.request
from typing import Any

from kafka import KafkaConsumer


def main() -> None:
    """Read announcements until the webhook fails."""
    asked = arguments()
    consumer = KafkaConsumer(
        asked.topic,
        bootstrap_servers=asked.kafka,
        group_id=asked.group,
        enable_auto_commit=False,
        # At the first start nobody wants to hear of all the templates that there are; later on the group says where.
        auto_offset_reset=asked.begin,
        isolation_level="read_committed",
    )
    # Closed, it leaves its group at once: the next start need not wait until it is taken for dead.
    with contextlib.closing(consumer):
        while True:
            records = [record for batch in consumer.poll(timeout_ms=1000).values() for record in batch]
            told = [json.loads(record.value) for record in records if record.value is not None]
            # `settled` takes the place of templates that were told of; `replaced` says which.
            if new := [one for one in told if one["reason"] == "new"]:
                post(asked.webhook, FORMS[asked.form](new))
            # Without records too: what comes while it is down is told of only if a place was committed.
            consumer.commit()


def alertmanager(new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make an alert per template; told twice it is still one, for its labels are the same."""
    return [
        {
            "labels": {
                "alertname": "LogloomNewTemplate",
                "severity": "info",
                "source": one["source"],
                "template_id": one["id"],
            },
            "annotations": {"summary": f"{one['source']} writes what it never wrote: {one['template']}"},
            "startsAt": one["time"],
        }
        for one in new
    ]


def slack(new: list[dict[str, Any]]) -> dict[str, str]:
    """Make one message of all; what a log says is text and no mark-up."""
    lines = [f"{one['source']}: {one['template']} ({one['id']})" for one in new]
    return {"text": "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


FORMS = {"alertmanager": alertmanager, "slack": slack}


def post(address: str, body: Any) -> None:
    """Post JSON. Ends the program where the answer is none, or no success."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10):
            pass
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{address} did not take new templates: {error}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--webhook", required=True, metavar="URL")
    parser.add_argument("--form", choices=sorted(FORMS), default="alertmanager")
    parser.add_argument("--topic", default="logloom.templates")
    parser.add_argument("--group", default="new-templates")
    parser.add_argument("--begin", choices=["earliest", "latest"], default="latest", help="where nothing is committed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
