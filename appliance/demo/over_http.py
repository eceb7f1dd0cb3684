"""The same over HTTP: a chat completion as any OpenAI client asks for it, dropped in the middle and taken up again."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from appliance.demo.screen import Screen
from appliance.demo.staging import STORY
from appliance.demo.verdict import Live
from appliance.errors import ApplianceError
from producer_sdk import Producer

QUESTION = "Tell it once more, in other words: a drop of water, a penstock, a turbine."
CUT_AFTER = 5
"""Events after which the client drops the connection."""
PATIENCE = 60.0
"""Seconds the whole answer may take."""


@dataclass(slots=True)
class _Reader:
    """What a client remembers of a stream: its text, the last event's id, the job."""

    text: str = ""
    pieces: int = 0
    last: str = ""
    job: str = ""
    ended: bool = False


async def over_http(screen: Screen, gateway_url: str, key: str, producer: Producer) -> Live:
    """Stream one answer over HTTP, hang up, come back with ``Last-Event-ID``, and hold it against the job's result.

    Raises ApplianceError where the edge does not answer as it should.
    """
    screen.title("The same over HTTP, as any OpenAI client asks; it hangs up in the middle and comes back")
    reader, once = _Reader(), secrets.token_hex(8)
    try:
        async with asyncio.timeout(PATIENCE):
            await _read(screen, gateway_url, key, once, reader, events=CUT_AFTER)
            before = reader.pieces
            screen.piece(f" [hung up; back with Last-Event-ID {reader.last}]", style="bold red")
            await _read(screen, gateway_url, key, once, reader, events=None)
            screen.end()
            answer = await producer.attach(reader.job).result(PATIENCE)
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        raise ApplianceError(f"the HTTP edge did not answer: {str(error) or type(error).__name__}") from error
    screen.say(f"{len(reader.text.split())} words over two connections: one job, one answer, nothing twice")
    return Live(answer.result, reader.text, 1, before, reader.pieces - before)


async def _read(screen: Screen, url: str, key: str, once: str, reader: _Reader, *, events: int | None) -> None:
    """Read the stream from where ``reader`` is, up to so many events."""
    address = urlsplit(url)
    body = {"model": STORY, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    content = json.dumps(body).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {address.netloc}",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        f"idempotency-key: demo-{once}",
        "connection: close",
        *([f"last-event-id: {reader.last}"] if reader.last else []),
    ]
    source, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write("\r\n".join([*head, "", ""]).encode() + content)
        seen = 0
        async for line in _lines(source, reader):
            if line.startswith("id: "):
                reader.last = line[4:]
            elif line.startswith("data: "):
                _take(screen, reader, line[6:])
                seen += 1
                if seen == events:
                    return
    finally:
        writer.close()


async def _lines(source: asyncio.StreamReader, reader: _Reader) -> AsyncIterator[str]:
    """The lines of a chunked answer with status 200."""
    status = await source.readline()
    while (field := await source.readline()).strip():
        name, _, value = field.decode("latin-1").partition(":")
        if name.lower() == "x-penstock-job":
            reader.job = value.strip()
    if b" 200 " not in status:
        raise ValueError(f"{status.decode('latin-1').strip()}: {(await source.read(2_000)).decode(errors='replace')}")
    rest = b""
    while size := int((await source.readline()).split(b";")[0], 16):
        *lines, rest = (rest + await source.readexactly(size)).split(b"\n")
        await source.readline()
        for line in lines:
            yield line.decode()


def _take(screen: Screen, reader: _Reader, data: str) -> None:
    if data == "[DONE]":
        reader.ended = True
        return
    told: dict[str, Any] = json.loads(data)
    if "error" in told:
        raise ValueError(told["error"]["message"])
    for choice in told["choices"]:
        text = choice["delta"].get("content") or ""
        if text:
            reader.text += text
            reader.pieces += 1
            screen.piece(text)
