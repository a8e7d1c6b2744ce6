"""A TCP proxy that can be cut or slowed, in a thread of its own."""

import asyncio
import threading
from contextlib import suppress
from typing import Self


class Proxy:
    """Passes connections on to a port of this machine."""

    def __init__(self, port: int, target: int) -> None:
        """Listen on `port` once started, and connect to `target`."""
        self._port = port
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._is_refusing = False
        self._server: asyncio.Server | None = None
        #: Seconds before each piece is passed on.
        self.delay_seconds = 0.0
        #: Most bytes a second that each connection passes on to the target; 0 for any number.
        self.trickle = 0
        #: Bytes that came from the target.
        self.answered = 0

    def start(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._call(self._listen())
        return self

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._call(self._set(is_refusing=True, is_passing=True))

    def hang(self) -> None:
        """Keep connections and pass nothing on."""
        self._call(self._set(is_refusing=False, is_passing=False))

    def heal(self) -> None:
        """Pass everything on at once again."""
        self.delay_seconds, self.trickle = 0.0, 0
        self._call(self._set(is_refusing=False, is_passing=True))

    def stop(self) -> None:
        """End it, with all its connections."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._accept, "localhost", self._port)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._set(is_refusing=True, is_passing=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _set(self, *, is_refusing: bool, is_passing: bool) -> None:
        self._is_refusing = is_refusing
        if is_passing:
            self._passing.set()
        else:
            self._passing.clear()
        if is_refusing:
            for connection in self._connections:
                connection.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            writer.transport.abort()
            return
        try:
            other_reader, other_writer = await asyncio.open_connection("localhost", self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, other_writer}
        self._connections |= both
        try:
            await asyncio.gather(self._ask(reader, other_writer), self._answer(other_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # an end is gone: so is the other; or the proxy ends
        finally:
            for end in both:
                end.transport.abort()
            self._connections -= both

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 14):
            if self.trickle:
                await _pause(len(piece) / self.trickle)
            await self._pass(piece, writer)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            self.answered += len(piece)
            await self._pass(piece, writer)
        writer.transport.abort()

    async def _pass(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay_seconds:
            await _pause(self.delay_seconds)
        await self._passing.wait()
        writer.write(piece)
        await writer.drain()


async def _pause(seconds: float) -> None:
    """Let time go by: that is what is done here, not a wait for something."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
