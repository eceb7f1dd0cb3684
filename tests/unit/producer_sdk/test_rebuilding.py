"""A broker that lets a connection in and ends it at once: there is another try, and whoever waits hears what it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from producer_sdk.errors import Forbidden, PenstockError, Unreachable
from producer_sdk.nats_transport import NatsTransport
from tests.support.eventually import eventually

INFO = {"server_id": "x", "version": "2.11.0", "proto": 1, "headers": True, "max_payload": 1024 * 1024}
FULL = "maximum subscriptions exceeded"
STORED = b'{"stream":"S","seq":1}'


class Brusque:
    """As much of a broker as a client needs to send and to be thrown out."""

    def __init__(self) -> None:
        self.says: list[str] = []
        """What the next connections are ended with, each as soon as it is let in."""
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            connection.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        writer.write(b"INFO %s\r\n" % json.dumps(INFO).encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                last = b"-ERR '%s'\r\n" % self.says.pop(0).encode() if self.says else b""
                writer.write(b"PONG\r\n" + last)
            elif line.startswith(b"PUB"):
                _, _, reply, size = line.split()
                await reader.readexactly(int(size) + 2)
                writer.write(b"MSG %s 1 %d\r\n%s\r\n" % (reply, len(STORED), STORED))


class Ear:
    restorations = 0

    def heard(self, subject: str, data: bytes) -> None: ...

    def restored(self) -> None:
        self.restorations += 1


@pytest.fixture
async def broker() -> AsyncIterator[Brusque]:
    made = Brusque()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def transport(broker: Brusque) -> AsyncIterator[NatsTransport]:
    made = NatsTransport(f"nats://127.0.0.1:{broker.port}", "p")
    yield made
    await made.close()


async def test_a_connection_that_ends_while_it_is_made_anew_is_tried_again(
    broker: Brusque, transport: NatsTransport
) -> None:
    ear = Ear()
    await transport.open("stem", ear, timeout=30.0)
    broker.says = [FULL, FULL]
    broker.connections[0].write(b"-ERR 'slow consumer'\r\n")  # the library then gives its client up for good
    await eventually(lambda: ear.restorations, within=20.0)
    assert await transport.store("subject", b"data", timeout=30.0)
    assert len(broker.connections) >= 4


@pytest.mark.parametrize(("said", "raised"), [(FULL, Unreachable), ("user authentication revoked", Forbidden)])
async def test_one_that_ends_while_it_opens_is_an_error_of_the_sdk(
    broker: Brusque, transport: NatsTransport, said: str, raised: type[PenstockError]
) -> None:
    broker.says = [said] * 50
    with pytest.raises(PenstockError) as caught:
        await transport.open("stem", Ear(), timeout=30.0)
    assert type(caught.value) is raised
    assert transport._rebuilding is None, "nobody has asked for another connection"
    broker.says.clear()
    await transport.open("stem", Ear(), timeout=30.0)
    assert await transport.store("subject", b"data", timeout=30.0)
