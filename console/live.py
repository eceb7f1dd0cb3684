"""States of a page, pushed to all who look at it: made once a beat, while anybody looks, and never queued for anybody.

Whoever reads slowly gets the newest state when they are ready for it, and none of those between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable

MOST = 500
"""Pages open at once that are kept current; a further one is told to come back."""
MOST_OF_PROJECT = 50
"""Those of all keys of one project."""


class Feed:
    """One page's states. ``make`` makes the next one and raises nothing.

    ``every``: seconds between two; ``soonest``: the same for somebody who has just come and would be given an old one.
    """

    def __init__(self, make: Callable[[], Awaitable[bytes]], every: float, soonest: float) -> None:
        self._make, self._every, self._soonest = make, every, soonest
        self._newest, self._version, self._begun = b"", 0, 0.0
        self._turned, self._wanted = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.looking = 0

    async def states(self) -> AsyncGenerator[bytes, None]:
        """A state of now, and each that follows, until ``close``. Whoever comes has a page already: what is older than
        that by more than the shortest time between two states is not given, but made anew.
        """
        self.looking += 1
        oldest = asyncio.get_running_loop().time() - self._soonest
        if self._task is None:
            self._task = asyncio.create_task(self._keep_making(), name="live")
        seen = 0
        try:
            while self._task is not None:
                old = self._begun < oldest
                if old:
                    self._wanted.set()
                if old or self._version == seen:
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
            self._wanted.clear()
            self._newest, self._begun = await self._make(), begun
            self._version += 1
            self._turn()
            await asyncio.sleep(max(0.0, begun + self._soonest - loop.time()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(begun + self._every):
                    await self._wanted.wait()

    def _turn(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()


class Feeds:
    """A feed for each page that somebody looks at, by its address and what else it depends on."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._open: dict[Hashable, Feed] = {}
        self._looking: Counter[str] = Counter()
        self.closed = False

    @property
    def looking(self) -> int:
        """Pages that are kept current now."""
        return sum(feed.looking for feed in self._open.values())

    def full(self, project: str | None = None) -> bool:
        """Whether nobody more can look, or nobody more of this project."""
        theirs = project is not None and self._looking[project] >= MOST_OF_PROJECT
        return self.closed or self.looking >= MOST or theirs

    async def states(
        self, page: Hashable, make: Callable[[], Awaitable[bytes]], *, every: float = 0.0, project: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The states of a page, as events of a stream. ``every``: seconds between two at least; ``project``: whose key
        it is that looks.
        """
        feed = self._open.get(page)
        if feed is None:
            feed = self._open[page] = Feed(make, max(self._every, every), self._every)
        states = feed.states()
        self._looking[project or ""] += 1
        try:
            async for state in states:
                yield state
        finally:
            self._looking[project or ""] -= 1
            self._looking += Counter()  # forget who does not look
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
