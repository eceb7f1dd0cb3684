"""An attempt that was lost becomes an outcome in OUT, so that it is known to whoever leads next.

The order is what makes it safe to stop anywhere: look whether the attempt has been answered after all; store the
outcome, unless the subject has moved; tell the ledger what it may have cost; only then remove the assignment. What
follows from the loss is decided when the outcome is read, like any other. Until that is stored the assignment lies in
WORK, and the next leader finds the same loss; after that it is a remnant, whose cost is told before it goes. A cost
that was told first would count for ever if the worker came first and had not called: of that nobody tells a fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Assignment, Outcome
from job_contracts.chat import Usage
from job_contracts.codec import ContractError, decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import AttemptRecord
from runtime.bus.port import NotFound, WrongSequence
from runtime.telemetry import WARNING
from scheduler.costs import Costs, fact_of, reserved

if TYPE_CHECKING:
    from runtime.bus.port import Handler, Message
    from scheduler.submissions import JobKey
    from scheduler.term import Term


@dataclass(frozen=True, slots=True)
class Loss:
    """An attempt nobody answers for: where it lay, and what is held to have happened to it."""

    key: JobKey
    attempt: int
    deployment: str
    seq: int
    seconds: float
    kind: FailureKind
    message: str
    hedge: bool = False
    """Whether it ran beside another attempt."""


class Losses:
    """Writes lost attempts down. The readers of RES and OUT say how they take in what they have not been handed."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._bus = term.bus
        self._work, self._out = term.stream(subjects.WORK), term.stream(subjects.OUT)
        self._costs = Costs(term)
        self.on_result: Handler = lambda _: None
        self.on_outcome: Handler = lambda _: None

    async def write(self, loss: Loss) -> None:
        """Make the loss durable, or find out that there is none. Raises BusError; then it is tried again."""
        if await self._answered(loss):
            return
        outcome_seq = await self._last_outcome(loss)
        if outcome_seq is None:
            return
        order = await self._order(loss)
        outcome = self._outcome(loss, order)
        if not self._term.lease.trusted:
            return
        if not await self._store(loss, outcome, outcome_seq):
            return
        if order is None:  # its worker acknowledged it, so it had answered; that answer is nowhere
            self._repaired("lost_report", loss)
        elif outcome.called:
            await self._costs.tell(fact_of(order, outcome.record))
        if loss.seq:
            await self._bus.delete(self._work, loss.seq)

    async def _store(self, loss: Loss, outcome: Outcome, outcome_seq: int) -> bool:
        project, job = loss.key
        subject = subjects.outcome(self._term.shard, project, job, hedge=loss.hedge)
        try:
            await self._bus.append(subject, encode(outcome), expect_last=outcome_seq)
        except WrongSequence:
            return False  # its worker has answered this very moment: that is read, and acted on
        self._term.telemetry.emit("attempt.lost", WARNING, job_id=job, attempt=loss.attempt, kind=str(loss.kind))
        self._term.tracing.lost(self._term.submissions.entries.get(loss.key), outcome)
        return True

    async def _answered(self, loss: Loss) -> bool:
        """Whether the job has its result; one that was handed over and left no trace is handed over again."""
        try:
            found = await self._bus.last(subjects.RES, subjects.result(*loss.key))
        except NotFound:
            return False
        if found.seq <= self._term.submissions.last_result:
            self._repaired("unread_result", loss)
            self.on_result(found)
        return True

    async def _last_outcome(self, loss: Loss) -> int | None:
        """Where the job's last outcome lies, 0 if it has none; ``None`` if it is this attempt's, or a later one's."""
        try:
            subject = subjects.outcome(self._term.shard, *loss.key, hedge=loss.hedge)
            found = await self._bus.last(self._out, subject)
        except NotFound:
            return 0
        if not self._ends(loss, found):
            return found.seq
        self.on_outcome(found)
        return None

    def _ends(self, loss: Loss, found: Message) -> bool:
        entry = self._term.submissions.entries.get(loss.key)
        try:
            outcome = decode(Outcome, found.data)
        except ContractError:
            return False
        return entry is not None and outcome.token == entry.token and outcome.record.number >= loss.attempt

    async def _order(self, loss: Loss) -> Assignment | None:
        """What the attempt was told to do, as long as its assignment is there."""
        try:
            found = decode(Assignment, (await self._bus.get(self._work, loss.seq)).data) if loss.seq else None
        except (NotFound, ContractError):
            return None
        same = found is not None and (found.project, found.job_id, found.attempt) == (*loss.key, loss.attempt)
        return found if same else None

    def _outcome(self, loss: Loss, order: Assignment | None) -> Outcome:
        project, job = loss.key
        entry = self._term.submissions.entries.get(loss.key)
        provider, _, model = loss.deployment.partition("/")
        failure = Failure(kind=loss.kind, message=loss.message, deployment=loss.deployment, provider=provider)
        called = loss.kind is FailureKind.WORKER_LOST
        record = AttemptRecord(
            number=loss.attempt,
            deployment=loss.deployment,
            provider=provider,
            model=model,
            started=self._term.clock.wall() - loss.seconds,
            seconds=loss.seconds,
            failure=failure,
            usage=reserved(order) if order is not None and called else Usage(reported=not called),
            cost=Decimal(0) if not called else None if order is None else order.grant.cost,
            decision=None if order is None else order.decision,
        )
        return Outcome(
            job_id=job,
            project=project,
            token=order.token if order is not None else "" if entry is None else entry.token,
            body_hash=order.body_hash if order is not None else "" if entry is None else entry.body_hash,
            pool=provider,
            worker=f"leader.{self._term.lease.epoch}",
            record=record,
            history=order.history if order is not None else self._term.board.history(project, job),
            failure=failure,
            draft=order.draft if order is not None else self._term.board.draft(project, job),
            called=called,
            route=None if order is None else order.route,
            trial=None if order is None else order.trial,
            hedge=loss.hedge,
        )

    def _repaired(self, kind: str, loss: Loss) -> None:
        self._term.telemetry.emit(
            "reconciler.repaired", WARNING, kind=kind, project=loss.key[0], job_id=loss.key[1], attempt=loss.attempt
        )
