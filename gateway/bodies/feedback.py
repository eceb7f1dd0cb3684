"""``/v1/feedback``: what a client says of the answer of one of its jobs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.bodies.failures import invalid
from job_contracts.problems import problem
from job_contracts.subjects import JOB_ID


class Feedback(BaseModel):
    """How good the answer of a job was."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    job: Annotated[str, Field(pattern=JOB_ID)]
    """The job's id: ``x-penstock-job``, or the ``id`` of what was submitted."""
    score: Annotated[float, Field(ge=0, le=1, strict=True)]
    """From 0 (bad) to 1 (good)."""


def feedback(body: dict[str, Any]) -> Feedback:
    """What a body says. Raises ``Failed`` with 400 naming the field."""
    try:
        return Feedback.model_validate(body)
    except ValidationError as error:
        found = problem(Feedback, error)
        raise invalid(f"{found.field}: {found.message}", param=found.field, remedy=found.remedy or None) from error
