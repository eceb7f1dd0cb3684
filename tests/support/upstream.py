"""A raw HTTP/1.1 server that does to the wire what a script says: answers, cuts, resets, hangs, garbage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Do(Enum):
    """Steps of a script that are no bytes."""

    CLOSE = "close"
    """End the connection in order."""
    RESET = "reset"
    """End it with a TCP reset."""
    HANG = "hang"
    """Say nothing more until the client goes away."""
    STEP = "step"
    """Wait for one call of ``step``."""
    WAIT = "wait"
    """Wait until the test calls ``proceed``."""


Step = bytes | Do


@dataclass
class Asked:
    """One request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Upstream:
    """The server: ``scripts`` are played one a request, the last one for ever."""

    scripts: list[list[Step]] = field(default_factory=list)
    of_model: dict[str, list[Step]] = field(default_factory=dict)
    """What requests for these models get instead, each time."""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    gone: int = 0
    """Connections that the client has closed while a script was waiting."""
    url: str = ""
    open: int = 0
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _steps: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def play(self, *scripts: Iterable[Step]) -> None:
        self.scripts = [list(script) for script in scripts]

    def proceed(self) -> None:
        self._go.set()

    def step(self) -> None:
        self._steps.release()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                request = await _request(reader)
                if request is None:
                    return
                self.asked.append(request)
                script = self._script(request)
                if not await self._play(script, reader, writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def _script(self, request: Asked) -> list[Step]:
        if self.of_model and (found := self.of_model.get(request.json.get("model"))) is not None:
            return found
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    async def _play(self, script: list[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif step is Do.CLOSE:
                return False
            elif step is Do.RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return False
            elif step is Do.STEP:
                await self._steps.acquire()
            elif step is Do.WAIT:
                await self._go.wait()
            else:
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                self.gone += 1
                return False
        return True


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *lines = head.strip().split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in lines)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Asked(line, headers, await reader.readexactly(length))


@asynccontextmanager
async def upstream(*scripts: Iterable[Step]) -> AsyncIterator[Upstream]:
    """A running server with these scripts; its address is ``url``."""
    made = Upstream()
    made.play(*(scripts or ([],)))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        made.proceed()


# -- pieces of scripts


def response(
    body: bytes | str | dict[str, Any], *, status: int = 200, content_type: str = "application/json", extra: str = ""
) -> bytes:
    """A whole answer with its length."""
    if isinstance(body, dict):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
    return head.encode() + data


def head(*, content_type: str = "text/event-stream", status: int = 200, extra: str = "") -> bytes:
    """The start of an answer whose body comes in chunks."""
    start = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n{extra}\r\n"
    return start.encode()


def chunk(data: bytes | str) -> bytes:
    """A piece of such a body; an empty one is its end."""
    if isinstance(data, str):
        data = data.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


# -- OpenAI chat completions, as small as they get


def completion(text: str = "Hello!", **over: Any) -> dict[str, Any]:
    """A whole answer."""
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [choice],
        "usage": usage,
    } | over


def event(text: str | None = None, *, finish: str | None = None, usage: bool = False) -> str:
    """One event of a streamed answer."""
    delta = {"content": text} if text is not None else {}
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    return f"data: {json.dumps(body)}\n\n"


def stream(*texts: str) -> list[Step]:
    """A whole streamed answer, one chunk an event."""
    events = [*(event(text) for text in texts), event(finish="stop"), event(usage=True), "data: [DONE]\n\n"]
    return [head(), *(chunk(each) for each in events), chunk("")]


def error(status: int, code: str = "", message: str = "no", **extra: str) -> bytes:
    """An error as OpenAI words it."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in extra.items())
    body = {"error": {"message": message, "type": code, "code": code, "param": None}}
    return response(body, status=status, extra=lines)
