"""A relay in front of the broker whose connections can be cut: the network that fails in the middle of an answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

_CHUNK = 65_536


class Relay:
    """Passes bytes between clients and ``host:port``; ``cut`` aborts all of them and takes none for a time."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf_until = 0.0
        self.cuts = 0
        """Connections cut so far."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            self.cut(0.0)
            await self._server.wait_closed()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    @property
    def port(self) -> int:
        """Where clients connect, on the loopback."""
        if self._server is None:
            return 0
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    def cut(self, deaf_for: float) -> None:
        """Abort every connection, as a pulled plug would, and take none for ``deaf_for`` seconds."""
        self._deaf_until = asyncio.get_running_loop().time() + deaf_for
        for writer in tuple(self._open):
            writer.transport.abort()
            self.cuts += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asyncio.get_running_loop().time() < self._deaf_until:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            self._open.add(writer)
            try:
                await self._both_ways(reader, writer, upstream_reader, upstream_writer)
            finally:
                self._open.discard(writer)
                writer.transport.abort()
                upstream_writer.transport.abort()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        ways = {
            asyncio.create_task(_pass(reader, upstream_writer)),
            asyncio.create_task(_pass(upstream_reader, writer)),
        }
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in left:
            way.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
