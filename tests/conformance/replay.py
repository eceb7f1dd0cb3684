"""The server that lies beside the recordings, as a child: it answers as the recorded providers did."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from tests.conformance.recordings import ROOT

START_TIMEOUT = 20.0


@dataclass(frozen=True)
class Replay:
    """A running server."""

    url: str

    def base_url(self, exchange: str) -> str:
        """Where this one exchange answers every request to its own endpoint."""
        return f"{self.url}/x/" + "/".join(quote(part, safe="") for part in exchange.split("/", 1))

    async def calls(self) -> list[dict[str, Any]]:
        """What it was asked so far: ``id`` of the exchange, ``target``, ``headers`` (lower case) and ``body``."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=10) as client:
            found: list[dict[str, Any]] = (await client.get("/_replay/log")).raise_for_status().json()
            return found


@asynccontextmanager
async def replay() -> AsyncIterator[Replay]:
    """Start it on a free port, wait until it listens, end it at the end."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "replay.py"), "--dir", str(ROOT / "open"), "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        line = (await asyncio.wait_for(child.stdout.readline(), START_TIMEOUT)).decode()
        assert line.startswith("listening on "), f"the replay server did not start: {line!r}"
        yield Replay(line.split()[2])
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
