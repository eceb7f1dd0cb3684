"""What an attempt's end looks like to everybody else: record, result, settlement, outcome, fact. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from job_contracts.attempts import Assignment, LimitReading, Outcome
from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact, Reason
from job_contracts.failures import Failure
from job_contracts.followups import OF_DRAFT, kind_of, reason_of
from job_contracts.jobs import BlobRef, JobState
from job_contracts.results import AttemptRecord, Loss, Result, Settlement, Times, cost_of_all
from job_contracts.verification import Verification, judged, told
from workers.dialects import tokens
from workers.dialects.port import Decoded, Partial

__all__ = [
    "FREE",
    "UNKNOWN",
    "Charge",
    "Ending",
    "fact_of",
    "known_usage",
    "outcome_of",
    "partial_usage",
    "placed",
    "pointer_of",
    "result_of",
    "settlement_of",
    "verdict_on",
]

MAX_MESSAGE = 2_000
"""Characters of a failure's message: providers sometimes answer with a page."""
MAX_LOSSES = 50
NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Charge:
    """What an attempt cost, in US dollars, and how that is known; ``None``: not known."""

    cost: Decimal | None = None
    stated: bool = False
    """By the provider itself."""
    price: str | None = None
    """Version of the price it was reckoned by."""


FREE, UNKNOWN = Charge(Decimal(0)), Charge()


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended: an answer or a failure. Times in seconds, ``started`` in UTC."""

    started: float
    seconds: float
    decoded: Decoded | None = None
    failure: Failure | None = None
    called: bool = True
    """Whether the provider was called at all."""
    first_token: float | None = None
    usage: Usage = NOTHING
    charge: Charge = UNKNOWN
    losses: tuple[Loss, ...] = ()
    limits: tuple[LimitReading, ...] = ()
    continued: int | None = None
    """The attempt whose answer it went on with."""
    fits: bool = True
    """Whether the answer is what the job asks for; one that is not can only be a draft."""

    def failed(self, failure: Failure) -> Ending:
        """The same end, but it is this failure."""
        return replace(self, decoded=None, failure=failure)


def known_usage(decoded: Decoded, estimate: Callable[[], int]) -> Usage:
    """The usage of a complete answer; where the provider told none, what was asked is estimated from its text."""
    usage = decoded.usage
    if usage.reported:
        return usage
    return usage.model_copy(update={"input": usage.input or estimate()})


def partial_usage(partial: Partial | None, prompt: int, unseen: int = 0) -> Usage:
    """What an answer that broke has used: as far as the provider told it, else estimated.

    The provider had the ``prompt`` (tokens); the output is counted from its characters. ``unseen``: tokens of an answer
    that is shown only when it is whole, and was being written when the attempt ended.
    """
    if partial is None:
        return Usage(input=prompt, output=unseen, reported=False)
    told = partial.usage
    if told.reported and told.input and partial.final:
        return told
    since = partial.output_characters - partial.told_at
    counted = told.output + tokens.of_characters(since) if partial.told_at else tokens.of_characters(since)
    output = max(told.output, counted, unseen)
    return told.model_copy(update={"input": told.input or prompt, "output": output, "reported": False})


def record_of(assignment: Assignment, ending: Ending) -> AttemptRecord:
    """The attempt as the job's story tells it."""
    return AttemptRecord(
        number=assignment.attempt,
        deployment=assignment.deployment,
        provider=assignment.provider,
        model=assignment.model,
        started=ending.started,
        seconds=ending.seconds,
        first_token=ending.first_token,
        failure=ending.failure,
        usage=ending.usage,
        cost=ending.charge.cost,
        losses=ending.losses[:MAX_LOSSES],
        decision=assignment.decision,
        continued=ending.continued,
    )


