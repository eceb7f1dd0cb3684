"""The command ``penstock`` as a process: forked off one that has imported it, or started as a shell does."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.support import warm
from tests.support.cli import Done
from tests.support.houses import NatsHouse
from tests.support.stand_in import key

ROOT = Path(__file__).parents[2]


def environment(house: NatsHouse, url: str | None = None, secret: str | None = None) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK")},  # noqa: TID251
        "PENSTOCK_URL": url or house.url,
        "PENSTOCK_KEY": secret or key(),
        "COLUMNS": "200",
    }


async def begun(house: NatsHouse, *words: str, **where: Any) -> Any:
    """Forked off a process that has imported the command: how an interpreter starts is not what is tested."""
    return await asyncio.to_thread(warm.begin, *words, environment=environment(house, **where))


async def anew(house: NatsHouse, *words: str) -> Any:
    """As a shell starts it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer_sdk.cli", *words),
        cwd=ROOT,
        env=environment(house),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: Any, given: str = "") -> Done:
    out, err = await asyncio.wait_for(process.communicate(given.encode()), 60)
    return Done(process.returncode, out.decode(), err.decode())


async def penstock(house: NatsHouse, *words: str, given: str = "", **where: Any) -> Done:
    return await ended(await begun(house, *words, **where), given)
