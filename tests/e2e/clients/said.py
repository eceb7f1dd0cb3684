"""What programs in compiled languages send, byte for byte, recorded from the examples; and a wire that records it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.e2e.clients.conftest import PATIENCE, Place, Programs
from tests.support.tcp import Wire

BUILDING = 400.0
"""Seconds for a compiler that has its standard library to compile first."""
RECORDINGS = Path(__file__).parent / "recordings"


class Exchange(NamedTuple):
    """A request: its head with ``HOST`` and ``KEY`` in place of what differs each time, and its body."""

    head: str
    body: str

    def bytes_for(self, place: Place) -> bytes:
        host = place.url.rpartition("/")[2]
        return f"{self.head.replace('HOST', host).replace('KEY', place.key)}\r\n\r\n{self.body}".encode()


def recorded(language: str) -> list[Exchange]:
    """The requests in a recording; written with line feeds alone, an empty line before and after each body."""
    parts = (RECORDINGS / f"{language}.http").read_text(encoding="utf-8").strip("\n").split("\n\n")
    heads, bodies = parts[::2], parts[1::2]
    return [Exchange(head.replace("\n", "\r\n"), body) for head, body in zip(heads, bodies, strict=True)]


async def replayed(requests: Sequence[Exchange], place: Place) -> list[str]:
    """Send each over a connection of its own; the bodies of the answers, which must be successes."""
    return [await _replayed(one.bytes_for(place), place) for one in requests]


async def _replayed(request: bytes, place: Place) -> str:
    host, _, port = place.url.rpartition("/")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(PATIENCE):
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            assert head.startswith("http/1.1 200 "), head
            length = re.search(r"^content-length: (\d+)\r$", head, re.MULTILINE)
            body = await (reader.readexactly(int(length[1])) if length else _chunks(reader))
            return body.decode()
        finally:
            writer.close()
            await writer.wait_closed()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks (RFC 9112, section 7.1)."""
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        assert await reader.readline() == b"\r\n"
    return body


class Recorder(Wire):
    """A wire that keeps what is asked over it."""

    def asked(self, data: bytes) -> bytes:
        self.heard += data
        return data

    heard = b""


class Ran(NamedTuple):
    """What a program printed, and the requests it sent."""

    printed: str
    sent: list[Exchange]


async def compiled(programs: Programs, build: Sequence[str]) -> Ran:
    """Build the program ``ask``, run it over a wire that records, and give what it printed and sent."""
    place = programs.place
    async with Recorder.to(place.url) as wire:
        at = f"127.0.0.1:{wire.port}"
        # A compiler keeps at home what it need not compile again.
        environ = place.environ | {"OPENAI_BASE_URL": f"http://{at}/v1"}
        await _done(build, programs.folder, environ, BUILDING)
        printed = await _done(["./ask"], programs.folder, environ, PATIENCE)
        text = wire.heard.decode().replace(at, "HOST").replace(place.key, "KEY")
    return Ran(printed, [_parted(one) for one in re.split(r"(?<=\})(?=POST )", text)])


def _parted(text: str) -> Exchange:
    head, _, body = text.partition("\r\n\r\n")
    return Exchange(head, body)


async def _done(command: Sequence[str], folder: Path, environ: dict[str, str], within: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(within):
        said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    return said.decode()
