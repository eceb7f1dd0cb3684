"""Dies on purpose, to show that nothing is lost: ``CRASH_AT=point[:n]`` kills the process as it passes the point.

A point is the name of a telemetry event that is told between two durable steps. Nothing listens for it in production;
when it is asked for, the n-th such event ends the process by SIGKILL from within ``emit``, so that no later line of
the code runs: no cleanup, no last message, no drain.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.telemetry import Telemetry

__all__ = ["POINTS", "VARIABLE", "NoSuchPoint", "Point", "crash_at"]

VARIABLE = "CRASH_AT"
"""The environment variable in which a point is asked for."""


class NoSuchPoint(ValueError):
    """What was asked for is no point of this process; the message names those there are."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place between two durable steps of a process."""

    process: Literal["scheduler", "workers", "gateway", "ledger"]
    event: str
    """The event that is told there; the point's name."""
    moment: str
    """What is done, and what is not."""


POINTS = (
    Point("scheduler", "lease.acquired", "the lease is taken, nothing is read"),
    Point("scheduler", "recovery.submissions_read", "the streams are read, nothing is dispatched"),
    Point("scheduler", "dispatch.decided", "tokens are taken, nothing of the batch is sent"),
    Point(
        "scheduler", "lease.levels_stored", "single node: the record has the new levels, nothing of the batch is sent"
    ),
    Point("scheduler", "lease.outcome_unknown", "the batch was sent, and no answer came"),
    Point("scheduler", "dispatch.stored", "the batch is stored"),
    Point("scheduler", "hedge.stored", "a second attempt is stored beside the first one"),
    Point("scheduler", "attempt.ended", "an outcome is read, nothing is decided"),
    Point("scheduler", "draft.read", "the outcome of a draft is read, nothing is decided"),
    Point("scheduler", "attempt.lost", "an attempt is missed, nothing is decided"),
    Point("scheduler", "cancel.read", "a cancel is read, nothing is decided"),
    Point("scheduler", "letter.stored", "a job's dead letter is stored, its result is not"),
    Point("scheduler", "ending.stored", "the leader's own result is stored, its submission is still there"),
    Point("scheduler", "job.settled", "a worker's result is read, its submission is still there"),
    Point("scheduler", "followup.submitted", "what follows a job is submitted, that job's submission is still there"),
    Point("scheduler", "settling.removed", "submissions are removed, the cursor does not say so yet"),
    Point("scheduler", "spending.stored", "a checkpoint of what was spent is stored, LEDGER is read on"),
    Point("scheduler", "spending.read", "all of LEDGER is read, what hard budgets pay for may go, nothing went"),
    Point("scheduler", "trials.read", "results of an experiment are read, no checkpoint has them, nothing is decided"),
    Point("scheduler", "order.stored", "an operator's order is stored, not carried out, and nobody is answered"),
    Point("scheduler", "lease.resigned", "the lease is given back, the process still runs"),
    Point("workers", "attempt.fetched", "an assignment is here, its provider is not called"),
    Point(
        "workers", "attempt.continued", "what was sent of a broken answer is read, nothing is asked, nothing is sent"
    ),
    Point("workers", "attempt.answering", "the provider has begun to answer"),
    Point("workers", "stream.continued", "the text that an answer goes on with is sent, what is new is not whole"),
    Point("workers", "contest.won", "the first tokens of one of two attempts are stored, nobody is told"),
    Point("workers", "attempt.made", "the call is over, nothing of it is stored"),
    Point("workers", "draft.stored", "a draft is stored, the outcome that points there is not"),
    Point("workers", "result.blob_stored", "a large answer is stored, the result that points there is not"),
    Point("workers", "result.stored", "the result is stored, its fact is not, nothing is acknowledged"),
    Point("workers", "outcome.stored", "the outcome is stored, its fact is not, nothing is acknowledged"),
    Point("workers", "books.stored", "facts are stored, nothing is acknowledged"),
    Point("workers", "books.acknowledged", "all is done"),
    Point("workers", "batch.noted", "a provider's batch is noted, it is not made"),
    Point("workers", "batch.made", "a provider's batch is made, its name is not noted"),
    Point("workers", "batch.sent", "a provider's batch is made and its name noted, nothing is answered"),
    Point("gateway", "file.chunks_stored", "an upload's content is stored, its head is not"),
    Point("gateway", "batch.created", "a batch's record is stored, nothing is done for it, its client has no answer"),
    Point("gateway", "batch.validated", "its file is looked over, nothing is submitted"),
    Point("gateway", "batch.line_answered", "a request's job has its result, the output line is not stored"),
    Point("gateway", "batch.line_stored", "an output line is stored, the record does not count it"),
    Point("gateway", "batch.complete", "all output lines are there, the files of results are not written"),
    Point("gateway", "batch.written", "the content of the files of results is stored, their heads do not say so"),
    Point("gateway", "batch.ended", "the batch has ended, its output lines still lie in their stream"),
    Point("ledger", "ledger.read", "facts are read, nothing of them is in the database"),
    Point("ledger", "ledger.written", "a batch is written, its transaction is not ended"),
    Point("ledger", "ledger.stored", "a batch is stored with the place read up to, nothing further is read"),
)
"""Every point, in the order of a job's life."""


def crash_at(telemetry: Telemetry, process: str, asked: str | None) -> None:
    """Arm what ``CRASH_AT`` asks for; without it nothing is done. Raises NoSuchPoint."""
    if not asked:
        return
    event, _, count = asked.partition(":")
    known = [point.event for point in POINTS if point.process == process]
    if event not in known or not (count or "1").isdecimal() or int(count or "1") < 1:
        message = f"{VARIABLE}={asked}: write point or point:n; the points of {process} are {', '.join(known)}"
        raise NoSuchPoint(message)
    telemetry.on(event, _killing(event, int(count or "1")))


def _killing(event: str, left: int) -> Callable[[Mapping[str, Any]], None]:
    def passed(_: Mapping[str, Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.write(2, f"{VARIABLE}={event}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    return passed
