"""What a bug of ours costs: one job its answer, never its end, and nobody else anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from runtime.service import place_of
from runtime.telemetry import ERROR
from scheduler.policy.decisions import Finish

if TYPE_CHECKING:
    from job_contracts.results import AttemptRecord
    from scheduler.endings import Endings
    from scheduler.term import Term


class Mishaps:
    """Ends jobs whose messages could be read and not be acted on."""

    def __init__(self, term: Term, endings: Endings) -> None:
        self._term = term
        self._endings = endings

    def give_up(
        self, reading: str, project: str, job: str, error: Exception, *, history: tuple[AttemptRecord, ...] = ()
    ) -> None:
        """End a job, if it is known, with a failure that says that the gateway went wrong."""
        tell(self._term, reading, job, error)
        entry = self._term.submissions.entries.get((project, job))
        if entry is None:
            return
        words = f"the scheduler failed unexpectedly ({type(error).__name__}) when it read this job's {reading}"
        failure = Failure(kind=FailureKind.INTERNAL, message=words, remedy="submit it again, and tell the operator")
        told = self._term.board.status(project, job, self._term.clock.monotonic())
        self._endings.write(
            Finish(
                project=project,
                job=job,
                seq=entry.seq,
                state=JobState.FAILED,
                failure=failure,
                history=history,
                route="" if told is None else told.route,
                token=entry.token,
                body_hash=entry.body_hash,
                submitted=entry.submitted,
            )
        )


def tell(term: Term, reading: str, job: str, error: Exception) -> None:
    """Say that there is a bug: where, never what it was about."""
    term.telemetry.emit(
        "reading.failed", ERROR, reading=reading, job_id=job, error=type(error).__name__, place=place_of(error)
    )
