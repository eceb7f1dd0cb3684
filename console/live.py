"""States of a page, pushed to all who look at it: made once a beat, while anybody looks, and never queued for anybody.

Whoever reads slowly gets the newest state when they are ready for it, and none of those between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

MOST = 500
"""Pages open at once that are kept current; a further one is told to come back."""


class Feed:
    """One page's states. ``make`` makes the next one and raises nothing."""

    def __init__(self, make: Callable[[], Awaitable[bytes]], every: float) -> None:
        self._make, self._every = make, every
        self._newest, self._version = b"", 0
        self._turned = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.looking = 0

    async def states(self) -> AsyncGenerator[bytes, None]:
        """The newest state, and each that follows, until ``close``."""
        self.looking += 1
        if self._task is None:
            self._task = asyncio.create_task(self._keep_making(), name="live")
        seen = 0
        try:
            while self._task is not None:
                if self._version == seen:
                    await self._turned.wait()
                    continue
                seen = self._version
                yield self._newest
        finally:
            self.looking -= 1
            if self.looking == 0:
                await self.close()

    async def close(self) -> None:
        """End it for all who look; whoever looks again begins it anew."""
        task, self._task = self._task, None
        self._turn()
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep_making(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            self._newest = await self._make()
            self._version += 1
            self._turn()
            await asyncio.sleep(max(0.0, begun + self._every - loop.time()))

    def _turn(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()


class Feeds:
    """A feed for each page that somebody looks at, by its address."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._open: dict[str, Feed] = {}
        self.closed = False

    @property
    def looking(self) -> int:
        """Pages that are kept current now."""
        return sum(feed.looking for feed in self._open.values())

    @property
    def full(self) -> bool:
        """Whether nobody more can look."""
        return self.closed or self.looking >= MOST

    async def states(
        self, page: str, make: Callable[[], Awaitable[bytes]], *, every: float = 0.0
    ) -> AsyncGenerator[bytes, None]:
        """The states of a page, as events of a stream. ``every``: seconds between two at least."""
        feed = self._open.get(page)
        if feed is None:
            feed = self._open[page] = Feed(make, max(self._every, every))
        states = feed.states()
        try:
            async for state in states:
                yield state
        finally:
            await states.aclose()
            if feed.looking == 0 and self._open.get(page) is feed:
                del self._open[page]

    async def close(self) -> None:
        """End all, so that the server can."""
        self.closed = True
        for feed in tuple(self._open.values()):
            await feed.close()


def event(name: str, data: str) -> bytes:
    """One event of a stream, as browsers read it."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n".encode("utf-8", "replace")
