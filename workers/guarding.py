"""The second check: whether this worker may call its provider for a job at all, before a byte leaves. Pure.

The leader has chosen the deployment by the same constraints. But it read its configuration at another time, prices and
catalogues may differ between two machines, and a ticket may say less than the body it belongs to: so the worker judges
by what it would call itself, and by every word there is: the assignment's, the job's, and its own configuration's of
the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalogue.rows import ProviderRow
from catalogue.traits import Told, priced, traits_of
from job_contracts.attempts import Assignment
from job_contracts.constraints import Constraints, Traits, joined, unmet
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job

__all__ = ["Guard"]


@dataclass(frozen=True, slots=True)
class Guard:
    """One pool's."""

    name: str
    told: Told
    row: ProviderRow | None
    """The catalogue's, if it knows the provider."""
    projects: Mapping[str, Constraints]
    """What the configuration asks for each project's jobs."""

    def turns_away(self, assignment: Assignment, job: Job, wall: float) -> Failure | None:
        """Why this attempt must not be made at ``wall`` (UTC seconds), ``None`` if it may."""
        asked = joined(self.projects.get(assignment.project), *assignment.constraints, job.constraints)
        if not asked:
            return None
        reason = unmet(asked, self.traits(assignment.model, wall))
        if reason is None:
            return None
        return Failure(
            kind=FailureKind.CONSTRAINT,
            message=f"{assignment.deployment} was not called for this job: {reason}",
            field="constraints",
            remedy="see that scheduler and workers read the same configuration",
        )

    def traits(self, model: str, wall: float) -> Traits:
        """What is known here of a model."""
        prices = () if self.row is None else self.row.prices(model)
        return priced(traits_of(self.name, self.told, self.row, model), prices, wall)
