"""The client side of the NATS protocol on one socket: what arrives is heard at once, what is sent leaves in one write.

The protocol is a line and, for messages, a payload: https://docs.nats.io/reference/reference-protocols/nats-protocol.
Measured against the asyncio client library, which passes each message through two queues and three tasks, this costs
a quarter to a half of the CPU per operation (``benchmarks/bus.py``; the decision records have figures and reasons).
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

from runtime.bus.frames import encode_message, parse_headers
from runtime.bus.port import Outgoing, Unreachable
from runtime.bus.settings import BusSettings

log = logging.getLogger(__name__)

DEFAULT_PORT = 4222
MAX_LINE = 1024 * 1024
"""Longest line we take; a greeting with many servers is some kilobytes."""
FLUSH_AT = 256 * 1024
"""Bytes that are handed to the socket without waiting for the loop to come round."""
_M, _H, _P = b"MHP"


class Arrival:
    """A message as it arrived; ``status`` is set on the broker's own remarks (``404``, ``503``), which have no body."""

    __slots__ = ("data", "headers", "reply", "status", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None, status: str) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self.headers = headers
        self.status = status


Hear: TypeAlias = Callable[[Arrival], None]


class Wire(asyncio.Protocol):
    """One connection, from its greeting to its loss; it is never used again after ``lost``."""

    def __init__(self, on_lost: Callable[[Wire, str], None], on_refused: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._transport: asyncio.Transport | None = None
        self._hearing: dict[str, Hear] = {}
        self._sids = 0
        self._rest: list[bytes] = []
        self._have = 0
        self._need = 0
        self._out: list[bytes] = []
        self._out_size = 0
        self._scheduled = False
        self._room: asyncio.Future[None] | None = None
        self._reason = ""
        self._over = asyncio.Event()
        self._info: dict[str, Any] = {}
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost = False
        self.heard = 0
        """Messages that arrived so far."""
        self.max_payload = 1024 * 1024

    # -- sending

    def publish(
        self,
        subject: str,
        data: bytes,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
        before: Sequence[Outgoing] = (),
    ) -> None:
        """Hand over one message, and those of ``before`` ahead of it; they leave when the loop comes round.

        Raises as ``encode_message`` does, and then nothing was handed over.
        """
        limit = self.max_payload
        encoded = encode_message(subject, reply, data, headers, limit)
        if before:
            ahead = [encode_message(one.subject, "", one.data, one.headers, limit) for one in before]
            encoded = b"".join([*ahead, encoded])
        self._write(encoded)

    def subscribe(self, subject: str, hear: Hear, queue: str = "") -> str:
        """Ask for the messages of a subject; returns the id of the subscription."""
        self._sids += 1
        sid = str(self._sids)
        self._hearing[sid] = hear
        self._write(f"SUB {subject} {queue} {sid}\r\n".encode())
        return sid

    def unsubscribe(self, sid: str) -> None:
        """Ask for no more; what is on its way is still heard until ``deafen``."""
        self._write(f"UNSUB {sid}\r\n".encode())

    def deafen(self, sid: str) -> None:
        """Hear nothing more of a subscription."""
        self._hearing.pop(sid, None)

    @property
    def congested(self) -> bool:
        """Whether the socket takes no more bytes for now."""
        return self._room is not None

    async def room(self) -> None:
        """Wait until it does, or is lost."""
        if self._room is not None:
            await asyncio.shield(self._room)

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size > FLUSH_AT:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        out, self._out, self._out_size = self._out, [], 0
        if out and self._transport is not None and not self.lost:
            self._transport.write(b"".join(out))

    # -- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()
        self._end(str(exc) if exc else "the server closed the connection")

    def _end(self, reason: str) -> None:
        if self.lost:
            return
        self.lost = True
        reason = self._reason or reason
        self.resume_writing()
        for waiting in (self.greeted, self.ready):
            if not waiting.done():
                waiting.set_exception(Unreachable(reason))
                waiting.exception()  # somebody may have given up waiting for it
        self._on_lost(self, reason)

    def abort(self, reason: str) -> None:
        """Cut the connection at once."""
        self._end(reason)
        if self._transport is not None:
            self._transport.abort()

    async def close(self, within: float) -> None:
        """Send what was handed over, then disconnect; cut after ``within`` seconds."""
        transport = self._transport
        if transport is None:
            return
        self._flush()
        self._end("closed")
        transport.close()
        try:
            async with asyncio.timeout(within):
                await self._over.wait()
        except TimeoutError:
            transport.abort()

    # -- receiving

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._rest)
            self._rest = []
        try:
            used, need = self._parse(data)
        except (ValueError, IndexError, KeyError) as error:
            self.abort(f"the server sent what is not the protocol: {error}")
            return
        if used < len(data):
            rest = data[used:] if used else data
            self._rest, self._have, self._need = [rest], len(rest), need

    def _parse(self, data: bytes) -> tuple[int, int]:
        """Hear every whole message; returns where the rest begins, and how many bytes of it are worth another look."""
        at, end, find = 0, len(data), data.find
        while at < end:
            line_end = find(b"\r\n", at)
            if line_end < 0:
                if end - at > MAX_LINE:
                    raise ValueError("a line without an end")
                return at, end - at + 1
            kind = data[at]
            if kind not in (_M, _H):
                self._control(data[at:line_end])
                at = line_end + 2
                continue
            words = data[at:line_end].decode().split()
            start = line_end + 2
            stop = start + int(words[-1])
            if stop + 2 > end:
                return at, stop + 2 - at
            self._message(words, data, start, stop, headed=kind == _H)
            at = stop + 2
        return at, 0

    def _message(self, words: list[str], data: bytes, start: int, stop: int, *, headed: bool) -> None:
        self.heard += 1
        hear = self._hearing.get(words[2])
        if hear is None:
            return
        if headed:
            body = start + int(words[-2])
            headers, status = parse_headers(data[start:body])
            reply = words[3] if len(words) == 6 else ""
            arrival = Arrival(words[1], reply, data[body:stop], headers, status)
        else:
            arrival = Arrival(words[1], words[3] if len(words) == 5 else "", data[start:stop], None, "")
        try:
            hear(arrival)
        except Exception:  # a handler's bug is reported, and must not stop what comes after it
            log.exception("bus.handler", extra={"subject": arrival.subject})

    def _control(self, line: bytes) -> None:
        word = line[:4].upper()
        if word == b"PING":
            self._write(b"PONG\r\n")
        elif word == b"PONG":
            if not self.ready.done():
                self.ready.set_result(None)
        elif word == b"INFO":
            self._info = {**self._info, **json.loads(line[5:])}
            self.max_payload = int(self._info.get("max_payload", self.max_payload))
            if not self.greeted.done():
                self.greeted.set_result(None)
        elif word == b"-ERR":
            words = line[5:].decode("utf-8", "replace").strip(" '")
            if "permissions violation" in words.lower():
                self._on_refused(words)
            else:
                self._reason = words
        elif word[:3] != b"+OK":
            raise ValueError(f"unknown {line[:40]!r}")

    # -- the greeting

    @property
    def peer(self) -> str:
        """Address and port of the server."""
        place = self._transport.get_extra_info("peername") if self._transport is not None else None
        return ":".join(map(str, place[:2])) if place else ""

    @property
    def servers(self) -> tuple[str, ...]:
        """Further servers of the cluster, as this one names them."""
        scheme = "tls" if self._info.get("tls_required") else "nats"
        return tuple(f"{scheme}://{place}" for place in self._info.get("connect_urls") or ())

    async def greet(self, url: str, settings: BusSettings) -> None:
        """Wait for the server's greeting, encrypt if asked to, and identify ourselves. Raises Unreachable."""
        await self.greeted
        place = urlsplit(url)
        secure = place.scheme == "tls" or bool(self._info.get("tls_required"))
        if secure and self._transport is not None:
            upgraded = await self._loop.start_tls(self._transport, self, _tls(settings), server_hostname=place.hostname)
            if upgraded is None:
                raise Unreachable("the server ended the connection while it was encrypted")
            self._transport = upgraded
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=settings.pending_bytes)
        self._write(f"CONNECT {json.dumps(_identity(place.username, place.password, settings, secure))}\r\n".encode())
        self._write(b"PING\r\n")
        await self.ready


