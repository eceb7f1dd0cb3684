"""The HTTP server as one duty of the process: uvicorn over httptools, without its own signals and logs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.edge import Edge


class Server:
    """Listens on ``host:port`` (0 takes any that is free; ``port`` says which) and serves one application."""

    def __init__(self, edge: Edge, application: ASGIApp, *, host: str, port: int) -> None:
        self._edge = edge
        settings = edge.settings
        self._config = uvicorn.Config(
            application,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=settings.max_connections,
            timeout_keep_alive=int(settings.idle_timeout),
            timeout_graceful_shutdown=max(1, int(settings.drain)),
            backlog=2048,
        )
        self._host, self.port = host, port
        self._server: _Quiet | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        if self._server is not None:
            return
        listener = socket.create_server((self._host, self.port), backlog=2048)
        self.port = listener.getsockname()[1]
        self._server = _Quiet(self._config)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="http")
        self._edge.telemetry.emit("edge.listening", INFO, host=self._host, port=self.port)

    async def stop(self) -> None:
        """Take nothing new, let what is under way end within the drain, then cut what is left."""
        server, serving = self._server, self._serving
        if server is None or serving is None:
            return
        self._server = self._serving = None
        self._edge.draining = True
        server.should_exit = True
        await asyncio.wait({serving}, timeout=self._edge.settings.drain + 5.0)
        if not serving.done():
            self._edge.telemetry.emit("edge.drain_cut_short", WARNING)
            serving.cancel()
            await asyncio.wait({serving}, timeout=1.0)


class _Quiet(uvicorn.Server):
    """Signals are the service's, not the server's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none: what the server took it would raise once more at its end."""
        yield
