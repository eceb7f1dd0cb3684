"""A process's own small HTTP server: is it alive, may it be given work, what does it measure.

    health = Health(telemetry, metrics, port=0)          # a duty; ``health.port`` is known once it has started
    health.check("broker", lambda: None if bus.connected else "not connected")
    health.route("/autoscale", lambda: (200, "application/json", b"{}"))

``/livez`` answers as long as the loop turns, ``/readyz`` 200 when every check passes and 503 with the reasons when not,
``/metrics`` in Prometheus' text format. Loopback unless told otherwise; requests are small, few and bounded in time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus

from runtime.telemetry import INFO, Metrics, Telemetry

__all__ = ["Health"]

JSON = "application/json"
MAX_HEAD = 8 * 1024
MAX_CONNECTIONS = 64
PATIENCE = 5.0
"""Seconds a client may take to ask, and to take its answer."""

Answer = tuple[int, str, bytes]
Check = Callable[[], str | None]


class Health:
    """Serves ``/livez``, ``/readyz`` and ``/metrics`` on ``host:port``; port 0 takes any that is free."""

    def __init__(self, telemetry: Telemetry, metrics: Metrics, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._telemetry, self._metrics = telemetry, metrics
        self._host, self._asked_port = host, port
        self._checks: dict[str, Check] = {}
        self._routes: dict[str, Callable[[], Answer]] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = port

    def check(self, name: str, check: Check) -> None:
        """Ready only while ``check`` returns ``None``; otherwise it says in words what is missing."""
        self._checks[name] = check

    def route(self, path: str, answer: Callable[[], Answer]) -> None:
        """One more path: status, content type and body."""
        self._routes[path] = answer

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        if self._server is not None:
            return
        self._server = await asyncio.start_server(self._serve, self._host, self._asked_port, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]
        self._telemetry.emit("health.listening", INFO, host=self._host, port=self.port)

    async def stop(self) -> None:
        """Stop listening and drop open connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in tuple(self._open):
            writer.close()
        async with asyncio.timeout(PATIENCE):
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that does not ask properly gets nothing
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        line, _, rest = head.decode("latin-1").partition("\r\n")
        method, _, target = line.partition(" ")
        path = target.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return _response((HTTPStatus.METHOD_NOT_ALLOWED, JSON, b'{"error":"use GET"}'))
        answer = self.find(path, _header(rest, "accept"))
        return _response(answer, body=method == "GET")

    def find(self, path: str, accept: str) -> Answer:
        """Status, content type and body for a path: for a server of its own that shows the same."""
        if path == "/livez":
            return HTTPStatus.OK, JSON, b'{"status":"alive"}'
        if path == "/readyz":
            return self._ready()
        if path == "/metrics":
            return HTTPStatus.OK, *self._metrics.exposition(accept)
        if path in self._routes:
            return self._routes[path]()
        return HTTPStatus.NOT_FOUND, JSON, b'{"error":"not found"}'

    def _ready(self) -> Answer:
        missing = {name: why for name, check in self._checks.items() if (why := check()) is not None}
        status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
        words = {"status": "not ready" if missing else "ready", "missing": missing, "checks": sorted(self._checks)}
        return status, JSON, json.dumps(words).encode()


def _header(lines: str, name: str) -> str:
    for line in lines.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def _response(answer: Answer, *, body: bool = True) -> bytes:
    status, content_type, payload = answer
    head = (
        f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(payload)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (payload if body else b"")
