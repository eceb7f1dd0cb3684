"""What is added to a call between a request and its answer, by stage, told once for each answer.

| stage | from | to |
|---|---|---|
| ``ingress`` | the whole request is there | its job is submitted |
| ``schedule`` | that | it is granted: storing it, its turn, and whatever it waits for |
| ``dispatch`` | that | the call to the provider begins |
| ``result`` | the call has ended | its result is at this edge |

Only of jobs with one attempt, that this request has submitted: another one's times say nothing of what we add. Times of
several processes go by their clocks, and are never told below zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.call import Call
    from job_contracts.results import Result

EVENT = "edge.spent"


def tell_overhead(call: Call, result: Result) -> None:
    """A result has come."""
    times = result.times
    if len(result.attempts) != 1 or times.dispatched is None or times.submitted < call.begun:
        return
    (attempt,) = result.attempts
    emit = call.edge.telemetry.emit
    emit(EVENT, stage="ingress", seconds=times.submitted - call.begun)
    emit(EVENT, stage="schedule", seconds=max(0.0, times.dispatched - times.submitted))
    emit(EVENT, stage="dispatch", seconds=max(0.0, attempt.started - times.dispatched))
    emit(EVENT, stage="result", seconds=max(0.0, call.edge.clock.wall() - attempt.started - attempt.seconds))
