"""A proxy in front of a broker that loses, delays, holds back or cuts what passes, one NATS frame at a time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

from runtime.broker import Broker

Drop = Callable[[bytes], bool]
"""Whether a frame (its control line, and the payload of a message) is lost."""


Change = Callable[[bytes], bytes]
"""What becomes of a frame that is not lost."""


def lose_nothing(_: bytes) -> bool:
    return False


def change_nothing(frame: bytes) -> bytes:
    return frame


def publish_acks(frame: bytes) -> bool:
    """The broker's answers to what was stored."""
    return frame.startswith((b"MSG ", b"HMSG ")) and b'{"stream":' in frame and b'"seq":' in frame


class FaultProxy:
    """``async with FaultProxy(broker) as proxy:`` and connect to ``proxy.url``.

    Faults are set while it runs: ``lose_down``/``lose_up`` drop whole frames on their way from or to the broker,
    ``delay`` seconds pass before each read is handed on, ``hold_up()`` keeps back what clients send until
    ``release_up()``, ``freeze()`` leaves connections open and silent, ``cut()`` resets them, ``refusing`` turns new
    ones away.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.lose_down: Drop = lose_nothing
        self.lose_up: Drop = lose_nothing
        self.change_down: Change = change_nothing
        self.change_up: Change = change_nothing
        self.delay = 0.0
        self.refusing = False
        self.accepted = 0
        self.lost: list[bytes] = []
        """Every frame that was dropped."""
        self._up_open = asyncio.Event()
        self._up_open.set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._pumps):
            task.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self.cut()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def connections(self) -> int:
        """Clients that are connected now."""
        return len(self._writers) // 2

    def hold_up(self) -> None:
        self._up_open.clear()

    def release_up(self) -> None:
        self._up_open.set()

    def freeze(self) -> None:
        """Connections of now stay open and silent, as when a cable is pulled; later ones work."""
        frozen, self._flowing = self._flowing, asyncio.Event()
        self._flowing.set()
        frozen.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in tuple(self._writers):
            with contextlib.suppress(OSError):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.accepted += 1
        host, _, port = self._broker.url.rpartition("/")[2].rpartition(":")
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        flowing = self._flowing
        tasks = [
            asyncio.create_task(self._pump(reader, up_writer, flowing, up=True)),
            asyncio.create_task(self._pump(up_reader, writer, flowing, up=False)),
        ]
        self._pumps.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pumps.difference_update(tasks)
        self._writers -= pair
        for one in pair:
            one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event, *, up: bool
    ) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await flowing.wait()
                if up:
                    await self._up_open.wait()
                frames, rest = split_frames(rest + data)
                loses = self.lose_up if up else self.lose_down
                kept = [frame for frame in frames if not loses(frame)]
                if len(kept) < len(frames):
                    self.lost += [frame for frame in frames if frame not in kept]
                change = self.change_up if up else self.change_down
                writer.write(b"".join(map(change, kept)))
                await writer.drain()


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole frames of the NATS protocol, and the rest."""
    frames: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        line = data[at:end]
        stop = end + 2
        if line.split(b" ", 1)[0].upper() in (b"MSG", b"HMSG", b"PUB", b"HPUB"):
            stop += int(line.rsplit(b" ", 1)[1]) + 2
            if stop > len(data):
                break
        frames.append(data[at:stop])
        at = stop
    return frames, data[at:]
