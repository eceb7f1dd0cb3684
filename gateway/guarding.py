"""One connection under bounds: uvicorn's reading of HTTP/1.1 (httptools) with everything a client may take limited.

uvicorn bounds neither the bytes of headers nor their number, nor the time that headers, a body or a reader take. Here
a connection is always in one of few states, and each has its limit: *idle* (``idle_timeout``), *headers arriving*
(``header_timeout``, ``max_header``, ``max_headers``), *body arriving* (``body_timeout`` without a byte, and never
slower than ``SLOWEST``), *answer not taken* (``write_timeout``). One look at all of them every ``Door.look`` seconds
takes the place of timers of each (``overdue``).

What is wrong with a request is answered in the shape of the API it was meant for, unless an earlier answer on the
connection is still due: then it would be taken for that one, and the connection ends behind the earlier answer instead.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.bodies.failures import ApiError
from gateway.words import full, too_large, too_slow, until_close, written
from runtime.telemetry import DEBUG, WARNING

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from runtime.settings.services import Edge as EdgeSettings
    from runtime.telemetry import Telemetry

SLOWEST = 256
"""Bytes a second of a body, counted over ``body_timeout``: who sends less holds a place and sends nothing."""
LONGEST_TARGET = 8 * 1024
"""Bytes of a request's target."""
MOST_PIPELINED = 8
"""Requests that may wait on a connection for the answers before theirs."""
FAREWELL = 2.0
"""Seconds a refused client has to read why; closing at once would make its system throw the answer away."""
MOST_REFUSED = 256
"""Connections beyond ``max_connections`` that are told so; further ones are closed without a word."""
OPEN = frozenset({b"/livez", b"/readyz", b"/metrics"})
"""What is answered however much is under way: a full edge is no dead one."""


class Host(Protocol):
    """What a server needs of the edge it serves."""

    telemetry: Telemetry
    draining: bool

    @property
    def settings(self) -> EdgeSettings: ...


