"""Results become facts, and finished submissions leave their stream."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.results import Settlement
from runtime.bus.port import BusError
from scheduler.policy.facts import Settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.bus.port import Bus, Message
    from runtime.clock import Clock
    from scheduler.bodies import Bodies
    from scheduler.lifeline import Lifeline
    from scheduler.policy.board import Board
    from scheduler.submissions import Submissions

log = logging.getLogger(__name__)

SWEEP = 0.1
"""Seconds between two removals of finished submissions."""
PATIENCE = 2.0
"""Seconds a finished submission waits for the ones below it before it is deleted alone."""
SINGLE = 200
"""Single deletions in one sweep at most."""


class Settling:
    """Tails RES (headers only) and sweeps SUBMIT and OUT behind it."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        shard: int,
        board: Board,
        submissions: Submissions,
        bodies: Bodies,
        lifeline: Lifeline,
        trusted: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._submit = subjects.stream_name(subjects.SUBMIT, shard)
        self._out = subjects.stream_name(subjects.OUT, shard)
        self._board = board
        self._submissions = submissions
        self._bodies = bodies
        self._lifeline = lifeline
        self._trusted = trusted
        self._changed = changed
        self._outcomes: list[int] = []
        self.settled = 0

    def on_result(self, message: Message) -> None:
        """One terminal record."""
        if message.subject.startswith(f"{subjects.PREFIX}.res_barrier."):
            return
        now = self._clock.monotonic()
        project, job = subjects.project_and_job(message.subject)
        try:
            settlement = decode(Settlement, (message.headers or {}).get(subjects.H_SETTLEMENT, ""))
        except ContractError as error:
            log.warning("settling.unreadable", extra={"seq": message.seq, "error": str(error)})
            settlement = None
        entry = self._submissions.settle((project, job), message.seq, now)
        self._lifeline.forget(project, job)
        if entry is None:
            return
        self._bodies.drop(entry.seq)
        if entry.outcome_seq:
            self._outcomes.append(entry.outcome_seq)
        self.settled += 1
        if settlement is not None:
            self._board.apply(self._fact(project, job, settlement), now)
            self._changed()

    async def sweep(self) -> None:
        """For ever: remove what is settled, as long as this term is trusted (removing twice does no harm)."""
        while True:
            await asyncio.sleep(SWEEP)
            if not self._trusted():
                continue
            try:
                await self._remove()
            except BusError as error:
                log.info("settling.sweep_failed", extra={"error": type(error).__name__})

    async def _remove(self) -> None:
        below = self._submissions.removable_below()
        if below:
            await self._bus.purge(self._submit, below=below)
            self._submissions.purged(below)
        for seq in self._submissions.stragglers(self._clock.monotonic(), older=PATIENCE, most=SINGLE):
            await self._bus.delete(self._submit, seq)
            self._submissions.deleted(seq)
        while self._outcomes:
            await self._bus.delete(self._out, self._outcomes[-1])
            self._outcomes.pop()

    @staticmethod
    def _fact(project: str, job: str, settlement: Settlement) -> Settled:
        return Settled(
            project=project,
            job=job,
            state=settlement.state,
            attempt=settlement.attempt,
            deployment=settlement.deployment,
            usage=settlement.usage,
            seconds=settlement.seconds,
            first_token=settlement.first_token,
        )
