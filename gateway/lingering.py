"""Jobs whose client has gone: cancelled at once, or a little later if a key lets the client come back.

A key names the same job on every edge, so its client may come back to another one, even before this one has noticed
that it went. Therefore nothing is announced; whoever is about to cancel asks instead, once its patience is over: who
has a client for the job, or lingers over it later, answers, and from then on the job is theirs. Silence means nobody.

An edge that does not turn its loop is silent too. So the longer a job was kept, the longer the others may take to
answer; and they are asked several times, as this edge may stand still itself: when it goes on, the time for an answer
is over before it has read the answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from producer_sdk.errors import PenstockError
from runtime.bus.port import BusError, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.producers import Producers
    from producer_sdk import JobHandle
    from runtime.bus.port import Bus, Message, Subscription

REASON = "its client has gone"
SILENCE = (2.0, 5.0)
"""Seconds in which other edges answer that a job is theirs: as long as it was kept, and at least and most these."""
QUESTIONS = 4
"""How often they are asked in that time."""
CLOSING = 2.0
"""Seconds a close waits for cancels that are under way."""


class Lingering:
    """Cancels abandoned jobs in the background; one that is asked for again in time is spared."""

    def __init__(self, bus: Bus, producers: Producers, linger: float) -> None:
        self._bus = bus
        self._producers = producers
        self._linger = linger
        self._silence = min(max(SILENCE[0], linger), SILENCE[1])
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        """Jobs of which others are asked; each is cancelled if nobody has it."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: Subscription | None = None

    @property
    def busy(self) -> bool:
        """Whether jobs are lingering, or being cancelled."""
        return bool(self._timers or self._tasks)

    async def open(self) -> None:
        """Answer the questions of other edges."""
        if self._asked is None:
            self._asked = await self._bus.subscribe(subjects.awaited_any(), self._on_question)

    def leave(self, project: str, job: str, *, keyed: bool) -> None:
        """A client of a job has gone. Without a key nobody else can have asked for the job."""
        self.back(project, job)
        loop = asyncio.get_running_loop()
        handle = self._producers.of(project).attach(job)  # holds what the request knew of the job
        if keyed:
            self._timers[project, job] = loop.call_later(self._linger, self._due, project, handle)
        else:
            self._spawn(self._cancelled(handle))

    def back(self, project: str, job: str) -> None:
        """Somebody waits for the job again."""
        for waiting in (self._timers, self._asking):
            one = waiting.pop((project, job), None)
            if one is not None:
                one.cancel()

    async def close(self) -> None:
        """Leave what lingers to go on (an edge that ends cancels nothing) and let cancels that are under way go out."""
        asked, self._asked = self._asked, None
        if asked is not None:
            await asked.close()
        for project, job in (*self._timers, *self._asking):
            self.back(project, job)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING)

    def _due(self, project: str, handle: JobHandle) -> None:
        self._timers.pop((project, handle.id), None)
        if not self._producers.awaits(project, handle.id):
            work = self._cancelled_unless_taken_up(project, handle)
            asking = self._asking[project, handle.id] = asyncio.get_running_loop().create_task(work)
            self._keep(asking)

    async def _cancelled_unless_taken_up(self, project: str, handle: JobHandle) -> None:
        taken_up = await self._taken_up(project, handle.id)
        del self._asking[project, handle.id]
        if not taken_up:
            await self._cancelled(handle)

    async def _taken_up(self, project: str, job: str) -> bool:
        """Whether a client has the job somewhere. If nobody can be asked it counts as had, and its deadline ends it."""
        for _ in range(QUESTIONS):
            try:
                await self._bus.request(subjects.awaited(project, job), b"", timeout=self._silence / QUESTIONS)
            except OutcomeUnknown:
                continue
            except BusError:
                return True
            else:
                return True
        return self._producers.awaits(project, job)

    async def _cancelled(self, handle: JobHandle) -> None:
        try:
            await handle.cancel(REASON)
        except PenstockError:
            return  # it has ended meanwhile, or its deadline ends it

    def _on_question(self, message: Message) -> None:
        project, job = subjects.project_and_job(message.subject)
        if message.reply and ((project, job) in self._timers or self._producers.awaits(project, job)):
            self._spawn(self._answered(message.reply))

    async def _answered(self, reply: str) -> None:
        try:
            await self._bus.publish(reply, b"")
        except BusError:
            return  # then the other one cannot cancel either

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._keep(asyncio.get_running_loop().create_task(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
