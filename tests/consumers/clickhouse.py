"""Runs SQL in ClickHouse's own engine, in a process of its own: `python clickhouse.py < JSON`, which answers in JSON.

Standard input holds `statements`, run in order, and `queries`, whose rows are the answer. Apart from the tests, because
the engine brings an allocator and a library of half a gigabyte.
"""

import json
import sys

from chdb.session import Session


def main() -> None:
    """Do as standard input says."""
    asked = json.load(sys.stdin)
    session = Session()
    for statement in asked["statements"]:
        session.query(statement)
    answers = [str(session.query(query, "JSONEachRow")) for query in asked["queries"]]
    json.dump([[json.loads(line) for line in answer.splitlines() if line] for answer in answers], sys.stdout)


if __name__ == "__main__":
    main()
