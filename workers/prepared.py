"""What was made ready for an attempt whose grant ran out meanwhile, for the attempt that comes after it.

Where a provider meters, a grant is good for a fraction of a second. To fetch an image, to scale a picture or to count a
very long prompt may take longer: begun anew each time, the call would never be made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_contracts.attempts import Adaptation, Assignment, Fit
    from job_contracts.results import Loss
    from workers.continuing import Carried
    from workers.dialects.port import Target
    from workers.fitting import Fitted
    from workers.questions import Question

__all__ = ["Prepared", "Ready"]

MOST = 32
"""Jobs for which something is kept."""
MOST_BYTES = 64 * 1024 * 1024
"""Of all their requests together; the newest is kept however large it is."""
KEPT = 60.0
"""Seconds after which nobody is expected to come back for it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A question that only has to be asked, and how it came about."""

    question: Question
    target: Target
    fitted: Fitted
    losses: tuple[Loss, ...]
    carried: Carried | None = None


@dataclass(frozen=True, slots=True)
class _Sort:
    """What two attempts of a job must have in common to ask the same."""

    body_hash: str
    model: str
    stream: bool
    adaptation: Adaptation | None
    fit: Fit
    overflows: int
    max_output: int | None
    continues: int | None

    @classmethod
    def of(cls, assignment: Assignment, overflows: int) -> _Sort:
        return cls(
            assignment.body_hash,
            assignment.model,
            assignment.stream,
            assignment.adaptation,
            assignment.fit,
            overflows,
            assignment.grant.max_output,
            assignment.continues,
        )


class Prepared:
    """A pool's few questions that could not be asked in time. ``now`` is monotonic, in seconds."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, _Sort, Ready]] = {}

    def keep(self, assignment: Assignment, ready: Ready, now: float, *, overflows: int) -> None:
        """For the job's next attempt."""
        self._kept.pop(assignment.job_id, None)
        self._kept[assignment.job_id] = (now, _Sort.of(assignment, overflows), ready)
        size = sum(len(kept.question.encoded.body) for _, _, kept in self._kept.values())
        for job, (since, _, kept) in tuple(self._kept.items())[:-1]:  # the oldest first
            if now - since > KEPT or size > MOST_BYTES or len(self._kept) > MOST:
                size -= len(kept.question.encoded.body)
                del self._kept[job]

    def take(self, assignment: Assignment, now: float, *, overflows: int) -> Ready | None:
        """What was kept for it, once, if the attempt asks the same."""
        if not self._kept:
            return None
        since, sort, ready = self._kept.pop(assignment.job_id, (0.0, None, None))
        return ready if sort == _Sort.of(assignment, overflows) and now - since <= KEPT else None
