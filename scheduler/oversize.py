"""An order that fits no message of the broker: its job ends, and the others of its batch go without it.

An order carries the body and the story of every attempt, and some ends (a rate limit, a grant that ran out) may come as
often as there is time for. Sent all the same it would be refused each time, and a batch is stored whole or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from scheduler.policy.facts import AttemptEnded

if TYPE_CHECKING:
    from runtime.bus.port import Outgoing
    from scheduler.policy.decisions import Dispatch

FENCE = 512
"""Bytes at most of the headers that the fence and the batch add to a message."""
TOLD = 16 * 1024
"""Bytes that are left for what an attempt adds to the story: it has been paid for when its outcome, or its result, is
written, and they carry the whole story as well, without the body.
"""


def size_of(order: Outgoing, body: bytes | None, *, tried: bool) -> int:
    """Bytes of the larger of two messages: the order as it is sent, headers included, and what will tell of its end.

    ``tried``: attempts were made before, so that there is a story.
    """
    headers = (order.headers or {}).items()
    size = len(order.data) + FENCE + sum(len(key) + len(value.encode()) + 4 for key, value in headers)
    return max(size, size - len(body or b"") + TOLD) if tried else size


def too_large(dispatch: Dispatch, size: int, most: int) -> AttemptEnded:
    """How the attempt ends that was not made: the broker takes ``most`` bytes, the order has ``size``."""
    tried = len(dispatch.history)
    if tried:
        kind, so_far = FailureKind.RETRIES_EXHAUSTED, f"given up after {tried} attempts: with what is told of them"
        remedy = "submit it again: then nothing has been tried yet"
    else:
        kind, so_far = FailureKind.INVALID_JOB, "with what a worker is told besides"
        remedy = "submit its body as a blob"
    message = f"{so_far} the job has {size} bytes, and one message of the broker holds {most}"
    return AttemptEnded(
        project=dispatch.project,
        job=dispatch.job,
        attempt=dispatch.attempt,
        deployment=dispatch.deployment,
        failure=Failure(kind=kind, message=message, remedy=remedy),
        record=None,
        called=False,
        hedge=dispatch.hedge,
    )
