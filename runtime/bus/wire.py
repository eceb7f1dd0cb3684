"""The library's client, with a short way for what passes through it thousands of times a second.

The library looks for each message with a series of regular expressions, reads its headers whether anybody asks for them
or not, and hands it over through a queue and a task of its own; to send one it builds a future. Here a message that
came is cut out by the lengths it names and told at once, in the order of the wire; one that is to go is written behind
what waits for the socket. Everything else (greeting, pings, errors, the socket) stays the library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, cast

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

__all__ = ["Arrival", "Hear", "WireClient", "heard_by", "read_headers"]

STATUS, DESCRIPTION = "Status", "Description"
_ODD = "backslashreplace"
_END, _SPACE = b"\r\n", b" "
_MESSAGE, _MESSAGE_WITH_HEADERS = b"MSG", b"HMSG"
_FRAME_SIZE = len("NATS/1.0")


class Arrival:
    """A message as it arrived; its headers are read when they are asked for."""

    __slots__ = ("_headers", "_raw", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str = "", data: bytes = b"", raw: bytes = b"") -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self._raw = raw
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str] | None:
        """By name, as they were written; ``None`` if there are none."""
        if self._raw and self._headers is None:
            self._headers = read_headers(self._raw)
        return self._headers or None

    @property
    def status(self) -> str:
        """Set on the broker's own remarks (``404``, ``503``), which have no body."""
        if self.data or not self._raw:
            return ""
        headers = self.headers
        return headers.get(STATUS, "") if headers else ""


Hear: TypeAlias = Callable[[Arrival], None]


def read_headers(raw: bytes) -> dict[str, str]:
    """The headers of a block that begins with ``NATS/1.0``, perhaps with a status in the same line."""
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    found: dict[str, str] = {}
    status, _, description = first[_FRAME_SIZE:].strip().partition(" ")
    if status.isdecimal():
        found[STATUS] = status
        if description:
            found[DESCRIPTION] = description
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    return found


class _Heard(Protocol):
    """What the library calls with a message, and what is called here instead."""

    hear: Hear

    def __call__(self, message: Msg) -> Awaitable[None]: ...


def heard_by(hear: Hear) -> Callable[[Msg], Awaitable[None]]:
    """The callback of a subscription whose messages are told to ``hear``, which returns at once and raises nothing."""

    async def callback(_: Msg) -> None:
        raise RuntimeError("a message went the library's way")

    told = cast("_Heard", callback)
    told.hear = hear
    return told


class WireClient(Client):
    """See above. Subscribe with ``heard_by`` only."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _Splitter(self)

    @property
    def greeted_by(self) -> str:
        """Name and version of the server, as it said them."""
        told = self._server_info
        return f"{told.get('server_name', '')} {told.get('version', '')}".strip()

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, raw: bytes) -> None:
        """One message came."""
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        subscription = self._subs.get(sid)
        if subscription is not None:
            hear = cast("_Heard", subscription._cb).hear  # noqa: SLF001 - the library's other half
            # The server lets any bytes be a subject: one that is no text must reach whoever refuses it.
            hear(Arrival(subject.decode("utf-8", _ODD), reply.decode("utf-8", _ODD), data, raw))

    def hand_over(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        """Write a message, of parts that were checked, behind what waits for the socket."""
        size = len(data)
        if headers:
            fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            block = f"NATS/1.0\r\n{fields}\r\n".encode()
            head = f"HPUB {subject} {reply} {len(block)} {len(block) + size}\r\n".encode() + block
        else:
            head = f"PUB {subject} {reply} {size}\r\n".encode()
        self._pending += (head, data, _END)
        self._pending_data_size += len(head) + size + len(_END)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        waking = self._flush_queue
        if waking is not None and waking.empty():
            waking.put_nowait(asyncio.get_running_loop().create_future())


class _Splitter(Parser):
    """Cuts messages out of what was read; what is no message is the library's to parse, a line at a time."""

    def __init__(self, client: WireClient) -> None:
        self._client = client
        super().__init__(client)

    def reset(self) -> None:
        super().reset()
        self._parts: list[bytes] = []
        self._missing = 0

    async def parse(self, data: bytes = b"") -> None:
        """All of it that is complete; the rest waits for more."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._parts = b"".join(self._parts), []
        at, size = 0, len(data)
        while (end := data.find(_END, at)) >= 0:
            words = data[at:end].split(_SPACE)  # of all that Python takes for a space, a subject may hold the rest
            if words[0] in (_MESSAGE, _MESSAGE_WITH_HEADERS):
                after = self._message(words, data, end + 2, size)
                if not after:
                    break
                at = after
            else:
                await super().parse(data[at : end + 2])
                at = end + 2
        if at < size:
            self._parts = [data[at:] if at else data]

    def _message(self, words: list[bytes], data: bytes, start: int, size: int) -> int:
        """Tell the message whose body begins at ``start``; where it ends, or 0 if it is not all there."""
        try:
            if words[0] == _MESSAGE:
                _, subject, sid, *reply, length = words
                of_headers, whole = 0, int(length)
            else:
                _, subject, sid, *reply, first, length = words
                of_headers, whole = int(first), int(length)
            number = int(sid)
        except ValueError as error:
            raise ProtocolError from error
        after = start + whole + len(_END)
        if after > size:
            self._missing = after - size
            return 0
        body = start + of_headers
        self._client.take(
            number,
            subject,
            reply[0] if reply else b"",
            data[body : start + whole],
            data[start:body] if of_headers else b"",
        )
        return after
