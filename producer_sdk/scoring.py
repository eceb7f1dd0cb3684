"""What a client says of an answer: checked here, kept by the gateway beside the job's result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.trials import AskFeedback, TakenFeedback
from producer_sdk.errors import InvalidRequest
from producer_sdk.exchange import checked_job

if TYPE_CHECKING:
    from producer_sdk.desk import Desk


async def scored(desk: Desk, job: str, score: float) -> TakenFeedback:
    """Store a score from 0 to 1; ``first`` says whether the job had none before: the first one stands.

    Raises InvalidRequest for a score that is none or a job that has no answer (any more), Refused, Unreachable.
    """
    if not 0 <= score <= 1:
        remedy = "give a number from 0 (bad) to 1 (good)"
        raise InvalidRequest(f"score: {score!r} is not between 0 and 1", field="score", remedy=remedy)
    return await desk.ask("feedback", AskFeedback(job=checked_job(job), score=score), TakenFeedback)
