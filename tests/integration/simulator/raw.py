"""HTTP by hand: what really comes over the wire, and how a connection ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from simulator import Simulator

HEADERS = {
    "openai": "authorization: Bearer k",
    "anthropic": "x-api-key: k\r\nanthropic-version: 2023-06-01",
    "gemini": "x-goog-api-key: k",
}
PROVIDERS = tuple(HEADERS)


@dataclass(frozen=True, slots=True)
class Received:
    """What was received until the end: ``ended`` says whether the response was complete, closed early or reset."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: Literal["complete", "closed", "reset"]

    @property
    def events(self) -> list[bytes]:
        """The data of server-sent events."""
        lines = self.body.replace(b"\r\n", b"\n").split(b"\n")
        return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]


def request(provider: str, model: str, *, stream: bool = False, text: str = "hello", **fields: Any) -> bytes:
    """A request for a completion."""
    if provider == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = f"/v1beta/models/{model}:{method}"
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}
    else:
        path = "/v1/chat/completions" if provider == "openai" else "/v1/messages"
        extra = {"max_tokens": 1_000} if provider == "anthropic" else {}
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **extra, **fields}
    return http("POST", path, HEADERS[provider], json.dumps(body).encode())


def http(method: str, path: str, headers: str = "", body: bytes = b"") -> bytes:
    """A request as bytes."""
    lines = f"{method} {path} HTTP/1.1\r\nhost: simulator\r\n"
    if headers:
        lines += f"{headers}\r\n"
    return f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    target = urlsplit(url)
    return await asyncio.open_connection(target.hostname, target.port)


async def receive(reader: asyncio.StreamReader) -> Received:
    """One response, as far as it comes."""
    status, headers, body = 0, {}, b""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        status = int(first.split()[1])
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if "content-length" in headers:
            wanted = int(headers["content-length"])
            while len(body) < wanted:
                more = await reader.read(wanted - len(body))
                if not more:
                    return Received(status, headers, body, "closed")
                body += more
            return Received(status, headers, body, "complete")
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            body += (await reader.readexactly(size + 2))[:-2]
            if not size:
                return Received(status, headers, body, "complete")
    except ConnectionResetError:
        return Received(status, headers, body, "reset")
    except (asyncio.IncompleteReadError, ValueError) as error:
        partial = error.partial if isinstance(error, asyncio.IncompleteReadError) else b""
        return Received(status, headers, body + partial, "closed")


async def exchange(url: str, data: bytes) -> Received:
    """Send a request on a connection of its own; returns what came back."""
    reader, writer = await connect(url)
    try:
        writer.write(data)
        return await receive(reader)
    finally:
        writer.close()


async def ask(simulator: Simulator, provider: str, model: str, *, stream: bool = False, **fields: Any) -> Received:
    """A completion on a connection of its own."""
    return await exchange(simulator.base_url(provider), request(provider, model, stream=stream, **fields))
