"""The relay: passes what it is given, until it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance.demo.relay import Relay
from tests.support.eventually import eventually


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_bytes_pass_both_ways_until_the_cut(echo: int) -> None:
    async with Relay("127.0.0.1", echo) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        relay.cut(0.0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert relay.cuts == 1
        writer.close()


async def test_after_a_cut_it_is_deaf_for_a_while_and_then_works_again(echo: int) -> None:
    async def speak(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"x")
            return await reader.read(1)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async with Relay("127.0.0.1", echo) as relay:
        relay.cut(3_600.0)
        assert await speak(relay.port) == b""
        relay.cut(0.05)
        assert await eventually(lambda: speak(relay.port)) == b"x"
