"""Time that counts only while this process is let run: for what must be quick on a machine that may stand still.

What took long because nobody was let run is no fault of what is measured; what took long while the loop turned is. ::

    async with own_time() as now:
        began = now()
        …
        assert now() - began < 1.0

Where another process has a part in it, its pauses count as little: ``own_time(through=…)`` is told how to speak to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

TICK = 0.01
"""Seconds between two looks at the clock."""
MOST = 0.05
"""Seconds between two looks that count at most; what is beyond it is a pause."""


@asynccontextmanager
async def own_time(through: Callable[[], Awaitable[object]] | None = None) -> AsyncIterator[Callable[[], float]]:
    """A clock in seconds, of this loop and while the block lasts.

    ``through`` returns once another process has answered; what it raises is raised at the end of the block.
    """
    loop = asyncio.get_running_loop()
    passed, looked = 0.0, loop.time()

    def now() -> float:
        return passed + min(loop.time() - looked, MOST)

    async def tick() -> None:
        nonlocal passed, looked
        while True:
            await asyncio.sleep(TICK)
            if through is not None:
                await through()
            passed, looked = now(), loop.time()

    ticking = asyncio.create_task(tick())
    try:
        yield now
    finally:
        ticking.cancel()
        await asyncio.wait({ticking})
    if not ticking.cancelled():
        ticking.result()  # a clock that has stopped shows nothing
