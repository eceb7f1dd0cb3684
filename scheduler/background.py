"""Small errands of a term that nobody waits for: kept, logged when they fail, cancelled when the term ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runtime.telemetry import WARNING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from runtime.telemetry import Telemetry


class Background:
    """Runs errands side by side, at most ``limit`` at once."""

    def __init__(self, telemetry: Telemetry, *, limit: int = 256) -> None:
        self._telemetry = telemetry
        self._slots = asyncio.Semaphore(limit)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, errand: Coroutine[Any, Any, object]) -> None:
        """Begin an errand; its failure is logged, never raised."""
        task = asyncio.get_running_loop().create_task(self._run(errand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: errand.close())  # one that never got its turn

    async def stop(self) -> None:
        """Cancel what still runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, errand: Coroutine[Any, Any, object]) -> None:
        async with self._slots:
            try:
                await errand
            except Exception as error:  # noqa: BLE001 - the top of an errand: its failure must not end the term
                self._telemetry.emit(
                    "errand.failed", WARNING, errand=getattr(errand, "__qualname__", ""), error=type(error).__name__
                )
