"""The clock that stands still with the process."""

from __future__ import annotations

import asyncio
import time

from tests.support.eventually import eventually
from tests.support.own_time import MOST, own_time


async def test_what_goes_by_while_the_loop_turns_counts() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with own_time() as now:
        first = now()
        await eventually(lambda: now() - first >= 0.2)
    assert loop.time() - began >= 0.2


async def test_a_pause_of_the_process_counts_next_to_nothing() -> None:
    async with own_time() as now:
        first = now()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass
        assert now() - first <= 2 * MOST
        await asyncio.sleep(0)
        assert now() - first <= 2 * MOST
