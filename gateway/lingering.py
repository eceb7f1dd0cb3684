"""Jobs whose client has gone: cancelled at once, or a little later if a key lets the client come back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from producer_sdk.errors import PenstockError

if TYPE_CHECKING:
    from gateway.producers import Producers

REASON = "its client has gone"


class Lingering:
    """Cancels abandoned jobs in the background; one that is asked for again in time is spared."""

    def __init__(self, producers: Producers, linger: float) -> None:
        self._producers = producers
        self._linger = linger
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def leave(self, project: str, job: str, *, keyed: bool) -> None:
        """The last client of a job has gone."""
        self.back(project, job)
        loop = asyncio.get_running_loop()
        after = self._linger if keyed else 0.0
        self._timers[project, job] = loop.call_later(after, self._cancel, project, job)

    def back(self, project: str, job: str) -> None:
        """Somebody waits for the job again."""
        timer = self._timers.pop((project, job), None)
        if timer is not None:
            timer.cancel()

    async def close(self) -> None:
        """Leave what lingers to go on (an edge that ends cancels nothing) and let cancels that are under way go out."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)

    def _cancel(self, project: str, job: str) -> None:
        self._timers.pop((project, job), None)
        task = asyncio.get_running_loop().create_task(self._cancelled(project, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancelled(self, project: str, job: str) -> None:
        try:
            await self._producers.of(project).attach(job).cancel(REASON)
        except PenstockError:
            return  # it has ended meanwhile, or its deadline ends it
