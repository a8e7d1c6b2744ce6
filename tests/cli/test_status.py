"""`logloom status` against real endpoints: what it asks, what it shows, how it ends."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from worker.cli import cli
from worker.cli.figures import Figures, Scrape, SilentWorker, SourceFigures, WorkerFigures
from worker.cli.newest import NewTemplate
from worker.cli.scraping import Endpoint, endpoints_of, scrape
from worker.cli.status_view import Look, drawn
from worker.errors import WrongSettings
from worker.health import HealthServer
from worker.metrics import Metrics

Serve = Callable[[Metrics], int]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own logloom.toml out."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve metrics as a worker does, and give the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)

        def start(metrics: Metrics) -> int:
            server = HealthServer(host="127.0.0.1", port=0, registry=metrics.registry, started={}, alive={}, ready={})
            asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
            stack.callback(lambda: asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10))
            return server.address[1]

        yield start


def _metrics(source: str = "web", *, records: int = 10) -> Metrics:
    metrics = Metrics(sources=[source])
    metrics.describe_build(parser="base-3")
    metrics.fetched(source, "t", records=records, size_bytes=1)
    return metrics


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["status", *arguments])


def test_one_table_where_there_is_no_terminal(serve: Serve) -> None:
    """Sources, workers, and what is not known; the exit code is 0."""
    metrics = _metrics()
    metrics.dead("web", "unparsable", 3)
    shown = _run("--interval", "0.1", "--workers", f"127.0.0.1:{serve(metrics)}")
    assert shown.exit_code == 0
    assert re.search(r"^web +0 ", shown.output, re.MULTILINE)
    assert "1 worker " in shown.output
    assert "dead letters of web: unparsable 3\n" in shown.output
    assert "not known here: told by output.templates_topic or by Redis (redis.url); neither is set" in shown.output


def test_a_worker_that_does_not_answer_is_shown(serve: Serve) -> None:
    """The others' figures stand, and the exit code is 0 as long as one answers."""
    shown = _run("--interval", "0.1", "--workers", f"127.0.0.1:1,127.0.0.1:{serve(_metrics())}")
    assert (shown.exit_code, "127.0.0.1:1 does not answer: Connection refused\n" in shown.output) == (0, True)
    assert re.search(r"^web +0 ", shown.output, re.MULTILINE)


def test_no_worker_answers() -> None:
    """Scripts see it by the exit code, at once."""
    shown = _run("--interval", "3600", "--workers", "127.0.0.1:1")
    assert (shown.exit_code, "0 workers, 1 not answering" in shown.output) == (1, True)


def test_as_json(serve: Serve) -> None:
    """Scripts get all figures; those that can't be known are null."""
    one, two = serve(_metrics()), serve(_metrics("db"))
    told = json.loads(
        _run("--json", "--interval", "0.1", "--workers", f"127.0.0.1:{one},127.0.0.1:{two},[::1]:1").stdout
    )
    assert [source["name"] for source in told["sources"]] == ["db", "web"]
    assert told["sources"][1]["records_per_second"] == 0.0
    assert told["sources"][1]["hit_rate"] is None
    assert {worker["address"] for worker in told["workers"]} == {f"127.0.0.1:{one}", f"127.0.0.1:{two}"}
    assert [worker["address"] for worker in told["silent"]] == ["[::1]:1"]
    assert told["seconds"] > 0
    assert "neither is set" in told["new_templates_note"]


