"""Workers that match and workers that parse, as processes on a real broker and a real Redis."""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.feed import novel
from tests.integration import faulty_worker
from tests.integration.test_worker import Place, needs_weights, place
from tests.integration.worker_process import DELIVERIES, WorkerProcess, environment, running
from tests.kafka_broker import KafkaBroker, wait_until
from tests.parsing.checkpoints import write_small
from tests.redis_server import ForeignRedis, RedisServer, start_redis
from worker.parsing.checkpoint import BASE, checkpoint_version

__all__ = ["place"]

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(280), needs_weights]


class Tiers:
    """Topics, and the settings of both kinds of workers."""

    def __init__(self, kafka: KafkaBroker, redis: str) -> None:
        self.kafka = kafka
        self.misses = kafka.new_topic("misses", 2)
        self.place = Place(
            kafka=kafka,
            raw=kafka.new_topic("raw", 2),
            events=kafka.new_topic("events", 2),
            dead=kafka.new_topic("dead"),
            partitions=2,
        )
        self._redis = redis

    def settings(self, role: str, **more: str) -> dict[str, str]:
        """Give the environment of a worker in a role."""
        return environment(
            self.kafka,
            topics=self.place.raw,
            events=self.place.events,
            dead=self.place.dead,
            group=self.place.group,
            redis=self._redis,
            ROLE=role,
            MISSES__TOPIC=self.misses,
            **{"MISSES__RETRY_SECONDS": "1", **more},
        )


@pytest.fixture
def redis() -> Iterator[RedisServer | ForeignRedis]:
    """Give a Redis of one's own, to be emptied and killed."""
    server = start_redis()
    yield server
    server.close()


@pytest.fixture
def tiers(kafka: KafkaBroker, redis: RedisServer | ForeignRedis) -> Tiers:
    """Give topics for both tiers."""
    return Tiers(kafka, redis.url)


def _has_reloaded(worker: WorkerProcess) -> bool:
    return worker.metrics()["logloom_reloads_total"] == 1


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_who_matches_has_its_misses_parsed_by_others(tiers: Tiers, delivery: str) -> None:
    """All lines come out, each once and as the parsers' model cuts them; who matches has no model."""
    place = tiers.place
    lines = [b"took %d ms for block %d" % (number, number * 7) for number in range(200)] + novel(0, 100)
    with (
        running(tiers.settings("parse", KAFKA__DELIVERY=delivery)) as parser,
        running(tiers.settings("match", KAFKA__DELIVERY=delivery)) as matcher,
    ):
        place.send(lines)
        matcher.wait_for(len(lines))
        events = place.read_events(len(lines))
        assert sorted(event["body"] for event in events) == sorted(line.decode() for line in lines)
        assert {event["attributes"]["logloom.parser"] for event in events} == {checkpoint_version(BASE)}
        templates = {event["attributes"]["log.record.template"] for event in events[:200]}
        assert templates == {"took <*> ms for block <*>"}
        matched, parsed = matcher.metrics(), parser.metrics()
        assert matched["logloom_model_seconds_count"] == 0 < parsed["logloom_model_seconds_count"]
        assert matched["logloom_misses_total"] > 0 == matched["logloom_awaited_messages"]
        assert parsed["logloom_events_total"] == matched["logloom_dead_letters_total"] == 0
        assert matcher.unaccounted() == 0
        before = parsed["logloom_answers_total"]
        place.send([b"took 9000 ms for block 9"])
        matcher.wait_for(len(lines) + 1)
        assert parser.metrics()["logloom_answers_total"] == before
        assert (matcher.terminate(), parser.terminate()) == (0, 0)


