"""The configuration's experiments as its file says them now: the one section that a scheduler reads again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runtime.config import ConfigError, load
from runtime.service import Duty
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from job_contracts.experiments import Experiment
    from runtime.settings import Config
    from runtime.telemetry import Telemetry

LOOK = 2.0
"""Seconds between two looks at the file."""


class Rereading(Duty):
    """Looks whether the file has changed. One that cannot be used changes nothing, and is told once."""

    def __init__(self, path: Path, config: Config, telemetry: Telemetry) -> None:
        super().__init__("rereading", telemetry)
        self._path = path
        self._experiments: Mapping[str, Experiment] = config.experiments
        self._seen = _state(path)

    def wanted(self) -> Mapping[str, Experiment]:
        """What the file said when it could last be read."""
        return self._experiments

    async def run(self) -> None:
        """Until the process is to end."""
        while not self.stopping.is_set():
            await self.look()
            await self.pause(LOOK)

    async def look(self) -> None:
        """One look."""
        state = _state(self._path)
        if state is None or state == self._seen:
            return
        self._seen = state
        try:
            found = await asyncio.to_thread(load, self._path, credentials_of=())
        except ConfigError as error:
            self.telemetry.emit("configuration.unusable", WARNING, why=str(error))
            return
        if dict(found.experiments) != dict(self._experiments):
            self.telemetry.emit("configuration.reread", INFO, experiments=len(found.experiments))
        self._experiments = found.experiments


def _state(path: Path) -> tuple[int, int, int] | None:
    """By which a change is seen, also of a file that was put in another's place; ``None`` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
