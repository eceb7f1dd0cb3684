"""Small errands of a term that nobody waits for: kept, logged when they fail, cancelled when the term ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger(__name__)


class Background:
    """Runs errands side by side, at most ``limit`` at once."""

    def __init__(self, limit: int = 256) -> None:
        self._slots = asyncio.Semaphore(limit)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, errand: Coroutine[Any, Any, object]) -> None:
        """Begin an errand; its failure is logged, never raised."""
        task = asyncio.get_running_loop().create_task(self._run(errand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what still runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, errand: Coroutine[Any, Any, object]) -> None:
        async with self._slots:
            try:
                await errand
            except Exception:  # a failed errand must not end the term
                log.exception("errand.failed")