def test_the_settings_name_the_worker(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --workers it is the one of the settings, on this machine."""
    monkeypatch.setenv("LOGLOOM_METRICS__PORT", str(serve(_metrics())))
    shown = _run("--once", "--interval", "0.1")
    assert (shown.exit_code, "1 worker " in shown.output) == (0, True)


def test_a_view_that_lives_until_it_is_interrupted(serve: Serve) -> None:
    """On a terminal it draws again and again, and Ctrl-C ends it with 0."""
    metrics = _metrics()
    port = serve(metrics)
    # Whoever started the tests in the background may have had this signal ignored, and a process passes that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "status", "--interval", "0.1", "--workers", f"127.0.0.1:{port}"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(follower)
    seen = b""
    try:
        while b"not known here" not in seen:
            seen += os.read(leader, 65_536)
        metrics.records_in_flight("web", more=123_456)
        while b"123,456" not in seen:
            seen += os.read(leader, 65_536)
        process.send_signal(signal.SIGINT)
        while _more(leader):
            pass
        assert process.wait(30) == 0
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
        process.wait()
        os.close(leader)


def _more(leader: int) -> bytes:
    try:
        return os.read(leader, 65_536)
    except OSError:  # nobody writes any more
        return b""


def test_endpoints_as_they_are_written() -> None:
    """Several with commas or repeated, each once; a port that is not named is that of the settings."""
    found = endpoints_of(["a:1,b", " [fe80::1]:2 , a:1", "[::1]"], host="h", port=9)
    assert list(map(str, found)) == ["a:1", "b:9", "[fe80::1]:2", "[::1]:9"]
    assert endpoints_of([], host="0.0.0.0", port=9) == [Endpoint(host="127.0.0.1", port=9)]  # noqa: S104  as set
    assert endpoints_of([], host="::", port=9) == [Endpoint(host="::1", port=9)]
    assert endpoints_of([], host="10.0.0.1", port=9) == [Endpoint(host="10.0.0.1", port=9)]


def test_wrong_endpoints_are_all_told() -> None:
    """One error names each of them, and the command ends with 2."""
    with pytest.raises(WrongSettings, match=r"(?s)'http://a:1' is no HOST:PORT.*'b:0'.*'c:65536'"):
        endpoints_of(["http://a:1,b:0", "c:65536,d"], host="h", port=9)
    assert _run("--workers", "a:b").exit_code == 2


async def test_a_name_is_looked_up_each_time() -> None:
    """By one family of addresses; a name without one is told of."""
    answers = await scrape([Endpoint(host="localhost", port=1), Endpoint(host="no-such-name.invalid", port=2)])
    assert answers["127.0.0.1:1"] == "Connection refused"
    assert str(answers["no-such-name.invalid:2"]).startswith("no address: ")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "no metrics: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\n", "no metrics: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n", "no worker: it has no logloom_build_info"),
        (b"\x1b[2J\r\n\r\n", ""),
        (b"", "Server disconnected"),
    ],
)
async def test_what_is_no_worker_is_told(answer: bytes, reason: str) -> None:
    """Whatever answers there, the view goes on."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (told,) = (await scrape([Endpoint(host="127.0.0.1", port=port)])).values()
    assert not isinstance(told, Scrape)
    assert told.startswith(reason)


@given(st.text(), st.integers(20, 200))
def test_no_text_reaches_the_terminal_raw(text: str, width: int) -> None:
    """Whatever names, reasons and templates hold, no markup and no control characters come of them."""
    source = SourceFigures(
        name=text,
        records_per_second=1.5,
        events_per_second=1234.0,
        answered_per_second={"process": 1.0, "index": 0.0, "redis": 0.0, "model": 0.0},
        dead_letters_per_second=0.0,
        dead_letters={text: 1},
        lag=None,
        in_flight=0,
        templates=0,
        learned_per_second=0.0,
    )
    worker = WorkerFigures(
        address=text,
        version=text,
        parser=text,
        uptime_seconds=None,
        resident_bytes=None,
        processors=None,
        has_model=True,
        device=text,
        device_bytes=1.0,
        device_size_bytes=2.0,
        is_exactly_once=True,
        partitions=1,
        is_redis_away=True,
        redis_errors_per_second=None,
        redis_pending=0,
    )
    silent = SilentWorker(address=text, reason=text)
    look = Look(
        time=datetime.now(UTC),
        figures=Figures(seconds=2.0, sources=(source,), workers=(worker,), silent=(silent,)),
        newest=(NewTemplate(time=text, source=text, id=text, text=text, replaces=1),),
        note=text,
    )
    console = Console(width=width, color_system=None, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(drawn(look, width))
    shown = console.export_text()
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_templates_are_cut_and_their_sources_are_not() -> None:
    """Brackets are what they are; a long template ends with an ellipsis."""
    look = Look(
        time=datetime.now(UTC),
        figures=Figures(seconds=None, sources=(), workers=(), silent=()),
        newest=(
            NewTemplate(time="2026-11-23T10:11:12.123Z", source="web", id="1", text="[bold]peer[/bold] <*>"),
            NewTemplate(time=None, source="json-orders", id="2", text="x" * 100),
        ),
        note=None,
    )
    console = Console(width=50, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(drawn(look, 50))
    assert [line.rstrip() for line in console.export_text().splitlines()[-2:]] == [
        "10:11:12  web          [bold]peer[/bold] <*>",
        f"          json-orders  {'x' * 26}…",
    ]
