"""Facts that the leader tells the ledger, of attempts whose workers can no longer tell them. Twice does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.chat import Usage
from job_contracts.codec import ContractError, decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import FailureKind
from job_contracts.followups import reason_of, spent_on
from job_contracts.results import Result
from runtime.bus.port import NotFound

if TYPE_CHECKING:
    from decimal import Decimal

    from job_contracts.attempts import Assignment
    from job_contracts.results import AttemptRecord
    from runtime.bus.port import Message
    from scheduler.term import Term

TELLER = "leader"
"""Stands where a worker's name stands in the subject of facts."""
UNCALLED = frozenset({FailureKind.GRANT_EXPIRED, FailureKind.HANDED_BACK, FailureKind.CANCELLED, FailureKind.EXPIRED})
"""Ends that an attempt may come to before it has called; then it has used nothing and has no fact."""


def reserved(order: Assignment) -> Usage:
    """The best estimate of what an attempt used of which nobody tells."""
    return Usage(input=order.grant.input_tokens, output=order.grant.output_tokens, reported=False)


def reservation(order: Assignment, record: AttemptRecord) -> Decimal | None:
    """What an attempt of which nobody can tell may have cost: what was reserved for it, its worst case."""
    if record.cost is not None or record.usage.reported:
        return record.cost
    return order.grant.cost


def fact_of(order: Assignment, record: AttemptRecord, *, won: bool = False) -> AttemptFact:
    """The fact of an assignment's attempt, from its record; what an older worker's does not say is not known."""
    failure = record.failure
    return AttemptFact(
        attempt=order.attempt_id,
        project=order.project,
        route=order.route,
        deployment=order.deployment,
        provider=order.provider,
        model=order.model,
        submitted=order.submitted,
        started=record.started,
        seconds=record.seconds,
        first_token=record.first_token,
        usage=record.usage,
        cost=reservation(order, record),
        reserved=order.grant.cost,
        charged=order.grant.charged,
        key=order.key,
        reason=reason_of(order.job_id, failure),
        failure=failure.kind if failure is not None else None,
        won=won,
        told_by="leader",
        tags=order.tagged,
        trial=order.trial,
    )


def estimated(order: Assignment, *, seconds: float, failure: FailureKind = FailureKind.WORKER_LOST) -> AttemptFact:
    """The fact of an attempt that left no record: it may have cost what was reserved for it."""
    return AttemptFact(
        attempt=order.attempt_id,
        project=order.project,
        route=order.route,
        deployment=order.deployment,
        provider=order.provider,
        model=order.model,
        submitted=order.submitted,
        started=order.grant.granted,
        seconds=max(0.0, seconds),
        usage=reserved(order),
        cost=order.grant.cost,
        reserved=order.grant.cost,
        charged=order.grant.charged,
        key=order.key,
        reason=spent_on(order.job_id) or "failed",
        failure=failure,
        won=False,
        told_by="leader",
        tags=order.tagged,
        trial=order.trial,
    )


class Costs:
    """Tells facts, and finds out what is to be told of an assignment that is about to be removed."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._bus = term.bus

    async def tell(self, fact: AttemptFact) -> None:
        """Store a fact. Raises BusError."""
        await self._bus.append(subjects.usage(fact.provider, TELLER), encode(Facts(facts=(fact,))))
        cost = None if fact.cost is None else float(fact.cost)
        spent = {"provider": fact.provider, "model": fact.model, "reason": fact.reason}
        self._term.telemetry.emit("cost.told", project=fact.project, cost=cost, **spent)

    async def close(self, order: Assignment, *, delivered: bool) -> bool:
        """Before a remnant goes: tell what its worker may not have told. Raises BusError; then it must stay.

        Returns whether a fact was told; if not, none will ever come.
        """
        fact = await self._from_result(order)
        if fact is None:
            outcome = await self._outcome(order)
            if outcome is not None and outcome.record.number == order.attempt and not outcome.called:
                return False
            record = None if outcome is None else _numbered(order.attempt, (*outcome.history, outcome.record))
            fact = None if record is None else fact_of(order, record)
        if fact is None and delivered:
            fact = estimated(order, seconds=self._term.clock.wall() - order.grant.granted)
        elif fact is not None and not (fact.won or fact.usage.total or fact.failure not in UNCALLED):
            fact = None
        if fact is not None:
            await self.tell(fact)
        return fact is not None

    async def _from_result(self, order: Assignment) -> AttemptFact | None:
        found = await self._last(subjects.RES, subjects.result(order.project, order.job_id))
        try:
            result = None if found is None else decode(Result, found.data)
        except ContractError:
            return None
        if result is None or result.token != order.token:
            return None
        record = _numbered(order.attempt, result.attempts)
        won = result.nonce.startswith(f"{order.attempt_id}@")
        return None if record is None else fact_of(order, record, won=won)

    async def _outcome(self, order: Assignment) -> Outcome | None:
        """The job's last outcome, if it is one of the same submission."""
        subject = subjects.outcome(self._term.shard, order.project, order.job_id, hedge=order.hedge)
        found = await self._last(self._term.stream(subjects.OUT), subject)
        try:
            outcome = None if found is None else decode(Outcome, found.data)
        except ContractError:
            return None
        return outcome if outcome is not None and outcome.token == order.token else None

    async def _last(self, stream: str, subject: str) -> Message | None:
        try:
            return await self._bus.last(stream, subject)
        except NotFound:
            return None


def _numbered(attempt: int, records: tuple[AttemptRecord, ...]) -> AttemptRecord | None:
    return next((record for record in records if record.number == attempt), None)
