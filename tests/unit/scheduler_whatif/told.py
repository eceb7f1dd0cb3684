"""Facts as these tests want them."""

from __future__ import annotations

from typing import Any

from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact

MIDNIGHT = 1_772_409_600.0


def fact(number: int, *, attempt: int = 1, **over: Any) -> AttemptFact:
    """The fact of an attempt of job ``number``, submitted ten seconds after the job before it."""
    at = MIDNIGHT + 10.0 * number
    deployment = over.get("deployment", "a/m")
    provider, _, model = deployment.partition("/")
    values: dict[str, Any] = {
        "attempt": f"p.c.{number}.{attempt}",
        "project": "p",
        "route": "r",
        "deployment": "a/m",
        "provider": provider,
        "model": model,
        "submitted": at,
        "started": at + 0.1,
        "seconds": 1.0,
        "first_token": 0.5,
        "usage": Usage(input=1_000, output=100),
        "cost": "0.001",
        "reason": "user",
        "won": True,
    }
    return AttemptFact.model_validate(values | over)
