"""The HTTP server as one duty of the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn

from runtime.telemetry import INFO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from console.live import Feeds
    from runtime.telemetry import Telemetry

MOST = 1_000
"""Connections at once; further ones are answered 503."""
IDLE = 75
"""Seconds for the next request on a connection."""
FLUSH = 2
"""Seconds in which requests may end once the server is to."""


class _Quiet(uvicorn.Server):
    """One that leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """Listens on ``host:port`` (0 takes any that is free; ``port`` says which) and serves one application."""

    def __init__(self, application: ASGIApp, feeds: Feeds, telemetry: Telemetry, *, host: str, port: int) -> None:
        self._application, self._feeds, self._telemetry = application, feeds, telemetry
        self._host, self.port = host, port
        self._server: _Quiet | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        if self._server is not None:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self.port), family=family)
        self.port = listener.getsockname()[1]
        self._server = _Quiet(
            uvicorn.Config(
                self._application,
                http="httptools",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MOST,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=FLUSH,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        self._telemetry.emit("console.listening", INFO, host=self._host, port=self.port)

    async def stop(self) -> None:
        """End the pages that are kept current, let requests end, close."""
        server, self._server = self._server, None
        if server is None or self._serving is None:
            return
        await self._feeds.close()
        server.should_exit = True
        await asyncio.wait({self._serving}, timeout=2 * FLUSH)
