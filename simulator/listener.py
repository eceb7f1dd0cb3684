"""A listening port that can be closed and opened again without losing its number."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from simulator.connection import Connection, Handler

BACKLOG = 2_048
LONGEST_FLUSH = 1.0
"""Seconds that a closing connection has for what was written."""

BIND_TRIES = 200
"""Tries at taking a port again that the loop is still closing; a try is one turn of the loop, then a millisecond."""


class Connections:
    """The connections of one port."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._none_left = asyncio.Event()

    def add(self, connection: Connection) -> None:
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        self._open.discard(connection)
        if not self._open:
            self._none_left.set()

    def reset(self) -> None:
        """Close all with a TCP reset."""
        for connection in list(self._open):
            connection.reset()

    async def end(self) -> None:
        """Close all when what was written has left, with a reset those that take too long."""
        if not self._open:
            return
        self._none_left.clear()
        for connection in list(self._open):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none_left.wait(), LONGEST_FLUSH)
        self.reset()


class Listener:
    """Accepts connections on one port.

    While it is closed the port stays bound to a socket that does not listen: connections are refused as by a machine
    where nothing runs, and nobody else can take the number.
    """

    def __init__(self, handler: Handler, host: str, port: int, max_body: int) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._max_body = max_body
        self._server: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._connections = Connections()
        self._changing = asyncio.Lock()

    @property
    def port(self) -> int:
        """The port; before the first ``open`` the one asked for."""
        return self._port

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def listening(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """Accept connections; nothing if it does already.

        Raises:
            OSError: the port is taken.
        """
        async with self._changing:
            if self._server is not None:
                return
            bound, self._placeholder = self._placeholder or self._bind(), None
            self._port = bound.getsockname()[1]
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._handler, self._connections, self._max_body), sock=bound, backlog=BACKLOG
            )

    async def refuse(self) -> None:
        """Refuse connections, and reset those that there are: what a machine that has died does to its clients."""
        async with self._changing:
            if self._server is None:
                return
            self._server.close()
            self._server = None
            self._connections.reset()
            for attempt in range(BIND_TRIES):
                try:
                    self._placeholder = self._bind()
                except OSError:
                    await asyncio.sleep(0 if attempt < BIND_TRIES // 2 else 0.001)
                else:
                    return

    async def close(self) -> None:
        """Close for good, with every connection."""
        async with self._changing:
            if self._server is not None:
                self._server.close()
                self._server = None
            if self._placeholder is not None:
                self._placeholder.close()
                self._placeholder = None
        await self._connections.end()

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self._port))
        except OSError:
            bound.close()
            raise
        bound.setblocking(False)
        return bound
