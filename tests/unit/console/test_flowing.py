"""An answer that comes piece by piece ends with its source, its reader or its session, and waits for its reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from console import flowing
from console.flowing import Flowing
from tests.support.eventually import eventually

LAST = b"event: gone\n\n"


class Reader:
    """One end of a request: takes what is sent while ``taking`` is set, and may go."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.taking = asyncio.Event()
        self.taking.set()
        self.going = asyncio.Event()

    async def receive(self) -> Message:
        await self.going.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.taking.wait()
        if message["type"] == "http.response.body":
            self.taken.append(message["body"])


class Source:
    """Pieces without end, and whether they were closed."""

    def __init__(self, pause: float = 0.0, most: int | None = None) -> None:
        self.made, self.closed = 0, False
        self._pause, self._most = pause, most

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while self._most is None or self.made < self._most:
                self.made += 1
                yield b"%d" % self.made
                await asyncio.sleep(self._pause)
        finally:
            self.closed = True


def flow(source: Source, reader: Reader, *, lasts: bool = True) -> asyncio.Task[None]:
    async def ends() -> bytes:
        return b"" if lasts else LAST

    made = Flowing(source.pieces(), ends)
    return asyncio.create_task(made({"type": "http"}, reader.receive, reader.send))


async def test_it_ends_with_its_source() -> None:
    source, reader = Source(most=3), Reader()
    await asyncio.wait_for(flow(source, reader), 5)
    assert reader.taken == [b"1", b"2", b"3", b""]
    assert source.closed


async def test_a_slow_reader_makes_the_source_wait_and_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flowing, "STALL", 0.2)
    source, reader = Source(), Reader()
    running = flow(source, reader)
    await eventually(lambda: source.made > 3, within=5.0)
    reader.taking.clear()
    await asyncio.wait_for(running, 5)
    assert source.made <= len(reader.taken) + 1, "pieces were made that nobody takes"
    assert source.closed


async def test_it_ends_with_its_reader_whatever_the_source_is_at() -> None:
    source, reader = Source(pause=60.0), Reader()
    running = flow(source, reader)
    await eventually(lambda: reader.taken == [b"1"], within=5.0)
    reader.going.set()
    await asyncio.wait_for(running, 5)
    assert source.closed


async def test_it_ends_with_its_session_and_says_so() -> None:
    source, reader = Source(pause=60.0), Reader()
    await asyncio.wait_for(flow(source, reader, lasts=False), 5)
    assert reader.taken[-2:] == [LAST, b""]
    assert source.made == 0 or source.closed
