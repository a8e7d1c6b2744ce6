"""Asks the metrics endpoints of workers. Knows nothing of what the metrics mean, nor of terminals."""

import asyncio
import os
import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiohttp

from worker.cli.figures import Scrape
from worker.errors import WrongSettings

#: Longest wait for an answer.
_ANSWER_SECONDS = 5.0
_WRITTEN = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[^:/\[\]\s]+))(?::(?P<port>\d{1,5}))?")
#: What a server listens on that takes connections by every address, and where it is reached on this machine.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what a setting may hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a worker serves its metrics, or several where the host is a name of several addresses."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoints_of(written: Iterable[str], *, host: str, port: int) -> list[Endpoint]:
    """Read endpoints: HOST or HOST:PORT, several with commas. Where there are none, that of a worker on this machine.

    Raises WrongSettings, with all that are wrong.
    """
    found, wrong = dict[Endpoint, None](), list[str]()
    for text in (part.strip() for one in written for part in one.split(",") if part.strip()):
        match = _WRITTEN.fullmatch(text)
        if match is None or not 0 < int(match["port"] or port) <= 65_535:
            wrong.append(f"--workers: {text!r} is no HOST:PORT")
        else:
            found[Endpoint(host=match["ipv6"] or match["host"], port=int(match["port"] or port))] = None
    if wrong:
        raise WrongSettings("\n".join(wrong))
    return list(found) or [Endpoint(host=_EVERYWHERE.get(host, host), port=port)]


async def scrape(endpoints: Sequence[Endpoint]) -> dict[str, Scrape | str]:
    """Ask all workers at once; by address what each answered, or why there is no answer.

    Names are looked up each time: workers come and go.
    """
    answers: dict[str, Scrape | str] = {}
    asked = dict[Endpoint, None]()
    for endpoint, found in zip(endpoints, await asyncio.gather(*map(_resolved, endpoints)), strict=True):
        if isinstance(found, str):
            answers[str(endpoint)] = found
        else:
            asked |= dict.fromkeys(found)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        scraped = await asyncio.gather(*(_ask(session, endpoint) for endpoint in asked))
    return answers | dict(zip(map(str, asked), scraped, strict=True))


async def _resolved(endpoint: Endpoint) -> list[Endpoint] | str:
    """Give an endpoint for each address of a name, or why there is none.

    Of one family: a worker that is reached by both is one worker.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except OSError as exc:
        return f"no address: {exc.strerror}"
    family = socket.AF_INET if any(one[0] == socket.AF_INET for one in found) else socket.AF_INET6
    hosts = sorted({str(address[0]) for of_family, _, _, _, address in found if of_family == family})
    return [Endpoint(host=host, port=endpoint.port) for host in hosts]


async def _ask(session: aiohttp.ClientSession, endpoint: Endpoint) -> Scrape | str:
    try:
        async with session.get(f"http://{endpoint}/metrics", allow_redirects=False) as answer:
            if answer.status != 200:
                return f"answers {answer.status} {answer.reason}"
            exposition = await answer.text(encoding="utf-8")
        scraped = Scrape.read(exposition, seconds=time.monotonic(), time=time.time())
    except TimeoutError:
        return f"no answer in {_ANSWER_SECONDS:.0f} s"
    except OSError as exc:
        return os.strerror(exc.errno) if exc.errno else str(exc)
    except aiohttp.ClientError as exc:
        return str(exc) or type(exc).__name__
    except ValueError as exc:  # what the parser and the decoder raise
        return f"no metrics: {exc}"
    return scraped if scraped.value("logloom_build_info") is not None else "no worker: it has no logloom_build_info"