def result_of(
    assignment: Assignment,
    ending: Ending,
    decoded: Decoded,
    *,
    nonce: str,
    finished: float,
    tags: dict[str, str],
    replay_of: str | None = None,
    verification: Verification | None = None,
) -> Result:
    """The job's one terminal record, for an answer; it cost what all its attempts did."""
    attempts = (*assignment.history, record_of(assignment, ending))
    return Result(
        job=assignment.job_id,
        project=assignment.project,
        state=JobState.SUCCEEDED,
        route=assignment.route,
        token=assignment.token,
        body_hash=assignment.body_hash,
        nonce=nonce,
        answer=decoded.answer if decoded.embeddings is None else None,
        embeddings=decoded.embeddings,
        finish_reason=decoded.finish_reason if decoded.embeddings is None else None,
        finish_raw=decoded.finish_raw,
        usage=ending.usage,
        cost=cost_of_all(attempts),
        provider=assignment.provider,
        model=decoded.model or assignment.model,
        deployment=assignment.deployment,
        attempts=attempts,
        times=Times(submitted=assignment.submitted, dispatched=assignment.grant.granted, finished=finished),
        tags=tags,
        replay_of=replay_of,
        verification=verification,
    )


def pointer_of(result: Result, blob: BlobRef) -> Result:
    """The same result without answer and vectors, which lie with the whole record in ``blob``."""
    return result.model_copy(update={"answer": None, "embeddings": None, "blob": blob})


def settlement_of(assignment: Assignment, ending: Ending, result: Result) -> Settlement:
    """What the scheduler reads of a result."""
    return Settlement(
        state=JobState.SUCCEEDED,
        token=assignment.token,
        body_hash=assignment.body_hash,
        attempt=assignment.attempt,
        deployment=assignment.deployment,
        usage=ending.usage,
        seconds=ending.seconds,
        first_token=ending.first_token,
        trial=assignment.trial,
        cost=result.cost,
        finished=result.times.finished,
    )


def outcome_of(assignment: Assignment, ending: Ending, failure: Failure, *, pool: str, worker: str) -> Outcome:
    """What the scheduler decides the next step from."""
    return Outcome(
        job_id=assignment.job_id,
        project=assignment.project,
        token=assignment.token,
        body_hash=assignment.body_hash,
        pool=pool,
        worker=worker,
        record=record_of(assignment, ending),
        history=assignment.history,
        failure=failure,
        limits=ending.limits,
        called=ending.called,
        route=assignment.route,
        trial=assignment.trial,
        hedge=assignment.hedge,
    )


def placed(failure: Failure, assignment: Assignment, *, produced: bool) -> Failure:
    """A failure with where it happened, and its message bounded."""
    message = failure.message if len(failure.message) <= MAX_MESSAGE else f"{failure.message[:MAX_MESSAGE]}…"
    where = {"provider": assignment.provider, "deployment": assignment.deployment}
    return failure.model_copy(update={**where, "message": message, "produced": failure.produced or produced})


def verdict_on(assignment: Assignment, decoded: Decoded, tags: dict[str, str]) -> Verification | None:
    """What an answer says of another one, if that is what was asked for."""
    if kind_of(assignment.job_id) != "verify":
        return None
    return told(judged(decoded.answer.text), draft=tags.get(OF_DRAFT), verifier=assignment.deployment)


def fact_of(
    assignment: Assignment,
    ending: Ending,
    *,
    won: bool,
    tags: dict[str, str],
    outrun: bool = False,
    verdict: str | None = None,
) -> AttemptFact:
    """What the ledger is told of an attempt that called its provider; ``outrun`` if another one was faster."""
    failure = ending.failure
    reason: Reason = "hedged" if outrun and not won else reason_of(assignment.job_id, failure)
    return AttemptFact(
        attempt=assignment.attempt_id,
        project=assignment.project,
        route=assignment.route,
        deployment=assignment.deployment,
        provider=assignment.provider,
        model=assignment.model,
        submitted=assignment.submitted,
        started=ending.started,
        seconds=ending.seconds,
        first_token=ending.first_token,
        usage=ending.usage,
        cost=ending.charge.cost,
        stated=ending.charge.stated,
        price=ending.charge.price,
        reserved=assignment.grant.cost,
        charged=assignment.grant.charged,
        key=assignment.key,
        reason=reason,
        failure=failure.kind if failure is not None else None,
        won=won,
        tags=tags,
        trial=assignment.trial,
        verdict=verdict,
    )