@dataclass(slots=True)
class Door:
    """What all connections of one server share."""

    host: Host
    application: ASGIApp
    config: Config
    most: int
    """Connections at once."""
    state: ServerState = field(default_factory=ServerState)
    received: int = 0
    """Bytes so far."""
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the last connection has ended."""

    @property
    def look(self) -> float:
        """Seconds between two looks at what is overdue: a small part of the shortest limit."""
        told = self.host.settings
        times = (told.header_timeout, told.body_timeout, told.write_timeout, told.idle_timeout)
        return min(0.5, min(times) / 4)

    @property
    def connections(self) -> set[Guarded]:
        """Those that are open."""
        return self.state.connections  # type: ignore[return-value]  # this door makes no others


class _Reading(Enum):
    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"


class _Wrong(Exception):
    """Ends the parsing of a request; the reason lies in ``Guarded._wrong``."""


class Guarded(HttpToolsProtocol):
    """One connection. Methods that begin with ``on_`` are the parser's callbacks."""

    def __init__(self, door: Door, loop: Any) -> None:
        super().__init__(door.config, door.state, {}, loop)
        self.access_log = False
        self._door = door
        self._settings = door.host.settings
        self._reading = _Reading.NOTHING
        self._since = self._heard = self.loop.time()
        """When the state of reading began, and when the last byte came."""
        self._head = self._body = 0
        """Bytes of the headers that are arriving, and of the body since ``_since``."""
        self._wrong: ApiError | None = None
        self._running: RequestResponseCycle | None = None
        """The request whose answer is due next."""
        self._deaf = False
        """Nothing more is read; the connection ends with what is under way."""
        self._ends = 0.0
        """When it is cut off if it has not closed by itself; 0 while it is to stay."""
        self._stalled = 0.0
        """Since when the client has taken too little; 0 while it keeps up."""

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self._running is not None and not self._running.response_complete

    # -- the transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        count = len(self.connections)
        super().connection_made(transport)
        self._exit = _Exit(self)
        if count >= self._door.most + MOST_REFUSED:
            transport.abort()
        elif count >= self._door.most:
            message = f"{self._door.most} connections are open, which is as many as there may be"
            self._refuse(ApiError(503, "too_many_connections", message, remedy="try again later", retry_after=5.0))

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        running = self._running
        if running is not None and not running.response_complete:
            self._leave(running)
        super().connection_lost(exc)
        if not self.connections:
            self._door.empty.set()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._heard = self.loop.time()
        self._door.received += len(data)
        self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            remedy = "send HTTP/1.1, with one of content-length and transfer-encoding: chunked if there is a body"
            wrong, self._wrong = self._wrong, None
            self._refuse(wrong or ApiError(400, "bad_request", "this is no request as HTTP has it", remedy=remedy))
        else:
            if self._reading is _Reading.HEAD:
                self._head += len(data)
                if self._head > self._settings.max_header:
                    self._refuse(too_large(self._settings))

    def _decline(self, rest: bytes) -> None:
        """Read a request again without its offer to change the protocol, which the parser takes for agreed upon."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._read(b"\r\n".join([*lines, b"", rest]))

    def pause_writing(self) -> None:
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled = 0.0
        super().resume_writing()

    # -- the parser's side

    def on_message_begin(self) -> None:
        self._to(_Reading.HEAD)
        self._head = self._body = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise self._because(ApiError(501, "not_implemented", "this is no proxy", remedy="use another method"))
            return  # see ``_decline``
        self._check_head()
        host = self._door.host
        if len(self.tasks) >= self._settings.max_requests and self.url not in OPEN:
            self.app = full(self._settings, host.telemetry)
        elif self.app is not self._door.application:
            self.app = self._door.application
        if len(self.pipeline) >= MOST_PIPELINED:
            raise self._because(ApiError(400, "too_many_pipelined", "too many requests wait on this connection"))
        super().on_headers_complete()
        self._to(_Reading.BODY)
        self.cycle.transport = self._exit  # type: ignore[assignment]  # all that a cycle uses of one
        if self.pipeline:
            self.flow.resume_reading()  # the queue is bounded, and only who reads notices that a client has gone

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._to(_Reading.NOTHING)
        super().on_message_complete()

    def _check_head(self) -> None:
        """Bounds, and the one Host that HTTP/1.1 asks for. Raises _Wrong."""
        size, hosts = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
        if size > self._settings.max_header or len(self.headers) > self._settings.max_headers:
            raise self._because(too_large(self._settings))
        if len(self.url) > LONGEST_TARGET:
            message = f"the request's target has more than {LONGEST_TARGET} bytes"
            raise self._because(ApiError(414, "uri_too_long", message, remedy="send it in the body"))
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            message = f"HTTP/{version} is not spoken here"
            raise self._because(ApiError(505, "version_not_supported", message, remedy="send HTTP/1.1"))
        if hosts != 1 and (hosts or version == "1.1"):
            message = f"there are {hosts} Host headers" if hosts else "there is no Host header"
            raise self._because(ApiError(400, "bad_request", message, remedy="send exactly one Host header"))

    def _because(self, error: ApiError) -> _Wrong:
        self._wrong = error
        return _Wrong()

    def _to(self, reading: _Reading) -> None:
        self._reading = reading
        self._since = self._heard

    # -- requests

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self._deaf or self._door.host.draining:
            cycle.keep_alive = False
        if cycle.scope["http_version"] == "1.0":
            app = until_close(cycle, app)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._running = None
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if self._deaf and not self._ends:
            self.transport.close()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    # -- ends

    def overdue(self, now: float) -> None:
        """End what has taken longer than it may."""
        told = self._settings
        if self.transport.is_closing():
            self._ends = self._ends or now + told.write_timeout
        if self._ends:
            if now >= self._ends:
                self.transport.abort()
        elif self._stalled and now - self._stalled >= told.write_timeout:
            self._door.host.telemetry.emit("edge.cut", WARNING, why="write_timeout")
            self.transport.abort()
        elif self._reading is _Reading.HEAD:
            if now - self._since >= told.header_timeout:
                self._refuse(too_slow("headers", told.header_timeout))
        elif self._reading is _Reading.BODY:
            self._body_overdue(now)
        elif not self.busy and now - self._since >= told.idle_timeout:
            self.transport.close()

    def _body_overdue(self, now: float) -> None:
        patience = self._settings.body_timeout
        if self.flow.read_paused:  # it is we who do not read
            self._since = self._heard = now
        elif now - self._heard >= patience:
            self._refuse(too_slow("body", patience))
        elif now - self._since >= patience:
            if self._body < patience * SLOWEST:
                self._refuse(too_slow("body", patience))
            self._since, self._body = now, 0

    def drain(self) -> None:
        """Close with the answer that is under way."""
        if self._running is not None:
            self._running.keep_alive = False

    def cut(self) -> None:
        """End now: with an error if nothing was answered yet, else in the middle, so that nobody takes it for whole."""
        running = self._running
        if running is not None and running.response_started and not running.response_complete:
            self._door.host.telemetry.emit("edge.cut", WARNING, why="draining")
            self._leave(running)
            self._break_off(running)
        elif running is not None:
            remedy = "send the request again, with its idempotency key if it has one: its job goes on"
            self._refuse(ApiError(503, "draining", "this edge has ended", remedy=remedy, retry_after=1.0), sure=True)
        else:
            self.transport.close()

    def _refuse(self, error: ApiError, *, sure: bool = False) -> None:
        """Answer with an error and end. ``sure``: it is the running request that is answered."""
        if self._deaf or self.transport.is_closing():
            return
        self._door.host.telemetry.emit("edge.refused", DEBUG, code=error.code)
        running = self._running if self.busy else None
        own = running is None or sure or (running is self.cycle and self._reading is _Reading.BODY)
        if not own or (running is not None and running.response_started):
            self._finish_with(running)
            return
        if running is not None:
            self._leave(running)
        self.transport.write(written(error, self.headers, self.server_state.default_headers))
        self._linger()

    def _finish_with(self, running: RequestResponseCycle | None) -> None:
        """Read nothing more and close behind this answer."""
        self._deaf = True
        self.pipeline.clear()
        if running is not None and not running.response_complete:
            running.keep_alive = False
        else:
            self.transport.close()

    def _leave(self, running: RequestResponseCycle) -> None:
        """Tell the application that its client has gone."""
        running.disconnected = True
        running.message_event.set()

    def _linger(self) -> None:
        """Everything is said: give the client time to read it, then close."""
        self._deaf = True
        self._ends = self.loop.time() + FAREWELL
        self.pipeline.clear()
        self.flow.resume_reading()  # what still comes is thrown away
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _break_off(self, running: RequestResponseCycle) -> None:
        """End an answer in its middle. Where only the connection's end marks its own, the end must be a reset."""
        if not running.chunked_encoding:
            connection = self.transport.get_extra_info("socket")
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def answered(self) -> None:
        """An answer that closes the connection is complete, or broken off by its application."""
        running = self._running
        if running is not None and running.response_started and not running.response_complete:
            self._break_off(running)
        elif self._reading is _Reading.NOTHING:
            self.transport.close()
        elif not self._deaf:
            self._linger()


class _Exit:
    """The transport as a request sees it: its ``close`` lets a client that is still sending read the answer."""

    __slots__ = ("_guarded", "is_closing", "write")

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self.write: Callable[[bytes], None] = guarded.transport.write
        self.is_closing: Callable[[], bool] = guarded.transport.is_closing

    def close(self) -> None:
        """See ``Guarded.answered``."""
        self._guarded.answered()
