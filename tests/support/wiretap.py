"""A tap on the wire between a client and an HTTP server: what was asked and what was answered, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Wiretap:
    """``async with Wiretap(url) as tap:``, let the client call ``tap.url``, then read ``asked`` and ``answered``.

    Meant for one call: all that passes is taken for one request and its answer.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._up = bytearray()
        self._down = bytearray()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @property
    def url(self) -> str:
        """Where the client is to call."""
        if self._server is None:
            raise RuntimeError("the tap is not open")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def path(self) -> str:
        """What was asked for."""
        return self._up.split(b" ", 2)[1].decode()

    @property
    def asked(self) -> dict[str, Any]:
        """The JSON that was sent."""
        found: dict[str, Any] = json.loads(_body(self._up))
        return found

    @property
    def answered(self) -> bytes:
        """The body that came back."""
        return _body(self._down)

    @property
    def media_type(self) -> str:
        """What the answer's header says it is."""
        return _headers(self._down).get("content-type", "")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        if serving is not None:
            self._tasks.add(serving)
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._writers += (writer, up_writer)
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(_pump(reader, up_writer, self._up))
            pumps.create_task(_pump(up_reader, writer, self._down))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            heard += data
            writer.write(data)
            await writer.drain()
    writer.close()


def _headers(message: bytearray) -> dict[str, str]:
    head = bytes(message).partition(b"\r\n\r\n")[0].decode("latin-1")
    pairs = (line.partition(":") for line in head.split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _body(message: bytearray) -> bytes:
    """The body of the one message that passed, put together where it came in chunks (RFC 9112, 7.1)."""
    body = bytes(message).partition(b"\r\n\r\n")[2]
    if _headers(message).get("transfer-encoding") != "chunked":
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole += body[:length]
        if not length:
            break
        body = body[length + 2 :]
    return whole
