"""The HTTP server as one duty of the process: listens, looks after its connections, drains them at the end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from email.utils import formatdate
from typing import TYPE_CHECKING

import uvicorn

from gateway.guarding import Door, Guarded, Host
from runtime.service import place_of
from runtime.telemetry import ERROR, INFO, WARNING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

BACKLOG = 2048
"""Connections that the system holds until they are accepted."""
SPARE = 256
"""Descriptors kept for all that is no client's connection."""
FLUSH = 1.0
"""Seconds for the last bytes to go out, and for requests to notice that they were cut."""


class Server:
    """Listens on ``host:port`` (0 takes any that is free; ``port`` says which) and serves one application."""

    def __init__(self, edge: Host, application: ASGIApp, *, host: str, port: int) -> None:
        self._edge = edge
        self._host, self.port = host, port
        config = uvicorn.Config(
            application,
            http=Guarded,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
        )
        self._door = Door(edge, application, config, edge.settings.max_connections)
        self._listening: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._door.connections)

    @property
    def requests(self) -> int:
        """Those under way."""
        return len(self._door.state.tasks)

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self._door.received

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        if self._listening is not None:
            return
        self._door.most = self._room()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self.port), family=family, backlog=BACKLOG)
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._dated()
        self._listening = await loop.create_server(lambda: Guarded(self._door, loop), sock=listener, backlog=BACKLOG)
        self._looking = asyncio.create_task(self._look(), name="http")
        self._edge.telemetry.emit("edge.listening", INFO, host=self._host, port=self.port)

    async def stop(self) -> None:
        """Say so where readiness is asked for, let what is under way end within the drain, then cut what is left.

        New requests are answered meanwhile: with 503, to be sent elsewhere.
        """
        listening, self._listening = self._listening, None
        if listening is None:
            return
        self._edge.draining = True
        for connection in tuple(self._door.connections):
            connection.drain()
        if not await self._idle(self._edge.settings.drain):
            self._edge.telemetry.emit("edge.drain_cut_short", WARNING, requests=self.requests)
        listening.close()
        await self._cut()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                await listening.wait_closed()

    async def _cut(self) -> None:
        for connection in tuple(self._door.connections):
            connection.cut()
        if not await self._idle(FLUSH):
            for task in self._door.state.tasks:
                task.cancel()
            await self._idle(FLUSH)
        if self._door.connections:
            self._door.empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH):
                    await self._door.empty.wait()
        for connection in tuple(self._door.connections):
            connection.transport.abort()

    async def _idle(self, within: float) -> bool:
        """Wait until nothing is under way; False after ``within`` seconds."""
        ends = asyncio.get_running_loop().time() + within
        while tasks := set(self._door.state.tasks):
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            await asyncio.wait(tasks, timeout=left)
        return True

    async def _look(self) -> None:
        """See, again and again, what is overdue on every connection."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._door.look)
            self._dated()
            now = loop.time()
            for connection in tuple(self._door.connections):
                try:
                    connection.overdue(now)
                except Exception as error:  # noqa: BLE001 - the top of a loop that must not end
                    where = place_of(error)
                    self._edge.telemetry.emit("edge.look_failed", ERROR, error=type(error).__name__, place=where)
                    connection.transport.abort()

    def _dated(self) -> None:
        self._door.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    def _room(self) -> int:
        """Connections that the process has descriptors for, at most those that are configured."""
        most = self._edge.settings.max_connections
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = most + SPARE
        if soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            most = max(1, soft - SPARE)
            self._edge.telemetry.emit("edge.fewer_connections", WARNING, connections=most, descriptors=soft)
        return most
