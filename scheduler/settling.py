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
from scheduler.mishaps import tell
from scheduler.policy.facts import Settled
from scheduler.readings import Gaps, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.bus.port import Message
    from scheduler.lifeline import Lifeline
    from scheduler.term import Term

_UNREADABLE = Settlement(state=JobState.FAILED, token="", body_hash="")
"""For a record that tells the scheduler nothing: the job has ended all the same, and must not run again."""

_RESULTS = f"{subjects.PREFIX}.res."

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
        self._gaps = Gaps()
        self._gaps.begin()
        self.reading = Reading("unread_result", subjects.RES, f"{subjects.PREFIX}.res.>", self._gaps, self.on_result)
        """RES, for whoever looks after what was passed over."""
        lifeline.losses.on_result = self.on_result

    @property
    def leaving(self) -> Sequence[int]:
        """Sequences of outcomes that are about to be removed."""
        return self._outcomes

    def on_result(self, message: Message) -> None:
        """One terminal record."""
        self._gaps.read(message.seq)
        if not message.subject.startswith(_RESULTS):
            return  # a barrier, or what was said of an answer
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
        if entry.followed:
            self._term.followups.settled((project, job), entry)
        fact = self._fact(project, job, settlement or _UNREADABLE)
        self._settle(fact, now)
        if not self._term.leads:
            return
        if entry.trace is not None:
            self._term.tracing.settled((project, job), entry, settlement or _UNREADABLE)
        self._bodies.drop(entry.seq)
        if entry.blob is not None and not entry.followed:
            self._term.background.start(self._bus.delete_blob(f"{project}.{job}", of="job"))
        if entry.outcome_seq:
            self._outcomes.append(entry.outcome_seq)
        beside = self._lifeline.hedge_outcomes.pop((project, job), 0) if self._lifeline.hedge_outcomes else 0
        if beside:
            self._outcomes.append(beside)
        self._term.telemetry.emit("job.settled", state=fact.state.value)
        self._term.wake.set()

    def _settle(self, fact: Settled, now: float) -> None:
        """Let the policy know. A bug must not keep a job that has ended: then it is told the end alone, of nobody."""
        try:
            self._board.apply(fact, now)
        except Exception as error:  # noqa: BLE001 - see above
            tell(self._term, "result", fact.job, error)
            self._board.apply(self._fact(fact.project, fact.job, _UNREADABLE), now)

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
            self._term.telemetry.emit("settling.removed", below=below)
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
