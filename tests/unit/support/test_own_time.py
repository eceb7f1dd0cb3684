"""The clock that stands still with the process."""

from __future__ import annotations

import asyncio
import time

import pytest

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


async def test_a_pause_of_another_process_counts_next_to_nothing() -> None:
    loop = asyncio.get_running_loop()
    goes = asyncio.Event()
    async with own_time(goes.wait) as now:
        began, until = now(), loop.time() + 0.3
        await eventually(lambda: loop.time() >= until)
        assert now() - began <= 2 * MOST
        goes.set()
        await eventually(lambda: now() - began >= 0.2)


async def test_a_clock_that_could_not_go_on_says_so() -> None:
    asked = asyncio.Event()

    async def gone() -> None:
        asked.set()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        async with own_time(gone):
            await asked.wait()
