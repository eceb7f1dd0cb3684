"""Sweeps chunks that no file speaks of: of uploads that broke off, and of files that have expired or were deleted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import BusError
from runtime.service import Duty
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.files.store import Files
    from runtime.bus.port import Bus
    from runtime.settings.services import Filing
    from runtime.telemetry import Telemetry

Name = tuple[str, str]
"""Project and id of a file."""


class Sweeper(Duty):
    """Every edge sweeps; what two of them sweep at once is gone all the same."""

    def __init__(
        self,
        bus: Bus,
        files: Files,
        settings: Filing,
        telemetry: Telemetry,
        *,
        in_use: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        super().__init__("file sweeper", telemetry)
        self._bus = bus
        self._files = files
        self._settings = settings
        self._in_use = in_use
        self._seen: dict[Name, tuple[int, float]] = {}
        """Chunks without a head: how many there were, and since when (loop time) no more have come."""

    async def run(self) -> None:
        """Look again and again."""
        while await self.pause(self._settings.sweep):
            try:
                await self.sweep()
            except BusError as error:
                self.telemetry.emit("file.sweep_failed", WARNING, error=type(error).__name__)

    async def sweep(self) -> None:
        """Look once: what has had no head and no new chunk for long enough is removed, unless a batch reads it."""
        now = asyncio.get_running_loop().time()
        headless = await self._named(subjects.file_chunk("*", "*", 0)) - await self._named(subjects.file("*", "*"))
        seen: dict[Name, tuple[int, float]] = {}
        for project, file in headless:
            all_of_it = subjects.file_chunk(project, file, "*")
            chunks = len((await self._bus.stream_state(subjects.FILES, subjects=all_of_it)).subjects or ())
            before, since = self._seen.get((project, file), (chunks, now))
            seen[project, file] = (chunks, since if chunks == before else now)
            waited = now - seen[project, file][1] >= self._settings.abandoned
            if waited and not await self._in_use(project, file):
                await self._files.drop(project, file)
                self.telemetry.emit("file.swept", INFO, file=file, project=project)
        self._seen = seen

    async def _named(self, subject: str) -> set[Name]:
        found = (await self._bus.stream_state(subjects.FILES, subjects=subject)).subjects or {}
        return {(project, file) for project, file in (one.split(".")[2:4] for one in found)}
