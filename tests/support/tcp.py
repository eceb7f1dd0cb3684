"""A TCP proxy that a test can cut, silence and restore: what a network does to a connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from types import TracebackType
from typing import Self

from appliance.ports import free_port

_FIRST_TRIES = 3


class Wire:
    """Listens on a loopback port and passes bytes on to ``host:port`` in both directions."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.connections = 0
        """Accepted so far."""

    @classmethod
    def to(cls, url: str) -> Self:
        """A wire to ``scheme://host:port``."""
        host, _, port = url.rpartition("/")[2].rpartition(":")
        return cls(host, int(port))

    @property
    def port(self) -> int:
        return self._port

    async def __aenter__(self) -> Self:
        for left in reversed(range(_FIRST_TRIES)):
            # One that nobody is handed by chance while the wire is cut.
            self._port = free_port()
            try:
                await self._open()
                break
            except OSError as error:
                if not left or error.errno != errno.EADDRINUSE:
                    raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    def restore(self) -> None:
        """Take connections again, and let silenced ones flow."""
        self._flowing.set()
        if self._server is None:
            _ = self._keep(asyncio.ensure_future(self._open()))

    def silence(self) -> None:
        """Keep connections open and pass nothing on, as a network without a route does."""
        self._flowing.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            self.connections += 1
            there_reader, there_writer = await asyncio.open_connection(*self._target)
            self._writers.add(there_writer)
            both = self._pass(reader, there_writer, self.asked), self._pass(there_reader, writer, self.answered)
            await asyncio.gather(*[self._keep(asyncio.ensure_future(one)) for one in both])
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    def asked(self, data: bytes) -> bytes:
        """What becomes of bytes on their way there; an OSError breaks the connection."""
        return data

    def answered(self, data: bytes) -> bytes:
        """What becomes of bytes on their way back; an OSError breaks the connection."""
        return data

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, through: Callable[[bytes], bytes]
    ) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    await self._flowing.wait()
                    sink.write(through(data))
                    await sink.drain()
        finally:
            sink.transport.abort()
            self._writers.discard(sink)

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
