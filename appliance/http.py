"""One small HTTP request on the loopback: is a process ready, and words with the simulator's control endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LARGEST = 64 * 1024 * 1024


class NoAnswer(Exception):
    """Nobody listens, the answer did not come in time, or it is not HTTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


async def ask(url: str, *, method: str = "GET", body: Any = None, key: str = "", timeout: float = 5.0) -> Reply:
    """One request on a connection of its own; ``body`` is sent as JSON, ``key`` as who asks.

    Raises:
        NoAnswer: there was none within ``timeout`` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(url, method, b"" if body is None else json.dumps(body).encode(), key)
    except (OSError, TimeoutError, EOFError, ValueError, IndexError) as error:
        raise NoAnswer(f"{method} {url}: {str(error) or type(error).__name__}") from error


async def is_ready(url: str, *, timeout: float = 2.0) -> bool:
    """Whether ``url`` answers 200."""
    try:
        return (await ask(url, timeout=timeout)).status == 200
    except NoAnswer:
        return False


async def _exchange(url: str, method: str, content: bytes, key: str) -> Reply:
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    reader, writer = await asyncio.open_connection(host, port)
    try:
        who = f"authorization: Bearer {key}\r\n" if key else ""
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        head = (
            f"{method} {target} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\naccept: */*\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n{who}\r\n"
        )
        writer.write(head.encode("ascii") + content)
        await writer.drain()
        return await _read(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Reply:
    status = int((await reader.readline()).split()[1])
    fields: dict[str, str] = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.strip().lower()] = value.strip()
    if "chunked" in fields.get("transfer-encoding", ""):
        return Reply(status, await _chunks(reader))
    length = fields.get("content-length")
    body = await (reader.read(LARGEST) if length is None else reader.readexactly(min(int(length), LARGEST)))
    return Reply(status, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        if len(body) + size > LARGEST:
            raise ValueError(f"an answer of more than {LARGEST} bytes")
        body += await reader.readexactly(size)
        await reader.readline()
    return bytes(body)