def _identity(user: str | None, password: str | None, settings: BusSettings, secure: bool) -> dict[str, Any]:  # noqa: FBT001
    said: dict[str, Any] = {
        "verbose": False,
        "pedantic": False,
        "lang": "python3",
        "version": "1.0.0",
        "protocol": 1,
        "headers": True,
        "no_responders": True,
        "echo": True,
        "tls_required": secure,
        "name": settings.name,
    }
    user = settings.user or user
    secret = settings.password.get_secret_value() if settings.password else password
    if user and secret is None:
        said["auth_token"] = user
    elif user:
        said |= {"user": user, "pass": secret}
    if settings.token is not None:
        said["auth_token"] = settings.token.get_secret_value()
    return said


def _tls(settings: BusSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.tls_ca)
    if settings.tls_cert is not None:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


async def dial(
    url: str, settings: BusSettings, on_lost: Callable[[Wire, str], None], on_refused: Callable[[str], None]
) -> Wire:
    """A connection ready for use. Raises Unreachable."""
    place = urlsplit(url if "://" in url else f"nats://{url}")
    wire = Wire(on_lost, on_refused)
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await asyncio.get_running_loop().create_connection(
                lambda: wire, place.hostname or "", place.port or DEFAULT_PORT
            )
            await wire.greet(place.geturl(), settings)
    except (OSError, TimeoutError, Unreachable) as error:
        wire.abort("given up")
        reason = str(error) or f"no answer within {settings.connect_timeout} s"
        raise Unreachable(f"no broker at {place.hostname}:{place.port or DEFAULT_PORT}: {reason}") from error
    except BaseException:
        wire.abort("given up")
        raise
    return wire