def test_misses_wait_for_parsers_and_hits_do_not(tiers: Tiers, redis: RedisServer) -> None:
    """Without parsers only what nobody knows waits, and in the end comes out, whatever is killed or lost meanwhile."""
    place = tiers.place
    with running(tiers.settings("match")) as matcher:
        with running(tiers.settings("parse")):
            place.send([b"took 1 ms", b"took 2 ms"], partition=1)
            matcher.wait_for(2)
        place.send(novel(0, 300), partition=0)
        matcher.wait(lambda: matcher.metrics()["logloom_awaited_messages"] > 0, what="misses")
        place.send([b"took %d ms" % number for number in range(100)], partition=1)
        matcher.wait_for(102)
        assert place.kafka.ends(place.events)[0] == 0
        with running(tiers.settings("parse")) as parser:
            parser.wait(lambda: parser.metrics()["logloom_answers_total"] > 0, what="answers")
            parser.kill()
        with redis.client() as client:
            client.flushall()
        with running(tiers.settings("parse")):
            matcher.wait_for(402, seconds=120)
        assert place.bodies(402) == sorted(
            line.decode()
            for line in [b"took 1 ms", b"took 2 ms", *novel(0, 300), *(b"took %d ms" % n for n in range(100))]
        )
        assert matcher.metrics()['logloom_requests_total{attempt="again"}'] > 0
        assert matcher.metrics()["logloom_dead_letters_total"] == 0


def test_what_parsers_refuse_is_dead_where_it_was_read(tiers: Tiers, tmp_path: Path) -> None:
    """A message that no template fits, one that the model fails at, and a record among the misses that is none."""
    place, control = tiers.place, tmp_path / "model"
    control.write_text("poisoned fork")
    settings = tiers.settings("parse") | {faulty_worker.VARIABLE: str(control)}
    with running(settings, module=faulty_worker.__name__) as parser, running(tiers.settings("match")) as matcher:
        place.send([b"red spoon 1", b"x " * 40_000, b"a fork is bent", b"blue spoon 2"])
        matcher.wait_for(4)
        place.send([b"no request"], topic=tiers.misses)
        parser.wait(lambda: parser.metrics()["logloom_dead_letters_total"] == 1, what="its dead letter")
        letters = {dict(letter.headers)["logloom.reason"]: letter for letter in place.read(place.dead, 3)}
        assert {reason: letter.value[:14] for reason, letter in letters.items()} == {
            b"unparsable": b"x x x x x x x ", b"model_failed": b"a fork is bent", b"undecodable": b"no request",
        }  # fmt: skip
        assert b"fork on purpose" in dict(letters[b"model_failed"].headers)["logloom.error"]
        assert dict(letters[b"undecodable"].headers)["logloom.source"] == b"requests"
        assert place.bodies(2) == ["blue spoon 2", "red spoon 1"]


def test_parsers_of_another_version_answer_nothing(tiers: Tiers, tmp_path: Path) -> None:
    """Templates of two checkpoints do not mix: misses wait until parsers of the right one are there."""
    place = tiers.place
    other = str(write_small(tmp_path / "other"))
    with running(tiers.settings("match")) as matcher:
        with running(tiers.settings("parse", MODEL__PATH=other)) as parser:
            place.send([b"took 1 ms"])
            parser.wait(lambda: parser.metrics()['logloom_answers_total{outcome="not_served"}'] > 0, what="a refusal")
            wait_until(lambda: "the parsers serve version tiny-" in matcher.log, seconds=30, what="the reason")
            assert matcher.accounted() == 0
        with running(tiers.settings("parse")):
            matcher.wait_for(1)
    assert place.bodies(1) == ["took 1 ms"]


def test_both_tiers_take_another_checkpoint_while_they_run(tiers: Tiers, tmp_path: Path) -> None:
    """A call to reload reaches both; events name the new version from then on."""
    place, model = tiers.place, tmp_path / "model"
    write_small(model)
    workers = list[WorkerProcess]()
    with (
        running(tiers.settings("parse", MODEL__PATH=str(model))) as parser,
        running(tiers.settings("match", MODEL__PATH=str(model))) as matcher,
    ):
        workers += [parser, matcher]
        place.send([b"took 1 ms"])
        matcher.wait_for(1)
        write_small(model, seed=2)
        for worker in workers:
            worker.process.send_signal(signal.SIGHUP)
        for worker in workers:
            worker.wait(partial(_has_reloaded, worker), what="a reload")
        place.send([b"took 2 ms"])
        matcher.wait_for(2)
        assert matcher.metrics()['logloom_reloads_total{outcome="done"}'] == 1
        versions = [event["attributes"]["logloom.parser"] for event in place.read_events(2)]
        assert versions[0] != versions[1] == checkpoint_version(model)
