"""The small HTTP request, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.http import NoAnswer, ask, is_ready
from appliance.ports import free_port


@asynccontextmanager
async def answering(answer: bytes, *, hang: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request with ``answer``; yields its address and what it was sent."""
    asked: list[bytes] = []
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if hang:
            await released.wait()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        released.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a": [1]}',
        b'HTTP/1.1 200 OK\r\n\r\n{"a": [1]}',
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"a"\r\n6;x=y\r\n: [1]}\r\n0\r\n\r\n',
    ],
)
async def test_an_answer_is_read_in_each_of_its_forms(answer: bytes) -> None:
    answer = answer.replace(b"content-length: 9", b"content-length: 10")
    async with answering(answer) as (url, asked):
        reply = await ask(f"{url}/things?x=1", method="POST", body={"k": "v"})
    assert (reply.status, reply.json) == (200, {"a": [1]})
    assert asked[0].startswith(b"POST /things?x=1 HTTP/1.1\r\n")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"])
async def test_what_is_no_answer_is_one_error(answer: bytes) -> None:
    async with answering(answer) as (url, _):
        with pytest.raises(NoAnswer, match=r"127\.0\.0\.1"):
            await ask(url)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async with answering(b"", hang=True) as (url, _):
        with pytest.raises(NoAnswer):
            await ask(url, timeout=0.05)


@pytest.mark.parametrize(("status", "ready"), [(b"200", True), (b"503", False)])
async def test_ready_is_200_alone(status: bytes, ready: bool) -> None:
    async with answering(b"HTTP/1.1 " + status + b" x\r\ncontent-length: 0\r\n\r\n") as (url, _):
        assert await is_ready(url) is ready


async def test_nobody_there_is_not_ready() -> None:
    assert await is_ready(f"http://127.0.0.1:{free_port()}") is False
