"""What is known of why a job is where it is: its state, what it waits for, its attempts and their decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.explanations import under_way
from job_contracts.jobs import JobState

if TYPE_CHECKING:
    from job_contracts.decisions import Choice
    from job_contracts.jobs import JobStatus
    from job_contracts.results import AttemptRecord, Result


@dataclass(frozen=True, slots=True)
class Explanation:
    """A job as it stands, told at ``at`` (UTC seconds)."""

    status: JobStatus
    attempts: tuple[AttemptRecord, ...]
    """Those that have ended, each with its failure and, on a route that is not ordered, its decision."""
    result: Result | None
    """Its record, once it has ended."""
    at: float

    @property
    def because(self) -> str:
        """In words."""
        result = self.result
        if result is None:
            return under_way(self.status, self.at)
        if result.state is JobState.SUCCEEDED:
            return f"answered by {result.deployment}, attempt {len(result.attempts)}"
        if result.failure is None:
            return result.state.value
        return f"{result.state.value}, {result.failure.kind.value}: {result.failure.message}"

    @property
    def decision(self) -> Choice | None:
        """While it waits where it would go now; under way, or afterwards, why it went where it went last.

        ``None`` where nothing was told: routes that are ordered tell it of waiting jobs alone.
        """
        if self.result is None:
            return self.status.decision
        return self.attempts[-1].decision if self.attempts else None
