"""Ends the connections of keys that have ended: at once when a record says so, and again in case one slipped through.

Who is connected is asked of the broker each time, so it does not matter which edge let a connection in, or whether that
edge still lives. Every edge does this by itself; ending a connection twice is harmless.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from runtime.broker_accounts import PROJECT
from runtime.bus.port import BusError
from runtime.service import Duty
from runtime.telemetry import DEBUG, INFO

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.key_store import KeyStore
    from gateway.keys import Book
    from job_contracts.keys import KeyRecord
    from runtime.bus.door import Door
    from runtime.clock import Clock
    from runtime.telemetry import Telemetry

LOOK = 0.5
"""Seconds between two looks at which keys have ended."""
AGAIN = 1.5
"""Seconds for which one that was let in while its key ended may be missing from the broker's list; then it is there."""
ALL = 60.0
"""Seconds between two looks at every connection."""


class Evictor(Duty):
    """Runs beside the callout, over the same door."""

    def __init__(
        self,
        door: Door,
        book: Book,
        store: KeyStore,
        *,
        projects: Collection[str],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        super().__init__("evictor", telemetry)
        self._projects = tuple(projects)
        self._door = door
        self._book = book
        self._store = store
        self._clock = clock
        self._ended = asyncio.Event()
        self._due: dict[str, float] = {}
        """Projects to look at, and until when (monotonic seconds)."""
        self._living: dict[str, str] = {}
        self._all_at = 0.0
        store.when_changed(self._changed)

    def _changed(self, record: KeyRecord) -> None:
        if record.ended(self._clock.wall()) is not None:
            self._due[record.project] = self._clock.monotonic() + AGAIN
            self._ended.set()

    async def run(self) -> None:
        """Look when a key ends, and now and then."""
        while not self.stopping.is_set():
            self._note_ends()
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._ended.wait()
            self._ended.clear()

    def _note_ends(self) -> None:
        wall, now = self._clock.wall(), self._clock.monotonic()
        living = {one.id: one.project for one in self._book.all() if one.ended(wall) is None}
        for key, project in self._living.items():
            if key not in living:
                self._due[project] = now + AGAIN
        self._living = living
        if now >= self._all_at:
            self._all_at = now + ALL
            self._due |= {project: max(now, self._due.get(project, now)) for project in self._projects}

    async def _look(self) -> None:
        for project, until in list(self._due.items()):
            now = self._clock.monotonic()
            try:
                await self._evict(project)
            except BusError as error:
                self.telemetry.emit("evictor.not_asked", DEBUG, project=project, error=str(error))
                continue  # it stays due until the broker answers
            if now >= until and self._due[project] == until:  # else a key ended meanwhile
                del self._due[project]

    async def _evict(self, project: str) -> None:
        for one in await self._door.connections(f"{PROJECT}{project}"):
            found = self._book.find(one.user)
            if found is None and not self._store.fresh(self._clock.monotonic()):
                continue
            if found is None or found[0].ended(self._clock.wall()) is not None:
                await self._door.end(one)
                self.telemetry.emit("evictor.ended", INFO, key=one.user, project=project)
