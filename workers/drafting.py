"""Drafts: answers that are verified before they become results, and the verdicts that make results of them.

A draft is the result it would have been, marked as not verified, in a blob; the outcome of its attempt points there,
and so does every assignment and outcome of its verification. Whatever is lost on the way, the draft is found again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.attempts import Draft
from job_contracts.chat import Answer, FinishReason, TextPart
from job_contracts.codec import ContractError, decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Result, cost_of_all
from job_contracts.scoring import scored, scoring
from job_contracts.verification import Verification, judged, told, verifiable, verification
from runtime.bus.port import BusError, NotFound
from workers.answers.expected import asks
from workers.dialects.port import Decoded
from workers.http import CallFailed
from workers.records import outcome_of, placed, record_of

if TYPE_CHECKING:
    from job_contracts.attempts import Assignment, Checking, Outcome
    from job_contracts.jobs import Job
    from runtime.bus.port import Bus
    from runtime.telemetry import Telemetry
    from workers.answers.expected import Answers
    from workers.records import Ending

__all__ = ["Drafted", "Drafts", "fitting", "outcome_with", "to_be_verified", "verified"]

TRIES, PAUSE = 6, 0.1
"""Tries to store or fetch a draft, and the seconds after the first one, doubled each time."""
WAITS = Failure(kind=FailureKind.HANDED_BACK, message="a draft was made; it waits to be verified")
"""What a leader of a time without drafts reads: it has the job made again."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft, and the job that it answers."""

    result: Result
    job: Job


def to_be_verified(checking: Checking | None, answer: Answer | None, sure: float | None) -> bool:
    """Whether an answer is a draft, or the job's result as it is."""
    if checking is None or answer is None or not verifiable(answer):
        return False
    if checking.judged:
        return True
    return checking.always or (checking.below is not None and (sure is None or sure < checking.below))


def verified(assignment: Assignment, ending: Ending, drafted: Drafted, result: Result) -> Result | Draft | Failure:
    """The job's result: the draft, or what the verifier put in its place. ``result`` holds the verifier's own words.

    A failure where these cannot be read: then another verifier is asked. A draft where a judge's score leaves it to the
    verifiers.
    """
    if assignment.accept_from is not None:
        return _scored(assignment, ending, drafted, result)
    said = None if result.answer is None else judged(result.answer.text)
    if said is None:
        words = "the verifier's answer holds no verdict that can be read"
        return placed(Failure(kind=FailureKind.MALFORMED_RESPONSE, message=words), assignment, produced=True)
    draft = assignment.draft.deployment if assignment.draft is not None else drafted.result.deployment
    own = _own(assignment, ending, result, told(said, draft=draft, verifier=assignment.deployment))
    if said.verdict == "accept":
        if assignment.draft is not None and not assignment.draft.fits:
            words = "the verifier accepts an answer that is not what the schema asks for"
            return placed(Failure(kind=FailureKind.MALFORMED_RESPONSE, message=words), assignment, produced=True)
        return drafted.result.model_copy(update=own)
    answer = Answer(parts=(TextPart(text=said.answer or ""),))
    return result.model_copy(update={**own, "answer": answer, "finish_reason": FinishReason.STOP})


def _scored(assignment: Assignment, ending: Ending, drafted: Drafted, result: Result) -> Result | Draft | Failure:
    score = None if result.answer is None else scored(result.answer.text)
    if score is None:
        words = "the judge's answer holds no score that can be read"
        return placed(Failure(kind=FailureKind.MALFORMED_RESPONSE, message=words), assignment, produced=True)
    assert assignment.draft is not None  # noqa: S101 - there is something to score
    if assignment.accept_from is not None and score < assignment.accept_from:
        return assignment.draft.model_copy(update={"score": score})
    return drafted.result.model_copy(update=_own(assignment, ending, result, None))


