"""Which broken answer the next attempt may go on with, as far as the leader can know: that something of it was sent.

Whether it was plain text, is still there to be read, and whether the target goes on with it is the worker's to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.results import AttemptRecord

__all__ = ["continued"]

NOT_WORTH_IT = frozenset({FailureKind.MODEL_OUTPUT_INVALID, FailureKind.RESPONSE_TOO_LARGE, FailureKind.CONTENT_POLICY})
"""Kinds that speak against what was said, not only against where it was said."""


def continued(history: Sequence[AttemptRecord], deployment: str) -> int | None:
    """Number of the newest attempt that may have sent something; ``None`` if none did, if one said what is not to be
    gone on with, or if the deployment has refused to go on with this job's answer before.
    """
    newest = None
    for record in history:
        failure = record.failure
        if failure is None:
            continue
        if failure.kind is FailureKind.PREFILL_REFUSED and record.deployment == deployment:
            return None
        if failure.produced and failure.kind in NOT_WORTH_IT:
            return None
        if failure.produced or failure.kind is FailureKind.WORKER_LOST:
            newest = max(newest or 0, record.number)  # a hedge may have ended before the attempt it stood beside
    return newest
