"""httpx's transport interface over aiohttp's connections: the same requests and errors for a tenth of the CPU.

``docs/decisions/0003-http-transport.md`` has the measurements. Like every ``httpx.AsyncBaseTransport`` this one raises
httpx's exceptions only. It follows no redirect, decompresses nothing, keeps no cookies, reads no environment, and never
sends a request twice.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Self, cast

import aiohttp
import httpx
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

__all__ = ["AiohttpTransport", "Answer"]

MAX_HEADER = 32 * 1024
"""Bytes of one header line of an answer."""
_NO_AUTO_HEADERS = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)

# The most telling class first. What stands for "could not connect" comes before its parents.
_MAPPING: tuple[tuple[type[BaseException], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerFingerprintMismatch, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.ReadError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientError, httpx.NetworkError),
    (TimeoutError, httpx.ReadTimeout),
    (OSError, httpx.ReadError),
)


def _mapped(error: BaseException) -> httpx.TransportError:
    """``ReadError``: the connection ended. ``RemoteProtocolError``: what came is not HTTP, or the body is cut."""
    if isinstance(error, aiohttp.ClientPayloadError) and ConnectionResetError.__name__ in str(error):
        error = ConnectionResetError()  # aiohttp tells a body that was cut by a reset from another one only in its text
    kind = next((there for here, there in _MAPPING if isinstance(error, here)), httpx.NetworkError)
    return kind(type(error).__name__)


class _Connection(ResponseHandler):
    """A connection that is not used again once there is anything to read on it.

    The provider may have closed an idle connection while the loop was busy: the end lies in the socket, nobody has seen
    it, and a request would be lost on it. One look at the socket (a microsecond) narrows that race to the time a packet
    is on its way; what falls into it is reported as a lost connection, because the request may have been received.
    """

    def is_connected(self) -> bool:
        """Asked by the connector before it uses an idle connection again."""
        transport = self.transport
        if not super().is_connected() or transport is None:
            return False
        socket = transport.get_extra_info("socket")
        if socket is None:
            return True
        look = select.poll()
        look.register(socket.fileno(), select.POLLIN)
        return not look.poll(0)


class _Connector(aiohttp.TCPConnector):
    """Makes such connections; that there is a ``_factory`` to replace is held by a test."""

    def __init__(self, *, keep_alive: float, context: ssl.SSLContext | None) -> None:
        super().__init__(limit=0, keepalive_timeout=keep_alive, ssl=context if context is not None else True)
        made = partial(_Connection, loop=asyncio.get_running_loop())
        self._factory = cast("partial[ResponseHandler]", made)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One pool of connections to one provider. ``keep_alive``: seconds an idle connection is kept.

    The connect timeout comes from the request's ``extensions["timeout"]["connect"]`` and covers the name look-up, the
    connection and TLS; other timeouts belong to the caller, who knows what it waits for. How many connections there
    are is bounded by the caller's slots.
    """

    def __init__(self, *, keep_alive: float = 15.0, context: ssl.SSLContext | None = None) -> None:
        self._keep_alive = keep_alive
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._urls: dict[httpx.URL, URL] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send and return as soon as the answer's headers are there; the body is streamed."""
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw]
        connect = request.extensions.get("timeout", {}).get("connect")
        answer = await self._send(request.method, request.url, headers, request.read(), connect)
        return httpx.Response(answer.status_code, headers=answer.raw, stream=answer.stream)

    async def post(
        self, url: httpx.URL, headers: Sequence[tuple[str, str]], body: bytes, *, connect: float | None
    ) -> Answer:
        """The same for what is sent a thousand times a second: without httpx's objects, but with its errors."""
        return await self._send("POST", url, headers, body, connect)

    async def _send(
        self, method: str, url: httpx.URL, headers: Sequence[tuple[str, str]], body: bytes, connect: float | None
    ) -> Answer:
        session = self._session or self._open()
        try:
            response = await session._request(  # noqa: SLF001 - ``request`` only adds a context manager
                method,
                self._url(url),
                data=body,
                headers=CIMultiDict(headers),
                allow_redirects=False,
                timeout=self._timeout(connect),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _mapped(error) from error
        return Answer(response)

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        """The session; made at the first request because it belongs to the running loop."""
        self._session = aiohttp.ClientSession(
            connector=_Connector(keep_alive=self._keep_alive, context=self._context),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NO_AUTO_HEADERS,
            auto_decompress=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            trust_env=False,
        )
        return self._session

    def _url(self, url: httpx.URL) -> URL:
        found = self._urls.get(url)
        if found is None:
            if len(self._urls) > 4096:
                self._urls.clear()
            found = self._urls[url] = URL(str(url), encoded=True)
        return found

    def _timeout(self, connect: float | None) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(connect)
        if found is None:
            if len(self._timeouts) > 64:
                self._timeouts.clear()
            found = self._timeouts[connect] = aiohttp.ClientTimeout(connect=connect)
        return found


class Answer:
    """As much of ``httpx.Response`` as is looked at of every answer."""

    __slots__ = ("headers", "raw", "status_code", "stream")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status_code = response.status
        self.headers: Mapping[str, str] = response.headers
        """By name in any case; the first of several."""
        self.raw = response.raw_headers
        self.stream = _Body(response)

    def full(self) -> httpx.Response:
        """All that httpx knows to do with it."""
        return httpx.Response(self.status_code, headers=self.raw, stream=self.stream)


class _Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """The answer's bytes as they come; aiohttp stops reading from the socket while nobody takes them."""

    __slots__ = ("_closed", "_response")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        # When the framing breaks in the middle of a body, aiohttp (3.14) closes the connection and leaves the body's
        # reader waiting for ever; so whoever waits is told when the connection is gone.
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        self._closed = protocol.closed if protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(self._connection_gone)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _mapped(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Keep the connection if the whole answer was received, otherwise close it: the provider stops."""
        if self._closed is not None:
            self._closed.remove_done_callback(self._connection_gone)
        self._response.close()

    def _connection_gone(self, closed: asyncio.Future[None]) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection ended in the middle of the body"))
        if not closed.cancelled():
            closed.exception()  # seen: it has been told to the reader
