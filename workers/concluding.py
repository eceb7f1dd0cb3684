"""What an attempt's ending comes to: a result, a draft or an outcome, stored; then its cost in the books; then told.

Nothing is acknowledged before its report is stored: what is not, the leader misses and has done again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.attempts import Draft
from job_contracts.failures import Failure, FailureKind
from job_contracts.followups import origin_of
from job_contracts.results import Result
from workers.drafting import fitting, outcome_with, to_be_verified, verified
from workers.recent import Recent
from workers.records import fact_of, outcome_of, placed, result_of, settlement_of, verdict_on
from workers.reporting import Stored
from workers.sureness import how_sure
from workers.telling import told_of

if TYPE_CHECKING:
    from job_contracts.attempts import Assignment, Outcome
    from job_contracts.jobs import Job
    from runtime.bus.port import Delivery
    from workers.attempt import Attempt
    from workers.books import Books
    from workers.drafting import Drafted, Drafts
    from workers.endpoint import Endpoint
    from workers.observing import Observer
    from workers.records import Ending
    from workers.reporting import Reporter

__all__ = ["Concluding"]

_TOO_LARGE = Failure(
    kind=FailureKind.RESPONSE_TOO_LARGE, message="the record of the answer is larger than a message, or a blob, may be"
)


class Concluding:
    """A pool's. ``worker`` is this process's name in results and outcomes."""

    def __init__(
        self,
        endpoint: Endpoint,
        reporter: Reporter,
        books: Books,
        drafts: Drafts,
        observer: Observer | None,
        *,
        pool: str,
        worker: str,
    ) -> None:
        self._endpoint, self._reporter, self._books = endpoint, reporter, books
        self._drafts, self._observer = drafts, observer
        self._pool, self._worker = pool, worker
        self._reported: Recent[tuple[str, int, float]] = Recent()

    def has_reported(self, assignment: Assignment) -> bool:
        """Whether this very dispatch has been answered for already."""
        return _dispatch(assignment) in self._reported

    async def conclude(
        self,
        delivery: Delivery,
        attempt: Attempt,
        ending: Ending,
        job: Job | Failure,
        drafted: Drafted | None = None,
    ) -> None:
        """Report, book and tell it. ``job``: why there is none, where its body could not be had; ``drafted``: what was
        verified.
        """
        assignment, telemetry = attempt.assignment, self._endpoint.telemetry
        telemetry.emit("attempt.made", attempt=assignment.attempt_id)
        tags, replay_of = (assignment.tagged, None) if isinstance(job, Failure) else (job.tags, job.replay_of)
        made = self._result(assignment, ending, tags, replay_of, drafted)
        unsure: Draft | None = None
        if isinstance(made, Draft):
            made, unsure = None, made
        if drafted is not None and isinstance(made, Result):
            made = await fitting(self._endpoint.answers, assignment, drafted, made)
        if isinstance(made, Failure):
            ending, made = ending.failed(made), None
        sure: float | None = None
        if made is not None and assignment.checking is not None and not isinstance(job, Failure):
            made, sure = how_sure(assignment.checking, job, made)
        kept = made is not None and (not ending.fits or to_be_verified(assignment.checking, made.answer, sure))
        if unsure is not None:
            stored = await self._reporter.outcome(self._drafts.passed_on(assignment, ending, unsure))
        elif made is None:
            stored = await self._reporter.outcome(self._outcome(assignment, ending))
        elif kept:
            stored = await self._reporter.outcome(await self._drafts.keep(assignment, ending, made))
        else:
            stored = await self._reporter.result(made, settlement_of(assignment, ending, made), trace=attempt.trace)
            if stored is Stored.TOO_LARGE:
                ending, made = ending.failed(placed(_TOO_LARGE, assignment, produced=True)), None
                stored = await self._reporter.outcome(self._outcome(assignment, ending))
        won = made is not None and stored is Stored.OURS
        doubled = attempt.contest is not None and attempt.contest.doubled
        outrun = attempt.outrun or (doubled and made is not None and stored is Stored.THEIRS)
        verdict = None if made is None or made.verification is None or kept else made.verification.verdict
        fact = None
        if ending.called:
            fact = fact_of(assignment, ending, won=won, tags=tags, outrun=outrun, verdict=verdict)
        if verdict is not None and won:
            telemetry.emit("verdict.reached", route=origin_of(tags) or assignment.route, verdict=verdict)
        # Without a stored report nothing is acknowledged: the leader misses the attempt and tries again.
        self._books.enter(delivery if stored is not Stored.UNKNOWN else None, fact)
        if stored is not Stored.UNKNOWN:
            self._reported.meet(_dispatch(assignment), self._endpoint.clock.monotonic())
        lane, ended = "" if isinstance(job, Failure) else job.lane, self._endpoint.clock.wall()
        told = told_of(assignment, ending, stored, lane=lane, fact=fact, ended=ended)
        telemetry.emit("attempt.ended", **told)
        if attempt.trace is not None and self._observer is not None:
            self._observer.ended(attempt.trace, assignment, ending, stored.value)

    def _outcome(self, assignment: Assignment, ending: Ending) -> Outcome:
        """What is told of an attempt that failed."""
        failure = ending.failure
        assert failure is not None  # noqa: S101 - an ending without an answer has a failure
        outcome = outcome_of(assignment, ending, failure, pool=self._pool, worker=self._worker)
        return outcome_with(outcome, assignment.draft)

    def _result(
        self,
        assignment: Assignment,
        ending: Ending,
        tags: dict[str, str],
        replay_of: str | None,
        drafted: Drafted | None,
    ) -> Result | Draft | Failure | None:
        """What becomes of an answer; ``None`` if there is none, a failure if a verifier's cannot be read, a draft if a
        judge has let it go on to the verifiers.
        """
        if ending.decoded is None:
            return None
        made = result_of(
            assignment,
            ending,
            ending.decoded,
            nonce=f"{assignment.attempt_id}@{self._worker}",
            finished=self._endpoint.clock.wall(),
            tags=tags,
            replay_of=replay_of,
            verification=verdict_on(assignment, ending.decoded, tags),
        )
        return made if drafted is None else verified(assignment, ending, drafted, made)


def _dispatch(assignment: Assignment) -> tuple[str, int, float]:
    """Names one dispatch: a job that is submitted anew after its result has expired begins again with attempt 1."""
    return assignment.attempt_id, assignment.epoch, assignment.grant.granted
