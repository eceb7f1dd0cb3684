"""One HTTP/1.1 connection: bytes in, requests to the handler, and the exchange through which each is answered."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from simulator.wire import JSON, Request, whole

MOST_HEADER_BYTES = 64 * 1024
MOST_QUEUED = 16
"""Requests of one connection that wait for the one before them; reading stops there."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Handler = Callable[[Request, "Exchange"], None]


class Exchange:
    """The answer to one request. Nothing raises once the client has left: check ``closed``, or ask to be told."""

    __slots__ = ("_connection", "_on_lost", "closed")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._on_lost: Callable[[], None] | None = None
        self.closed = False

    def send(self, data: bytes) -> None:
        """Write bytes of the response."""
        if data and not self.closed:
            self._connection.write(data)

    def finish(self) -> None:
        """The response is complete; the connection goes on to the next request."""
        if not self.closed:
            self.closed = True
            self._connection.next_request()

    def reply(self, data: bytes) -> None:
        """Write a whole response."""
        self.send(data)
        self.finish()

    def hang_up(self) -> None:
        """Close the connection, properly as far as TCP goes, after what has been written."""
        if not self.closed:
            self.closed = True
            self._connection.close()

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        if not self.closed:
            self.closed = True
            self._connection.reset()

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Call back once if the client leaves before the response is complete."""
        self._on_lost = callback

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written."""
        if not self.closed:
            await self._connection.drain()

    def lose(self) -> None:
        """The client has left."""
        if not self.closed:
            self.closed = True
            if self._on_lost is not None:
                self._on_lost()


class Group(Protocol):
    """Who keeps track of the connections there are."""

    def add(self, connection: Connection, /) -> None: ...

    def discard(self, connection: Connection, /) -> None: ...


class Connection(asyncio.Protocol):
    """Parses requests and hands them on one at a time, in the order in which they came."""

    def __init__(self, handler: Handler, group: Group, max_body: int) -> None:
        self._handler = handler
        self._group = group
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._current: Exchange | None = None
        self._queue: deque[tuple[Request, bool]] = deque()
        self._keep_alive = True
        self._writable: asyncio.Future[None] | None = None
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._group.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._group.discard(self)
        self._queue.clear()
        self.resume_writing()
        if self._current is not None:
            self._current.lose()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # refused when its header was complete
        except httptools.HttpParserError:
            self._refuse(400, b'{"error":{"message":"this is not HTTP/1.1"}}')

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._header_bytes = self._body_bytes = 0
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MOST_HEADER_BYTES:
            self._refuse(431, b'{"error":{"message":"the header is too large"}}')

    def on_headers_complete(self) -> None:
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(_CONTINUE)
        if self._parser.should_upgrade():
            # The parser takes what follows for another protocol, the body of this very request included.
            self._refuse(501, b'{"error":{"message":"no upgrade is supported"}}')

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self._max_body:
            self._refuse(413, b'{"error":{"message":"the body is too large"}}')
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self._parser.get_method().decode("latin-1"), path, query, self._headers, body)
        keep_alive = self._parser.should_keep_alive()
        if self._current is None:
            self._begin(request, keep_alive=keep_alive)
            return
        self._queue.append((request, keep_alive))
        if len(self._queue) == MOST_QUEUED:
            self._transport.pause_reading()

    # What the exchange calls

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def next_request(self) -> None:
        """The response is complete: begin with the next request, or close."""
        self._current = None
        if not self._keep_alive:
            self.close()
        elif self._queue and self._transport is not None:
            if len(self._queue) == MOST_QUEUED:
                self._transport.resume_reading()
            request, keep_alive = self._queue.popleft()
            asyncio.get_running_loop().call_soon(lambda: self._begin(request, keep_alive=keep_alive))

    def close(self) -> None:
        """Close after what has been written."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a TCP reset, dropping what has not been sent."""
        if self._transport is not None:
            connected = self._transport.get_extra_info("socket")
            if connected is not None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    async def drain(self) -> None:
        if self._writable is not None:
            await self._writable

    @property
    def idle(self) -> bool:
        """No request is being answered."""
        return self._current is None

    def _begin(self, request: Request, *, keep_alive: bool) -> None:
        if self._transport is None:
            return
        self._keep_alive = keep_alive
        exchange = self._current = Exchange(self)
        try:
            self._handler(request, exchange)
        except Exception as error:  # noqa: BLE001 - the top of the connection's loop: one request must not end the others
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a request could not be answered", "exception": error, "transport": self._transport}
            )
            exchange.send(whole(500, JSON, b'{"error":{"message":"the simulator has a fault of its own"}}'))
            exchange.hang_up()

    def _refuse(self, status: int, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if self._current is None:
                self.write(whole(status, JSON, body, b"connection: close\r\n"))
            self._transport.close()
