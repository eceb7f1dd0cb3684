"""The edge's HTTP server over a small application, and clients that write HTTP by hand."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from gateway.app import refused
from gateway.bodies.failures import Failed
from gateway.reading import read_body
from gateway.server import Server
from runtime.settings.services import Edge as Settings
from runtime.telemetry import DEBUG, Event, Telemetry

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATIENCE = 15.0
"""Seconds until a client of tests gives up."""


@dataclass
class Served:
    """A server that listens, and what its application saw."""

    settings: Settings
    telemetry: Telemetry
    draining: bool = False
    events: list[Event] = field(default_factory=list)
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    """Path and body of each request that reached the application whole."""
    gone: int = 0
    """Requests whose client the application saw going."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """What ``/wait`` waits for, and ``/stream`` between its two pieces."""
    server: Server = field(init=False)

    @property
    def port(self) -> int:
        return self.server.port

    def told(self, name: str) -> list[dict[str, Any]]:
        """The fields of all events of a name."""
        return [dict(event.fields) for event in self.events if event.name == name]

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``/echo`` (anything else), ``/wait``, ``/stream``, ``/large``, ``/unread``."""
        request = Request(scope, receive, send)
        try:
            response = await self._answered(request)
        except Failed as failed:
            response = refused(failed.error, "openai", "req_1")
        except ClientDisconnect:
            self.gone += 1
            return
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> ASGIApp:
        path = request.url.path
        if path == "/unread":
            return Response(b"unread", 401)
        body = await read_body(request, self.settings.max_body)
        self.asked.append((path, body))
        if path == "/wait":
            going = asyncio.ensure_future(self._gone(request))
            waiting = asyncio.ensure_future(self.go.wait())
            await asyncio.wait({going, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in (going, waiting):
                task.cancel()
        if path == "/stream":
            return StreamingResponse(self._pieces(), media_type="text/event-stream")
        if path == "/large":
            return Response(bytes(32 * 1024 * 1024))
        return Response(b"%b %b" % (path.encode(), body))

    async def _gone(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.gone += 1

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"one\n\n"
        await self.go.wait()
        yield b"two\n\n"


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Served]:
    """Serve ``Served.application`` with these settings of the section ``gateway``."""
    telemetry = Telemetry()
    served = Served(Settings(**{"drain": 0.2, **settings}), telemetry)
    telemetry.subscribe(served.events.append, lowest=DEBUG)
    served.server = Server(served, served.application, host="127.0.0.1", port=0)
    await served.server.start()
    try:
        yield served
    finally:
        served.go.set()
        await asyncio.wait_for(served.server.stop(), PATIENCE)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came. ``ended``: whole, or how the connection broke off."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: Literal["whole", "closed", "reset"] = "whole"

    @property
    def error(self) -> dict[str, Any]:
        """The error of an answer in the OpenAI API's shape."""
        return dict(json.loads(self.body)["error"])


class Client:
    """One connection, driven by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int, *, window: int | None = None) -> Self:
        """Connect; ``window`` bounds what the system takes in before it is read."""
        connection = socket.socket()
        connection.setblocking(False)
        if window is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except OSError:
            connection.close()
            raise
        return cls(*await asyncio.open_connection(sock=connection, limit=2**16 if window is None else window))

    async def send(self, data: bytes) -> None:
        """All of it, as far as the server takes it."""
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def answer(self) -> Answer:
        """The next answer, or what there is of it."""
        async with asyncio.timeout(PATIENCE):
            try:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except asyncio.IncompleteReadError as error:
                return Answer(0, {}, error.partial, "closed")
            except ConnectionError:
                return Answer(0, {}, b"", "reset")
            line, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
            status = int(line.split()[1])
            body = bytearray()
            try:
                ended = await self._body(headers, body)
            except asyncio.IncompleteReadError as error:
                return Answer(status, headers, bytes(body) + error.partial, "closed")
            except ConnectionError:
                return Answer(status, headers, bytes(body), "reset")
            return Answer(status, headers, bytes(body), ended)

    async def _body(self, headers: dict[str, str], body: bytearray) -> Literal["whole", "closed"]:
        if "content-length" in headers:
            body += await self.reader.readexactly(int(headers["content-length"]))
            return "whole"
        if headers.get("transfer-encoding") != "chunked":
            while piece := await self.reader.read(65_536):
                body += piece
            return "closed"
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return "whole"

    async def closed(self) -> bool:
        """Whether the server ends the connection (wait for it)."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
        return True

    def close(self) -> None:
        """Hang up."""
        self.writer.transport.abort()


@asynccontextmanager
async def client(port: int, *, window: int | None = None) -> AsyncIterator[Client]:
    """A connection that is hung up at the end."""
    made = await Client.to(port, window=window)
    try:
        yield made
    finally:
        made.close()


def request(path: str = "/echo", body: bytes = b"", *headers: str, method: str = "POST", version: str = "1.1") -> bytes:
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/{version}", "host: edge", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def exchange(port: int, data: bytes) -> Answer:
    """The answer to some bytes on a connection of their own."""
    async with client(port) as one:
        await one.send(data)
        return await one.answer()