def _own(
    assignment: Assignment, ending: Ending, result: Result, verification: Verification | None
) -> dict[str, object]:
    """What the result of a draft has from the attempt that let it be the answer."""
    attempts = (*assignment.history, record_of(assignment, ending))
    return {
        "nonce": result.nonce,
        "attempts": attempts,
        "cost": cost_of_all(attempts),
        "times": result.times,
        "tags": result.tags,
        "verification": verification,
    }


async def fitting(answers: Answers, assignment: Assignment, drafted: Drafted, made: Result) -> Result | Failure:
    """What a verifier has put in place of a draft is held to what the job asks for, like any answer."""
    if made.answer is None or made.answer is drafted.result.answer or not asks(drafted.job):
        return made
    told = Decoded(answer=made.answer, finish_reason=FinishReason.STOP, finish_raw=None, usage=made.usage)
    try:
        whole = await (await answers.expected(drafted.job, assignment)).judged(told)
    except CallFailed as refused:
        return placed(refused.failure, assignment, produced=True)
    return made.model_copy(update={"answer": whole.answer})


def outcome_with(outcome: Outcome, draft: Draft | None) -> Outcome:
    """An outcome that says which answer still waits for its verdict."""
    return outcome if draft is None else outcome.model_copy(update={"draft": draft})


class Drafts:
    """Where one pool keeps its drafts and finds those of others."""

    def __init__(self, bus: Bus, telemetry: Telemetry, *, pool: str, worker: str) -> None:
        self._bus, self._telemetry = bus, telemetry
        self._pool, self._worker = pool, worker

    async def keep(self, assignment: Assignment, ending: Ending, result: Result) -> Outcome:
        """Store an answer that is to be verified; the outcome that tells of it, or that it could not be stored."""
        marked = Verification(verdict="unverified", draft=assignment.deployment)
        data = encode(result.model_copy(update={"verification": marked}))
        name, pause = f"{assignment.project}.{assignment.job_id}", PAUSE
        made = outcome_of(assignment, ending, WAITS, pool=self._pool, worker=self._worker)
        for _ in range(TRIES):
            try:
                blob = await self._bus.put_blob(name, data, of="result")
            except BusError:
                await asyncio.sleep(pause)
                pause *= 2
            else:
                self._telemetry.emit("draft.stored", attempt=assignment.attempt_id)
                unasked = assignment.checking is not None and assignment.checking.always
                score = None if ending.fits and not unasked else 0.0
                return outcome_with(
                    made, Draft(deployment=assignment.deployment, blob=blob, fits=ending.fits, score=score)
                )
        failure = WAITS.model_copy(update={"message": "the draft could not be stored"})
        lost = made.record.model_copy(update={"failure": failure})
        return made.model_copy(update={"failure": failure, "record": lost})

    def passed_on(self, assignment: Assignment, ending: Ending, draft: Draft) -> Outcome:
        """The outcome of a judge's attempt whose draft goes on to the verifiers."""
        return outcome_with(outcome_of(assignment, ending, WAITS, pool=self._pool, worker=self._worker), draft)

    async def question(self, assignment: Assignment, job: Job) -> tuple[Drafted, Job] | Failure:
        """The draft that an assignment is to verify, and the job that asks about it."""
        assert assignment.draft is not None  # noqa: S101 - looked at by the caller
        name, pause = f"{assignment.project}.{assignment.job_id}", PAUSE
        for _ in range(TRIES):
            try:
                drafted = decode(Result, await self._bus.get_blob(name, assignment.draft.blob, of="result"))
            except (NotFound, ContractError):
                break
            except BusError:
                await asyncio.sleep(pause)
                pause *= 2
            else:
                if drafted.answer is None or job.conversation is None:
                    break
                wording = verification if assignment.accept_from is None else scoring
                asked = wording(job.conversation, drafted.answer)
                return Drafted(drafted, job), job.model_copy(update={"conversation": asked})
        else:
            return Failure(kind=FailureKind.HANDED_BACK, message="the draft could not be fetched from the broker")
        return Failure(kind=FailureKind.INVALID_JOB, message="the draft is not stored (any more)")
