"""Results become facts, and finished submissions leave their stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.jobs import JobState
from job_contracts.results import Settlement
from runtime.bus.port import BusError
from runtime.telemetry import INFO, WARNING
from scheduler.policy.facts import Settled

if TYPE_CHECKING:
    from runtime.bus.port import Message
    from scheduler.lifeline import Lifeline
    from scheduler.term import Term

_UNREADABLE = Settlement(state=JobState.FAILED, token="", body_hash="")
"""For a record that tells the scheduler nothing: the job has ended all the same, and must not run again."""

SWEEP = 0.1
"""Seconds between two removals of finished submissions."""
PATIENCE = 2.0
"""Seconds a finished submission waits for the ones below it before it is deleted alone."""
SINGLE = 200
"""Single deletions in one sweep at most."""


class Settling:
    """Tails RES (headers only) and sweeps SUBMIT and OUT behind it."""

    def __init__(self, term: Term, lifeline: Lifeline) -> None:
        self._term = term
        self._bus = term.bus
        self._clock = term.clock
        self._submit = term.stream(subjects.SUBMIT)
        self._out = term.stream(subjects.OUT)
        self._board = term.board
        self._submissions = term.submissions
        self._bodies = term.bodies
        self._lifeline = lifeline
        self._outcomes: list[int] = []

    def on_result(self, message: Message) -> None:
        """One terminal record."""
        if message.subject.startswith(f"{subjects.PREFIX}.res_barrier."):
            return
        now = self._clock.monotonic()
        project, job = subjects.project_and_job(message.subject)
        try:
            settlement = decode(Settlement, (message.headers or {}).get(subjects.H_SETTLEMENT, ""))
        except ContractError as error:
            self._term.telemetry.emit("settling.unreadable", WARNING, seq=message.seq, error=str(error))
            settlement = None
        entry = self._submissions.settle((project, job), message.seq, now)
        self._lifeline.forget(project, job)
        if entry is None:
            return
        fact = self._fact(project, job, settlement or _UNREADABLE)
        self._board.apply(fact, now)
        if not self._term.leads:
            return
        self._bodies.drop(entry.seq)
        if entry.blob is not None:
            self._term.background.start(self._bus.delete_blob(f"{project}.{job}", of="job"))
        if entry.outcome_seq:
            self._outcomes.append(entry.outcome_seq)
        self._term.telemetry.emit("job.settled", state=fact.state.value)
        self._term.wake.set()

    async def sweep(self) -> None:
        """For ever: remove what is settled, as long as this term is trusted (removing twice does no harm)."""
        while True:
            await asyncio.sleep(SWEEP)
            if not self._term.lease.trusted:
                continue
            try:
                await self._remove()
            except BusError as error:
                self._term.telemetry.emit("settling.sweep_failed", INFO, error=type(error).__name__)

    async def _remove(self) -> None:
        below = self._submissions.removable_below()
        if below:
            await self._bus.purge(self._submit, below=below)
            self._submissions.purged(below)
        for seq in self._submissions.stragglers(self._clock.monotonic(), older=PATIENCE, most=SINGLE):
            await self._bus.delete(self._submit, seq)
            self._submissions.deleted(seq)
        for _ in range(len(self._outcomes)):  # not what comes meanwhile: submissions have to be removed as well
            seq = self._outcomes.pop()  # at once: while the broker is asked, further ones are added behind it
            try:
                await self._bus.delete(self._out, seq)
            except BusError:
                self._outcomes.append(seq)
                raise

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
