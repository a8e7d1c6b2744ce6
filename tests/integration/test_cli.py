"""The command line against a real broker: produce, tail, dead letters, check."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.kafka_broker import KafkaBroker
from worker.cli import cli
from worker.codec.dead_letters import DeadLetter
from worker.settings import Kafka
from worker.transport.admin import Admin, consumer, producer, records_between, teach_compression

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own logloom.toml out."""
    monkeypatch.chdir(tmp_path)


def _run(
    kafka: KafkaBroker, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Result:
    variables = {"LOGLOOM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, **(environment or {})}
    return CliRunner().invoke(cli, arguments, input=stdin, env=variables)


def _settings(kafka: KafkaBroker, **others: Any) -> Kafka:
    return Kafka(bootstrap_servers=(kafka.bootstrap,), **others)


def _read(kafka: KafkaBroker, topic: str, **options: Any) -> list[Any]:
    """Give all records of `topic`, read by a plain consumer of kafka-python."""
    teach_compression()
    with Admin(_settings(kafka)) as admin:
        places = admin.topic_partitions([topic])
        begin, end = admin.begin_offsets(places), admin.end_offsets(places)
    with consumer(_settings(kafka), **options) as opened:
        return list(records_between(opened, begin, end))


def test_produce_sends_lines_as_they_are(kafka: KafkaBroker, tmp_path: Path) -> None:
    """Every line is a record: bytes kept, line ends gone, empty lines no tombstones."""
    topic = kafka.new_topic("produce")
    file = tmp_path / "app.log"
    file.write_bytes(b"one\r\n\nt\xff\x00wo\nlast")
    shown = _run(kafka, "produce", "--topic", topic, "--key", "k", "--repeat", "2", str(file))
    assert (shown.exit_code, f"8 records to {topic}" in shown.output) == (0, True)
    records = _read(kafka, topic)
    assert [record.value for record in records] == [b"one", b"", b"t\xff\x00wo", b"last"] * 2
    assert {record.key for record in records} == {b"k"}


def test_produce_reads_standard_input_at_a_rate(kafka: KafkaBroker) -> None:
    """Without a file standard input is sent; a rate holds it back."""
    topic = kafka.new_topic("produce")
    began = time.monotonic()
    shown = _run(kafka, "produce", "--topic", topic, "--rate", "50", stdin=b"".join(b"%d\n" % i for i in range(26)))
    assert (shown.exit_code, len(_read(kafka, topic))) == (0, 26)
    assert time.monotonic() - began >= 0.5


def test_produce_to_no_topic_fails(kafka: KafkaBroker) -> None:
    """A topic that is not there is told of at once; nothing is created by accident."""
    shown = _run(kafka, "produce", "--topic", "nowhere", stdin=b"x\n")
    assert (shown.exit_code, "the broker has no topic 'nowhere'" in shown.output) == (1, True)


def _event(body: str, source: str) -> bytes:
    attributes = {"logloom.source": source, "logloom.cache": "hit", "log.record.parameters": []}
    return json.dumps({"timestamp": "2026-11-22T15:00:00.000Z", "body": body, "attributes": attributes}).encode()


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_tail_shows_events(kafka: KafkaBroker, compression: str | None) -> None:
    """Events of every compression are shown, filtered by source, escapes and all."""
    topic = kafka.new_topic("events", partitions=2)
    with producer(_settings(kafka), compression_type=compression) as opened:
        for number in range(40):
            opened.send(topic, _event(f"\x1b[2Jline {number}", "ab"[number % 2]), partition=number // 20)
        opened.send(topic, b"no event", partition=1)
        opened.flush()
    shown = _run(kafka, "tail", "--topic", topic, "--all", "--source", "b")
    assert shown.exit_code == 0
    expected = [f"15:00:00.000 -     b            hit  \\u001b[2Jline {number}" for number in range(1, 40, 2)]
    assert shown.stdout.splitlines() == expected
    lines = _run(kafka, "tail", "--topic", topic, "--from-beginning", "--max", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["attributes"]["logloom.cache"] for line in lines] == ["hit"] * 3


def _bury(kafka: KafkaBroker, dead: str, letters: list[DeadLetter], *, partitions: int = 1) -> None:
    """Produce `letters` as the worker does: by aiokafka, for kafka-python refuses null headers."""

    async def bury() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as opened:
            for number, letter in enumerate(letters):
                await opened.send_and_wait(
                    dead,
                    value=letter.value,
                    key=letter.key,
                    headers=letter.kafka_headers(),
                    partition=number % partitions,
                )

    kafka.create_topic(dead, partitions)
    asyncio.run(bury())


def _letter(topic: str, number: int, reason: str, *, partition: int = 0) -> DeadLetter:
    return DeadLetter(
        value=b"raw %d \xff" % number if number else None,
        key=b"key",
        headers=[("h", b"1"), ("h", None)],
        reason=reason,
        error="why",
        source="web",
        topic=topic,
        partition=partition,
        offset=number,
        timestamp=1_700_000_000_000 + number,
    )


def test_dead_letters_are_listed(kafka: KafkaBroker) -> None:
    """A list says when, why and where from; as JSON it holds the raw log, base64 where it is no text."""
    topic = kafka.new_topic("raw")
    dead = f"{topic}.dead"
    _bury(kafka, dead, [_letter(topic, 0, "undecodable"), _letter(topic, 1, "unparsable")])
    environment = {"LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead}
    shown = _run(kafka, "dead-letters", "list", "--reason", "unparsable", environment=environment)
    assert shown.stdout == f"2023-11-14T22:13:20.001Z unparsable web {topic}[0]@1 why: raw 1 \ufffd\n"
    assert "1 dead letters: unparsable 1" in shown.stderr
    told = [
        json.loads(line)
        for line in _run(kafka, "dead-letters", "list", "--json", environment=environment).stdout.splitlines()
    ]
    assert [(one["offset"], one.get("value", "-"), one.get("value_base64")) for one in told] == [
        (0, None, None),
        (1, "-", "cmF3IDEg/w=="),
    ]


def test_replay_sends_each_letter_once(kafka: KafkaBroker) -> None:
    """Filtered, repeated, cut short: each letter goes back once, as it was, to where it came from."""
    topic = kafka.new_topic("raw", partitions=3)
    dead = f"{topic}.dead"
    letters = [_letter(topic, number, ("unparsable", "too_large")[number % 2], partition=2) for number in range(20)]
    _bury(kafka, dead, letters, partitions=2)
    environment = {"LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead, "LOGLOOM_KAFKA__GROUP_ID": topic}

    def replay(*arguments: str) -> str:
        shown = _run(kafka, "dead-letters", "replay", *arguments, environment=environment)
        assert shown.exit_code == 0, shown.output
        return shown.stderr.strip()

    assert replay("--dry-run") == f"20 dead letters would be sent (20 to {topic}), 0 remain"
    assert replay("--reason", "too_large", "--max", "4") == f"4 dead letters sent (4 to {topic}), 16 remain"
    assert replay("--reason", "too_large") == f"6 dead letters sent (6 to {topic}), 10 remain"
    assert replay("--source", "nobody") == "0 dead letters sent, 10 remain"
    assert replay() == f"10 dead letters sent (10 to {topic}), 0 remain"
    assert replay() == "0 dead letters sent, 0 remain"
    records = _read(kafka, topic, isolation_level="read_committed")
    assert sorted(record.timestamp for record in records) == [letter.timestamp for letter in letters]
    by_time = {record.timestamp: record for record in records}
    for letter in letters:
        record = by_time[letter.timestamp]
        assert (record.value, record.key, record.partition) == (letter.value, letter.key, 2)
        assert [tuple(header) for header in record.headers] == list(letter.headers)
    assert "0 dead letters" in _run(kafka, "dead-letters", "list", "--pending", environment=environment).stderr


def test_replay_to_another_topic(kafka: KafkaBroker) -> None:
    """Another topic takes the letters; one that is not there takes none, and none is lost."""
    topic, other = kafka.new_topic("raw"), kafka.new_topic("other")
    dead = f"{topic}.dead"
    _bury(kafka, dead, [_letter(topic, number, "unparsable", partition=9) for number in range(3)])
    environment = {"LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead, "LOGLOOM_KAFKA__GROUP_ID": topic}
    failed = _run(kafka, "dead-letters", "replay", "--to", "nowhere", environment=environment)
    assert (failed.exit_code, "the broker has no topic 'nowhere'" in failed.output) == (1, True)
    shown = _run(kafka, "dead-letters", "replay", "--to", other, environment=environment)
    assert f"3 dead letters sent (3 to {other}), 0 remain" in shown.output
    assert len(_read(kafka, other, isolation_level="read_committed")) == 3


def test_replayed_letters_can_be_read_at_once(kafka: KafkaBroker) -> None:
    """A replay is over when those who read only what was committed see what it sent."""
    topic = kafka.new_topic("raw")
    dead, place = f"{topic}.dead", TopicPartition(topic, 0)
    _bury(kafka, dead, [_letter(topic, number, "unparsable") for number in range(6)])
    environment = {"LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead, "LOGLOOM_KAFKA__GROUP_ID": topic}
    with Admin(_settings(kafka, isolation_level="read_committed")) as admin:
        ends = []
        for _ in range(6):
            _run(kafka, "dead-letters", "replay", "--max", "1", environment=environment)
            ends.append(admin.end_offsets([place])[place])
    assert ends == [2, 4, 6, 8, 10, 12]  # each letter, and the mark that ends its transaction


def test_foreign_records_remain(kafka: KafkaBroker) -> None:
    """A record among the dead letters that is none is shown, and not sent anywhere."""
    dead = kafka.new_topic("dead")
    with producer(_settings(kafka)) as opened:
        opened.send(dead, b"stray").get(30)
    environment = {"LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": dead, "LOGLOOM_KAFKA__GROUP_ID": dead}
    assert "no dead letter: it has no header" in _run(kafka, "dead-letters", "list", environment=environment).stderr
    assert "0 dead letters sent, 1 remain" in _run(kafka, "dead-letters", "replay", environment=environment).output


def test_check_tells_what_is_missing_and_creates_it(kafka: KafkaBroker) -> None:
    """Missing topics are failures with advice; --create-topics gives them as many partitions as the input has."""
    topic = kafka.new_topic("in", partitions=3)
    environment = {
        "LOGLOOM_TOPICS": topic,
        "LOGLOOM_OUTPUT__TOPIC": f"{topic}.events",
        "LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": f"{topic}.dead",
        "LOGLOOM_MODEL__PATH": "none",
    }
    shown = _run(kafka, "check", "--json", environment=environment)
    findings = {one["subject"]: one for one in json.loads(shown.stdout)["findings"]}
    assert shown.exit_code == 1
    assert findings["broker"]["text"] == f"1 brokers at {kafka.bootstrap}, Kafka 4.1"
    assert findings[f"source default: topic {topic}"]["text"] == "3 partitions"
    assert "redaction" not in findings
    assert findings[f"topic {topic}.events"]["verdict"] == "fail"
    assert "create it with 3 partitions" in findings[f"topic {topic}.events"]["advice"]
    shown = _run(kafka, "check", "--create-topics", environment=environment)
    assert (shown.exit_code, f"topic {topic}.dead: created with 3 partitions" in shown.output) == (0, True)
    with Admin(_settings(kafka)) as admin:
        assert admin.partitions()[f"{topic}.events"] == 3
        assert admin.create_topics({topic: 1}) == frozenset()


def test_check_finds_an_output_that_does_not_fit(kafka: KafkaBroker) -> None:
    """An output topic with too few partitions, or one that takes no such batches, is a failure."""
    topic, events = kafka.new_topic("in", partitions=2), kafka.new_topic("out", 1, {"max.message.bytes": "5000"})
    environment = {
        "LOGLOOM_TOPICS": f"{topic},{topic}.missing",
        "LOGLOOM_SOURCES__LATER__TOPIC_PATTERN": "no-such-.*",
        "LOGLOOM_OUTPUT__TOPIC": events,
        "LOGLOOM_OUTPUT__DEAD_LETTER_TOPIC": events + ".dead",
        "LOGLOOM_REDIS__URL": "redis://:hunter2@localhost:1/0",
        "LOGLOOM_SOURCES__LATER__REDACT": "ip=mask",
        "LOGLOOM_MODEL__PATH": "none",
    }
    shown = _run(kafka, "check", environment=environment)
    assert shown.exit_code == 1
    assert "hunter2" not in shown.output
    for expected in (
        f"fail  topic {events}: 1 partitions, but an input topic has 2",
        f"fail  topic {events}: takes 5,000 bytes a batch, output.max_batch_bytes is 1,000,000",
        f"fail  source default: topic {topic}.missing: not there",
        "warn  source later: pattern no-such-.*: no topic fits",
        "fail  redis: ConnectionError",
        f"warn  redaction: topic {events}.dead keeps records of later as they came, topic {events} their keys",
    ):
        assert expected in shown.output


def test_lag_counts_what_a_group_has_not_committed(kafka: KafkaBroker) -> None:
    """Lag is from the committed offset, or from the beginning without one, to the end."""
    topic = kafka.new_topic("lag", partitions=2)
    with producer(_settings(kafka)) as opened:
        for number in range(10):
            opened.send(topic, b"x", partition=number % 2)
        opened.flush()
    place = TopicPartition(topic, 1)
    own = KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=topic, enable_auto_commit=False)
    own.assign([place])
    own.seek(place, 3)
    own.commit()
    own.close()
    with Admin(_settings(kafka)) as admin:
        assert admin.lag(topic, [topic]) == {TopicPartition(topic, 0): 5, place: 2}


def test_compression_is_taught_to_the_producer_too(kafka: KafkaBroker) -> None:
    """What kafka-python writes by the taught codecs, Java reads."""
    topic = kafka.new_topic("zstd")
    teach_compression()
    opened = KafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type="lz4")
    for _ in range(50):
        opened.send(topic, b"the same line again and again")
    opened.flush()
    opened.close()
    assert kafka.console_consumer(topic, 50).splitlines() == [b"the same line again and again"] * 50
