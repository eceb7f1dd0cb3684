"""Reads in what was left in the SUBMIT stream: by arrival when there is room, one job at once when it is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import BusError, NotFound
from runtime.telemetry import INFO
from scheduler.overflow import RUN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.bus.port import Handler, Message
    from scheduler.entries import JobKey
    from scheduler.term import Term

PAUSE = 0.05
"""Seconds between two looks for room when nothing was read."""
AGAIN = 0.5
"""Seconds until a stream that could not be read is asked again."""
BREATH = 20
"""Submissions read in without letting anything else have its turn."""
AT_ONCE = 200
"""Submissions asked for by name at the same time."""


class Refilling:
    """The duty of a leader whose index does not hold everything; idle while it does."""

    def __init__(self, term: Term, on_unread: Handler) -> None:
        self._term = term
        self._bus = term.bus
        self._stream = term.stream(subjects.SUBMIT)
        self._overflow = term.overflow
        self._on_unread = on_unread

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                read = await self.look()
            except BusError as error:
                self._term.telemetry.emit("refilling.failed", INFO, error=type(error).__name__)
                await asyncio.sleep(AGAIN)
            else:
                await asyncio.sleep(0 if read else PAUSE)

    async def look(self) -> int:
        """One run of each project that has room; returns how many submissions were read. Raises BusError."""
        read = 0
        for project in self._overflow.wanting():
            read += await self._read_run(project)
        return read

    async def _read_run(self, project: str) -> int:
        unread = self._overflow.projects[project]
        last = unread.last  # more may be left unread while the broker is asked: of those nothing is known then
        subject = f"{subjects.PREFIX}.q.{self._term.shard}.{project}.>"
        try:
            found = await self._bus.run(
                self._stream, unread.start, subject, limit=min(RUN, self._overflow.room(project))
            )
        except BusError:
            found = ()  # the stream may not be read directly: its leader has the last word anyway
        if not found:
            found = await self._next(unread.start, last, subject)
        read = 0
        for message in found:
            if message.seq > last:
                break  # what is above is the tail's to bring, or was counted meanwhile
            if not self._overflow.room(project):
                return read
            self._on_unread(message)
            self._overflow.advance(project, message.seq)
            read += 1
            if read % BREATH == 0:
                await asyncio.sleep(0)  # each is put into its place among all that came after it
        if not found or found[-1].seq >= last:
            self._overflow.advance(project, last)
        return read

    async def _next(self, start: int, last: int, subject: str) -> list[Message]:
        """What the stream has next, by its leader; "nothing" is believed if that knows ``last``. Raises BusError."""
        if (await self._bus.stream_state(self._stream)).last_seq < last:
            message = f"{self._stream}: the answering node is older than what was read"
            raise BusError(message)
        try:
            return [await self._bus.next(self._stream, start, subject)]
        except NotFound:
            return []

    async def pull_in(self, keys: Iterable[JobKey]) -> None:
        """Read these jobs now if they are unread: one of them is under way, or to be cancelled. Raises BusError."""
        wanted = [key for key in keys if self._overflow.count(key[0]) and key not in self._term.submissions.entries]
        for start in range(0, len(wanted), AT_ONCE):
            await asyncio.gather(*(self._pull_in(*key) for key in wanted[start : start + AT_ONCE]))

    async def _pull_in(self, project: str, job: str) -> None:
        try:
            message = await self._bus.last(self._stream, subjects.queued(self._term.shard, project, job))
        except NotFound:
            return
        if self._overflow.holds(project, message.seq):
            self._on_unread(message)

    async def pull_in_surely(self, project: str, job: str) -> None:
        """The same, again and again until the broker has answered."""
        while True:
            try:
                await self.pull_in([(project, job)])
            except BusError:
                await asyncio.sleep(AGAIN)
            else:
                return
